//! `cargo xtask ci`: the same steps as `.ci/run`, offline once packages are there.

use crate::run::{Result, cargo, run};
use crate::{demo, tidy};

/// Format, tidy, clippy, tests, benches once, and the short stories. Stops at the first failure.
pub fn ci() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::tidy()?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo().args(["test", "--workspace", "--locked"]))?;
    run(cargo().args(["test", "--workspace", "--locked", "--benches"]))?;
    let short = ["--small".to_owned(), "--debug".to_owned()];
    demo::demo(&short)?;
    demo::kill_loop(&short)
}
