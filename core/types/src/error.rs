//! The error of every port, and the question that matters after one: may the act have happened?

use std::error::Error;
use std::fmt;

/// Whether an act that answered with an error may have happened all the same.
///
/// After [`Outcome::Unknown`], look before repeating: a blind retry can spend money
/// (Materialize's persist calls the two *determinate* and *indeterminate*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not happen.
    Definite,
    /// It may have happened.
    Unknown,
}

/// What a caller would do differently; everything else is in the message and the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortErrorKind {
    /// The thing asked for does not exist.
    NotFound,
    /// The other side understood and refused: asking again the same way gives the same answer.
    Refused,
    /// No room: a full disk, a full territory, a full miner.
    Full,
    /// Not reachable, busy or too slow: asking again later may help.
    Unavailable,
    /// The bytes are not what they must be (hash, tag, CRC, format).
    Corrupt,
    /// The device has failed; nothing it says may be believed until a restart.
    Poisoned,
}

/// Result of a port's verb.
pub type PortResult<T> = Result<T, PortError>;

/// An error that crossed a port.
#[derive(Debug)]
pub struct PortError {
    outcome: Outcome,
    kind: PortErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl PortError {
    /// An error after which it is certain that nothing happened.
    pub fn definite(kind: PortErrorKind, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Definite, kind, message: message.into(), source: None }
    }
    /// An error after which the act may have happened.
    pub fn unknown(kind: PortErrorKind, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Unknown, kind, message: message.into(), source: None }
    }
    /// Keeps the error this one was made from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
    /// An I/O error of the local disk. `ENOSPC` and `EDQUOT` become [`PortErrorKind::Full`].
    pub fn from_io(what: impl Into<String>, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => PortErrorKind::NotFound,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => PortErrorKind::Full,
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => PortErrorKind::Corrupt,
            _ => PortErrorKind::Unavailable,
        };
        Self::definite(kind, what).with_source(error)
    }
    /// Whether the act may have happened.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
    /// What kind of answer it was.
    pub fn kind(&self) -> PortErrorKind {
        self.kind
    }
    /// The sentence for a person.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.outcome == Outcome::Unknown {
            f.write_str(" (it may have happened)")?;
        }
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl Error for PortError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
