//! Who a request says it is from: the form of its credentials, not yet their truth.
//!
//! SigV4 comes in an `Authorization` header or in `X-Amz-*` query parameters (AWS: "Authenticating
//! Requests (AWS Signature Version 4)"). This module reads the form and says what is wrong with it;
//! s3s then computes the signature. What is checked here is what s3s 0.14.1 leaves open: region and
//! service of the scope, the cap on presigned expiry, Signature Version 2, two ways of signing at
//! once, and headers that were added after signing.

use http::HeaderMap;
use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::percent;
use crate::refusal::Refusal;

/// The longest that a presigned URL may be valid (AWS: seven days), in seconds.
const EXPIRES_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// Where the token of a session stands in a header.
pub(crate) const TOKEN: &str = "x-amz-security-token";

/// How a request was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// `Authorization` header.
    Header,
    /// Query parameters.
    Query,
    /// Not at all: an anonymous request.
    Not,
}

/// Who a request says it is from, and how it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) signed: Signed,
    /// `None`: from nobody.
    pub(crate) access_key: Option<String>,
    /// Region of the scope; empty where there is none.
    pub(crate) region: String,
    /// What a temporary key comes with.
    pub(crate) token: Option<String>,
}

/// Regions that a scope may name; the first is the one that errors name.
pub(crate) struct Regions<'a> {
    names: &'a [String],
    /// Whether Signature Version 2 is let in, in queries and forms.
    sigv2: bool,
}

impl<'a> Regions<'a> {
    pub(crate) fn new(names: &'a [String], sigv2: bool) -> Self {
        Self { names, sigv2 }
    }

    /// Access key, date and region of a form's credential, where this endpoint has the region.
    pub(crate) fn read_scope<'c>(&self, credential: &'c str) -> Result<(&'c str, &'c str, &'c str), Refusal> {
        let malformed = || Refusal::bad("InvalidArgument", "The X-Amz-Credential field is malformed.");
        let scope = Scope::parse(credential).ok_or_else(malformed)?;
        self.check(&scope, Signed::Query)?;
        let mut words = credential.split('/');
        match (words.next(), words.next()) {
            (Some(access_key), Some(date)) => Ok((access_key, date, scope.region)),
            _ => Err(malformed()),
        }
    }

    /// Why Signature Version 2 is refused.
    pub(crate) fn version_2(&self) -> Refusal {
        version_2(self)
    }

    /// Whether this endpoint has a region.
    pub(crate) fn has(&self, region: &str) -> bool {
        self.names.iter().any(|name| name == region)
    }

    fn right(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    fn check(&self, scope: &Scope<'_>, from: Signed) -> Result<(), Refusal> {
        let (code, what) = match from {
            Signed::Query => {
                ("AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter")
            }
            Signed::Header | Signed::Not => {
                ("AuthorizationHeaderMalformed", "The authorization header is malformed")
            }
        };
        if scope.service != "s3" {
            let message =
                format!("{what}; incorrect service \"{}\". This endpoint belongs to \"s3\".", scope.service);
            return Err(Refusal::bad(code, message));
        }
        if self.names.iter().any(|region| region == scope.region) {
            return Ok(());
        }
        let right = self.right().to_owned();
        let message = format!("{what}; the region '{}' is wrong; expecting '{right}'", scope.region);
        Err(Refusal { region: Some(right), ..Refusal::bad(code, message) })
    }
}

/// `ACCESS_KEY/DATE/REGION/SERVICE/aws4_request`
pub(crate) struct Scope<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl<'a> Scope<'a> {
    fn claim(&self, signed: Signed) -> Claim {
        let (access_key, region) = (Some(self.access_key.to_owned()), self.region.to_owned());
        Claim { signed, access_key, region, token: None }
    }

