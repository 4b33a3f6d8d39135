//! Websites: objects of a bucket as pages, on hosts of their own (`BUCKET.WEBSITE-DOMAIN`).
//!
//! AWS: "Hosting a static website using Amazon S3", "Configuring advanced conditional redirects".
//! Whoever asks has no name: a page is seen where strangers may read the object. What a path means is
//! decided here, in order: all is redirected; a routing rule fits the path alone; the object, or the
//! index document of a folder; a redirect kept with the object; a routing rule for the error; the
//! error document; a plain page. Bytes come by the same operation as every other read, so ranges and
//! conditions work as always. Errors are HTML, as people see them.

use std::sync::Arc;

use gw_store::{Store, StoreErrorKind};
use gw_types::{Authenticated, BucketName, Circumstances, Frontend};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use s3s::Body;
use s3s::dto;
use s3s::service::S3Service;

use crate::percent;
use crate::said::{Remote, RequestName, Said};
use crate::verify::{AsSent, Domains, Trailers};
use crate::xml;

/// Root element of the document.
pub(crate) const DOCUMENT: &str = "WebsiteConfiguration";
/// Name under which a bucket keeps it.
pub(crate) const NAME: &str = "website";
const REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");

/// Serves websites.
pub(crate) struct Websites {
    pub(crate) store: Arc<Store>,
    pub(crate) inner: S3Service,
    pub(crate) domains: Domains,
}

/// A request to a website.
struct Visit<'a> {
    parts: &'a Parts,
    host: &'a str,
    secure: bool,
    bucket: &'a BucketName,
    /// The path, decoded, without its first slash.
    path: String,
}

