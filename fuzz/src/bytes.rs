//! Choices out of bytes: the first bytes choose, the rest is content.

/// What is left of an input. Past its end everything is 0 or empty.
#[derive(Debug)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }
    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }
    /// At most `max` bytes; how many says the next byte.
    pub(crate) fn some(&mut self, max: usize) -> &'a [u8] {
        let wanted = usize::from(self.byte()) % (max + 1);
        let (some, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        some
    }
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters and `/` where `slash` allows it, as clients of S3 do.
pub(crate) fn encode(bytes: &[u8], slash: bool) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte))
            }
            b'/' if slash => out.push('/'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
