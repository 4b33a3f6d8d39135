//! A gateway of its own for each test, and both clients.

use std::net::SocketAddr;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use gw_s3::{RunningS3, S3Config, S3Server};
use gw_store::Store;

use crate::backing;
use crate::wire::{Reply, Wire};

pub(crate) const ACCESS_KEY: &str = "AKIATEST";
pub(crate) const SECRET: &str = "canary-secret-0123456789";
pub(crate) const BUCKET: &str = "bucket";

/// A listening frontend with one user `ann`, another `bob`, and the bucket `bucket` of ann's.
pub(crate) struct Gateway {
    pub(crate) running: RunningS3,
    pub(crate) addr: SocketAddr,
    pub(crate) store: Arc<Store>,
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut S3Config)) -> Self {
        let gateway = Self::start_bare(change).await;
        let made = gateway.wire("PUT", &format!("/{BUCKET}")).send().await;
        assert_eq!(made.status, 200, "{made:?}");
        gateway
    }

    /// Without the bucket.
    pub(crate) async fn start_bare(change: impl FnOnce(&mut S3Config)) -> Self {
        let mut config = S3Config { listen: "127.0.0.1:0".parse().unwrap(), ..S3Config::default() };
        change(&mut config);
        let store = backing::store(&[("ann", ACCESS_KEY, SECRET), ("bob", "AKIABOB", "bobs-secret")]).await;
        let running = S3Server::bind(config, Arc::clone(&store)).await.unwrap();
        let addr = running.local_addr();
        Self { running, addr, store }
    }

    /// aws-sdk-s3 as ann.
    pub(crate) fn sdk(&self) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("cess-1"))
            .endpoint_url(format!("http://{}", self.addr))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET, None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .force_path_style(true)
            .build();
        Client::from_conf(config)
    }

    /// A request by hand, as ann. The path is sent as it stands.
    pub(crate) fn wire(&self, method: &str, target: &str) -> Wire {
        Wire::new(self.addr, method, target)
    }

    pub(crate) async fn put(&self, key: &str, body: &[u8]) -> Reply {
        let reply = self.wire("PUT", &format!("/{BUCKET}/{key}")).body(body).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
    }

    pub(crate) async fn get(&self, key: &str) -> Reply {
        self.wire("GET", &format!("/{BUCKET}/{key}")).send().await
    }

    /// Asserts that nothing is at the key.
    pub(crate) async fn assert_absent(&self, key: &str) {
        let reply = self.get(key).await;
        assert_eq!((reply.status, reply.code()), (404, "NoSuchKey"), "{reply:?}");
    }
}

/// Bytes that differ everywhere.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let next = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    next.take(len).collect()
}

pub(crate) fn stream(bytes: &[u8]) -> ByteStream {
    ByteStream::from(bytes.to_vec())
}

/// Status and code of an error the SDK got.
pub(crate) fn told<T, E>(result: Result<T, SdkError<E>>) -> (u16, String)
where
    T: std::fmt::Debug,
    SdkError<E>: ProvideErrorMetadata,
{
    let error = result.expect_err("an error");
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}
