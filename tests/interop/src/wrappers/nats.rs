//! A NATS client that stays connected, on tokio's [`Link`].
//!
//! Both ends send `PING` and answer with `PONG`. Where nothing answers, the
//! server says `-ERR 'Stale Connection'` and closes.

use std::io;

use nabiz::tokio::{Link, LinkEvent, SendError};
use nabiz::{Config, ConfigError, EndReason, Event};
use tokio::net::TcpStream;

const LONGEST: usize = 2 << 20; // messages, in bytes

/// What happened.
#[derive(Debug)]
pub enum NatsEvent {
    /// The link is up and subscribed.
    Up,
    /// A message on our subject.
    Message(Vec<u8>),
    /// What the server complains of; it often closes then.
    Complaint(String),
    /// The link ended, or could not be made.
    Down(EndReason, Option<io::Error>),
}

/// A NATS client. Call [`next`](Self::next) in a loop; it is cancel-safe.
#[derive(Debug)]
pub struct Nats {
    /// For its status, its handle and its end.
    pub link: Link<TcpStream>,
    /// What is said first on each link.
    greeting: String,
    /// What came and was not given out yet.
    unread: Vec<u8>,
}

impl Nats {
    /// # Errors
    /// Where the configuration is a server's.
    pub fn new(address: String, subject: &str, config: Config) -> Result<Self, ConfigError> {
        let connect = move || dial(address.clone());
        Ok(Self {
            link: Link::new(config, |_, out| out.extend(b"PING\r\n"), connect)?,
            greeting: format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\n"),
            unread: Vec::new(),
        })
    }

    /// What happened next. None: it is over for good.
    pub async fn next(&mut self) -> Option<NatsEvent> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(event) = self.take_in() {
                return Some(event);
            }
            match self.link.next(&mut buffer).await? {
                LinkEvent::Data(_) if self.unread.len() > LONGEST => {
                    self.unread.clear();
                    self.link.report(Event::Disconnected); // and comes back
                }
                LinkEvent::Data(bytes) => self.unread.extend(bytes),
                LinkEvent::Up { .. } => {
                    self.unread.clear(); // a frame that was cut off
                    let _ = self.link.send(self.greeting.as_bytes()); // ahead of heartbeats
                    return Some(NatsEvent::Up);
                }
                LinkEvent::Down { why, error, .. } => return Some(NatsEvent::Down(why, error)),
                _ => {}
            }
        }
    }

    /// # Errors
    /// Where the link is not up, or too much waits already.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) -> Result<(), SendError> {
        let head = format!("PUB {subject} {}\r\n", payload.len());
        // In one piece: a heartbeat may go between two.
        self.link
            .send(&[head.as_bytes(), payload, b"\r\n"].concat())
    }

    /// Deals with the frames that are whole, until one is for the user.
    fn take_in(&mut self) -> Option<NatsEvent> {
        loop {
            let line = self.unread.windows(2).position(|two| two == b"\r\n")?;
            let text = String::from_utf8_lossy(&self.unread[..line]).into_owned();
            let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
            if verb == "MSG" {
                // Its subject, our number of that, maybe one for replies, its size.
                let size: usize = rest.rsplit(' ').next()?.parse().ok()?;
                let end = size.checked_add(line + 4)?;
                let payload = self.unread.get(line + 2..end)?[..size].to_vec();
                self.unread.drain(..end);
                return Some(NatsEvent::Message(payload));
            }
            self.unread.drain(..line + 2);
            match verb {
                "PING" => {
                    self.link.report(Event::HeartbeatReceived);
                    let _ = self.link.send(b"PONG\r\n");
                }
                "PONG" => self.link.report(Event::AnswerReceived { id: None }),
                "-ERR" => {
                    if rest.starts_with("'Authorization") {
                        self.link.report(Event::Rejected); // never comes back
                    }
                    return Some(NatsEvent::Complaint(rest.into()));
                }
                _ => {} // INFO, +OK
            }
        }
    }
}

async fn dial(address: String) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?; // small packets do not wait for company
    Ok(stream)
}
