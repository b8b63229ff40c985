//! A line server that notices dead clients.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use nabiz::blocking::{Clock, Pulse, Transport, is_timeout, random_seed};
use nabiz::{Action, Config, EndReason, Event, HeartbeatId, Phase};
use nabiz_examples::args::{SessionArgs, endpoint};
use nabiz_examples::bytes::Bytes;
use nabiz_examples::cli;
use nabiz_examples::events::{Line, Log};

/// A line server that notices dead clients: it echoes lines, and keeps or
/// closes each connection by its heartbeats.
///
/// A line `ping` is a client's heartbeat and gets `pong`; a line `pong` is a
/// client's answer to ours and gets nothing; every other line comes back. The
/// first line on stdout tells the address: `listening 127.0.0.1:4000`. Ctrl-C
/// closes all connections politely, a second one exits at once.
#[derive(Parser)]
#[command(name = "serve", version, after_long_help = EVENTS)]
struct Args {
    /// Where to listen; port 0: any that is free
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0", value_parser = endpoint)]
    listen: String,

    #[command(flatten)]
    session: SessionArgs,

    /// Draw all jitter from this number: the same again with the same number
    /// [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Events as JSON lines
    #[arg(long)]
    json: bool,
}

const EVENTS: &str = r#"Events, one line each on stderr, seconds since the start first:
  1.204 open conn=1 peer=127.0.0.1:50122
  2.346 beat conn=1 id=1           a heartbeat of ours was written
  2.347 answer conn=1 rtt=0.8ms    the client answered it (rtt where it is certain)
  9.101 stall conn=1               we stalled or slept: the client is not blamed for it
  12.348 closed conn=1 reason=PeerSilent silent=3.001
  13.102 closed conn=2 reason=Disconnected silent=0.512 error="Connection reset by peer (os error 104)"
  14.003 accept_failed error="…"
  20.000 bye                       always the last

With --json the same as objects with "t" and "event"; every time is in seconds.

Times are written as 500ms, 5s, 1m 30s, 2h. Exit code: 0 after Ctrl-C, 1 when the address
cannot be listened on, 2 for a usage error, 130 after a second Ctrl-C.

Example: serve --listen 127.0.0.1:4000 --silence-timeout 3s --interval 2s"#;

/// The longest a thread waits for input without a look at the clock, which may
/// have jumped, and at Ctrl-C.
const NAP: Duration = Duration::from_millis(200);
/// How soon to write again what the client does not read.
const RETRY_WRITE: Duration = Duration::from_millis(10);
/// More output than this, and we read no more of the client's until it reads
/// ours.
const MOST_OUTPUT: usize = 1 << 20;
/// A longer line is refused.
const LONGEST_LINE: usize = 64 * 1024;
/// Reads before a look at what is due, so that a client that never pauses
/// cannot keep our heartbeats from being sent.
const MOST_READS: u32 = 64;

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let config = args
        .session
        .server()
        .unwrap_or_else(|error| cli::refused::<Args>(error));
    let (stop, stopped) = mpsc::channel();
    let crowd = Arc::new(Crowd::default());
    let leaving = Arc::clone(&crowd);
    let handler = move || {
        if leaving.stopping.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
        let _ = stop.send(()); // main listens to the end
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        return failed("cannot catch Ctrl-C", error);
    }
    let listener = match TcpListener::bind(&args.listen) {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("cannot listen on {}", args.listen), error),
    };
    match listener.local_addr() {
        Ok(address) => {
            let mut stdout = io::stdout();
            // Serving does not depend on who reads this.
            let _ = writeln!(stdout, "listening {address}").and_then(|()| stdout.flush());
        }
        Err(error) => return failed("cannot tell the address", error),
    }

    let log = Log::new(args.json);
    let room = Arc::clone(&crowd);
    let seed = args.seed.unwrap_or_else(random_seed);
    let Bytes(heartbeat) = args.session.heartbeat;
    thread::spawn(move || accept(&listener, config, seed, &heartbeat.into(), log, &room));

    let _ = stopped.recv(); // the handler never drops its end
    crowd.wait_until_empty();
    log.write(Line::new("bye"));
    ExitCode::SUCCESS
}

fn failed(what: &str, error: impl Display) -> ExitCode {
    eprintln!("serve: {what}: {error}");
    ExitCode::FAILURE
}

