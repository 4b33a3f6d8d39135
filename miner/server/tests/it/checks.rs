//! Every check of a request, with its refusal.

use std::time::Duration;

use gw_miner_client::conformance::{fid, fragment, segment_with};
use gw_miner_wire::{MULTIPART_OVERHEAD_BYTES_MAX, Reply, StatusData, ZERO_FRAGMENT};
use gw_types::ports::{FileSegment, FileState, PlacedFragment};
use gw_types::{AccountId, FRAGMENT_BYTES};

use crate::world::{Mood, Raw, World, form};

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const RAW_VECTOR: &str = "aea13e7729a4d77cee464c02730171d6be33f0fa08e04fb52d6d47cb4e49966022f2857d5f449fb4b03e9c55e66fc06689bd5a01e7780f58dbe372433173b486";
const WRAPPED_VECTOR: &str = "c06c2b9d2457a52092dfd48be9979b2fa2b08a520957b6443c4498abc689f94c82fe5a5e09c4c3ee2a44148899bc656ec34c0731c1674fdcdf56d6cf620fd38e";

#[tokio::test]
async fn requests_without_a_valid_signature_get_403() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    for method in ["GET", "PUT"] {
        let good = Raw::new(method, fid(1), ZERO_FRAGMENT);
        let bad = [
            good.clone().without("Account"),
            good.clone().without("Message"),
            good.clone().without("Signature"),
            good.clone().with("Message", "another"),
            good.clone().with("Signature", "00".repeat(64)),
            good.clone().with("Signature", "not hex"),
            good.clone().with("Account", ALICE),
            good.with("Account", "cX"),
        ];
        for request in bad {
            assert_eq!(request.send(to, b"").await.reply(), (403, "invalid signature".to_owned()));
        }
    }
    assert_eq!(world.miner.counters().refused, 16);
}

#[tokio::test]
async fn signatures_made_by_other_programs_are_taken_raw_and_wrapped() {
    let world = World::start().await;
    for signature in [RAW_VECTOR, WRAPPED_VECTOR] {
        for prefix in ["", "0x"] {
            let request = Raw::new("GET", fid(1), ZERO_FRAGMENT)
                .with("Account", ALICE)
                .with("Message", "cess-vector-1")
                .with("Signature", format!("{prefix}{signature}"));
            assert_eq!(
                request.send(world.miner.local_addr(), b"").await.reply(),
                (404, "not found".to_owned())
            );
        }
    }
}

#[tokio::test]
async fn missing_and_malformed_hashes_get_400() {
    let world = World::start().await;
    let good = Raw::new("PUT", fid(1), ZERO_FRAGMENT);
    let table = [
        (good.clone().without("Fid"), "empty fid or fragment"),
        (good.clone().with("Fragment", ""), "empty fid or fragment"),
        (good.clone().with("Fid", "ab"), "invalid fid or fragment"),
        (good.clone().with("Fid", ZERO_FRAGMENT.to_hex().to_uppercase()), "invalid fid or fragment"),
        (good.with("Fragment", "../".repeat(22)), "invalid fid or fragment"),
    ];
    for (request, why) in table {
        assert_eq!(request.send(world.miner.local_addr(), b"").await.reply(), (400, why.to_owned()));
    }
}

