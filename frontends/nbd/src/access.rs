//! Who is on the other end: what a connection can prove about its client, and which user of the
//! store that is.
//!
//! Three things are proof: the uid of the process at the other end of a unix socket, a TLS client
//! certificate that an accepted authority has signed, and a token in front of the export's name
//! (`token:SECRET@NAME`). [`Principals`] turns them into the one typed principal of the project,
//! [`Authenticated`], once for each option that names an export; what that principal may do is
//! decided behind [`crate::Exports`]. A wrong token is a refusal, never a fallback to somebody less.
//!
//! Over TCP somebody without proof is refused unless the server was told to be insecure.

use std::fmt;
use std::net::SocketAddr;

use gw_types::{Authenticated, Frontend};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What begins an export's name that carries a token.
const TOKEN_PREFIX: &str = "token:";

/// Where a connection came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A unix socket, with what the kernel says of the process at its other end.
    Unix {
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A TCP socket.
    Tcp(SocketAddr),
}

impl Peer {
    /// Whether the bytes leave this machine.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Unix { .. } => false,
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        }
    }
}

/// A client certificate, after its chain was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of its DER form.
    pub fingerprint: [u8; 32],
    /// The DNS names of its subjectAltName.
    pub dns_names: Vec<String>,
}

/// A secret that stands for a user.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// Only a digest is kept.
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Everything that a connection has proved so far.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Where it came from.
    pub peer: Peer,
    /// The certificate, when TLS is up and the client has shown one.
    pub certificate: Option<ClientCertificate>,
}

/// An export's name as the client wrote it, taken apart.
#[derive(Clone, Debug)]
pub struct AskedName {
    /// The name itself.
    pub name: String,
    /// The token in front of it.
    pub token: Option<Token>,
}

impl AskedName {
    /// `token:SECRET@NAME`, or just `NAME`. The secret has no `@` in it; the name may.
    pub fn parse(asked: &str) -> Self {
        match asked.strip_prefix(TOKEN_PREFIX).and_then(|rest| rest.split_once('@')) {
            Some((secret, name)) => Self { name: name.to_owned(), token: Some(Token::new(secret)) },
            None => Self { name: asked.to_owned(), token: None },
        }
    }
}

/// A proof that stands for a user.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The process at the other end of a unix socket runs as this user.
    Uid(u32),
    /// A certificate with this fingerprint.
    Fingerprint([u8; 32]),
    /// A certificate with this DNS name.
    DnsName(String),
    /// A token.
    Token(Token),
}

/// Which proof stands for which user of the store.
#[derive(Clone, Debug, Default)]
pub struct Principals {
    known: Vec<(Proof, String)>,
    insecure: bool,
}

/// The client has not proved who it is, and that is not enough here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has not proved who it is: it needs a client certificate, a known uid or a token")]
pub struct NotAuthenticated;

impl Principals {
    /// Nobody is known. With `insecure`, whoever comes over TCP without proof is anonymous instead
    /// of refused.
    pub fn new(insecure: bool) -> Self {
        Self { known: Vec::new(), insecure }
    }
    /// Lets a proof stand for a user.
    #[must_use]
    pub fn with(mut self, proof: Proof, user: impl Into<String>) -> Self {
        self.known.push((proof, user.into()));
        self
    }
    /// Whether anonymous TCP is let in.
    pub fn is_insecure(&self) -> bool {
        self.insecure
    }

