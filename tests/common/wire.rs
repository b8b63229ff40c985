//! A client and a server, session against session, on a simulated wire.
//!
//! What will happen to the wire and to the two ends is told beforehand; then
//! the pair is driven by its deadlines alone.

use core::time::Duration;

use nabiz::{Action, Config, Event, HeartbeatId, Session, Timestamp};

use super::at;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The session asked for it.
    Did(Action),
    /// The link is up, at this end.
    Up,
    /// This end learns that the transport is gone.
    Gone,
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub when: Timestamp,
    pub side: Side,
    pub what: What,
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Dial,
    Accept,
    Refuse,
    Heartbeat(HeartbeatId),
    Answer(HeartbeatId),
    /// The other end closed.
    End,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    arrives: Timestamp,
    to: Side,
    /// Which transport, counted by the dials.
    link: u32,
    message: Message,
}

/// From the first instant up to, but not including, the second.
pub type Period = (Timestamp, Timestamp);

fn covers(periods: &[Period], now: Timestamp) -> Option<Timestamp> {
    let mut periods = periods.iter();
    let found = periods.find(|(from, until)| *from <= now && now < *until);
    found.map(|(_, until)| *until)
}

/// The pair, and the wire between.
#[derive(Debug)]
pub struct Pair {
    /// How long a packet takes.
    pub delay: Duration,
    /// How many packets of a thousand are lost.
    pub loss: u64,
    /// When nothing that this side sends arrives.
    pub mute_client: Vec<Period>,
    pub mute_server: Vec<Period>,
    /// When an end handles and polls nothing. Its bytes pile up.
    pub frozen_client: Vec<Period>,
    pub frozen_server: Vec<Period>,
    /// When the server's process is gone: its links are reset at the start,
    /// dials are refused throughout.
    pub down: Vec<Period>,
    /// The server answers heartbeats.
    pub answers: bool,
    pub log: Vec<Entry>,
    pub client: Session,
    pub servers: Vec<(u32, Session)>,
    server_config: Config,
    seed: u64,
    now: Timestamp,
    packets: Vec<Packet>,
    /// The transport that the client holds, or dials.
    link: u32,
    dials: u32,
    chance: u64,
}

impl Pair {
    pub fn new(client: Config, server: Config, seed: u64) -> Self {
        Self {
            delay: Duration::from_millis(50),
            loss: 0,
            mute_client: Vec::new(),
            mute_server: Vec::new(),
            frozen_client: Vec::new(),
            frozen_server: Vec::new(),
            down: Vec::new(),
            answers: false,
            log: Vec::new(),
            client: Session::new(client, seed, at(0)),
            servers: Vec::new(),
            server_config: server,
            seed,
            now: at(0),
            packets: Vec::new(),
            link: 0,
            dials: 0,
            chance: seed,
        }
    }

    /// Nothing arrives in either direction.
    pub fn cut(&mut self, period: Period) {
        self.mute_client.push(period);
        self.mute_server.push(period);
    }

    /// Runs until that instant.
    pub fn run(&mut self, until: Timestamp) {
        for _ in 0..10_000_000 {
            match self.next() {
                Some(next) if next <= until => self.step(next),
                _ => return,
            }
        }
        panic!("no end: {:?}", self.log.last());
    }

    /// When it happened, to whom.
    pub fn times(&self, side: Side, what: What) -> Vec<Timestamp> {
        let entries = self.log.iter();
        let found = entries.filter(|entry| entry.side == side && entry.what == what);
        found.map(|entry| entry.when).collect()
    }

    /// What either end closed for, and when.
    pub fn closes(&self) -> Vec<(Timestamp, Side, nabiz::CloseReason)> {
        let entries = self.log.iter();
        let closes = entries.filter_map(|entry| match entry.what {
            What::Did(Action::Close(reason)) => Some((entry.when, entry.side, reason)),
            _ => None,
        });
        closes.collect()
    }

    fn frozen(&self, side: Side) -> &[Period] {
        match side {
            Side::Client => &self.frozen_client,
            Side::Server => &self.frozen_server,
        }
    }

    /// When what falls due at `due` on that side can be seen to.
    fn thawed(&self, side: Side, due: Timestamp) -> Timestamp {
        let due = due.max(self.now);
        covers(self.frozen(side), due).unwrap_or(due)
    }

    fn next(&self) -> Option<Timestamp> {
        let packets = self.packets.iter();
        let arrivals = packets.map(|packet| self.thawed(packet.to, packet.arrives));
        let client = self.client.deadline();
        let client = client.map(|due| self.thawed(Side::Client, due));
        let servers = self.servers.iter();
        let servers = servers.filter_map(|(_, server)| server.deadline());
        let servers = servers.map(|due| self.thawed(Side::Server, due));
        // A crash happens also when nobody is awake for it.
        let down = self.down.iter().map(|(from, _)| *from);
        let crashes = down.filter(|from| *from >= self.now && !self.servers.is_empty());
        arrivals.chain(client).chain(servers).chain(crashes).min()
    }