/// Why a page is not shown.
struct Trouble {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

const NOT_FOUND: Trouble = Trouble {
    status: StatusCode::NOT_FOUND,
    code: "NoSuchKey",
    message: "The specified key does not exist.",
};
const FORBIDDEN: Trouble =
    Trouble { status: StatusCode::FORBIDDEN, code: "AccessDenied", message: "Access Denied" };
const BROKEN: Trouble = Trouble {
    status: StatusCode::INTERNAL_SERVER_ERROR,
    code: "InternalError",
    message: "We encountered an internal error. Please try again.",
};

impl Websites {
    /// The bucket whose website a request is for, by its host.
    pub(crate) fn bucket_of(&self, parts: &Parts) -> Option<String> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))?;
        self.domains.bucket_of(host)
    }

    /// Answers a request whose host carries a website's bucket. Its body is not read.
    pub(crate) async fn serve(&self, parts: &Parts, name: &str) -> Response<Body> {
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let trouble = Trouble {
                status: StatusCode::METHOD_NOT_ALLOWED,
                code: "MethodNotAllowed",
                message: "The specified method is not allowed against this resource.",
            };
            return page(parts, &trouble, "");
        }
        let no_bucket = Trouble {
            status: StatusCode::NOT_FOUND,
            code: "NoSuchBucket",
            message: "The specified bucket does not exist",
        };
        let Ok(bucket) = BucketName::new(name) else { return page(parts, &no_bucket, "") };
        let nobody = Authenticated::anonymous(Frontend::S3);
        let text = match self.store.bucket_website(&nobody, &bucket).await {
            Ok(Some(text)) => text,
            Ok(None) => {
                let trouble = Trouble {
                    status: StatusCode::NOT_FOUND,
                    code: "NoSuchWebsiteConfiguration",
                    message: "The specified bucket does not have a website configuration",
                };
                return page(parts, &trouble, "");
            }
            Err(error) if error.kind() == StoreErrorKind::NoSuchBucket => return page(parts, &no_bucket, ""),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a website cannot be read");
                return page(parts, &BROKEN, "");
            }
        };
        let Ok(website) = xml::read::<dto::WebsiteConfiguration>(DOCUMENT, &text) else {
            return page(parts, &BROKEN, "");
        };
        let path = parts.uri.path();
        let visit = Visit {
            parts,
            host: parts
                .headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
                .or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
                .unwrap_or_default(),
            secure: parts.extensions.get::<Remote>().is_some_and(|remote| remote.secure),
            bucket: &bucket,
            path: percent::decode_path(path.strip_prefix('/').unwrap_or(path)),
        };
        self.show(&visit, &website).await
    }

    async fn show(&self, visit: &Visit<'_>, website: &dto::WebsiteConfiguration) -> Response<Body> {
        if let Some(all) = &website.redirect_all_requests_to {
            let protocol = all.protocol.as_ref().map(|protocol| protocol.as_str());
            let place = place(visit, protocol, Some(&all.host_name), &visit.path);
            return moved(StatusCode::MOVED_PERMANENTLY, &place);
        }
        let rules = website.routing_rules.as_deref().unwrap_or_default();
        if let Some(rule) = routed(rules, &visit.path, None) {
            return follow(visit, rule);
        }
        let suffix = website.index_document.as_ref().map_or("", |index| index.suffix.as_str());
        let folder = visit.path.is_empty() || visit.path.ends_with('/');
        let key = if folder { format!("{}{suffix}", visit.path) } else { visit.path.clone() };
        let answer = self.read(visit, &visit.parts.method, &key, true).await;
        let status = answer.status();
        if !status.is_client_error() && !status.is_server_error() || is_about_range(status) {
            return match answer.headers().get(REDIRECT).and_then(|place| place.to_str().ok()) {
                Some(place) => moved(StatusCode::MOVED_PERMANENTLY, place),
                None => answer,
            };
        }
        if !folder {
            let index = self.read(visit, &Method::HEAD, &format!("{key}/{suffix}"), false).await;
            if index.status().is_success() {
                return moved(StatusCode::FOUND, &format!("/{}/", percent::encode(&key)));
            }
        }
        if let Some(rule) = routed(rules, &visit.path, Some(status)) {
            return follow(visit, rule);
        }
        self.error(visit, website, status, &key).await
    }

    /// The error document with the error's status, or a plain page.
    async fn error(
        &self,
        visit: &Visit<'_>,
        website: &dto::WebsiteConfiguration,
        status: StatusCode,
        key: &str,
    ) -> Response<Body> {
        if let Some(document) = &website.error_document {
            let mut answer = self.read(visit, &visit.parts.method, &document.key, false).await;
            if answer.status() == StatusCode::OK {
                *answer.status_mut() = status;
                return answer;
            }
        }
        let trouble = match status {
            StatusCode::NOT_FOUND => NOT_FOUND,
            StatusCode::FORBIDDEN => FORBIDDEN,
            status if status.is_client_error() => {
                Trouble { status, code: "InvalidRequest", message: "The request cannot be answered." }
            }
            status => Trouble { status, ..BROKEN },
        };
        page(visit.parts, &trouble, key)
    }

    /// Reads an object as somebody without a name; `as_asked`: with the range and the conditions of
    /// the request.
    async fn read(&self, visit: &Visit<'_>, method: &Method, key: &str, as_asked: bool) -> Response<Body> {
        let mut headers = HeaderMap::new();
        if as_asked {
            for name in [
                header::RANGE,
                header::IF_RANGE,
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                header::IF_MODIFIED_SINCE,
                header::IF_UNMODIFIED_SINCE,
            ] {
                if let Some(value) = visit.parts.headers.get(&name) {
                    headers.insert(name, value.clone());
                }
            }
        }
        for name in [header::REFERER, header::USER_AGENT] {
            if let Some(value) = visit.parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let Ok(uri) = format!("/{}/{}", visit.bucket, percent::encode(key)).parse::<http::Uri>() else {
            return page(visit.parts, &NOT_FOUND, key);
        };
        let said = Arc::new(Said {
            headers: headers.clone(),
            uri: uri.clone(),
            remote: visit.parts.extensions.get::<Remote>().copied(),
            now_seconds: self.store.now().unix_seconds(),
            request_id: RequestName::of(&visit.parts.extensions),
            note: None,
        });
        // The inner service would look for a bucket in the host.
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        *request.extensions_mut() = visit.parts.extensions.clone();
        let nobody = Authenticated::anonymous(Frontend::S3);
        let extensions = request.extensions_mut();
        extensions.insert(nobody.under(Arc::clone(&said) as Arc<dyn Circumstances>));
        extensions.insert(AsSent(said));
        extensions.insert(Trailers(None));
        match self.inner.call(request).await {
            Ok(mut answer) => {
                // s3s 0.14.1 takes no status from an operation; see `verify`.
                if answer.status() == StatusCode::OK && answer.headers().contains_key(header::CONTENT_RANGE) {
                    *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                }
                answer
            }
            Err(error) => {
                tracing::error!(?error, "a page could not be written");
                page(visit.parts, &BROKEN, key)
            }
        }
    }
}

