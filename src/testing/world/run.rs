//! The world itself: two kinds of ends, a wire, and what happens.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::end::Endpoint;
use super::log::{self, Entry, What};
use super::plan::{Plan, Side};
use super::wire::{Body, Wire};
use crate::time::Timestamp;

/// How many deeds an end may ask for at one instant.
const MOST_DEEDS: u32 = 1_000;
/// How many instants a run may have.
const MOST_STEPS: usize = 10_000_000;

/// A client's end, the server's ends that it dialled, and the wire between, in
/// virtual time.
///
/// A [`Plan`] tells beforehand what happens; then the world is driven by the
/// ends' deadlines alone. It begins at the epoch, and the same ends, plan and
/// runs make the same log.
///
/// ```
/// use core::time::Duration;
/// use nabiz::testing::world::{SessionEnd, World};
/// use nabiz::{Config, Timestamp};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let (client, server) = (Config::client().build()?, Config::server().build()?);
/// let mut world = World::new(
///     SessionEnd::new(client, 42, Timestamp::EPOCH),
///     move |link, now| SessionEnd::new(server, u64::from(link), now),
///     "delay=50ms cut=1h..70m".parse()?,
/// );
/// world.run(at(3600));
/// assert!(world.is_agreed());
/// world.run(at(4200));
/// assert!(!world.is_agreed());
/// world.run(at(4500));
/// assert!(world.is_agreed());
/// assert_eq!(world.ups().len(), 2);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
pub struct World<C, S> {
    pub(super) client: C,
    /// The client's transport.
    pub(super) held: Option<Held>,
    /// The client is to be polled: it was told something.
    pub(super) nudged: bool,
    pub(super) servers: Vec<Seat<S>>,
    pub(super) past: Vec<S>,
    pub(super) accept: Box<dyn FnMut(u32, Timestamp) -> S>,
    pub(super) wire: Wire,
    /// The instants at which the world itself does something.
    turns: VecDeque<Timestamp>,
    pub(super) now: Timestamp,
    pub(super) dials: u32,
    log: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) link: u32,
    pub(super) stage: Stage,
}

/// A server's end and its transport.
#[derive(Debug)]
pub(super) struct Seat<S> {
    pub(super) held: Held,
    pub(super) nudged: bool,
    pub(super) end: S,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Dialling,
    Up,
    Closing,
}

