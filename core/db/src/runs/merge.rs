//! Merging runs: reading several as one, and deciding which become one.

use std::ops::Range;

use super::{RunFile, RunInfo, RunReader, RunSet};
use crate::DbError;
use crate::overlay::Change;

/// Several runs as one sequence of rows in order of key: of each key the newest run's row.
pub(crate) struct Merged {
    /// Newest first, each with its next row.
    sources: Vec<(RunReader, Option<Change>)>,
    keep_deletions: bool,
}

impl Merged {
    /// `files` newest first. Deletions are left out unless older runs may hold what they hide.
    pub(crate) async fn open(files: &[RunFile], keep_deletions: bool) -> Result<Self, DbError> {
        let mut sources = Vec::new();
        for file in files {
            let mut reader = file.reader().await?;
            let first = reader.next().await?;
            sources.push((reader, first));
        }
        Ok(Self { sources, keep_deletions })
    }

    /// The next rows, at least one unless there is none, at most `rows_max`.
    pub(crate) async fn page(&mut self, rows_max: usize) -> Result<Vec<Change>, DbError> {
        let mut out = Vec::new();
        while out.len() < rows_max.max(1) {
            let Some(row) = self.next().await? else { break };
            if row.1.is_some() || self.keep_deletions {
                out.push(row);
            }
        }
        Ok(out)
    }

    async fn next(&mut self) -> Result<Option<Change>, DbError> {
        let heads = self.sources.iter().filter_map(|(_, head)| head.as_ref());
        let Some(least) = heads.map(|(key, _)| key).min().cloned() else { return Ok(None) };
        let mut newest = None;
        for (reader, head) in &mut self.sources {
            if head.as_ref().is_some_and(|(key, _)| *key == least) {
                let row = std::mem::replace(head, reader.next().await?);
                newest = newest.or(row);
            }
        }
        Ok(newest)
    }
}

/// The runs (newest first, by length) that should become one now.
pub(crate) fn due(lens: &[u64], runs_max: usize) -> Option<Range<usize>> {
    let mut total = *lens.first()?;
    let mut count = 1;
    while count < lens.len() && lens[count] <= total.saturating_mul(2) {
        total += lens[count];
        count += 1;
    }
    if count == 1 && lens.len() > runs_max.max(1) {
        count = lens.len() - runs_max.max(1) + 1;
    }
    (count > 1).then_some(0..count)
}

/// Rows between two turns of the other tasks.
const PAGE_ROWS: usize = 512;

impl RunSet {
    /// Merges what is due, once; says whether anything was.
    pub(crate) async fn merge_once(&self, runs_max: usize) -> Result<bool, DbError> {
        let _one = self.merging.lock().await;
        let (_, files) = self.open_files()?;
        let lens: Vec<u64> = files.iter().map(|file| file.info.len).collect();
        let Some(chosen) = due(&lens, runs_max) else { return Ok(false) };
        let bottom = chosen.end == files.len();
        let inputs = &files[chosen];
        let merged = self.write_merged(inputs, bottom).await?;
        let gone: Vec<u64> = inputs.iter().map(|file| file.info.seq).collect();
        self.change(|manifest| {
            let at = manifest.runs.iter().position(|run| run.seq == gone[0]);
            let at = at.expect("only a merge removes runs, and there is one at a time");
            manifest.runs.splice(at..at + gone.len(), merged);
        })
        .await?;
        for seq in gone {
            self.discard(&super::file_name(seq));
        }
        Ok(true)
    }

    /// `None` when nothing but deletions was left at the bottom.
    async fn write_merged(&self, inputs: &[RunFile], bottom: bool) -> Result<Option<RunInfo>, DbError> {
        let mut rows = Merged::open(inputs, !bottom).await?;
        let mut writer = self.begin()?;
        let name = writer.name().to_owned();
        let written = async {
            loop {
                let page = rows.page(PAGE_ROWS).await?;
                if page.is_empty() {
                    break;
                }
                for (key, value) in &page {
                    writer.push(key, value.as_deref())?;
                }
                tokio::task::yield_now().await;
            }
            if writer.is_empty() {
                return Ok(None);
            }
            let first = inputs.iter().map(|file| file.info.first).min().unwrap_or_default();
            let last = inputs.iter().map(|file| file.info.last).max().unwrap_or_default();
            Ok::<_, DbError>(Some(writer.finish(first, last).await?))
        }
        .await;
        if !matches!(written, Ok(Some(_))) {
            self.discard(&name);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_runs_merge_at_once_and_a_long_one_waits_for_its_half() {
        assert_eq!(due(&[], 4), None);
        assert_eq!(due(&[10], 4), None);
        assert_eq!(due(&[10, 10], 4), Some(0..2));
        assert_eq!(due(&[10, 21], 4), None);
        assert_eq!(due(&[10, 20, 60, 400], 4), Some(0..3));
        assert_eq!(due(&[1, 10, 100, 1000], 4), None);
        assert_eq!(due(&[1, 10, 100, 1000], 3), Some(0..2));
    }

    #[test]
    fn any_order_of_sizes_ends_with_few_runs_and_little_over() {
        for seed in 0..50_u64 {
            let mut lens: Vec<u64> = Vec::new();
            for step in 0..500_u64 {
                lens.insert(0, 1 + (step * 7919 + seed * 104_729) % 97);
                while let Some(range) = due(&lens, 12) {
                    let merged: u64 = lens.drain(range).sum();
                    lens.insert(0, merged);
                }
            }
            let oldest = *lens.last().unwrap();
            assert!(lens.len() <= 12 && lens.iter().sum::<u64>() <= oldest * 3 / 2 + 1, "{lens:?}");
        }
    }
}
