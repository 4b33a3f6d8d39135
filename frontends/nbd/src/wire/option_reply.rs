//! Replies to options (spec, "Fixed newstyle negotiation", "Option reply types").
//!
//! ```text
//!   64  OPTION_REPLY_MAGIC
//!   32  the option that is answered
//!   32  reply type
//!   32  length of the data
//!    *  data
//! ```

use bytes::{BufMut, BytesMut};

use super::constants::{
    EXPORT_NAME_ZEROES, INIT_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC, STRING_BYTES_MAX, handshake_flag, info,
    option_reply,
};

/// The server's first bytes: fixed newstyle, and no zeroes for whom does not want them.
pub fn greeting(out: &mut BytesMut) {
    out.put_u64(INIT_MAGIC);
    out.put_u64(OPTION_MAGIC);
    out.put_u16(handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES);
}

/// The answer to `NBD_OPT_EXPORT_NAME`, which has no header.
pub fn export_name(out: &mut BytesMut, size_bytes: u64, flags: u16, zeroes: bool) {
    out.put_u64(size_bytes);
    out.put_u16(flags);
    if zeroes {
        out.put_bytes(0, EXPORT_NAME_ZEROES);
    }
}

/// Any reply.
pub fn reply(out: &mut BytesMut, option: u32, kind: u32, data: &[u8]) {
    out.put_u64(OPTION_REPLY_MAGIC);
    out.put_u32(option);
    out.put_u32(kind);
    out.put_u32(u32::try_from(data.len()).expect("option replies are at most a few KiB"));
    out.put_slice(data);
}

/// `NBD_REP_ACK`.
pub fn ack(out: &mut BytesMut, option: u32) {
    reply(out, option, option_reply::ACK, &[]);
}

/// An error with a sentence for people, cut at the limit of strings.
pub fn error(out: &mut BytesMut, option: u32, kind: u32, message: &str) {
    reply(out, option, kind, text(message).as_bytes());
}

/// `NBD_REP_SERVER`: one export of a list, with its description.
pub fn server(out: &mut BytesMut, option: u32, name: &str, description: &str) {
    let mut data = BytesMut::new();
    let name = text(name);
    data.put_u32(u32::try_from(name.len()).expect("a name has at most 4096 bytes"));
    data.put_slice(name.as_bytes());
    data.put_slice(text(description).as_bytes());
    reply(out, option, option_reply::SERVER, &data);
}

/// `NBD_REP_INFO` with `NBD_INFO_EXPORT`.
pub fn info_export(out: &mut BytesMut, option: u32, size_bytes: u64, flags: u16) {
    let mut data = BytesMut::with_capacity(12);
    data.put_u16(info::EXPORT);
    data.put_u64(size_bytes);
    data.put_u16(flags);
    reply(out, option, option_reply::INFO, &data);
}

/// `NBD_REP_INFO` with a text: `NBD_INFO_NAME` or `NBD_INFO_DESCRIPTION`.
pub fn info_text(out: &mut BytesMut, option: u32, kind: u16, value: &str) {
    let mut data = BytesMut::new();
    data.put_u16(kind);
    data.put_slice(text(value).as_bytes());
    reply(out, option, option_reply::INFO, &data);
}

/// `NBD_REP_INFO` with `NBD_INFO_BLOCK_SIZE`: minimum, preferred, maximum payload, in bytes.
pub fn info_block_size(out: &mut BytesMut, option: u32, sizes: [u32; 3]) {
    let mut data = BytesMut::with_capacity(14);
    data.put_u16(info::BLOCK_SIZE);
    for size in sizes {
        data.put_u32(size);
    }
    reply(out, option, option_reply::INFO, &data);
}

/// `NBD_REP_META_CONTEXT`.
pub fn meta_context(out: &mut BytesMut, option: u32, id: u32, name: &str) {
    let mut data = BytesMut::new();
    data.put_u32(id);
    data.put_slice(text(name).as_bytes());
    reply(out, option, option_reply::META_CONTEXT, &data);
}

/// At most as much of a text as a string of the protocol may have, cut between characters.
pub fn text(message: &str) -> &str {
    let mut end = message.len().min(STRING_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{error, export_name, greeting, text};

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(written(greeting), b"NBDMAGICIHAVEOPT\x00\x03");
        assert_eq!(
            written(|out| error(out, 9, 0x8000_0003, "no")),
            b"\x00\x03\xe8\x89\x04\x55\x65\xa9\x00\x00\x00\x09\x80\x00\x00\x03\x00\x00\x00\x02no"
        );
        assert_eq!(written(|out| export_name(out, 1, 5, false)), b"\0\0\0\0\0\0\0\x01\0\x05");
        assert_eq!(written(|out| export_name(out, 1, 5, true)).len(), 10 + 124);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "ä".repeat(4000);
        assert_eq!(text(&long).len(), 4096);
        assert_eq!(text(&format!("a{long}")).len(), 4095);
    }
}