    pub(crate) fn parse(credential: &'a str) -> Option<Self> {
        let mut words = credential.split('/');
        let (key, date, region, service, end) =
            (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let good = !key.is_empty()
            && date.len() == 8
            && date.bytes().all(|byte| byte.is_ascii_digit())
            && end == "aws4_request"
            && words.next().is_none();
        good.then_some(Self { access_key: key, date, region, service })
    }
}

/// Checks the form of a request's credentials.
pub(crate) fn examine(
    headers: &HeaderMap,
    query: Option<&str>,
    regions: &Regions<'_>,
) -> Result<Claim, Refusal> {
    let query = Query::read(query.unwrap_or_default());
    let token = token(headers, &query)?;
    let claim = whose(headers, &query, regions)?;
    // Somebody without a key has no session either, and Version 2 does not sign the token.
    let scoped = claim.access_key.is_some() && !query.has("AWSAccessKeyId");
    if token.is_some() && !scoped {
        return Err(invalid_token());
    }
    Ok(Claim { token, ..claim })
}

/// The session token, which comes once or not at all.
fn token(headers: &HeaderMap, query: &Query) -> Result<Option<String>, Refusal> {
    let mut lines = headers.get_all(TOKEN).iter();
    let (by_header, others) = (lines.next(), lines.count());
    let by_query = query.has("X-Amz-Security-Token");
    match (by_header, by_query) {
        (None, false) => Ok(None),
        (Some(line), false) if others == 0 => {
            line.to_str().map(|text| Some(text.trim().to_owned())).map_err(|_| invalid_token())
        }
        (None, true) => {
            query.one("X-Amz-Security-Token").map(str::to_owned).map(Some).ok_or_else(invalid_token)
        }
        _ => Err(invalid_token()),
    }
}

fn whose(headers: &HeaderMap, query: &Query, regions: &Regions<'_>) -> Result<Claim, Refusal> {
    if query.has("Signature") || query.has("AWSAccessKeyId") {
        return if regions.sigv2 { presigned_2(headers, query) } else { Err(version_2(regions)) };
    }
    let signed_by_query =
        query.has("X-Amz-Signature") || query.has("X-Amz-Algorithm") || query.has("X-Amz-Credential");
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), others) = (lines.next(), lines.count()) else {
        let nobody = Claim { signed: Signed::Not, access_key: None, region: String::new(), token: None };
        return if signed_by_query { presigned(headers, query, regions) } else { Ok(nobody) };
    };
    if others > 0 || signed_by_query {
        return Err(Refusal::bad(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        ));
    }
    let line = line.to_str().map_err(|_| malformed())?.trim();
    match line.split_once([' ', '\t']) {
        Some(("AWS4-HMAC-SHA256", rest)) => by_header(headers, rest, regions),
        Some(("AWS", _)) => Err(version_2(regions)),
        Some(("AWS4-ECDSA-P256-SHA256", _)) => Err(version_4a()),
        _ => Err(Refusal::bad("InvalidArgument", "Unsupported Authorization Type")),
    }
}

/// `Credential`, `SignedHeaders` and `Signature` of an `Authorization` header.
pub(crate) fn fields(rest: &str) -> Option<(&str, &str, &str)> {
    let (mut credential, mut signed, mut signature) = (None, None, None);
    for field in rest.split(',') {
        let (name, value) = field.trim().split_once('=')?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed,
            "Signature" => &mut signature,
            _ => return None,
        };
        if slot.replace(value).is_some() {
            return None;
        }
    }
    Some((credential?, signed?, signature?))
}

fn by_header(headers: &HeaderMap, rest: &str, regions: &Regions<'_>) -> Result<Claim, Refusal> {
    let (credential, signed, _) = fields(rest).ok_or_else(malformed)?;
    let scope = Scope::parse(credential).ok_or_else(malformed)?;
    regions.check(&scope, Signed::Header)?;
    covered(headers, signed, &[])?;
    Ok(scope.claim(Signed::Header))
}

fn presigned(headers: &HeaderMap, query: &Query, regions: &Regions<'_>) -> Result<Claim, Refusal> {
    let wrong = |message: &'static str| Refusal::bad("AuthorizationQueryParametersError", message);
    let one = |name: &str| {
        query.one(name).ok_or_else(|| {
            wrong(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
            )
        })
    };
    match one("X-Amz-Algorithm")? {
        "AWS4-HMAC-SHA256" => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(version_4a()),
        _ => return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")),
    }
    one("X-Amz-Signature")?;
    one("X-Amz-Date")?;
    let scope = Scope::parse(one("X-Amz-Credential")?).ok_or_else(|| {
        wrong("Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
    })?;
    regions.check(&scope, Signed::Query)?;
    let expires = one("X-Amz-Expires")?;
    match expires.parse::<i64>() {
        Err(_) => return Err(wrong("X-Amz-Expires should be a number")),
        Ok(seconds) => match u64::try_from(seconds) {
            Err(_) => return Err(wrong("X-Amz-Expires must be non-negative")),
            Ok(seconds) if seconds > EXPIRES_SECONDS_MAX => {
                return Err(wrong(
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
                     less than 604800 seconds",
                ));
            }
            Ok(_) => {}
        },
    }
    // The digest of a presigned body is not known when the URL is made; it binds the sender only.
    covered(headers, one("X-Amz-SignedHeaders")?, &["x-amz-content-sha256"])?;
    Ok(scope.claim(Signed::Query))
}

/// Signature Version 2 in a query (AWS: "Signing and authenticating REST requests", appendix). What
/// it signs besides method, path and time are the `x-amz-*` headers, all of them; it has no scope.
fn presigned_2(headers: &HeaderMap, query: &Query) -> Result<Claim, Refusal> {
    let all = ["AWSAccessKeyId", "Signature", "Expires"].iter().all(|name| query.one(name).is_some());
    if headers.contains_key(AUTHORIZATION) || !all {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters",
        ));
    }
    let access_key = query.one("AWSAccessKeyId").map(str::to_owned);
    Ok(Claim { signed: Signed::Query, access_key, region: String::new(), token: None })
}

