//! A miner made of a closure, and a clock that is moved by hand.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gw_miner_client::{HttpMiners, HttpMinersConfig, ReadKey};
use gw_types::ports::{Clock, MinerAddr};
use gw_types::{AccountId, Timestamp};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Time stands still until it is moved.
#[derive(Clone, Debug)]
pub(crate) struct HandClock(Arc<watch::Sender<Duration>>);

impl HandClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000_000_000)
    }
    fn elapsed(&self) -> Duration {
        *self.0.borrow()
    }
    async fn sleep(&self, duration: Duration) {
        let until = self.elapsed() + duration;
        let _ = self.0.subscribe().wait_for(|now| *now >= until).await;
    }
}

pub(crate) fn client(change: impl FnOnce(&mut HttpMinersConfig)) -> HttpMiners {
    client_and_clock(change).0
}

pub(crate) fn client_and_clock(change: impl FnOnce(&mut HttpMinersConfig)) -> (HttpMiners, HandClock) {
    let mut config = HttpMinersConfig::default();
    change(&mut config);
    let clock = HandClock(Arc::new(watch::Sender::new(Duration::ZERO)));
    (HttpMiners::new(config, ReadKey::from_seed(&[3; 32]), Arc::new(clock.clone())), clock)
}

/// Serves every connection with `serve`, and counts them.
pub(crate) async fn miner<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> (MinerAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(socket));
        }
    });
    (MinerAddr { account: AccountId([8; 32]), endpoint }, count)
}

/// Reads one request with its body; gives the head in lower case, or `None` at the end.
pub(crate) async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; len];
    socket.read_exact(&mut body).await.ok()?;
    Some(head)
}
