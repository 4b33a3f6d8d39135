//! The binary's error: a sentence that says what was being done and what to do, over its cause.

use std::error::Error as StdError;
use std::fmt;

/// What every part of the binary returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A sentence for a person, and what lies under it.
#[derive(Debug)]
pub struct Error {
    sentence: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A sentence of our own.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), source: None }
    }
}

/// An `Err` with a sentence of our own.
pub fn fail<T>(sentence: impl Into<String>) -> Result<T> {
    Err(Error::new(sentence))
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Keeps the error as the source under the sentence.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error { sentence: doing(), source: Some(error.into()) })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
