//! The event loop: one thread, one poller, one roster.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use nabiz::blocking::Clock;
use nabiz::{CloseReason, EndReason, Evidence, Key, Reap, Reaper, Timestamp};
use nabiz_examples::events::{Line, Log};

use crate::connection::{Connection, Input, MOST_READS};
use crate::leaving::{Leaving, Step};

/// The longest sleep without a look at the clock, which may have jumped
/// (timers stand still while the machine sleeps), and at Ctrl-C.
const NAP: Duration = Duration::from_millis(200);
/// How long no more are accepted when files have run out: it may get better.
const PAUSE: Duration = Duration::from_millis(100);
/// How many clients may wait to be accepted. Where std's 128 are too few, as
/// when they all come back at once, some wait a second more each.
const QUEUE: i32 = 4096;
/// How many sockets are told of at once.
const EVENTS: usize = 1024;
/// No key gives this number.
const LISTENER: Token = Token(0);

pub struct Server {
    poll: Poll,
    /// None when we want no more clients.
    listener: Option<TcpListener>,
    /// From when on there may be clients to accept.
    accept_at: Option<Timestamp>,
    /// Who is connected, and who is no longer.
    roster: Reaper<Connection>,
    /// Those who are in the roster no longer, but not yet gone.
    leaving: HashMap<Key, Leaving>,
    /// Those whose sockets may have something for us, or room.
    ready: Vec<Key>,
    /// The instant of all that happens in one turn.
    now: Timestamp,
    clock: Clock,
    heartbeat: Vec<u8>,
    accepted: u64,
    stalls: u64,
    buffer: Vec<u8>,
    log: Log,
}

