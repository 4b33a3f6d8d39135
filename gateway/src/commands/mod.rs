//! The verbs that talk to a running gateway, or to a key file: ask, print, done.

mod bucket;
mod compact;
mod iam;
mod inventory;
mod key;
mod kms;
mod mount;
mod print;
mod size;
mod volume;

use std::path::Path;
use std::time::Duration;

use gw_types::Level;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::admin::client::AdminClient;
use crate::admin::routes::mark;
use crate::admin::wire::{
    Dropped, Flush, Flushed, Landed, PlacementAnswer, PlacementQuery, Status, TerritoryAct, TerritoryLine,
    UserAdd, UserAdded, UserLine, UserSet,
};
use crate::cli::{CacheVerb, DevMiner, FlushArgs, PlacementArgs, Reach, TerritoryVerb, UserVerb, Verb};
use crate::error::{Error, Result, fail};

pub use key::key;

/// Most calls answer at once.
const SOON: Duration = Duration::from_secs(30);
/// A call of the chain waits for a finalized block.
const A_FEW_BLOCKS: Duration = Duration::from_secs(180);

/// Every verb of the admin API.
pub async fn admin(reach: &Reach, verb: Verb) -> Result<()> {
    let client = AdminClient::new(reach)?;
    match verb {
        Verb::Status => show(reach, &client.get::<Status>("/v1/status").await?, print::status),
        Verb::Placement(args) => placement(reach, &client, &args).await,
        Verb::Flush(args) => flush(reach, &client, &args).await,
        Verb::Compact(args) => compact::compact(reach, &client, &args).await,
        Verb::Territory(verb) => territory(reach, &client, verb).await,
        Verb::User(verb) => user(reach, &client, verb).await,
        Verb::Group(verb) => iam::group(reach, &client, &verb).await,
        Verb::Role(verb) => iam::role(reach, &client, &verb).await,
        Verb::Policy(verb) => iam::policy(reach, &client, &verb).await,
        Verb::Kms(verb) => kms::kms(reach, &client, verb).await,
        Verb::Bucket(verb) => bucket::bucket(reach, &client, verb).await,
        Verb::Inventory(verb) => inventory::inventory(reach, &client, verb).await,
        Verb::Volume(verb) => volume::volume(reach, &client, verb).await,
        Verb::Cache(CacheVerb::Drop) => {
            let dropped: Dropped = client.post("/v1/cache/drop", &(), A_FEW_BLOCKS).await?;
            show(reach, &dropped, print::dropped)
        }
        Verb::Mounts => mount::list(reach, &client).await,
        Verb::Unmount(args) => mount::unmount(reach, &client, &args).await,
        Verb::Mount(args) => mount::mount(reach, &args).await,
        Verb::Dev(_) | Verb::Serve(_) | Verb::Key(_) | Verb::Miner(_) => fail("this verb needs no gateway"),
    }
}

/// `dev miner I …`.
pub async fn dev_miner(reach: &Reach, miner: &DevMiner) -> Result<()> {
    let client = AdminClient::new(reach)?;
    let () = client.post(&format!("/v1/dev/miners/{}", miner.index), &miner.act, SOON).await?;
    show(reach, &serde_json::json!({ "miner": miner.index, "act": miner.act }), |_| {
        format!("miner {}: done\n", miner.index)
    })
}

/// JSON, or the text for people.
#[allow(clippy::print_stdout, reason = "this is what the command prints")]
fn show<T: Serialize>(reach: &Reach, answer: &T, text: impl Fn(&T) -> String) -> Result<()> {
    if reach.json {
        let json =
            serde_json::to_string(answer).map_err(|error| Error::new(format!("writing JSON: {error}")))?;
        println!("{json}");
    } else {
        print!("{}", text(answer));
    }
    Ok(())
}

async fn placement(reach: &Reach, client: &AdminClient, args: &PlacementArgs) -> Result<()> {
    let query = placement_query(args)?;
    let answer: PlacementAnswer = client.post("/v1/placement", &query, SOON).await?;
    show(reach, &answer, print::placement)
}

fn placement_query(args: &PlacementArgs) -> Result<PlacementQuery> {
    let named = args.object.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    let Some((bucket, key)) = named.filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty()) else {
        return fail(format!("{:?} is no object; say s3://bucket/key", args.object));
    };
    let range = match &args.range {
        None => None,
        Some(text) => {
            let ends = text
                .split_once('-')
                .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
            match ends {
                Some((first, last)) if first <= last => Some((first, last)),
                _ => return fail(format!("{text:?} is no range; say FIRST-LAST in bytes, both included")),
            }
        }
    };
    Ok(PlacementQuery { bucket: bucket.to_owned(), key: key.to_owned(), range })
}

/// Waits in one request while a second connection watches the watermark for the progress bar.
async fn flush(reach: &Reach, client: &AdminClient, args: &FlushArgs) -> Result<()> {
    let level: Level = args.level.into();
    let before: Status = client.get("/v1/status").await?;
    let bar = if reach.json { ProgressBar::hidden() } else { progress(&before, level) };
    let flush = Flush { level };
    let waiting = client.post::<_, Flushed>("/v1/flush", &flush, Duration::from_secs(args.timeout));
    tokio::pin!(waiting);
    let flushed = loop {
        tokio::select! {
            done = &mut waiting => break done,
            () = tokio::time::sleep(Duration::from_millis(500)) => {
                if let Ok(status) = client.get::<Status>("/v1/status").await {
                    watch(&bar, &status, level);
                }
            }
        }
    };
    bar.finish_and_clear();
    let flushed = match flushed {
        Ok(flushed) => flushed,
        Err(error) => return Err(reason(client, error).await),
    };
    show(reach, &flushed, |flushed| {
        format!("everything up to commit {} is {level:?}\n", flushed.lsn).to_lowercase()
    })
}

