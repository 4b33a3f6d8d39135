//! `NBD_OPT_STARTTLS`, forced and offered, with and without client certificates.

use std::sync::Arc;

use gw_nbd::{
    ClientCertificates, ExportTable, FileOptions, Listen, NbdConfig, NbdServer, Principals, Proof,
    RunningNbd, ServerTls, Who,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use crate::client::{ACK, Client, DISC, INVALID, Mode, POLICY, TLS_REQD, Target, info_data};
use crate::harness::file;

/// Authorities and certificates, in PEM, of this test's own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }
    fn pem(&self) -> String {
        self.issuer.pem()
    }
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

struct Secured {
    target: Target,
    authority: Authority,
    _running: RunningNbd,
    _folder: TempDir,
}

async fn secured(clients: Option<ClientCertificates>, everywhere: bool, insecure: bool) -> Secured {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (chain, key) = authority.sign("localhost");
    let pem = authority.pem();
    let clients = clients.map(|need| (pem.as_bytes(), need));
    let tls = ServerTls::from_pem(chain.as_bytes(), key.as_bytes(), clients).unwrap();
    let principals = Principals::new(insecure).with(Proof::DnsName("vm1.example".to_owned()), "ada");
    let mut config = NbdConfig::new(Listen::Tcp("127.0.0.1:0".parse().unwrap()), principals);
    config.tls = Some(tls);
    config.tls_everywhere = everywhere;
    let disk = file(folder.path(), "disk", FileOptions::default());
    let table = ExportTable::new().with("disk", disk, Who::Anyone);
    let running = NbdServer::bind(config, Arc::new(table)).await.unwrap();
    let target = Target::Tcp(running.tcp_addrs()[0]);
    Secured { target, authority, _running: running, _folder: folder }
}

fn connector(
    authority: &Authority,
    client: Option<(String, String)>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    TlsConnector::from(Arc::new(config))
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

/// STARTTLS, and what the handshake makes of it.
async fn upgraded(mut client: Client, connector: TlsConnector) -> std::io::Result<Client> {
    assert_eq!(client.opt_end(5, &[]).await.unwrap(), ACK);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, client.stream).await?;
    Ok(Client::over(Box::new(stream)))
}

#[tokio::test]
async fn forced_tls_answers_nothing_before_it_is_up() {
    let place = secured(None, true, true).await;
    let mut client = Client::greeted(&place.target, 3).await.unwrap();
    for (option, data) in
        [(3, vec![]), (6, info_data("disk", &[])), (7, vec![1]), (8, vec![]), (11, vec![]), (99, vec![])]
    {
        assert_eq!(client.opt_end(option, &data).await.unwrap(), TLS_REQD, "option {option}");
    }
    assert_eq!(client.opt_end(5, b"x").await.unwrap(), INVALID, "STARTTLS has no data");
    let mut name = Client::greeted(&place.target, 3).await.unwrap();
    name.send_opt(1, b"disk").await.unwrap();
    name.closed().await.unwrap();
    let mut old = Client::greeted(&place.target, 0).await.unwrap();
    assert_eq!(old.opt_end(3, &[]).await.unwrap(), POLICY, "the old style knows no TLS");
    let mut abort = Client::greeted(&place.target, 3).await.unwrap();
    assert_eq!(abort.opt_end(2, &[]).await.unwrap(), ACK);

    let mut client = upgraded(client, connector(&place.authority, None, BOTH)).await.unwrap();
    assert_eq!(client.opt_end(5, &[]).await.unwrap(), INVALID, "TLS is up already");
    assert_eq!(client.opt_end(3, &[]).await.unwrap(), ACK);
}

#[tokio::test]
async fn requests_run_under_both_versions_and_the_end_is_said() {
    let place = secured(None, true, true).await;
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let client = Client::greeted(&place.target, 3).await.unwrap();
        let mut client = upgraded(client, connector(&place.authority, None, versions)).await.unwrap();
        client.negotiate(Mode::Structured).await.unwrap();
        client.go("disk").await.unwrap();
        let data: Vec<u8> = (0..5_000_000_u32).map(|index| (index / 3 % 251) as u8).collect();
        client.put(0, 77, &data).await.unwrap().expect(0, "WRITE").unwrap();
        assert!(client.get(77, 5_000_000).await.unwrap() == data, "other bytes");
        client.send(DISC, 0, 0, 0, &[]).await.unwrap();
        // Without a close_notify this read fails instead of ending.
        assert_eq!(client.stream.read(&mut [0; 16]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn starting_tls_forgets_what_was_chosen_before() {
    let place = secured(None, false, true).await;
    let mut client = Client::greeted(&place.target, 3).await.unwrap();
    client.negotiate(Mode::Extended).await.unwrap();
    let mut client = upgraded(client, connector(&place.authority, None, BOTH)).await.unwrap();
    client.go("disk").await.unwrap();
    assert_eq!(client.flags & 128, 0, "no DF without structured replies");
    client.get(0, 512).await.unwrap();
}

#[tokio::test]
async fn from_this_machine_tls_is_a_choice() {
    let place = secured(None, false, true).await;
    let mut client = Client::attached(&place.target, "disk", Mode::Structured, &[]).await.unwrap();
    client.get(0, 512).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_proof() {
    let place = secured(Some(ClientCertificates::Optional), true, false).await;
    let certificate = |name| Some(place.authority.sign(name));
    for (shown, expected) in
        [(certificate("vm1.example"), ACK), (certificate("vm2.example"), POLICY), (None, POLICY)]
    {
        let client = Client::greeted(&place.target, 3).await.unwrap();
        let mut client = upgraded(client, connector(&place.authority, shown, BOTH)).await.unwrap();
        assert_eq!(client.opt_end(6, &info_data("disk", &[])).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_certificate_of_strangers_ends_the_session() {
    let place = secured(Some(ClientCertificates::Required), true, false).await;
    let stranger = Authority::new().sign("vm1.example");
    for shown in [Some(stranger), None] {
        let client = Client::greeted(&place.target, 3).await.unwrap();
        // With TLS 1.3 the client learns of it with its first read.
        let ended = match upgraded(client, connector(&place.authority, shown, BOTH)).await {
            Ok(mut client) => client.opt(3, &[]).await.is_err(),
            Err(_) => true,
        };
        assert!(ended);
    }
}

#[tokio::test]
async fn rubbish_after_starttls_ends_the_session_only() {
    let place = secured(None, true, true).await;
    let mut client = Client::greeted(&place.target, 3).await.unwrap();
    // An option sent along with STARTTLS must never be taken for one that came under TLS.
    let list =
        [&crate::client::IHAVEOPT.to_be_bytes()[..], &3_u32.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    let start =
        [&crate::client::IHAVEOPT.to_be_bytes()[..], &5_u32.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    client.write(&[start, list].concat()).await.unwrap();
    let ack = client.read(20).await.unwrap();
    assert_eq!(ack[12..16], ACK.to_be_bytes());
    client.closed().await.unwrap();
    let mut client = Client::greeted(&place.target, 3).await.unwrap();
    assert_eq!(client.opt_end(3, &[]).await.unwrap(), TLS_REQD);
}