impl Server {
    pub fn new(
        listener: std::net::TcpListener,
        roster: Reaper<Connection>,
        heartbeat: Vec<u8>,
        log: Log,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, QUEUE)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let clock = Clock::default();
        Ok(Self {
            poll,
            listener: Some(listener),
            accept_at: None,
            roster,
            leaving: HashMap::new(),
            ready: Vec::new(),
            now: clock.now(),
            clock,
            heartbeat,
            accepted: 0,
            stalls: 0,
            buffer: vec![0; 16 * 1024],
            log,
        })
    }

    /// Serves until asked to stop, and all have left.
    pub fn run(&mut self, stopping: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.wait(&mut events, self.pause())?;
            // We may have been frozen just before this. What came until `now`
            // is read before a verdict is taken that holds for `now`.
            self.now = self.clock.now();
            if self.roster.deadline().is_some_and(|due| due <= self.now) {
                self.wait(&mut events, Duration::ZERO)?;
            }
            if stopping.load(Ordering::Relaxed) && self.listener.take().is_some() {
                self.accept_at = None;
                self.roster.drain(Duration::ZERO, self.now);
            }
            self.accept();
            self.serve();
            self.reap();
            self.end_farewells();
            if self.listener.is_none() && self.roster.is_empty() && self.leaving.is_empty() {
                return Ok(());
            }
        }
    }

    /// How long there is nothing to do unless a socket has something for us.
    fn pause(&self) -> Duration {
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let farewell = self.leaving.values().map(|leaving| leaving.until).min();
        [self.roster.deadline(), self.accept_at, farewell]
            .into_iter()
            .flatten()
            .map(|due| due.saturating_duration_since(now))
            .fold(NAP, Duration::min)
    }

    /// Waits for the sockets, and notes all that have something for us. The
    /// poller counts in milliseconds and rounds up: it does not wake in vain
    /// just before something is due.
    fn wait(&mut self, events: &mut Events, mut pause: Duration) -> io::Result<()> {
        loop {
            let polled = self.poll.poll(events, Some(pause));
            pause = Duration::ZERO;
            match polled {
                // By a signal, such as the one that continues us.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let mut count = 0;
            for event in events.iter() {
                count += 1;
                match event.token() {
                    LISTENER => {
                        self.accept_at.get_or_insert(self.now);
                    }
                    Token(bits) => self.ready.extend(Key::from_bits(bits as u64)),
                }
            }
            if count < EVENTS {
                return Ok(());
            }
        }
    }

    /// Accepts whoever came.
    fn accept(&mut self) {
        while let Some(listener) = &self.listener {
            if self.accept_at.is_none_or(|at| at > self.now) {
                return;
            }
            let came = match listener.accept() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_at = None;
                    return;
                }
                Ok((stream, peer)) => self.welcome(stream, peer),
                Err(error) => Err(error),
            };
            if let Err(error) = came {
                self.log
                    .write(Line::new("accept_failed").error(Some(&error)));
                self.accept_at = self.now.checked_add(PAUSE);
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        // A heartbeat that waits for company comes late.
        stream.set_nodelay(true)?;
        self.accepted += 1;
        let log = self.log.of_connection(self.accepted);
        let key = self
            .roster
            .insert(Connection::new(stream, self.now, log), self.now);
        let registered = self.register(key);
        if registered.is_ok() {
            log.write(Line::new("open").word("peer", peer));
        } else {
            self.roster.remove(key);
        }
        registered
    }

    /// The poller tells of a connection by its key: of one that is gone it may
    /// still have something to say, which then reaches nobody else.
    fn register(&mut self, key: Key) -> io::Result<()> {
        // Only with 32 bits to an address there are keys that are no tokens.
        let token = usize::try_from(key.into_bits()).map_err(io::Error::other)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.roster.get_mut(key) {
            Some(connection) => {
                self.poll
                    .registry()
                    .register(&mut connection.stream, Token(token), interest)
            }
            None => Ok(()),
        }
    }

    /// Looks after all whose sockets are ready, so much for each that none
    /// waits for another.
    fn serve(&mut self) {
        let mut ready = mem::take(&mut self.ready);
        ready.sort_unstable();
        ready.dedup();
        for key in ready {
            if self.roster.contains(key) {
                self.flush(key);
                self.read(key);
            } else {
                self.go_on(key); // unless it is gone altogether
            }
        }
    }

    /// Reads until nothing is left; or so much that the client has shown well
    /// enough that it lives, and is read on in the next turn.
    fn read(&mut self, key: Key) {
        for _ in 0..MOST_READS {
            let Some(connection) = self.roster.get_mut(key) else {
                return;
            };
            if connection.output.is_full() {
                return; // it is read on when it has read
            }
            match connection.read(&mut self.buffer) {
                Ok(Input::Bytes { heartbeats }) => {
                    self.hear(key, heartbeats);
                    self.flush(key);
                }
                Ok(Input::Nothing) => return,
                Ok(Input::Refused) => {
                    return self.part(key, EndReason::Closed(CloseReason::Rejected));
                }
                Ok(Input::End) => return self.part(key, EndReason::Disconnected),
                Err(error) => return self.lose(key, &error),
            }
        }
        self.ready.push(key);
    }

    /// Tells the roster of bytes, and of the heartbeats in them.
    fn hear(&mut self, key: Key, heartbeats: u32) {
        self.roster.received(key, self.now);
        for _ in 0..heartbeats {
            self.roster.heartbeat_received(key, self.now);
        }
        let any_bytes = self.roster.config().evidence() == Evidence::AnyBytes;
        if let Some(connection) = self.roster.get_mut(key) {
            if any_bytes || heartbeats > 0 {
                connection.heard = self.now;
            }
        }
    }

    /// Writes what the client takes, and tells the roster.
    fn flush(&mut self, key: Key) {
        let Some(connection) = self.roster.get_mut(key) else {
            return;
        };
        match connection.flush() {
            Ok(flushed) => {
                if flushed.heartbeat {
                    self.roster.heartbeat_sent(key, self.now);
                } else if flushed.any {
                    self.roster.sent(key, self.now);
                }
                if flushed.made_room {
                    // It is us who did not read; that it does shows that it lives.
                    self.hear(key, 0);
                }
            }
            Err(error) => self.lose(key, &error),
        }
    }

    /// Does what the roster asks for.
    fn reap(&mut self) {
        loop {
            match self.roster.poll(self.now) {
                Some(Reap::Heartbeat { key, value }) => {
                    value.output.push_heartbeat(&self.heartbeat);
                    self.note_stall();
                    self.flush(key);
                }
                Some(Reap::Close {
                    key, value, reason, ..
                }) => {
                    self.note_stall();
                    self.close(key, value, reason);
                }
                // It is the sockets' turn.
                Some(Reap::Yield) | None => break,
            }
        }
        self.note_stall();
    }

    fn note_stall(&mut self) {
        let stalls = self.roster.counters().stalls;
        if stalls != self.stalls {
            self.stalls = stalls;
            self.log.write(Line::new("stall"));
        }
    }

    /// The verdict was taken.
    fn close(&mut self, key: Key, connection: Connection, reason: CloseReason) {
        if reason.is_liveness() {
            // Nobody is there to be polite to.
            let silence = connection.silence(self.now);
            connection.closed(EndReason::Closed(reason), silence, None);
        } else {
            self.see_off(key, connection, EndReason::Closed(reason));
        }
    }

    /// A connection ends, but what waits for it shall still be written.
    fn part(&mut self, key: Key, reason: EndReason) {
        if let Some(connection) = self.roster.remove(key) {
            self.see_off(key, connection, reason);
        }
    }

    fn see_off(&mut self, key: Key, connection: Connection, reason: EndReason) {
        let grace = self.roster.config().close_grace();
        let until = self.now.checked_add(grace).unwrap_or(Timestamp::MAX);
        let leaving = Leaving::new(connection, reason, self.now, until);
        self.leaving.insert(key, leaving);
        self.go_on(key);
    }

    /// Goes on with the farewell of someone who leaves.
    fn go_on(&mut self, key: Key) {
        let Some(leaving) = self.leaving.get_mut(&key) else {
            return;
        };
        let step = leaving.go_on(&mut self.buffer);
        match step {
            Ok(Step::Wait) => {}
            Ok(Step::More) => self.ready.push(key),
            Ok(Step::Gone) => self.forget(key, None),
            Err(error) => self.forget(key, Some(&error)),
        }
    }

    fn forget(&mut self, key: Key, error: Option<&io::Error>) {
        if let Some(leaving) = self.leaving.remove(&key) {
            leaving.close(error);
        }
    }

    /// A connection broke.
    fn lose(&mut self, key: Key, error: &io::Error) {
        if let Some(connection) = self.roster.remove(key) {
            let silence = connection.silence(self.now);
            connection.closed(EndReason::Disconnected, silence, Some(error));
        }
    }

    /// Drops whoever took too long to leave.
    fn end_farewells(&mut self) {
        let all = self.leaving.iter();
        let late = all.filter(|(_, leaving)| leaving.until <= self.now);
        let late: Vec<Key> = late.map(|(key, _)| *key).collect();
        for key in late {
            self.forget(key, None);
        }
    }
}
