//! Where log lines go: standard error, filtered by RUST_LOG or -v.

use tracing_subscriber::EnvFilter;

/// s3s logs each S3 error at ERROR with the request span, a plain 404 too: its level is lowered.
const QUIET: &str =
    "s3s=off,sled=warn,fjall=warn,lsm_tree=warn,hyper=warn,subxt=warn,jsonrpsee=warn,runtime=warn";

/// Starts logging. `verbose`: 0 info, 1 debug, 2 trace; RUST_LOG, where set, decides instead.
pub fn start(verbose: u8) {
    let level = ["info", "debug", "trace"][usize::from(verbose.min(2))];
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},access=warn,{QUIET}")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call (tests) keeps the first subscriber.
    log.try_init().ok();
}
