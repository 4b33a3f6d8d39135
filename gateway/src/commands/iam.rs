//! What is in an account: each verb is one or two acts of the IAM API, asked of the admin API.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::Path;

use serde_json::{Value, json};

use super::{SOON, show};
use crate::admin::client::AdminClient;
use crate::admin::wire::{IamAct, UserAdded};
use crate::cli::{For, GroupVerb, In, KeyOfVerb, PolicyVerb, Reach, RoleVerb};
use crate::datadir::write_secret;
use crate::error::{Context, Error, Result, fail};

/// An account as the admin API is asked about it.
pub struct Account<'a> {
    reach: &'a Reach,
    client: &'a AdminClient,
    name: &'a str,
}

impl<'a> Account<'a> {
    pub fn new(reach: &'a Reach, client: &'a AdminClient, name: &'a str) -> Self {
        Self { reach, client, name }
    }

    pub async fn act(&self, action: &str, params: &[(&str, &str)]) -> Result<Value> {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let act = IamAct { account: self.name.to_owned(), action: action.to_owned(), params };
        self.client.post("/v1/iam", &act, SOON).await
    }

    /// All pages of a list.
    async fn all(&self, action: &str, list: &str, params: &[(&str, &str)]) -> Result<Value> {
        let (mut all, mut marker) = (Vec::new(), None::<String>);
        loop {
            let mut params = params.to_vec();
            params.extend(marker.as_deref().map(|marker| ("Marker", marker)));
            let page = self.act(action, &params).await?;
            all.extend(page[list].as_array().cloned().unwrap_or_default());
            marker = page["Marker"].as_str().map(str::to_owned);
            if marker.is_none() {
                return Ok(Value::Array(all));
            }
        }
    }

    pub async fn list(&self, action: &str, list: &str, params: &[(&str, &str)]) -> Result<()> {
        show(self.reach, &self.all(action, list, params).await?, rows)
    }

    /// An act that answers nothing, and what it did.
    pub async fn quiet(&self, action: &str, params: &[(&str, &str)], said: &str) -> Result<()> {
        self.act(action, params).await?;
        show(self.reach, &json!({ "done": action }), |_| format!("{said}\n"))
    }

    /// Makes a key, and shows its secret once.
    pub async fn add_key(&self, user: Option<&str>, out: Option<&Path>) -> Result<()> {
        check_out(out)?;
        let params: Vec<(&str, &str)> = user.map(|name| ("UserName", name)).into_iter().collect();
        let made = self.act("CreateAccessKey", &params).await?;
        let text = |name: &str| made["AccessKey"][name].as_str().unwrap_or_default().to_owned();
        let added = UserAdded { access_key: text("AccessKeyId"), secret_key: text("SecretAccessKey") };
        tell_secret(self.reach, &added, out)
    }
}

/// The secret goes to a terminal or into a 0600 file, never into a pipe or a log by accident. Checked
/// before it is made: a secret that cannot be written is lost.
pub fn check_out(out: Option<&Path>) -> Result<()> {
    match out {
        None if !std::io::stdout().is_terminal() => {
            fail("the secret is printed to a terminal only; write it with --out FILE (0600)")
        }
        Some(path) if path.exists() => fail(format!("{} exists", path.display())),
        _ => Ok(()),
    }
}

pub fn tell_secret(reach: &Reach, added: &UserAdded, out: Option<&Path>) -> Result<()> {
    let Some(path) = out else {
        return show(reach, added, |added| {
            format!(
                "access key  {}\nsecret key  {}\nThe secret is not shown again.\n",
                added.access_key, added.secret_key
            )
        });
    };
    let text = serde_json::to_vec(added).map_err(|error| Error::new(format!("writing JSON: {error}")))?;
    write_secret(path, &text)?;
    show(reach, &json!({ "access_key": added.access_key, "file": path }), |_| {
        format!("access key  {}\nsecret key  in {}\n", added.access_key, path.display())
    })
}

/// One line for each: its name or ARN, then what else there is.
fn rows(all: &Value) -> String {
    let mut out = String::new();
    for row in all.as_array().into_iter().flatten() {
        let field = |name: &str| row[name].as_str();
        let arn = field("Arn").or(field("PolicyArn"));
        let name = ["UserName", "GroupName", "RoleName", "PolicyName"].iter().find_map(|name| field(name));
        let line = match (field("AccessKeyId"), name, arn, row.as_str()) {
            (Some(key), ..) => format!("{key}  {}", field("Status").unwrap_or_default()),
            (_, Some(name), Some(arn), _) => format!("{name:<32} {arn}"),
            (.., Some(text)) => text.to_owned(),
            _ => row.to_string(),
        };
        writeln!(out, "{line}").expect("writing to a string cannot fail");
    }
    out
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).context(|| format!("reading {}", path.display()))
}

