//! NATS: what is on the wire, against a server of a few lines that speaks the client protocol and
//! answers publishes as JetStream does ("NATS protocol", "JetStream wire API": publish acknowledgement).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gw_events::{NatsConfig, RunningEvents, TargetConfig, TargetKind};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::backing::{Here, Machine};
use crate::delivery::quick;

/// Subject, headers and body of one publish.
type Published = (String, String, String);

struct Server {
    url: String,
    all: watch::Receiver<Vec<Published>>,
}

impl Server {
    /// Leaves the first `deaf` publishes without an answer, and cuts the connection after them.
    async fn start(deaf: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (keep, all) = watch::channel(Vec::new());
        let (keep, deaf) = (Arc::new(keep), Arc::new(AtomicUsize::new(deaf)));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&keep), Arc::clone(&deaf)));
            }
        });
        Self { url, all }
    }
}

async fn serve(
    socket: TcpStream,
    keep: Arc<watch::Sender<Vec<Published>>>,
    deaf: Arc<AtomicUsize>,
) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let info = r#"INFO {"server_id":"test","server_name":"test","version":"2.10.0","go":"","host":"127.0.0.1","port":1,"headers":true,"max_payload":1048576,"proto":1,"client_id":1,"jetstream":true}"#;
    socket.write_all(format!("{info}\r\n").as_bytes()).await.ok()?;
    let mut inbox = String::new();
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["PING"] => socket.write_all(b"PONG\r\n").await.ok()?,
            ["SUB", _, sid] => inbox = (*sid).to_owned(),
            ["HPUB", subject, reply, head, total] => {
                let (head, total): (usize, usize) = (head.parse().ok()?, total.parse().ok()?);
                let mut bytes = vec![0; total + 2];
                socket.read_exact(&mut bytes).await.ok()?;
                let text = String::from_utf8(bytes).ok()?;
                let published =
                    ((*subject).to_owned(), text[..head].to_owned(), text[head..total].to_owned());
                let count = keep.borrow().len();
                keep.send_modify(|all| all.push(published));
                if count < deaf.load(Ordering::SeqCst) {
                    return None;
                }
                let ack = format!(r#"{{"stream":"S","seq":{}}}"#, count + 1);
                let answer = format!("MSG {reply} {inbox} {}\r\n{ack}\r\n", ack.len());
                socket.write_all(answer.as_bytes()).await.ok()?;
            }
            _ => {}
        }
    }
}

fn nats(server: &Server) -> TargetConfig {
    let kind =
        NatsConfig { urls: vec![server.url.clone()], subject: "s3.events".to_owned(), credentials: None };
    TargetConfig { timeout: Duration::from_secs(1), parallel: 1, ..quick(TargetKind::Nats(kind)) }
}

#[tokio::test]
async fn an_event_is_taken_when_the_stream_says_so_and_told_again_when_it_does_not() {
    let machine = Machine::new();
    let here = Here::new(&machine).await;
    here.put("k").await;
    let server = Server::start(1).await;
    let running = RunningEvents::start(&here.store, "cess-1", vec![nats(&server)]).unwrap();
    here.queue_becomes(|queue| queue.pending == 0 && queue.delivered == 2).await;
    let all = server.all.borrow().clone();
    assert!(all.len() >= 3, "the unanswered one came again: {all:?}");
    let id = |head: &str| head.lines().find(|line| line.starts_with("Nats-Msg-Id")).map(str::to_owned);
    let again = all.iter().filter(|(_, head, _)| id(head) == id(&all[0].1)).count();
    assert_eq!(again, 2);
    let (subject, head, body) = all.iter().find(|(.., body)| body.contains("Records")).unwrap();
    assert_eq!(subject, "s3.events");
    assert!(head.starts_with("NATS/1.0\r\n") && head.contains("Cess-Event: ObjectCreated:Put"), "{head}");
    assert!(body.contains(r#""key":"k""#), "{body}");
    running.stop().await;
}
