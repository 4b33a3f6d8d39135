//! Documents in S3's XML, kept with a bucket as they are shown again.

use s3s::xml::{DeserializeContent, Deserializer, SerializeContent, Serializer};
use s3s::{S3Error, S3ErrorCode, S3Result};

/// The document as text.
pub(crate) fn write<T: SerializeContent>(name: &str, value: &T) -> S3Result<Vec<u8>> {
    let mut text = Vec::new();
    Serializer::new(&mut text).content(name, value).map_err(|error| broken(&error))?;
    Ok(text)
}

/// Reads back what [`write`] wrote.
pub(crate) fn read<'a, T: DeserializeContent<'a>>(name: &str, text: &'a [u8]) -> S3Result<T> {
    Deserializer::new(text)
        .named_element(name, |deserializer| T::deserialize_content(deserializer))
        .map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Debug) -> S3Error {
    tracing::error!(?error, "a stored document cannot be read or written");
    S3ErrorCode::InternalError.into()
}
