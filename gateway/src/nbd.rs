//! The NBD server of a gateway: from configuration to listeners.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gw_nbd::{
    ClientCertificates, Listen, NbdConfig, NbdServer, Principals, Proof, RunningNbd, ServerTls, StoreExports,
    Token,
};
use gw_store::Store;

use crate::config::{NbdSection, NbdTls, NbdUser};
use crate::datadir::read_secret;
use crate::error::{Context, Error, Result, fail};

/// A socket file is for its owner: further users come by TCP, or by the owner changing its mode.
const SOCKET_MODE: u32 = 0o600;

/// A running server and where it is.
pub struct Nbd {
    running: RunningNbd,
    sockets: Vec<PathBuf>,
}

impl Nbd {
    /// Serves the volumes of a store. `None` where the configuration names no place.
    pub async fn start(section: &NbdSection, store: Store) -> Result<Option<Self>> {
        let places = section.listen.iter().map(|text| place(text)).collect::<Result<Vec<_>>>()?;
        if places.is_empty() {
            return Ok(None);
        }
        let mut principals = Principals::new(section.insecure);
        for user in &section.users {
            principals = principals.with(proof(user)?, user.name.clone());
        }
        let mut sockets = Vec::new();
        let mut listen = Vec::new();
        for place in places {
            if let Listen::Unix { path, .. } = &place {
                sockets.push(path.clone());
            }
            listen.push(place);
        }
        let mut config = NbdConfig::new(listen.remove(0), principals);
        config.listen.append(&mut listen);
        config.tls = section.tls.as_ref().map(tls).transpose()?;
        let running = NbdServer::bind(config, Arc::new(StoreExports::new(store)))
            .await
            .context(|| "serving NBD".to_owned())?;
        Ok(Some(Self { running, sockets }))
    }

    /// `nbd://host:port` and `nbd+unix:///?socket=PATH`, without the names of exports.
    pub fn uris(&self) -> Vec<String> {
        let sockets = self.sockets.iter().map(|path| format!("nbd+unix:///?socket={}", path.display()));
        self.running.tcp_addrs().iter().map(|addr| format!("nbd://{addr}")).chain(sockets).collect()
    }

    /// Lets running requests end, then cuts; volumes are detached.
    pub async fn stop(self) {
        self.running.shutdown().await;
        for socket in self.sockets {
            if let Err(error) = fs::remove_file(&socket) {
                tracing::debug!(%error, socket = %socket.display(), "a socket file stays");
            }
        }
    }
}

/// `host:port`, or `unix:PATH`.
fn place(text: &str) -> Result<Listen> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(Listen::Unix { path: path.into(), mode: SOCKET_MODE }),
        _ => text.parse().map(Listen::Tcp).map_err(|_| {
            Error::new(format!("{text:?} is no place for NBD; say 127.0.0.1:10809 or unix:/path/to/socket"))
        }),
    }
}

fn proof(user: &NbdUser) -> Result<Proof> {
    let one = |what: &str| Error::new(format!("nbd.users: {} {what}", user.name));
    match (&user.uid, &user.token_file, &user.fingerprint, &user.dns_name) {
        (Some(uid), None, None, None) => Ok(Proof::Uid(*uid)),
        (None, Some(path), None, None) => {
            let secret = read_secret(path)?
                .ok_or_else(|| Error::new(format!("there is no token in {}", path.display())))?;
            let secret =
                String::from_utf8(secret).context(|| format!("reading the token in {}", path.display()))?;
            let secret = secret.trim();
            if secret.len() < 16 || secret.contains('@') {
                return fail(format!(
                    "the token in {} needs 16 characters at least, none of them @",
                    path.display()
                ));
            }
            Ok(Proof::Token(Token::new(secret)))
        }
        (None, None, Some(hex_digits), None) => {
            let mut fingerprint = [0; 32];
            hex::decode_to_slice(hex_digits.replace(':', ""), &mut fingerprint)
                .map_err(|_| one("has a fingerprint that is no SHA-256 in hexadecimal"))?;
            Ok(Proof::Fingerprint(fingerprint))
        }
        (None, None, None, Some(name)) => Ok(Proof::DnsName(name.clone())),
        _ => Err(one("is known by exactly one of uid, token_file, fingerprint, dns_name")),
    }
}

fn tls(section: &NbdTls) -> Result<ServerTls> {
    let read = |path: &Path| fs::read(path).context(|| format!("reading {}", path.display()));
    let clients = section.clients.as_deref().map(read).transpose()?;
    let need = match section.clients_required {
        true => ClientCertificates::Required,
        false => ClientCertificates::Optional,
    };
    let clients = clients.as_deref().map(|pem| (pem, need));
    ServerTls::from_pem(&read(&section.cert)?, &read(&section.key)?, clients)
        .context(|| "the certificates of nbd.tls".to_owned())
}

#[cfg(test)]
mod tests {
    use gw_nbd::Listen;

    use super::{place, proof};
    use crate::config::NbdUser;

    #[test]
    fn places_are_addresses_or_sockets() {
        assert!(matches!(place("127.0.0.1:10809").unwrap(), Listen::Tcp(_)));
        assert!(
            matches!(place("unix:/run/x").unwrap(), Listen::Unix { path, mode: 0o600 } if path.ends_with("x"))
        );
        for bad in ["", "unix:", "localhost", "/run/x"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_has_one_proof() {
        let user = NbdUser { name: "ada".to_owned(), ..NbdUser::default() };
        assert!(proof(&user).is_err());
        assert!(proof(&NbdUser { uid: Some(1), ..user.clone() }).is_ok());
        assert!(proof(&NbdUser { uid: Some(1), dns_name: Some("x".to_owned()), ..user.clone() }).is_err());
        assert!(proof(&NbdUser { fingerprint: Some("ab:cd".to_owned()), ..user.clone() }).is_err());
        assert!(proof(&NbdUser { fingerprint: Some("ab".repeat(32)), ..user }).is_ok());
    }
}
