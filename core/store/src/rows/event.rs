//! Tables 0x26 and 0x27: events that wait to be told, and each target's count of them.

use gw_types::{Timestamp, VersionSeq};
use serde::{Deserialize, Serialize};

use crate::api::{Etag, Event, EventKind, EventSeq, VersionId};

/// An event. Its target and number stand in the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    pub(crate) kind: EventKind,
    pub(crate) rule: String,
    pub(crate) bucket: String,
    pub(crate) owner: String,
    pub(crate) key: String,
    pub(crate) size: Option<u64>,
    pub(crate) etag: Option<Etag>,
    /// `Some(None)`: the null version.
    pub(crate) version: Option<Option<u64>>,
    pub(crate) at: Timestamp,
    pub(crate) who: Option<String>,
    pub(crate) source_ip: String,
    pub(crate) request_id: String,
}

impl EventRow {
    pub(crate) fn version_row(version: Option<VersionId>) -> Option<Option<u64>> {
        version.map(|version| match version {
            VersionId::Null => None,
            VersionId::Seq(seq) => Some(seq.0),
        })
    }
    pub(crate) fn event(self, seq: EventSeq) -> Event {
        Event {
            seq,
            kind: self.kind,
            rule: self.rule,
            bucket: self.bucket,
            owner: self.owner,
            key: self.key,
            size: self.size,
            etag: self.etag,
            version: self
                .version
                .map(|version| version.map_or(VersionId::Null, |seq| VersionId::Seq(VersionSeq(seq)))),
            at: self.at,
            who: self.who,
            source_ip: self.source_ip,
            request_id: self.request_id,
        }
    }
}

/// What a target has waiting, and what became of the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutboxRow {
    pub(crate) pending: u64,
    pub(crate) delivered: u64,
    pub(crate) dead: u64,
    pub(crate) dropped: u64,
}
