//! Promises of record and verify: what was acknowledged is held against what is there.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use benches::s3load::client::sha256;
use benches::s3load::content::Content;
use benches::s3load::record::{Act, Kind, line, load};
use benches::s3load::verify::{Verified, VerifyArgs, verify};
use benches::s3load::writer::{RecordArgs, Recorded, record};
use clap::Parser;

use crate::server::Server;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RecordArgs,
}

fn write(server: &Arc<Server>, requests: u64, size: &str) -> Recorded {
    let flags = "load --endpoint http://127.0.0.1:1 --record r --connections 4 --deletes 20 --size";
    let mut args = Line::parse_from(flags.split_whitespace().chain([size])).args;
    (args.target, args.record) = (server.target(), server.record());
    server.leave_after(requests + 1);
    let recorded = record(&args).unwrap();
    server.come_back();
    recorded
}

fn check(server: &Arc<Server>) -> Verified {
    let (target, record, prefix) = (server.target(), server.record(), "record/".to_owned());
    verify(&VerifyArgs { target, record, connections: 3, prefix, json: false }).unwrap()
}

fn append(server: &Server, kind: Kind, key: &str, act: &Act) {
    let mut file = OpenOptions::new().create(true).append(true).open(server.record()).unwrap();
    file.write_all(line(kind, key, act).as_bytes()).unwrap();
}

/// Puts an object behind s3load's back.
fn store(server: &Server, key: &str, act: &Act) {
    let content = act.content(key).unwrap();
    let mut body = vec![0; content.size() as usize];
    content.fill(0, &mut body);
    server.objects.lock().unwrap().insert(key.to_owned(), body);
}

fn put(key: &str, generation: u64) -> Act {
    let content = Content::new(key, generation, 100);
    Act::Put { generation, size: 100, sha256: sha256(&content) }
}

const KEY: &str = "record/000/k";

/// A server with one acknowledged object.
fn with_one() -> Arc<Server> {
    let server = Server::start();
    append(&server, Kind::Ok, KEY, &put(KEY, 5));
    store(&server, KEY, &put(KEY, 5));
    assert_eq!(check(&server).violations, 0);
    server
}

#[test]
fn what_was_acknowledged_before_the_server_went_is_verified_after() {
    let server = Server::start();
    for round in 1..=3 {
        let recorded = write(&server, 300, "10:1,4KiB:1");
        assert!(recorded.server_went && recorded.in_flight > 0, "{recorded}");
        assert_eq!(recorded.puts + recorded.deletes, 300);
        let verified = check(&server);
        assert_eq!(verified.violations, 0, "round {round}: {verified}");
        assert!(verified.objects > 50 * round && verified.absent > 0, "{verified}");
        let all_settled = load(&server.record()).unwrap().values().all(|history| history.open.is_empty());
        assert!(all_settled, "what was in flight is settled by what was found");
    }
}

#[test]
fn large_objects_are_put_in_parts_and_verified_whole() {
    let server = Server::start();
    let recorded = write(&server, 30, "6MiB");
    assert!(
        recorded.puts > 0 && recorded.puts + recorded.deletes < 15,
        "each takes four requests: {recorded}"
    );
    let verified = check(&server);
    assert_eq!((verified.violations, verified.bytes), (0, verified.objects * (6 << 20)), "{verified}");
    assert!(verified.objects > 0);
}

#[test]
fn a_lost_object_is_a_violation() {
    let server = with_one();
    server.objects.lock().unwrap().remove(KEY);
    assert!(check(&server).shown[0].contains("it is not there"));
}

#[test]
fn an_older_body_is_a_violation() {
    let server = with_one();
    store(&server, KEY, &put(KEY, 4));
    assert!(check(&server).shown[0].contains("its body says generation 4"));
}

#[test]
fn a_cut_or_changed_body_is_a_violation() {
    let server = with_one();
    server.objects.lock().unwrap().get_mut(KEY).unwrap().truncate(99);
    assert!(check(&server).shown[0].contains("it ends at byte 99 and not at 100"));
    server.objects.lock().unwrap().get_mut(KEY).unwrap().truncate(3);
    assert!(check(&server).shown[0].contains("only 3 bytes"));
    store(&server, KEY, &put(KEY, 5));
    server.objects.lock().unwrap().get_mut(KEY).unwrap()[50] ^= 1;
    assert!(check(&server).shown[0].contains("byte 50"));
}

#[test]
fn an_object_that_was_deleted_may_not_come_back() {
    let server = with_one();
    append(&server, Kind::Ok, KEY, &Act::Delete { generation: 6 });
    let verified = check(&server);
    assert!(verified.shown[0].contains("its body says generation 5; allowed is nothing"), "{verified}");
}

#[test]
fn an_object_nobody_wrote_is_a_violation() {
    let server = with_one();
    store(&server, "record/000/other", &put("other", 1));
    assert!(check(&server).shown[0].contains("record/000/other: listed"));
}

#[test]
fn an_act_in_flight_may_have_happened_but_what_was_seen_stays() {
    let server = with_one();
    append(&server, Kind::Try, KEY, &put(KEY, 6));
    store(&server, KEY, &put(KEY, 6));
    let verified = check(&server);
    assert_eq!((verified.violations, verified.open_happened), (0, 1));
    store(&server, KEY, &put(KEY, 5));
    assert_eq!(check(&server).violations, 1, "generation 6 was seen, so it may not vanish");
}
