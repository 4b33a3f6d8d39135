//! Requests at the same time: slow ones, failing ones, too many of them, and the end of the server.

use std::time::Duration;

use gw_nbd::{ExportErrorKind, Limits, NbdMetrics, Verb};

use crate::client::{
    Client, DISC, EINVAL, EIO, ENOSPC, ENOTSUP, EPERM, ESHUTDOWN, FAST_ZERO, FLUSH, FUA, MODES, Mode,
    PATIENCE, READ, Res, SHUTDOWN, TRIM, WRITE, ZEROES, info_data,
};
use crate::harness::Server;

async fn attached(server: &Server, name: &str, mode: Mode) -> Client {
    Client::attached(&server.target, name, mode, &[]).await.unwrap()
}

#[tokio::test]
async fn a_slow_request_holds_up_no_other() {
    let server = Server::start().await;
    for mode in MODES {
        let mut client = attached(&server, "faulty", mode).await;
        server.faulty.hold(Verb::Write);
        let slow = client.send_put(0, 0, &[7; 4096]).await.unwrap();
        server.faulty.held(1).await;
        for _ in 0..10 {
            client.get(8192, 4096).await.unwrap();
        }
        client.ask(FLUSH, 0, 0, 0).await.unwrap().expect(0, "FLUSH").unwrap();
        server.faulty.release(1);
        client.answer(slow).await.unwrap().expect(0, "WRITE").unwrap();
        assert_eq!(client.get(0, 4096).await.unwrap(), [7; 4096]);
    }
    server.running.shutdown().await;
}

