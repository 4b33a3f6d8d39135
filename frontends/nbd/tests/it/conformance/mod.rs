//! Every MUST and SHOULD of the specification that a server can break, each with its section.
//!
//! The checks run against this crate's server in simple, structured and extended mode. With
//! `NBD_CONFORMANCE_UNIX=PATH` (and `NBD_CONFORMANCE_EXPORT=NAME`) they run against another server,
//! which shows whether it is the checks that are wrong; it has to serve 40 MiB for reading and writing.
//! What a server does not offer is counted as not offered, and for ours that is a failure.

mod handshake;
mod status;
mod transmission;

use std::future::Future;
use std::pin::Pin;

use crate::client::{Client, MODES, Mode, NOT_OFFERED, Res, Target};
use crate::harness::Server;

/// How much the specification wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Must,
    Should,
    /// Optional features that the project wants, and robustness.
    Project,
}

/// What a check runs against.
#[derive(Clone, Debug)]
pub struct Place {
    pub target: Target,
    pub export: String,
    pub mode: Mode,
}

/// How a check came out when nothing was wrong.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    Yes,
    NotOffered,
}

pub type Future_<'a> = Pin<Box<dyn Future<Output = Res<Held>> + Send + 'a>>;

pub struct Check {
    pub level: Level,
    pub section: &'static str,
    pub name: &'static str,
    pub run: for<'a> fn(&'a Place) -> Future_<'a>,
}

/// A list of checks: level, section, function.
macro_rules! checks {
    ($($level:ident $section:literal $name:ident;)*) => {
        pub const CHECKS: &[$crate::conformance::Check] = &[$($crate::conformance::Check {
            level: $crate::conformance::Level::$level,
            section: $section,
            name: stringify!($name),
            run: |place| Box::pin($name(place)),
        }),*];
    };
}
pub(crate) use checks;

/// Fails the check with a sentence.
macro_rules! ensure {
    ($holds:expr, $($sentence:tt)+) => {
        if !$holds {
            return Err(format!($($sentence)+));
        }
    };
}
pub(crate) use ensure;

impl Place {
    pub async fn greeted(&self) -> Res<Client> {
        Client::greeted(&self.target, 3).await
    }
    /// In the transmission phase of this place's mode.
    pub async fn attached(&self) -> Res<Client> {
        Client::attached(&self.target, &self.export, self.mode, &[]).await
    }
    /// The server still serves somebody else.
    pub async fn lives(&self) -> Res<()> {
        let mut client = self.attached().await.map_err(|error| format!("the server is gone: {error}"))?;
        client.get(0, 512).await.map(|_| ())
    }
}

async fn score(place: &Place, checks: &[&[Check]]) -> (Vec<String>, usize, usize) {
    let (mut failures, mut held, mut absent) = (Vec::new(), 0, 0);
    for check in checks.iter().copied().flatten() {
        match (check.run)(place).await {
            Ok(Held::Yes) => held += 1,
            Ok(Held::NotOffered) => absent += 1,
            Err(error) if error.starts_with(NOT_OFFERED) => absent += 1,
            Err(error) => failures.push(format!(
                "{:?} {} ({:?}, \"{}\"): {error}",
                check.level, check.name, place.mode, check.section
            )),
        }
    }
    (failures, held, absent)
}

async fn run(mode: Mode, checks: &[&[Check]]) {
    let foreign = std::env::var_os("NBD_CONFORMANCE_UNIX");
    let server = if foreign.is_none() { Some(Server::start().await) } else { None };
    let target = match (&server, foreign) {
        (Some(server), _) => server.target.clone(),
        (None, path) => Target::Unix(path.unwrap_or_default().into()),
    };
    let export = if server.is_some() {
        "disk".to_owned()
    } else {
        std::env::var("NBD_CONFORMANCE_EXPORT").unwrap_or_default()
    };
    judge(&Place { target, export, mode }, checks, server.is_some()).await;
}

async fn judge(place: &Place, checks: &[&[Check]], is_ours: bool) {
    let (failures, held, absent) = score(place, checks).await;
    println!("{:?}: {held} hold, {absent} not offered, {} broken", place.mode, failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(!is_ours || absent == 0, "{absent} checks found that the server does not offer the feature");
}

/// Everything, in all three modes, against an export of this crate.
pub async fn judge_all(target: &Target, export: &str) {
    let place = |mode| Place { target: target.clone(), export: export.to_owned(), mode };
    judge(&place(Mode::Simple), &[handshake::CHECKS, transmission::CHECKS], true).await;
    judge(&place(Mode::Structured), &[transmission::CHECKS, status::CHECKS], true).await;
    let extended = [transmission::CHECKS, status::CHECKS, status::EXTENDED_CHECKS];
    judge(&place(Mode::Extended), &extended, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handshake_is_the_specifications() {
    run(Mode::Simple, &[handshake::CHECKS]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_replies_are_the_specifications() {
    run(Mode::Simple, &[transmission::CHECKS]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn structured_replies_are_the_specifications() {
    run(Mode::Structured, &[transmission::CHECKS, status::CHECKS]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extended_headers_are_the_extensions() {
    run(Mode::Extended, &[transmission::CHECKS, status::CHECKS, status::EXTENDED_CHECKS]).await;
}

#[test]
fn each_check_has_its_own_name() {
    let lists = [handshake::CHECKS, transmission::CHECKS, status::CHECKS, status::EXTENDED_CHECKS];
    let mut names: Vec<&str> = lists.iter().flat_map(|list| list.iter().map(|check| check.name)).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(MODES.len(), 3);
}