/// `user key ...`.
pub async fn key(reach: &Reach, client: &AdminClient, verb: &KeyOfVerb) -> Result<()> {
    let (name, account) = match verb {
        KeyOfVerb::List { name, account }
        | KeyOfVerb::Add { name, account, .. }
        | KeyOfVerb::Disable { name, account, .. }
        | KeyOfVerb::Enable { name, account, .. }
        | KeyOfVerb::Remove { name, account, .. } => (name, account),
    };
    // Without an account the name is one.
    let user = account.is_some().then_some(name.as_str());
    let of = Account::new(reach, client, account.as_ref().unwrap_or(name));
    let mut params: Vec<(&str, &str)> = user.map(|name| ("UserName", name)).into_iter().collect();
    match verb {
        KeyOfVerb::List { .. } => of.list("ListAccessKeys", "AccessKeyMetadata", &params).await,
        KeyOfVerb::Add { out, .. } => of.add_key(user, out.as_deref()).await,
        KeyOfVerb::Disable { access_key, .. } => {
            params.extend([("AccessKeyId", access_key.as_str()), ("Status", "Inactive")]);
            of.quiet("UpdateAccessKey", &params, &format!("{access_key} is off")).await
        }
        KeyOfVerb::Enable { access_key, .. } => {
            params.extend([("AccessKeyId", access_key.as_str()), ("Status", "Active")]);
            of.quiet("UpdateAccessKey", &params, &format!("{access_key} is on")).await
        }
        KeyOfVerb::Remove { access_key, .. } => {
            params.push(("AccessKeyId", access_key.as_str()));
            of.quiet("DeleteAccessKey", &params, &format!("{access_key} is removed")).await
        }
    }
}

/// `group ...`.
pub async fn group(reach: &Reach, client: &AdminClient, verb: &GroupVerb) -> Result<()> {
    let account = |of: &'_ In| of.account.clone();
    let (of, name) = match verb {
        GroupVerb::List { of } => (account(of), ""),
        GroupVerb::Add { name, of }
        | GroupVerb::Members { name, of }
        | GroupVerb::Join { name, of, .. }
        | GroupVerb::Leave { name, of, .. }
        | GroupVerb::Remove { name, of } => (account(of), name.as_str()),
    };
    let of = Account::new(reach, client, &of);
    let group = ("GroupName", name);
    match verb {
        GroupVerb::List { .. } => of.list("ListGroups", "Groups", &[]).await,
        GroupVerb::Add { .. } => of.quiet("CreateGroup", &[group], &format!("{name} is there")).await,
        GroupVerb::Members { .. } => of.list("GetGroup", "Users", &[group]).await,
        GroupVerb::Join { user, .. } => {
            let said = format!("{user} is in {name}");
            of.quiet("AddUserToGroup", &[group, ("UserName", user)], &said).await
        }
        GroupVerb::Leave { user, .. } => {
            let said = format!("{user} is no longer in {name}");
            of.quiet("RemoveUserFromGroup", &[group, ("UserName", user)], &said).await
        }
        GroupVerb::Remove { .. } => of.quiet("DeleteGroup", &[group], &format!("{name} is removed")).await,
    }
}

/// `role ...`.
pub async fn role(reach: &Reach, client: &AdminClient, verb: &RoleVerb) -> Result<()> {
    match verb {
        RoleVerb::List { of } => {
            Account::new(reach, client, &of.account).list("ListRoles", "Roles", &[]).await
        }
        RoleVerb::Add { name, trust, session_seconds_max, of } => {
            let (trust, seconds) = (read(trust)?, session_seconds_max.to_string());
            let params = [
                ("RoleName", name.as_str()),
                ("AssumeRolePolicyDocument", trust.as_str()),
                ("MaxSessionDuration", seconds.as_str()),
            ];
            let said = format!("arn:aws:iam::{}:role/{name} is there", of.account);
            Account::new(reach, client, &of.account).quiet("CreateRole", &params, &said).await
        }
        RoleVerb::Revoke { name, of } => {
            let said = format!("all sessions of {name} are over");
            Account::new(reach, client, &of.account)
                .quiet("RevokeSessions", &[("RoleName", name)], &said)
                .await
        }
        RoleVerb::Remove { name, of } => {
            let said = format!("{name} is removed");
            Account::new(reach, client, &of.account).quiet("DeleteRole", &[("RoleName", name)], &said).await
        }
    }
}

