//! The streams that a link dials, and the account of what went over each.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nabiz::HeartbeatId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::tape::Tape;

/// What the stream, the caller and the link's closures have in common.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Mutex<Account>>);

#[derive(Debug)]
pub struct Account {
    pub tape: Tape,
    /// Streams that were dialled, in order; the last is in use, if any is.
    pub conns: Vec<Conn>,
    pub dials: u32,
    /// Dials that did not end yet.
    pub dialling: u32,
    /// No dial may begin any more, nor a stream.
    pub is_final: bool,
    /// When the last dial began, and when the last stream, or dial, ended.
    pub dialled: Option<Instant>,
    pub ended: Option<Instant>,
    /// Errors that were given out since the last `Down`.
    pub errors: Vec<ErrorKind>,
    /// Heartbeats that were flushed whole.
    pub flushed: Vec<HeartbeatId>,
    /// Calls of streams since the task was polled.
    pub calls: usize,
    /// What was read and not told yet.
    pub given: VecDeque<u8>,
    beat_length: usize,
}

/// One message, or one heartbeat.
#[derive(Clone, Debug)]
struct Unit {
    bytes: Vec<u8>,
    /// Heartbeats wait for it.
    is_first: bool,
    beat: Option<HeartbeatId>,
}

/// What went over one stream.
#[derive(Debug, Default)]
pub struct Conn {
    /// What the caller sent and the link has yet to write, and its heartbeats.
    messages: VecDeque<Unit>,
    beats: VecDeque<Unit>,
    /// What is written in part, and how much.
    partial: Option<(Unit, usize)>,
    /// Written and not flushed.
    unflushed: bool,
    landing: Vec<HeartbeatId>,
    /// The peer was told that no more comes.
    finishing: bool,
    read_ended: bool,
    write_ended: bool,
    pub is_dropped: bool,
    /// Bytes read so far.
    read: usize,
}

