//! Acts of IAM on policies: inline ones, managed ones with their versions, who they are attached to,
//! and tags.

use gw_store::{IamBody, IamChange, IamEntity, IamKind, IamRead, IamSpec, IamWhat, PolicyVersion};

use super::acts::{change, entities, paged};
use super::tree::Node;
use super::{Answered, Ask, Fault, shown};

const OF_AWS: &str = "arn:aws:iam::aws:policy/";

/// Which kind of entity an action is about, and the action without the kind.
fn split(action: &str) -> Option<(IamKind, String)> {
    [IamKind::User, IamKind::Group, IamKind::Role].into_iter().find_map(|kind| {
        let (before, after) = action.split_once(kind.title())?;
        Some((kind, format!("{before}{after}")))
    })
}

const OF_ENTITIES: [&str; 10] = [
    "PutPolicy",
    "GetPolicy",
    "DeletePolicy",
    "ListPolicies",
    "AttachPolicy",
    "DetachPolicy",
    "ListAttachedPolicies",
    "Tag",
    "Untag",
    "ListTags",
];
const OF_POLICIES: [&str; 13] = [
    "CreatePolicy",
    "GetPolicy",
    "DeletePolicy",
    "ListPolicies",
    "CreatePolicyVersion",
    "GetPolicyVersion",
    "ListPolicyVersions",
    "DeletePolicyVersion",
    "SetDefaultPolicyVersion",
    "ListEntitiesForPolicy",
    "TagPolicy",
    "UntagPolicy",
    "ListPolicyTags",
];

pub(super) fn is_known(action: &str) -> bool {
    OF_POLICIES.contains(&action) || split(action).is_some_and(|(_, act)| OF_ENTITIES.contains(&act.as_str()))
}

pub(super) async fn act(ask: &Ask<'_>, action: &str) -> Answered {
    if OF_POLICIES.contains(&action) {
        return of_policy(ask, action).await;
    }
    match split(action) {
        Some((kind, act)) => of_entity(ask, kind, &act, action).await,
        None => Err(unknown(action)),
    }
}

fn unknown(action: &str) -> Fault {
    Fault::bad("InvalidAction", format!("Could not find operation {action}."))
}

async fn of_entity(ask: &Ask<'_>, kind: IamKind, act: &str, action: &str) -> Answered {
    let text = |name: &str| ask.params.must(name).map(str::to_owned);
    match act {
        "PutPolicy" => {
            let put = IamChange::PutPolicy { name: text("PolicyName")?, document: text("PolicyDocument")? };
            change(ask, kind, put).await
        }
        "DeletePolicy" => change(ask, kind, IamChange::DeletePolicy { name: text("PolicyName")? }).await,
        "AttachPolicy" => change(ask, kind, IamChange::Attach { policy: text("PolicyArn")? }).await,
        "DetachPolicy" => change(ask, kind, IamChange::Detach { policy: text("PolicyArn")? }).await,
        "Tag" => change(ask, kind, IamChange::Tag(ask.params.tags())).await,
        "Untag" => change(ask, kind, IamChange::Untag(ask.params.list("TagKeys", ""))).await,
        "GetPolicy" => inline(ask, kind).await,
        "ListPolicies" => {
            let entity = ask.entity(kind, IamRead::PolicyNames).await?;
            let names = entity.inline.into_iter().map(|(name, _)| (name.clone(), Node::Text(name)));
            Ok(Node::Map(ask.page("PolicyNames", names)?))
        }
        "ListAttachedPolicies" => {
            let entity = ask.entity(kind, IamRead::Attached).await?;
            let attached = entity.attached.into_iter().map(|arn| {
                let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
                let node = Node::Map(vec![
                    ("PolicyName", Node::Text(name)),
                    ("PolicyArn", Node::text(arn.as_str())),
                ]);
                (arn, node)
            });
            Ok(Node::Map(ask.page("AttachedPolicies", attached)?))
        }
        "ListTags" => {
            let entity = ask.entity(kind, IamRead::Tags).await?;
            Ok(Node::Map(vec![("Tags", shown::tags(&entity.tags)), ("IsTruncated", Node::Flag(false))]))
        }
        _ => Err(unknown(action)),
    }
}