#[tokio::test]
async fn only_what_the_chain_knows_is_taken() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    let (hash, bytes) = fragment(1);
    let request = Raw::put(fid(1), hash, bytes.len());
    let body = form(hash, &bytes);
    assert_eq!(request.send(to, &body).await.reply(), (400, "fragment does not match fid".to_owned()));
    world.chain.set_mood(Mood::Away);
    let (code, why) = request.send(to, &body).await.reply();
    assert!(code == 503 && why.contains("failed to connect to rpc"), "{code} {why}");
    world.chain.set_mood(Mood::Well);
    world.declare(fid(1), &[hash]);
    assert_eq!(request.send(to, &body).await.reply(), (200, "ok".to_owned()));
    assert_eq!(world.get(fid(1), hash).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_repair_is_taken_for_an_active_file() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    let placed = |hash| PlacedFragment { hash, miner: AccountId([1; 32]), available: true };
    let fragments = segment_with(hash).fragments.into_iter().map(placed).collect();
    let segments = vec![FileSegment { hash, fragments }];
    let file = FileState { segments, file_size: 1, held_as: None, completed_at: 3 };
    world.chain.0.lock().files.insert(fid(1), file);
    world.put(fid(1), hash, &bytes).await.unwrap();
    assert_eq!(world.get(fid(1), hash).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_once() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    let too_large = (413, "the body is larger than a fragment".to_owned());
    // Announced: not one byte of the body is waited for.
    let announced = Raw::put(fid(1), hash, 1 << 40);
    assert_eq!(announced.begin(to).await.answer().await.reply(), too_large);
    // Not announced: cut when it passes the limit.
    let chunked = Raw::put(fid(1), hash, 0).without("Content-Length").with("Transfer-Encoding", "chunked");
    let mut exchange = chunked.begin(to).await;
    let body = form(hash, &[&bytes[..], &[0; 2 * MULTIPART_OVERHEAD_BYTES_MAX as usize]].concat());
    exchange.write(format!("{:x}\r\n", body.len()).as_bytes()).await;
    exchange.write(&body[..FRAGMENT_BYTES as usize + MULTIPART_OVERHEAD_BYTES_MAX as usize + 1]).await;
    // The file's own limit and the form's are passed in one burst: which is met first depends on how
    // the bytes arrive.
    let refused = exchange.answer().await.reply();
    assert!(refused == too_large || refused == (400, "the fragment size is wrong".to_owned()), "{refused:?}");
    // A few bytes too many, within what a form may add.
    let answer = Raw::put(fid(1), hash, bytes.len() + 9)
        .send(to, &form(hash, &[&bytes[..], b"some more"].concat()))
        .await;
    assert_eq!(answer.reply(), (400, "the fragment size is wrong".to_owned()));
    assert_eq!(
        (world.files_in("tmp"), world.files_in("fragments"), world.miner.counters().reserved_bytes),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn bad_bodies_are_refused_and_leave_nothing() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    let put = |len| Raw::put(fid(1), hash, len);
    let short = put(100).send(to, &form(hash, &bytes[..100])).await;
    assert_eq!(short.reply(), (400, "the fragment size is wrong".to_owned()));
    let wrong = put(bytes.len()).send(to, &form(hash, &fragment(2).1)).await;
    assert_eq!(wrong.reply(), (400, "the fragment hash is wrong".to_owned()));
    let no_form = (400, "the body is no form with a field 'file'".to_owned());
    let bare = put(0)
        .with("Content-Type", "application/octet-stream")
        .with("Content-Length", bytes.len().to_string());
    assert_eq!(bare.send(to, &bytes).await.reply(), no_form);
    let garbage = put(0).with("Content-Length", "1000");
    assert_eq!(garbage.send(to, &[7; 1000]).await.reply(), no_form);
    let mut broken = put(bytes.len()).begin(to).await;
    broken.write(&form(hash, &bytes)[..5_000_000]).await;
    drop(broken);
    crate::world::eventually("a broken put is cleared away", || world.miner.counters().reserved_bytes == 0)
        .await;
    assert_eq!((world.files_in("tmp"), world.files_in("fragments")), (0, 0));
    assert_eq!((world.miner.counters().puts, world.miner.counters().used_bytes), (0, 0));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    let mut stalled = Raw::put(fid(1), hash, bytes.len()).begin(world.miner.local_addr()).await;
    stalled.write(&form(hash, &bytes)[..1_000_000]).await;
    let answer = world.clock.advance_until(Duration::from_secs(1), stalled.answer()).await;
    assert_eq!(answer.reply(), (408, "the body came too slowly".to_owned()));
    assert_eq!((world.files_in("tmp"), world.miner.counters().reserved_bytes), (0, 0));
}

#[tokio::test]
async fn zero_fragment_takes_no_bytes_and_no_room() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    world.declare(fid(1), &[ZERO_FRAGMENT]);
    let empty = Raw::new("PUT", fid(1), ZERO_FRAGMENT).with("Content-Length", "0");
    assert_eq!(empty.send(to, b"").await.status, 200);
    let ignored = Raw::put(fid(1), ZERO_FRAGMENT, 9).send(to, &form(ZERO_FRAGMENT, b"who cares")).await;
    assert_eq!(ignored.status, 200);
    assert_eq!((world.files_in("fragments"), world.miner.counters().used_bytes), (0, 0));
    let answer = Raw::new("GET", fid(1), ZERO_FRAGMENT).send(to, b"").await;
    assert!(answer.status == 200 && answer.body == vec![0; FRAGMENT_BYTES as usize]);
}

#[tokio::test]
async fn ranges_come_in_the_odd_form_only() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    let get = Raw::new("GET", fid(1), hash);
    let whole = get.send(to, b"").await;
    assert!(whole.status == 200 && whole.body == bytes);
    for (range, want) in [
        ("bytes=0-65552/8388608", 0..65_552),
        ("bytes 65552-131104/8388608", 65_552..131_104),
        ("bytes=8388607-8388608/8388608", 8_388_607..8_388_608),
        ("bytes=0-8388608/8388608", 0..8_388_608),
        ("bytes=5-5/8388608", 5..5),
    ] {
        let answer = get.clone().with("Range", range).send(to, b"").await;
        assert!(answer.status == 206 && answer.body == bytes[want], "{range}");
        assert!(
            !answer.head.contains("content-range") && answer.head.contains("application/octet-stream"),
            "{range}"
        );
    }
    for (range, why) in [
        ("bytes=0-65551", "invalid range request"),
        ("bytes=-5/8388608", "invalid range start"),
        ("bytes=9-5/8388608", "invalid range end"),
        ("bytes=0-8388609/8388608", "invalid range end"),
    ] {
        let answer = get.clone().with("Range", range).send(to, b"").await;
        assert_eq!(answer.reply(), (416, why.to_owned()), "{range}");
    }
}

