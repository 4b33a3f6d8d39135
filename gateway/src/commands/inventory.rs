//! `inventory …`: lists that buckets want of themselves.

use std::fmt::Write;
use std::time::Duration;

use super::show;
use crate::admin::client::AdminClient;
use crate::admin::wire::{InventoryLine, InventoryMade};
use crate::cli::{InventoryVerb, Reach};
use crate::error::Result;

pub async fn inventory(reach: &Reach, client: &AdminClient, verb: InventoryVerb) -> Result<()> {
    match verb {
        InventoryVerb::List { bucket } => {
            let lines: Vec<InventoryLine> = client.get(&format!("/v1/buckets/{bucket}/inventories")).await?;
            show(reach, &lines, |lines| table(lines))
        }
        InventoryVerb::Run { bucket, id, timeout } => {
            let path = format!("/v1/buckets/{bucket}/inventories/{id}");
            let made: InventoryMade = client.post(&path, &(), Duration::from_secs(timeout)).await?;
            show(reach, &made, |made| {
                format!("{} lines, listed in s3://{}/{}\n", made.lines, made.target, made.manifest)
            })
        }
    }
}

fn table(lines: &[InventoryLine]) -> String {
    let mut text = String::new();
    for line in lines {
        let enabled = if line.enabled { "" } else { " (disabled)" };
        let last = line.last.as_deref().unwrap_or("never");
        let running =
            line.running.as_ref().map(|since| format!("; being made since {since}")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{}{enabled}  each {} to s3://{}/{}  last {last}{running}",
            line.id, line.every, line.target, line.prefix
        );
    }
    text
}
