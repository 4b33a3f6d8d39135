//! Serves files over NBD with the gateway's own server: to try it, and for tests and measurements.
//!
//! ```sh
//! truncate -s 1G disk.img
//! cargo run --release -p gw-nbd --example nbd_file -- --unix /tmp/nbd.sock disk.img
//! nbdinfo nbd+unix:///?socket=/tmp/nbd.sock
//! ```
//!
//! `--help` lists the options. With `LISTEN_FDS` (systemd, libnbd's `nbd_connect_systemd_socket_activation`)
//! it serves the sockets it was given. SIGTERM and SIGINT end it after running requests.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to a terminal")]

use std::error::Error;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gw_nbd::{
    BlockSizes, ClientCertificates, Export, ExportTable, FileExport, FileOptions, Listen, NbdConfig,
    NbdServer, Principals, Proof, ServerTls, Token, Who,
};
use tokio::signal::unix::{SignalKind, signal};

const HELP: &str = "\
nbd_file [OPTIONS] [NAME=]FILE...

Serves regular files as block devices. NAME is the export's name (default: empty for the only file,
else the file's name).

  --unix PATH           listen on a unix socket (mode 0600)
  --tcp ADDR:PORT       listen on TCP; port 0 takes a free one, which is printed
                        with neither, the sockets of LISTEN_FDS are served
  --insecure            let clients over TCP in that prove nothing
  --token SECRET        let whoever writes token:SECRET@NAME in; the only way in over TCP then,
                        unless --insecure is given too
  --uid UID             only this user over unix sockets (default: whoever may open the socket)
  --tls DIR             server-cert.pem, server-key.pem and, for client certificates, ca-cert.pem
  --tls-verify-peer     require TLS and a client certificate signed by ca-cert.pem from everybody;
                        it is proof enough
  --tls-everywhere      require TLS from this machine too
  --read-only           take no writes
  --block-size MIN      minimum block in bytes, a power of two up to 65536 (default 1)
  --dirty               offer the context x-cess:dirty:since-open
  --request-timeout S   seconds until a request is answered with an error (default 25)
  --handshake-timeout S seconds for the handshake (default 10)
  --threads N           worker threads (default: one a core)
";

#[derive(Default)]
struct Options {
    unix: Option<PathBuf>,
    tcp: Option<String>,
    insecure: bool,
    token: Option<String>,
    uid: Option<u32>,
    tls: Option<PathBuf>,
    tls_verify_peer: bool,
    tls_everywhere: bool,
    file: FileOptions,
    request_timeout: Option<u64>,
    handshake_timeout: Option<u64>,
    threads: Option<usize>,
    files: Vec<String>,
}

type Anything<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match parse(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nbd_file: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Anything<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--unix" => options.unix = Some(value()?.into()),
            "--tcp" => options.tcp = Some(value()?),
            "--insecure" => options.insecure = true,
            "--token" => options.token = Some(value()?),
            "--uid" => options.uid = Some(value()?.parse()?),
            "--tls" => options.tls = Some(value()?.into()),
            "--tls-verify-peer" => options.tls_verify_peer = true,
            "--tls-everywhere" => options.tls_everywhere = true,
            "--read-only" => options.file.read_only = true,
            "--dirty" => options.file.track_dirty = true,
            "--block-size" => {
                let minimum: u32 = value()?.parse()?;
                options.file.blocks = BlockSizes::new(minimum, minimum.max(4096), 32 << 20)?;
            }
            "--request-timeout" => options.request_timeout = Some(value()?.parse()?),
            "--handshake-timeout" => options.handshake_timeout = Some(value()?.parse()?),
            "--threads" => options.threads = Some(value()?.parse()?),
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(options);
            }
            other if other.starts_with('-') => return Err(format!("there is no option {other}").into()),
            file => options.files.push(file.to_owned()),
        }
    }
    if options.files.is_empty() { Err("which file? --help says more".into()) } else { Ok(options) }
}