/// The error, and what the gateway says it waits for.
async fn reason(client: &AdminClient, error: Error) -> Error {
    let status = client.get::<Status>("/v1/status").await.ok();
    match status.and_then(|status| status.dispersal.waiting_for) {
        Some(reason) => Error::new(format!("{error}; it waits, because {reason}")),
        None => error,
    }
}

fn progress(before: &Status, level: Level) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} commits  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(before.watermarks.appended).with_style(style);
    watch(&bar, before, level);
    bar
}

fn watch(bar: &ProgressBar, status: &Status, level: Level) {
    bar.set_position(mark(&status.watermarks, level));
    let deals = &status.dispersal.deals;
    let columns: u64 = deals.iter().map(|deal| deal.columns_held).sum();
    bar.set_message(match &status.dispersal.waiting_for {
        Some(reason) => format!("waiting: {reason}"),
        None => format!("{} deals under way, {columns} of {} columns held", deals.len(), deals.len() * 12),
    });
}

async fn territory(reach: &Reach, client: &AdminClient, verb: TerritoryVerb) -> Result<()> {
    let act = match verb {
        TerritoryVerb::List => {
            let territories: Vec<TerritoryLine> = client.get("/v1/territories").await?;
            return show(reach, &territories, |territories| print::territories(territories));
        }
        TerritoryVerb::Mint { name, gib, days } => TerritoryAct::Mint { name, gib, days },
        TerritoryVerb::Expand { name, gib } => TerritoryAct::Expand { name, gib },
        TerritoryVerb::Renew { name, days } => TerritoryAct::Renew { name, days },
    };
    let landed: Landed = client.post("/v1/territories", &act, A_FEW_BLOCKS).await?;
    show(reach, &landed, |landed| format!("done in block {} (fee {} planck)\n", landed.block, landed.fee))
}

async fn user(reach: &Reach, client: &AdminClient, verb: UserVerb) -> Result<()> {
    match verb {
        UserVerb::List { account: None } => {
            let users: Vec<UserLine> = client.get("/v1/users").await?;
            show(reach, &users, |users| print::users(users))
        }
        UserVerb::List { account: Some(account) } => {
            iam::Account::new(reach, client, &account).list("ListUsers", "Users", &[]).await
        }
        UserVerb::Add { name, account: Some(account), out, .. } => {
            iam::check_out(out.as_deref())?;
            let of = iam::Account::new(reach, client, &account);
            of.act("CreateUser", &[("UserName", &name)]).await?;
            of.add_key(Some(&name), out.as_deref()).await
        }
        UserVerb::Add { name, account: None, as_admin, out } => {
            add_user(reach, client, UserAdd { name, admin: as_admin }, out.as_deref()).await
        }
        UserVerb::Remove { name, account: Some(account) } => {
            let of = iam::Account::new(reach, client, &account);
            of.quiet("DeleteUser", &[("UserName", &name)], &format!("{name} is removed")).await
        }
        UserVerb::Remove { name, account: None } => {
            let () = client.delete(&format!("/v1/users/{name}")).await?;
            show(reach, &serde_json::json!({ "removed": name }), |_| {
                format!("{name} is removed; its buckets stay\n")
            })
        }
        UserVerb::Key(verb) => iam::key(reach, client, &verb).await,
        UserVerb::Quota { name, bytes, objects, requests_per_second, bytes_per_second } => {
            let sized = |text: Option<String>| text.map(|text| size::parse(&text)).transpose();
            let set = UserSet {
                bytes_max: sized(bytes)?,
                objects_max: sized(objects)?,
                requests_per_second: rate(requests_per_second)?,
                bytes_per_second: rate(bytes_per_second)?,
            };
            let line: UserLine = client.post(&format!("/v1/users/{name}/quota"), &set, SOON).await?;
            show(reach, &line, |line| print::users(std::slice::from_ref(line)))
        }
    }
}

/// A rate: `none` is 0, which is no limit; `default` is what the gateway is configured with.
fn rate(text: Option<String>) -> Result<Option<Option<u64>>> {
    match text.as_deref() {
        None => Ok(None),
        Some("default") => Ok(Some(None)),
        Some(text) => Ok(Some(Some(size::parse(text)?.unwrap_or(0)))),
    }
}

async fn add_user(reach: &Reach, client: &AdminClient, add: UserAdd, out: Option<&Path>) -> Result<()> {
    iam::check_out(out)?;
    let added: UserAdded = client.post("/v1/users", &add, SOON).await?;
    iam::tell_secret(reach, &added, out)
}

#[cfg(test)]
mod tests {
    use super::placement_query;
    use crate::cli::PlacementArgs;

    fn query(object: &str, range: Option<&str>) -> crate::error::Result<crate::admin::wire::PlacementQuery> {
        placement_query(&PlacementArgs { object: object.to_owned(), range: range.map(str::to_owned) })
    }

    #[test]
    fn objects_and_ranges_are_read_strictly() {
        let good = query("s3://b/a/b c", Some("0-65535")).unwrap();
        assert_eq!((good.bucket.as_str(), good.key.as_str(), good.range), ("b", "a/b c", Some((0, 65_535))));
        for (object, range) in [
            ("b/k", None),
            ("s3://b", None),
            ("s3:///k", None),
            ("s3://b/k", Some("5-4")),
            ("s3://b/k", Some("5")),
        ] {
            assert!(query(object, range).is_err(), "{object} {range:?}");
        }
    }
}