fn accept(
    listener: &TcpListener,
    config: Config,
    seed: u64,
    heartbeat: &Arc<[u8]>,
    log: Log,
    crowd: &Arc<Crowd>,
) {
    const PAUSE: Duration = Duration::from_millis(100);
    let mut number = 0;
    for accepted in listener.incoming() {
        if crowd.is_stopping() {
            continue;
        }
        number += 1;
        let seat = crowd.enter();
        let connection = accepted.and_then(|stream| {
            // A heartbeat that waits for company comes late.
            stream.set_nodelay(true)?;
            let peer = stream.peer_addr()?;
            let log = log.of_connection(number);
            log.write(Line::new("open").word("peer", peer));
            Ok(Connection {
                stream,
                // Each its own seed: with one they would all beat together.
                pulse: Pulse::with(config, seed.wrapping_add(number), Clock::default()),
                heartbeat: Arc::clone(heartbeat),
                line: Vec::new(),
                output: Output::default(),
                farewell: Farewell::Not,
                silence: None,
                stalls: 0,
                log,
            })
        });
        let started = connection.and_then(|connection| {
            thread::Builder::new().spawn(move || connection.serve(&seat.crowd.stopping))
        });
        if let Err(error) = started {
            // No files or threads are left: it may get better.
            log.write(Line::new("accept_failed").error(Some(&error)));
            thread::sleep(PAUSE);
        }
    }
}

/// Who is being served, and whether they shall leave.
#[derive(Default)]
struct Crowd {
    stopping: AtomicBool,
    seats: Mutex<usize>,
    left: Condvar,
}

/// One connection in the crowd, until dropped.
struct Seat {
    crowd: Arc<Crowd>,
}

impl Crowd {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn seats(&self) -> MutexGuard<'_, usize> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>) -> Seat {
        *self.seats() += 1;
        Seat {
            crowd: Arc::clone(self),
        }
    }

    fn wait_until_empty(&self) {
        let seats = self.left.wait_while(self.seats(), |seats| *seats > 0);
        drop(seats);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        *self.crowd.seats() -= 1;
        self.crowd.left.notify_all();
    }
}

/// One client: a socket, and a pulse that says what to do with it.
struct Connection {
    stream: TcpStream,
    pulse: Pulse,
    heartbeat: Arc<[u8]>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    output: Output,
    farewell: Farewell,
    /// How long the client had been silent when last judged.
    silence: Option<Duration>,
    stalls: u16,
    log: Log,
}

/// Whether the client was told that no more will come.
#[derive(PartialEq, Eq)]
enum Farewell {
    Not,
    Owed,
    Said,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    End,
}

impl Connection {
    fn serve(mut self, stopping: &AtomicBool) {
        let error = self.run(stopping).err();
        self.pulse.handle(Event::Disconnected);
        self.note_stall();
        let status = self.pulse.status();
        let reason = status.last_end.unwrap_or(EndReason::Disconnected);
        self.log.write(
            Line::new("closed")
                .word("reason", reason)
                .seconds("silent", self.silence)
                .error(error.as_ref()),
        );
    }

    fn note_stall(&mut self) {
        let stalls = self.pulse.status().stalls;
        if stalls != self.stalls {
            self.stalls = stalls;
            self.log.write(Line::new("stall"));
        }
    }

    fn run(&mut self, stopping: &AtomicBool) -> io::Result<()> {
        loop {
            if stopping.load(Ordering::Relaxed) {
                self.note_silence();
                self.pulse.handle(Event::Drain);
            }
            self.flush()?;
            if self.read()? == Then::End {
                return self.write_the_rest();
            }
            if self.act()? == Then::End {
                return Ok(());
            }
        }
    }

