//! Conditional requests (RFC 9110 section 13), for reads and for writes.

use gw_types::Timestamp;

use super::Etag;

/// `*` or a list of entity tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`: any object at all.
    Any,
    /// One of these. Tags that no object of ours can have are left out, so the list may be empty
    /// and then fits nothing.
    OneOf(Vec<Etag>),
}

impl EtagMatch {
    /// Reads a header's value.
    pub fn parse(header: &str) -> Self {
        if header.trim() == "*" {
            return Self::Any;
        }
        Self::OneOf(header.split(',').filter_map(Etag::parse).collect())
    }
    /// Whether an object with this tag fits.
    pub fn fits(&self, etag: &Etag) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.contains(etag),
        }
    }
}

/// Conditions of GET, HEAD and of a copy's source. Times are compared in whole seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadConditions {
    /// If-Match
    pub if_match: Option<EtagMatch>,
    /// If-None-Match
    pub if_none_match: Option<EtagMatch>,
    /// If-Modified-Since
    pub if_modified_since: Option<Timestamp>,
    /// If-Unmodified-Since
    pub if_unmodified_since: Option<Timestamp>,
}

/// What a read's conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    NotModified,
    Failed,
}

impl ReadConditions {
    /// RFC 9110 13.2.2: If-Match, else If-Unmodified-Since; then If-None-Match, else
    /// If-Modified-Since.
    pub(crate) fn judge(&self, etag: &Etag, modified: Timestamp) -> Verdict {
        let seconds = modified.unix_seconds();
        let held = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => tags.fits(etag),
            (None, Some(since)) => seconds <= since.unix_seconds(),
            (None, None) => true,
        };
        if !held {
            return Verdict::Failed;
        }
        let changed = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => !tags.fits(etag),
            (None, Some(since)) => seconds > since.unix_seconds(),
            (None, None) => true,
        };
        if changed { Verdict::Go } else { Verdict::NotModified }
    }
}

/// Conditions of PUT, COPY, CompleteMultipartUpload and DELETE on the current object at the key,
/// decided in the commit itself.
///
/// If-Match on a key without an object is `NoSuchKey`, as AWS answers; on an object with another
/// tag it is `PreconditionFailed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteConditions {
    /// If-Match
    pub if_match: Option<EtagMatch>,
    /// If-None-Match
    pub if_none_match: Option<EtagMatch>,
    /// x-amz-if-match-last-modified-time (DELETE), in whole seconds.
    pub if_match_last_modified: Option<Timestamp>,
    /// x-amz-if-match-size (DELETE), in bytes.
    pub if_match_size: Option<u64>,
}

impl WriteConditions {
    /// `If-None-Match: *`: only where nothing is.
    pub fn absent() -> Self {
        Self { if_none_match: Some(EtagMatch::Any), ..Self::default() }
    }
    /// `If-Match: etag`: only where exactly this is.
    pub fn matches(etag: Etag) -> Self {
        Self { if_match: Some(EtagMatch::OneOf(vec![etag])), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;

    use super::{EtagMatch, ReadConditions, Verdict};
    use crate::api::Etag;

    const TAG: Etag = Etag::Md5([7; 16]);

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000 + 5)
    }

    #[test]
    fn headers_are_read_with_quotes_lists_and_nonsense() {
        assert_eq!(EtagMatch::parse(" * "), EtagMatch::Any);
        assert!(EtagMatch::parse(&format!("\"{TAG}\"")).fits(&TAG));
        assert!(EtagMatch::parse(&format!("\"x\", W/\"{TAG}\"")).fits(&TAG));
        assert!(!EtagMatch::parse("badetag").fits(&TAG));
        assert!(!EtagMatch::parse(&format!("{TAG}-2")).fits(&TAG));
    }

    #[test]
    fn rfc_9110_precedence_holds() {
        let fits = Some(EtagMatch::OneOf(vec![TAG]));
        let other = Some(EtagMatch::OneOf(vec![]));
        // If-Match true beats a false If-Unmodified-Since.
        let both =
            ReadConditions { if_match: fits.clone(), if_unmodified_since: Some(at(1)), ..Default::default() };
        assert_eq!(both.judge(&TAG, at(9)), Verdict::Go);
        // If-None-Match true beats a false If-Modified-Since.
        let both =
            ReadConditions { if_none_match: other, if_modified_since: Some(at(99)), ..Default::default() };
        assert_eq!(both.judge(&TAG, at(9)), Verdict::Go);
        let none =
            ReadConditions { if_none_match: fits, if_modified_since: Some(at(1)), ..Default::default() };
        assert_eq!(none.judge(&TAG, at(9)), Verdict::NotModified);
        let since = ReadConditions { if_modified_since: Some(at(9)), ..Default::default() };
        assert_eq!(since.judge(&TAG, at(9)), Verdict::NotModified);
        let since = ReadConditions { if_unmodified_since: Some(at(8)), ..Default::default() };
        assert_eq!(since.judge(&TAG, at(9)), Verdict::Failed);
    }
}
