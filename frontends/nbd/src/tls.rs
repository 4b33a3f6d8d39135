//! TLS for the handshake's `NBD_OPT_STARTTLS`: rustls, with ring.
//!
//! TLS 1.2 and 1.3 (spec, "TLS versions"). A server shows an X.509 certificate; with an authority for
//! clients it asks for theirs, and refuses whoever shows a bad one. Clients without one come in only
//! when that is allowed, and then have to prove who they are otherwise. Pre-shared keys are not there:
//! rustls has none from outside.

use std::fmt;
use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::access::ClientCertificate;

/// A server's certificate and key, and whose clients it believes.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// No TLS without one.
    Required,
    /// A client may prove who it is with a token instead.
    Optional,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

impl ServerTls {
    /// From PEM texts: the server's chain and key, and the authorities that sign clients.
    ///
    /// # Errors
    /// When a text does not hold what it should, or key and certificate do not fit.
    pub fn from_pem(
        chain: &[u8],
        key: &[u8],
        clients: Option<(&[u8], ClientCertificates)>,
    ) -> io::Result<Self> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(invalid)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(invalid)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some((authorities, need)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities)? {
                    roots.add(authority).map_err(invalid)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match need {
                    ClientCertificates::Required => verifier,
                    ClientCertificates::Optional => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(invalid)?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(invalid)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// What the client has shown, after rustls has verified it.
pub(crate) fn shown(session: &rustls::ServerConnection) -> Option<ClientCertificate> {
    let der = session.peer_certificates()?.first()?;
    let names = webpki::EndEntityCert::try_from(der)
        .map(|certificate| certificate.valid_dns_names().map(str::to_owned).collect())
        .unwrap_or_default();
    Some(ClientCertificate { fingerprint: Sha256::digest(der).into(), dns_names: names })
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(invalid)?;
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no certificate in the PEM text"));
    }
    Ok(found)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
