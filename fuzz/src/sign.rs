//! Requests signed by aws-sigv4, which is not what the gateway verifies with.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;

use crate::bytes::encode;
use crate::world::{ACCESS_KEY, SECRET};

/// A request that is to be signed.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Path and query, encoded.
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: SignableBody<'a>,
    pub(crate) body_len: usize,
    /// `s3` or `iam`.
    pub(crate) service: &'a str,
    /// Signed in the query, for an hour.
    pub(crate) presigned: bool,
}

/// The head, with `connection: close`; `None` where aws-sigv4 itself does not take the request.
pub(crate) fn signed(address: SocketAddr, request: Request<'_>) -> Option<String> {
    let Request { method, target, headers, body, body_len, service, presigned } = request;
    let identity: Identity = Credentials::new(ACCESS_KEY, SECRET, None, None, "fuzz").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    if presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(3600));
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("cess-1")
        .name(service)
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .expect("everything is given")
        .into();
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(method, format!("http://{address}{target}"), lines, body).ok()?;
    let (instructions, _) = sign(signable, &params).ok()?.into_parts();
    let mut target = target.to_owned();
    for (name, value) in instructions.params() {
        let mark = if target.contains('?') { '&' } else { '?' };
        target = format!("{target}{mark}{name}={}", encode(value.as_bytes(), false));
    }
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {body_len}\r\n"
    );
    let made = instructions.headers();
    for (name, value) in headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(made) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Some(head)
}
