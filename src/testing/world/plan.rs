//! What will happen to the wire and to its ends, told beforehand.

use alloc::vec::Vec;
use core::ops::{Range, RangeInclusive};
use core::time::Duration;

use crate::testing::bytes::{Bytes, instant};
use crate::time::{Ratio, Timestamp};

/// An end of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The end that dials.
    Client,
    /// The end that is dialled.
    Server,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One end, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The client alone.
    Client,
    /// The server alone.
    Server,
    /// Both ends.
    Both,
}

impl Who {
    const fn is(self, side: Side) -> bool {
        match self {
            Self::Client => matches!(side, Side::Client),
            Self::Server => matches!(side, Side::Server),
            Self::Both => true,
        }
    }
}

/// Something that happens in a [`Plan`].
///
/// A period lasts up to its end, which it does not include.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Happening {
    /// `cut`: nothing gets through that this end sends.
    Cut(Who, Range<Timestamp>),
    /// `freeze`: this end handles and polls nothing. What comes piles up, and
    /// arrives in one burst at the end; a dial waits for it too.
    Freeze(Who, Range<Timestamp>),
    /// `slow`: what this end writes is not flushed, and does not leave, until
    /// the end. A polite close waits behind it.
    Slow(Who, Range<Timestamp>),
    /// `down`: the server's process is gone. Its links are reset at the start,
    /// dials are refused throughout.
    Down(Range<Timestamp>),
    /// `vanish`: the server's machine is gone, without a word. What is sent to
    /// it gets no answer, and a reset when it is back.
    Vanish(Range<Timestamp>),
    /// `reset`: something between the ends resets their link.
    Reset(Timestamp),
    /// `jump-client=1h+10m`: this end's clock leaps ahead, as after a sleep.
    Ahead(Who, Timestamp, Duration),
    /// `jump-client=1h-10m`: this end's clock is set back.
    Back(Who, Timestamp, Duration),
}

/// What will happen to the wire and to its ends.
///
/// A plan is data: it is built, made of any bytes, or read from one line of
/// text, which is also how it prints; a random world that fails is run again
/// by that line. The words of the line, in any order:
///
/// | word | |
/// |---|---|
/// | `seed=7` | of the wire's chance: delays and losses; 0 |
/// | `delay=50ms`, `delay=20ms..80ms` | one way, or drawn between the two; 50 ms. `delay-client=`, `delay-server=` for what that end sends |
/// | `loss=2%` | of the packets; a write is one packet |
/// | `datagrams` | what is lost stays lost, and packets overtake each other; see below |
/// | `cut=1h..70m` | and the other [happenings](Happening). `cut-client`, `cut-server` for what that end sends; `freeze`, `slow` and `jump` likewise |
///
/// Times have a unit out of `ns`, `us`, `ms`, `s`, `m`, `h`, `d`; instants are
/// counted from the epoch, at which the world begins.
///
/// The wire carries **streams**, unless it is told to carry datagrams. On a
/// stream nothing is missing and nothing out of order: what is lost, or sent
/// into a cut, is sent again 200 ms later, then after twice as long, and so on
/// up to 120 s, and all behind it waits; after 15 times in vain the sender's
/// link is gone. Only a reset is sent once. Links overtake each other.
///
/// ```
/// use core::time::Duration;
/// use nabiz::Timestamp;
/// use nabiz::testing::world::{Happening, Plan, Who};
///
/// let at = |secs| Timestamp::from_epoch(Duration::from_secs(secs)).unwrap();
/// let plan = Plan::new()
///     .with_delay(Duration::from_millis(20))
///     .with(Happening::Cut(Who::Both, at(3600)..at(4200)));
/// assert_eq!(plan.to_string(), "seed=0 delay=20ms cut=3600s..4200s");
/// assert_eq!("cut=1h..70m delay=20ms".parse(), Ok(plan));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    pub(super) seed: u64,
    pub(super) datagrams: bool,
    pub(super) client_delay: Delay,
    pub(super) server_delay: Delay,
    /// At most one.
    pub(super) loss: Ratio,
    pub(super) happenings: Vec<Happening>,
}

