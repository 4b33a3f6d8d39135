//! Signature Version 4 of a query request (AWS: "Create a signed AWS API request").
//!
//! The whole body is here before it is looked at, so its digest is always part of what is signed.
//! Everything that S3 checks of a scope is checked: key, date, region, service, skew, one host, no
//! `x-amz-*` header besides the signed ones. Signatures are compared in constant time.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{AUTHORIZATION, DATE, HOST};
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::{Fault, Service};
use crate::guard::{Regions, Scope, covered, fields};
use crate::layer::basic_date;

/// How far a client's clock may be off, in seconds (AWS).
const SKEW_SECONDS: i64 = 900;

/// What a request says of its signature.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: Service,
    date: &'a str,
    signed: &'a str,
    signature: &'a str,
}

fn incomplete(message: &str) -> Fault {
    Fault::bad("IncompleteSignature", message)
}

fn mismatch(message: &str) -> Fault {
    Fault::refused("SignatureDoesNotMatch", message)
}

/// Reads the form of a signature; `None`: there is none.
pub(crate) fn claim<'a>(parts: &'a Parts, regions: &Regions<'_>) -> Result<Option<Claim<'a>>, Fault> {
    let mut lines = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(line), others) = (lines.next(), lines.count()) else { return Ok(None) };
    let malformed = || incomplete("Authorization header requires Credential, SignedHeaders and Signature.");
    let line = line.to_str().map_err(|_| malformed())?.trim();
    let rest = line.strip_prefix("AWS4-HMAC-SHA256 ").filter(|_| others == 0).ok_or_else(malformed)?;
    let (credential, signed, signature) = fields(rest).ok_or_else(malformed)?;
    let scope = Scope::parse(credential).ok_or_else(malformed)?;
    let service = match scope.service {
        "iam" => Service::Iam,
        "sts" => Service::Sts,
        other => {
            let message =
                format!("Credential should be scoped to correct service: 'iam' or 'sts', not '{other}'.");
            return Err(mismatch(&message));
        }
    };
    if !regions.has(scope.region) {
        let message = format!("Credential should be scoped to a valid region, not '{}'.", scope.region);
        return Err(mismatch(&message));
    }
    if parts.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Fault::invalid("Parameters stand in the body of the request, not in its query."));
    }
    covered(&parts.headers, signed, &[])?;
    let Scope { access_key, date, region, .. } = scope;
    Ok(Some(Claim { access_key, region, service, date, signed, signature }))
}

/// Checks time and signature.
pub(crate) fn verify(
    parts: &Parts,
    claim: &Claim<'_>,
    body: &[u8],
    (secret, now_seconds): (&str, i64),
) -> Result<(), Fault> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let time = match (header("x-amz-date"), header(DATE.as_str())) {
        (Some(time), _) => time.to_owned(),
        (None, Some(date)) => basic_date(date).ok_or_else(|| incomplete("Date cannot be read."))?,
        (None, None) => return Err(incomplete("The request has neither X-Amz-Date nor Date.")),
    };
    let seconds = seconds_of(&time).ok_or_else(|| incomplete("X-Amz-Date cannot be read."))?;
    if (now_seconds - seconds).abs() > SKEW_SECONDS || !time.starts_with(claim.date) {
        return Err(mismatch(
            "Signature expired, or not yet current: the request's time is too far from now.",
        ));
    }
    let digest = hex::encode(Sha256::digest(body));
    if header("x-amz-content-sha256").is_some_and(|said| said != digest && said != "UNSIGNED-PAYLOAD") {
        return Err(mismatch("The body is not what x-amz-content-sha256 says."));
    }
    let canonical =
        canonical(parts, claim.signed, &digest).ok_or_else(|| incomplete("A header is no text."))?;
    let scope = format!("{}/{}/{}/aws4_request", claim.date, claim.region, claim.service.word());
    let text =
        format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())));
    let mut given = [0; 32];
    let fits = hex::decode_to_slice(claim.signature, &mut given).is_ok() && {
        let mut key = format!("AWS4{secret}").into_bytes();
        for word in [claim.date, claim.region, claim.service.word(), "aws4_request"] {
            let mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
            key = mac.chain_update(word).finalize().into_bytes().to_vec();
        }
        let mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
        // Compares in constant time.
        mac.chain_update(text).verify_slice(&given).is_ok()
    };
    if fits {
        return Ok(());
    }
    Err(mismatch(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method.",
    ))
}

