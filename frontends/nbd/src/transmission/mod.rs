//! The transmission phase (spec, "Transmission"): requests in, replies out, in any order.
//!
//! One task owns both halves of the socket and loops: start what can be started, then wait for
//! whatever comes first: room in the socket, a finished request, or bytes. A small request is tried
//! at once, without leaving the task; what cannot answer at once becomes a task of its own with a
//! deadline, so that requests run at the same time and a slow one holds up nobody.
//!
//! ```text
//!   socket -> input -> intake -> try at once ---------------------> output -> socket
//!                                     \-> task with a deadline --/
//! ```
//!
//! What is under way is bounded: by bytes and requests for the connection, by bytes for the process.
//! A request's share is taken before its payload is read and given back when the last byte of its
//! reply has been handed to the kernel. When there is no room nothing is read, so a client that does
//! not take its replies soon fills its own socket and nothing else; if it takes nothing for
//! [`crate::Limits::write_stall_timeout`] it is cut off, and so is one that stops inside a message.
//!
//! After `NBD_CMD_DISC`, or when the client has closed its side, everything outstanding is answered
//! before the socket is closed. When a connection breaks, its requests are dropped; what an export
//! makes of that is said in the contract of [`crate::Export`].

mod intake;
mod perform;
mod session;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::intake::{Admission, Intake};
use self::perform::perform;
use self::session::{Act, Payload, Refused, Session};
use crate::config::Limits;
use crate::metrics::NbdMetrics;
use crate::negotiate::Chosen;
use crate::pool::Pool;
use crate::wire::BadMagic;
use crate::wire::constants::{Errno, command};
use crate::wire::reply::{Answer, Outcome, Scatter};
use crate::wire::request::Request;

/// Room for requests that were sent in one go.
const INPUT_BYTES: usize = 64 << 10;
/// What a request and its reply take beyond their data, roughly.
const REQUEST_BYTES: usize = 128;
/// Requests up to this size are tried at once; larger ones go to another core right away.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;
/// When so much is waiting to be sent, it is sent before more is started.
const OUTPUT_BYTES_HIGH: usize = 1 << 20;
/// Slices handed to the kernel in one call.
const SLICES: usize = 64;
/// Looks at a stalled client so many times before it is cut off.
const STALL_LOOKS: u32 = 4;

/// What a connection shares with its server.
#[derive(Clone)]
pub struct Shared {
    /// The limits.
    pub limits: Limits,
    /// The bytes of the whole process.
    pub budget: Arc<Semaphore>,
    /// Buffers for payloads.
    pub buffers: Arc<Pool>,
    /// The counters.
    pub metrics: Arc<NbdMetrics>,
    /// Becomes true when the server ends.
    pub stop: watch::Receiver<bool>,
}

/// Why a connection was cut off.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// There is no way to find the next request.
    #[error("the client lost its place: {0}")]
    Magic(#[from] BadMagic),
    /// A payload that nobody would send in earnest.
    #[error("the client announced a payload of {0} bytes")]
    Oversize(u64),
    /// The client stopped taking replies or stopped inside a message.
    #[error("the client stalled")]
    Stalled,
    /// A request panicked: a bug of ours, kept inside its connection.
    #[error("a request panicked")]
    Panicked,
}

/// Serves requests until the client or the server ends it.
///
/// # Errors
/// When the connection had to be cut off.
pub async fn serve<R, W>(chosen: Chosen, reader: R, writer: W, shared: Shared) -> Result<(), Cut>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let properties = chosen.export.properties().clone();
    let session = Session {
        export: chosen.export,
        properties,
        flags: chosen.flags,
        form: chosen.form,
        contexts: chosen.contexts,
        extents_max: shared.limits.extents_max,
    };
    let mut looks = tokio::time::interval(shared.limits.write_stall_timeout / STALL_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let connection = Connection {
        session: Arc::new(session),
        reader,
        writer,
        input: BytesMut::new(),
        intake: Intake::Header,
        output: Scatter::default(),
        unflushed: false,
        tasks: JoinSet::new(),
        held: VecDeque::new(),
        received_bytes: 0,
        queued_bytes: 0,
        sent_bytes: 0,
        in_flight_bytes: 0,
        in_flight_requests: 0,
        ended: false,
        stopping: false,
        stall: Stall::default(),
        looks,
        shared,
    };
    connection.run().await
}

