//! The acts of IAM (AWS: "IAM API Reference", version 2010-05-08): users, keys, groups, roles. Those
//! on policies stand in [`super::policies`].

use gw_store::{IamBody, IamChange, IamEntity, IamKind, IamListRequest, IamRead, IamSpec, IamWhat};
use gw_types::Actor;

use super::tree::Node;
use super::{Answered, Ask, Fault, policies, shown};

/// What a page holds where the request does not say (AWS).
const PAGE: usize = 100;
const PAGE_MAX: u32 = 1000;

const KNOWN: [&str; 28] = [
    "AddUserToGroup",
    "CreateAccessKey",
    "CreateGroup",
    "CreateRole",
    "CreateUser",
    "DeleteAccessKey",
    "DeleteGroup",
    "DeleteRole",
    "DeleteUser",
    "GetAccessKeyLastUsed",
    "GetAccountSummary",
    "GetGroup",
    "GetRole",
    "GetUser",
    "ListAccessKeys",
    "ListGroups",
    "ListGroupsForUser",
    "ListOpenIDConnectProviders",
    "ListRoles",
    "ListUsers",
    "RemoveUserFromGroup",
    "RevokeSessions",
    "UpdateAccessKey",
    "UpdateAssumeRolePolicy",
    "UpdateGroup",
    "UpdateRole",
    "UpdateRoleDescription",
    "UpdateUser",
];

pub(super) fn is_known(action: &str) -> bool {
    KNOWN.contains(&action) || policies::is_known(action)
}

pub(super) async fn act(ask: &Ask<'_>, action: &str) -> Answered {
    match action {
        "CreateUser" => create(ask, IamKind::User).await,
        "CreateGroup" => create(ask, IamKind::Group).await,
        "CreateRole" => create(ask, IamKind::Role).await,
        "GetUser" => get_user(ask).await,
        "GetRole" => get_role(ask).await,
        "GetGroup" => get_group(ask).await,
        "ListUsers" => list(ask, IamKind::User, "Users").await,
        "ListGroups" => list(ask, IamKind::Group, "Groups").await,
        "ListRoles" => list(ask, IamKind::Role, "Roles").await,
        "UpdateUser" => rename(ask, IamKind::User).await,
        "UpdateGroup" => rename(ask, IamKind::Group).await,
        "UpdateRole" | "UpdateRoleDescription" => describe(ask, action).await,
        "UpdateAssumeRolePolicy" => {
            let document = ask.params.must("PolicyDocument")?.to_owned();
            change(ask, IamKind::Role, IamChange::Trust { document }).await
        }
        "DeleteUser" => delete(ask, IamKind::User).await,
        "DeleteGroup" => delete(ask, IamKind::Group).await,
        "DeleteRole" => delete(ask, IamKind::Role).await,
        "AddUserToGroup" => {
            let group = ask.params.must("GroupName")?.to_owned();
            change(ask, IamKind::User, IamChange::Join { group }).await
        }
        "RemoveUserFromGroup" => {
            let group = ask.params.must("GroupName")?.to_owned();
            change(ask, IamKind::User, IamChange::Leave { group }).await
        }
        "ListGroupsForUser" => groups_of(ask).await,
        "CreateAccessKey" => create_key(ask).await,
        "ListAccessKeys" => list_keys(ask).await,
        "UpdateAccessKey" => update_key(ask).await,
        "DeleteAccessKey" => {
            let key = (ask.params.text("UserName"), ask.params.must("AccessKeyId")?);
            ask.store.access_key_delete(ask.who, key).await?;
            Ok(Node::none())
        }
        "GetAccessKeyLastUsed" => last_used(ask).await,
        "GetAccountSummary" => summary(ask).await,
        // There are none, and tools that clean up ask.
        "ListOpenIDConnectProviders" => Ok(Node::one("OpenIDConnectProviderList", Node::List(Vec::new()))),
        // Ours: AWS's console does it by a policy that denies older sessions.
        "RevokeSessions" => {
            let kind = if ask.params.text("RoleName").is_some() { IamKind::Role } else { IamKind::User };
            change(ask, kind, IamChange::RevokeSessions).await
        }
        _ => policies::act(ask, action).await,
    }
}