/// Every `x-amz-*` header must be signed, and every signed header must be there: otherwise somebody
/// between client and gateway could add one, or take one away.
pub(crate) fn covered(headers: &HeaderMap, signed: &str, exempt: &[&str]) -> Result<(), Refusal> {
    let signed: Vec<&str> = signed.split(';').collect();
    if !signed.contains(&"host") {
        return Err(Refusal::bad(
            "AuthorizationHeaderMalformed",
            "'Host' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    for name in headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-amz-") && !signed.contains(&name) && !exempt.contains(&name) {
            let message = format!("There were headers present in the request which were not signed: {name}");
            return Err(Refusal::new(StatusCode::FORBIDDEN, "AccessDenied", message));
        }
    }
    for name in signed {
        // HTTP/2 carries the host as a pseudo-header.
        if name != "host" && !headers.contains_key(name) {
            let message = format!("The signed header {name:?} is not in the request.");
            return Err(Refusal::new(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message));
        }
    }
    Ok(())
}

fn invalid_token() -> Refusal {
    Refusal::bad("InvalidToken", "The provided token is malformed or otherwise invalid.")
}

fn malformed() -> Refusal {
    Refusal::bad(
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed; expecting AWS4-HMAC-SHA256 Credential=<YOUR-AKID>/YYYYMMDD/REGION/s3/\
         aws4_request, SignedHeaders=..., Signature=...",
    )
}

fn version_2(regions: &Regions<'_>) -> Refusal {
    let region = regions.right();
    Refusal::bad(
        "InvalidRequest",
        format!(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256. Signature \
             Version 2 is not supported; set region {region} (aws configure set region {region}, or --region \
             {region}) or signature_version=s3v4: with region us-east-1 some clients presign with Version 2 unasked."
        ),
    )
}

fn version_4a() -> Refusal {
    Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "NotImplemented",
        "Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported; use AWS4-HMAC-SHA256.",
    )
}

