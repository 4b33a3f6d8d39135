//! Serves S3 from a store in memory, for trying clients: `serve_mem [ADDRESS]` (127.0.0.1:9000).
//!
//! Access key `demo`, secret `demo-secret`, region cess-1. Everything is gone when it ends. Access
//! lines go to standard error.

#[path = "../tests/it/backing.rs"]
mod backing;

use std::error::Error;

use gw_s3::{LOG_DIRECTIVE, S3Config, S3Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = format!("info,{LOG_DIRECTIVE}");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut config = S3Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = address.parse()?;
    }
    let store = backing::store(&[("demo", "demo", "demo-secret")]).await;
    let running = S3Server::bind(config, store).await?;
    tracing::info!(address = %running.local_addr(), "ready");
    tokio::signal::ctrl_c().await?;
    running.shutdown().await;
    Ok(())
}
