//! What each client is asked to do.

use serde_json::Value;

use super::place::{Place, SIZE};
use crate::run::Result;

const EVERYTHING: &[&str] = &[
    "can_cache",
    "can_df",
    "can_fast_zero",
    "can_flush",
    "can_fua",
    "can_multi_conn",
    "can_trim",
    "can_zero",
];

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// `nbdinfo`
pub fn nbdinfo(place: &Place) -> Result<()> {
    let (disk, other) = (place.image("disk")?, place.image("other")?);
    let uri = place.serve(&["--dirty", &format!("disk={disk}"), &format!("other={other}")])?;
    let uri = uri.replace("///?", "///disk?");
    let json: Value =
        serde_json::from_str(&place.run("nbdinfo", &["--json", &uri])?).map_err(|e| e.to_string())?;
    let export = &json["exports"][0];
    check(export["export-size"] == SIZE, || format!("{export}"))?;
    for feature in EVERYTHING {
        check(export[*feature] == true, || format!("{feature} in {export}"))?;
    }
    let contexts = export["contexts"].as_array().map_or(0, Vec::len);
    check(contexts == 2, || format!("{contexts} contexts in {export}"))?;
    let list = place.run("nbdinfo", &["--list", &uri])?;
    check(list.contains("export=\"disk\"") && list.contains("export=\"other\""), || list.clone())?;
    let map: Value = serde_json::from_str(&place.run("nbdinfo", &["--map", "--json", &uri])?)
        .map_err(|e| e.to_string())?;
    let runs = map.as_array().ok_or("no map")?;
    let sum: u64 = runs.iter().filter_map(|run| run["length"].as_u64()).sum();
    check(sum == SIZE && runs.len() >= 6, || format!("{map}"))?;
    place.run("nbdinfo", &["--can", "write", &uri]).map(|_| ())
}

/// `nbdcopy` in both directions and between two servers.
pub fn nbdcopy(place: &Place) -> Result<()> {
    let (image, disk) = (place.image("image")?, place.sparse("disk")?);
    let uri = place.serve(&[&disk])?;
    place.run("nbdcopy", &["--connections=4", "--requests=64", "--flush", &image, &uri])?;
    place.same(&image, &disk)?;
    let out = place.path("out");
    place.run("nbdcopy", &["--connections=4", &uri, &out])?;
    place.same(&image, &out)?;
    let second = place.sparse("second")?;
    let port = place.serve_tcp(&["--insecure", &second])?;
    place.run("nbdcopy", &["--destination-is-zero", &uri, &format!("nbd://127.0.0.1:{port}")])?;
    place.same(&image, &second)
}

/// `nbdcopy` as an old client would do it.
pub fn nbdcopy_plain(place: &Place) -> Result<()> {
    let (image, disk) = (place.image("image")?, place.sparse("disk")?);
    let uri = place.serve(&[&disk])?;
    place.run("nbdcopy", &["--synchronous", "--no-extents", "--allocated", &image, &uri])?;
    let out = place.path("out");
    place.run("nbdcopy", &["--synchronous", "--no-extents", &uri, &out])?;
    place.same(&image, &out)
}

/// libnbd by its Python shell, in each mode.
pub fn nbdsh(place: &Place) -> Result<()> {
    let disk = place.sparse("disk")?;
    let uri = place.serve(&["--dirty", &disk])?;
    for mode in ["simple", "structured", "extended"] {
        let prepare = format!("mode = {mode:?}; uri = {uri:?}");
        place.run_with("nbdsh", &["-c", &prepare, "-c", "-"], include_str!("nbdsh.py"))?;
    }
    Ok(())
}

/// A server that is started by its client, with a listening socket.
pub fn activation(place: &Place) -> Result<()> {
    let disk = place.sparse("disk")?;
    let script = format!(
        "h.connect_systemd_socket_activation([{:?}, {disk:?}])\n\
         assert h.get_size() == {SIZE}\n\
         h.pwrite(b'activated', 4096)\n\
         h.flush()\n\
         assert h.pread(9, 4096) == b'activated'\n\
         h.shutdown()\n",
        place.server()
    );
    place.run_with("nbdsh", &["-c", "-"], &script).map(|_| ())
}

/// `qemu-img`
pub fn qemu_img(place: &Place) -> Result<()> {
    let (image, disk) = (place.image("image")?, place.sparse("disk")?);
    let uri = place.serve(&[&disk])?;
    let info = place.run("qemu-img", &["info", "-f", "raw", &uri])?;
    check(info.contains("64 MiB"), || info.clone())?;
    place.run("qemu-img", &["convert", "-n", "-W", "-m", "16", "-f", "raw", "-O", "raw", &image, &uri])?;
    place.same(&image, &disk)?;
    place.run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &image, &uri])?;
    let out = place.path("out.qcow2");
    place.run("qemu-img", &["convert", "-W", "-f", "raw", "-O", "qcow2", &uri, &out])?;
    place.run("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", &out, &image])?;
    let map: Value =
        serde_json::from_str(&place.run("qemu-img", &["map", "-f", "raw", "--output=json", &uri])?)
            .map_err(|error| error.to_string())?;
    let holes = map.as_array().map_or(0, |runs| runs.iter().filter(|run| run["data"] == false).count());
    check(holes >= 3, || format!("{map}"))?;
    place
        .run("qemu-img", &["bench", "-f", "raw", "-w", "-c", "500", "-d", "32", "-s", "4096", &uri])
        .map(|_| ())
}

