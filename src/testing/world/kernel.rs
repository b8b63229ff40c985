//! What the ends' kernels do: with what arrives, and with what is asked of them.

use super::end::{Deed, Endpoint};
use super::log::What;
use super::plan::Side;
use super::run::{Held, Seat, Stage, World};
use super::wire::{Body, Packet};

/// What an end is told of its link's end.
#[derive(Clone, Copy, Debug)]
enum Word {
    Failed,
    Gone,
    /// It did it.
    None,
}

impl<C: Endpoint, S: Endpoint> World<C, S> {
    pub(super) fn deliver(&mut self, packet: Packet) {
        let Packet { to, link, body, .. } = packet;
        if to == Side::Server {
            if self.wire.plan().has_vanished(self.now) {
                return;
            }
            if body == Body::Dial {
                return self.accept(link);
            }
        }
        let Some(stage) = self.stage(to, link) else {
            if matches!(body, Body::Accept | Body::Data(_)) {
                self.wire.send(to, link, Body::Reset, self.now);
            }
            return;
        };
        let now = self.clock(to);
        match (body, stage) {
            (Body::Accept, Stage::Dialling) => {
                self.held = Some(Held {
                    link,
                    stage: Stage::Up,
                });
                self.note(to, link, What::Up);
                self.nudged = true;
                self.client.connected(now);
            }
            (Body::Refuse | Body::Fin | Body::Reset, Stage::Dialling) => {
                self.note(to, link, What::DialFailed);
                self.release(to, link, Word::Failed);
            }
            (Body::Fin | Body::Reset, _) => {
                self.note(to, link, What::Down);
                self.release(to, link, Word::Gone);
            }
            // What a cut still holds back is the kernel's to send.
            (Body::Closed, Stage::Closing) => self.let_go(to, link, Word::Gone),
            (Body::Data(bytes), Stage::Up) => {
                self.note(to, link, What::Received(bytes.len()));
                if let Some(end) = self.end(to, link) {
                    end.received(&bytes, now);
                }
            }
            (Body::Flushed, Stage::Up) => {
                self.note(to, link, What::Flushed);
                if let Some(end) = self.end(to, link) {
                    end.flushed(now);
                }
            }
            _ => {}
        }
    }

    fn accept(&mut self, link: u32) {
        if self.wire.plan().is_down(self.now) {
            return self.wire.send(Side::Server, link, Body::Refuse, self.now);
        }
        let now = self.clock(Side::Server);
        let end = (self.accept)(link, now);
        let stage = Stage::Up;
        let held = Held { link, stage };
        self.servers.push(Seat {
            held,
            nudged: true,
            end,
        });
        self.note(Side::Server, link, What::Up);
        self.wire.send(Side::Server, link, Body::Accept, self.now);
    }

    pub(super) fn act(&mut self, side: Side, link: Option<u32>, deed: Deed) {
        let now = self.now;
        let link = match side {
            Side::Client => self.held.map(|held| held.link),
            Side::Server => link,
        };
        let held = link.and_then(|link| Some((link, self.stage(side, link)?)));
        let leaves = self.wire.plan().leaves(side, now);
        match (deed, held) {
            (Deed::Dial, None) if side == Side::Client => self.dial(),
            (Deed::Write(bytes), Some((link, Stage::Up))) => {
                self.note(side, link, What::Wrote(bytes.len()));
                self.wire.send(side, link, Body::Data(bytes), leaves);
                if leaves > now {
                    return self.wire.tell(side, link, Body::Flushed, leaves);
                }
                self.note(side, link, What::Flushed);
                let clock = self.clock(side);
                if let Some(end) = self.end(side, link) {
                    end.flushed(clock);
                }
            }
            (Deed::Close, Some((link, Stage::Up))) => {
                self.note(side, link, What::Closed);
                self.wire.send(side, link, Body::Fin, leaves);
                if leaves > now {
                    self.wire.tell(side, link, Body::Closed, leaves);
                    return self.close(side, link);
                }
                self.let_go(side, link, Word::Gone);
            }
            (Deed::Close, Some((link, Stage::Dialling))) => {
                self.note(side, link, What::Closed);
                self.release(side, link, Word::Gone);
                self.wire.send(side, link, Body::Reset, now);
            }
            (Deed::Abort, Some((link, _))) => {
                self.note(side, link, What::Aborted);
                self.release(side, link, Word::None);
                self.wire.send(side, link, Body::Reset, now);
            }
            (deed, held) => {
                let clock = self.clock(side);
                panic!("{side:?} cannot do {deed:?} at {clock:?}, it has {held:?}");
            }
        }
    }

    fn dial(&mut self) {
        self.dials = self.dials.saturating_add(1);
        let link = self.dials;
        let stage = Stage::Dialling;
        self.held = Some(Held { link, stage });
        self.note(Side::Client, link, What::Dialled);
        self.wire.send(Side::Client, link, Body::Dial, self.now);
    }

    pub(super) fn place(&self, link: u32) -> Option<usize> {
        let mut ends = self.servers.iter();
        ends.position(|seat| seat.held.link == link)
    }

    fn stage(&self, side: Side, link: u32) -> Option<Stage> {
        let held = match side {
            Side::Client => self.held.filter(|held| held.link == link)?,
            Side::Server => self.servers.get(self.place(link)?)?.held,
        };
        Some(held.stage)
    }

    fn close(&mut self, side: Side, link: u32) {
        let place = self.place(link);
        let held = match side {
            Side::Client => self.held.as_mut(),
            Side::Server => place
                .and_then(|place| self.servers.get_mut(place))
                .map(|seat| &mut seat.held),
        };
        if let Some(held) = held {
            held.stage = Stage::Closing;
        }
    }

    /// The link is gone at that end, with what has not left yet.
    fn release(&mut self, side: Side, link: u32, word: Word) {
        self.wire.forget(side, link, self.now);
        self.let_go(side, link, word);
    }

    /// The link is gone at that end, which is told so.
    fn let_go(&mut self, side: Side, link: u32, word: Word) {
        let now = self.clock(side);
        if let Some(end) = self.end(side, link) {
            match word {
                Word::Failed => end.dial_failed(now),
                Word::Gone => end.disconnected(now),
                Word::None => {}
            }
        }
        match (side, self.place(link)) {
            (Side::Client, _) => self.held = None,
            (Side::Server, Some(place)) => {
                self.past.push(self.servers.remove(place).end);
            }
            (Side::Server, None) => {}
        }
    }
}
