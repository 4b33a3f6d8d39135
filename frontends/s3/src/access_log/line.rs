//! One request as AWS writes it down (AWS: "Amazon S3 server access log format").
//!
//! What came in the query and could let somebody in (signatures, credentials, tokens) is left out of
//! the request line; everything else is as it was sent.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{HeaderMap, header};

use crate::percent;

/// What the head of a request says for its line.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) key: String,
    request_line: String,
    referer: String,
    host: String,
    version_id: String,
    signature: &'static str,
    auth: &'static str,
    is_secure: bool,
    at: SystemTime,
}

impl Head {
    pub(crate) fn of(parts: &Parts, (key, at): (String, SystemTime), is_secure: bool) -> Self {
        let text = |name: header::HeaderName| {
            parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let query = parts.uri.query().unwrap_or_default();
        let (signature, auth) = credentials(&parts.headers, query);
        let version = query.split('&').find_map(|pair| pair.strip_prefix("versionId="));
        Self {
            key,
            request_line: request_line(parts, query),
            referer: text(header::REFERER),
            host: text(header::HOST),
            version_id: version.map(percent::decode_query).unwrap_or_default(),
            signature,
            auth,
            is_secure,
            at,
        }
    }
    pub(crate) fn at(&self) -> SystemTime {
        self.at
    }
}

/// How the request was signed, in AWS's words.
fn credentials(headers: &HeaderMap, query: &str) -> (&'static str, &'static str) {
    if headers.contains_key(header::AUTHORIZATION) {
        return ("SigV4", "AuthHeader");
    }
    if query.contains("X-Amz-Signature=") {
        return ("SigV4", "QueryString");
    }
    if query.contains("AWSAccessKeyId=") { ("SigV2", "QueryString") } else { ("-", "-") }
}

fn request_line(parts: &Parts, query: &str) -> String {
    let mut line = format!("{} {}", parts.method, parts.uri.path());
    for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        line.push(if index == 0 { '?' } else { '&' });
        let name = pair.split('=').next().unwrap_or_default();
        let secret = ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "Signature"];
        let decoded = percent::decode_query(name);
        if secret.iter().any(|word| decoded.eq_ignore_ascii_case(word)) {
            let _ = write!(line, "{name}=REDACTED");
        } else {
            line.push_str(pair);
        }
    }
    let _ = write!(line, " {:?}", parts.version);
    line
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) remote: std::net::IpAddr,
    pub(crate) user: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) method: &'a str,
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) bytes_out: u64,
    pub(crate) object_bytes: Option<u64>,
    pub(crate) took: Duration,
    pub(crate) agent: &'a str,
}

/// The line, with its end.
pub(crate) fn line(head: &Head, outcome: &Outcome<'_>) -> String {
    let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let micros = outcome.took.as_micros();
    // AWS rounds to whole milliseconds; ours are often less.
    let millis = micros.div_ceil(1000);
    let mut text = String::with_capacity(512);
    let _ = writeln!(
        text,
        "{owner} {bucket} [{time}] {remote} {user} {request_id} {operation} {key} {request} {status} {code} \
         {bytes} {size} {millis} {millis} {referer} {agent} {version} - {signature} - {auth} {host} {tls} - -",
        owner = dash(outcome.owner),
        bucket = outcome.bucket,
        time = common_time(head.at),
        remote = outcome.remote,
        user = dash(outcome.user),
        request_id = outcome.request_id,
        operation = operation(outcome.operation, outcome.method),
        key = dash(&percent::encode(&head.key)),
        request = quoted(&head.request_line),
        status = outcome.status,
        code = dash(outcome.code),
        bytes = number((outcome.bytes_out > 0).then_some(outcome.bytes_out)),
        size = number(outcome.object_bytes),
        referer = quoted(&head.referer),
        agent = quoted(outcome.agent),
        version = dash(&head.version_id),
        signature = head.signature,
        auth = head.auth,
        host = dash(&head.host),
        tls = if head.is_secure { "TLS" } else { "-" },
    );
    text
}

