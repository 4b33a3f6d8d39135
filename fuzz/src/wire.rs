//! One exchange over a socket, with a limit of time.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A server that has not answered or hung up by then is stuck.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 where the server hung up without one.
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Sends everything, says that no more comes where `half_close`, and reads until the server hangs up.
pub(crate) fn exchange(address: SocketAddr, sent: &[u8], half_close: bool) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).expect("the server takes connections");
    socket.set_nodelay(true).ok();
    socket.set_read_timeout(Some(ANSWER_MAX)).expect("a socket takes a time-out");
    socket.set_write_timeout(Some(ANSWER_MAX)).expect("a socket takes a time-out");
    // The server may answer and hang up before it has read everything.
    let begun = Instant::now();
    socket.write_all(sent).ok();
    if half_close {
        socket.shutdown(Shutdown::Write).ok();
    }
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok();
    assert!(begun.elapsed() < ANSWER_MAX, "the server is stuck");
    answer
}

/// A whole request of which the server must make something: an answer, and no internal error.
pub(crate) fn request(address: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut sent = head.as_bytes().to_vec();
    sent.extend_from_slice(body);
    let answer = answered(&exchange(address, &sent, false));
    assert_ne!(answer.status, 500, "an internal error: {answer:?}");
    answer
}

/// The last answer of a connection, after interim ones.
pub(crate) fn answered(bytes: &[u8]) -> Answer {
    let nothing = Answer { status: 0, body: Vec::new() };
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return nothing };
    let digits = bytes.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = digits.and_then(|digits| digits.parse().ok()).expect("a status line");
    if status == 100 {
        return answered(&bytes[at + 4..]);
    }
    Answer { status, body: bytes[at + 4..].to_vec() }
}
