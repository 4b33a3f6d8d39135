//! What the S3 frontend can be told, with its limits.
//!
//! Every queue, wait and body has a named maximum here (architecture, promise 5). When one is
//! reached somebody waits or is refused with an error that says so; nothing grows.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use gw_store::{KeyLimits, Ownership, PublicBlock};

use crate::access_lines::AccessLines;
use crate::tls::ServerTls;

/// How the S3 frontend listens, what it calls itself and what it allows.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Address to listen on. Port 0 picks a free one; [`crate::RunningS3::local_addr`] tells which.
    pub listen: SocketAddr,
    /// Regions a credential scope may name. The first is the default: the one that errors and
    /// `GetBucketLocation` name.
    pub regions: Vec<String>,
    /// Domains under which `BUCKET.DOMAIN` addresses a bucket. Any other `Host` is path style.
    pub base_domains: Vec<String>,
    /// Domains under which `BUCKET.DOMAIN` is the website of a bucket.
    pub website_domains: Vec<String>,
    /// Whether presigned queries and form policies may be signed with Signature Version 2, which
    /// old clients make unasked. Headers so signed are always refused.
    pub sigv2_presigned: bool,
    /// Certificate and key; `None`: plain HTTP.
    pub tls: Option<ServerTls>,
    /// How fast each access key may be used, where its account has no limits of its own.
    pub key_limits: KeyLimits,
    /// How open buckets are made.
    pub new_buckets: NewBuckets,
    /// Targets that buckets may send events to; the store knows them by the same names.
    pub event_arns: Vec<EventArn>,
    /// Who takes a line for each request; `None`: nobody.
    pub access_lines: Option<AccessLines>,
    /// How buckets' access logs are gathered.
    pub logs: LogLimits,
    /// The maxima.
    pub limits: Limits,
}

/// How lines of buckets' access logs become objects.
#[derive(Clone, Debug)]
pub struct LogLimits {
    /// Age of the oldest line at which an object is put.
    pub flush_every: Duration,
    /// Bytes at which an object is put before that.
    pub object_bytes_max: usize,
    /// Bytes gathered for all buckets, at which all are put.
    pub gathered_bytes_max: usize,
    /// Lines that wait to be gathered; more are lost and counted.
    pub lines_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            flush_every: Duration::from_secs(300),
            object_bytes_max: 1 << 20,
            gathered_bytes_max: 16 << 20,
            lines_max: 10_000,
        }
    }
}

/// A target of events, as ARNs name it: `arn:cess:sqs:REGION:NAME:KIND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventArn {
    /// Its name.
    pub name: String,
    /// `webhook` or `nats`.
    pub kind: String,
}

/// How open a bucket is made, where its request does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewBuckets {
    /// As AWS since April 2023: lists are off, and access by strangers is blocked.
    #[default]
    Closed,
    /// As AWS before: lists count, objects belong to their writer, nothing is blocked.
    Classic,
}

impl NewBuckets {
    pub(crate) fn ownership(self) -> Option<Ownership> {
        (self == Self::Closed).then_some(Ownership::BucketOwnerEnforced)
    }
    pub(crate) fn public_block(self) -> Option<PublicBlock> {
        (self == Self::Closed).then_some(PublicBlock::ALL)
    }
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
            regions: vec!["cess-1".to_owned(), "us-east-1".to_owned()],
            base_domains: Vec::new(),
            website_domains: Vec::new(),
            sigv2_presigned: false,
            tls: None,
            key_limits: KeyLimits::default(),
            new_buckets: NewBuckets::default(),
            event_arns: Vec::new(),
            access_lines: None,
            logs: LogLimits::default(),
            limits: Limits::default(),
        }
    }
}

/// The named maxima of the frontend.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; the next one waits in the listen queue of the kernel.
    pub connections_max: usize,
    /// Bytes of all header names and values of one request (431 above it).
    pub header_bytes_max: usize,
    /// Headers of one request (431 above it).
    pub header_count_max: usize,
    /// How long a client may take for its TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// How long a connection may stand without a request.
    pub idle_timeout: Duration,
    /// How long a client may leave a response unread before the connection is cut.
    pub write_stall_timeout: Duration,
    /// How long a request body may keep us waiting before its rate is looked at.
    pub body_grace: Duration,
    /// The rate below which a body is cut after [`Limits::body_grace`], in bytes of time that we
    /// spent waiting for the client (our own slowness is never counted against it).
    pub body_bytes_per_second_min: u64,
    /// How much of a body that nobody wants any more is read and thrown away, so that a client that
    /// is still sending gets to see the error instead of a broken connection.
    pub linger_bytes_max: u64,
    /// How long that may take.
    pub linger_timeout: Duration,
    /// XML request bodies (`DeleteObjects`, `CompleteMultipartUpload`, ...).
    pub xml_bytes_max: usize,
    /// A signed chunk of an aws-chunked body: it is held in memory until its signature is checked.
    /// Unsigned chunks have no limit, they are passed on piece by piece.
    pub signed_chunk_bytes_max: u64,
    /// Body of one `PutObject` or `UploadPart` (AWS: 5 GiB).
    pub put_bytes_max: u64,
    /// Concurrent HTTP/2 streams of a connection.
    pub http2_streams_max: u32,
    /// How far a client's clock may be off (AWS: 15 minutes).
    pub clock_skew: Duration,
    /// How long [`crate::RunningS3::shutdown`] lets running requests go on.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            header_bytes_max: 16 << 10,
            // 2 KiB of metadata (AWS's limit) in short headers, and everything else.
            header_count_max: 256,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(60),
            body_grace: Duration::from_secs(30),
            body_bytes_per_second_min: 1 << 10,
            linger_bytes_max: 4 << 20,
            linger_timeout: Duration::from_secs(5),
            // 10 000 parts with a checksum each are about 2.5 MB; 1000 keys of 1024 bytes, 1.1 MB.
            xml_bytes_max: 4 << 20,
            signed_chunk_bytes_max: 16 << 20,
            put_bytes_max: 5 << 30,
            http2_streams_max: 64,
            clock_skew: Duration::from_secs(900),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
