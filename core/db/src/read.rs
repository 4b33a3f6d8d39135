//! Reading by key and by range, and the merge of two ordered layers.
//!
//! A transaction reads its own writes over the newest state; a snapshot reads the overlay over the
//! catalog engine. Both are the same act: an upper layer whose rows (and deletions) hide those of a
//! lower one. [`merge_scan`] does it page by page, in either direction, so a scan with a limit
//! touches about that many rows of each layer whatever the range.

use bytes::Bytes;

use crate::DbError;

/// Rows as a reader gets them.
pub type Rows = Vec<(Bytes, Bytes)>;

/// Read access, the same on a [`crate::Snapshot`] and in a [`crate::Txn`].
pub trait Read {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DbError>;
    /// Up to `limit` rows with `from <= key < to` (`to` empty: no upper end), ascending, or from the
    /// upper end downwards when `reverse`.
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, limit: usize) -> Result<Rows, DbError>;
}

/// Most rows asked of a layer at a time.
const PAGE_ROWS_MAX: usize = 1024;
/// Fewest: a layer that hides rows of the other may need more than the limit.
const PAGE_ROWS_MIN: usize = 16;

/// A range of keys that shrinks while a scan walks through it.
#[derive(Clone, Debug)]
pub(crate) struct KeyRange {
    /// First key that may be returned.
    pub(crate) from: Vec<u8>,
    /// First key that may not; `None` is the end of the key space.
    pub(crate) to: Option<Vec<u8>>,
}

impl KeyRange {
    pub(crate) fn new(from: &[u8], to: &[u8]) -> Self {
        Self { from: from.to_vec(), to: (!to.is_empty()).then(|| to.to_vec()) }
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
    /// The upper end as ports take it: empty for none.
    pub(crate) fn to_or_empty(&self) -> &[u8] {
        self.to.as_deref().unwrap_or_default()
    }
    /// Leaves only what lies behind `key` in the direction of the scan.
    fn advance(&mut self, key: &[u8], reverse: bool) {
        if reverse {
            self.to = Some(key.to_vec());
        } else {
            self.from.clear();
            self.from.extend_from_slice(key);
            self.from.push(0);
        }
    }
}

/// A part of the upper layer: `None` values are deletions.
pub(crate) struct UpperPage {
    /// In the direction of the scan.
    pub(crate) rows: Vec<(Bytes, Option<Bytes>)>,
    /// The rows are all there are up to and including this key; `None`: to the end of the range.
    pub(crate) covered: Option<Bytes>,
}

/// Merges two layers; `upper` is read before `lower` for each page. That order matters: rows move
/// from the overlay down to the engine at a checkpoint, so reading upwards could miss them.
pub(crate) fn merge_scan(
    mut range: KeyRange,
    reverse: bool,
    limit: usize,
    upper: impl Fn(&KeyRange, usize) -> UpperPage,
    lower: impl Fn(&KeyRange, usize) -> Result<Rows, DbError>,
) -> Result<Rows, DbError> {
    let mut out = Vec::new();
    while out.len() < limit && !range.is_empty() {
        let page = (limit - out.len()).clamp(PAGE_ROWS_MIN, PAGE_ROWS_MAX);
        let above = upper(&range, page);
        let below = lower(&range, page)?;
        let below_end = if below.len() < page { None } else { below.last().map(|(key, _)| key.clone()) };
        let end = nearer(above.covered, below_end, reverse);
        merge_page(&mut out, limit, above.rows, below, end.as_ref(), reverse);
        match end {
            Some(key) => range.advance(&key, reverse),
            None => break,
        }
    }
    Ok(out)
}

/// The end that a scan reaches first; `None` is the end of the range.
fn nearer(a: Option<Bytes>, b: Option<Bytes>, reverse: bool) -> Option<Bytes> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if reverse { a.max(b) } else { a.min(b) }),
        (a, b) => a.or(b),
    }
}

fn merge_page(
    out: &mut Rows,
    limit: usize,
    above: Vec<(Bytes, Option<Bytes>)>,
    below: Rows,
    end: Option<&Bytes>,
    reverse: bool,
) {
    let before = |a: &Bytes, b: &Bytes| if reverse { a > b } else { a < b };
    let within = |key: &Bytes| end.is_none_or(|end| !before(end, key));
    let mut above = above.into_iter().take_while(|(key, _)| within(key)).peekable();
    let mut below = below.into_iter().take_while(|(key, _)| within(key)).peekable();
    while out.len() < limit {
        let take_above = match (above.peek(), below.peek()) {
            (Some((a, _)), Some((b, _))) => {
                if a == b {
                    below.next();
                    true
                } else {
                    before(a, b)
                }
            }
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return,
        };
        if take_above {
            if let Some((key, Some(value))) = above.next() {
                out.push((key, value));
            }
        } else if let Some(row) = below.next() {
            out.push(row);
        }
    }
}
