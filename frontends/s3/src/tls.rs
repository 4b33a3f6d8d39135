//! TLS for the listener: rustls, with ring; HTTP/2 and HTTP/1.1 by ALPN.
//!
//! TLS 1.2 and 1.3. Which certificate is shown is looked up at each handshake, so
//! [`ServerTls::replace`] changes it for connections to come and cuts none that are there. Where the
//! PEM texts come from, and when they are read again, is the binary's affair. Clients are known by
//! their signatures; their certificates are not asked for.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

/// A certificate and its key, which may be replaced while the listener runs. Clones share it.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
}

/// The certificate of the next handshake.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls(..)")
    }
}

impl ServerTls {
    /// From PEM texts: the chain, the server's own certificate first, and its private key.
    ///
    /// # Errors
    /// When a text does not hold what it should, or the key is not the certificate's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> io::Result<Self> {
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified(chain, key)?))));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| invalid("TLS", error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown })
    }

    /// Shows another certificate from the next handshake on. After an error the old one stays.
    ///
    /// # Errors
    /// As [`ServerTls::from_pem`].
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> io::Result<()> {
        let next = Arc::new(certified(chain, key)?);
        *self.shown.0.write() = next;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

fn certified(chain: &[u8], key: &[u8]) -> io::Result<CertifiedKey> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let found = found.map_err(|error| invalid("the certificate", error))?;
    if found.is_empty() {
        return Err(invalid("the certificate", "there is none in the PEM text"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| invalid("the private key", error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(found, key, &provider).map_err(|error| invalid("certificate and key", error))
}

fn invalid(what: &str, error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error}"))
}
