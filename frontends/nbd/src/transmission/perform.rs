//! Doing what was planned: one call of the export, and its result as an answer.
//!
//! What an export returns is checked before it goes on the wire: the pieces of a read fill its range,
//! and extents are cut to what the specification allows (`NBD_REPLY_TYPE_BLOCK_STATUS`).

use std::sync::Arc;

use bytes::Bytes;

use super::session::{Act, Session};
use crate::export::{ByteRange, Context, ExportError, ExportErrorKind, Extent, Piece};
use crate::wire::reply::Outcome;

/// Does it.
pub async fn perform(session: Arc<Session>, act: Act, payload: Bytes) -> Outcome {
    match attempt(&session, act, payload).await {
        Ok(outcome) => outcome,
        Err(error) => {
            // Expected answers of an export are the client's business, failures of the device ours.
            if error.kind() == ExportErrorKind::Io {
                tracing::warn!(error = &error as &dyn std::error::Error, "a request failed in its export");
            }
            Outcome::Failed(error.errno(), error.to_string())
        }
    }
}

async fn attempt(session: &Session, act: Act, payload: Bytes) -> Result<Outcome, ExportError> {
    let export = &session.export;
    match act {
        Act::Nothing => {}
        Act::Read { range, .. } if range.is_empty() => {
            return Ok(Outcome::Data { pieces: Vec::new(), whole: true });
        }
        Act::Read { range, whole } => {
            let pieces = export.read(range).await?;
            let read: u64 = pieces.iter().map(Piece::len).sum();
            if read != range.len() || pieces.iter().any(Piece::is_empty) {
                tracing::error!(
                    read,
                    wanted = range.len(),
                    "an export returned another length than it was asked for"
                );
                return Err(ExportError::new(ExportErrorKind::Io, "the device failed"));
            }
            return Ok(Outcome::Data { pieces, whole });
        }
        Act::Write { start, persist } => export.write(start, payload, persist).await?,
        Act::Flush => export.flush().await?,
        Act::Trim { range, persist } => export.trim(range, persist).await?,
        Act::Zero { range, how } => match export.write_zeroes(range, how).await {
            // ENOTSUP is an answer to fast zeroing only (spec, "Error values").
            Err(error) if error.kind() == ExportErrorKind::NotSupported && !how.fast => {
                return Err(ExportError::new(ExportErrorKind::Io, "the device cannot write zeroes"));
            }
            result => result?,
        },
        Act::Cache { range } => export.cache(range).await?,
        Act::Status { range, one, contexts } => return status(session, range, one, contexts).await,
    }
    Ok(Outcome::Done)
}

async fn status(
    session: &Session,
    range: ByteRange,
    one: bool,
    contexts: Vec<(u32, Context)>,
) -> Result<Outcome, ExportError> {
    let extents_max = if one { 1 } else { session.extents_max };
    let mut answer = Vec::with_capacity(contexts.len());
    for (id, context) in contexts {
        let extents = session.export.block_status(&context, range, extents_max).await?;
        let extents = shape(extents, range, extents_max);
        if extents.is_empty() {
            tracing::error!(context = context.name(), "an export knows no state of a range");
            return Err(ExportError::new(ExportErrorKind::Io, "the device failed"));
        }
        answer.push((id, extents));
    }
    Ok(Outcome::Status(answer))
}

/// Neighbours of one state become one, and nothing reaches beyond the range or the number.
fn shape(extents: Vec<Extent>, range: ByteRange, extents_max: usize) -> Vec<Extent> {
    let mut shaped: Vec<Extent> = Vec::new();
    let mut left = range.len();
    for extent in extents {
        let length = extent.length.min(left);
        if length == 0 {
            break;
        }
        let full = shaped.len() == extents_max;
        match shaped.last_mut() {
            Some(last) if last.flags == extent.flags => last.length += length,
            _ if full => break,
            _ => shaped.push(Extent { length, flags: extent.flags }),
        }
        left -= length;
    }
    shaped
}

#[cfg(test)]
mod tests {
    use super::shape;
    use crate::export::{ByteRange, Extent};

    #[test]
    fn extents_are_joined_and_cut() {
        let extents = |list: &[(u64, u64)]| -> Vec<Extent> {
            list.iter().map(|(length, flags)| Extent { length: *length, flags: *flags }).collect()
        };
        let range = ByteRange::new(512, 1000).unwrap();
        let given = extents(&[(100, 3), (200, 3), (500, 0), (9999, 3), (1, 0)]);
        assert_eq!(shape(given.clone(), range, 10), extents(&[(300, 3), (500, 0), (200, 3)]));
        assert_eq!(shape(given.clone(), range, 1), extents(&[(300, 3)]));
        assert_eq!(shape(given[2..].to_vec(), range, 2), extents(&[(500, 0), (500, 3)]));
        assert_eq!(shape(extents(&[(0, 3), (5, 0)]), range, 5), extents(&[]));
    }
}