async fn inline(ask: &Ask<'_>, kind: IamKind) -> Answered {
    let entity = ask.entity(kind, IamRead::Policy).await?;
    let wanted = ask.params.must("PolicyName")?;
    let found = entity.inline.iter().find(|(name, _)| name == wanted);
    let (name, document) =
        found.ok_or_else(|| Fault::missing(format!("The policy with name {wanted} cannot be found.")))?;
    let of = match kind {
        IamKind::User => "UserName",
        IamKind::Group => "GroupName",
        IamKind::Role | IamKind::Policy => "RoleName",
    };
    Ok(Node::Map(vec![
        (of, Node::text(entity.name.as_str())),
        ("PolicyName", Node::text(name.as_str())),
        ("PolicyDocument", Node::Document(document.clone())),
    ]))
}

/// Name of a policy by its ARN.
fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

/// Number of `v3`.
fn number_of(version: &str) -> Result<u32, Fault> {
    let number = version.strip_prefix('v').and_then(|number| number.parse().ok());
    number.ok_or_else(|| Fault::invalid(format!("{version} is no version of a policy.")))
}

/// A policy by the ARN that a request gives: the account's own, or one that everybody has.
async fn named(ask: &Ask<'_>, read: IamRead) -> Result<(IamEntity, String), Fault> {
    let arn = ask.params.must("PolicyArn")?;
    let missing = || Fault::missing(format!("Policy {arn} does not exist or is not attachable."));
    if arn.starts_with(OF_AWS) {
        let document = ask.store.iam_policy_document(ask.who, arn).await?.ok_or_else(missing)?;
        let epoch = gw_types::Timestamp(0);
        let body = IamBody::Policy {
            versions: vec![PolicyVersion { number: 1, document, created: epoch }],
            default: 1,
            updated: epoch,
        };
        let name = name_of(arn).to_owned();
        let policy = IamEntity {
            id: format!("ANPA{}", name.to_uppercase()),
            name,
            path: "/".to_owned(),
            created: epoch,
            description: String::new(),
            inline: Vec::new(),
            attached: Vec::new(),
            tags: Vec::new(),
            body,
        };
        return Ok((policy, "aws".to_owned()));
    }
    let policy = ask.store.iam_get(ask.who, (IamKind::Policy, name_of(arn)), read).await?;
    if policy.arn(ask.account()) != arn {
        return Err(missing());
    }
    Ok((policy, ask.account().to_owned()))
}

async fn changed(ask: &Ask<'_>, change: IamChange) -> Result<IamEntity, Fault> {
    let arn = ask.params.must("PolicyArn")?;
    if arn.starts_with(OF_AWS) {
        return Err(Fault::refused("AccessDenied", "Policies of AWS's are the same for everybody."));
    }
    Ok(ask.store.iam_change(ask.who, (IamKind::Policy, name_of(arn)), &change).await?)
}

async fn of_policy(ask: &Ask<'_>, action: &str) -> Answered {
    match action {
        "CreatePolicy" => create(ask).await,
        "GetPolicy" => {
            let (policy, account) = named(ask, IamRead::Entity).await?;
            let Node::Map(mut fields) = shown::entity(&account, &policy) else { return Ok(Node::none()) };
            let attached = ask.store.iam_attached_to(ask.who, &policy.arn(&account)).await;
            // Whoever may not know who has it is not told how many.
            fields.extend(attached.ok().map(|by| ("AttachmentCount", Node::Number(by.len() as u64))));
            Ok(Node::one("Policy", Node::Map(fields)))
        }
        "DeletePolicy" => {
            let arn = ask.params.must("PolicyArn")?;
            named(ask, IamRead::Entity).await?;
            if arn.starts_with(OF_AWS) {
                return Err(Fault::refused("AccessDenied", "Policies of AWS's are the same for everybody."));
            }
            ask.store.iam_delete(ask.who, (IamKind::Policy, name_of(arn))).await?;
            Ok(Node::none())
        }
        "ListPolicies" => list(ask).await,
        "ListEntitiesForPolicy" => attached(ask).await,
        "CreatePolicyVersion" => {
            let (document, default) =
                (ask.params.must("PolicyDocument")?.to_owned(), ask.params.flag("SetAsDefault"));
            let policy = changed(ask, IamChange::NewVersion { document, default }).await?;
            let IamBody::Policy { versions, default, .. } = policy.body else { return Ok(Node::none()) };
            let newest = versions.last().map(|version| shown::version(version, default, false));
            Ok(newest.map_or_else(Node::none, |version| Node::one("PolicyVersion", version)))
        }
        "SetDefaultPolicyVersion" | "DeletePolicyVersion" => {
            let number = number_of(ask.params.must("VersionId")?)?;
            let change = match action {
                "DeletePolicyVersion" => IamChange::DeleteVersion(number),
                _ => IamChange::DefaultVersion(number),
            };
            changed(ask, change).await?;
            Ok(Node::none())
        }
        "GetPolicyVersion" => {
            let (policy, _) = named(ask, IamRead::Version).await?;
            let number = number_of(ask.params.must("VersionId")?)?;
            let IamBody::Policy { versions, default, .. } = policy.body else { return Ok(Node::none()) };
            let found = versions.iter().find(|version| version.number == number);
            let found =
                found.ok_or_else(|| Fault::missing(format!("Policy version v{number} cannot be found.")))?;
            Ok(Node::one("PolicyVersion", shown::version(found, default, true)))
        }
        "ListPolicyVersions" => {
            let (policy, _) = named(ask, IamRead::Versions).await?;
            let IamBody::Policy { versions, default, .. } = policy.body else { return Ok(Node::none()) };
            let shown = versions.iter().rev();
            let shown = shown.map(|one| (format!("v{}", one.number), shown::version(one, default, false)));
            Ok(Node::Map(ask.page("Versions", shown)?))
        }
        "TagPolicy" => changed(ask, IamChange::Tag(ask.params.tags())).await.map(|_| Node::none()),
        "UntagPolicy" => {
            changed(ask, IamChange::Untag(ask.params.list("TagKeys", ""))).await.map(|_| Node::none())
        }
        "ListPolicyTags" => {
            let (policy, _) = named(ask, IamRead::Tags).await?;
            Ok(Node::Map(vec![("Tags", shown::tags(&policy.tags)), ("IsTruncated", Node::Flag(false))]))
        }
        _ => Err(unknown(action)),
    }
}

