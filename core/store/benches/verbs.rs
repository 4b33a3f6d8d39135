//! CPU time of the store's common verbs, on model ports: what is left is the store's own work, the
//! database's and the sealing.
//!
//! `cargo bench -p gw-store` prints microseconds of CPU a call (user and system, all threads, from
//! /proc/self/stat, whose clock ticks are 10 ms). Under `cargo test` everything runs once, small.

#![allow(clippy::print_stdout, reason = "figures are for a person")]
#![allow(clippy::unwrap_used, reason = "a bench that is surprised shall fail")]

#[allow(dead_code)]
#[path = "../tests/it/assemble.rs"]
mod assemble;
#[allow(dead_code)]
#[path = "../tests/it/support.rs"]
mod support;

use std::time::Instant;

use gw_store::{
    CompleteOptions, CompletePart, FinishOptions, ListRequest, ListStart, PartNumber, ReadOptions, UploadId,
    UploadOptions,
};

use assemble::Machine;
use support::{Here, key};

/// Clock ticks a second in /proc, on every Linux there is (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

async fn measure(what: &str, count: usize, mut call: impl AsyncFnMut(usize)) {
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    for number in 0..count {
        call(number).await;
    }
    let micros = |seconds: f64| seconds * 1e6 / count as f64;
    let (cpu, wall) = (micros(cpu_seconds() - cpu), micros(wall.elapsed().as_secs_f64()));
    println!("{what:<44} {count:>7} calls {cpu:>9.1} us CPU {wall:>9.1} us wall");
}

/// An upload of small parts, each put for itself.
async fn many_parts(here: &Here, count: u16) -> (UploadId, Vec<CompletePart>) {
    let at = key("parts");
    let options = UploadOptions::default();
    let upload = here.store.upload_create(&here.who, &here.bucket, &at, options).await.unwrap().upload_id;
    let mut parts = Vec::new();
    for number in 1..=count {
        let number = PartNumber::new(number).unwrap();
        let put = here.store.upload_put_part(&here.who, &here.bucket, &at, upload, number, Some(16), None);
        let mut writer = put.await.unwrap();
        writer.write(vec![7; 16].into()).await.unwrap();
        let etag = writer.finish(FinishOptions::default()).await.unwrap().etag;
        parts.push(CompletePart { number, etag: Some(etag), checksums: Vec::new() });
    }
    (upload, parts)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let count = |wanted: usize| if full { wanted } else { wanted / 2000 + 2 };
    let here = Here::new(Machine::new().open().await, "bench").await;
    let body = vec![7; 4096];
    let objects = count(50_000);
    measure("put 4 KiB, new key, 1 directory deep", objects, async |number| {
        here.put(&format!("data/{number:08}"), &body).await;
    })
    .await;
    measure("put 4 KiB, over an old one", count(20_000), async |number| {
        here.put(&format!("data/{:08}", number % objects), &body).await;
    })
    .await;
    measure("head", count(100_000), async |number| {
        let at = key(&format!("data/{:08}", number % objects));
        here.store.head(&here.who, &here.bucket, &at, ReadOptions::default()).await.expect("it was put");
    })
    .await;
    measure("get 4 KiB", count(50_000), async |number| {
        here.get(&format!("data/{:08}", number % objects)).await.expect("it was put");
    })
    .await;
    let list = async |delimiter: Option<&str>, number: usize| {
        let request = ListRequest {
            prefix: "data/".to_owned(),
            delimiter: delimiter.map(str::to_owned),
            start: ListStart::After(format!("data/{:08}", number * 37 % objects)),
            ..ListRequest::new(here.bucket.clone())
        };
        here.store.list(&here.who, request).await.expect("the bucket is there");
    };
    measure("list 1000 keys, no delimiter", count(2000), async |number| list(None, number).await).await;
    measure("list 1000 keys, delimiter '/'", count(2000), async |number| list(Some("/"), number).await).await;
    let (upload, parts) = many_parts(&here, if full { 10_000 } else { 300 }).await;
    measure("complete an upload of all its parts", 1, async |_| {
        let (at, options) = (key("parts"), CompleteOptions::default());
        let done = here.store.upload_complete(&here.who, &here.bucket, &at, upload, parts.clone(), options);
        done.await.expect("the parts are there");
    })
    .await;
    measure("delete", objects, async |number| {
        here.delete(&format!("data/{number:08}")).await;
    })
    .await;
}
