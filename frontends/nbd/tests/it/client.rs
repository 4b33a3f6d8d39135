//! A client made of bytes: it sends whatever it is told, right or wrong, and reads what comes back.
//!
//! Its numbers are written down here once more, from the specification and not from the crate under
//! test, so that a slip of the pen there shows here. Whatever is read has to come within
//! [`PATIENCE`]; a server that does not answer fails the check instead of hanging it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

pub const PATIENCE: Duration = Duration::from_secs(10);

/// How the error begins when a server has no such mode.
pub const NOT_OFFERED: &str = "the server does not offer";

pub type Res<T> = Result<T, String>;

pub const IHAVEOPT: u64 = 0x49484156454F5054;
pub const ACK: u32 = 1;
pub const SERVER: u32 = 2;
pub const INFO: u32 = 3;
pub const META: u32 = 4;
pub const ERR: u32 = 1 << 31;
pub const UNSUP: u32 = ERR + 1;
pub const POLICY: u32 = ERR + 2;
pub const INVALID: u32 = ERR + 3;
pub const TLS_REQD: u32 = ERR + 5;
pub const UNKNOWN: u32 = ERR + 6;
pub const SHUTDOWN: u32 = ERR + 7;
pub const TOO_BIG: u32 = ERR + 9;
pub const EXT_HEADER_REQD: u32 = ERR + 10;

pub const EPERM: u32 = 1;
pub const EIO: u32 = 5;
pub const EINVAL: u32 = 22;
pub const ENOSPC: u32 = 28;
pub const EOVERFLOW: u32 = 75;
pub const ENOTSUP: u32 = 95;
pub const ESHUTDOWN: u32 = 108;

pub const READ: u16 = 0;
pub const WRITE: u16 = 1;
pub const DISC: u16 = 2;
pub const FLUSH: u16 = 3;
pub const TRIM: u16 = 4;
pub const CACHE: u16 = 5;
pub const ZEROES: u16 = 6;
pub const STATUS: u16 = 7;

pub const FUA: u16 = 1;
pub const NO_HOLE: u16 = 2;
pub const DF: u16 = 4;
pub const REQ_ONE: u16 = 8;
pub const FAST_ZERO: u16 = 16;
pub const PAYLOAD_LEN: u16 = 32;

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Target {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// The form of replies to negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Simple,
    Structured,
    Extended,
}

pub const MODES: [Mode; 3] = [Mode::Simple, Mode::Structured, Mode::Extended];

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub struct Client {
    pub stream: Box<dyn Stream>,
    pub mode: Mode,
    pub flags: u16,
    pub size: u64,
    /// Offsets of requests under way, by cookie: extended replies have to repeat them.
    asked: HashMap<u64, (u16, u64, u64)>,
    next_cookie: u64,
    /// Answers of which chunks are still to come.
    partial: HashMap<u64, (Reply, Vec<(u64, u64)>)>,
}

/// An option reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptReply {
    pub option: u32,
    pub kind: u32,
    pub data: Vec<u8>,
}

/// A whole answer to a request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub error: u32,
    /// The assembled data of a read.
    pub data: Vec<u8>,
    /// Type and payload of each chunk.
    pub chunks: Vec<(u16, Vec<u8>)>,
}

impl Reply {
    pub fn expect(&self, error: u32, what: &str) -> Res<()> {
        if self.error == error {
            Ok(())
        } else {
            Err(format!("{what}: error {} instead of {error}", self.error))
        }
    }
}

