//! What is fuzzed, as plain functions of bytes.
//!
//! Each function here makes a request of the bytes, sends it over loopback to the real frontends in front of a
//! real store in memory, and holds the answer to what must be so whatever the bytes are: there is an answer, in
//! time; it is not an internal error; no thread has panicked; what was accepted is there and what was refused is
//! not. `fuzz/libfuzzer` calls them from libFuzzer (`cargo xtask fuzz`), the tests of this package replay the
//! corpus (`fuzz/corpus`) and mutations of it, with a seed that is printed.

mod bytes;
mod iam;
mod nbd;
mod s3;
mod sign;
mod wire;
mod world;

/// One thing that is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// The folder of its corpus, and the name for `cargo xtask fuzz --only`.
    pub name: &'static str,
    /// Panics where something is not as it must be.
    pub run: fn(&[u8]),
}

/// Everything that is fuzzed.
pub const TARGETS: &[Target] = &[
    Target { name: "head", run: s3::head },
    Target { name: "signed", run: s3::signed },
    Target { name: "chunked", run: s3::chunked },
    Target { name: "xml", run: s3::xml },
    Target { name: "policy", run: s3::policy },
    Target { name: "form", run: s3::form },
    Target { name: "iam", run: iam::iam },
    Target { name: "nbd", run: nbd::nbd },
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or something is not as it must be.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.run)(data);
}
