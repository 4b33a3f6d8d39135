//! Rubbish from a seed: mutated options and requests, cut, repeated, sent in one go. After each round
//! the server still serves somebody else, has not panicked and keeps no connection.
//!
//! `NBD_FUZZ_SECONDS=3600 NBD_FUZZ_SEED=7 cargo test -p gw-nbd --test it fuzz` goes on for longer; the
//! seed of a failing round is printed. In a plain run it is a bounded number of rounds.

use std::time::{Duration, Instant};

use gw_nbd::{Limits, NbdMetrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, IHAVEOPT, Mode, be, info_data, meta_data};
use crate::harness::Server;

const ROUNDS: u64 = 300;

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
    /// A number that is likely to be a border of something.
    fn border(&mut self) -> u64 {
        let near = self.pick(&[
            0,
            512,
            4096,
            65536,
            1 << 20,
            1 << 25,
            40 << 20,
            1 << 31,
            1 << 32,
            1 << 63,
            u64::MAX,
        ]);
        near.wrapping_add(self.below(5)).wrapping_sub(2)
    }
    fn bytes(&mut self, max: u64) -> Vec<u8> {
        (0..self.below(max)).map(|_| self.roll() as u8).collect()
    }
}

fn option(dice: &mut Dice) -> Vec<u8> {
    let name = dice.pick(&["disk", "readonly", "blocks", "bare", "", "nothing", "token:x@disk"]);
    let mut data = match dice.below(6) {
        0 => Vec::new(),
        1 => info_data(name, &[0, 1, 2, 3, dice.roll() as u16]),
        2 => meta_data(name, &["base:allocation", "x-cess:", "base:", "qemu:x"]),
        3 => name.as_bytes().to_vec(),
        _ => dice.bytes(200),
    };
    let mut len = data.len() as u32;
    match dice.below(8) {
        0 if !data.is_empty() => {
            let at = dice.below(data.len() as u64) as usize;
            data[at] ^= 1 << dice.below(8);
        }
        1 => data.truncate(dice.below(data.len() as u64 + 1) as usize),
        2 => len = dice.border() as u32,
        _ => {}
    }
    let code = dice.pick(&[1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11, 12, u32::MAX]);
    let magic = if dice.below(40) == 0 { dice.roll() } else { IHAVEOPT };
    be(&[&magic.to_be_bytes(), &code.to_be_bytes(), &len.to_be_bytes(), &data])
}

fn request(dice: &mut Dice, client: &Client) -> Vec<u8> {
    let command = dice.pick(&[0, 0, 1, 1, 3, 4, 5, 6, 7, 7, 8, 2000]);
    let flags = if dice.below(2) == 0 { 0 } else { 1 << dice.below(7) };
    // Some lengths are those of the payload that follows, so that not every write runs away.
    let payload = if command == 1 || flags == 32 { dice.bytes(5000) } else { Vec::new() };
    let length = if dice.below(5) > 0 { payload.len().max(1) as u64 } else { dice.border() };
    let offset = if dice.below(3) > 0 { dice.below(40 << 20) } else { dice.border() };
    let mut bytes = client.request(command, flags, dice.roll(), offset, length);
    if dice.below(60) == 0 {
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.below(8);
    }
    be(&[&bytes, &payload])
}

/// One connection's worth of rubbish; whatever the server makes of it is right if it lives.
async fn round(server: &Server, dice: &mut Dice) {
    let flags = dice.pick(&[3, 3, 3, 1, 0, 7]);
    let client = match dice.below(4) {
        0 => Client::greeted(&server.target, flags).await.unwrap(),
        _ => {
            let mode = dice.pick(&[Mode::Simple, Mode::Structured, Mode::Extended]);
            let name = dice.pick(&["disk", "readonly", "blocks", "bare", "faulty"]);
            let contexts: &[&str] =
                if mode == Mode::Simple || dice.below(2) == 0 { &[] } else { &["base:allocation"] };
            Client::attached(&server.target, name, mode, contexts).await.unwrap()
        }
    };
    let attached = client.size > 0;
    let mut stream = Vec::new();
    for _ in 0..dice.below(20) {
        stream.extend(if attached { request(dice, &client) } else { option(dice) });
    }
    if dice.below(3) == 0 {
        stream.truncate(dice.below(stream.len() as u64 + 1) as usize);
    }
    let (mut reader, mut writer) = tokio::io::split(client.stream);
    let drop_early = dice.below(3) == 0;
    let sending = async {
        // The server may hang up first.
        let _ = writer.write_all(&stream).await;
        let _ = writer.shutdown().await;
    };
    let reading = async {
        let mut buffer = vec![0; 64 << 10];
        // A hard disconnect may be a reset.
        while !drop_early && matches!(reader.read(&mut buffer).await, Ok(count) if count > 0) {}
    };
    let both = async { tokio::join!(sending, reading) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("a stuck connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fuzzed_clients_harm_nobody() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seconds = number("NBD_FUZZ_SECONDS");
    let first = number("NBD_FUZZ_SEED").unwrap_or(1);
    let begun = Instant::now();
    let limits = Limits { write_stall_timeout: Duration::from_secs(5), ..Limits::default() };
    let server = Server::with_limits(limits).await;
    let mut witness = Client::attached(&server.target, "disk", Mode::Structured, &[]).await.unwrap();
    let mut rounds = 0;
    while seconds.map_or(rounds < ROUNDS, |seconds| begun.elapsed().as_secs() < seconds) {
        let seed = first.wrapping_add(rounds);
        round(&server, &mut Dice(seed)).await;
        if let Err(error) = witness.get(0, 512).await {
            panic!("seed {seed}: the server serves nobody any more: {error}");
        }
        rounds += 1;
    }
    let metrics = server.running.metrics();
    let left = async {
        while NbdMetrics::get(&metrics.connections) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left)
        .await
        .expect("a connection is kept for a client that is gone");
    println!("{rounds} rounds from seed {first}");
    server.running.shutdown().await;
}