fn canonical(parts: &Parts, signed: &str, digest: &str) -> Option<String> {
    let mut headers = String::new();
    for name in signed.split(';') {
        let mut values = Vec::new();
        for value in parts.headers.get_all(name) {
            values.push(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        // HTTP/2 carries the host as a pseudo-header.
        if values.is_empty() && name == HOST.as_str() {
            values.push(parts.uri.authority()?.as_str().to_owned());
        }
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    Some(format!("POST\n/\n\n{headers}\n{signed}\n{digest}"))
}

/// Seconds since 1970 of `YYYYMMDDThhmmssZ`.
fn seconds_of(time: &str) -> Option<i64> {
    let bytes = time.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' || !time.is_ascii() {
        return None;
    }
    let text = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &time[..4],
        &time[4..6],
        &time[6..8],
        &time[9..11],
        &time[11..13],
        &time[13..15]
    );
    let parsed = s3s::dto::Timestamp::parse(s3s::dto::TimestampFormat::DateTime, &text).ok()?;
    Some(crate::dates::from_s3(&parsed).unix_seconds())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Service, claim, seconds_of, verify};
    use crate::guard::Regions;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const BODY: &[u8] = b"Action=GetCallerIdentity&Version=2011-06-15";

    fn signed(signature: &str, more: &[(&str, &str)]) -> http::request::Parts {
        let line = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/sts/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
        );
        let mut request = Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("host", "sts.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .header("authorization", line);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn outcome(signature: &str, body: &[u8], now: i64) -> Result<(), &'static str> {
        let regions = ["us-east-1".to_owned()];
        let parts = signed(signature, &[]);
        let claim = claim(&parts, &Regions::new(&regions, false)).map_err(|fault| fault.code)?.unwrap();
        assert_eq!((claim.access_key, claim.service), ("AKIDEXAMPLE", Service::Sts));
        verify(&parts, &claim, body, (SECRET, now)).map_err(|fault| fault.code)
    }

    #[test]
    fn a_signature_fits_its_body_its_time_and_nothing_else() {
        // Computed by a few lines of Python.
        let good = "6fb20d31f734d876c5682fdd2678d194cf68b862755f83b7ba1373c0874be25c";
        let now = 1_440_938_160;
        assert_eq!(outcome(good, BODY, now), Ok(()));
        assert_eq!(outcome(good, BODY, now + 899), Ok(()));
        assert_eq!(outcome(good, BODY, now + 901), Err("SignatureDoesNotMatch"));
        assert_eq!(outcome(good, BODY, now - 901), Err("SignatureDoesNotMatch"));
        assert_eq!(outcome(good, b"Action=AssumeRole", now), Err("SignatureDoesNotMatch"));
        assert_eq!(outcome(&good.replace('a', "b"), BODY, now), Err("SignatureDoesNotMatch"));
        assert_eq!(outcome("zz", BODY, now), Err("SignatureDoesNotMatch"));
    }

    #[test]
    fn scopes_of_other_services_and_headers_added_later_are_refused() {
        let regions = ["cess-1".to_owned()];
        let code = |parts: &http::request::Parts, regions: &[String]| {
            claim(parts, &Regions::new(regions, false)).map(|_| ()).map_err(|fault| fault.code)
        };
        assert_eq!(code(&signed("00", &[]), &regions), Err("SignatureDoesNotMatch"));
        let known = ["us-east-1".to_owned()];
        assert_eq!(code(&signed("00", &[("x-amz-security-token", "t")]), &known), Err("AccessDenied"));
        assert_eq!(
            code(&signed("00", &[("authorization", "AWS4-HMAC-SHA256 x")]), &known),
            Err("IncompleteSignature")
        );
        let none = Request::post("/").body(()).unwrap().into_parts().0;
        assert!(claim(&none, &Regions::new(&known, false)).unwrap().is_none());
    }

    #[test]
    fn times_are_read_strictly() {
        assert_eq!(seconds_of("20150830T123600Z"), Some(1_440_938_160));
        for bad in ["", "20150830T123600", "2015-08-30T12:36Z", "20159930T123600Z", "é0150830T12360Z"] {
            assert_eq!(seconds_of(bad), None, "{bad}");
        }
    }
}
