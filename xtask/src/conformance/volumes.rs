//! The same clients against volumes of a store (the example `nbd_volume`), and a writer whose server is
//! killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::place::{Place, SIZE};
use super::{Step, example};
use crate::demo::wait;
use crate::run::Result;

pub const STEPS: &[Step] = &[
    Step { name: "volumes: nbdinfo, nbdcopy both ways", needs: &["nbdinfo", "nbdcopy"], run: copy },
    Step { name: "volumes: qemu-img convert, compare, map", needs: &["qemu-img"], run: qemu_img },
    Step { name: "volumes: qemu-io patterns, zeroes, discard", needs: &["qemu-io"], run: qemu_io },
    Step { name: "volumes: fio verify crc32c", needs: &["fio"], run: fio },
    Step {
        name: "volumes: a snapshot stays, and says what changed",
        needs: &["nbdcopy", "qemu-img"],
        run: snapshot,
    },
    Step {
        name: "volumes: kill -9, every flushed block",
        needs: &["nbdsh"],
        run: |place| kills(place, 2, 7),
    },
];

/// Rounds of `volume-kill`, unless told otherwise.
const ROUNDS: u32 = 20;

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// Serves volumes of these names and returns the URI of the first.
fn serve(place: &Place, names: &[&str]) -> Result<String> {
    let (folder, size) = (place.path("store"), SIZE.to_string());
    let uri = place.serve(&[&["--dir", &folder, "--size", &size], names].concat())?;
    Ok(uri.replace("///?", &format!("///{}?", names[0])))
}

fn copy(place: &Place) -> Result<()> {
    let image = place.image("image")?;
    let uri = serve(place, &["disk", "other"])?;
    let info = place.run("nbdinfo", &["--json", &uri])?;
    let info: Value = serde_json::from_str(&info).map_err(|error| error.to_string())?;
    let export = &info["exports"][0];
    check(export["export-size"] == SIZE && export["can_multi_conn"] == true, || format!("{export}"))?;
    place.run("nbdcopy", &["--connections=4", "--requests=64", "--flush", &image, &uri])?;
    let out = place.path("out");
    place.run("nbdcopy", &["--connections=4", &uri, &out])?;
    place.same(&image, &out)?;
    let other = uri.replace("///disk?", "///other?");
    place.run("nbdcopy", &["--synchronous", "--no-extents", &uri, &other])?;
    place.run("nbdcopy", &["--synchronous", "--no-extents", &other, &out])?;
    place.same(&image, &out)
}

fn qemu_img(place: &Place) -> Result<()> {
    let image = place.image("image")?;
    let uri = serve(place, &["disk"])?;
    place.run("qemu-img", &["convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", &image, &uri])?;
    place.run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &image, &uri])?;
    let map = place.run("qemu-img", &["map", "-f", "raw", "--output=json", &uri])?;
    let map: Value = serde_json::from_str(&map).map_err(|error| error.to_string())?;
    let holes = map.as_array().map_or(0, |runs| runs.iter().filter(|run| run["data"] == false).count());
    check(holes >= 3, || format!("{map}"))
}

fn qemu_io(place: &Place) -> Result<()> {
    let uri = serve(place, &["disk"])?;
    let script = [
        "write -P 1 0 1M",
        "write -P 2 1000 3000",
        "read -P 2 1000 3000",
        "read -P 1 0 1000",
        "write -f -P 3 2M 64k",
        "write -z 2M 32k",
        "read -P 0 2M 32k",
        "read -P 3 2080k 32k",
        "write -z -u 0 1M",
        "read -P 0 0 1M",
        "aio_write -P 4 8M 4M",
        "aio_write -P 5 16M 4M",
        "aio_flush",
        "read -P 4 8M 4M",
        "read -P 5 16M 4M",
        "discard 0 64M",
        "read -P 0 0 64M",
        "flush",
    ];
    let commands: Vec<&str> = script.iter().flat_map(|line| ["-c", line]).collect();
    let said = place.run("qemu-io", &[&["-f", "raw"], commands.as_slice(), &[&uri]].concat())?;
    check(!said.contains("failed"), || said.clone())
}

fn fio(place: &Place) -> Result<()> {
    let uri = serve(place, &["disk"])?;
    let common = ["--ioengine=nbd", "--uri", &uri, "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"];
    for job in [
        &["--name=small", "--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=8M"][..],
        &["--name=large", "--rw=write", "--bs=1M", "--iodepth=8", "--size=64M"],
        &["--name=odd", "--rw=randwrite", "--bsrange=512-96k", "--iodepth=16", "--size=8M"],
    ] {
        place.run("fio", &[job, &common[..]].concat())?;
    }
    Ok(())
}

fn snapshot(place: &Place) -> Result<()> {
    let image = place.image("image")?;
    let uri = serve(place, &["disk", "disk@first"])?;
    place.run("nbdcopy", &[&image, &uri])?;
    let frozen = uri.replace("///disk?", "///disk.first?");
    let zeros = place.sparse("zeros")?;
    place.run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &zeros, &frozen])?;
    let options = format!(
        "driver=nbd,export=disk,server.type=unix,server.path={},x-dirty-bitmap=x-cess:dirty:first",
        place.path("socket")
    );
    let map = place.run("qemu-img", &["map", "--output=json", "--image-opts", &options])?;
    let map: Value = serde_json::from_str(&map).map_err(|error| error.to_string())?;
    // qemu shows dirty ranges as no data.
    let dirty = map.as_array().map_or(0, |runs| runs.iter().filter(|run| run["data"] == false).count());
    check(dirty >= 3, || format!("{map}"))
}

/// `cargo xtask volume-kill [--rounds N]`: a writer, a kill, a start, and every flushed block is there.
pub fn volume_kill(args: &[String]) -> Result<()> {
    let rounds = match args {
        [] => ROUNDS,
        [flag, number] if flag == "--rounds" => {
            number.parse().map_err(|_| format!("{number:?} is not a number"))?
        }
        other => return Err(format!("volume-kill [--rounds N], not {other:?}")),
    };
    let seed = std::process::id();
    println!("kill -9 of a server of volumes, {rounds} rounds, seed {seed}");
    kills(&Place::new(&example("nbd_volume", false)?)?, rounds, seed)
}

fn kills(place: &Place, rounds: u32, seed: u32) -> Result<()> {
    let record = place.path("record");
    let script = include_str!("volume_kill.py");
    for round in 0..rounds {
        let seed = seed.wrapping_mul(97).wrapping_add(round) % 1000 + 1;
        let uri = serve(place, &["disk"])?;
        let say = |act: &str| format!("uri={uri:?}; record={record:?}; seed={seed}; act={act:?}");
        let mut writer = Command::new("nbdsh")
            .args(["-c", &say("write"), "-c", script])
            .env("PATH", format!("/usr/bin:/bin:{}", std::env::var("PATH").unwrap_or_default()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("nbdsh: {error}"))?;
        // Between the first and the third second of writing.
        wait(Duration::from_millis(1000 + u64::from(seed) * 2));
        place.kill();
        writer.wait().map_err(|error| format!("nbdsh: {error}"))?;
        serve(place, &["disk"])?;
        let said = place.run("nbdsh", &["-c", &say("check"), "-c", script])?;
        println!("         round {}: {}", round + 1, said.trim());
        place.kill();
    }
    Ok(())
}