struct Connection<R, W> {
    session: Arc<Session>,
    shared: Shared,
    reader: R,
    writer: W,
    input: BytesMut,
    intake: Intake,
    output: Scatter,
    /// A layer below (TLS) may still have bytes that were handed to it.
    unflushed: bool,
    tasks: JoinSet<Finished>,
    /// Shares of answers that wait to be sent, with the place in the stream where each answer ends.
    held: VecDeque<(u64, Share)>,
    received_bytes: u64,
    queued_bytes: u64,
    sent_bytes: u64,
    in_flight_bytes: usize,
    in_flight_requests: usize,
    /// No more requests come: `NBD_CMD_DISC`, or the end of the stream.
    ended: bool,
    stopping: bool,
    stall: Stall,
    looks: Interval,
}

/// What a request holds of the budgets.
struct Share {
    bytes: usize,
    _process: OwnedSemaphorePermit,
}

struct Finished {
    answer: Answer,
    share: Share,
    timed_out: bool,
}

/// What a connection waits for.
enum Event {
    /// So many bytes went out; with none left, the layers below have sent theirs too.
    Sent(usize),
    /// A request that ran by itself has its answer.
    Finished(Box<Finished>),
    /// So many bytes came in; none is the end.
    Received(usize),
    /// There is room in the process for the request at the door.
    Room,
    /// Time to look whether the client moves.
    Look,
    /// The server ends.
    Stop,
}

/// Progress at the last look.
#[derive(Debug, Default)]
struct Stall {
    sent: (u64, u32),
    received: (u64, u32),
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    async fn run(mut self) -> Result<(), Cut> {
        loop {
            self.digest()?;
            while let Some(finished) = self.tasks.try_join_next() {
                self.finish(finished.map_err(|_| Cut::Panicked)?);
            }
            if self.is_finished() {
                // TLS says goodbye here, and the socket's direction is closed.
                let goodbye = self.writer.shutdown();
                let patience = self.shared.limits.write_stall_timeout;
                return tokio::time::timeout(patience, goodbye)
                    .await
                    .map_err(|_| Cut::Stalled)?
                    .map_err(Cut::Io);
            }
            self.wait().await?;
        }
    }

    fn is_finished(&self) -> bool {
        let quiet = self.tasks.is_empty() && self.output.is_empty() && !self.unflushed;
        let nothing_read = self.input.is_empty() && !matches!(self.intake, Intake::Admit(_));
        let between = matches!(self.intake, Intake::Header);
        quiet && nothing_read && (self.ended || self.stopping && between)
    }

