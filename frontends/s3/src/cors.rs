//! Requests from other origins: preflights, and the headers that let a page see an answer.
//!
//! AWS: "Using cross-origin resource sharing (CORS)"; the protocol is the Fetch standard's. A
//! preflight carries no credentials and is answered by the bucket's rules alone. Other requests are
//! answered as always, and when their `Origin` and method fit a rule the answer says so.

use std::sync::Arc;

use gw_store::Store;
use gw_types::{Authenticated, BucketName, Frontend};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use s3s::Body;
use s3s::dto::{CORSConfiguration, CORSRule};

use crate::percent;
use crate::refusal::Refusal;
use crate::verify::Domains;
use crate::xml;

/// Looks up the rules of the bucket that a request is for.
pub(crate) struct Cors {
    pub(crate) store: Arc<Store>,
    pub(crate) domains: Domains,
    /// Hosts of websites.
    pub(crate) websites: Domains,
}

/// What a request from a page asks for.
struct Asked<'a> {
    origin: &'a str,
    method: &'a str,
    headers: Vec<&'a str>,
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl Cors {
    /// The answer to an `OPTIONS` request.
    pub(crate) async fn preflight(&self, parts: &Parts) -> Response<Body> {
        let Some(origin) = text(&parts.headers, ORIGIN) else {
            return Refusal::bad("BadRequest", "Insufficient information. Origin request header needed.")
                .answer();
        };
        let Some(method) = text(&parts.headers, ACCESS_CONTROL_REQUEST_METHOD) else {
            return Refusal::bad("BadRequest", "Invalid Access-Control-Request-Method: null").answer();
        };
        let headers = text(&parts.headers, ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        let headers = headers.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let asked = Asked { origin, method, headers };
        let rules = self.rules(parts).await;
        match rules.iter().find(|rule| fits(rule, &asked)) {
            Some(rule) => {
                let mut answer = Response::new(Body::empty());
                allow(rule, &asked, true, answer.headers_mut());
                answer
            }
            None => Refusal::new(
                StatusCode::FORBIDDEN,
                "AccessForbidden",
                "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
                 request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted \
                 by the resource's CORS spec.",
            )
            .answer(),
        }
    }

    /// Adds to an answer what lets the page at `Origin` see it. Does nothing for other requests.
    pub(crate) async fn dress(&self, parts: &Parts, answer: &mut HeaderMap) {
        let Some(origin) = text(&parts.headers, ORIGIN) else { return };
        // A request may name another method than its own; RGW and AWS believe it.
        let method = text(&parts.headers, ACCESS_CONTROL_REQUEST_METHOD).unwrap_or(parts.method.as_str());
        let asked = Asked { origin, method, headers: Vec::new() };
        let rules = self.rules(parts).await;
        if let Some(rule) = rules.iter().find(|rule| fits(rule, &asked)) {
            allow(rule, &asked, false, answer);
        }
    }

    /// Bucket and key that a request is for, as its host and path say.
    pub(crate) fn address(&self, parts: &Parts) -> (String, String) {
        let host = text(&parts.headers, http::header::HOST)
            .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
            .unwrap_or_default();
        let path = parts.uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        match self.websites.bucket_of(host).or_else(|| self.domains.bucket_of(host)) {
            Some(bucket) => (bucket, percent::decode_path(path)),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (percent::decode_path(bucket), percent::decode_path(key))
            }
        }
    }

    /// The bucket's rules; none where there is no bucket or anything fails.
    async fn rules(&self, parts: &Parts) -> Vec<CORSRule> {
        let (name, _) = self.address(parts);
        let Ok(bucket) = BucketName::new(name) else { return Vec::new() };
        let nobody = Authenticated::anonymous(Frontend::S3);
        match self.store.bucket_cors(&nobody, &bucket).await {
            Ok(Some(document)) => xml::read::<CORSConfiguration>("CORSConfiguration", &document)
                .map(|configuration| configuration.cors_rules)
                .unwrap_or_default(),
            Ok(None) | Err(_) => Vec::new(),
        }
    }
}

fn fits(rule: &CORSRule, asked: &Asked<'_>) -> bool {
    let allowed = |name: &&str| {
        rule.allowed_headers
            .iter()
            .flatten()
            .any(|pattern| one_star(&pattern.to_ascii_lowercase(), &name.to_ascii_lowercase()))
    };
    rule.allowed_origins.iter().any(|pattern| one_star(pattern, asked.origin))
        && rule.allowed_methods.iter().any(|method| method == asked.method)
        && asked.headers.iter().all(allowed)
}

/// At most one `*` stands in a pattern (AWS).
fn one_star(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => {
            text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail)
        }
    }
}

fn allow(rule: &CORSRule, asked: &Asked<'_>, preflight: bool, headers: &mut HeaderMap) {
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    // AWS names the origin unless the rule lets in every origin.
    if rule.allowed_origins.iter().any(|origin| origin == "*") {
        put(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        put(ACCESS_CONTROL_ALLOW_ORIGIN, asked.origin);
        put(ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    put(VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    put(ACCESS_CONTROL_ALLOW_METHODS, &rule.allowed_methods.join(", "));
    if preflight && !asked.headers.is_empty() {
        put(ACCESS_CONTROL_ALLOW_HEADERS, &asked.headers.join(", ").to_ascii_lowercase());
    }
    if let Some(exposed) = rule.expose_headers.as_ref().filter(|exposed| !exposed.is_empty()) {
        put(ACCESS_CONTROL_EXPOSE_HEADERS, &exposed.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        put(ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use s3s::dto::CORSRule;

    use super::{Asked, allow, fits, one_star};

    fn rule(origin: &str) -> CORSRule {
        CORSRule {
            allowed_headers: Some(vec!["x-amz-*".to_owned()]),
            allowed_methods: vec!["GET".to_owned(), "PUT".to_owned()],
            allowed_origins: vec![origin.to_owned()],
            max_age_seconds: Some(5),
            ..CORSRule::default()
        }
    }

    #[test]
    fn one_star_stands_for_anything() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("http://*.example.com", "http://a.example.com", true),
            ("http://*.example.com", "http://.example.com", true),
            ("a*a", "a", false),
            ("start*", "xstart", false),
        ] {
            assert_eq!(one_star(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn origin_method_and_every_header_must_fit() {
        let asked = |method, headers| Asked { origin: "http://a", method, headers };
        assert!(fits(&rule("http://a"), &asked("PUT", vec!["X-Amz-Meta-a"])));
        assert!(!fits(&rule("http://a"), &asked("PUT", vec!["X-Amz-Meta-a", "range"])));
        assert!(!fits(&rule("http://a"), &asked("DELETE", vec![])));
        assert!(!fits(&rule("http://b"), &asked("PUT", vec![])));
        let mut headers = HeaderMap::new();
        allow(&rule("*"), &asked("PUT", vec!["X-Amz-Acl"]), true, &mut headers);
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-allow-headers"], "x-amz-acl");
        assert_eq!(headers["access-control-max-age"], "5");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
}