#[tokio::test]
async fn a_request_is_answered_with_an_error_when_its_time_is_over() {
    let limits = Limits { request_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with_limits(limits).await;
    for mode in MODES {
        let mut client = attached(&server, "faulty", mode).await;
        server.faulty.hold(Verb::Read);
        client.ask(READ, 0, 0, 4096).await.unwrap().expect(EIO, "a held READ").unwrap();
        client.ask(READ, 0, 0, 1 << 20).await.unwrap().expect(EIO, "a held READ").unwrap();
        server.faulty.hold(Verb::Trim);
        client.get(0, 4096).await.unwrap();
    }
    assert_eq!(NbdMetrics::get(&server.running.metrics().requests_timed_out), 6);
}

#[tokio::test]
async fn disc_waits_for_slow_requests_and_closes_after_their_answers() {
    let server = Server::start().await;
    for mode in MODES {
        let mut client = attached(&server, "faulty", mode).await;
        server.faulty.hold(Verb::Write);
        for index in 0..16 {
            client.send_put(0, index << 12, &[9; 4096]).await.unwrap();
        }
        client.send(DISC, 0, 0, 0, &[]).await.unwrap();
        server.faulty.held(16).await;
        server.faulty.release(16);
        for _ in 0..16 {
            client.next_answer().await.unwrap().1.expect(0, "WRITE").unwrap();
        }
        client.closed().await.unwrap();
    }
}

#[tokio::test]
async fn requests_of_a_connection_are_bounded() {
    let server = Server::with_limits(Limits { in_flight_requests_max: 4, ..Limits::default() }).await;
    let mut client = attached(&server, "faulty", Mode::Structured).await;
    server.faulty.hold(Verb::Write);
    for index in 0..10 {
        client.send_put(0, index << 12, &[1; 4096]).await.unwrap();
    }
    server.faulty.held(4).await;
    attached(&server, "disk", Mode::Simple).await.get(0, 4096).await.unwrap();
    assert_eq!(server.faulty.calls(Verb::Write), 4);
    server.faulty.release(10);
    for _ in 0..10 {
        client.next_answer().await.unwrap().1.expect(0, "WRITE").unwrap();
    }
}

#[tokio::test]
async fn bytes_of_a_connection_are_bounded() {
    let limits = Limits { in_flight_bytes_max: 64 << 10, ..Limits::default() };
    let server = Server::with_limits(limits).await;
    let mut client = attached(&server, "faulty", Mode::Structured).await;
    server.faulty.hold(Verb::Read);
    for index in 0..10 {
        client.send(READ, 0, index << 16, 20 << 10, &[]).await.unwrap();
    }
    server.faulty.held(3).await;
    attached(&server, "disk", Mode::Simple).await.get(0, 4096).await.unwrap();
    assert_eq!(server.faulty.calls(Verb::Read), 3);
    server.faulty.release(10);
    for _ in 0..10 {
        client.next_answer().await.unwrap().1.expect(0, "READ").unwrap();
    }
    // One that is larger than the bound is let in alone.
    server.faulty.release(1);
    client.get(0, 1 << 20).await.unwrap();
}

#[tokio::test]
async fn bytes_of_the_process_are_bounded() {
    let server = Server::with_limits(Limits { process_bytes_max: 64 << 20, ..Limits::default() }).await;
    let mut greedy = attached(&server, "faulty", Mode::Structured).await;
    let mut second = attached(&server, "faulty", Mode::Structured).await;
    server.faulty.hold(Verb::Read);
    for _ in 0..2 {
        greedy.send(READ, 0, 0, 31 << 20, &[]).await.unwrap();
    }
    server.faulty.held(2).await;
    let waiting = second.send(READ, 0, 0, 4 << 20, &[]).await.unwrap();
    attached(&server, "disk", Mode::Simple).await;
    assert_eq!(server.faulty.calls(Verb::Read), 2);
    server.faulty.release(3);
    for _ in 0..2 {
        greedy.next_answer().await.unwrap().1.expect(0, "READ").unwrap();
    }
    second.answer(waiting).await.unwrap().expect(0, "READ").unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_harms_nobody() {
    let limits = Limits {
        write_stall_timeout: Duration::from_millis(400),
        in_flight_bytes_max: 8 << 20,
        ..Limits::default()
    };
    let server = Server::with_limits(limits).await;
    let mut idle = attached(&server, "disk", Mode::Structured).await;
    let mut deaf = attached(&server, "disk", Mode::Simple).await;
    deaf.put(0, 0, &[1; 1 << 20]).await.unwrap();
    for _ in 0..64 {
        deaf.send(READ, 0, 0, 1 << 20, &[]).await.unwrap();
    }
    let mut half = attached(&server, "disk", Mode::Simple).await;
    let start = half.request(WRITE, 0, 1, 0, 4096);
    half.write(&start).await.unwrap();
    let mut header = attached(&server, "disk", Mode::Simple).await;
    header.write(&start[..5]).await.unwrap();
    // Somebody else is served all the while.
    let mut other = attached(&server, "disk", Mode::Simple).await;
    let cut = async {
        while NbdMetrics::get(&server.running.metrics().connections) > 2 {
            other.get(0, 4096).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, cut).await.expect("three stalled clients are still there");
    half.closed().await.unwrap();
    header.closed().await.unwrap();
    idle.get(0, 4096).await.unwrap();
}

#[tokio::test]
async fn a_bug_in_an_export_ends_one_connection_only() {
    let server = Server::start().await;
    let mut other = attached(&server, "faulty", Mode::Structured).await;
    let mut client = attached(&server, "faulty", Mode::Structured).await;
    server.faulty.explode();
    client.send(READ, 0, 0, 4096, &[]).await.unwrap();
    client.closed().await.unwrap();
    other.get(0, 4096).await.unwrap();
}

#[tokio::test]
async fn failures_have_the_errors_of_the_protocol() {
    let server = Server::start().await;
    for mode in MODES {
        let mut client = attached(&server, "faulty", mode).await;
        for (kind, error) in [
            (ExportErrorKind::NoSpace, ENOSPC),
            (ExportErrorKind::Io, EIO),
            (ExportErrorKind::NotPermitted, EPERM),
            (ExportErrorKind::ShuttingDown, ESHUTDOWN),
        ] {
            server.faulty.fail(Verb::Write, kind, 1);
            client.put(0, 0, &[1; 512]).await.unwrap().expect(error, "WRITE").unwrap();
            server.faulty.fail(Verb::Read, kind, 2);
            client.ask(READ, 0, 0, 512).await.unwrap().expect(error, "READ").unwrap();
            client.ask(READ, 0, 0, 1 << 20).await.unwrap().expect(error, "READ").unwrap();
        }
        // ENOTSUP is for fast zeroing alone.
        for (flags, error) in [(FAST_ZERO, ENOTSUP), (0, EIO)] {
            server.faulty.fail(Verb::WriteZeroes, ExportErrorKind::NotSupported, 1);
            client.ask(ZEROES, flags, 0, 4096).await.unwrap().expect(error, "WRITE_ZEROES").unwrap();
        }
        client.get(0, 512).await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_export_takes_no_writes() {
    let server = Server::start().await;
    for mode in MODES {
        let mut client = attached(&server, "readonly", mode).await;
        assert_eq!(client.flags & 0b1000_0110_1011, 0b11, "{:#b}", client.flags);
        client.put(0, 0, &[1; 512]).await.unwrap().expect(EPERM, "WRITE").unwrap();
        for command in [TRIM, ZEROES] {
            client.ask(command, 0, 0, 4096).await.unwrap().expect(EPERM, "a writing command").unwrap();
        }
        client.ask(FLUSH, 0, 0, 0).await.unwrap().expect(0, "FLUSH").unwrap();
        assert_eq!(client.get(0, 512).await.unwrap(), [0; 512]);
    }
}

#[tokio::test]
async fn block_sizes_are_told_and_enforced() {
    let server = Server::start().await;
    let mut client = Client::greeted(&server.target, 3).await.unwrap();
    let replies = client.opt(6, &info_data("blocks", &[3])).await.unwrap();
    let sizes = [&[0, 3][..], &4096_u32.to_be_bytes(), &8192_u32.to_be_bytes(), &(1_u32 << 20).to_be_bytes()];
    assert!(replies.iter().any(|reply| reply.data == sizes.concat()), "{replies:?}");
    for mode in MODES {
        let mut client = attached(&server, "blocks", mode).await;
        for (offset, length) in [(0, 512), (512, 4096), (4096, 4097)] {
            client.ask(READ, 0, offset, length).await.unwrap().expect(EINVAL, "READ").unwrap();
            let reply = client.put(0, offset, &vec![1; length as usize]).await.unwrap();
            reply.expect(EINVAL, "WRITE").unwrap();
        }
        let reply = client.put(0, 0, &vec![1; (1 << 20) + 4096]).await.unwrap();
        reply.expect(EINVAL, "a WRITE beyond the payload").unwrap();
        client.put(0, 0, &vec![1; 1 << 20]).await.unwrap().expect(0, "WRITE").unwrap();
    }
}

#[tokio::test]
async fn what_is_not_offered_is_invalid() {
    let server = Server::start().await;
    let mut client = attached(&server, "bare", Mode::Structured).await;
    assert_eq!(client.flags, 1 | 1 << 4 | 1 << 7, "rotational and nothing else");
    for (command, length) in [(FLUSH, 0), (TRIM, 512), (ZEROES, 512), (5, 512), (7, 512)] {
        client.ask(command, 0, 0, length).await.unwrap().expect(EINVAL, "not offered").unwrap();
    }
    client.put(FUA, 0, &[1; 512]).await.unwrap().expect(EINVAL, "FUA").unwrap();
    client.put(0, 0, &[1; 512]).await.unwrap().expect(0, "WRITE").unwrap();
}

#[tokio::test]
async fn the_end_of_the_server_is_orderly() {
    let server = Server::start().await;
    let Server { target, running, faulty, folder: _folder } = server;
    let mut client = Client::attached(&target, "faulty", Mode::Structured, &[]).await.unwrap();
    let mut haggling = Client::greeted(&target, 3).await.unwrap();
    haggling.opt(3, &[]).await.unwrap();
    faulty.hold(Verb::Write);
    let slow = client.send_put(0, 0, &[7; 4096]).await.unwrap();
    faulty.held(1).await;
    let ending = tokio::spawn(running.shutdown());
    let told = async {
        loop {
            let reply = client.ask(READ, 0, 0, 512).await?;
            if reply.error != 0 {
                return Res::Ok(reply.error);
            }
        }
    };
    assert_eq!(told.await.unwrap(), ESHUTDOWN);
    let reply = client.put(0, 0, &[8; 4096]).await.unwrap();
    reply.expect(ESHUTDOWN, "a WRITE after the end").unwrap();
    assert_eq!(haggling.opt_end(7, &info_data("disk", &[])).await.unwrap(), SHUTDOWN);
    assert_eq!(haggling.opt_end(2, &[]).await.unwrap(), 1, "ABORT is always heard");
    faulty.release(1);
    client.answer(slow).await.unwrap().expect(0, "the WRITE before the end").unwrap();
    client.closed().await.unwrap();
    ending.await.unwrap();
}
