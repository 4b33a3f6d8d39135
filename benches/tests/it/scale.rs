//! The measurement of a store of many objects, on few.

use std::process::Command;

use serde_json::Value;

#[test]
fn both_engines_are_filled_killed_opened_and_hold_every_object() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_scale"))
        .args(["--objects", "600", "--engine", "both", "--json", "--folder"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let engines = report["engines"].as_array().unwrap();
    let names: Vec<&str> = engines.iter().map(|engine| engine["engine"].as_str().unwrap()).collect();
    assert_eq!(names, ["fjall", "sled"]);
    for engine in engines {
        // Puts went on until the kill; all that had been acknowledged is there after each open.
        assert!(engine["filled"]["objects"].as_u64().unwrap() >= 600);
        for phase in ["unclean", "clean", "rebuilt"] {
            assert!(engine[phase]["inodes"].as_u64().unwrap() >= 600, "{phase}");
            assert!(engine[phase]["get_first"]["count"].as_u64().unwrap() > 0, "{phase}");
            assert_eq!(engine[phase]["inodes"], engine["unclean"]["inodes"], "{phase}");
        }
    }
}