impl Ask<'_> {
    pub(super) fn account(&self) -> &str {
        self.who.name().unwrap_or_default()
    }

    /// The name of an entity of a kind.
    pub(super) fn name(&self, kind: IamKind) -> Result<&str, Fault> {
        self.params.must(match kind {
            IamKind::User => "UserName",
            IamKind::Group => "GroupName",
            IamKind::Role => "RoleName",
            IamKind::Policy => "PolicyName",
        })
    }

    pub(super) async fn entity(&self, kind: IamKind, read: IamRead) -> Result<IamEntity, Fault> {
        Ok(self.store.iam_get(self.who, (kind, self.name(kind)?), read).await?)
    }

    pub(super) fn page_max(&self) -> Result<usize, Fault> {
        match self.params.number("MaxItems")? {
            None => Ok(PAGE),
            Some(max @ 1..=PAGE_MAX) => Ok(max as usize),
            Some(_) => Err(Fault::invalid("MaxItems is between 1 and 1000.")),
        }
    }

    /// A page of what is here as a whole, in order of name; the marker is the last name.
    pub(super) fn page(
        &self,
        name: &'static str,
        members: impl IntoIterator<Item = (String, Node)>,
    ) -> Result<Vec<(&'static str, Node)>, Fault> {
        let max = self.page_max()?;
        let mut members = members.into_iter().peekable();
        if let Some(marker) = self.params.text("Marker") {
            while members.next_if(|(name, _)| name.as_str() != marker).is_some() {}
            members.next();
        }
        let (mut nodes, mut last) = (Vec::new(), String::new());
        for (name, node) in members.by_ref().take(max) {
            nodes.push(node);
            last = name;
        }
        let more = members.peek().is_some();
        Ok(paged(name, nodes, more.then_some(last)))
    }
}

/// The fields of a page.
pub(super) fn paged(name: &'static str, nodes: Vec<Node>, next: Option<String>) -> Vec<(&'static str, Node)> {
    let mut fields = vec![(name, Node::List(nodes)), ("IsTruncated", Node::Flag(next.is_some()))];
    fields.extend(next.map(|next| ("Marker", Node::Text(next))));
    fields
}

pub(super) async fn change(ask: &Ask<'_>, kind: IamKind, change: IamChange) -> Answered {
    ask.store.iam_change(ask.who, (kind, ask.name(kind)?), &change).await?;
    Ok(Node::none())
}

async fn create(ask: &Ask<'_>, kind: IamKind) -> Answered {
    let what = match kind {
        IamKind::Role => IamWhat::Role {
            trust: ask.params.must("AssumeRolePolicyDocument")?.to_owned(),
            session_seconds_max: ask.params.number("MaxSessionDuration")?.unwrap_or(3600),
        },
        IamKind::Group => IamWhat::Group,
        IamKind::User | IamKind::Policy => IamWhat::User,
    };
    if ask.params.text("PermissionsBoundary").is_some() {
        return Err(Fault::invalid("Permissions boundaries are not there."));
    }
    let spec = IamSpec {
        name: ask.name(kind)?.to_owned(),
        path: ask.params.text("Path").map(str::to_owned),
        description: ask.params.text("Description").unwrap_or_default().to_owned(),
        tags: ask.params.tags(),
        what,
    };
    let made = ask.store.iam_create(ask.who, spec).await?;
    Ok(Node::one(kind.title(), shown::entity(ask.account(), &made)))
}

