//! IAM and STS: Amazon's query protocol on the same listener.
//!
//! ```text
//! POST / with a form        is_query
//! body                      collected, bounded
//! signature                 sign: its own verifier, services iam and sts
//! Action=..., Version=...   acts (IAM), sts
//! answer                    tree, as XML
//! ```
//!
//! The protocol has little in common with S3's, so s3s has no part in it. A request comes signed in
//! its `Authorization` header or not at all; what is decided is decided by the store. The same acts
//! serve the operator through [`IamActs`], answered as JSON.

mod acts;
mod params;
mod policies;
mod shown;
mod sign;
mod sts;
mod tree;

use std::sync::Arc;

use futures::StreamExt as _;
use gw_store::{Store, StoreError, StoreErrorKind};
use gw_types::{Authenticated, Frontend};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use s3s::Body;

use crate::budget::Budgets;
use crate::guard::{Regions, TOKEN};
use crate::percent;
use crate::refusal::{Names, Refusal, escape};
use crate::said::{Remote, RequestName, Said};
use crate::trail::Note;
use params::Params;
use tree::Node;

/// A policy of 10 KB, percent-encoded three times over, and room for what goes with it.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What the endpoint stands on.
pub(crate) struct Iam {
    pub(crate) store: Arc<Store>,
    pub(crate) budgets: Arc<Budgets>,
}

/// The two services of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Iam,
    Sts,
}

impl Service {
    fn word(self) -> &'static str {
        match self {
            Self::Iam => "iam",
            Self::Sts => "sts",
        }
    }
    fn namespace(self) -> &'static str {
        match self {
            Self::Iam => "https://iam.amazonaws.com/doc/2010-05-08/",
            Self::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }
}

/// An error in the protocol's own form.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
    fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
    fn invalid(message: impl Into<String>) -> Self {
        Self::bad("ValidationError", message)
    }
    fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchEntity", message)
    }
    /// 403
    fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, message)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        use StoreErrorKind as Kind;
        let (status, code) = match error.kind() {
            Kind::NoSuchUser => (StatusCode::NOT_FOUND, "NoSuchEntity"),
            Kind::UserExists => (StatusCode::CONFLICT, "EntityAlreadyExists"),
            Kind::DeleteConflict => (StatusCode::CONFLICT, "DeleteConflict"),
            Kind::LimitExceeded => (StatusCode::CONFLICT, "LimitExceeded"),
            Kind::MalformedPolicy => (StatusCode::BAD_REQUEST, "MalformedPolicyDocument"),
            Kind::InvalidArgument => (StatusCode::BAD_REQUEST, "ValidationError"),
            Kind::AccessDenied => (StatusCode::FORBIDDEN, "AccessDenied"),
            Kind::InvalidToken => (StatusCode::FORBIDDEN, "InvalidClientTokenId"),
            Kind::ExpiredToken => (StatusCode::FORBIDDEN, "ExpiredToken"),
            Kind::Busy | Kind::StagingFull => (StatusCode::SERVICE_UNAVAILABLE, "Throttling"),
            Kind::Poisoned | Kind::NotDurable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            _ => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
                let sentence = "We encountered an internal error. Please try again.";
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServiceFailure", sentence);
            }
        };
        Self::new(status, code, error.message().to_owned())
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.code, refusal.message.into_owned())
    }
}

/// Whether a request is one of the query protocol.
pub(crate) fn is_query(parts: &Parts) -> bool {
    let form = |value: &HeaderValue| {
        let wanted = b"application/x-www-form-urlencoded";
        value.as_bytes().get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    };
    parts.method == Method::POST
        && parts.uri.path() == "/"
        && parts.headers.get(header::CONTENT_TYPE).is_some_and(form)
}

/// Who asks for what.
pub(crate) struct Ask<'a> {
    pub(crate) store: &'a Store,
    pub(crate) who: &'a Authenticated,
    /// The key it is signed with.
    pub(crate) access_key: &'a str,
    pub(crate) params: &'a Params,
}

type Answered = Result<Node, Fault>;

impl Iam {
    /// Answers a request of the query protocol.
    pub(crate) async fn receive(
        &self,
        (parts, head): (&Parts, Result<(), Refusal>),
        body: Body,
        regions: &Regions<'_>,
        names: &Names<'_>,
    ) -> Response<Body> {
        let answered = match head {
            Ok(()) => self.answer(parts, body, regions).await,
            Err(refusal) => Err((Service::Iam, refusal.into())),
        };
        match answered {
            Ok((service, action, node)) => {
                let text = tree::answer(service.namespace(), &action, &node, names.request_id);
                document(StatusCode::OK, text)
            }
            Err((service, fault)) => {
                let kind = if fault.status.is_server_error() { "Receiver" } else { "Sender" };
                let text = format!(
                    "<ErrorResponse xmlns=\"{}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
                     <RequestId>{}</RequestId></ErrorResponse>",
                    service.namespace(),
                    fault.code,
                    escape(&fault.message),
                    names.request_id
                );
                document(fault.status, text)
            }
        }
    }

