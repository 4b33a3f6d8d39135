//! Who gets in, where, and how long the door stays open.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use gw_nbd::{
    Export, ExportTable, FileOptions, Limits, Listen, NbdConfig, NbdServer, Principals, Proof, RunningNbd,
    Token, Who,
};

use crate::client::{ACK, Client, Mode, POLICY, SERVER, TOO_BIG, Target, UNKNOWN, info_data};
use crate::harness::{SIZE, Server, file};

fn loopback() -> Listen {
    Listen::Tcp("127.0.0.1:0".parse().unwrap())
}

/// `open` for anyone, `ada` for the user of that name.
async fn serve(
    folder: &std::path::Path,
    listen: Listen,
    principals: Principals,
) -> (RunningNbd, Option<Target>) {
    let table = ExportTable::new()
        .with("open", file(folder, "open", FileOptions::default()), Who::Anyone)
        .with("ada", file(folder, "ada", FileOptions::default()), Who::Users(vec!["ada".to_owned()]));
    let running = NbdServer::bind(NbdConfig::new(listen, principals), Arc::new(table)).await.unwrap();
    let target = running.tcp_addrs().first().map(|address| Target::Tcp(*address));
    (running, target)
}

/// What INFO answers for a name.
async fn info(target: &Target, name: &str) -> u32 {
    let mut client = Client::greeted(target, 3).await.unwrap();
    client.opt_end(6, &info_data(name, &[])).await.unwrap()
}

#[tokio::test]
async fn over_tcp_a_client_proves_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let principals = Principals::new(false).with(Proof::Token(Token::new("s3cret")), "ada");
    let (_running, target) = serve(folder.path(), loopback(), principals).await;
    let target = target.unwrap();
    for name in ["open", "ada", "nothing", "token:wrong@ada", "token:wrong@open"] {
        assert_eq!(info(&target, name).await, POLICY, "{name}");
    }
    assert_eq!(info(&target, "token:s3cret@ada").await, ACK);
    assert_eq!(info(&target, "token:s3cret@open").await, ACK);
    assert_eq!(info(&target, "token:s3cret@nothing").await, UNKNOWN);
    let mut client = Client::greeted(&target, 3).await.unwrap();
    assert_eq!(client.opt_end(3, &[]).await.unwrap(), POLICY, "a list for nobody");
    // The canonical name has no token in it.
    let replies = client.opt(6, &info_data("token:s3cret@ada", &[1])).await.unwrap();
    assert!(replies.iter().any(|reply| reply.data == b"\0\x01ada"), "{replies:?}");
    let mut refused = Client::greeted(&target, 3).await.unwrap();
    refused.send_opt(1, b"open").await.unwrap();
    refused.closed().await.unwrap();
    let mut client =
        Client::attached(&target, "token:s3cret@ada", Mode::Extended, &["base:allocation"]).await.unwrap();
    assert_ne!(client.flags & 1 << 12, 0, "contexts selected under the token's name count");
    client.get(0, 512).await.unwrap();
}

#[tokio::test]
async fn insecure_lets_anybody_in_but_not_to_what_is_somebodys() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, target) = serve(folder.path(), loopback(), Principals::new(true)).await;
    let target = target.unwrap();
    assert_eq!(info(&target, "open").await, ACK);
    assert_eq!(info(&target, "ada").await, UNKNOWN, "what one may not have is not there");
    let mut client = Client::greeted(&target, 3).await.unwrap();
    let replies = client.opt(3, &[]).await.unwrap();
    assert_eq!(replies.iter().filter(|reply| reply.kind == SERVER).count(), 1);
}

#[tokio::test]
async fn a_unix_peer_is_known_by_its_uid() {
    let folder = tempfile::tempdir().unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
    for (known, expected) in [(uid, ACK), (uid + 1, UNKNOWN)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listen = Listen::Unix { path: path.clone(), mode: 0o600 };
        let (_running, _) =
            serve(folder.path(), listen, Principals::new(false).with(Proof::Uid(known), "ada")).await;
        assert_eq!(info(&Target::Unix(path), "ada").await, expected);
    }
}

#[tokio::test]
async fn the_world_is_not_listened_to_without_tls() {
    let config =
        |insecure| NbdConfig::new(Listen::Tcp("0.0.0.0:0".parse().unwrap()), Principals::new(insecure));
    assert!(NbdServer::bind(config(false), Arc::new(ExportTable::new())).await.is_err());
    let running = NbdServer::bind(config(true), Arc::new(ExportTable::new())).await.unwrap();
    running.shutdown().await;
}