/// How long a packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Delay {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Delay {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        // What a timestamp can tell, so that it prints.
        let longest = Duration::from_nanos(u64::MAX - 1);
        let least = least.min(longest);
        let most = most.min(longest).max(least);
        Self { least, most }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// Nothing happens; each packet of the stream takes 50 ms.
    #[must_use]
    pub const fn new() -> Self {
        let usual = Duration::from_millis(50);
        let delay = Delay {
            least: usual,
            most: usual,
        };
        Self {
            seed: 0,
            datagrams: false,
            client_delay: delay,
            server_delay: delay,
            loss: Ratio::ZERO,
            happenings: Vec::new(),
        }
    }

    /// The seed of the wire's chance.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long each packet takes.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        self.with_delays(Who::Both, delay..=delay)
    }

    /// Between which bounds it is drawn how long each packet takes that this
    /// end sends.
    #[must_use]
    pub fn with_delays(mut self, who: Who, bounds: RangeInclusive<Duration>) -> Self {
        let delay = Delay::new(*bounds.start(), *bounds.end());
        if who.is(Side::Client) {
            self.client_delay = delay;
        }
        if who.is(Side::Server) {
            self.server_delay = delay;
        }
        self
    }

    /// How many packets are lost; all of them at most. A write is one packet.
    #[must_use]
    pub fn with_loss(mut self, loss: Ratio) -> Self {
        self.loss = loss.min(Ratio::ONE);
        self
    }

    /// The wire carries datagrams: what is lost stays lost, a reset and the
    /// word of a close too, and packets overtake each other.
    #[must_use]
    pub fn over_datagrams(mut self) -> Self {
        self.datagrams = true;
        self
    }

    /// And this happens.
    #[must_use]
    pub fn with(mut self, happening: Happening) -> Self {
        self.happenings.push(happening);
        self
    }

    /// What happens, in the order in which it was told.
    #[must_use]
    pub fn happenings(&self) -> &[Happening] {
        &self.happenings
    }

    /// A plan made of any bytes: for fuzzers, and for property tests that
    /// shrink. The more bytes, the more happens.
    ///
    /// ```
    /// use nabiz::testing::world::Plan;
    ///
    /// let plan = Plan::from_bytes(b"any bytes will do");
    /// assert_eq!(plan.to_string().parse(), Ok(plan));
    /// ```
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let flags = bytes.byte();
        let mut plan = Self::new().with_seed(u64::from(bytes.byte()));
        plan.datagrams = flags & 1 == 1;
        if flags & 2 == 2 {
            plan.client_delay = delay(&mut bytes);
        }
        if flags & 4 == 4 {
            plan.server_delay = delay(&mut bytes);
        }
        if flags & 24 == 24 {
            plan = plan.with_loss(bytes.ratio());
        }
        let mut now = Timestamp::EPOCH;
        while !bytes.0.is_empty() {
            let happening = happening(&mut bytes, &mut now);
            plan.happenings.push(happening);
        }
        plan
    }

    /// The instant from which nothing happens any more and both clocks have
    /// regained what they were set back; `None` if packets are lost, which has
    /// no end.
    #[must_use]
    pub fn quiet_from(&self) -> Option<Timestamp> {
        if self.loss > Ratio::ZERO {
            return None;
        }
        let (mut quiet, mut back) = (Timestamp::EPOCH, Duration::ZERO);
        for happening in &self.happenings {
            quiet = quiet.max(match happening {
                Happening::Cut(_, period)
                | Happening::Freeze(_, period)
                | Happening::Slow(_, period)
                | Happening::Down(period)
                | Happening::Vanish(period) => period.end,
                Happening::Reset(at) | Happening::Ahead(_, at, _) => *at,
                Happening::Back(_, at, by) => {
                    back = back.saturating_add(*by);
                    *at
                }
            });
        }
        quiet.checked_add(back)
    }

    pub(super) const fn delay(&self, from: Side) -> Delay {
        match from {
            Side::Client => self.client_delay,
            Side::Server => self.server_delay,
        }
    }

    pub(super) fn is_cut(&self, from: Side, now: Timestamp) -> bool {
        self.happenings
            .iter()
            .any(|h| matches!(h, Happening::Cut(who, p) if who.is(from) && p.contains(&now)))
    }

    pub(super) fn is_down(&self, now: Timestamp) -> bool {
        self.happenings
            .iter()
            .any(|h| matches!(h, Happening::Down(p) if p.contains(&now)))
    }

    pub(super) fn resets(&self, now: Timestamp) -> bool {
        self.happenings.contains(&Happening::Reset(now))
    }

    pub(super) fn has_vanished(&self, now: Timestamp) -> bool {
        self.happenings
            .iter()
            .any(|h| matches!(h, Happening::Vanish(p) if p.contains(&now)))
    }

    /// When what falls due at that end at `due` can be seen to.
    pub(super) fn thawed(&self, side: Side, due: Timestamp) -> Timestamp {
        let freezes = self.happenings.iter().filter_map(|h| match h {
            Happening::Freeze(who, p) if who.is(side) => Some(p),
            _ => None,
        });
        clear_of(freezes, due)
    }

    /// When what that end writes at `now` leaves.
    pub(super) fn leaves(&self, side: Side, now: Timestamp) -> Timestamp {
        let slow = self.happenings.iter().filter_map(|h| match h {
            Happening::Slow(who, p) if who.is(side) => Some(p),
            _ => None,
        });
        clear_of(slow, now)
    }

    /// What that end's clock shows.
    pub(super) fn clock(&self, side: Side, now: Timestamp) -> Timestamp {
        let mut shows = i128::from(now.as_nanos());
        for happening in &self.happenings {
            match happening {
                Happening::Ahead(who, at, by) if who.is(side) && *at <= now => {
                    shows = shows.saturating_add(nanos(*by));
                }
                Happening::Back(who, at, by) if who.is(side) && *at <= now => {
                    shows = shows.saturating_sub(nanos(*by));
                }
                _ => {}
            }
        }
        instant(u64::try_from(shows.max(0)).unwrap_or(u64::MAX))
    }

    /// The earliest instant from `now` on at which that end's clock shows
    /// `due`, if no jump comes first; `None` is never.
    pub(super) fn shows(&self, side: Side, due: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let clock = self.clock(side, now);
        now.checked_add(due.saturating_duration_since(clock))
    }

    /// The instants at which the world itself does something.
    pub(super) fn turns(&self) -> Vec<Timestamp> {
        let turns = self
            .happenings
            .iter()
            .filter_map(|happening| match happening {
                Happening::Down(period) | Happening::Vanish(period) => Some(period.start),
                Happening::Reset(at) | Happening::Ahead(_, at, _) | Happening::Back(_, at, _) => {
                    Some(*at)
                }
                _ => None,
            });
        let mut turns: Vec<_> = turns.collect();
        turns.sort_unstable();
        turns
    }
}