    async fn answer(
        &self,
        parts: &Parts,
        body: Body,
        regions: &Regions<'_>,
    ) -> Result<(Service, String, Node), (Service, Fault)> {
        let claim = sign::claim(parts, regions).map_err(|fault| (Service::Iam, fault))?;
        let service = claim.as_ref().map_or(Service::Sts, |claim| claim.service);
        let failed = |fault| (service, fault);
        let bytes = collect(body).await.map_err(failed)?;
        let params = Params::read(&bytes);
        let action = params.text("Action").unwrap_or_default().to_owned();
        if let Some(note) = parts.extensions.get::<Arc<Note>>()
            && (acts::is_known(&action) || sts::is_known(&action))
        {
            note.set_operation(&action);
        }
        let Some(claim) = claim else {
            let message = "Request is missing Authentication Token";
            return Err(failed(Fault::refused("MissingAuthenticationToken", message)));
        };
        let (access_key, who) = self.verify(parts, &claim, &bytes).await.map_err(failed)?;
        let ask = Ask { store: &self.store, who: &who, access_key: &access_key, params: &params };
        let node = match service {
            Service::Iam => acts::act(&ask, &action).await,
            Service::Sts => sts::act(&ask, &action).await,
        };
        node.map(|node| (service, action, node)).map_err(failed)
    }

    /// The principal of a request, once its signature fits.
    async fn verify(
        &self,
        parts: &Parts,
        claim: &sign::Claim<'_>,
        body: &[u8],
    ) -> Result<(String, Authenticated), Fault> {
        let unknown = || {
            Fault::refused("InvalidClientTokenId", "The security token included in the request is invalid.")
        };
        let access_key = claim.access_key;
        let token =
            parts.headers.get(TOKEN).map(|token| token.to_str().map_err(|_| unknown())).transpose()?;
        let credential = match token {
            Some(token) => self.store.session(access_key, token.trim()).await?,
            None => self.store.credential(access_key).await?.ok_or_else(unknown)?,
        };
        let now_seconds = self.store.now().unix_seconds();
        sign::verify(parts, claim, body, (credential.secret.expose(), now_seconds))?;
        let who = credential.principal(Frontend::S3);
        if let (Some(note), Some(label)) = (parts.extensions.get::<Arc<Note>>(), who.label()) {
            note.set_user(label);
        }
        if let Some(budget) = self.budgets.of(access_key, &credential)
            && budget.take_request().is_err()
        {
            return Err(Fault::bad("Throttling", "Rate exceeded"));
        }
        if token.is_none() {
            self.store.access_key_used(access_key, claim.service.word(), claim.region)?;
        }
        let said = Said {
            headers: parts.headers.clone(),
            uri: parts.uri.clone(),
            remote: parts.extensions.get::<Remote>().copied(),
            now_seconds,
            request_id: RequestName::of(&parts.extensions),
            note: None,
        };
        Ok((access_key.to_owned(), who.under(Arc::new(said))))
    }
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Fault::bad("IncompleteBody", "The body of the request broke off."))?;
        if bytes.len() + piece.len() > BODY_BYTES_MAX {
            return Err(Fault::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                "Request body is too large.",
            ));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn document(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The acts of the IAM API for the operator: by name and parameters, answered as JSON.
#[derive(Clone, Debug)]
pub struct IamActs {
    store: Arc<Store>,
}

/// Why an act was not done: what the API would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IamRefusal {
    /// HTTP status.
    pub status: u16,
    /// AWS's word for it.
    pub code: String,
    /// A sentence.
    pub message: String,
}

impl IamActs {
    /// On a store.
    pub fn new(store: impl Into<Arc<Store>>) -> Self {
        Self { store: store.into() }
    }

    /// Does `action` (`CreateUser`, ...) in an account, with the API's parameters.
    ///
    /// # Errors
    /// As the API would answer.
    pub async fn act(
        &self,
        account: &str,
        action: &str,
        params: Vec<(String, String)>,
    ) -> Result<serde_json::Value, IamRefusal> {
        let who = Authenticated::user(account, Frontend::Admin);
        let params = Params::of(params);
        let ask = Ask { store: &self.store, who: &who, access_key: "", params: &params };
        match acts::act(&ask, action).await {
            Ok(node) => Ok(node.json()),
            Err(fault) => Err(IamRefusal {
                status: fault.status.as_u16(),
                code: fault.code.to_owned(),
                message: fault.message,
            }),
        }
    }
}

/// Percent-encoded as RFC 3986 says, slashes too.
fn encode_all(text: &str) -> String {
    percent::encode(text).replace('/', "%2F")
}