async fn create(ask: &Ask<'_>) -> Answered {
    let spec = IamSpec {
        name: ask.name(IamKind::Policy)?.to_owned(),
        path: ask.params.text("Path").map(str::to_owned),
        description: ask.params.text("Description").unwrap_or_default().to_owned(),
        tags: ask.params.tags(),
        what: IamWhat::Policy { document: ask.params.must("PolicyDocument")?.to_owned() },
    };
    let made = ask.store.iam_create(ask.who, spec).await?;
    Ok(Node::one("Policy", shown::entity(ask.account(), &made)))
}

/// The account's own policies, then those that everybody has, unless a scope leaves some out.
async fn list(ask: &Ask<'_>) -> Answered {
    let scope = ask.params.text("Scope").unwrap_or("All");
    let only_attached = ask.params.flag("OnlyAttached");
    let (mut found, mut next) = (Vec::new(), None);
    if scope != "AWS" && ask.params.text("Marker").is_none_or(|marker| !marker.starts_with(OF_AWS)) {
        (found, next) = entities(ask, IamKind::Policy).await?;
    }
    let mut shown: Vec<Node> = Vec::new();
    for policy in &found {
        let arn = policy.arn(ask.account());
        if !only_attached || !ask.store.iam_attached_to(ask.who, &arn).await?.is_empty() {
            shown.push(shown::entity(ask.account(), policy));
        }
    }
    if scope != "Local" && next.is_none() {
        for arn in ask.store.iam_everybodys_policies() {
            let of = ask.store.iam_attached_to(ask.who, &arn).await;
            if only_attached && of.map_or(true, |of| of.is_empty()) {
                continue;
            }
            shown.push(Node::Map(vec![
                ("Path", Node::text("/")),
                ("PolicyName", Node::text(name_of(&arn))),
                ("Arn", Node::text(arn.as_str())),
                ("DefaultVersionId", Node::text("v1")),
                ("IsAttachable", Node::Flag(true)),
            ]));
        }
    }
    Ok(Node::Map(paged("Policies", shown, next)))
}

async fn attached(ask: &Ask<'_>) -> Answered {
    let by = ask.store.iam_attached_to(ask.who, ask.params.must("PolicyArn")?).await?;
    let of = |wanted: IamKind, name: &'static str, id: &'static str| {
        let fitting = by.iter().filter(|entity| entity.kind() == wanted);
        let shown = fitting.map(|entity| {
            Node::Map(vec![(name, Node::text(entity.name.as_str())), (id, Node::text(entity.id.as_str()))])
        });
        Node::List(shown.collect())
    };
    Ok(Node::Map(vec![
        ("PolicyGroups", of(IamKind::Group, "GroupName", "GroupId")),
        ("PolicyUsers", of(IamKind::User, "UserName", "UserId")),
        ("PolicyRoles", of(IamKind::Role, "RoleName", "RoleId")),
        ("IsTruncated", Node::Flag(false)),
    ]))
}
