//! How a miner answers: JSON `{code,msg,data}` with the same number as HTTP status, or fragment bytes.
//! The words of refusals are cess-miner's (`node/common/errors.go`) where it has some.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use gw_miner_wire::{MSG_CHAIN_AWAY, MSG_OK, Reply};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use crate::fragments::StoreError;

/// Any answer.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A request that was not done, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) msg: Cow<'static, str>,
}

impl Refusal {
    pub(crate) const SIGNATURE: Self = Self::new(StatusCode::FORBIDDEN, "invalid signature");
    pub(crate) const NO_HASHES: Self = Self::new(StatusCode::BAD_REQUEST, "empty fid or fragment");
    pub(crate) const BAD_HASHES: Self = Self::new(StatusCode::BAD_REQUEST, "invalid fid or fragment");
    pub(crate) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, "not found");
    pub(crate) const METHOD: Self = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    pub(crate) const NOT_DECLARED: Self = Self::new(StatusCode::BAD_REQUEST, "fragment does not match fid");
    pub(crate) const CHAIN_AWAY: Self = Self::new(StatusCode::SERVICE_UNAVAILABLE, MSG_CHAIN_AWAY);
    pub(crate) const SIZE: Self = Self::new(StatusCode::BAD_REQUEST, "the fragment size is wrong");
    pub(crate) const HASH: Self = Self::new(StatusCode::BAD_REQUEST, "the fragment hash is wrong");
    pub(crate) const TOO_LARGE: Self =
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than a fragment");
    pub(crate) const NO_FORM: Self =
        Self::new(StatusCode::BAD_REQUEST, "the body is no form with a field 'file'");
    pub(crate) const TRUNCATED: Self = Self::new(StatusCode::BAD_REQUEST, "the body ended early");
    pub(crate) const TOO_SLOW: Self = Self::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
    pub(crate) const FULL: Self = Self::new(StatusCode::INSUFFICIENT_STORAGE, "the miner is full");
    pub(crate) const DISK_FAILED: Self =
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the miner's disk has failed; it must be restarted");
    pub(crate) const SYSTEM: Self = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "system error");
    pub(crate) const FAULT: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "refused: a fault is switched on");

    pub(crate) const fn new(status: StatusCode, msg: &'static str) -> Self {
        Self { status, msg: Cow::Borrowed(msg) }
    }
    pub(crate) fn answer(&self) -> Answer {
        reply::<()>(self.status, &self.msg, None)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Size => Self::SIZE,
            StoreError::Hash => Self::HASH,
            StoreError::Full => Self::FULL,
            StoreError::Io(error) => {
                tracing::error!(%error, "the fragment store failed");
                Self::SYSTEM
            }
        }
    }
}

/// A success in JSON.
pub(crate) fn ok<T: Serialize>(data: Option<T>) -> Answer {
    reply(StatusCode::OK, MSG_OK, data)
}

fn reply<T: Serialize>(status: StatusCode, msg: &str, data: Option<T>) -> Answer {
    let reply = Reply { code: i64::from(status.as_u16()), msg: msg.to_owned(), data };
    let text = serde_json::to_vec(&reply).expect("numbers and strings always become JSON");
    let mut answer = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    answer
}
