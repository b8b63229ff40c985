//! A Redis client that stays connected, on a blocking [`Link`].
//!
//! Redis closes a client that was idle for its `timeout`. The heartbeat is a
//! `PING` with a word, which comes back: so its answer is told from the
//! replies to commands.

use std::io;
use std::net::TcpStream;

use nabiz::blocking::{Link, LinkEvent, SendError};
use nabiz::{Config, ConfigError, EndReason, Event};

const PING: &[u8] = b"*2\r\n$4\r\nPING\r\n$9\r\nheartbeat\r\n";
const PONG: &[u8] = b"$9\r\nheartbeat\r\n";

/// What happened.
#[derive(Debug)]
pub enum RedisEvent {
    /// The link is up; replies owed on the one before will never come.
    Up,
    /// A whole reply, as it came. They keep the order of the commands.
    Reply(Vec<u8>),
    /// The link ended, or could not be made.
    Down(EndReason, Option<io::Error>),
}

/// A Redis client. Call [`next`](Self::next) in a loop.
#[derive(Debug)]
pub struct Redis {
    /// For its status, its handle and its end.
    pub link: Link<TcpStream>,
    /// What came and was not given out yet.
    unread: Vec<u8>,
}

impl Redis {
    /// # Errors
    /// Where the configuration is a server's.
    pub fn new(address: String, config: Config) -> Result<Self, ConfigError> {
        Ok(Self {
            link: Link::tcp(address, config, |_, out| out.extend(PING))?,
            unread: Vec::new(),
        })
    }

    /// What happened next; waits for it. None: it is over for good.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot send")]
    pub fn next(&mut self) -> Option<RedisEvent> {
        let mut buffer = [0; 4096];
        loop {
            match first_reply(&self.unread) {
                Ok(None) => {}
                Ok(Some(len)) => {
                    let reply: Vec<u8> = self.unread.drain(..len).collect();
                    if reply != PONG {
                        return Some(RedisEvent::Reply(reply));
                    }
                    self.link.report(Event::AnswerReceived { id: None });
                    continue;
                }
                Err(NotRedis) => {
                    self.unread.clear();
                    self.link.report(Event::Disconnected); // drops it, and comes back
                }
            }
            match self.link.next(&mut buffer)? {
                LinkEvent::Data(bytes) => self.unread.extend(bytes),
                LinkEvent::Up { .. } => {
                    self.unread.clear();
                    return Some(RedisEvent::Up);
                }
                LinkEvent::Down { why, error, .. } => return Some(RedisEvent::Down(why, error)),
                _ => {}
            }
        }
    }

    /// Sends a command. A login right after `Up` goes ahead of heartbeats.
    ///
    /// # Errors
    /// Where the link is not up, or too much waits already.
    pub fn send(&mut self, words: &[&str]) -> Result<(), SendError> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.link.send(command.as_bytes())
    }
}

struct NotRedis;

/// How long the first reply is, once all of it is there.
fn first_reply(bytes: &[u8]) -> Result<Option<usize>, NotRedis> {
    let (mut len, mut owed) = (0, 1);
    while owed > 0 {
        let rest = bytes.get(len..).unwrap_or_default();
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        len += line + 2;
        owed -= 1;
        // Negative is nil: nothing follows.
        let count = || str::from_utf8(&rest[1..line]).ok()?.parse::<i32>().ok();
        match rest[0] {
            b'+' | b'-' | b':' => {}
            b'$' => len += usize::try_from(count().ok_or(NotRedis)?).map_or(0, |n| n + 2),
            b'*' => owed += usize::try_from(count().ok_or(NotRedis)?).unwrap_or(0),
            _ => return Err(NotRedis),
        }
    }
    Ok(Some(len).filter(|len| *len <= bytes.len()))
}