impl<C: fmt::Debug, S: fmt::Debug> fmt::Debug for World<C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("plan", &format_args!("{}", self.wire.plan()))
            .field("now", &self.now)
            .field("client", &self.client)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl<C: Endpoint, S: Endpoint> World<C, S> {
    /// A world with that client and such a plan.
    ///
    /// `accept` makes the server's end of a link, which is up from then on: it
    /// is given the link's number, counted by the dials from 1, and the time
    /// by the server's clock.
    pub fn new(client: C, accept: impl FnMut(u32, Timestamp) -> S + 'static, plan: Plan) -> Self {
        Self {
            client,
            held: None,
            nudged: true,
            servers: Vec::new(),
            past: Vec::new(),
            accept: Box::new(accept),
            turns: plan.turns().into(),
            wire: Wire::new(plan),
            now: Timestamp::EPOCH,
            dials: 0,
            log: Vec::new(),
        }
    }

    /// Runs until that instant, which is included.
    ///
    /// # Panics
    /// If an end does not keep its side of the bargain (see [`Endpoint`]), or
    /// there is no end of it: ten million instants.
    pub fn run(&mut self, until: Timestamp) {
        let arrived = self.run_steps(until, MOST_STEPS);
        assert!(arrived, "no end of steps, at {:?}", self.now);
    }

    /// Runs until that instant, or for so many instants at which something
    /// happens; whether it got there.
    ///
    /// # Panics
    /// If an end does not keep its side of the bargain (see [`Endpoint`]).
    pub fn run_steps(&mut self, until: Timestamp, most: usize) -> bool {
        for _ in 0..most {
            match self.next() {
                Some(next) if next <= until => self.step(next),
                _ => {
                    self.now = self.now.max(until);
                    return true;
                }
            }
        }
        false
    }

    /// The time.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// What that end's clock shows.
    #[must_use]
    pub fn clock(&self, side: Side) -> Timestamp {
        self.wire.plan().clock(side, self.now)
    }

    /// The client's end.
    #[must_use]
    pub const fn client(&self) -> &C {
        &self.client
    }

    /// The client's end, to tell it what its user wants. It is polled when the
    /// world runs on.
    #[must_use]
    pub const fn client_mut(&mut self) -> &mut C {
        self.nudged = true;
        &mut self.client
    }

    /// The server's ends that have a link, the oldest first.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &S> {
        self.servers.iter().map(|seat| &seat.end)
    }

    /// The same, to tell them what their user wants.
    pub fn servers_mut(&mut self) -> impl ExactSizeIterator<Item = &mut S> {
        self.servers.iter_mut().map(|seat| {
            seat.nudged = true;
            &mut seat.end
        })
    }

    /// The server's ends whose links are gone, in the order of their ends.
    #[must_use]
    pub fn past_servers(&self) -> &[S] {
        &self.past
    }

    /// What happened.
    #[must_use]
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// When that happened at that end.
    #[must_use]
    pub fn times(&self, side: Side, what: What) -> Vec<Timestamp> {
        log::times(&self.log, side, what)
    }

    /// When the client came up.
    #[must_use]
    pub fn ups(&self) -> Vec<Timestamp> {
        self.times(Side::Client, What::Up)
    }

    /// Who closed or aborted, and when.
    pub fn closes(&self) -> impl Iterator<Item = &Entry> {
        let entries = self.log.iter();
        entries.filter(|entry| matches!(entry.what, What::Closed | What::Aborted))
    }

    /// The longest time that this end flushed nothing while its link was up:
    /// what a path that forgets idle flows must bear. The plan's own freezes
    /// and slow flushes count.
    #[must_use]
    pub fn longest_quiet(&self, side: Side) -> Duration {
        log::longest_quiet(&self.log, side, self.now)
    }

    /// The delays between the end of each of the client's links or dials and
    /// the next dial.
    #[must_use]
    pub fn redials(&self) -> Vec<Duration> {
        log::redials(&self.log)
    }

    /// Whether both ends are up now, on the same link, and the server has no
    /// other.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        let up = |held: &Held| held.stage == Stage::Up;
        match (self.held.filter(up), self.servers.as_slice()) {
            (Some(ours), [Seat { held: theirs, .. }]) => up(theirs) && ours.link == theirs.link,
            _ => false,
        }
    }

    fn next(&self) -> Option<Timestamp> {
        let (wire, now) = (&self.wire, self.now);
        let wakes = |side, nudged: bool, deadline: Option<Timestamp>| {
            let due = if nudged {
                now
            } else {
                wire.plan().shows(side, deadline?, now)?
            };
            Some(wire.plan().thawed(side, due))
        };
        let client = wakes(Side::Client, self.nudged, self.client.deadline());
        let servers = self.servers.iter();
        let servers =
            servers.filter_map(|seat| wakes(Side::Server, seat.nudged, seat.end.deadline()));
        let turn = self.turns.front().map(|turn| (*turn).max(now));
        let own = client.into_iter().chain(turn).chain(wire.next(now));
        own.chain(servers).min()
    }

    fn step(&mut self, now: Timestamp) {
        self.now = now;
        while self.turns.front().is_some_and(|turn| *turn <= now) {
            self.turns.pop_front();
            self.turn();
        }
        for packet in self.wire.take(now) {
            self.deliver(packet);
        }
        let is_due = |nudged, deadline: Option<Timestamp>, clock| {
            nudged || deadline.is_some_and(|due| due <= clock)
        };
        let clock = self.clock(Side::Client);
        if self.is_awake(Side::Client) && is_due(self.nudged, self.client.deadline(), clock) {
            self.nudged = false;
            self.poll(Side::Client, None);
        }
        let clock = self.clock(Side::Server);
        if self.is_awake(Side::Server) {
            let mut due = Vec::new();
            for seat in &mut self.servers {
                if is_due(seat.nudged, seat.end.deadline(), clock) {
                    seat.nudged = false;
                    due.push(seat.held.link);
                }
            }
            for link in due {
                self.poll(Side::Server, Some(link));
            }
        }
    }

    fn is_awake(&self, side: Side) -> bool {
        self.wire.plan().thawed(side, self.now) == self.now
    }

    /// What the plan does itself. A crash happens also when nobody is awake.
    fn turn(&mut self) {
        let now = self.now;
        let (vanished, down) = {
            let plan = self.wire.plan();
            (plan.has_vanished(now), plan.is_down(now))
        };
        if vanished || down {
            for Seat { held, end, .. } in core::mem::take(&mut self.servers) {
                self.wire.forget(Side::Server, held.link, now);
                self.note(Side::Server, held.link, What::Crashed);
                self.past.push(end);
                if !vanished {
                    self.wire.send(Side::Server, held.link, Body::Reset, now);
                }
            }
        }
        if let Some(held) = self.held.filter(|_| self.wire.plan().resets(now)) {
            self.wire.tell(Side::Client, held.link, Body::Reset, now);
            self.wire.tell(Side::Server, held.link, Body::Reset, now);
        }
    }

    /// Asks that end what to do; of the server's, that of this link.
    fn poll(&mut self, side: Side, link: Option<u32>) {
        let now = self.clock(side);
        for _ in 0..MOST_DEEDS {
            let Some(end) = self.pollable(side, link) else {
                return;
            };
            let Some(deed) = end.poll(now) else {
                let idle = end.deadline().is_none_or(|due| due > now);
                assert!(idle, "{side:?} has nothing to do at its deadline, {now:?}");
                return;
            };
            self.act(side, link, deed);
        }
        panic!("{side:?} has no end of deeds at {now:?}");
    }

    /// That end, which is to be told something.
    pub(super) fn end(&mut self, side: Side, link: u32) -> Option<&mut dyn Endpoint> {
        if side == Side::Client {
            self.nudged = true;
        } else {
            let place = self.place(link)?;
            self.servers.get_mut(place)?.nudged = true;
        }
        self.pollable(side, Some(link))
    }

    fn pollable(&mut self, side: Side, link: Option<u32>) -> Option<&mut dyn Endpoint> {
        if side == Side::Client {
            return Some(&mut self.client);
        }
        let place = self.place(link?)?;
        Some(&mut self.servers.get_mut(place)?.end)
    }

    pub(super) fn note(&mut self, side: Side, link: u32, what: What) {
        let when = self.now;
        self.log.push(Entry {
            when,
            side,
            link,
            what,
        });
    }
}
