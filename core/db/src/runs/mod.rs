//! Local checkpoint runs.
use gw_types::Lsn;

/// One run.
#[derive(Clone, Debug)]
pub struct RunInfo {
    /// Number.
    pub seq: u64,
    /// First LSN.
    pub first: Lsn,
    /// Last LSN.
    pub last: Lsn,
    /// Bytes.
    pub len: u64,
    /// Rows.
    pub rows: u64,
}
#[derive(Default)]
pub(crate) struct RunSet {}
impl RunSet {
    pub(crate) fn list(&self) -> Vec<RunInfo> {
        Vec::new()
    }
}