impl Hub {
    pub fn new(tape: Tape, beat_length: usize) -> Self {
        Self(Arc::new(Mutex::new(Account {
            tape,
            conns: Vec::new(),
            dials: 0,
            dialling: 0,
            is_final: false,
            dialled: None,
            ended: None,
            errors: Vec::new(),
            flushed: Vec::new(),
            calls: 0,
            given: VecDeque::new(),
            beat_length,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a heartbeat: bytes that no message has, which tell whose they are.
    pub fn beat(&self, id: HeartbeatId, out: &mut Vec<u8>) {
        let mut account = self.lock();
        let length = account.beat_length;
        let number = id.get() as u8;
        out.extend(
            (0..length).map(|place| 0x80 | number.wrapping_mul(5).wrapping_add(place as u8)),
        );
        let conn = account
            .conns
            .last_mut()
            .expect("a heartbeat without a link");
        assert!(!conn.finishing, "a heartbeat after the end");
        conn.beats.push_back(Unit {
            bytes: out.clone(),
            is_first: false,
            beat: Some(id),
        });
        if length == 0 {
            // Nothing is to be seen of it.
            conn.beats.pop_back();
            account.flushed.push(id);
        }
    }

    /// A dial: what becomes of it is known when it is begun.
    pub fn dial(&self) -> Dial {
        let mut account = self.lock();
        assert!(!account.is_final, "a dial after the end");
        assert_eq!(account.dialling, 0, "two dials at once");
        assert!(
            account.conns.last().is_none_or(|conn| conn.is_dropped),
            "a dial while a stream is held"
        );
        account.dials += 1;
        account.dialling += 1;
        account.dialled = Some(Instant::now());
        let what = account.tape.byte();
        let wait = match what % 4 {
            1 => Some(account.tape.span()),
            _ => None,
        };
        let outcome = match what {
            0..=31 => Some(Err(ErrorKind::ConnectionRefused)),
            32..=39 => Some(Err(ErrorKind::TimedOut)),
            40..=47 => None,
            _ => Some(Ok(())),
        };
        Dial {
            hub: self.clone(),
            wait: wait.map(|wait| Box::pin(sleep(wait))),
            outcome,
        }
    }
}

/// A dial under way.
pub struct Dial {
    hub: Hub,
    wait: Option<Pin<Box<Sleep>>>,
    /// None: never ready.
    outcome: Option<Result<(), ErrorKind>>,
}

impl Future for Dial {
    type Output = io::Result<Stream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
        }
        let Some(outcome) = self.outcome.take() else {
            return Poll::Pending;
        };
        let mut account = self.hub.lock();
        match outcome {
            Ok(()) => {
                account.conns.push(Conn::default());
                account.given.clear();
                Poll::Ready(Ok(Stream {
                    hub: self.hub.clone(),
                    number: account.conns.len() - 1,
                    waits: [None, None, None],
                }))
            }
            Err(kind) => {
                account.errors.push(kind);
                Poll::Ready(Err(kind.into()))
            }
        }
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        let mut account = self.hub.lock();
        account.dialling -= 1;
        account.ended = Some(Instant::now());
    }
}

/// One stream. Reading, writing and flushing may each have to wait.
#[derive(Debug)]
pub struct Stream {
    hub: Hub,
    number: usize,
    waits: [Option<Pin<Box<Sleep>>>; 3],
}

const READ: usize = 0;
const WRITE: usize = 1;
const FINISH: usize = 2;

/// What becomes of a call.
enum Fate {
    Goes(u8),
    Waits(Duration),
    /// For ever, and nobody is woken.
    Hangs,
    Fails(ErrorKind),
}

impl Account {
    fn fate(&mut self, fallback: Fate) -> Fate {
        self.calls += 1;
        assert!(
            self.calls < 2_000 + 4 * self.tape.read(),
            "one poll calls the stream without end"
        );
        if self.tape.is_used_up() {
            return fallback;
        }
        let what = self.tape.byte();
        match what {
            0..=31 => Fate::Waits(self.tape.span()),
            32..=39 => Fate::Hangs,
            40..=55 => Fate::Fails(ErrorKind::Interrupted),
            56..=61 => Fate::Fails(match what % 3 {
                0 => ErrorKind::ConnectionReset,
                1 => ErrorKind::BrokenPipe,
                _ => ErrorKind::TimedOut,
            }),
            _ => Fate::Goes(what - 62),
        }
    }

    pub fn conn(&mut self) -> Option<&mut Conn> {
        self.conns.last_mut()
    }
}

impl Stream {
    /// Whether a call has to wait, or how it goes.
    fn fate(&mut self, which: usize, cx: &mut Context<'_>, fallback: Fate) -> Poll<io::Result<u8>> {
        if let Some(wait) = &mut self.waits[which] {
            ready!(wait.as_mut().poll(cx));
            self.waits[which] = None;
        }
        let mut account = self.hub.lock();
        match account.fate(fallback) {
            Fate::Goes(how) => Poll::Ready(Ok(how)),
            Fate::Fails(kind) => {
                if kind != ErrorKind::Interrupted {
                    account.errors.push(kind);
                }
                Poll::Ready(Err(kind.into()))
            }
            Fate::Hangs => Poll::Pending,
            Fate::Waits(wait) => {
                drop(account);
                let mut timer = Box::pin(sleep(wait));
                let polled = timer.as_mut().poll(cx);
                self.waits[which] = Some(timer);
                if polled.is_ready() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

fn is_end<C>(fate: &Poll<io::Result<C>>) -> bool {
    matches!(fate, Poll::Ready(Err(error)) if error.kind() != ErrorKind::Interrupted)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let number = self.number;
        assert!(buffer.remaining() > 0, "a read into nothing");
        assert!(
            !self.hub.lock().conns[number].read_ended,
            "a read after the end"
        );
        let fate = self.fate(READ, cx, Fate::Hangs);
        let mut account = self.hub.lock();
        account.conns[number].read_ended = is_end(&fate);
        let how = usize::from(ready!(fate)?);
        if how < 8 {
            account.conns[number].read_ended = true;
            return Poll::Ready(Ok(()));
        }
        let most = buffer.remaining();
        let count = 1 + (how - 8) % most;
        let from = account.conns[number].read;
        for place in from..from + count {
            let byte = (place * 31 + number * 7) as u8;
            buffer.put_slice(&[byte]);
            account.given.push_back(byte);
        }
        account.conns[number].read += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let number = self.number;
        {
            let account = self.hub.lock();
            let conn = &account.conns[number];
            assert!(!bytes.is_empty(), "a write of nothing");
            assert!(!conn.write_ended, "a write after the end");
            assert!(!conn.finishing, "a write after the last one");
            assert!(!conn.unflushed, "a write before the last was flushed");
        }
        let fate = self.fate(WRITE, cx, Fate::Goes(255 - 62));
        let mut account = self.hub.lock();
        account.conns[number].write_ended = is_end(&fate);
        let taken = match ready!(fate)? {
            how @ 0..=149 => usize::from(how).min(bytes.len()),
            _ => bytes.len(),
        };
        if taken == 0 {
            account.conns[number].write_ended = true;
            account.errors.push(ErrorKind::WriteZero);
            return Poll::Ready(Ok(0));
        }
        account.conns[number].take(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let number = self.number;
        assert!(
            !self.hub.lock().conns[number].write_ended,
            "a flush after the end"
        );
        let fate = self.fate(WRITE, cx, Fate::Goes(0));
        let mut account = self.hub.lock();
        account.conns[number].write_ended = is_end(&fate);
        ready!(fate)?;
        account.conns[number].unflushed = false;
        let landed = core::mem::take(&mut account.conns[number].landing);
        account.flushed.extend(landed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let number = self.number;
        {
            let mut account = self.hub.lock();
            let conn = &mut account.conns[number];
            if !conn.write_ended {
                assert!(conn.partial.is_none(), "ended inside a message");
                assert!(
                    conn.messages.is_empty(),
                    "ended before what was sent was written"
                );
                assert!(!conn.unflushed, "ended before what was written was flushed");
            }
            conn.finishing = true;
        }
        self.fate(FINISH, cx, Fate::Goes(0)).map_ok(|_| ())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut account = self.hub.lock();
        account.conns[self.number].is_dropped = true;
        account.ended = Some(Instant::now());
    }
}

impl Conn {
    /// The caller sent a message.
    pub fn sent(&mut self, bytes: &[u8], is_first: bool) {
        if bytes.is_empty() {
            return;
        }
        self.messages.push_back(Unit {
            bytes: bytes.to_vec(),
            is_first,
            beat: None,
        });
    }

    /// Bytes were written: they go on with what was begun, or begin the next
    /// heartbeat or message.
    fn take(&mut self, bytes: &[u8]) {
        self.unflushed = true;
        for byte in bytes {
            let (unit, at) = match self.partial.take() {
                Some(partial) => partial,
                None if *byte & 0x80 != 0 => {
                    let is_first = self.messages.front().is_some_and(|first| first.is_first);
                    assert!(!is_first, "a heartbeat ahead of what was said first");
                    (self.beats.pop_front().expect("a heartbeat of nobody's"), 0)
                }
                None => (self.messages.pop_front().expect("a message of nobody's"), 0),
            };
            assert_eq!(Some(byte), unit.bytes.get(at), "at {at} of {unit:?}");
            if at + 1 < unit.bytes.len() {
                self.partial = Some((unit, at + 1));
            } else if let Some(id) = unit.beat {
                self.landing.push(id);
            }
        }
    }
}
