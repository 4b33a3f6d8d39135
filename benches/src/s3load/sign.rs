//! AWS Signature Version 4 for S3, in the `Authorization` header.
//!
//! Only what a load tool needs: the payload is either unsigned (`UNSIGNED-PAYLOAD`) or signed by its
//! SHA-256. The signing key changes once a day and is kept; what remains for each request is one
//! SHA-256 and one HMAC. Source: "Signature Calculations for the Authorization Header: Transferring
//! Payload in a Single Chunk", Amazon S3 API Reference; its examples are the tests below.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What stands for the payload where it is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// SHA-256 of nothing: the payload hash of requests without a body.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Who signs, and for which region.
#[derive(Clone)]
pub struct Credentials {
    /// The access key, named in each request.
    pub access_key: String,
    /// The secret, never sent.
    pub secret_key: String,
    /// Such as `cess-1`.
    pub region: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({}, {})", self.access_key, self.region)
    }
}

/// A moment as SigV4 writes it: `20130524T000000Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmzDate(String);

impl AmzDate {
    /// From seconds since 1970-01-01T00:00:00Z.
    pub fn from_unix(seconds: u64) -> Self {
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Self(format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z"))
    }
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The day: `20130524`.
    pub fn day(&self) -> &str {
        &self.0[..8]
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`, for days that are not before 1970).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// A request as it is signed. Path and query are encoded already, the query sorted by name.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// Begins with `/`.
    pub path: &'a str,
    /// Without `?`; each name has a `=`.
    pub query: &'a str,
    /// The value of the `host` header.
    pub host: &'a str,
    /// [`UNSIGNED`], or the payload's SHA-256 in hex.
    pub payload: &'a str,
    /// Further headers to sign: lower-case names, trimmed values.
    pub headers: &'a [(&'a str, &'a str)],
}

/// Signs one request after the other.
#[derive(Clone, Debug)]
pub struct Signer {
    credentials: Credentials,
    /// The key of a day, kept until the day ends.
    day_key: Option<(String, [u8; 32])>,
}

impl Signer {
    /// Signs in the name of `credentials`.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials, day_key: None }
    }

    /// The value of the `Authorization` header. The request must also carry `host`,
    /// `x-amz-content-sha256` (the payload) and `x-amz-date`.
    pub fn authorization(&mut self, request: &ToSign<'_>, date: &AmzDate) -> String {
        let mut headers = Vec::with_capacity(request.headers.len() + 3);
        headers.push(("host", request.host));
        headers.push(("x-amz-content-sha256", request.payload));
        headers.push(("x-amz-date", date.as_str()));
        headers.extend_from_slice(request.headers);
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

        let mut canonical = String::with_capacity(512);
        for part in [request.method, request.path, request.query] {
            canonical.push_str(part);
            canonical.push('\n');
        }
        for (name, value) in &headers {
            canonical.extend([name, ":", value, "\n"]);
        }
        canonical.extend(["\n", &names, "\n", request.payload]);

        let scope = format!("{}/{}/s3/aws4_request", date.day(), self.credentials.region);
        let hashed = hex::encode(Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hashed}", date.as_str());
        let signature = hex::encode(hmac(&self.key_of(date.day()), text.as_bytes()));
        let access_key = &self.credentials.access_key;
        format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}"
        )
    }

    fn key_of(&mut self, day: &str) -> [u8; 32] {
        if let Some((kept, key)) = &self.day_key
            && kept == day
        {
            return *key;
        }
        let secret = format!("AWS4{}", self.credentials.secret_key);
        let parts = [day, self.credentials.region.as_str(), "s3", "aws4_request"];
        let first = hmac(secret.as_bytes(), parts[0].as_bytes());
        let key = parts[1..].iter().fold(first, |key, part| hmac(&key, part.as_bytes()));
        self.day_key = Some((day.to_owned(), key));
        key
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// RFC 3986 percent-encoding as SigV4 wants it: all but unreserved characters, and `/` if told so.
pub fn encode(text: &str, slash_too: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (byte == b'/' && !slash_too);
        if plain {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{AmzDate, Credentials, EMPTY_SHA256, Signer, ToSign, encode};

    /// The account of Amazon's examples.
    fn signer() -> Signer {
        Signer::new(Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            region: "us-east-1".to_owned(),
        })
    }

    fn check(request: &ToSign<'_>, names: &str, signature: &str) {
        let date = AmzDate::from_unix(1_369_353_600);
        let wanted = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders={names},Signature={signature}"
        );
        assert_eq!(signer().authorization(request, &date), wanted);
    }

    const GET: ToSign<'static> = ToSign {
        method: "GET",
        path: "/",
        query: "",
        host: "examplebucket.s3.amazonaws.com",
        payload: EMPTY_SHA256,
        headers: &[],
    };
    const USUAL: &str = "host;x-amz-content-sha256;x-amz-date";

    #[test]
    fn amazons_example_get_object() {
        let request = ToSign { path: "/test.txt", headers: &[("range", "bytes=0-9")], ..GET };
        let names = "host;range;x-amz-content-sha256;x-amz-date";
        check(&request, names, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn amazons_example_put_object() {
        let request = ToSign {
            method: "PUT",
            path: "/test%24file.text",
            payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            headers: &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            ..GET
        };
        let names = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class";
        check(&request, names, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    }

    #[test]
    fn amazons_example_get_bucket_lifecycle() {
        let request = ToSign { query: "lifecycle=", ..GET };
        check(&request, USUAL, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    }

    #[test]
    fn amazons_example_list_objects() {
        let request = ToSign { query: "max-keys=2&prefix=J", ..GET };
        check(&request, USUAL, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn a_new_day_has_a_new_key() {
        let (today, tomorrow) = (AmzDate::from_unix(1_369_353_600), AmzDate::from_unix(1_369_440_000));
        let mut kept = signer();
        let first = kept.authorization(&GET, &today);
        assert_ne!(first, kept.authorization(&GET, &tomorrow));
        assert_eq!(kept.authorization(&GET, &tomorrow), signer().authorization(&GET, &tomorrow));
        assert_eq!(kept.authorization(&GET, &today), first);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(AmzDate::from_unix(seconds).as_str(), text);
        }
    }

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("a b/ü~", false), "a%20b/%C3%BC~");
        assert_eq!(encode("a/b=", true), "a%2Fb%3D");
    }
}