/// Whose policy it is: the word in actions, the parameter and the name.
fn whose(whom: &For) -> Result<(&'static str, (&'static str, &str))> {
    match (&whom.user, &whom.group, &whom.role) {
        (Some(name), _, _) => Ok(("User", ("UserName", name))),
        (_, Some(name), _) => Ok(("Group", ("GroupName", name))),
        (_, _, Some(name)) => Ok(("Role", ("RoleName", name))),
        (None, None, None) => fail("say whom it is for: --user, --group or --role"),
    }
}

/// `policy ...`.
pub async fn policy(reach: &Reach, client: &AdminClient, verb: &PolicyVerb) -> Result<()> {
    let of = match verb {
        PolicyVerb::List { of }
        | PolicyVerb::Add { of, .. }
        | PolicyVerb::Update { of, .. }
        | PolicyVerb::Show { of, .. }
        | PolicyVerb::Remove { of, .. }
        | PolicyVerb::Attach { of, .. }
        | PolicyVerb::Detach { of, .. }
        | PolicyVerb::Put { of, .. }
        | PolicyVerb::Delete { of, .. }
        | PolicyVerb::Of { of, .. } => of,
    };
    let account = Account::new(reach, client, &of.account);
    match verb {
        PolicyVerb::List { .. } => account.list("ListPolicies", "Policies", &[]).await,
        PolicyVerb::Add { name, file, .. } => {
            let document = read(file)?;
            let params = [("PolicyName", name.as_str()), ("PolicyDocument", document.as_str())];
            let said = format!("arn:aws:iam::{}:policy/{name} is there", of.account);
            account.quiet("CreatePolicy", &params, &said).await
        }
        PolicyVerb::Update { arn, file, .. } => {
            let document = read(file)?;
            let params = [
                ("PolicyArn", arn.as_str()),
                ("PolicyDocument", document.as_str()),
                ("SetAsDefault", "true"),
            ];
            account.quiet("CreatePolicyVersion", &params, &format!("{arn} has a new text")).await
        }
        PolicyVerb::Show { arn, .. } => {
            let policy = account.act("GetPolicy", &[("PolicyArn", arn)]).await?;
            let version = policy["Policy"]["DefaultVersionId"].as_str().unwrap_or("v1");
            let params = [("PolicyArn", arn.as_str()), ("VersionId", version)];
            let shown = account.act("GetPolicyVersion", &params).await?;
            show(reach, &shown["PolicyVersion"]["Document"], |document| format!("{document:#}\n"))
        }
        PolicyVerb::Remove { arn, .. } => {
            account.quiet("DeletePolicy", &[("PolicyArn", arn)], &format!("{arn} is removed")).await
        }
        PolicyVerb::Attach { arn, whom, .. } => {
            let (title, whom) = whose(whom)?;
            let action = format!("Attach{title}Policy");
            account.quiet(&action, &[whom, ("PolicyArn", arn)], &format!("{} has {arn}", whom.1)).await
        }
        PolicyVerb::Detach { arn, whom, .. } => {
            let (title, whom) = whose(whom)?;
            let (action, said) = (format!("Detach{title}Policy"), format!("{} has {arn} no longer", whom.1));
            account.quiet(&action, &[whom, ("PolicyArn", arn)], &said).await
        }
        PolicyVerb::Put { name, file, whom, .. } => {
            let (title, whom) = whose(whom)?;
            let document = read(file)?;
            let params = [whom, ("PolicyName", name.as_str()), ("PolicyDocument", document.as_str())];
            account.quiet(&format!("Put{title}Policy"), &params, &format!("{} has {name}", whom.1)).await
        }
        PolicyVerb::Delete { name, whom, .. } => {
            let (title, whom) = whose(whom)?;
            let (action, said) = (format!("Delete{title}Policy"), format!("{} has {name} no longer", whom.1));
            account.quiet(&action, &[whom, ("PolicyName", name)], &said).await
        }
        PolicyVerb::Of { whom, .. } => {
            let (title, whom) = whose(whom)?;
            let attached = format!("ListAttached{title}Policies");
            let attached = account.all(&attached, "AttachedPolicies", &[whom]).await?;
            let inline = account.all(&format!("List{title}Policies"), "PolicyNames", &[whom]).await?;
            show(reach, &json!({ "attached": attached, "inline": inline }), |both| {
                format!("{}{}", rows(&both["attached"]), rows(&both["inline"]))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::rows;

    #[test]
    fn lists_show_names_and_arns() {
        let all = json!([
            { "UserName": "bob", "Arn": "arn:aws:iam::ann:user/bob" },
            { "PolicyName": "p", "PolicyArn": "arn:p" },
            { "AccessKeyId": "AKIA", "Status": "Active", "UserName": "bob" },
            "inline",
        ]);
        let text = rows(&all);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("bob ") && lines[0].ends_with("user/bob"));
        assert_eq!(lines[2..], ["AKIA  Active", "inline"]);
    }
}
