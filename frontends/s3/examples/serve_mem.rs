//! Serves S3 from a store in memory, for trying clients and for conformance suites:
//! `serve_mem [ADDRESS [USER:ACCESS_KEY:SECRET ...]]` (127.0.0.1:9000, demo:demo:demo-secret).
//!
//! With `SERVE_CLASSIC` set, new buckets are as AWS made them before 2023 and Signature
//! Version 2 is let in where it may be. Regions cess-1 and us-east-1. Everything is gone when it ends. `listening on ADDRESS` goes to
//! standard output (port 0 picks a free port), access lines to standard error (`RUST_LOG`).

#![expect(clippy::print_stdout, reason = "a program that scripts start says where it listens")]

#[path = "../tests/it/backing.rs"]
mod backing;

use std::error::Error;

use gw_s3::{LOG_DIRECTIVE, NewBuckets, S3Config, S3Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = format!("{level},{LOG_DIRECTIVE}");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut config = S3Config::default();
    if std::env::var_os("SERVE_CLASSIC").is_some() {
        config.new_buckets = NewBuckets::Classic;
        config.sigv2_presigned = true;
        // ceph/s3-tests signs requests of IAM and STS for a region without a name.
        config.regions.push(String::new());
    }
    let mut args = std::env::args().skip(1);
    if let Some(address) = args.next() {
        config.listen = address.parse()?;
    }
    let mut users: Vec<String> = args.collect();
    if users.is_empty() {
        users.push("demo:demo:demo-secret".to_owned());
    }
    let users: Vec<(&str, &str, &str)> = users.iter().map(|user| words(user)).collect::<Result<_, _>>()?;
    let store = backing::store(&users).await;
    let running = S3Server::bind(config, store).await?;
    println!("listening on {}", running.local_addr());
    tracing::info!(address = %running.local_addr(), "ready");
    tokio::signal::ctrl_c().await?;
    running.shutdown().await;
    Ok(())
}

fn words(user: &str) -> Result<(&str, &str, &str), String> {
    let mut words = user.splitn(3, ':');
    match (words.next(), words.next(), words.next()) {
        (Some(name), Some(access_key), Some(secret)) => Ok((name, access_key, secret)),
        _ => Err(format!("{user:?} is not USER:ACCESS_KEY:SECRET")),
    }
}