    /// Waits for input until something is due, and reads until nothing is
    /// left: what is there may withdraw a verdict.
    fn read(&mut self) -> io::Result<Then> {
        let mut buffer = [0; 16 * 1024];
        let mut wait = self.pulse.timeout().unwrap_or(NAP).min(NAP);
        if !self.output.is_empty() {
            wait = wait.min(RETRY_WRITE);
        }
        if self.output.is_full() {
            thread::sleep(wait);
            return Ok(Then::GoOn);
        }
        for _ in 0..MOST_READS {
            match self.stream.read_within(&mut buffer, wait) {
                Ok(0) => {
                    self.note_silence();
                    return Ok(Then::End);
                }
                Ok(read) => {
                    self.take_in(&buffer[..read]);
                    self.flush()?;
                    if self.output.is_full() {
                        break;
                    }
                }
                Err(error) if !is_timeout(&error) => {
                    self.note_silence();
                    return Err(error);
                }
                // We may have been frozen while we waited: look once more.
                Err(_) if !wait.is_zero() => {}
                Err(_) => break,
            }
            wait = Duration::ZERO;
        }
        Ok(Then::GoOn)
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.pulse.handle(Event::Received);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                self.answer();
                self.line.clear();
            } else if self.line.len() > LONGEST_LINE {
                self.line.clear();
                self.pulse.handle(Event::Rejected);
            }
        }
    }

    /// Answers one line.
    fn answer(&mut self) {
        if self.pulse.session().phase() != Phase::Open {
            return; // we said goodbye
        }
        match self.line.trim_ascii_end() {
            b"ping" => {
                self.pulse.handle(Event::HeartbeatReceived);
                self.output.push(b"pong\n");
            }
            b"pong" => {
                self.pulse.handle(Event::AnswerReceived { id: None });
                // Not every answer gives one: it must be clear what it answers.
                let status = self.pulse.status();
                let rtt = status.rtt.filter(|_| status.rtt_is_new);
                self.log.write(Line::new("answer").round_trip("rtt", rtt));
            }
            _ => self.output.push(&self.line),
        }
    }

    fn act(&mut self) -> io::Result<Then> {
        loop {
            self.note_silence();
            let action = self.pulse.poll();
            self.note_stall();
            match action {
                Some(Action::SendHeartbeat { id }) => {
                    self.output.push_heartbeat(id, &self.heartbeat);
                }
                // Nobody is there to be polite to.
                Some(Action::Close(reason)) if reason.is_liveness() => return Ok(Then::End),
                // What waits is written first.
                Some(Action::Close(_)) => self.farewell = Farewell::Owed,
                Some(Action::Abort) => return Ok(Then::End),
                // Only clients do these.
                Some(Action::Connect { .. } | Action::Reconnect { .. } | Action::GiveUp(_)) => {}
                None => return self.flush().map(|()| Then::GoOn),
            }
        }
    }

    /// Writes what the client takes, and tells the pulse.
    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let was_full = self.output.is_full();
            match self.stream.write_now(self.output.next()) {
                Ok(written) => match self.output.written(written) {
                    Some(id) => {
                        self.pulse.handle(Event::HeartbeatSent);
                        self.log.write(Line::new("beat").number("id", id.get()));
                    }
                    None => self.pulse.handle(Event::Sent),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => {
                    self.note_silence();
                    return Err(error);
                }
            }
            if was_full {
                // It is us who do not read; that it does shows that it lives.
                self.pulse.handle(Event::Received);
            }
        }
        if self.farewell == Farewell::Owed {
            self.farewell = Farewell::Said;
            self.stream.finish()?;
        }
        Ok(())
    }

    /// The client has said all it will say; it may still listen.
    fn write_the_rest(&mut self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            self.flush()?;
            let grace = self.pulse.session().config().close_grace();
            if self.output.is_empty() || start.elapsed() > grace {
                return Ok(());
            }
            thread::sleep(RETRY_WRITE);
        }
    }

    fn note_silence(&mut self) {
        self.silence = self.pulse.status().silence.or(self.silence);
    }
}

/// What waits to be written: whole lines, so that a heartbeat at the end is
/// never inside one.
#[derive(Default)]
struct Output {
    bytes: VecDeque<u8>,
    /// The heartbeat that waits, of which there is never more than one, and
    /// how many bytes there are up to its end.
    heartbeat: Option<(HeartbeatId, usize)>,
}

impl Output {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes.len() > MOST_OUTPUT
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    fn push_heartbeat(&mut self, id: HeartbeatId, bytes: &[u8]) {
        self.push(bytes);
        self.heartbeat = Some((id, self.bytes.len()));
    }

    /// Some of it, to be written next.
    fn next(&self) -> &[u8] {
        self.bytes.as_slices().0
    }

    /// So much of it was written; with it the end of this heartbeat, if any.
    fn written(&mut self, count: usize) -> Option<HeartbeatId> {
        self.bytes.drain(..count);
        let (id, end) = self.heartbeat.take()?;
        if end <= count {
            return Some(id);
        }
        self.heartbeat = Some((id, end - count));
        None
    }
}
