//! One client: half a line, what waits to be written, and how it leaves. All
//! but the waiting, which is each runtime's.

use std::future::pending;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use nabiz::runtime::{Duty, Lease};
use nabiz::{CloseReason, EndReason};
use nabiz_examples::events::{Line, Log};

use crate::output::Output;
use crate::server::Server;

/// A longer line is refused.
const LONGEST_LINE: usize = 64 * 1024;
/// So much is read in one turn: no client, however much it says, keeps the
/// others waiting.
const BUFFER: usize = 16 * 1024;

/// A socket that does not block, or not for long.
pub trait Socket: Read + Write {
    /// Tells the client that no more will come.
    fn finish(&mut self) -> io::Result<()>;
}

impl Socket for &TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

pub struct Client<D> {
    server: Arc<Server<D>>,
    lease: Lease,
    /// None: nothing is said of it.
    log: Option<Log>,
    output: Output,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// How many heartbeats were written.
    beats: u64,
    state: State,
}

enum State {
    Here,
    Leaving(Farewell),
    Gone(Farewell),
}

/// How a client leaves: with what waits for it, and a goodbye.
struct Farewell {
    reason: EndReason,
    silence: Duration,
    error: Option<io::Error>,
    /// The client was told that no more will come.
    has_finished: bool,
    /// The client has said all it will say.
    is_mute: bool,
}

impl<D> Client<D> {
    pub fn new(server: Arc<Server<D>>, log: Option<Log>, peer: SocketAddr) -> Self {
        let client = Self {
            lease: server.registry.register(),
            server,
            log,
            output: Output::default(),
            line: Vec::new(),
            beats: 0,
            state: State::Here,
        };
        client.say(Line::new("open").word("peer", peer));
        client
    }

    fn say(&self, line: Line) {
        if let Some(log) = &self.log {
            log.write(line);
        }
    }

    /// Whether the roster still watches it.
    pub fn is_here(&self) -> bool {
        matches!(self.state, State::Here)
    }

    /// How long one who leaves may take for it.
    pub fn grace(&self) -> Duration {
        self.server.config().close_grace()
    }

    /// How long a thread may wait for it.
    pub fn glance(&self) -> Duration {
        self.lease.timeout()
    }

    /// Whether a turn would read.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Here => !self.output.is_full(), // it is read on when it has read
            State::Leaving(farewell) => !farewell.is_mute,
            State::Gone(_) => false,
        }
    }

    /// Whether a turn would write.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// What the roster asks for next; waits for it.
    pub async fn duty(&self) -> Duty {
        match self.state {
            State::Here => self.lease.next().await,
            _ => pending().await,
        }
    }

    /// Does what the roster asked for, as far as it can without the socket.
    pub fn take(&mut self, duty: Duty) {
        self.server.note_stalls();
        match duty {
            Duty::Heartbeat => self.output.push_heartbeat(self.server.heartbeat()),
            // These lines have no word for when to come back.
            Duty::Close { reason, .. } => {
                self.leave(EndReason::Closed(reason));
                if reason.is_liveness() {
                    self.end(None); // nobody is there to be polite to
                }
            }
        }
    }

    /// Writes and reads once what there is to write and read, the input before
    /// it looks for duties. False: the client is gone.
    pub fn turn(&mut self, mut socket: impl Socket) -> bool {
        let turned = match self.state {
            State::Here => self.serve(&mut socket),
            State::Leaving(_) => self.see_off(&mut socket),
            State::Gone(_) => Ok(()),
        };
        if let Err(error) = turned {
            self.leave(EndReason::Disconnected);
            self.end(Some(error));
        }
        !matches!(self.state, State::Gone(_))
    }

    fn serve(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        self.flush(socket)?;
        if self.wants_input() {
            self.read(socket)?;
        }
        while let Some(duty) = self.lease.poll().filter(|_| self.is_here()) {
            self.take(duty);
        }
        self.flush(socket)
    }

    fn read(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        let mut buffer = [0; BUFFER];
        match read(socket, &mut buffer)? {
            None => {}
            // It may still listen.
            Some(0) => self.leave(EndReason::Disconnected),
            Some(read) => self.take_in(&buffer[..read]),
        }
        Ok(())
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.lease.received();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                self.answer();
            } else if self.line.len() > LONGEST_LINE {
                return self.leave(EndReason::Closed(CloseReason::Rejected));
            }
        }
    }

    /// Answers one line.
    fn answer(&mut self) {
        if self.line.trim_ascii_end() == b"ping" {
            self.lease.heartbeat_received();
            self.output.push(b"pong\n");
        } else {
            self.output.push(&self.line);
        }
        self.line.clear();
    }

    /// Writes what the client takes.
    fn flush(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        while !self.output.is_empty() {
            let was_full = self.output.is_full();
            let next = self.output.next();
            let whole = next.len();
            match socket.write(next) {
                Ok(written) => {
                    self.written(written);
                    if was_full {
                        // It is us who did not read; that it does shows that it lives.
                        self.lease.received();
                    }
                    if written < whole {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_nothing(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn written(&mut self, count: usize) {
        if self.output.written(count) {
            self.lease.heartbeat_sent();
            self.beats += 1;
            self.say(Line::new("beat").number("id", self.beats));
        } else {
            self.lease.sent();
        }
    }

    /// It is watched no longer.
    fn leave(&mut self, reason: EndReason) {
        if let State::Here = self.state {
            self.state = State::Leaving(Farewell {
                reason,
                silence: self.lease.silence(),
                error: None,
                has_finished: false,
                // Then the end of its stream is why it leaves.
                is_mute: reason == EndReason::Disconnected,
            });
        }
    }

    /// Writes what the client takes, says goodbye after the last of it, and
    /// waits for the client's.
    fn see_off(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        self.flush(socket)?;
        let is_written = self.output.is_empty();
        let State::Leaving(farewell) = &mut self.state else {
            return Ok(());
        };
        if is_written && !farewell.is_mute && !farewell.has_finished {
            farewell.has_finished = true;
            socket.finish()?;
        }
        if !farewell.is_mute {
            // What it says is not heard any more.
            farewell.is_mute = read(socket, &mut [0; BUFFER])? == Some(0);
        }
        if farewell.is_mute && is_written {
            self.end(None);
        }
        Ok(())
    }

    fn end(&mut self, error: Option<io::Error>) {
        let state = std::mem::replace(&mut self.state, State::Here);
        self.state = match state {
            State::Leaving(farewell) => State::Gone(Farewell { error, ..farewell }),
            state => state,
        };
    }
}

/// Whatever became of its task.
impl<D> Drop for Client<D> {
    fn drop(&mut self) {
        self.leave(EndReason::Closed(CloseReason::Shutdown));
        if let State::Leaving(farewell) | State::Gone(farewell) = &self.state {
            let line = Line::new("closed").word("reason", farewell.reason);
            let line = line.seconds("silent", farewell.silence);
            self.say(line.error(farewell.error.as_ref()));
        }
    }
}

/// Reads once; none: there is nothing to read.
fn read(socket: &mut impl Socket, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match socket.read(buffer) {
            Ok(read) => return Ok(Some(read)),
            // By a signal, such as the one that continues us.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