/// The user named, else whoever asks.
async fn get_user(ask: &Ask<'_>) -> Answered {
    let own = match ask.who.actor() {
        Actor::User(name) => Some(&**name),
        Actor::Account | Actor::Role { .. } => None,
    };
    if let Some(name) = ask.params.text("UserName").or(own) {
        let user = ask.store.iam_get(ask.who, (IamKind::User, name), IamRead::Entity).await?;
        return Ok(Node::one("User", shown::entity(ask.account(), &user)));
    }
    if matches!(ask.who.actor(), Actor::Role { .. }) {
        return Err(Fault::invalid("Must specify userName when calling with non-User credentials"));
    }
    let identity = ask.store.identity(ask.who).await?;
    let keys = ask.store.access_keys(ask.who, None).await?;
    let mut fields = vec![
        ("Path", Node::text("/")),
        ("UserName", Node::text(identity.account.as_str())),
        ("UserId", Node::Text(identity.user_id)),
        ("Arn", Node::Text(identity.arn)),
    ];
    // An account is as old as its oldest key, as far as anybody can tell.
    fields.extend(keys.iter().map(|key| key.created).min().map(|at| ("CreateDate", shown::time(at))));
    Ok(Node::one("User", Node::Map(fields)))
}

async fn get_role(ask: &Ask<'_>) -> Answered {
    let role = ask.entity(IamKind::Role, IamRead::Entity).await?;
    Ok(Node::one("Role", shown::entity(ask.account(), &role)))
}

async fn get_group(ask: &Ask<'_>) -> Answered {
    let group = ask.entity(IamKind::Group, IamRead::Entity).await?;
    let users = ask.store.iam_members(ask.who, &group.name).await?;
    let users = users.into_iter().map(|user| (user.name.clone(), shown::entity(ask.account(), &user)));
    let mut fields = vec![("Group", shown::entity(ask.account(), &group))];
    fields.extend(ask.page("Users", users)?);
    Ok(Node::Map(fields))
}

async fn list(ask: &Ask<'_>, kind: IamKind, name: &'static str) -> Answered {
    let page = entities(ask, kind).await?;
    let shown = page.0.iter().map(|entity| shown::entity(ask.account(), entity)).collect();
    Ok(Node::Map(paged(name, shown, page.1)))
}

/// A page of entities, and where the next one begins.
pub(super) async fn entities(
    ask: &Ask<'_>,
    kind: IamKind,
) -> Result<(Vec<IamEntity>, Option<String>), Fault> {
    let request = IamListRequest {
        path_prefix: ask.params.text("PathPrefix").unwrap_or_default().to_owned(),
        after: ask.params.text("Marker").map(str::to_owned),
        max: ask.page_max()?,
    };
    let page = ask.store.iam_list(ask.who, kind, &request).await?;
    Ok((page.entities, page.next))
}

async fn rename(ask: &Ask<'_>, kind: IamKind) -> Answered {
    let (name, path) = match kind {
        IamKind::Group => ("NewGroupName", "NewPath"),
        _ => ("NewUserName", "NewPath"),
    };
    let text = |name: &str| ask.params.text(name).map(str::to_owned);
    change(ask, kind, IamChange::Rename { name: text(name), path: text(path) }).await
}

async fn describe(ask: &Ask<'_>, action: &str) -> Answered {
    let described = IamChange::Describe {
        description: ask.params.text("Description").map(str::to_owned),
        session_seconds_max: ask.params.number("MaxSessionDuration")?,
    };
    let role = ask.store.iam_change(ask.who, (IamKind::Role, ask.name(IamKind::Role)?), &described).await?;
    let shown = (action == "UpdateRoleDescription").then(|| shown::entity(ask.account(), &role));
    // AWS: UpdateRole answers with a result that is empty.
    Ok(shown.map_or_else(|| Node::List(Vec::new()), |role| Node::one("Role", role)))
}

async fn delete(ask: &Ask<'_>, kind: IamKind) -> Answered {
    ask.store.iam_delete(ask.who, (kind, ask.name(kind)?)).await?;
    Ok(Node::none())
}