/// Errors that are about what the request asked of an object that is there.
fn is_about_range(status: StatusCode) -> bool {
    status == StatusCode::RANGE_NOT_SATISFIABLE || status == StatusCode::PRECONDITION_FAILED
}

/// The first rule that fits a path, and the error where there is one; a rule with an error in its
/// condition fits only then.
fn routed<'a>(
    rules: &'a [dto::RoutingRule],
    path: &str,
    status: Option<StatusCode>,
) -> Option<&'a dto::RoutingRule> {
    rules.iter().find(|rule| {
        let Some(condition) = &rule.condition else { return status.is_none() };
        let prefix = condition.key_prefix_equals.as_deref();
        let code = condition.http_error_code_returned_equals.as_deref();
        let code_fits = match (code, status) {
            (None, None) => true,
            (Some(code), Some(status)) => code == status.as_str(),
            _ => false,
        };
        code_fits && prefix.is_none_or(|prefix| path.starts_with(prefix))
    })
}

fn follow(visit: &Visit<'_>, rule: &dto::RoutingRule) -> Response<Body> {
    let (redirect, path) = (&rule.redirect, visit.path.as_str());
    let prefix = rule.condition.as_ref().and_then(|condition| condition.key_prefix_equals.as_deref());
    let key = match (&redirect.replace_key_with, &redirect.replace_key_prefix_with) {
        (Some(key), _) => key.clone(),
        (None, Some(new)) => {
            format!("{new}{}", path.strip_prefix(prefix.unwrap_or_default()).unwrap_or(path))
        }
        (None, None) => path.to_owned(),
    };
    let protocol = redirect.protocol.as_ref().map(|protocol| protocol.as_str());
    let code = redirect.http_redirect_code.as_deref().and_then(|code| code.parse::<u16>().ok());
    let status =
        code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    moved(status, &place(visit, protocol, redirect.host_name.as_deref(), &key))
}

fn place(visit: &Visit<'_>, protocol: Option<&str>, host: Option<&str>, key: &str) -> String {
    let protocol = protocol.unwrap_or(if visit.secure { "https" } else { "http" });
    format!("{protocol}://{}/{}", host.unwrap_or(visit.host), percent::encode(key))
}

fn moved(status: StatusCode, place: &str) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    if let Ok(place) = HeaderValue::from_str(place) {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    answer
}

/// An error for people.
fn page(parts: &Parts, trouble: &Trouble, key: &str) -> Response<Body> {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let title = trouble.status.to_string();
    let key = if key.is_empty() { String::new() } else { format!("<li>Key: {}</li>\n", escape(key)) };
    let request_id = RequestName::of(&parts.extensions);
    let text = format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n<li>Code: {}</li>\n\
         <li>Message: {}</li>\n{key}<li>RequestId: {}</li>\n</ul>\n<hr/>\n</body>\n</html>\n",
        trouble.code,
        trouble.message,
        escape(&request_id),
    );
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = trouble.status;
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, html);
    answer.headers_mut().insert("x-amz-error-code", HeaderValue::from_static(trouble.code));
    answer
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use s3s::dto::{Condition, Redirect, RoutingRule};

    use super::routed;

    fn rule(prefix: Option<&str>, code: Option<&str>) -> RoutingRule {
        RoutingRule {
            condition: Some(Condition {
                key_prefix_equals: prefix.map(str::to_owned),
                http_error_code_returned_equals: code.map(str::to_owned),
            }),
            redirect: Redirect::default(),
        }
    }

    #[test]
    fn rules_for_errors_wait_for_the_error() {
        let rules = [rule(Some("old/"), None), rule(Some("x/"), Some("404")), rule(None, Some("403"))];
        let found = |path: &str, status: Option<u16>| {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            let found = routed(&rules, path, status)?;
            rules.iter().position(|rule| std::ptr::eq(rule, found))
        };
        assert_eq!(found("old/a", None), Some(0));
        assert_eq!(found("x/a", None), None);
        assert_eq!(found("x/a", Some(404)), Some(1));
        assert_eq!(found("y", Some(404)), None);
        assert_eq!(found("y", Some(403)), Some(2));
        assert_eq!(found("old/a", Some(404)), None);
    }
}