/// The query, decoded, in the order sent.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent::decode_query(name), percent::decode_query(value))
        });
        Self(pairs.collect())
    }
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }
    /// The value of a parameter that is given exactly once.
    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(given, _)| given == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Claim, Regions, Signed, examine};

    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AK/20260101/cess-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00";

    fn claim(headers: &[(&'static str, &str)], query: &str) -> Result<Claim, (&'static str, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let regions = ["cess-1".to_owned(), "us-east-1".to_owned()];
        examine(&map, Some(query), &Regions::new(&regions, false))
            .map_err(|refusal| (refusal.code, refusal.message.into_owned()))
    }

    fn check(headers: &[(&'static str, &str)], query: &str) -> Result<Signed, (&'static str, String)> {
        claim(headers, query).map(|claim| claim.signed)
    }

    fn code(headers: &[(&'static str, &str)], query: &str) -> &'static str {
        check(headers, query).unwrap_err().0
    }

    fn query(credential: &str, expires: &str) -> String {
        format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date=20260101T000000Z\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
        )
    }

    #[test]
    fn the_two_right_forms_pass() {
        assert_eq!(check(&[("authorization", GOOD), ("x-amz-date", "d")], "list-type=2"), Ok(Signed::Header));
        assert_eq!(
            check(&[], &query("AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", "604800")),
            Ok(Signed::Query)
        );
        assert_eq!(check(&[], "prefix=a"), Ok(Signed::Not));
    }

    #[test]
    fn version_2_is_refused_in_every_form_and_the_fix_is_named() {
        for (headers, query) in [
            (vec![("authorization", "AWS AK:c2ln")], ""),
            (vec![], "AWSAccessKeyId=AK&Expires=1&Signature=c2ln"),
            (vec![], "Signatur%65=x"),
            (vec![("authorization", GOOD), ("x-amz-date", "d")], "AWSAccessKeyId=AK&Signature=x&Expires=1"),
        ] {
            let (code, message) = check(&headers, query).unwrap_err();
            assert_eq!(code, "InvalidRequest");
            assert!(
                message.contains("set region cess-1") && message.contains("signature_version=s3v4"),
                "{message}"
            );
        }
    }

    #[test]
    fn scopes_of_other_regions_and_services_are_refused() {
        let elsewhere = GOOD.replace("cess-1", "eu-west-1");
        let (code, message) = check(&[("authorization", &elsewhere), ("x-amz-date", "d")], "").unwrap_err();
        assert_eq!(code, "AuthorizationHeaderMalformed");
        assert!(message.contains("'eu-west-1' is wrong; expecting 'cess-1'"));
        let service = GOOD.replace("/s3/", "/sts/");
        assert_eq!(super::tests::code(&[("authorization", &service)], ""), "AuthorizationHeaderMalformed");
        let wrong = query("AK/20260101/eu-west-1/s3/aws4_request", "60");
        assert_eq!(super::tests::code(&[], &wrong), "AuthorizationQueryParametersError");
    }

    #[test]
    fn presigned_urls_live_seven_days_at_most() {
        let scope = "AK/20260101/cess-1/s3/aws4_request";
        for expires in ["604801", "-1", "x", ""] {
            assert_eq!(code(&[], &query(scope, expires)), "AuthorizationQueryParametersError", "{expires}");
        }
        let twice = format!("{}&X-Amz-Expires=5", query(scope, "60"));
        assert_eq!(code(&[], &twice), "AuthorizationQueryParametersError");
    }

    #[test]
    fn both_ways_of_signing_at_once_are_refused() {
        let q = query("AK/20260101/cess-1/s3/aws4_request", "60");
        assert_eq!(code(&[("authorization", GOOD), ("x-amz-date", "d")], &q), "InvalidArgument");
        assert_eq!(code(&[("authorization", GOOD), ("authorization", GOOD)], ""), "InvalidArgument");
        assert_eq!(code(&[("authorization", "Basic eDp5")], ""), "InvalidArgument");
    }

    #[test]
    fn headers_added_or_taken_after_signing_are_refused() {
        let extra = [("authorization", GOOD), ("x-amz-date", "d"), ("x-amz-acl", "public-read")];
        assert_eq!(code(&extra, ""), "AccessDenied");
        assert_eq!(code(&[("authorization", GOOD)], ""), "SignatureDoesNotMatch");
        let no_host = GOOD.replace("host;", "");
        assert_eq!(
            code(&[("authorization", &no_host), ("x-amz-date", "d")], ""),
            "AuthorizationHeaderMalformed"
        );
    }

    #[test]
    fn a_session_token_comes_once_and_signed_or_not_at_all() {
        let signed = GOOD.replace("host;", "host;x-amz-security-token;");
        let whole =
            [("authorization", signed.as_str()), ("x-amz-date", "d"), ("x-amz-security-token", " T ")];
        let said = claim(&whole, "").unwrap();
        let (key, region) = (said.access_key.as_deref(), said.region.as_str());
        assert_eq!((key, region, said.token.as_deref()), (Some("AK"), "cess-1", Some("T")));
        let by_query = query("AK/20260101/cess-1/s3/aws4_request", "60") + "&X-Amz-Security-Token=a%2Fb";
        assert_eq!(claim(&[], &by_query).unwrap().token.as_deref(), Some("a/b"));

        let added = [("authorization", GOOD), ("x-amz-date", "d"), ("x-amz-security-token", "T")];
        assert_eq!(code(&added, ""), "AccessDenied");
        assert_eq!(code(&whole, "X-Amz-Security-Token=T"), "InvalidToken");
        let twice = [whole[0], whole[1], whole[2], whole[2]];
        assert_eq!(code(&twice, ""), "InvalidToken");
        assert_eq!(code(&[], &format!("{by_query}&X-Amz-Security-Token=b")), "InvalidToken");
        assert_eq!(code(&[("x-amz-security-token", "T")], ""), "InvalidToken");
    }

    #[test]
    fn nonsense_is_malformed_not_a_panic() {
        for line in [
            "AWS4-HMAC-SHA256 ",
            "AWS4-HMAC-SHA256 Credential",
            "AWS4-HMAC-SHA256 Credential=a/b,SignedHeaders=host,Signature=x",
        ] {
            assert!(check(&[("authorization", line)], "").is_err(), "{line}");
        }
    }
}