#[tokio::test]
async fn a_socket_left_over_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let config = || NbdConfig::new(Listen::Unix { path: path.clone(), mode: 0o600 }, Principals::new(false));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let running = NbdServer::bind(config(), Arc::new(ExportTable::new())).await.unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert!(NbdServer::bind(config(), Arc::new(ExportTable::new())).await.is_err());
    drop(running);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"a file of somebody").unwrap();
    assert!(NbdServer::bind(config(), Arc::new(ExportTable::new())).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a file of somebody");
}

#[tokio::test]
async fn sockets_of_a_service_manager_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("activated");
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let (_running, _) =
        serve(folder.path(), Listen::Inherited(OwnedFd::from(unix)), Principals::new(false)).await;
    assert_eq!(info(&Target::Unix(path), "open").await, ACK);
    let folder = tempfile::tempdir().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_running, target) =
        serve(folder.path(), Listen::Inherited(OwnedFd::from(tcp)), Principals::new(true)).await;
    assert_eq!(info(&target.unwrap(), "open").await, ACK);
}

#[tokio::test]
async fn a_handshake_has_a_deadline_and_a_number_of_options() {
    let limits =
        Limits { handshake_timeout: Duration::from_millis(200), options_max: 5, ..Limits::default() };
    let server = Server::with_limits(limits).await;
    let mut silent = Client::connect(&server.target).await.unwrap();
    silent.closed().await.unwrap();
    let mut between = Client::greeted(&server.target, 3).await.unwrap();
    between.closed().await.unwrap();
    let mut talkative = Client::greeted(&server.target, 3).await.unwrap();
    for _ in 0..5 {
        talkative.opt(3, &[]).await.unwrap();
    }
    talkative.send_opt(3, &[]).await.unwrap();
    talkative.closed().await.unwrap();
    // Once attached there is no deadline any more: the sixth client outlives the second one's.
    let mut attached = Client::attached(&server.target, "disk", Mode::Simple, &[]).await.unwrap();
    Client::connect(&server.target).await.unwrap().closed().await.unwrap();
    attached.get(0, 512).await.unwrap();
}

#[tokio::test]
async fn an_option_that_is_too_long_is_too_big() {
    let server = Server::start().await;
    let mut client = Client::greeted(&server.target, 3).await.unwrap();
    for option in [3, 6, 9, 99] {
        assert_eq!(client.opt_end(option, &vec![0; 40_000]).await.unwrap(), TOO_BIG);
    }
    client.go("disk").await.unwrap();
    assert_eq!(client.size, SIZE);
}

#[tokio::test]
async fn at_the_limit_of_connections_the_next_client_waits() {
    let server = Server::with_limits(Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = Client::attached(&server.target, "disk", Mode::Simple, &[]).await.unwrap();
    let mut second = Client::connect(&server.target).await.unwrap();
    let mut greeting = Box::pin(second.read(18));
    assert!(futures::poll!(&mut greeting).is_pending());
    first.get(0, 512).await.unwrap();
    assert!(futures::poll!(&mut greeting).is_pending());
    drop(first);
    assert_eq!(greeting.await.unwrap()[..8], *b"NBDMAGIC");
}

/// A client written by others against an older protocol: `NBD_OPT_EXPORT_NAME`, zeroes, simple replies,
/// one request at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_client_written_by_others_reads_what_it_wrote() {
    use std::io::{Read, Seek, SeekFrom, Write};
    let folder = tempfile::tempdir().unwrap();
    let (running, target) = serve(folder.path(), loopback(), Principals::new(true)).await;
    let Some(Target::Tcp(address)) = target else { unreachable!() };
    let old = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let export = nbd::client::handshake(&mut stream, b"open").unwrap();
        assert_eq!((export.size, export.readonly, export.send_flush), (SIZE, false, true));
        let mut client = nbd::client::NbdClient::new(&mut stream, &export);
        let data: Vec<u8> = (0..100_000_u32).map(|index| (index % 241) as u8).collect();
        client.seek(SeekFrom::Start(12_345)).unwrap();
        client.write_all(&data).unwrap();
        client.flush().unwrap();
        client.seek(SeekFrom::Start(12_345)).unwrap();
        let mut read = vec![0; data.len()];
        client.read_exact(&mut read).unwrap();
        assert!(read == data, "other bytes");
    });
    old.await.unwrap();
    running.shutdown().await;
}

#[tokio::test]
async fn the_only_export_has_the_empty_name_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listen = Listen::Unix { path: path.clone(), mode: 0o600 };
    let disk: Arc<dyn Export> = file(folder.path(), "only", FileOptions::default());
    let table = ExportTable::new().with("only", disk, Who::Anyone);
    let _running =
        NbdServer::bind(NbdConfig::new(listen, Principals::new(false)), Arc::new(table)).await.unwrap();
    let replies =
        Client::greeted(&Target::Unix(path), 3).await.unwrap().opt(6, &info_data("", &[1])).await.unwrap();
    assert!(replies.iter().any(|reply| reply.data == b"\0\x01only"), "{replies:?}");
}