pub fn be(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The data of INFO and GO.
pub fn info_data(name: &str, wants: &[u16]) -> Vec<u8> {
    let mut data =
        be(&[&(name.len() as u32).to_be_bytes(), name.as_bytes(), &(wants.len() as u16).to_be_bytes()]);
    wants.iter().for_each(|want| data.extend(want.to_be_bytes()));
    data
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
pub fn meta_data(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data =
        be(&[&(name.len() as u32).to_be_bytes(), name.as_bytes(), &(queries.len() as u32).to_be_bytes()]);
    for query in queries {
        data.extend((query.len() as u32).to_be_bytes());
        data.extend(query.as_bytes());
    }
    data
}

impl Client {
    pub async fn connect(target: &Target) -> Res<Self> {
        let stream: Box<dyn Stream> = match target {
            Target::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(|e| e.to_string())?),
            Target::Tcp(address) => Box::new(TcpStream::connect(address).await.map_err(|e| e.to_string())?),
        };
        Ok(Self::over(stream))
    }
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            mode: Mode::Simple,
            flags: 0,
            size: 0,
            asked: HashMap::new(),
            next_cookie: 1,
            partial: HashMap::new(),
        }
    }
    /// Connected, greeted, with client flags sent.
    pub async fn greeted(target: &Target, flags: u32) -> Res<Self> {
        let mut client = Self::connect(target).await?;
        let greeting = client.read(18).await?;
        if greeting[..16] != *b"NBDMAGICIHAVEOPT" {
            return Err(format!("the greeting is {greeting:?}"));
        }
        client.write(&flags.to_be_bytes()).await?;
        Ok(client)
    }
    /// In the transmission phase, in this mode, with these contexts.
    pub async fn attached(target: &Target, name: &str, mode: Mode, contexts: &[&str]) -> Res<Self> {
        let mut client = Self::greeted(target, 3).await?;
        client.negotiate(mode).await?;
        if !contexts.is_empty() {
            client.opt(10, &meta_data(name, contexts)).await?;
        }
        client.go(name).await?;
        Ok(client)
    }
    pub async fn negotiate(&mut self, mode: Mode) -> Res<()> {
        self.mode = mode;
        let option = match mode {
            Mode::Simple => return Ok(()),
            Mode::Structured => 8,
            Mode::Extended => 11,
        };
        match self.opt(option, &[]).await?.last() {
            Some(last) if last.kind == ACK => Ok(()),
            other => Err(format!("{NOT_OFFERED} {mode:?}: {other:?}")),
        }
    }
    pub async fn go(&mut self, name: &str) -> Res<()> {
        let replies = self.opt(7, &info_data(name, &[3])).await?;
        if replies.last().map(|reply| reply.kind) != Some(ACK) {
            return Err(format!("GO: {replies:?}"));
        }
        let export = replies.iter().find(|reply| reply.kind == INFO && reply.data[..2] == [0, 0]);
        let export = export.ok_or("GO without NBD_INFO_EXPORT")?;
        self.size = u64::from_be_bytes(export.data[2..10].try_into().unwrap());
        self.flags = u16::from_be_bytes(export.data[10..12].try_into().unwrap());
        Ok(())
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Res<()> {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(PATIENCE, write)
            .await
            .map_err(|_| "the server takes no bytes")?
            .map_err(|e| e.to_string())
    }
    pub async fn read(&mut self, len: usize) -> Res<Vec<u8>> {
        let mut bytes = vec![0; len];
        tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut bytes))
            .await
            .map_err(|_| format!("no {len} bytes within {PATIENCE:?}"))?
            .map_err(|error| format!("reading {len} bytes: {error}"))?;
        Ok(bytes)
    }
    /// The server closes the connection; what it sends before is ignored.
    pub async fn closed(&mut self) -> Res<()> {
        let mut sink = tokio::io::sink();
        tokio::time::timeout(PATIENCE, tokio::io::copy(&mut self.stream, &mut sink))
            .await
            .map(|_| ())
            .map_err(|_| "the server does not close the connection".to_owned())
    }

    pub async fn send_opt(&mut self, option: u32, data: &[u8]) -> Res<()> {
        let len = (data.len() as u32).to_be_bytes();
        self.write(&be(&[&IHAVEOPT.to_be_bytes(), &option.to_be_bytes(), &len, data])).await
    }
    /// Sends an option and reads its replies up to the final one.
    pub async fn opt(&mut self, option: u32, data: &[u8]) -> Res<Vec<OptReply>> {
        self.send_opt(option, data).await?;
        let mut replies = Vec::new();
        loop {
            let reply = self.opt_reply().await?;
            if reply.option != option {
                return Err(format!("the reply names option {} instead of {option}", reply.option));
            }
            let done = reply.kind == ACK || reply.kind & ERR != 0;
            replies.push(reply);
            if done {
                return Ok(replies);
            }
        }
    }
    /// The type of an option's final reply.
    pub async fn opt_end(&mut self, option: u32, data: &[u8]) -> Res<u32> {
        Ok(self.opt(option, data).await?.pop().map_or(0, |reply| reply.kind))
    }
    async fn opt_reply(&mut self) -> Res<OptReply> {
        let head = self.read(20).await?;
        if head[..8] != 0x3e889045565a9_u64.to_be_bytes() {
            return Err(format!("an option reply begins with {head:?}"));
        }
        let word = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
        let data = self.read(word(16) as usize).await?;
        Ok(OptReply { option: word(8), kind: word(12), data })
    }

    /// Sends a request header with any payload; the cookie is returned.
    pub async fn send(
        &mut self,
        command: u16,
        flags: u16,
        offset: u64,
        length: u64,
        payload: &[u8],
    ) -> Res<u64> {
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.asked.insert(cookie, (command, offset, length));
        let bytes = self.request(command, flags, cookie, offset, length);
        self.write(&be(&[&bytes, payload])).await?;
        Ok(cookie)
    }
    pub fn request(&self, command: u16, flags: u16, cookie: u64, offset: u64, length: u64) -> Vec<u8> {
        let extended = self.mode == Mode::Extended;
        let magic: u32 = if extended { 0x21e41c71 } else { 0x25609513 };
        let length = length.to_be_bytes();
        let length = if extended { &length[..] } else { &length[4..] };
        be(&[
            &magic.to_be_bytes(),
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            length,
        ])
    }
    /// Sends a request without payload and reads its answer.
    pub async fn ask(&mut self, command: u16, flags: u16, offset: u64, length: u64) -> Res<Reply> {
        let cookie = self.send(command, flags, offset, length, &[]).await?;
        self.answer(cookie).await
    }
    /// A write, as it is written in this mode.
    pub async fn put(&mut self, flags: u16, offset: u64, data: &[u8]) -> Res<Reply> {
        let cookie = self.send_put(flags, offset, data).await?;
        self.answer(cookie).await
    }
    pub async fn send_put(&mut self, flags: u16, offset: u64, data: &[u8]) -> Res<u64> {
        let payload = if self.mode == Mode::Extended { PAYLOAD_LEN } else { 0 };
        self.send(WRITE, flags | payload, offset, data.len() as u64, data).await
    }
    pub async fn get(&mut self, offset: u64, length: u64) -> Res<Vec<u8>> {
        let reply = self.ask(READ, 0, offset, length).await?;
        reply.expect(0, "READ")?;
        Ok(reply.data)
    }
    /// The answer to this cookie, which has to be the next one.
    pub async fn answer(&mut self, cookie: u64) -> Res<Reply> {
        let (found, reply) = self.next_answer().await?;
        if found == cookie { Ok(reply) } else { Err(format!("cookie {found} instead of {cookie}")) }
    }
    /// The next whole answer, whosever it is.
    pub async fn next_answer(&mut self) -> Res<(u64, Reply)> {
        match self.mode {
            Mode::Simple => self.simple().await,
            Mode::Structured | Mode::Extended => self.chunked().await,
        }
    }

    async fn simple(&mut self) -> Res<(u64, Reply)> {
        let head = self.read(16).await?;
        if head[..4] != 0x67446698_u32.to_be_bytes() {
            return Err(format!("a simple reply begins with {:x?}", &head[..4]));
        }
        let error = u32::from_be_bytes(head[4..8].try_into().unwrap());
        let cookie = u64::from_be_bytes(head[8..].try_into().unwrap());
        let (command, _, length) = self.asked.remove(&cookie).ok_or("an answer to a cookie nobody sent")?;
        let data = if command == READ && error == 0 { self.read(length as usize).await? } else { Vec::new() };
        Ok((cookie, Reply { error: known(error)?, data, chunks: Vec::new() }))
    }

    /// Chunks of other answers may stand between those of one (spec, "Structured reply chunk message").
    async fn chunked(&mut self) -> Res<(u64, Reply)> {
        loop {
            let (flags, kind, cookie, offset, payload) = match self.chunk().await? {
                Message::Chunk(chunk) => chunk,
                Message::Simple(cookie, reply) => return Ok((cookie, reply)),
            };
            let (command, asked_offset, length) =
                *self.asked.get(&cookie).ok_or("a chunk with a cookie nobody sent")?;
            if offset.is_some_and(|offset| offset != asked_offset) {
                return Err(format!("an extended reply repeats offset {offset:?}, not {asked_offset}"));
            }
            let (mut reply, mut covered) = self.partial.remove(&cookie).unwrap_or_default();
            self.content(&mut reply, &mut covered, kind, &payload, (asked_offset, length))?;
            reply.chunks.push((kind, payload));
            if kind == 0 && flags & 1 == 0 {
                return Err("NBD_REPLY_TYPE_NONE without DONE".to_owned());
            }
            if flags & 1 == 0 {
                self.partial.insert(cookie, (reply, covered));
                continue;
            }
            self.asked.remove(&cookie);
            let sum: u64 = covered.iter().map(|(_, len)| len).sum();
            if command == READ && reply.error == 0 && sum != length {
                return Err(format!("a read of {length} bytes is answered with {sum}"));
            }
            return Ok((cookie, reply));
        }
    }

    fn content(
        &self,
        reply: &mut Reply,
        covered: &mut Vec<(u64, u64)>,
        kind: u16,
        payload: &[u8],
        (offset, length): (u64, u64),
    ) -> Res<()> {
        let (at, data) = match kind {
            1 if payload.len() >= 9 => {
                (u64::from_be_bytes(payload[..8].try_into().unwrap()), payload[8..].to_vec())
            }
            2 if payload.len() == 12 => {
                let len = u32::from_be_bytes(payload[8..].try_into().unwrap());
                (u64::from_be_bytes(payload[..8].try_into().unwrap()), vec![0; len as usize])
            }
            0 if payload.is_empty() => return Ok(()),
            5 if self.mode == Mode::Structured && payload.len() >= 12 && payload.len() % 8 == 4 => {
                return Ok(());
            }
            6 if self.mode == Mode::Extended && payload.len() >= 24 && payload.len() % 16 == 8 => {
                return Ok(());
            }
            kind if kind & 0x8000 != 0 && payload.len() >= 6 => {
                reply.error = known(u32::from_be_bytes(payload[..4].try_into().unwrap()))?;
                let message = u16::from_be_bytes(payload[4..6].try_into().unwrap());
                let fits = usize::from(message) <= payload.len() - 6 && message <= 4096 && reply.error != 0;
                return if fits { Ok(()) } else { Err("a malformed error chunk".to_owned()) };
            }
            _ => return Err(format!("a chunk of type {kind} with {} bytes", payload.len())),
        };
        let len = data.len() as u64;
        let inside = len > 0 && at >= offset && at + len <= offset + length;
        if !inside || covered.iter().any(|(start, len_before)| at < start + len_before && *start < at + len) {
            return Err(format!("content {at}+{len} is outside the request or twice there"));
        }
        covered.push((at, len));
        reply.data.resize(length as usize, 0);
        let from = (at - offset) as usize;
        reply.data[from..from + data.len()].copy_from_slice(&data);
        Ok(())
    }

    async fn chunk(&mut self) -> Res<Message> {
        let extended = self.mode == Mode::Extended;
        let mut head = self.read(16).await?;
        if !extended && head[..4] == 0x67446698_u32.to_be_bytes() {
            // Allowed for everything but reads (spec, "Simple reply message").
            let error = known(u32::from_be_bytes(head[4..8].try_into().unwrap()))?;
            let cookie = u64::from_be_bytes(head[8..].try_into().unwrap());
            return match self.asked.remove(&cookie) {
                Some((command, ..)) if command != READ => {
                    Ok(Message::Simple(cookie, Reply { error, ..Reply::default() }))
                }
                other => Err(format!("a simple reply to {other:?}")),
            };
        }
        head.extend(self.read(if extended { 16 } else { 4 }).await?);
        let magic: u32 = if extended { 0x6e8a278c } else { 0x668e33ef };
        if head[..4] != magic.to_be_bytes() {
            return Err(format!("a chunk begins with {:x?}", &head[..4]));
        }
        let half = |at: usize| u16::from_be_bytes(head[at..at + 2].try_into().unwrap());
        let long = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().unwrap());
        let (offset, len) = match extended {
            true => (Some(long(16)), long(24)),
            false => (None, u64::from(u32::from_be_bytes(head[16..].try_into().unwrap()))),
        };
        if len > (1 << 26) {
            return Err(format!("a chunk of {len} bytes"));
        }
        let payload = self.read(len as usize).await?;
        Ok(Message::Chunk((half(4), half(6), long(8), offset, payload)))
    }
}

/// Flags, type, cookie, offset and payload of a chunk.
type Chunk = (u16, u16, u64, Option<u64>, Vec<u8>);

enum Message {
    Chunk(Chunk),
    Simple(u64, Reply),
}

/// Only these errors may stand in a reply (spec, "Error values").
fn known(error: u32) -> Res<u32> {
    let allowed = [0, EPERM, EIO, 12, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN];
    if allowed.contains(&error) { Ok(error) } else { Err(format!("{error} is no error of the protocol")) }
}
