//! `bucket …`: buckets, their limits, and their end.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use indicatif::ProgressBar;

use super::size::show as sized;
use super::{SOON, print, show, size};
use crate::admin::client::AdminClient;
use crate::admin::wire::{BucketLine, Cleared, LockedAsk, LockedLine, QuotaSet};
use crate::cli::{BucketVerb, Reach};
use crate::error::{Context, Error, Result, fail};

pub async fn bucket(reach: &Reach, client: &AdminClient, verb: BucketVerb) -> Result<()> {
    match verb {
        BucketVerb::List => {
            let buckets: Vec<BucketLine> = client.get("/v1/buckets").await?;
            show(reach, &buckets, |buckets| print::buckets(buckets))
        }
        BucketVerb::Delete { bucket, with_files, yes } => {
            delete(reach, client, &bucket, with_files.then_some(yes)).await
        }
        BucketVerb::Quota { bucket, bytes, objects } => {
            let set = QuotaSet {
                bytes_max: bytes.map(|text| size::parse(&text)).transpose()?,
                objects_max: objects.map(|text| size::parse(&text)).transpose()?,
            };
            let line: BucketLine = client.post(&format!("/v1/buckets/{bucket}/quota"), &set, SOON).await?;
            show(reach, &line, |line| print::buckets(std::slice::from_ref(line)))
        }
    }
}

/// `with_files`: everything in it goes first; asked about, unless it says yes.
async fn delete(reach: &Reach, client: &AdminClient, name: &str, with_files: Option<bool>) -> Result<()> {
    let cleared = match with_files {
        None => Cleared::default(),
        Some(yes) => {
            let buckets: Vec<BucketLine> = client.get("/v1/buckets").await?;
            let Some(bucket) = buckets.iter().find(|bucket| bucket.name == name) else {
                return fail(format!("there is no bucket {name}"));
            };
            if !yes {
                confirm(bucket)?;
            }
            let bar = if reach.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
            let cleared = empty(client, name, &bar).await;
            bar.finish_and_clear();
            cleared?
        }
    };
    let deleted: Result<()> = client.delete(&format!("/v1/buckets/{name}")).await;
    deleted.map_err(|error| match with_files {
        None if error.to_string().contains("not empty") => {
            Error::new(format!("{error}. `--with-files` deletes everything in it first, for ever"))
        }
        _ => error,
    })?;
    let told = serde_json::json!({
        "deleted": name, "objects": cleared.objects, "versions": cleared.versions,
        "markers": cleared.markers, "unlisted": cleared.unlisted
    });
    show(reach, &told, |_| match with_files {
        None => format!("bucket {name} is deleted\n"),
        Some(_) => format!("bucket {name} is deleted, with {}\n", in_words(&cleared)),
    })
}

fn in_words(cleared: &Cleared) -> String {
    format!(
        "{} objects, {} older versions, {} delete markers, {} entries that S3 does not list",
        cleared.objects, cleared.versions, cleared.markers, cleared.unlisted
    )
}

/// On a terminal the name must be typed; elsewhere `--yes` must have been said.
fn confirm(bucket: &BucketLine) -> Result<()> {
    let name = &bucket.name;
    if !std::io::stdin().is_terminal() {
        return fail(format!("this deletes everything in bucket {name}: say --yes if that is meant"));
    }
    let doing = || "asking".to_owned();
    let mut out = std::io::stderr();
    write!(
        out,
        "Bucket {name} of {} holds {} objects, {}, with all versions and files. All of it is deleted for ever.\n\
         Type the bucket's name to go on: ",
        bucket.owner,
        bucket.objects,
        sized(bucket.bytes)
    )
    .context(doing)?;
    out.flush().context(doing)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context(doing)?;
    if line.trim() == name { Ok(()) } else { fail("nothing was deleted") }
}

async fn empty(client: &AdminClient, name: &str, bar: &ProgressBar) -> Result<Cleared> {
    let mut ask = LockedAsk::default();
    let mut locked = 0;
    loop {
        let line: LockedLine = client.post(&format!("/v1/buckets/{name}/locked"), &ask, SOON).await?;
        locked += line.locked;
        bar.tick();
        bar.set_message(format!("looking for locks: {locked} found"));
        match line.next {
            Some(next) => ask = next,
            None => break,
        }
    }
    if locked > 0 {
        return fail(format!(
            "{locked} versions in bucket {name} are under retention or legal hold; nothing was deleted. Holds can be \
             taken off and governance bypassed through S3; compliance ends with its date"
        ));
    }
    let mut sum = Cleared::default();
    loop {
        let step: Cleared =
            client.post(&format!("/v1/buckets/{name}/clear"), &(), Duration::from_secs(400)).await.map_err(
                |error| Error::new(format!("{error} (deleted so far: {}; the bucket stays)", in_words(&sum))),
            )?;
        sum.objects += step.objects;
        sum.versions += step.versions;
        sum.markers += step.markers;
        sum.unlisted += step.unlisted;
        bar.tick();
        bar.set_message(format!("deleted {}", in_words(&sum)));
        if step.done {
            return Ok(sum);
        }
    }
}
