//! An MQTT 3.1.1 client that stays connected, on smol's [`Link`].
//!
//! The broker closes a client from which nothing came for one and a half times
//! the keep alive that it announced. The heartbeat is `PINGREQ`.

use std::io;

use nabiz::smol::{Link, LinkEvent, SendError};
use nabiz::{Config, ConfigError, EndReason, Event};
use smol::net::TcpStream;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PINGREQ: u8 = 0xC0;
const PINGRESP: u8 = 0xD0;
const LONGEST: usize = 1 << 20; // packets, in bytes

/// What happened.
#[derive(Debug)]
pub enum MqttEvent {
    /// The broker has accepted us.
    Up,
    /// Any other packet: the first byte of its header, and its body.
    Packet(u8, Vec<u8>),
    /// The link ended, or could not be made. `Rejected` is for good.
    Down(EndReason, Option<io::Error>),
}

/// An MQTT client. Call [`next`](Self::next) in a loop; it is cancel-safe.
#[derive(Debug)]
pub struct Mqtt {
    /// For its status, its handle and its end.
    pub link: Link<TcpStream>,
    /// What is said first on each link.
    connect: Vec<u8>,
    /// What came and was not given out yet.
    unread: Vec<u8>,
}

impl Mqtt {
    /// Announces `keep_alive` in seconds; heartbeats are to come more often.
    ///
    /// # Errors
    /// Where the configuration is a server's.
    pub fn new(address: String, keep_alive: u16, config: Config) -> Result<Self, ConfigError> {
        let ping = |_, out: &mut Vec<u8>| out.extend(packet(PINGREQ, &[]));
        // Version 4; a clean session; no name of our own.
        let [high, low] = keep_alive.to_be_bytes();
        let body = [0, 4, b'M', b'Q', b'T', b'T', 4, 2, high, low, 0, 0];
        Ok(Self {
            link: Link::new(config, ping, move || dial(address.clone()))?,
            connect: packet(CONNECT, &body),
            unread: Vec::new(),
        })
    }

    /// What happened next. None: it is over for good.
    pub async fn next(&mut self) -> Option<MqttEvent> {
        let mut buffer = [0; 4096];
        loop {
            while let Some((header, len)) = first_packet(&self.unread) {
                let packet: Vec<u8> = self.unread.drain(..len).collect();
                match (packet[0], &packet[header..]) {
                    (PINGRESP, _) => self.link.report(Event::AnswerReceived { id: None }),
                    (CONNACK, [_, 0]) => return Some(MqttEvent::Up),
                    (CONNACK, [_, 3]) => self.link.report(Event::Disconnected), // not now
                    (CONNACK, _) => self.link.report(Event::Rejected),
                    (kind, body) => return Some(MqttEvent::Packet(kind, body.to_vec())),
                }
            }
            match self.link.next(&mut buffer).await? {
                LinkEvent::Data(_) if self.unread.len() > LONGEST => {
                    self.unread.clear();
                    self.link.report(Event::Disconnected); // and comes back
                }
                LinkEvent::Data(bytes) => self.unread.extend(bytes),
                LinkEvent::Up { .. } => {
                    self.unread.clear(); // the rest of a packet that was cut off
                    let _ = self.link.send(&self.connect); // ahead of heartbeats
                }
                LinkEvent::Down { why, error, .. } => return Some(MqttEvent::Down(why, error)),
                _ => {}
            }
        }
    }

    /// Sends a packet: the first byte of its header, and its body.
    ///
    /// # Errors
    /// Where the link is not up, or too much waits already.
    pub fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), SendError> {
        self.link.send(&packet(kind, body))
    }
}

async fn dial(address: String) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?; // small packets do not wait for company
    Ok(stream)
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut len = body.len();
    while len > 0x7F {
        packet.push(len as u8 | 0x80);
        len >>= 7;
    }
    packet.push(len as u8);
    packet.extend(body);
    packet
}

/// How long the first packet and its header are, once all of it is there.
fn first_packet(bytes: &[u8]) -> Option<(usize, usize)> {
    let header = 2 + bytes.iter().skip(1).position(|byte| *byte < 0x80)?;
    let low_first = bytes[1..header].iter().rev();
    let body = low_first.fold(0, |len, byte| len << 7 | usize::from(byte & 0x7F));
    Some((header, body.saturating_add(header))).filter(|(_, len)| *len <= bytes.len())
}
