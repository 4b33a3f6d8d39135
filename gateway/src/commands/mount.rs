//! `mount`, `unmount`, `mounts`: asked of a running gateway over its admin socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{SOON, show};
use crate::admin::client::AdminClient;
use crate::admin::wire::{MountAsk, MountLine, UnmountAsk};
use crate::cli::{MountArgs, Reach, UnmountArgs};
use crate::error::{Context, Result, fail};

/// An unmount makes everything durable first.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(600);

/// `mount SOURCE DIR -o OPTIONS`, also as mount(8)'s helper.
pub async fn mount(reach: &Reach, args: &MountArgs) -> Result<()> {
    let (data_dir, bucket) = match args.source.rsplit_once('#') {
        Some((data_dir, bucket)) => (data_dir, Some(bucket.to_owned())),
        None => (args.source.as_str(), None),
    };
    if reach.admin.is_some() {
        return fail("mounts are made by the gateway of this machine: name its data directory");
    }
    let at = absolute(&args.at)?;
    let options = args.options.join(",");
    // Refused here already, with a sentence that says where.
    crate::mounts::options::MountSpec::parse(at.clone(), bucket.clone(), &options)?;
    if args.fake {
        return Ok(());
    }
    let reach = Reach { data_dir: PathBuf::from(data_dir), ..reach.clone() };
    let client = AdminClient::new(&reach)?;
    let line: MountLine = client.post("/v1/mounts", &MountAsk { at, bucket, options }, SOON).await?;
    if reach.json { show(&reach, &line, text) } else { Ok(()) }
}

/// `unmount DIR`.
pub async fn unmount(reach: &Reach, client: &AdminClient, args: &UnmountArgs) -> Result<()> {
    let at = absolute(&args.at)?;
    let how: String = client.post("/v1/mounts/end", &UnmountAsk { at }, UNMOUNT_PATIENCE).await?;
    show(reach, &how, |how| format!("{how}\n"))
}

/// `mounts`.
pub async fn list(reach: &Reach, client: &AdminClient) -> Result<()> {
    let lines: Vec<MountLine> = client.get("/v1/mounts").await?;
    show(reach, &lines, |lines| match lines.len() {
        0 => "nothing is mounted\n".to_owned(),
        _ => lines.iter().map(text).collect(),
    })
}

fn text(line: &MountLine) -> String {
    let what = line.bucket.as_deref().unwrap_or("all buckets");
    let (at, user, open, requests) = (line.at.display(), &line.user, line.open, line.requests);
    format!("{at}  {what}, for {user}; {open} open, {requests} requests\n")
}

fn absolute(at: &Path) -> Result<PathBuf> {
    std::path::absolute(at).context(|| format!("finding {}", at.display()))
}
