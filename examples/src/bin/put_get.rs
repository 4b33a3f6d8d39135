//! Using the gateway from Rust, with Amazon's own S3 client.
//!
//! Start a gateway, then run this against it:
//!
//! ```text
//! cess-gateway dev --ready-file ready.json
//! cargo run -p examples --bin put_get -- ready.json
//! ```
//!
//! Or name the gateway by AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and
//! AWS_SECRET_ACCESS_KEY and give no argument.
//!
//! It makes a bucket, puts an object, reads a range of it, puts 12 MiB in parts, lists, and deletes
//! what it made. Nothing here is special to the gateway but two settings: its endpoint, and path-style
//! addresses (`host/bucket/key`), because `bucket.localhost` is not a name that resolves everywhere.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Config, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BUCKET: &str = "example-put-get";
/// S3 wants at least 5 MiB in every part but the last.
const PART_BYTES: usize = 5 << 20;
const LARGE_BYTES: usize = 12 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let s3 = connect()?;

    // A bucket. Making one that is already ours is not an error worth stopping for.
    if let Err(error) = s3.create_bucket().bucket(BUCKET).send().await {
        let error = error.into_service_error();
        if !error.is_bucket_already_owned_by_you() {
            return Err(error.into());
        }
    }

    put_and_read_a_range(&s3).await?;
    put_in_parts(&s3).await?;
    list(&s3).await?;
    delete_all(&s3).await
}

/// From a ready file, or from the variables that all AWS tools know.
fn connect() -> Result<Client> {
    let [endpoint, region, access_key, secret_key] = match std::env::args().nth(1) {
        Some(path) => {
            let ready: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
            ["s3", "region", "access_key", "secret_key"].map(|name| ready[name].as_str().map(str::to_owned))
        }
        None => ["AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
            .map(|name| std::env::var(name).ok()),
    }
    .map(|value| value.ok_or("name a ready file, or set the AWS_… variables (see the top of this file)"));

    let config = Config::builder()
        .endpoint_url(endpoint?)
        .region(Region::new(region?))
        .credentials_provider(Credentials::new(access_key?, secret_key?, None, None, "example"))
        .force_path_style(true)
        // The gateway speaks plain HTTP here, so this client is built without TLS.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Ok(Client::from_conf(config))
}

/// A small object, and eight bytes from its middle.
async fn put_and_read_a_range(s3: &Client) -> Result<()> {
    let text = "Sealed, cut in twelve, and sent to twelve miners.";
    let put = s3.put_object().bucket(BUCKET).key("texts/first.txt").content_type("text/plain");
    let put =
        put.metadata("written-by", "put_get").body(ByteStream::from_static(text.as_bytes())).send().await?;
    println!("put     texts/first.txt, ETag {}", put.e_tag().unwrap_or_default());

    let got = s3.get_object().bucket(BUCKET).key("texts/first.txt").range("bytes=12-17").send().await?;
    println!("got     {}, written by {:?}", got.content_range().unwrap_or_default(), got.metadata());
    let bytes = got.body.collect().await?.into_bytes();
    assert_eq!(bytes, &text.as_bytes()[12..18]);
    println!("        {:?}", String::from_utf8_lossy(&bytes));
    Ok(())
}

/// 12 MiB in three parts. Nobody sees the object before it is complete.
async fn put_in_parts(s3: &Client) -> Result<()> {
    let key = "large/twelve-mebibytes";
    let bytes: Vec<u8> = (0..LARGE_BYTES as u32 / 4).flat_map(u32::to_le_bytes).collect();
    let upload = s3.create_multipart_upload().bucket(BUCKET).key(key).send().await?;
    let upload_id = upload.upload_id().ok_or("the answer names no upload")?;

    let mut parts = Vec::new();
    for (number, part) in (1..).zip(bytes.chunks(PART_BYTES)) {
        let request = s3.upload_part().bucket(BUCKET).key(key).upload_id(upload_id).part_number(number);
        let uploaded = request.body(part.to_vec().into()).send().await?;
        parts.push(CompletedPart::builder().part_number(number).set_e_tag(uploaded.e_tag).build());
    }
    let count = parts.len();
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let request = s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload_id);
    let done = request.multipart_upload(parts).send().await?;
    println!("put     {key} in {count} parts, ETag {}", done.e_tag().unwrap_or_default());

    let got = s3.get_object().bucket(BUCKET).key(key).send().await?.body.collect().await?.into_bytes();
    assert_eq!(got, bytes, "what is read is what was written");
    println!("got     all {} bytes back, the same", got.len());
    Ok(())
}

/// Keys under a prefix, page after page.
async fn list(s3: &Client) -> Result<()> {
    let mut pages = s3.list_objects_v2().bucket(BUCKET).prefix("large/").into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page?.contents() {
            println!(
                "listed  {} of {} bytes",
                object.key().unwrap_or_default(),
                object.size().unwrap_or_default()
            );
        }
    }
    Ok(())
}

async fn delete_all(s3: &Client) -> Result<()> {
    for key in ["texts/first.txt", "large/twelve-mebibytes"] {
        s3.delete_object().bucket(BUCKET).key(key).send().await?;
    }
    s3.delete_bucket().bucket(BUCKET).send().await?;
    println!("deleted both objects and the bucket");
    Ok(())
}
