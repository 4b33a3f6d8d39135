//! Percent-encoding, both ways, byte exact.
//!
//! Listings with `encoding-type=url` return keys encoded as AWS does: the unreserved characters of
//! RFC 3986 and `/` stay, everything else becomes `%XX` with upper-case digits. Decoding is for
//! looking at query strings before the signature is checked; it never fails, it leaves what it
//! cannot read as it stands.

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Encodes all but `A-Z a-z 0-9 - _ . ~ /`.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

/// Decodes `%XX`; a `+` stays.
pub(crate) fn decode_path(text: &str) -> String {
    if text.contains('+') { decode_query(&text.replace('+', "%2B")) } else { decode_query(text) }
}

/// Decodes `%XX` and `+` (a space, in a query).
pub(crate) fn decode_query(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = bytes.get(at + 1).zip(bytes.get(at + 2)).and_then(|(high, low)| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            Some((digit(*high)? << 4 | digit(*low)?) as u8)
        });
        match (byte, pair) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{decode_query, encode};

    #[test]
    fn listing_encoding_keeps_slashes_and_escapes_the_rest() {
        assert_eq!(encode("a/b c+d%é\n"), "a/b%20c%2Bd%25%C3%A9%0A");
        assert_eq!(encode("AZaz09-_.~/"), "AZaz09-_.~/");
    }

    #[test]
    fn decoding_never_fails() {
        assert_eq!(decode_query("a%2Fb+c%"), "a/b c%");
        assert_eq!(decode_query("%zz%C3%A9"), "%zzé");
    }
}