    fn step(&mut self, now: Timestamp) {
        self.now = now;
        if covers(&self.down, now).is_some() {
            for (link, _) in core::mem::take(&mut self.servers) {
                self.send(Side::Server, link, Message::End);
            }
        }
        let (due, later): (Vec<_>, Vec<_>) = core::mem::take(&mut self.packets)
            .into_iter()
            .partition(|packet| self.thawed(packet.to, packet.arrives) <= now);
        self.packets = later;
        for packet in due {
            self.deliver(packet);
        }
        if covers(&self.frozen_client, now).is_none() {
            self.poll_client();
        }
        if covers(&self.frozen_server, now).is_none() {
            self.poll_servers();
        }
    }

    fn send(&mut self, from: Side, link: u32, message: Message) {
        let (to, muted) = match from {
            Side::Client => (Side::Server, &self.mute_client),
            Side::Server => (Side::Client, &self.mute_server),
        };
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let lost = (self.chance >> 33) % 1000 < self.loss;
        if lost || covers(muted, self.now).is_some() {
            return;
        }
        self.packets.push(Packet {
            arrives: self.now.checked_add(self.delay).unwrap(),
            to,
            link,
            message,
        });
    }

    fn note(&mut self, side: Side, what: What) {
        let when = self.now;
        self.log.push(Entry { when, side, what });
        assert!(self.log.len() < 1_000_000, "no end of actions");
    }

    fn deliver(&mut self, packet: Packet) {
        match packet.to {
            Side::Client if packet.link == self.link => self.deliver_to_client(packet.message),
            Side::Client => {}
            Side::Server => self.deliver_to_server(packet.link, packet.message),
        }
    }

    fn deliver_to_client(&mut self, message: Message) {
        let now = self.now;
        match message {
            Message::Accept => {
                self.client.handle(Event::Connected, now);
                self.note(Side::Client, What::Up);
            }
            Message::Refuse => {
                self.link = 0;
                self.client.handle(Event::ConnectFailed, now);
            }
            Message::End => {
                self.link = 0;
                self.client.handle(Event::Disconnected, now);
                self.note(Side::Client, What::Gone);
            }
            Message::Heartbeat(_) => self.client.handle(Event::HeartbeatReceived, now),
            Message::Answer(id) => {
                let answer = Event::AnswerReceived { id: Some(id) };
                self.client.handle(answer, now);
            }
            Message::Dial => {}
        }
    }

    fn deliver_to_server(&mut self, link: u32, message: Message) {
        let now = self.now;
        if let Message::Dial = message {
            if covers(&self.down, now).is_some() {
                return self.send(Side::Server, link, Message::Refuse);
            }
            let seed = self.seed ^ (u64::from(link) << 32);
            let server = Session::new(self.server_config, seed, now);
            self.servers.push((link, server));
            self.note(Side::Server, What::Up);
            return self.send(Side::Server, link, Message::Accept);
        }
        let Some(index) = self.servers.iter().position(|(held, _)| *held == link) else {
            return;
        };
        match message {
            Message::Heartbeat(id) => {
                self.servers[index].1.handle(Event::HeartbeatReceived, now);
                if self.answers {
                    self.servers[index].1.handle(Event::Sent, now);
                    self.send(Side::Server, link, Message::Answer(id));
                }
            }
            Message::Answer(id) => {
                let answer = Event::AnswerReceived { id: Some(id) };
                self.servers[index].1.handle(answer, now);
            }
            Message::End => {
                self.servers.remove(index);
                self.note(Side::Server, What::Gone);
            }
            Message::Dial | Message::Accept | Message::Refuse => {}
        }
    }

    fn poll_client(&mut self) {
        let now = self.now;
        while let Some(action) = self.client.poll(now) {
            self.note(Side::Client, What::Did(action));
            match action {
                Action::Connect { .. } => {
                    self.dials += 1;
                    self.link = self.dials;
                    self.send(Side::Client, self.link, Message::Dial);
                }
                Action::SendHeartbeat { id } => {
                    self.send(Side::Client, self.link, Message::Heartbeat(id));
                    self.client.handle(Event::HeartbeatSent, now);
                }
                Action::Close(_) => {
                    self.send(Side::Client, self.link, Message::End);
                    self.link = 0;
                    self.client.handle(Event::Disconnected, now);
                }
                Action::Abort => self.link = 0,
                Action::Reconnect { .. } | Action::GiveUp(_) => {}
            }
        }
    }

    fn poll_servers(&mut self) {
        let now = self.now;
        let mut index = 0;
        while let Some((link, server)) = self.servers.get_mut(index) {
            let link = *link;
            match server.poll(now) {
                Some(action) => {
                    self.note(Side::Server, What::Did(action));
                    match action {
                        Action::SendHeartbeat { id } => {
                            self.servers[index].1.handle(Event::HeartbeatSent, now);
                            self.send(Side::Server, link, Message::Heartbeat(id));
                        }
                        Action::Close(_) => {
                            self.send(Side::Server, link, Message::End);
                            self.servers.remove(index);
                        }
                        other => panic!("a server does not {other:?}"),
                    }
                }
                None => index += 1,
            }
        }
    }
}
