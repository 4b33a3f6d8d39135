//! The main job, shown and tried: with the real aws cli, under kill -9, and under power cuts.
//!
//! Each command is a story told in steps; a step prints what it did and how long it took, and the
//! first thing that is not as promised ends the story with a sentence. What the stories are made of:
//! the stack as a child process ([`stack`]), the aws cli ([`aws`]), a tree of real files ([`tree`]),
//! the load tool ([`load`]), a file system that can lose power ([`image`]), a gateway that is lost ([`second_home`]).

mod aws;
mod build;
mod figures;
mod image;
mod kill_loop;
mod load;
mod options;
mod placement;
mod power_cut;
mod second_home;
mod stack;
mod story;
mod tree;
mod whole_path;

pub use aws::Aws;
pub use build::build;
pub use figures::figures;
pub use kill_loop::kill_loop;
pub use options::{Options, Work};
pub use power_cut::power_cut;
pub use second_home::{cli, mnemonic, write_secret};
pub use stack::{Ready, Stack};
pub use story::{Story, wait, wait_for};
pub use whole_path::demo;
