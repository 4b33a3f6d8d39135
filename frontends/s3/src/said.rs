//! What policies may ask about a request: its headers, its query and where it came from.
//!
//! AWS: "Actions, resources, and condition keys for Amazon S3", "AWS global condition context keys".
//! Keys are looked up only where a policy with conditions stands, so nothing is computed in front.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use gw_types::Circumstances;
use http::{HeaderMap, Uri};

use crate::percent;
use crate::trail::Note;

/// Where a request's connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    pub(crate) addr: IpAddr,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
}

impl Remote {
    /// How addresses of this connection begin.
    pub(crate) fn scheme(self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// A request's id, on its way to where events are made.
#[derive(Clone, Debug)]
pub(crate) struct RequestName(pub(crate) String);

impl RequestName {
    pub(crate) fn of(extensions: &http::Extensions) -> String {
        extensions.get::<Self>().map(|name| name.0.clone()).unwrap_or_default()
    }
}

/// The request as it was signed. It prints without its headers and query, which may hold a
/// customer's key or a signature.
pub(crate) struct Said {
    pub(crate) headers: HeaderMap,
    pub(crate) uri: Uri,
    pub(crate) remote: Option<Remote>,
    pub(crate) now_seconds: i64,
    /// What the answer calls the request.
    pub(crate) request_id: String,
    /// Learns who pays.
    pub(crate) note: Option<Arc<Note>>,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said")
            .field("path", &self.uri.path())
            .field("remote", &self.remote.map(|remote| remote.addr))
            .finish_non_exhaustive()
    }
}

impl Said {
    fn header(&self, name: &str) -> Vec<String> {
        let lines = self.headers.get_all(name).iter();
        lines.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok()).map(str::to_owned).collect()
    }

    fn query(&self, name: &str) -> Vec<String> {
        let pairs = self.uri.query().unwrap_or_default().split('&');
        pairs
            .filter_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent::decode_query(key) == name).then(|| percent::decode_query(value))
            })
            .collect()
    }

    /// Tags that the request brings.
    fn tags(&self) -> Vec<(String, String)> {
        self.header("x-amz-tagging").first().map(|text| tags_of(text)).unwrap_or_default()
    }
}

/// `a=b&c=d`, percent-encoded.
pub(crate) fn tags_of(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode_query(key), percent::decode_query(value))
        })
        .collect()
}

impl Circumstances for Said {
    fn values(&self, key: &str) -> Vec<String> {
        if let Some(tag) = key.strip_prefix("s3:requestobjecttag/") {
            return self.tags().into_iter().filter(|(key, _)| key == tag).map(|(_, value)| value).collect();
        }
        if key == "s3:x-amz-request-payer" {
            // A presigned request says it in its query.
            let said = self.header("x-amz-request-payer");
            return if said.is_empty() { self.query("x-amz-request-payer") } else { said };
        }
        if let Some(name) = key.strip_prefix("s3:x-amz-") {
            return self.header(&format!("x-amz-{name}"));
        }
        let signed_by_query = self.uri.query().is_some_and(|query| query.contains("X-Amz-Signature"));
        match key {
            "aws:sourceip" => self.remote.map(|remote| remote.addr.to_string()).into_iter().collect(),
            "aws:securetransport" => vec![self.remote.is_some_and(|remote| remote.secure).to_string()],
            "aws:referer" => self.header("referer"),
            "aws:useragent" => self.header("user-agent"),
            "aws:epochtime" | "aws:currenttime" => vec![self.now_seconds.to_string()],
            "s3:requestobjecttagkeys" => self.tags().into_iter().map(|(key, _)| key).collect(),
            "s3:prefix" | "s3:delimiter" | "s3:max-keys" => self.query(&key[3..]),
            "cess:requestid" => vec![self.request_id.clone()],
            "s3:versionid" => self.query("versionId"),
            "s3:if-match" | "s3:if-none-match" => self.header(&key[3..]),
            "s3:object-lock-mode" | "s3:object-lock-retain-until-date" => {
                self.header(&format!("x-amz-{}", &key[3..]))
            }
            "s3:object-lock-legal-hold" => self.header("x-amz-object-lock-legal-hold"),
            "s3:authtype" if signed_by_query => vec!["REST-QUERY-STRING".to_owned()],
            "s3:authtype" if self.headers.contains_key("authorization") => vec!["REST-HEADER".to_owned()],
            "s3:signatureversion" => vec!["AWS4-HMAC-SHA256".to_owned()],
            _ => Vec::new(),
        }
    }

    fn charged(&self) {
        if let Some(note) = &self.note {
            note.charge();
        }
    }
}

#[cfg(test)]
mod tests {
    use gw_types::Circumstances as _;
    use http::HeaderMap;

    use super::{Remote, Said};

    #[test]
    fn keys_are_found_in_headers_query_and_connection() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-acl", "private".parse().unwrap());
        headers.insert("x-amz-tagging", "a=1&b=%20".parse().unwrap());
        headers.insert("referer", "http://x/".parse().unwrap());
        let said = Said {
            headers,
            uri: "/b?prefix=a%2Fb&max-keys=7".parse().unwrap(),
            remote: Some(Remote { addr: [127, 0, 0, 1].into(), secure: true }),
            now_seconds: 5,
            request_id: String::new(),
            note: None,
        };
        for (key, value) in [
            ("s3:x-amz-acl", "private"),
            ("s3:requestobjecttag/b", " "),
            ("s3:prefix", "a/b"),
            ("s3:max-keys", "7"),
            ("aws:referer", "http://x/"),
            ("aws:sourceip", "127.0.0.1"),
            ("aws:epochtime", "5"),
            ("aws:securetransport", "true"),
        ] {
            assert_eq!(said.values(key), [value], "{key}");
        }
        assert_eq!(said.values("s3:requestobjecttagkeys"), ["a", "b"]);
        assert!(said.values("s3:versionid").is_empty());
        let shown = format!("{said:?}");
        assert!(!shown.contains("private") && !shown.contains("prefix"), "{shown}");
    }
}
