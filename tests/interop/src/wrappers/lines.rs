//! A client of a protocol of lines that stays connected, on a blocking
//! [`Link`]: `ping` is answered by `pong`, in both directions; every other
//! line is a message.

use std::io;
use std::net::TcpStream;

use nabiz::blocking::{Link, LinkEvent, SendError};
use nabiz::{Config, ConfigError, EndReason, Event};

/// A line longer than this is no line.
const LONGEST: usize = 64 << 10;

/// What happened.
#[derive(Debug)]
pub enum LineEvent {
    /// The link is up. A login sent now goes ahead of heartbeats.
    Up,
    /// A line, without its end.
    Line(String),
    /// The link ended, or could not be made.
    Down(EndReason, Option<io::Error>),
}

/// A client. Call [`next`](Self::next) in a loop.
#[derive(Debug)]
pub struct Lines {
    /// For its status, its handle and its end.
    pub link: Link<TcpStream>,
    /// What came and was not given out yet.
    unread: Vec<u8>,
}

impl Lines {
    /// # Errors
    /// Where the configuration is a server's.
    pub fn new(address: String, config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            link: Link::tcp(address, config, |_, out| out.extend(b"ping\n"))?,
            unread: Vec::new(),
        })
    }

    /// What happened next; waits for it. None: it is over for good.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot send")]
    pub fn next(&mut self) -> Option<LineEvent> {
        let mut buffer = [0; 4096];
        loop {
            while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                match &line[..end] {
                    b"pong" => self.link.report(Event::AnswerReceived { id: None }),
                    b"ping" => {
                        self.link.report(Event::HeartbeatReceived);
                        // Where it is not up any more, nobody waits for it.
                        let _ = self.link.send(b"pong\n");
                    }
                    line => return Some(LineEvent::Line(String::from_utf8_lossy(line).into())),
                }
            }
            if self.unread.len() > LONGEST {
                self.unread.clear();
                self.link.report(Event::Disconnected); // drops it, and comes back
            }
            match self.link.next(&mut buffer)? {
                LinkEvent::Data(bytes) => self.unread.extend(bytes),
                LinkEvent::Up { .. } => {
                    self.unread.clear(); // the rest of a line that was cut off
                    return Some(LineEvent::Up);
                }
                LinkEvent::Down { why, error, .. } => return Some(LineEvent::Down(why, error)),
                _ => {}
            }
        }
    }

    /// Sends a line.
    ///
    /// # Errors
    /// Where the link is not up, or too much waits already.
    pub fn send(&mut self, line: &str) -> Result<(), SendError> {
        self.link.send(format!("{line}\n").as_bytes())
    }
}
