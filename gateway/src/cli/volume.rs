//! `cess-gateway volume …`: block devices on objects.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum VolumeVerb {
    /// Make an empty volume; it takes room as it is written
    Create {
        /// Where its object will be
        #[arg(value_name = "s3://BUCKET/KEY")]
        volume: String,
        /// Its size: bytes, or with K, M, G, T (powers of 1024); 16T at most
        #[arg(long)]
        size: String,
    },
    /// Volumes that were made as such or attached once
    List,
    /// What a volume is, and its snapshots; any object is one
    Info {
        #[arg(value_name = "s3://BUCKET/KEY")]
        volume: String,
    },
    /// Give a volume another size (attached ones only grow, and show it when they are attached again)
    Resize {
        #[arg(value_name = "s3://BUCKET/KEY")]
        volume: String,
        #[arg(long)]
        size: String,
    },
    /// Delete a volume that is neither attached nor has snapshots
    Delete {
        #[arg(value_name = "s3://BUCKET/KEY")]
        volume: String,
    },
    /// Keep a volume as it is now under a name, attached or not
    Snapshot {
        #[arg(value_name = "s3://BUCKET/KEY@NAME")]
        snapshot: String,
        /// Forget that snapshot instead
        #[arg(long)]
        delete: bool,
    },
    /// Make a volume with the bytes of another one, or of a snapshot; nothing is copied
    Clone {
        #[arg(value_name = "s3://BUCKET/KEY[@NAME]")]
        from: String,
        #[arg(value_name = "s3://BUCKET/KEY")]
        to: String,
    },
    /// Take a volume back to a snapshot
    Restore {
        #[arg(value_name = "s3://BUCKET/KEY@NAME")]
        snapshot: String,
    },
    /// Take a volume away from whoever writes to it
    Detach {
        #[arg(value_name = "s3://BUCKET/KEY")]
        volume: String,
    },
    /// Show a volume or a snapshot under a name over NBD
    Export {
        name: String,
        #[arg(value_name = "s3://BUCKET/KEY[@NAME]")]
        volume: String,
        /// Take no writes
        #[arg(long)]
        read_only: bool,
        /// To whoever is let in
        #[arg(long)]
        anyone: bool,
        /// To this user, besides those whom the bucket's rules let write (may be said again)
        #[arg(long = "user", value_name = "USER")]
        users: Vec<String>,
    },
    /// All exports
    Exports,
    /// Take an export's name away; who is attached stays so
    Unexport { name: String },
}
