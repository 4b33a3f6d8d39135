//! Temporary credentials: roles that are assumed, and sessions of accounts and users.
//!
//! ```text
//!   token = base64url( seal_record( "session/ACCESS KEY", SessionDoc ) )
//! ```
//!
//! The token is the whole of it: no row says that a session is there, so any number costs nothing and
//! a restore on another machine keeps them. It holds the key's secret and is sealed under the root
//! key; nobody else can read or make one. It ends by its time, or before that with what stands behind
//! it: the key it was made with, the user or role (by its unique id), or a word of the operator
//! ([`crate::IamChange::RevokeSessions`]).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gw_db::Read;
use gw_types::{Actor, Authenticated, Session, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::keys::{later, user_of};
use super::{BASE32, check_name, check_policy, managed};
use crate::access::{Of, Policy, Question, Verdict};
use crate::api::{AssumeRole, Credential, IamBody, IamEntity, IamKind, Secret, TemporaryCredential};
use crate::core::Core;
use crate::error::{StoreError, StoreErrorKind, StoreResult};
use crate::rows::{self, UserRow, key};

/// AWS: "GetSessionToken", "AssumeRole".
const SECONDS_MIN: u32 = 900;
const TOKEN_SECONDS_MAX: u32 = 129_600;
const TOKEN_SECONDS: u32 = 43_200;
const ROLE_SECONDS: u32 = 3600;
/// AWS: sessions of whoever is in a session already.
const CHAINED_SECONDS_MAX: u32 = 3600;
const SESSION_POLICY_MAX: usize = 2048;
const SESSION_POLICIES_MAX: usize = 10;
/// Longer than any token that is given out.
const TOKEN_BYTES_MAX: usize = 64 << 10;
const FORM: u8 = 1;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SessionDoc {
    form: u8,
    account: String,
    whose: Whose,
    issued: Timestamp,
    expires: Timestamp,
    secret: String,
    policies: Vec<String>,
    /// The long-lived key it was made with: without it the session is over.
    parent: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Whose {
    Account,
    User { name: String, id: String },
    Role { name: String, id: String, session: String },
}

fn purpose(access_key: &str) -> String {
    format!("session/{access_key}")
}

fn invalid_token() -> StoreError {
    StoreErrorKind::InvalidToken.into()
}

fn check_seconds(seconds: u32, max: u32) -> StoreResult<()> {
    if (SECONDS_MIN..=max).contains(&seconds) {
        return Ok(());
    }
    Err(StoreError::invalid(format!("DurationSeconds is between {SECONDS_MIN} and {max}")))
}

impl Core {
    /// Opens a token: the credential of a temporary key.
    pub(crate) async fn session_open(&self, access_key: &str, token: &str) -> StoreResult<Arc<Credential>> {
        let now = self.clock.now();
        let (credential, changes) = match self.credentials.get(access_key, token) {
            Ok(credential) => (Some(credential), 0),
            Err(changes) => (None, changes),
        };
        let credential = match credential {
            Some(credential) => credential,
            None => {
                let opened = Arc::new(self.open_token(access_key, token).await?);
                self.credentials.put((access_key, token), &opened, changes);
                opened
            }
        };
        match &credential.session {
            Some(session) if now < session.expires => Ok(credential),
            _ => Err(StoreErrorKind::ExpiredToken.into()),
        }
    }

    async fn open_token(&self, access_key: &str, token: &str) -> StoreResult<Credential> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(invalid_token());
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid_token())?;
        // What does not open is somebody's invention; what cannot be opened now is our own trouble.
        let plain = match self.keys.open_record(&purpose(access_key), &sealed).await {
            Ok(plain) => Zeroizing::new(plain),
            Err(error) => {
                return Err(match error.kind() {
                    gw_types::PortErrorKind::Unavailable => error.into(),
                    _ => invalid_token(),
                });
            }
        };
        let doc: SessionDoc = postcard::from_bytes(&plain).map_err(|_| invalid_token())?;
        if doc.form != FORM {
            return Err(invalid_token());
        }
        if let Some(parent) = &doc.parent
            && self.credential(parent).await?.is_none()
        {
            return Err(invalid_token());
        }
        let snapshot = self.snapshot();
        let user: UserRow =
            rows::load(&snapshot, "user", &key::user(&doc.account))?.ok_or_else(invalid_token)?;
        let (actor, id) = match doc.whose {
            Whose::Account => (Actor::Account, None),
            Whose::User { name, id } => (Actor::User(name.into()), Some(id)),
            Whose::Role { name, id, session } => {
                (Actor::Role { role: name.into(), session: session.into() }, Some(id))
            }
        };
        if let Some(id) = id {
            let held = self.held(&snapshot, &doc.account, &actor)?.ok_or_else(invalid_token)?;
            if held.id != id {
                return Err(invalid_token());
            }
            if doc.issued <= held.sessions_after {
                return Err(StoreErrorKind::ExpiredToken.into());
            }
        }
        let policies = doc.policies.into_iter().map(Arc::from).collect();
        Ok(Credential {
            user: doc.account.into(),
            actor,
            secret: Secret::new(doc.secret),
            session: Some(Arc::new(Session { issued: doc.issued, expires: doc.expires, policies })),
            limits: user.limits,
        })
    }

    async fn issue(
        &self,
        account: &str,
        whose: Whose,
        seconds: u32,
        (policies, parent): (Vec<String>, Option<String>),
    ) -> StoreResult<TemporaryCredential> {
        let access_key = format!("ASIA{}", self.random_text(BASE32, 16)?);
        let secret = self.random_secret()?;
        let issued = self.clock.now();
        let (arn, user_id) = match &whose {
            Whose::Account => (format!("arn:aws:iam::{account}:root"), account.to_owned()),
            Whose::User { name, id } => (user_of(&self.snapshot(), account, name)?.arn(account), id.clone()),
            Whose::Role { name, id, session } => {
                (format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"), format!("{id}:{session}"))
            }
        };
        let doc = SessionDoc {
            form: FORM,
            account: account.to_owned(),
            whose,
            issued,
            expires: later(issued, seconds),
            secret: secret.expose().to_owned(),
            policies,
            parent,
        };
        let plain = Zeroizing::new(
            postcard::to_stdvec(&doc).expect("the document holds no type that postcard cannot write"),
        );
        let sealed = self.keys.seal_record(&purpose(&access_key), &plain).await?;
        let token = URL_SAFE_NO_PAD.encode(sealed);
        Ok(TemporaryCredential { access_key, secret, token, expires: doc.expires, arn, user_id })
    }

    /// Temporary credentials of whoever asks, made with the long-lived key named.
    pub(crate) async fn session_token(
        &self,
        who: &Authenticated,
        access_key: &str,
        seconds: Option<u32>,
    ) -> StoreResult<TemporaryCredential> {
        let account = who.name().ok_or(StoreErrorKind::AccessDenied)?;
        if who.session().is_some() {
            let message = "Cannot call GetSessionToken with session credentials";
            return Err(StoreError::new(StoreErrorKind::AccessDenied, message));
        }
        let seconds = seconds.unwrap_or(TOKEN_SECONDS);
        check_seconds(seconds, TOKEN_SECONDS_MAX)?;
        let whose = match who.actor() {
            Actor::User(name) => {
                let user = user_of(&self.snapshot(), account, name)?;
                Whose::User { name: user.name, id: user.id }
            }
            Actor::Account | Actor::Role { .. } => Whose::Account,
        };
        self.issue(account, whose, seconds, (Vec::new(), Some(access_key.to_owned()))).await
    }

    /// A session of a role, for whom its trust and the caller's own policies let.
    pub(crate) async fn session_assume(
        &self,
        who: &Authenticated,
        request: &AssumeRole,
    ) -> StoreResult<TemporaryCredential> {
        check_name("RoleSessionName", &request.session_name, 64)?;
        if request.session_name.len() < 2 {
            return Err(StoreError::invalid("RoleSessionName has at least 2 characters"));
        }
        let refused = || {
            let who = who.label().unwrap_or_else(|| "anonymous".into());
            let message = format!(
                "User: {who} is not authorized to perform: sts:AssumeRole on resource: {}",
                request.role_arn
            );
            StoreError::new(StoreErrorKind::AccessDenied, message)
        };
        let snapshot = self.snapshot();
        let account =
            request.role_arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
        let (account, path) = account.ok_or_else(|| StoreError::invalid("RoleArn is no ARN of a role"))?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let role: Option<IamEntity> =
            rows::load(&snapshot, "entity", &key::entity(account, IamKind::Role, name))?;
        // Whether a role is there is not told to whom it does not trust.
        let role = role.filter(|role| role.arn(account) == request.role_arn).ok_or_else(refused)?;
        let IamBody::Role { trust, session_seconds_max, .. } = &role.body else { return Err(refused()) };
        if !self.trusts(&snapshot, who, (account, &role, trust), request)? {
            return Err(refused());
        }
        let seconds = request.seconds.unwrap_or(ROLE_SECONDS);
        let max = if who.session().is_some() { CHAINED_SECONDS_MAX } else { *session_seconds_max };
        check_seconds(seconds, max)?;
        let policies = session_policies(&snapshot, account, request)?;
        let session = request.session_name.clone();
        self.issue(account, Whose::Role { name: role.name, id: role.id, session }, seconds, (policies, None))
            .await
    }

    /// AWS: "Policy evaluation for requests within a single account", "Cross-account policy evaluation".
    /// Unlike there, an account itself may assume a role that trusts it: keys of accounts are what most
    /// people here have.
    fn trusts(
        &self,
        read: &impl Read,
        who: &Authenticated,
        (account, role, trust): (&str, &IamEntity, &str),
        request: &AssumeRole,
    ) -> StoreResult<bool> {
        let Some(caller) = who.name() else { return Ok(false) };
        if read.get(&key::user(caller))?.is_none() {
            return Ok(false);
        }
        let policy = Policy::parse(trust.as_bytes(), Of::Trust)
            .map_err(|error| StoreError::corrupt("a role's trust does not parse").with_source(error))?;
        let values = |wanted: &str| match wanted {
            "sts:externalid" => request.external_id.iter().cloned().collect(),
            "sts:rolesessionname" => vec![request.session_name.clone()],
            _ => self.facts(read, who, wanted),
        };
        let arn = role.arn(account);
        let action = "sts:AssumeRole";
        let said = policy.judge(&Question { who, action, resource: &arn, values: &values });
        let own = self.identity_says(read, who, (action, &arn), &values)?;
        if said == Verdict::Deny || own.denies() {
            return Ok(false);
        }
        Ok(match said {
            Verdict::Allow if caller == account => own.session_allows(),
            Verdict::Allow | Verdict::Delegate => own.allows(),
            Verdict::Deny | Verdict::Neutral => false,
        })
    }
}

/// Policies that bound a session, as texts: it keeps what they said when it began.
fn session_policies(read: &impl Read, account: &str, request: &AssumeRole) -> StoreResult<Vec<String>> {
    if request.policy_arns.len() > SESSION_POLICIES_MAX {
        return Err(StoreError::invalid("a session has at most 10 managed policies"));
    }
    let mut policies = Vec::new();
    if let Some(policy) = &request.policy {
        check_policy(policy, Of::Identity, SESSION_POLICY_MAX)?;
        policies.push(policy.clone());
    }
    for arn in &request.policy_arns {
        let document = managed::document(read, account, arn)?.ok_or_else(|| {
            StoreError::new(StoreErrorKind::NoSuchUser, format!("The policy {arn} cannot be found."))
        })?;
        policies.push(document);
    }
    Ok(policies)
}

#[cfg(test)]
mod tests {
    use gw_types::Timestamp;

    use super::{FORM, SessionDoc, Whose};

    #[test]
    fn tokens_keep_their_form() {
        let doc = SessionDoc {
            form: FORM,
            account: "a".to_owned(),
            whose: Whose::Role { name: "r".to_owned(), id: "I".to_owned(), session: "s".to_owned() },
            issued: Timestamp(1),
            expires: Timestamp(2),
            secret: "x".to_owned(),
            policies: vec!["{}".to_owned()],
            parent: None,
        };
        let bytes = postcard::to_stdvec(&doc).unwrap();
        assert_eq!(hex::encode(&bytes), "010161020172014901730204017801027b7d00");
        assert_eq!(postcard::from_bytes::<SessionDoc>(&bytes).unwrap(), doc);
    }
}