fn run(options: Options) -> Anything<()> {
    if options.files.is_empty() {
        return Ok(());
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = options.threads {
        runtime.worker_threads(threads.max(1));
    }
    runtime.enable_all().build()?.block_on(serve(options))
}

async fn serve(options: Options) -> Anything<()> {
    let restricted = options.token.is_some() || options.uid.is_some();
    let who =
        if restricted && !options.insecure { Who::Users(vec!["owner".to_owned()]) } else { Who::Anyone };
    let exports = exports(&options, &who)?;
    // A certificate that was verified is proof enough here; then nobody comes in without one.
    let certified = options.tls.is_some() && options.tls_verify_peer;
    let mut principals = Principals::new(options.insecure || certified);
    if let Some(secret) = &options.token {
        principals = principals.with(Proof::Token(Token::new(secret)), "owner");
    }
    if let Some(uid) = options.uid {
        principals = principals.with(Proof::Uid(uid), "owner");
    }
    let mut listen = listen(&options)?;
    let mut config = NbdConfig::new(listen.remove(0), principals);
    config.listen.append(&mut listen);
    config.tls = options.tls.as_deref().map(|folder| tls(folder, options.tls_verify_peer)).transpose()?;
    config.tls_everywhere = options.tls_everywhere || certified;
    if let Some(seconds) = options.request_timeout {
        config.limits.request_timeout = Duration::from_secs(seconds);
    }
    if let Some(seconds) = options.handshake_timeout {
        config.limits.handshake_timeout = Duration::from_secs(seconds);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = NbdServer::bind(config, Arc::new(exports)).await?;
    for address in running.tcp_addrs() {
        println!("listening on {address}");
    }
    println!("ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    if let Some(path) = options.unix {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn exports(options: &Options, who: &Who) -> Anything<ExportTable> {
    let mut table = ExportTable::new();
    for entry in &options.files {
        let (name, path) = match entry.split_once('=') {
            Some((name, path)) => (name.to_owned(), Path::new(path)),
            None if options.files.len() == 1 => (String::new(), Path::new(entry.as_str())),
            None => {
                let path = Path::new(entry.as_str());
                (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path)
            }
        };
        let file =
            FileOptions { description: format!("the file {}", path.display()), ..options.file.clone() };
        let export = FileExport::open(path, file).map_err(|error| format!("{}: {error}", path.display()))?;
        table = table.with(name, Arc::new(export) as Arc<dyn Export>, who.clone());
    }
    Ok(table)
}

fn listen(options: &Options) -> Anything<Vec<Listen>> {
    let mut places = Vec::new();
    if let Some(path) = &options.unix {
        places.push(Listen::Unix { path: path.clone(), mode: 0o600 });
    }
    if let Some(address) = &options.tcp {
        places.push(Listen::Tcp(address.parse()?));
    }
    if places.is_empty() {
        let mut inherited = listenfd::ListenFd::from_env();
        for index in 0..inherited.len() {
            // What kind of socket it is, the server finds out.
            let socket: Option<OwnedFd> = match inherited.take_unix_listener(index) {
                Ok(listener) => listener.map(OwnedFd::from),
                Err(_) => inherited.take_tcp_listener(index)?.map(OwnedFd::from),
            };
            places.extend(socket.map(Listen::Inherited));
        }
    }
    if places.is_empty() { Err("where to listen? --unix, --tcp, or LISTEN_FDS".into()) } else { Ok(places) }
}

fn tls(folder: &Path, verify: bool) -> Anything<ServerTls> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let authority = read("ca-cert.pem");
    let clients = match (&authority, verify) {
        (Ok(pem), true) => Some((pem.as_slice(), ClientCertificates::Required)),
        (Ok(pem), false) => Some((pem.as_slice(), ClientCertificates::Optional)),
        (Err(_), false) => None,
        (Err(error), true) => return Err(error.clone().into()),
    };
    Ok(ServerTls::from_pem(&read("server-cert.pem")?, &read("server-key.pem")?, clients)?)
}