    /// The one principal of this client: its token's, else its certificate's, else its uid's, else
    /// nobody's.
    ///
    /// # Errors
    /// When a token is wrong, or nothing was proved over TCP and the server is not insecure.
    pub fn authenticate(
        &self,
        credentials: &Credentials,
        token: Option<&Token>,
    ) -> Result<Authenticated, NotAuthenticated> {
        if let Some(token) = token {
            let user = self.find(|proof| matches!(proof, Proof::Token(known) if known.is(token)));
            return user.ok_or(NotAuthenticated);
        }
        if let Some(certificate) = &credentials.certificate {
            let user = self.find(|proof| match proof {
                Proof::Fingerprint(fingerprint) => *fingerprint == certificate.fingerprint,
                Proof::DnsName(name) => certificate.dns_names.contains(name),
                Proof::Uid(_) | Proof::Token(_) => false,
            });
            if let Some(user) = user {
                return Ok(user);
            }
        }
        match &credentials.peer {
            Peer::Unix { uid, .. } => Ok(self
                .find(|proof| matches!(proof, Proof::Uid(known) if known == uid))
                .unwrap_or_else(|| Authenticated::anonymous(Frontend::Nbd))),
            Peer::Tcp(_) if self.insecure => Ok(Authenticated::anonymous(Frontend::Nbd)),
            Peer::Tcp(_) => Err(NotAuthenticated),
        }
    }

    fn find(&self, is: impl Fn(&Proof) -> bool) -> Option<Authenticated> {
        let (_, user) = self.known.iter().find(|(proof, _)| is(proof))?;
        Some(Authenticated::user(user.as_str(), Frontend::Nbd))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        AskedName, ClientCertificate, Credentials, NotAuthenticated, Peer, Principals, Proof, Token,
    };

    fn credentials(peer: Peer) -> Credentials {
        Credentials { peer, certificate: None }
    }
    fn tcp() -> Credentials {
        credentials(Peer::Tcp("127.0.0.1:1".parse().unwrap()))
    }

    #[test]
    fn a_token_stands_in_front_of_the_name() {
        let asked = AskedName::parse("token:s3cret@vm/disk@snap");
        assert_eq!(asked.name, "vm/disk@snap");
        assert!(asked.token.unwrap().is(&Token::new("s3cret")));
        assert!(AskedName::parse("vm@snap").token.is_none());
        assert_eq!(AskedName::parse("token:no-at-sign").name, "token:no-at-sign");
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Token(..)");
    }

    #[test]
    fn a_wrong_token_is_refused_even_where_nobody_is_asked_for_one() {
        let principals = Principals::new(true).with(Proof::Token(Token::new("right")), "ada");
        let ask = |token: &str| principals.authenticate(&tcp(), Some(&Token::new(token)));
        assert_eq!(ask("right").unwrap().name(), Some("ada"));
        assert_eq!(ask("wrong"), Err(NotAuthenticated));
        assert_eq!(principals.authenticate(&tcp(), None).unwrap().name(), None);
    }

    #[test]
    fn anonymous_tcp_needs_insecure_and_loopback_does_not_change_that() {
        assert_eq!(Principals::new(false).authenticate(&tcp(), None), Err(NotAuthenticated));
        assert!(Principals::new(true).authenticate(&tcp(), None).is_ok());
    }

    #[test]
    fn uids_and_certificates_stand_for_users() {
        let principals = Principals::new(false)
            .with(Proof::Uid(7), "ada")
            .with(Proof::DnsName("vm1.example".to_owned()), "vm1")
            .with(Proof::Fingerprint([9; 32]), "vm2");
        let name = |credentials: &Credentials| {
            principals.authenticate(credentials, None).map(|who| who.name().map(str::to_owned))
        };
        let unix = |uid| credentials(Peer::Unix { uid, gid: 0 });
        assert_eq!(name(&unix(7)), Ok(Some("ada".to_owned())));
        assert_eq!(name(&unix(8)), Ok(None));
        let shown = |fingerprint, dns: &str| Credentials {
            certificate: Some(ClientCertificate { fingerprint, dns_names: vec![dns.to_owned()] }),
            ..tcp()
        };
        assert_eq!(name(&shown([0; 32], "vm1.example")), Ok(Some("vm1".to_owned())));
        assert_eq!(name(&shown([9; 32], "other")), Ok(Some("vm2".to_owned())));
        assert_eq!(name(&shown([0; 32], "other")), Err(NotAuthenticated));
    }

    #[test]
    fn loopback_is_not_remote_in_either_family() {
        for (address, remote) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("192.0.2.1:1", true),
        ] {
            assert_eq!(Peer::Tcp(address.parse().unwrap()).is_remote(), remote, "{address}");
        }
    }
}