/// The dirty context, in the way backup programs read bitmaps.
pub fn qemu_dirty(place: &Place) -> Result<()> {
    let disk = place.image("disk")?;
    let uri = place.serve(&["--dirty", &disk])?;
    place.run("qemu-io", &["-f", "raw", "-c", "write -P 7 1M 64k", &uri])?;
    let options = format!(
        "driver=nbd,server.type=unix,server.path={},x-dirty-bitmap=x-cess:dirty:since-open",
        place.path("socket")
    );
    let map: Value =
        serde_json::from_str(&place.run("qemu-img", &["map", "--output=json", "--image-opts", &options])?)
            .map_err(|error| error.to_string())?;
    // qemu shows dirty ranges as no data.
    let dirty: Vec<&Value> =
        map.as_array().map_or(Vec::new(), |runs| runs.iter().filter(|run| run["data"] == false).collect());
    let right = dirty.len() == 1 && dirty[0]["start"] == 1 << 20 && dirty[0]["length"] == 64 << 10;
    check(right, || format!("{map}"))
}

/// `qemu-io`
pub fn qemu_io(place: &Place) -> Result<()> {
    let disk = place.sparse("disk")?;
    let uri = place.serve(&[&disk])?;
    let script = [
        "write -P 1 0 1M",
        "write -P 2 1000 3000",
        "read -P 2 1000 3000",
        "read -P 1 0 1000",
        "write -f -P 3 2M 64k",
        "read -P 3 2M 64k",
        "write -z 2M 32k",
        "read -P 0 2M 32k",
        "read -P 3 2080k 32k",
        "write -z -u 0 1M",
        "read -P 0 0 1M",
        "discard 0 32M",
        "aio_write -P 4 8M 4M",
        "aio_write -P 5 16M 4M",
        "aio_flush",
        "read -P 4 8M 4M",
        "read -P 5 16M 4M",
        "flush",
    ];
    let commands: Vec<&str> = script.iter().flat_map(|line| ["-c", line]).collect();
    let said = place.run("qemu-io", &[&["-f", "raw"], commands.as_slice(), &[&uri]].concat())?;
    check(!said.contains("failed"), || said.clone())
}

/// `qemu-nbd --list`
pub fn qemu_nbd_list(place: &Place) -> Result<()> {
    let (disk, other) = (place.sparse("disk")?, place.sparse("other")?);
    place.serve(&["--dirty", &format!("disk={disk}"), &format!("other={other}")])?;
    let list = place.run("qemu-nbd", &["--list", "-k", &place.path("socket")])?;
    let right = list.contains("exports available: 2") && list.contains("x-cess:dirty:since-open");
    check(right, || list.clone())
}

/// fio's engine, with verification of what it wrote.
pub fn fio(place: &Place) -> Result<()> {
    let disk = place.sparse("disk")?;
    let uri = place.serve(&[&disk])?;
    let common = ["--ioengine=nbd", "--uri", &uri, "--verify=crc32c", "--do_verify=1", "--verify_fatal=1"];
    for job in [
        &["--name=small", "--rw=randwrite", "--bs=4k", "--iodepth=32", "--size=32M"][..],
        &["--name=large", "--rw=write", "--bs=1M", "--iodepth=8", "--size=64M"],
        &[
            "--name=odd",
            "--rw=randwrite",
            "--bsrange=512-96k",
            "--bs_unaligned=0",
            "--iodepth=16",
            "--size=16M",
        ],
    ] {
        place.run("fio", &[job, &common[..]].concat())?;
    }
    Ok(())
}

/// nbd-client can list without a kernel module.
pub fn nbd_client(place: &Place) -> Result<()> {
    let (disk, other) = (place.sparse("disk")?, place.sparse("other")?);
    let port = place.serve_tcp(&["--insecure", &format!("disk={disk}"), &format!("other={other}")])?;
    let list = place.run("nbd-client", &["-l", "127.0.0.1", &port])?;
    check(list.contains("disk") && list.contains("other"), || list.clone())
}

/// nbdkit in front, with filters that delay, split and fail requests.
pub fn nbdkit(place: &Place) -> Result<()> {
    let (image, disk, out) = (place.image("image")?, place.sparse("disk")?, place.path("out"));
    place.serve(&[&disk])?;
    let socket = format!("socket={}", place.path("socket"));
    let copy = format!("nbdcopy {image} \"$uri\" && nbdcopy \"$uri\" {out}");
    let filters = ["--filter=blocksize", "--filter=delay", "--filter=retry-request"];
    let parameters = [socket.as_str(), "delay-read=1ms", "maxdata=128k"];
    place.run("nbdkit", &[&["-U", "-", "nbd"], &filters[..], &parameters, &["--run", &copy]].concat())?;
    place.same(&image, &out)
}

/// Certificates made on the spot; without one nobody comes in.
pub fn tls(place: &Place) -> Result<()> {
    let folder = place.path("pki");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    place.run("sh", &["-ec", include_str!("certificates.sh"), "certificates", &folder])?;
    let (image, disk, out) = (place.image("image")?, place.sparse("disk")?, place.path("out"));
    let port = place.serve_tcp(&["--tls", &folder, "--tls-verify-peer", &disk])?;
    let uri = format!("nbds://localhost:{port}/?tls-certificates={folder}&tls-verify-peer=true");
    let info = place.run("nbdinfo", &[&uri])?;
    check(info.contains("with TLS"), || info.clone())?;
    place.run("nbdcopy", &[&image, &uri])?;
    place.run("nbdcopy", &[&uri, &out])?;
    place.same(&image, &out)?;
    let plain = place.run("nbdinfo", &[&format!("nbd://localhost:{port}/")]);
    check(plain.is_err(), || "a client without TLS was let in".to_owned())
}