/// In quotes, as one field: what could end the field or the line is escaped.
fn quoted(text: &str) -> String {
    if text.is_empty() || text == "-" {
        return "\"-\"".to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("%22"),
            letter if letter.is_control() => {
                let _ = write!(out, "%{:02X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// `06/Feb/2019:00:00:38 +0000`
fn common_time(at: SystemTime) -> String {
    // `Wed, 06 Feb 2019 00:00:38 GMT`
    let date = httpdate::fmt_http_date(at);
    let mut words = date.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_default();
    let (day, month, year, time) = (next(), next(), next(), next());
    format!("{day}/{month}/{year}:{time} +0000")
}

/// Year, month, day, hour, minute and second as digits, in UTC.
pub(crate) fn digits(at: SystemTime) -> [String; 6] {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let date = httpdate::fmt_http_date(at);
    let words: Vec<&str> = date.split([' ', ':']).collect();
    let word = |index: usize| words.get(index).copied().unwrap_or_default().to_owned();
    let month = MONTHS.iter().position(|name| *name == word(2)).unwrap_or_default() + 1;
    [word(3), format!("{month:02}"), word(1), word(4), word(5), word(6)]
}

/// AWS's word for an operation: `REST.METHOD.RESOURCE`.
fn operation(name: &str, method: &str) -> String {
    let known = match name {
        "GetObject" => "REST.GET.OBJECT",
        "HeadObject" => "REST.HEAD.OBJECT",
        "PutObject" => "REST.PUT.OBJECT",
        "PostObject" => "REST.POST.OBJECT",
        "CopyObject" => "REST.COPY.OBJECT",
        "RenameObject" => "REST.RENAME.OBJECT",
        "DeleteObject" => "REST.DELETE.OBJECT",
        "DeleteObjects" => "REST.POST.MULTI_OBJECT_DELETE",
        "ListObjects" | "ListObjectsV2" => "REST.GET.BUCKET",
        "ListObjectVersions" => "REST.GET.BUCKETVERSIONS",
        "HeadBucket" => "REST.HEAD.BUCKET",
        "CreateBucket" => "REST.PUT.BUCKET",
        "DeleteBucket" => "REST.DELETE.BUCKET",
        "CreateMultipartUpload" => "REST.POST.UPLOADS",
        "CompleteMultipartUpload" => "REST.POST.UPLOAD",
        "AbortMultipartUpload" => "REST.DELETE.UPLOAD",
        "ListParts" => "REST.GET.UPLOAD",
        "ListMultipartUploads" => "REST.GET.UPLOADS",
        "UploadPart" => "REST.PUT.PART",
        "UploadPartCopy" => "REST.COPY.PART",
        "GetBucketPolicy" | "PutBucketPolicy" | "DeleteBucketPolicy" => "BUCKETPOLICY",
        "GetBucketAcl" | "PutBucketAcl" | "GetObjectAcl" | "PutObjectAcl" => "ACL",
        "GetBucketLocation" => "REST.GET.LOCATION",
        "GetBucketVersioning" | "PutBucketVersioning" => "VERSIONING",
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => "OBJECT_TAGGING",
        "Website" => "WEBSITE",
        _ => "",
    };
    match known {
        "" if name == "-" => format!("REST.{method}.UNKNOWN"),
        "" => format!("REST.{method}.{}", name.to_ascii_uppercase()),
        "WEBSITE" => format!("WEBSITE.{method}.OBJECT"),
        known if known.starts_with("REST.") => known.to_owned(),
        resource => format!("REST.{method}.{resource}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::Request;

    use super::{Head, Outcome, digits, line, operation};

    #[test]
    fn a_line_is_aws_s_and_holds_no_signature() {
        let request = Request::get("/bucket/a%20b?versionId=v1&X-Amz-Signature=abc&x=1")
            .header("host", "s3.example")
            .header("referer", "http://x/\"y")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_549_411_238);
        let head = Head::of(&parts, ("a b".to_owned(), at), false);
        let outcome = Outcome {
            bucket: "bucket",
            owner: "ann",
            remote: [192, 0, 2, 3].into(),
            user: "",
            request_id: "REQ",
            operation: "GetObject",
            method: "GET",
            status: 200,
            code: "",
            bytes_out: 5,
            object_bytes: Some(10),
            took: Duration::from_micros(1500),
            agent: "aws",
        };
        let golden = "ann bucket [06/Feb/2019:00:00:38 +0000] 192.0.2.3 - REQ REST.GET.OBJECT a%20b \
                      \"GET /bucket/a%20b?versionId=v1&X-Amz-Signature=REDACTED&x=1 HTTP/1.1\" 200 - 5 10 2 2 \
                      \"http://x/%22y\" \"aws\" v1 - SigV4 - QueryString s3.example - - -\n";
        assert_eq!(line(&head, &outcome), golden);
        assert_eq!(digits(head.at), ["2019", "02", "06", "00", "00", "38"].map(str::to_owned));
    }

    #[test]
    fn operations_have_aws_s_words() {
        for (name, method, word) in [
            ("PutBucketAcl", "PUT", "REST.PUT.ACL"),
            ("GetBucketCors", "GET", "REST.GET.GETBUCKETCORS"),
            ("-", "PUT", "REST.PUT.UNKNOWN"),
            ("Website", "HEAD", "WEBSITE.HEAD.OBJECT"),
        ] {
            assert_eq!(operation(name, method), word);
        }
    }
}
