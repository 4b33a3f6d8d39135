//! JetStream for real: NATS' own server, where the environment variable `NATS_SERVER` names its program
//! (`go install github.com/nats-io/nats-server/v2@latest`). Without it the tests say that they were
//! skipped. The server keeps its stream in a folder, so that it can be killed and started again.

#![expect(clippy::print_stderr, reason = "a test that was skipped says so")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use futures::StreamExt as _;
use gw_events::{NatsConfig, RunningEvents, TargetConfig, TargetKind};
use serde_json::Value;

use crate::backing::{Here, Machine};
use crate::delivery::quick;

const SUBJECT: &str = "s3.events";

/// A server on loopback; killed, and its folder gone, when this is dropped.
struct NatsServer {
    program: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    url: String,
}

impl NatsServer {
    /// `None`, after saying so, where no program is named.
    async fn start(name: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("NATS_SERVER") else {
            eprintln!("skipped: NATS_SERVER names no nats-server");
            return None;
        };
        let folder = std::env::temp_dir().join(format!("nats-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut server = Self { program: program.into(), folder, child: None, url: String::new() };
        server.url = server.run("-1").await;
        Some(server)
    }

    /// Starts the program and returns where it listens, which a file of its own tells.
    async fn run(&mut self, port: &str) -> String {
        let mut command = Command::new(&self.program);
        command.args(["-a", "127.0.0.1", "-p", port, "-js", "-sd"]).arg(self.folder.join("js"));
        command.arg("--ports_file_dir").arg(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        let child = self.child.insert(command.spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            assert!(child.try_wait().unwrap().is_none(), "nats-server ended");
            if let Some(url) = listens(&self.folder, child.id()) {
                return url;
            }
            assert!(Instant::now() < until, "nats-server tells no port");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// On the port that it had.
    async fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().to_owned();
        assert_eq!(self.run(&port).await, self.url);
    }

    async fn stream(&self) -> stream::Stream {
        let context = jetstream::new(async_nats::connect(&self.url).await.unwrap());
        let config = stream::Config {
            name: "S3".to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            ..Default::default()
        };
        context.get_or_create_stream(config).await.unwrap()
    }

    fn target(&self) -> TargetConfig {
        let kind =
            NatsConfig { urls: vec![self.url.clone()], subject: SUBJECT.to_owned(), credentials: None };
        TargetConfig { timeout: Duration::from_secs(1), ..quick(TargetKind::Nats(kind)) }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn listens(folder: &Path, pid: u32) -> Option<String> {
    let all = std::fs::read_dir(folder).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let mut ours = all.filter(|path| path.to_string_lossy().ends_with(&format!("_{pid}.ports")));
    // A file that is being written is no JSON yet.
    let value: Value = serde_json::from_slice(&std::fs::read(ours.next()?).ok()?).ok()?;
    value["nats"][0].as_str().map(str::to_owned)
}

/// Keys of all events in the stream, in its order, and that no number is there twice.
async fn keys(stream: &mut stream::Stream) -> Vec<String> {
    let last = stream.info().await.unwrap().state.last_sequence;
    let (mut keys, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await.unwrap();
        assert_eq!(message.subject.as_str(), SUBJECT);
        assert!(ids.insert(message.headers.get("Nats-Msg-Id").unwrap().to_string()));
        let body: Value = serde_json::from_slice(&message.payload).unwrap();
        if let Some(key) = body["Records"][0]["s3"]["object"]["key"].as_str() {
            keys.push(key.to_owned());
        }
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_each_event_once_over_a_crash_of_the_server() {
    let Some(mut server) = NatsServer::start("crash").await else { return };
    let here = Here::new(&Machine::new()).await;
    drop(server.stream().await);
    let running = RunningEvents::start(&here.store, "cess-1", vec![server.target()]).unwrap();
    for key in ["a", "b", "c"] {
        here.put(key).await;
    }
    here.queue_becomes(|queue| queue.pending == 0).await;
    server.kill();
    for key in ["d", "e"] {
        here.put(key).await;
    }
    here.queue_becomes(|queue| queue.pending == 2).await;
    server.start_again().await;
    here.queue_becomes(|queue| queue.pending == 0).await;
    running.stop().await;
    let mut all = keys(&mut server.stream().await).await;
    // Keys may overtake each other.
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d", "e"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_a_stream_that_is_not_there_yet() {
    let Some(server) = NatsServer::start("late").await else { return };
    let here = Here::new(&Machine::new()).await;
    let running = RunningEvents::start(&here.store, "cess-1", vec![server.target()]).unwrap();
    // Somebody who only listens hears the event and takes nothing on.
    let client = async_nats::connect(&server.url).await.unwrap();
    let mut listener = client.subscribe(SUBJECT).await.unwrap();
    client.flush().await.unwrap();
    here.put("k").await;
    listener.next().await.unwrap();
    listener.unsubscribe().await.unwrap();
    assert!(here.queue().await.pending > 0);
    let mut stream = server.stream().await;
    here.queue_becomes(|queue| queue.pending == 0).await;
    running.stop().await;
    assert_eq!(keys(&mut stream).await, ["k"]);
}
