//! What a miner's answer means. cess-miner answers HTTP 200 with the real code in a JSON body; ours
//! sets both. Either way one number decides, and it becomes the kind and the outcome of a port error.

use bytes::{Bytes, BytesMut};
use gw_miner_wire::{MSG_CHAIN_AWAY, Reply};
use gw_types::{FRAGMENT_BYTES, Outcome, PortError, PortErrorKind, PortResult};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

/// Longest JSON answer that is looked at.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Longest part of a foreign message that is passed on.
const MESSAGE_CHARS_MAX: usize = 200;

/// Reads a JSON answer. `Ok` carries `data`; every other code than 200 is an error.
pub(crate) async fn read_reply(response: Response<Incoming>) -> PortResult<Value> {
    let status = response.status();
    let body = Limited::new(response.into_body(), REPLY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| {
        PortError::unknown(PortErrorKind::Unavailable, "the miner's answer broke off").with_source(error)
    })?;
    let body = body.to_bytes();
    match serde_json::from_slice::<Reply<Value>>(&body) {
        Ok(reply) if reply.code == 200 && status.is_success() => Ok(reply.data.unwrap_or(Value::Null)),
        Ok(reply) if reply.code == 200 => Err(refusal(i64::from(status.as_u16()), &reply.msg)),
        Ok(reply) => Err(refusal(reply.code, &reply.msg)),
        Err(_) if !status.is_success() => Err(refusal(i64::from(status.as_u16()), "")),
        Err(error) => {
            Err(PortError::unknown(PortErrorKind::Corrupt, "the miner's answer is not JSON")
                .with_source(error))
        }
    }
}

/// Reads exactly `want` bytes of a fragment that begin at `start`.
pub(crate) async fn read_bytes(response: Response<Incoming>, start: u32, want: u32) -> PortResult<Bytes> {
    let whole = u64::from(want) == FRAGMENT_BYTES;
    let skip = match response.status() {
        _ if is_json(&response) => return Err(not_bytes(read_reply(response).await)),
        StatusCode::PARTIAL_CONTENT => 0,
        // A miner that does not know ranges sends everything.
        StatusCode::OK if whole => 0,
        StatusCode::OK => start as usize,
        _ => return Err(not_bytes(read_reply(response).await)),
    };
    let full = response.status() == StatusCode::OK;
    let expected = if full { FRAGMENT_BYTES } else { u64::from(want) };
    let announced =
        response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced != expected) {
        return Err(wrong_length(expected));
    }
    collect(response.into_body(), skip, want as usize, full && !whole).await
}

/// `may_have_more`: the rest of the body is of no interest.
async fn collect(mut body: Incoming, mut skip: usize, want: usize, may_have_more: bool) -> PortResult<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            PortError::definite(PortErrorKind::Unavailable, "the miner's answer broke off").with_source(error)
        })?;
        let Ok(mut piece) = frame.into_data() else { continue };
        let skipped = piece.split_to(skip.min(piece.len()));
        skip -= skipped.len();
        let left = want - bytes.len();
        if piece.len() > left && !may_have_more {
            return Err(wrong_length(want as u64));
        }
        piece.truncate(left);
        if bytes.is_empty() && piece.len() == want && (may_have_more || body_ended(&body)) {
            return Ok(piece);
        }
        if bytes.is_empty() {
            bytes.reserve(want);
        }
        bytes.extend_from_slice(&piece);
        if bytes.len() == want && may_have_more {
            break;
        }
    }
    if bytes.len() == want { Ok(bytes.freeze()) } else { Err(wrong_length(want as u64)) }
}

fn body_ended(body: &Incoming) -> bool {
    hyper::body::Body::is_end_stream(body)
}

fn is_json(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// A get that was answered with JSON has failed, whatever the JSON says.
fn not_bytes(reply: PortResult<Value>) -> PortError {
    match reply {
        Ok(_) => PortError::definite(PortErrorKind::Corrupt, "the miner sent JSON in place of bytes"),
        Err(error) => PortError::definite(error.kind(), error.message().to_owned()).with_source(error),
    }
}

fn wrong_length(want: u64) -> PortError {
    PortError::definite(PortErrorKind::Corrupt, format!("the miner did not send exactly {want} bytes"))
}

/// The error that a miner's code and message stand for.
pub(crate) fn refusal(code: i64, message: &str) -> PortError {
    let (kind, outcome) = meaning(code, message);
    let short: String = message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    let text = format!("the miner answered {code}: {short}");
    match outcome {
        Outcome::Definite => PortError::definite(kind, text),
        Outcome::Unknown => PortError::unknown(kind, text),
    }
}

fn meaning(code: i64, message: &str) -> (PortErrorKind, Outcome) {
    use Outcome::{Definite, Unknown};
    match code {
        404 => (PortErrorKind::NotFound, Definite),
        507 => (PortErrorKind::Full, Definite),
        403 if message == MSG_CHAIN_AWAY => (PortErrorKind::Unavailable, Definite),
        408 | 425 | 429 | 503 => (PortErrorKind::Unavailable, Definite),
        400..500 => (PortErrorKind::Refused, Definite),
        _ if says_full(message) => (PortErrorKind::Full, Definite),
        // cess-miner's 500 says nothing about how far it came.
        _ => (PortErrorKind::Unavailable, Unknown),
    }
}

/// cess-miner has no code for a full disk; Go passes the system's words on.
fn says_full(message: &str) -> bool {
    message.contains("no space left") || message.contains("is full")
}

#[cfg(test)]
mod tests {
    use gw_miner_wire::MSG_CHAIN_AWAY;
    use gw_types::Outcome::{Definite, Unknown};
    use gw_types::PortErrorKind::{Full, NotFound, Refused, Unavailable};

    use super::{meaning, refusal};

    #[test]
    fn codes_become_kinds_that_a_caller_acts_on() {
        let table = [
            (404, "not found", NotFound, Definite),
            (507, "the miner is full", Full, Definite),
            (500, "write /d: no space left on device", Full, Definite),
            (400, "the fragment hash is wrong", Refused, Definite),
            (403, "invalid signature", Refused, Definite),
            (403, MSG_CHAIN_AWAY, Unavailable, Definite),
            (413, "too large", Refused, Definite),
            (503, "busy", Unavailable, Definite),
            (500, "system error", Unavailable, Unknown),
            (302, "", Unavailable, Unknown),
            (-7, "", Unavailable, Unknown),
        ];
        for (code, message, kind, outcome) in table {
            assert_eq!(meaning(code, message), (kind, outcome), "{code} {message}");
        }
    }

    #[test]
    fn foreign_messages_are_cut_and_cleaned() {
        let error = refusal(400, &format!("a\n\x1b[31m{}", "x".repeat(5000)));
        assert!(error.message().len() < 300 && !error.message().contains(['\n', '\x1b']));
    }
}
