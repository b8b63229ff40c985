//! What is under way between the ends, and when it arrives.

use alloc::vec::Vec;
use core::time::Duration;

use super::plan::{Plan, Side};
use crate::chance::up_to;
use crate::time::{Span, Timestamp};

/// When what is lost is sent again: as Linux does, after this long, then after
/// twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// Its longest wait between two tries.
pub(super) const LAST_RETRY: Duration = Duration::from_secs(120);
/// How often a packet is sent at most; Linux gives up after 924 s likewise.
const TRIES: u32 = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Dial,
    Accept,
    Refuse,
    Data(Vec<u8>),
    /// The sender closed.
    Fin,
    /// The sender has no such link.
    Reset,
    /// Word from an end's own kernel: what was written is flushed.
    Flushed,
    /// And: it is closed, after what was written.
    Closed,
}

#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) to: Side,
    /// Which transport, counted by the dials.
    pub(super) link: u32,
    pub(super) body: Body,
    pub(super) arrives: Timestamp,
    /// When it leaves the other end, if it comes from there.
    leaves: Timestamp,
    number: u64,
}

#[derive(Debug)]
pub(super) struct Wire {
    plan: Plan,
    packets: Vec<Packet>,
    /// The directions of streams in which something was given up.
    torn: Vec<(u32, Side)>,
    number: u64,
    draws: u64,
}

impl Wire {
    pub(super) const fn new(plan: Plan) -> Self {
        Self {
            plan,
            packets: Vec::new(),
            torn: Vec::new(),
            number: 0,
            draws: 0,
        }
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When the next packet is seen to.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let dues = self.packets.iter();
        dues.map(|packet| self.due(packet, now)).min()
    }

    fn due(&self, packet: &Packet, now: Timestamp) -> Timestamp {
        self.plan.thawed(packet.to, packet.arrives.max(now))
    }

    /// What is due at `now`, in order; of a stream, what came together is one.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<Packet> {
        let packets = core::mem::take(&mut self.packets);
        let (mut due, later): (Vec<_>, Vec<_>) = packets
            .into_iter()
            .partition(|packet| self.due(packet, now) <= now);
        self.packets = later;
        due.sort_unstable_by_key(|packet| (packet.arrives, packet.number));
        if self.plan.datagrams {
            return due;
        }
        let mut merged: Vec<Packet> = Vec::with_capacity(due.len());
        for packet in due {
            let mut same = merged.iter_mut().rev();
            let last = same.find(|last| (last.link, last.to) == (packet.link, packet.to));
            match (last.map(|last| &mut last.body), packet.body) {
                (Some(Body::Data(bytes)), Body::Data(more)) => bytes.extend(more),
                (_, body) => merged.push(Packet { body, ..packet }),
            }
        }
        merged
    }

    /// Sends from that end, at `leaves`.
    pub(super) fn send(&mut self, from: Side, link: u32, body: Body, leaves: Timestamp) {
        if self.torn.contains(&(link, from)) {
            return;
        }
        let delay = self.delay(from);
        let once = self.plan.datagrams || matches!(body, Body::Reset | Body::Refuse);
        let (mut sent, mut wait) = (leaves, FIRST_RETRY);
        for _ in 0..TRIES {
            let arrives = sent.checked_add(delay);
            if let Some(arrives) = arrives.filter(|arrives| self.passes(from, sent, *arrives)) {
                return self.put(from.other(), link, body, sent, arrives);
            }
            let Some(next) = sent.checked_add(wait).filter(|_| !once) else {
                return;
            };
            sent = next;
            wait = wait.saturating_mul(2).min(LAST_RETRY);
        }
        // Nobody is told of it but the sender.
        self.torn.push((link, from));
        self.tell(from, link, Body::Reset, sent);
    }

    /// Word to that end from its own kernel, or from between the ends.
    pub(super) fn tell(&mut self, to: Side, link: u32, body: Body, arrives: Timestamp) {
        self.put(to, link, body, Timestamp::EPOCH, arrives);
    }

    /// That end's kernel forgets the link, with what has not left yet.
    pub(super) fn forget(&mut self, side: Side, link: u32, now: Timestamp) {
        self.packets.retain(|packet| {
            let own = packet.to == side && is_own(&packet.body);
            let unsent = packet.to != side && packet.leaves > now;
            packet.link != link || !(own || unsent)
        });
    }

    fn put(
        &mut self,
        to: Side,
        link: u32,
        body: Body,
        mut leaves: Timestamp,
        mut arrives: Timestamp,
    ) {
        if !self.plan.datagrams && !is_own(&body) {
            // A stream keeps its order, and what waits behind has not left.
            for ahead in &self.packets {
                if (ahead.to, ahead.link) == (to, link) && !is_own(&ahead.body) {
                    arrives = arrives.max(ahead.arrives);
                    leaves = leaves.max(ahead.leaves);
                }
            }
        }
        self.number = self.number.wrapping_add(1);
        self.packets.push(Packet {
            to,
            link,
            body,
            arrives,
            leaves,
            number: self.number,
        });
    }

    fn passes(&mut self, from: Side, sent: Timestamp, arrives: Timestamp) -> bool {
        let lost = self.plan.loss.as_permille();
        // Drawn only where it matters, so that a plan without loss has none.
        if lost > 0 && self.draw(999) < u64::from(lost) {
            return false;
        }
        let gone = |at| self.plan.has_vanished(at);
        let nobody = match from {
            Side::Client => gone(arrives),
            Side::Server => gone(sent),
        };
        !nobody && !self.plan.is_cut(from, sent)
    }

    fn delay(&mut self, from: Side) -> Duration {
        let delay = self.plan.delay(from);
        let reach = delay.most.saturating_sub(delay.least);
        let reach = u64::try_from(reach.as_nanos()).unwrap_or(u64::MAX);
        if reach == 0 {
            return delay.least;
        }
        delay
            .least
            .saturating_add(Duration::from_nanos(self.draw(reach)))
    }

    /// A number up to `most`, even.
    fn draw(&mut self, most: u64) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        up_to(Span::from_nanos(most), scramble(self.plan.seed, self.draws)).nanos()
    }
}

/// The word of an end's own kernel: no cut and no other end touches it.
const fn is_own(body: &Body) -> bool {
    matches!(body, Body::Flushed | Body::Closed)
}

/// A hash of the two, with the constants of `SplitMix64`.
const fn scramble(seed: u64, number: u64) -> u64 {
    let mut z = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
