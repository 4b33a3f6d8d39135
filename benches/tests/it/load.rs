//! Promises of the load runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use benches::s3load::load::{LoadArgs, Op, load, read_mix};
use benches::s3load::report::Report;
use clap::Parser;

use crate::server::Server;

/// The defaults of the command line.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: LoadArgs,
}

fn args(server: &Server, flags: &str) -> LoadArgs {
    let line = ["load", "--endpoint", "http://127.0.0.1:1"].into_iter().chain(flags.split_whitespace());
    let mut args = Line::parse_from(line).args;
    args.target = server.target();
    args
}

fn run(server: &Arc<Server>, op: Op, flags: &str) -> Report {
    load("test", &args(server, flags), vec![(op, 1)]).unwrap()
}

fn count(report: &Report) -> u64 {
    report.ops.iter().map(|op| op.count).sum()
}

#[test]
fn every_kind_is_asked_counted_and_compared() {
    let server = Server::start();
    let flags = "--keys 40 --size 100:1,4KiB:1,300KiB:1 --count 600 --connections 5 --prefill --range-len 50";
    let mix = read_mix("put=1,get=1,range=1,head=1,list=1").unwrap();
    let report = load("mixed", &args(&server, flags), mix).unwrap();
    assert!(report.is_good(), "{report}");
    assert_eq!((report.ops.len(), count(&report)), (5, 600));
    assert!(report.server.is_some() && report.client.is_some());
    assert_eq!(server.objects.lock().unwrap().len(), 40);
}

#[test]
fn several_threads_share_the_count() {
    let server = Server::start();
    let report = run(&server, Op::Put, "--keys 100 --count 100 --connections 7 --threads 3 --sign-bodies");
    assert_eq!(count(&report), 100, "{report}");
    assert_eq!(server.objects.lock().unwrap().len(), 100);
}

#[test]
fn deletes_end_with_the_keys() {
    let server = Server::start();
    run(&server, Op::Put, "--keys 30 --count 30");
    let report = run(&server, Op::Delete, "--keys 30");
    assert_eq!(count(&report), 30);
    assert!(server.objects.lock().unwrap().is_empty());
}

#[test]
fn a_run_ends_by_its_duration() {
    let server = Server::start();
    let started = Instant::now();
    let report = run(&server, Op::Put, "--duration 200ms --connections 2");
    assert!(report.is_good() && report.seconds >= 0.2);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn one_wrong_byte_is_an_error() {
    let server = Server::start();
    run(&server, Op::Put, "--keys 5 --count 5");
    for body in server.objects.lock().unwrap().values_mut() {
        body[4000] ^= 1;
    }
    let report = run(&server, Op::Get, "--keys 5 --count 50");
    assert_eq!(report.errors["wrong bytes"], 50);
    assert!(report.messages[0].contains("byte 4000 is not what was written"), "{report}");
    assert!(run(&server, Op::Get, "--keys 5 --count 50 --no-verify").is_good());
}

#[test]
fn refusals_are_counted_by_their_code() {
    let server = Server::start();
    server.faults.refuse_puts.store(true, Ordering::SeqCst);
    let report = run(&server, Op::Put, "--count 20");
    assert!(!report.is_good());
    assert_eq!(report.errors["503 SlowDown"], 20);
    assert_eq!(run(&server, Op::Head, "--count 3").errors["404"], 3);
}

#[test]
fn a_server_that_leaves_ends_the_run() {
    let server = Server::start();
    // One request makes the bucket.
    server.leave_after(11);
    let report = run(&server, Op::Put, "--connections 2");
    assert_eq!(count(&report), 10);
    assert!(report.errors["broken"] >= 2);
}
