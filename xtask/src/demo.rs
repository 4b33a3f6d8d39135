//! `cargo xtask demo` and `cargo xtask kill-loop`: the main job, with the real aws cli.

use crate::run::Result;

/// See `cargo xtask help`.
pub fn demo(_args: &[String]) -> Result<()> {
    Err("the gateway does not serve yet".to_owned())
}

/// See `cargo xtask help`.
pub fn kill_loop(_args: &[String]) -> Result<()> {
    Err("the gateway does not serve yet".to_owned())
}