    /// Waits for one thing and takes it in.
    async fn wait(&mut self) -> Result<(), Cut> {
        let sends = !self.output.is_empty() || self.unflushed;
        let takes = self.wants_input() || self.intake.waits_for_room();
        let event = tokio::select! {
            biased;
            sent = send(&mut self.writer, &mut self.output), if sends => Event::Sent(sent?),
            Some(finished) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                Event::Finished(Box::new(finished.map_err(|_| Cut::Panicked)?))
            }
            took = take(&mut self.reader, &mut self.input, &mut self.intake), if takes => took?,
            _ = self.looks.tick() => Event::Look,
            _ = self.shared.stop.wait_for(|stop| *stop), if !self.stopping => Event::Stop,
        };
        match event {
            Event::Sent(0) => self.unflushed = false,
            Event::Sent(count) => self.sent(count),
            Event::Finished(finished) => self.finish(*finished),
            Event::Received(0) => self.ended = true,
            Event::Received(count) => self.received_bytes += count as u64,
            Event::Room => {}
            Event::Look => self.look()?,
            Event::Stop => self.stopping = true,
        }
        Ok(())
    }

    fn wants_input(&self) -> bool {
        !self.ended
            && match &self.intake {
                Intake::Header => self.has_room(REQUEST_BYTES) && self.output.len() < OUTPUT_BYTES_HIGH,
                Intake::Payload { .. } | Intake::Discard { .. } => true,
                Intake::Admit(_) => false,
            }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let limits = &self.shared.limits;
        self.in_flight_requests == 0
            || self.in_flight_requests < limits.in_flight_requests_max
                && self.in_flight_bytes + bytes <= limits.in_flight_bytes_max
    }

    /// Takes everything out of the input that can be taken now.
    fn digest(&mut self) -> Result<(), Cut> {
        loop {
            match std::mem::replace(&mut self.intake, Intake::Header) {
                Intake::Header => {
                    if !self.header()? {
                        return Ok(());
                    }
                }
                Intake::Admit(mut admission) => {
                    if !self.has_room(admission.bytes) || !admission.try_enter(&self.shared.budget) {
                        self.intake = Intake::Admit(admission);
                        return Ok(());
                    }
                    self.admitted(admission);
                }
                Intake::Payload { request, mut buffer, filled, len, share } => {
                    let taken = (len - filled).min(self.input.len());
                    buffer[filled..filled + taken].copy_from_slice(&self.input[..taken]);
                    self.input.advance(taken);
                    let filled = filled + taken;
                    if filled < len {
                        self.intake = Intake::Payload { request, buffer, filled, len, share };
                        return Ok(());
                    }
                    let data = self.shared.buffers.lend(buffer, len);
                    self.paid(&request, data, share);
                }
                Intake::Discard { request, left, refused, share } => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
                    self.input.advance(taken);
                    let left = left - taken as u64;
                    if left > 0 {
                        self.intake = Intake::Discard { request, left, refused, share };
                        return Ok(());
                    }
                    self.refuse(&request, refused, share);
                }
            }
        }
    }

    /// Reads the next header; `false` when it is not there yet or there is no room for it.
    fn header(&mut self) -> Result<bool, Cut> {
        let layout = self.session.layout();
        if self.input.len() < layout.header_len() {
            if self.ended {
                self.input.clear();
            }
            return Ok(false);
        }
        if self.output.len() >= OUTPUT_BYTES_HIGH || !self.has_room(REQUEST_BYTES) {
            return Ok(false);
        }
        let request = Request::parse(layout, &self.input)?;
        self.input.advance(layout.header_len());
        if request.command == command::DISC {
            self.ended = true;
            self.input.clear();
            return Ok(false);
        }
        let payload = self.session.payload(&request);
        let data_bytes = match &payload {
            Payload::Cut => return Err(Cut::Oversize(request.length)),
            Payload::Take(len) => *len,
            Payload::Discard(..) => 0,
            Payload::None => reply_bytes(&self.session, &request),
        };
        let bytes = REQUEST_BYTES + data_bytes;
        self.intake = Intake::Admit(Admission { request, payload, bytes, waiting: None, permit: None });
        Ok(true)
    }

    fn admitted(&mut self, admission: Admission) {
        let Admission { request, payload, bytes, permit, .. } = admission;
        let process = permit.expect("an admission that has entered holds its permit");
        let share = Share { bytes, _process: process };
        self.in_flight_bytes += bytes;
        self.in_flight_requests += 1;
        if self.stopping {
            return self.stopped(request, payload, share);
        }
        match payload {
            Payload::None => match self.session.plan(&request) {
                Ok(act) => self.start(&request, act, Bytes::new(), share),
                Err(refused) => self.refuse(&request, refused, share),
            },
            Payload::Take(len) => {
                let buffer = self.shared.buffers.take(len);
                self.intake = Intake::Payload { request, buffer, filled: 0, len, share };
            }
            Payload::Discard(left, refused) => {
                self.intake = Intake::Discard { request, left, refused, share };
            }
            Payload::Cut => unreachable!("cut before it is admitted"),
        }
    }

    /// The server ends: what comes now is not begun (spec, "Terminating the transmission phase").
    fn stopped(&mut self, request: Request, payload: Payload, share: Share) {
        let refused = (Errno::ShuttingDown, "the server is ending");
        let left = match payload {
            Payload::Take(len) => len as u64,
            Payload::Discard(len, _) => len,
            Payload::None | Payload::Cut => 0,
        };
        self.intake = Intake::Discard { request, left, refused, share };
    }

    /// A request's payload is complete.
    fn paid(&mut self, request: &Request, data: Bytes, share: Share) {
        NbdMetrics::add(&self.shared.metrics.bytes_received, data.len() as u64);
        let planned = match request.command {
            command::BLOCK_STATUS => self.session.plan_status(request, &data),
            _ => self.session.plan(request),
        };
        match planned {
            Ok(act) => self.start(request, act, data, share),
            Err(refused) => self.refuse(request, refused, share),
        }
    }

    /// Tries a small request at once, and lets what does not answer run on by itself.
    fn start(&mut self, request: &Request, act: Act, data: Bytes, share: Share) {
        let (cookie, offset) = (request.cookie, request.offset);
        let mut work = Box::pin(perform(Arc::clone(&self.session), act, data));
        if share.bytes <= AT_ONCE_BYTES_MAX + REQUEST_BYTES
            && let Some(outcome) = (&mut work).now_or_never()
        {
            self.finish(Finished { answer: Answer { cookie, offset, outcome }, share, timed_out: false });
            return;
        }
        let timeout = self.shared.limits.request_timeout;
        let deadline = Instant::now() + timeout;
        self.tasks.spawn(async move {
            let outcome = tokio::time::timeout_at(deadline, work).await;
            let timed_out = outcome.is_err();
            let outcome = outcome.unwrap_or_else(|_| late(timeout));
            Finished { answer: Answer { cookie, offset, outcome }, share, timed_out }
        });
    }

    fn refuse(&mut self, request: &Request, (errno, message): Refused, share: Share) {
        let outcome = Outcome::Failed(errno, message.to_owned());
        let answer = Answer { cookie: request.cookie, offset: request.offset, outcome };
        self.finish(Finished { answer, share, timed_out: false });
    }

    fn finish(&mut self, finished: Finished) {
        let metrics = &self.shared.metrics;
        NbdMetrics::add(&metrics.requests, 1);
        NbdMetrics::add(
            &metrics.requests_failed,
            u64::from(matches!(finished.answer.outcome, Outcome::Failed(..))),
        );
        NbdMetrics::add(&metrics.requests_timed_out, u64::from(finished.timed_out));
        let before = self.output.len();
        self.output.answer(self.session.form, finished.answer);
        self.queued_bytes += (self.output.len() - before) as u64;
        self.held.push_back((self.queued_bytes, finished.share));
    }

    fn sent(&mut self, count: usize) {
        self.output.advance(count);
        self.sent_bytes += count as u64;
        self.unflushed = true;
        NbdMetrics::add(&self.shared.metrics.bytes_sent, count as u64);
        while let Some((_, share)) = self.held.pop_front_if(|(end, _)| *end <= self.sent_bytes) {
            self.in_flight_bytes -= share.bytes;
            self.in_flight_requests -= 1;
        }
    }

    /// Cuts a client off that has not moved since several looks.
    fn look(&mut self) -> Result<(), Cut> {
        let sending = !self.output.is_empty() || self.unflushed;
        let inside = (1..self.session.layout().header_len()).contains(&self.input.len())
            || matches!(self.intake, Intake::Payload { .. } | Intake::Discard { .. });
        let moved = |(before, looks): (u64, u32), now: u64, expected: bool| {
            (now, if expected && before == now { looks + 1 } else { 0 })
        };
        self.stall.sent = moved(self.stall.sent, self.sent_bytes, sending);
        self.stall.received = moved(self.stall.received, self.received_bytes, inside && !self.ended);
        let looks = self.stall.sent.1.max(self.stall.received.1);
        if looks >= STALL_LOOKS { Err(Cut::Stalled) } else { Ok(()) }
    }
}

