//! One client: its socket, half a line, and what waits to be written.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::net::TcpStream;
use nabiz::{EndReason, Timestamp};
use nabiz_examples::events::{Line, Log};

use crate::output::Output;

/// A longer line is refused.
const LONGEST_LINE: usize = 64 * 1024;
/// Reads in one turn: no client, however much it says, keeps the others waiting.
pub const MOST_READS: u32 = 16;

pub struct Connection {
    pub stream: TcpStream,
    pub output: Output,
    /// When evidence of life came last.
    pub heard: Timestamp,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// How many heartbeats were written.
    beats: u64,
    log: Log,
}

/// What one read came to.
pub enum Input {
    /// There is nothing to read.
    Nothing,
    /// Something came, and in it so many heartbeats.
    Bytes { heartbeats: u32 },
    /// A line without end.
    Refused,
    /// The client has said all it will say; it may still listen.
    End,
}

/// What one flush came to.
#[derive(Default)]
pub struct Flushed {
    /// Something was written, …
    pub any: bool,
    /// … a heartbeat's end with it, …
    pub heartbeat: bool,
    /// … after we had read nothing because the client had not.
    pub made_room: bool,
}

impl Connection {
    pub fn new(stream: TcpStream, now: Timestamp, log: Log) -> Self {
        Self {
            stream,
            output: Output::default(),
            heard: now,
            line: Vec::new(),
            beats: 0,
            log,
        }
    }

    pub fn silence(&self, now: Timestamp) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// It ends here.
    pub fn closed(self, reason: EndReason, silence: Duration, error: Option<&io::Error>) {
        let line = Line::new("closed").word("reason", reason);
        self.log.write(line.seconds("silent", silence).error(error));
    }

    /// Reads once, and answers what it read.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        Ok(match read(&mut self.stream, buffer)? {
            None => Input::Nothing,
            Some(0) => Input::End,
            Some(read) => self.take_in(&buffer[..read]),
        })
    }

    fn take_in(&mut self, bytes: &[u8]) -> Input {
        let mut heartbeats = 0;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                heartbeats += self.answer();
                self.line.clear();
            } else if self.line.len() > LONGEST_LINE {
                return Input::Refused;
            }
        }
        Input::Bytes { heartbeats }
    }

    /// Answers one line, and says how many heartbeats it was.
    fn answer(&mut self) -> u32 {
        if self.line.trim_ascii_end() == b"ping" {
            self.output.push(b"pong\n");
            1
        } else {
            self.output.push(&self.line);
            0
        }
    }

    /// Writes what the client takes.
    pub fn flush(&mut self) -> io::Result<Flushed> {
        let mut flushed = Flushed::default();
        while !self.output.is_empty() {
            let was_full = self.output.is_full();
            match self.stream.write(self.output.next()) {
                Ok(written) => {
                    flushed.any = true;
                    flushed.made_room |= was_full;
                    if self.output.written(written) {
                        flushed.heartbeat = true;
                        self.beats += 1;
                        self.log.write(Line::new("beat").number("id", self.beats));
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    /// Tells the client that no more will come.
    pub fn finish(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Reads once; none: there is nothing to read.
pub fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match stream.read(buffer) {
            Ok(read) => return Ok(Some(read)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