#[tokio::test]
async fn a_fragment_is_found_only_under_its_own_deal() {
    let world = World::start().await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    let answer = Raw::new("GET", fid(2), hash).send(world.miner.local_addr(), b"").await;
    assert_eq!(answer.reply(), (404, "not found".to_owned()));
}

#[tokio::test]
async fn status_is_open_and_says_that_the_miner_is_simulated() {
    let world = World::start_with(|config| config.capacity_bytes = 20 << 20).await;
    let (hash, bytes) = fragment(1);
    world.declare(fid(1), &[hash]);
    world.put(fid(1), hash, &bytes).await.unwrap();
    let status = Raw { method: "GET", path: "/status", headers: Vec::new() };
    let answer = status.send(world.miner.local_addr(), b"").await;
    let reply: Reply<StatusData> = serde_json::from_slice(&answer.body).unwrap();
    let data = reply.data.unwrap();
    assert!(reply.code == 200 && data.simulated);
    assert_eq!((data.idle_space, data.service_space, data.lock_space), (12 << 20, 8 << 20, 0));
    assert_eq!((data.state.as_str(), data.health.as_str(), data.fault.as_str()), ("positive", "ok", ""));
    assert_eq!(gw_miner_wire::decode_account(&data.signature_acc), Some(crate::world::ME));
    // A stranger who asks often does not make the miner ask the chain often.
    let before = world.chain.0.lock().questions;
    status.send(world.miner.local_addr(), b"").await;
    assert_eq!(world.chain.0.lock().questions, before);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let world = World::start().await;
    let to = world.miner.local_addr();
    for (method, path, status) in [("GET", "/", 404), ("DELETE", "/fragment", 405), ("POST", "/status", 405)]
    {
        let request = Raw { method, path, headers: vec![("Content-Length", "0".to_owned())] };
        assert_eq!(request.send(to, b"").await.reply().0, status, "{method} {path}");
    }
    let nonsense = Raw { method: "NON SENSE", path: "\u{1}", headers: Vec::new() };
    assert_eq!(nonsense.send(to, b"").await.status, 400);
}