fn nanos(span: Duration) -> i128 {
    i128::try_from(span.as_nanos()).unwrap_or(i128::MAX)
}

/// The first instant from `now` on that is in none of the periods.
fn clear_of<'a>(
    periods: impl Iterator<Item = &'a Range<Timestamp>> + Clone,
    now: Timestamp,
) -> Timestamp {
    let mut clear = now;
    // Each turn ends past another period.
    while let Some(period) = periods.clone().find(|period| period.contains(&clear)) {
        clear = period.end;
    }
    clear
}

fn delay(bytes: &mut Bytes<'_>) -> Delay {
    let mut one = || match bytes.byte() {
        255 => bytes.span(),
        byte => Duration::from_millis(u64::from(byte) * 2),
    };
    let least = one();
    Delay::new(least, least.saturating_add(one()))
}

fn happening(bytes: &mut Bytes<'_>, now: &mut Timestamp) -> Happening {
    let kind = bytes.byte();
    let start = now.checked_add(bytes.span()).unwrap_or(Timestamp::MAX);
    // Most begin after the last began, and some with it.
    *now = start;
    let length = bytes.span().min(Duration::from_nanos(u64::MAX - 1));
    let period = start..start.checked_add(length).unwrap_or(Timestamp::MAX);
    let who = match kind / 8 % 3 {
        0 => Who::Client,
        1 => Who::Server,
        _ => Who::Both,
    };
    match kind % 8 {
        0 => Happening::Cut(who, period),
        1 => Happening::Freeze(who, period),
        2 => Happening::Slow(who, period),
        3 => Happening::Down(period),
        4 => Happening::Vanish(period),
        5 => Happening::Reset(start),
        6 => Happening::Ahead(who, start, length),
        _ => Happening::Back(who, start, length),
    }
}
