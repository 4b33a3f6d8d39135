//! A webhook's other side: HTTP/1.1 by hand, every message kept, answers as told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
    pub(crate) json: Value,
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
    /// The object's key; `-` for a test event.
    pub(crate) fn key(&self) -> &str {
        self.json["Records"][0]["s3"]["object"]["key"].as_str().unwrap_or("-")
    }
}

type Judge = dyn Fn(&Received) -> u16 + Send + Sync;

pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    all: watch::Receiver<Vec<Received>>,
    connections: Arc<AtomicUsize>,
}

impl Receiver {
    /// Answers each message with the status that `judge` gives.
    pub(crate) async fn start(judge: impl Fn(&Received) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let judge: Arc<Judge> = Arc::new(judge);
        let (keep, all) = watch::channel(Vec::new());
        let keep = Arc::new(keep);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(socket, Arc::clone(&judge), Arc::clone(&keep)));
            }
        });
        Self { addr, all, connections }
    }
    pub(crate) fn url(&self) -> String {
        format!("http://{}/events", self.addr)
    }
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
    /// All messages, once they fit.
    pub(crate) async fn when(&mut self, fits: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let wait = self.all.wait_for(|all| fits(all));
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("messages come").unwrap().clone()
    }
}

async fn serve(socket: TcpStream, judge: Arc<Judge>, keep: Arc<watch::Sender<Vec<Received>>>) {
    let mut socket = BufReader::new(socket);
    while let Some((headers, text)) = read(&mut socket).await {
        let json = serde_json::from_str(&text).unwrap();
        let mut received = Received { headers, text, json, status: 0 };
        received.status = judge(&received);
        let status = received.status;
        keep.send_modify(|all| all.push(received));
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 2\r\n\r\nok");
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<(Vec<(String, String)>, String)> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            None => assert!(line.starts_with("POST /events HTTP/1.1"), "{line}"),
        }
    }
    let len = headers.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
    let mut body = vec![0; len];
    socket.read_exact(&mut body).await.ok()?;
    Some((headers, String::from_utf8(body).unwrap()))
}
