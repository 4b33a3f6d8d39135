//! The acts of STS: who am I, and credentials that end.

use gw_store::AssumeRole;

use super::tree::Node;
use super::{Answered, Ask, Fault, shown};

const KNOWN: [&str; 3] = ["AssumeRole", "GetCallerIdentity", "GetSessionToken"];

pub(super) fn is_known(action: &str) -> bool {
    KNOWN.contains(&action)
}

pub(super) async fn act(ask: &Ask<'_>, action: &str) -> Answered {
    match action {
        "GetCallerIdentity" => caller(ask).await,
        "GetSessionToken" => token(ask).await,
        "AssumeRole" => assume(ask).await,
        "AssumeRoleWithWebIdentity" | "AssumeRoleWithSAML" | "GetFederationToken" => Err(Fault::bad(
            "InvalidAction",
            format!("{action} is not there: this gateway knows no identity providers."),
        )),
        _ => Err(Fault::bad("InvalidAction", format!("Could not find operation {action}."))),
    }
}

async fn caller(ask: &Ask<'_>) -> Answered {
    let identity = ask.store.identity(ask.who).await?;
    Ok(Node::Map(vec![
        ("Arn", Node::Text(identity.arn)),
        ("UserId", Node::Text(identity.user_id)),
        ("Account", Node::Text(identity.account)),
    ]))
}

async fn token(ask: &Ask<'_>) -> Answered {
    if ask.params.text("SerialNumber").is_some() || ask.params.text("TokenCode").is_some() {
        return Err(Fault::invalid("Devices for multi-factor authentication are not there."));
    }
    let seconds = ask.params.number("DurationSeconds")?;
    let made = ask.store.session_token(ask.who, ask.access_key, seconds).await?;
    Ok(Node::one("Credentials", shown::credentials(&made)))
}

async fn assume(ask: &Ask<'_>) -> Answered {
    let text = |name: &str| ask.params.text(name).map(str::to_owned);
    if text("SerialNumber").is_some() || text("TokenCode").is_some() {
        return Err(Fault::invalid("Devices for multi-factor authentication are not there."));
    }
    if text("Tags.member.1.Key").is_some() || text("TransitiveTagKeys.member.1").is_some() {
        return Err(Fault::invalid("Session tags are not there."));
    }
    let request = AssumeRole {
        role_arn: ask.params.must("RoleArn")?.to_owned(),
        session_name: ask.params.must("RoleSessionName")?.to_owned(),
        seconds: ask.params.number("DurationSeconds")?,
        policy: text("Policy"),
        policy_arns: ask.params.list("PolicyArns", "arn"),
        external_id: text("ExternalId"),
    };
    let made = ask.store.session_assume(ask.who, &request).await?;
    let user =
        vec![("AssumedRoleId", Node::text(made.user_id.as_str())), ("Arn", Node::text(made.arn.as_str()))];
    Ok(Node::Map(vec![("Credentials", shown::credentials(&made)), ("AssumedRoleUser", Node::Map(user))]))
}
