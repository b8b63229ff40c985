//! An end that does what it was told when, and writes down what it is told.

use std::cell::RefCell;
use std::rc::Rc;

use nabiz::Timestamp;
use nabiz::testing::world::{Deed, Endpoint, Plan, World};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Made,
    Connected,
    DialFailed,
    Received(Vec<u8>),
    Flushed,
    Disconnected,
}

/// Whose, when by its own clock, what.
pub type Notes = Rc<RefCell<Vec<(&'static str, Timestamp, Told)>>>;

#[derive(Debug)]
pub struct Recorder {
    name: &'static str,
    /// What to do when, in order.
    deeds: Vec<(Timestamp, Deed)>,
    notes: Notes,
}

impl Recorder {
    fn note(&self, now: Timestamp, told: Told) {
        self.notes.borrow_mut().push((self.name, now, told));
    }
}

impl Endpoint for Recorder {
    fn connected(&mut self, now: Timestamp) {
        self.note(now, Told::Connected);
    }

    fn dial_failed(&mut self, now: Timestamp) {
        self.note(now, Told::DialFailed);
    }

    fn received(&mut self, bytes: &[u8], now: Timestamp) {
        self.note(now, Told::Received(bytes.to_vec()));
    }

    fn flushed(&mut self, now: Timestamp) {
        self.note(now, Told::Flushed);
    }

    fn disconnected(&mut self, now: Timestamp) {
        self.note(now, Told::Disconnected);
    }

    fn poll(&mut self, now: Timestamp) -> Option<Deed> {
        if self.deeds.first()?.0 > now {
            return None;
        }
        Some(self.deeds.remove(0).1)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.deeds.first().map(|(when, _)| *when)
    }
}

/// A client that does these, and a server whose every end does those.
pub fn world(
    plan: &str,
    client: Vec<(Timestamp, Deed)>,
    server: Vec<(Timestamp, Deed)>,
) -> (World<Recorder, Recorder>, Notes) {
    let plan: Plan = plan.parse().unwrap();
    let notes = Notes::default();
    let end = |name, deeds| Recorder {
        name,
        deeds,
        notes: notes.clone(),
    };
    let (client, servers) = (end("client", client), notes.clone());
    let accept = move |_, now| {
        let end = Recorder {
            name: "server",
            deeds: server.clone(),
            notes: servers.clone(),
        };
        end.note(now, Told::Made);
        end
    };
    (World::new(client, accept, plan), notes)
}

pub fn write(bytes: &str) -> Deed {
    Deed::Write(bytes.into())
}

pub fn heard(bytes: &str) -> Told {
    Told::Received(bytes.into())
}
