//! `cargo xtask cross`: S3 and a mount as two views of one namespace, for as long as one likes.
//!
//! It is the test of the store that the ordinary tests run for some thousand operations, here optimised
//! and with as many as asked for. Every thousand operations are a run of their own, with the next seed.

use crate::run::{Result, cargo, run};

/// Runs it.
pub fn cross(args: &[String]) -> Result<()> {
    let (mut ops, mut seed) = (1_000_000_u64, 0_u64);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
        let number = value.parse().map_err(|_| format!("{value:?} is no number"))?;
        match arg.as_str() {
            "--ops" => ops = number,
            "--seed" => seed = number,
            other => return Err(format!("cross has no option {other:?}")),
        }
    }
    let mut test = cargo();
    test.args(["test", "--release", "--locked", "-p", "gw-store", "--test", "it", "cross::"]);
    test.env("CROSS_OPS", ops.to_string()).env("CROSS_SEED", seed.to_string());
    run(&mut test)?;
    println!("{ops} operations from seed {seed} on: no difference");
    Ok(())
}
