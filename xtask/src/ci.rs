//! `cargo xtask ci`: the same steps as `.ci/run`, offline once packages are there.

use crate::run::{Result, cargo, run};
use crate::tidy;

/// Format, clippy, tidy, tests, benches once as tests. Stops at the first failure.
pub fn ci() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::tidy()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo().args(["test", "--workspace", "--locked"]))
}