async fn groups_of(ask: &Ask<'_>) -> Answered {
    let user = ask.entity(IamKind::User, IamRead::Groups).await?;
    let IamBody::User { groups, .. } = user.body else { return Err(Fault::missing("It is no user.")) };
    let mut shown = Vec::new();
    for group in groups {
        // Whoever may ask for a user's groups may see them.
        let operator = gw_types::Authenticated::user(ask.account(), gw_types::Frontend::Admin);
        let group = ask.store.iam_get(&operator, (IamKind::Group, &group), IamRead::Entity).await?;
        shown.push((group.name.clone(), shown::entity(ask.account(), &group)));
    }
    Ok(Node::Map(ask.page("Groups", shown)?))
}

/// Whose keys a request is about, as shown.
fn owner_of_keys<'a>(ask: &'a Ask<'_>) -> &'a str {
    match (ask.params.text("UserName"), ask.who.actor()) {
        (Some(name), _) => name,
        (None, Actor::User(name)) => name,
        (None, _) => ask.account(),
    }
}

async fn create_key(ask: &Ask<'_>) -> Answered {
    let (made, info) = ask.store.access_key_create(ask.who, ask.params.text("UserName")).await?;
    let mut fields = shown::access_key(owner_of_keys(ask), &info);
    fields.push(("SecretAccessKey", Node::text(made.secret.expose())));
    Ok(Node::one("AccessKey", Node::Map(fields)))
}

async fn list_keys(ask: &Ask<'_>) -> Answered {
    let keys = ask.store.access_keys(ask.who, ask.params.text("UserName")).await?;
    let owner = owner_of_keys(ask);
    let shown = keys.iter().map(|key| (key.access_key.clone(), Node::Map(shown::access_key(owner, key))));
    Ok(Node::Map(ask.page("AccessKeyMetadata", shown)?))
}

async fn update_key(ask: &Ask<'_>) -> Answered {
    let active = match ask.params.must("Status")? {
        "Active" => true,
        "Inactive" => false,
        _ => return Err(Fault::invalid("Status is Active or Inactive.")),
    };
    let key = (ask.params.text("UserName"), ask.params.must("AccessKeyId")?);
    ask.store.access_key_set(ask.who, key, active).await?;
    Ok(Node::none())
}

async fn last_used(ask: &Ask<'_>) -> Answered {
    let (user, used) = ask.store.access_key_last_used(ask.who, ask.params.must("AccessKeyId")?).await?;
    let mut fields = Vec::new();
    match used {
        Some(used) => {
            fields.push(("LastUsedDate", shown::time(used.at)));
            fields.push(("ServiceName", Node::Text(used.service)));
            fields.push(("Region", Node::Text(used.region)));
        }
        None => fields.extend([("ServiceName", Node::text("N/A")), ("Region", Node::text("N/A"))]),
    }
    Ok(Node::Map(vec![("UserName", Node::Text(user)), ("AccessKeyLastUsed", Node::Map(fields))]))
}

async fn summary(ask: &Ask<'_>) -> Answered {
    let sum = ask.store.iam_summary(ask.who).await?;
    let entries = vec![
        ("Users", sum.users),
        ("UsersQuota", 5000),
        ("Groups", sum.groups),
        ("GroupsQuota", 300),
        ("Roles", sum.roles),
        ("RolesQuota", 1000),
        ("Policies", sum.policies),
        ("PoliciesQuota", 1500),
        ("AccountAccessKeysPresent", u64::from(sum.access_keys > 0)),
        ("AccessKeysPerUserQuota", 2),
        ("GroupsPerUserQuota", 10),
        ("AttachedPoliciesPerUserQuota", 10),
        ("AttachedPoliciesPerGroupQuota", 10),
        ("AttachedPoliciesPerRoleQuota", 10),
        ("UserPolicySizeQuota", 2048),
        ("GroupPolicySizeQuota", 5120),
        ("RolePolicySizeQuota", 10_240),
        ("PolicySizeQuota", 6144),
        ("VersionsPerPolicyQuota", 5),
        ("AssumeRolePolicySizeQuota", 2048),
        ("AccountMFAEnabled", 0),
    ];
    Ok(Node::one("SummaryMap", Node::Entries(entries)))
}