/// The data that a reply will carry.
fn reply_bytes(session: &Session, request: &Request) -> usize {
    match session.plan(request) {
        Ok(Act::Read { range, .. }) => usize::try_from(range.len()).expect("at most one payload"),
        Ok(Act::Status { one: false, contexts, .. }) => {
            // What extents may take; a reply of this size is rare, and small ones are not worth counting.
            (session.extents_max * 16 * contexts.len()).min(AT_ONCE_BYTES_MAX)
        }
        _ => 0,
    }
}

fn late(timeout: Duration) -> Outcome {
    tracing::warn!(?timeout, "a request ran out of time");
    Outcome::Failed(Errno::Io, format!("the device did not answer within {} s", timeout.as_secs_f32()))
}

/// Sends what the socket takes; with nothing left to send, sees to it that the layers below (TLS) have
/// sent what they were given.
async fn send<W: AsyncWrite + Unpin>(writer: &mut W, output: &mut Scatter) -> io::Result<usize> {
    if output.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let count = output.slices(&mut slices);
    match writer.write_vectored(&slices[..count]).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        sent => Ok(sent),
    }
}

/// Waits for room when a request is at the door; else reads, into the payload that is being collected
/// or into the input.
async fn take<R>(reader: &mut R, input: &mut BytesMut, intake: &mut Intake) -> io::Result<Event>
where
    R: AsyncRead + Unpin,
{
    if intake.waits_for_room() {
        intake.room().await;
        return Ok(Event::Room);
    }
    if let Intake::Payload { buffer, filled, len, .. } = intake {
        let count = reader.read(&mut buffer[*filled..*len]).await?;
        *filled += count;
        return Ok(Event::Received(count));
    }
    input.reserve(INPUT_BYTES - input.len().min(INPUT_BYTES - 1));
    Ok(Event::Received(reader.read_buf(input).await?))
}
