//! `volume …`: ask the gateway, print what it says.

use super::{A_FEW_BLOCKS, show, size};
use crate::admin::client::AdminClient;
use crate::admin::volumes::{ExportLine, SnapshotLine, VolumeAct, VolumeAnswer, VolumeLine, VolumeName};
use crate::cli::{Reach, VolumeVerb};
use crate::error::{Result, fail};

pub async fn volume(reach: &Reach, client: &AdminClient, verb: VolumeVerb) -> Result<()> {
    let act = match verb {
        VolumeVerb::List => {
            let volumes: Vec<VolumeLine> = client.get("/v1/volumes").await?;
            return show(reach, &volumes, |volumes| volumes.iter().map(volume_text).collect());
        }
        VolumeVerb::Exports => {
            let exports: Vec<ExportLine> = client.get("/v1/exports").await?;
            return show(reach, &exports, |exports| exports.iter().map(export_text).collect());
        }
        VolumeVerb::Create { volume, size } => {
            VolumeAct::Create { volume: named(&volume, false)?, size_bytes: bytes(&size)? }
        }
        VolumeVerb::Info { volume } => VolumeAct::Info { volume: named(&volume, false)? },
        VolumeVerb::Resize { volume, size } => {
            VolumeAct::Resize { volume: named(&volume, false)?, size_bytes: bytes(&size)? }
        }
        VolumeVerb::Delete { volume } => VolumeAct::Delete { volume: named(&volume, false)? },
        VolumeVerb::Snapshot { snapshot, delete: false } => {
            VolumeAct::Snapshot { volume: named(&snapshot, true)? }
        }
        VolumeVerb::Snapshot { snapshot, delete: true } => {
            VolumeAct::SnapshotDelete { volume: named(&snapshot, true)? }
        }
        VolumeVerb::Clone { from, to } => {
            VolumeAct::Clone { volume: named(&from, from.contains('@'))?, to: named(&to, false)? }
        }
        VolumeVerb::Restore { snapshot } => VolumeAct::Restore { volume: named(&snapshot, true)? },
        VolumeVerb::Detach { volume } => VolumeAct::Detach { volume: named(&volume, false)? },
        VolumeVerb::Export { name, volume, read_only, anyone, users } => {
            let volume = named(&volume, volume.contains('@'))?;
            VolumeAct::Export(ExportLine { name, volume, read_only, anyone, users })
        }
        VolumeVerb::Unexport { name } => VolumeAct::Unexport { name },
    };
    let answer: VolumeAnswer = client.post("/v1/volumes", &act, A_FEW_BLOCKS).await?;
    show(reach, &answer, |answer| {
        let lines = answer.volume.iter().map(volume_text);
        let text: String = lines.chain(answer.snapshots.iter().map(snapshot_text)).collect();
        if text.is_empty() { "done\n".to_owned() } else { text }
    })
}

/// `s3://bucket/key`, or with a snapshot `s3://bucket/key@name`.
fn named(text: &str, with_snapshot: bool) -> Result<VolumeName> {
    let place = text.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    let Some((bucket, key)) = place.filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty()) else {
        return fail(format!("{text:?} is no volume; say s3://bucket/key"));
    };
    if !with_snapshot {
        return Ok(VolumeName { bucket: bucket.to_owned(), key: key.to_owned(), snapshot: None });
    }
    match key.rsplit_once('@') {
        Some((key, name)) if !key.is_empty() && !name.is_empty() => {
            Ok(VolumeName { bucket: bucket.to_owned(), key: key.to_owned(), snapshot: Some(name.to_owned()) })
        }
        _ => fail(format!("{text:?} is no snapshot; say s3://bucket/key@name")),
    }
}

fn bytes(text: &str) -> Result<u64> {
    match size::parse(text)? {
        Some(bytes) => Ok(bytes),
        None => fail("a volume has a size; say 10G"),
    }
}

fn volume_text(line: &VolumeLine) -> String {
    let attached = match &line.attached {
        Some(holder) => format!("attached by {}", holder.holder),
        None => "detached".to_owned(),
    };
    format!(
        "s3://{}/{}  {}  {} snapshots  {attached}\n",
        line.bucket,
        line.key,
        size::show(line.size_bytes),
        line.snapshots
    )
}

fn snapshot_text(line: &SnapshotLine) -> String {
    format!("  @{}  {}  taken at {} (Unix seconds)\n", line.name, size::show(line.size_bytes), line.created)
}

fn export_text(line: &ExportLine) -> String {
    let snapshot = line.volume.snapshot.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
    let whom = match (line.anyone, line.users.as_slice()) {
        (true, _) => "anyone".to_owned(),
        (false, []) => "whoever the bucket's rules let".to_owned(),
        (false, users) => users.join(", "),
    };
    let how = if line.read_only { "read-only" } else { "read and write" };
    format!("{}  s3://{}/{}{snapshot}  {how}  for {whom}\n", line.name, line.volume.bucket, line.volume.key)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn names_are_read_strictly() {
        let name = named("s3://b/dir/v@x@s", true).unwrap();
        assert_eq!((name.key.as_str(), name.snapshot.as_deref()), ("dir/v@x", Some("s")));
        assert_eq!(named("s3://b/v@x", false).unwrap().key, "v@x");
        for bad in ["b/v", "s3://b", "s3:///v"] {
            assert!(named(bad, false).is_err(), "{bad}");
        }
        assert!(named("s3://b/v", true).is_err());
        assert!(named("s3://b/v@", true).is_err());
    }
}
