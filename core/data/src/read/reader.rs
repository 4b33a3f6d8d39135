//! A body as a stream of bytes, in order.
//!
//! Runs are planned as they are needed. The first is at most 256 KiB, so that the first byte does not
//! wait for a mebibyte; then they grow to 1 MiB. Up to a window of bytes is fetched ahead: 256 KiB at
//! first, doubled with each run that the consumer takes, 8 MiB at most. A range of one run is fetched
//! by the caller's own task; when there are more they run as tasks of their own, so the network works
//! while the consumer does. Dropping the reader ends them.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use gw_types::ports::WrappedBucketKey;
use tokio::task::JoinHandle;

use super::fetch::{BodyKeys, fetch};
use super::plan::{Planner, Run, SealedRun};
use crate::data::Shared;
use crate::map::{MapBody, Piece};
use crate::{DataError, DataMap};

const RUN_BYTES_MIN: u64 = 256 << 10;
const RUN_BYTES_MAX: u64 = 1 << 20;

/// Reads a range of a body. Made by [`crate::Data::read`].
pub struct BodyReader {
    shared: Arc<Shared>,
    keys: Arc<BodyKeys>,
    planner: Planner,
    pieces: VecDeque<Piece>,
    /// In order.
    ahead: VecDeque<Ahead>,
    ahead_bytes: u64,
    window: u64,
    /// Plain bytes still to be given.
    rest: u64,
    refused: Option<DataError>,
}

/// A part of what is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyPiece {
    /// Bytes.
    Data(Bytes),
    /// So many zeros: a hole.
    Zeros(u64),
}

impl BodyPiece {
    /// Bytes of it.
    pub fn len(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeros(len) => *len,
        }
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A run that is planned or under way.
enum Ahead {
    Zeros(u64),
    Planned(SealedRun),
    Running(Running, u64),
}

/// A task that ends with its handle.
struct Running(JoinHandle<Result<Bytes, DataError>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ahead {
    fn len(&self) -> u64 {
        match self {
            Self::Zeros(len) | Self::Running(_, len) => *len,
            Self::Planned(run) => run.plain_len(),
        }
    }
}

impl BodyReader {
    pub(crate) fn new(
        shared: Arc<Shared>,
        map: Arc<DataMap>,
        bucket: WrappedBucketKey,
        range: Range<u64>,
    ) -> Self {
        let mut planner = Planner::default();
        let mut pieces = VecDeque::new();
        let good = range.start <= range.end && range.end <= map.len;
        let refused = (!good).then(|| {
            DataError::Refused(format!("bytes {}..{} of a body of {}", range.start, range.end, map.len))
        });
        if good {
            match map.slice(range.clone()) {
                MapBody::Entries(entries) => planner.extend(entries),
                MapBody::Pieces(more) => pieces.extend(more),
            }
        }
        let window = shared.config.window_bytes_min;
        let rest = if good { range.end - range.start } else { 0 };
        let keys = Arc::new(BodyKeys { map, bucket });
        Self { shared, keys, planner, pieces, ahead: VecDeque::new(), ahead_bytes: 0, window, rest, refused }
    }

    /// The next bytes, never empty; `None` at the end of the range and after an error. Dropping the
    /// returned future loses nothing: the next call goes on.
    pub async fn next(&mut self) -> Option<Result<Bytes, DataError>> {
        let piece = self.next_piece().await?;
        Some(piece.map(|piece| match piece {
            BodyPiece::Data(bytes) => bytes,
            BodyPiece::Zeros(len) => Bytes::from(vec![0; len as usize]),
        }))
    }

    /// The same, with holes told apart.
    pub async fn next_piece(&mut self) -> Option<Result<BodyPiece, DataError>> {
        if let Some(refused) = self.refused.take() {
            return Some(Err(refused));
        }
        if self.rest == 0 {
            return None;
        }
        let result = self.advance().await;
        match &result {
            Ok(piece) => self.rest -= piece.len(),
            Err(_) => {
                self.rest = 0;
                self.ahead.clear();
            }
        }
        Some(result)
    }

    async fn advance(&mut self) -> Result<BodyPiece, DataError> {
        self.look_ahead()?;
        let Some(next) = self.ahead.front_mut() else {
            return Err(DataError::Corrupt("a map has fewer bytes than its body".into()));
        };
        let len = next.len();
        // Cancel-safety: the run stays in front until its bytes are here.
        let piece = match next {
            Ahead::Zeros(len) => BodyPiece::Zeros(*len),
            Ahead::Planned(run) => BodyPiece::Data(fetch(&self.shared, &self.keys, run).await?),
            Ahead::Running(running, _) => match (&mut running.0).await {
                Ok(result) => BodyPiece::Data(result?),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => return Err(DataError::Busy("the process is stopping")),
            },
        };
        self.ahead.pop_front();
        self.ahead_bytes -= len;
        if piece.len() != len || len > self.rest {
            return Err(DataError::Corrupt("a run gave another number of bytes than planned".into()));
        }
        self.window = (self.window * 2).min(self.shared.config.window_bytes_max);
        Ok(piece)
    }

    /// Plans until the window is full, and starts everything when it is more than one run.
    fn look_ahead(&mut self) -> Result<(), DataError> {
        while self.ahead.is_empty() || self.ahead_bytes < self.window {
            let max = (self.window / 2).clamp(RUN_BYTES_MIN, RUN_BYTES_MAX);
            let run = match self.planner.next(max)? {
                Some(run) => run,
                None => match self.pieces.pop_front() {
                    Some(piece) => {
                        let (piece, rest) = piece.split_stride();
                        if let Some(rest) = rest {
                            self.pieces.push_front(rest);
                        }
                        self.planner.extend(piece.entries(&self.shared.ports.db.snapshot())?);
                        continue;
                    }
                    None => break,
                },
            };
            self.ahead_bytes += run.plain_len();
            self.ahead.push_back(match run {
                Run::Zeros(len) => Ahead::Zeros(len),
                Run::Sealed(run) => Ahead::Planned(run),
            });
        }
        if self.ahead.len() > 1 {
            for ahead in &mut self.ahead {
                if let Ahead::Planned(run) = ahead {
                    *ahead = start(&self.shared, &self.keys, run.clone());
                }
            }
        }
        Ok(())
    }
}

fn start(shared: &Arc<Shared>, keys: &Arc<BodyKeys>, run: SealedRun) -> Ahead {
    let (shared, keys, len) = (shared.clone(), keys.clone(), run.plain_len());
    let task = tokio::spawn(async move { fetch(&shared, &keys, &run).await });
    Ahead::Running(Running(task), len)
}

impl std::fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyReader({} bytes to go, window {})", self.rest, self.window)
    }
}
