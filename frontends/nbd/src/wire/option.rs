//! What a client asks during the handshake (spec, "Fixed newstyle negotiation", "Option types").
//!
//! ```text
//!   64  OPTION_MAGIC
//!   32  option
//!   32  length of the data
//!    *  data
//! ```
//!
//! Reading is strict: every length inside the data has to fit, and nothing may be left over. What
//! does not fit is [`Malformed`], which the server answers with `NBD_REP_ERR_INVALID`.

use super::constants::{OPTION_MAGIC, STRING_BYTES_MAX};
use super::{BadMagic, Fields};

/// Length of an option's header in bytes.
pub const OPTION_HEADER_BYTES: usize = 16;

/// The fixed part of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionHeader {
    /// Which option; a value of [`super::constants::option`], or one nobody knows.
    pub option: u32,
    /// Length of the data behind the header, in bytes.
    pub data_len: u32,
}

/// The data of an option is not what the option's definition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length inside the data reaches beyond it, or something is left over.
    #[error("the lengths inside the option do not fit its data")]
    Lengths,
    /// Spec, "Conventions": UTF-8, no NUL, at most 4096 bytes.
    #[error("a string is not UTF-8, has a NUL, or is longer than 4096 bytes")]
    Text,
    /// The option has no data by definition.
    #[error("this option has no data")]
    DataGiven,
}

/// The data of `NBD_OPT_INFO` and `NBD_OPT_GO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfoAsk {
    /// The export's name as the client wrote it.
    pub name: String,
    /// The information types asked for; unknown ones are ignored by definition.
    pub wants: Vec<u16>,
}

/// The data of `NBD_OPT_LIST_META_CONTEXT` and `NBD_OPT_SET_META_CONTEXT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaAsk {
    /// The export's name as the client wrote it.
    pub name: String,
    /// `namespace:leaf`, in the client's order.
    pub queries: Vec<String>,
}

impl OptionHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// When it does not begin with the magic number: the client has lost its place in the stream.
    pub fn parse(bytes: &[u8; OPTION_HEADER_BYTES]) -> Result<Self, BadMagic> {
        let mut fields = Fields::new(bytes);
        let found = fields.u64().unwrap_or_default();
        if found != OPTION_MAGIC {
            return Err(BadMagic { found, expected: OPTION_MAGIC });
        }
        Ok(Self { option: fields.u32().unwrap_or_default(), data_len: fields.u32().unwrap_or_default() })
    }
}

/// An export's name that fills the whole data (`NBD_OPT_EXPORT_NAME`).
///
/// # Errors
/// [`Malformed::Text`].
pub fn name(data: &[u8]) -> Result<String, Malformed> {
    string(data)
}

/// Checks that an option that has no data has none.
///
/// # Errors
/// [`Malformed::DataGiven`].
pub fn nothing(data: &[u8]) -> Result<(), Malformed> {
    if data.is_empty() { Ok(()) } else { Err(Malformed::DataGiven) }
}

impl InfoAsk {
    /// Reads the data.
    ///
    /// # Errors
    /// [`Malformed`] in every way.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(data);
        let name = fields.counted().ok_or(Malformed::Lengths)?;
        let count = fields.u16().ok_or(Malformed::Lengths)?;
        if fields.len() != usize::from(count) * 2 {
            return Err(Malformed::Lengths);
        }
        let mut wants = Vec::with_capacity(usize::from(count));
        while let Some(want) = fields.u16() {
            wants.push(want);
        }
        Ok(Self { name: string(name)?, wants })
    }
}

impl MetaAsk {
    /// Reads the data.
    ///
    /// # Errors
    /// [`Malformed`] in every way.
    pub fn parse(data: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(data);
        let name = string(fields.counted().ok_or(Malformed::Lengths)?)?;
        let count = fields.u32().ok_or(Malformed::Lengths)?;
        // The count is the client's word; the vector grows by what really stands in the data.
        let mut queries = Vec::new();
        for _ in 0..count {
            queries.push(string(fields.counted().ok_or(Malformed::Lengths)?)?);
        }
        if fields.is_empty() { Ok(Self { name, queries }) } else { Err(Malformed::Lengths) }
    }
}

fn string(bytes: &[u8]) -> Result<String, Malformed> {
    if bytes.len() > STRING_BYTES_MAX || bytes.contains(&0) {
        return Err(Malformed::Text);
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Text)
}

#[cfg(test)]
mod tests {
    use super::{InfoAsk, Malformed, MetaAsk, OptionHeader, name};

    fn meta(name: &str, queries: &[&str]) -> Vec<u8> {
        let mut data = (name.len() as u32).to_be_bytes().to_vec();
        data.extend_from_slice(name.as_bytes());
        data.extend_from_slice(&(queries.len() as u32).to_be_bytes());
        for query in queries {
            data.extend_from_slice(&(query.len() as u32).to_be_bytes());
            data.extend_from_slice(query.as_bytes());
        }
        data
    }

    #[test]
    fn a_header_without_its_magic_is_refused() {
        assert_eq!(OptionHeader::parse(&[0; 16]).unwrap_err().found, 0);
    }

    #[test]
    fn info_is_read_and_every_cut_of_it_is_malformed() {
        let data = [&[0, 0, 0, 2][..], b"ab", &[0, 2, 0, 3, 0, 1]].concat();
        assert_eq!(InfoAsk::parse(&data), Ok(InfoAsk { name: "ab".to_owned(), wants: vec![3, 1] }));
        for end in 0..data.len() {
            assert_eq!(InfoAsk::parse(&data[..end]), Err(Malformed::Lengths), "cut at {end}");
        }
        assert_eq!(InfoAsk::parse(&[&data[..], &[0]].concat()), Err(Malformed::Lengths));
    }

    #[test]
    fn meta_queries_are_read_and_every_cut_of_them_is_malformed() {
        let data = meta("disk", &["base:allocation", "x-cess:"]);
        let read = MetaAsk::parse(&data).unwrap();
        assert_eq!((read.name.as_str(), read.queries.len()), ("disk", 2));
        for end in 0..data.len() {
            assert_eq!(MetaAsk::parse(&data[..end]), Err(Malformed::Lengths), "cut at {end}");
        }
    }

    #[test]
    fn a_count_of_four_billion_queries_allocates_nothing() {
        let data = [&[0, 0, 0, 0][..], &[0xff; 4]].concat();
        assert_eq!(MetaAsk::parse(&data), Err(Malformed::Lengths));
    }

    #[test]
    fn names_are_text_of_bounded_length() {
        assert_eq!(name(b"a\0b"), Err(Malformed::Text));
        assert_eq!(name(&[0xff]), Err(Malformed::Text));
        assert_eq!(name(&[b'n'; 4097]), Err(Malformed::Text));
        assert!(name(&[b'n'; 4096]).is_ok());
        assert_eq!(name(b""), Ok(String::new()));
    }
}
