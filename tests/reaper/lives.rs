//! A year of a roster, against what is expected of each connection alone.

use core::time::Duration;

use nabiz::{ConfigBuilder, Key, Timestamp};

use super::driver::*;

/// What is known of a connection.
struct Peer {
    key: Key,
    heard: Timestamp,
    flushed: Timestamp,
    /// None if exempt.
    limit: Option<Duration>,
    /// Says nothing any more.
    mute: bool,
}

/// A roster, and the expectations.
struct World {
    roster: Roster,
    peers: Vec<Option<Peer>>,
    now: Timestamp,
    dice: Dice,
    interval: Duration,
    usual: Duration,
    /// The longest that may go wrong.
    resolution: Duration,
    beats: u64,
    closes: u64,
}

impl World {
    fn new(config: ConfigBuilder, resolution: Duration, start: Timestamp, count: usize) -> Self {
        let built = config.build().unwrap();
        let mut world = Self {
            roster: resolving(config, resolution, start),
            peers: Vec::new(),
            now: start,
            dice: Dice(start.as_nanos() ^ 77),
            interval: built.interval().unwrap(),
            usual: built.silence_timeout().unwrap(),
            resolution,
            beats: 0,
            closes: 0,
        };
        world.peers.resize_with(count, || None);
        for place in 0..count {
            world.come(place);
        }
        world
    }

    fn come(&mut self, place: usize) {
        let now = self.now;
        let name = u32::try_from(place).unwrap();
        let key = self.roster.insert(name, now);
        let mut limit = Some(self.usual);
        match self.dice.below(10) {
            0 => {
                limit = None;
                assert!(self.roster.exempt(key, now));
            }
            1..4 => {
                let own = self.usual / 2 + self.dice.span(self.usual);
                limit = Some(own);
                assert!(self.roster.set_silence_timeout(key, own, now).unwrap());
            }
            _ => {}
        }
        self.peers[place] = Some(Peer {
            key,
            heard: now,
            flushed: now,
            limit,
            mute: self.dice.one_in(5),
        });
    }

    /// Something happens to somebody.
    fn stir(&mut self) {
        let now = self.now;
        let place = usize::try_from(self.dice.below(self.peers.len() as u64)).unwrap();
        let chance = self.dice.below(100);
        let Some(peer) = &mut self.peers[place] else {
            if chance < 30 {
                self.come(place);
            }
            return;
        };
        match chance {
            0 => {
                assert!(self.roster.remove(peer.key).is_some());
                self.peers[place] = None;
            }
            1 => peer.mute = true,
            2..60 if !peer.mute => {
                assert!(self.roster.received(peer.key, now));
                peer.heard = now;
            }
            60..80 if !peer.mute => {
                assert!(self.roster.heartbeat_received(peer.key, now));
                peer.heard = now;
            }
            _ => {
                self.check_beat(place);
                if let Some(peer) = &mut self.peers[place] {
                    assert!(self.roster.sent(peer.key, now));
                    peer.flushed = now;
                }
            }
        }
    }

    /// That no beat was due before now.
    #[track_caller]
    fn check_beat(&self, place: usize) {
        if let Some(peer) = &self.peers[place] {
            let latest = plus(peer.flushed, self.interval + self.resolution);
            let now = self.now;
            assert!(
                now <= latest,
                "{place} was to be beaten by {latest:?}, not {now:?}"
            );
        }
    }

    /// That nobody was due before now.
    #[track_caller]
    fn check_all(&self) {
        for place in 0..self.peers.len() {
            self.check_beat(place);
            if let Some(peer) = &self.peers[place] {
                let latest = peer
                    .limit
                    .map(|limit| plus(peer.heard, limit + self.resolution));
                let now = self.now;
                assert!(
                    latest.is_none_or(|latest| now <= latest),
                    "{place} was to be closed by {latest:?}, not {now:?}"
                );
            }
        }
        let count = self.peers.iter().flatten().count();
        assert_eq!(self.roster.len(), count);
        assert_eq!(self.roster.counters().stalls, 0);
    }

    fn run_until(&mut self, until: Timestamp) {
        while let Some(due) = self.roster.deadline() {
            if due > until {
                break;
            }
            self.now = self.now.max(due);
            self.poll();
        }
        self.now = until;
    }

    fn poll(&mut self) {
        let now = self.now;
        while let Some(reap) = self.roster.poll(now) {
            match reap {
                nabiz::Reap::Yield => {}
                nabiz::Reap::Heartbeat { key, value } => {
                    let place = usize::try_from(*value).unwrap();
                    assert!(self.roster.heartbeat_sent(key, now));
                    self.check_beat(place);
                    let peer = self.peers[place].as_mut().unwrap();
                    assert_eq!(peer.key, key);
                    peer.flushed = now;
                    self.beats += 1;
                }
                nabiz::Reap::Close {
                    key, value, reason, ..
                } => {
                    let place = usize::try_from(value).unwrap();
                    let peer = self.peers[place].take().unwrap();
                    assert_eq!((peer.key, reason), (key, PeerSilent));
                    let limit = plus(peer.heard, peer.limit.unwrap());
                    assert!(now >= limit, "closed at {now:?}, before {limit:?}");
                    let late = now.saturating_duration_since(limit);
                    assert!(late <= self.resolution, "closed {late:?} after {limit:?}");
                    self.closes += 1;
                }
            }
        }
        assert!(self.roster.deadline().is_none_or(|due| due > now));
    }

    /// Lives for so long, with a stir every so often.
    fn live(&mut self, span: Duration, stirs: u32) {
        let end = plus(self.now, span);
        let pause = span / stirs * 2;
        let mut turn = 0u32;
        while self.now < end {
            let next = plus(self.now, self.dice.span(pause));
            self.run_until(next);
            self.stir();
            turn += 1;
            if turn % 512 == 0 {
                self.check_all();
            }
        }
        self.check_all();
    }
}

const DAY: Duration = secs(24 * 3600);

/// A server whose limits are days, so that a year is not too much of a test.
fn slow() -> ConfigBuilder {
    nabiz::Config::server()
        .with_interval(DAY / 3)
        .with_silence_timeout(DAY)
}

#[test]
fn a_year_at_the_default_resolution() {
    // Flushes are told by fewer bits than a year has ticks.
    let mut world = World::new(slow(), RESOLUTION, at(0), 200);
    world.live(DAY * 365, 200_000);
    println!("{} beats, {} closes", world.beats, world.closes);
    assert!(world.beats > 100_000 && world.closes > 5_000);
}

#[test]
fn a_week_at_the_defaults() {
    let config = nabiz::Config::server();
    let mut world = World::new(config, RESOLUTION, at(123_456_789), 20);
    world.live(DAY * 7, 200_000);
    println!("{} beats, {} closes", world.beats, world.closes);
    assert!(world.beats > 50_000 && world.closes > 5_000);
}

#[test]
fn a_year_of_beats_that_are_not_spread() {
    let config = slow().with_spread_first_beat(false);
    let mut world = World::new(config, RESOLUTION, at(987_654_321), 100);
    world.live(DAY * 365, 100_000);
    assert!(world.beats > 30_000 && world.closes > 2_000);
}

#[test]
fn half_a_year_at_a_resolution_of_a_millisecond() {
    let config = slow().with_interval(DAY / 4).with_silence_timeout(DAY / 2);
    let mut world = World::new(config, millis(1), at(5), 100);
    world.live(DAY * 200, 100_000);
    assert!(world.beats > 30_000 && world.closes > 2_000);
}

/// A clock so fine that all its bits are used up in less than an hour.
#[test]
fn clocks_that_run_out_of_bits_are_wound_on() {
    let config = nabiz::Config::server()
        .with_interval(millis(60))
        .with_silence_timeout(millis(150))
        .with_write_timeout(millis(100));
    for start in [at(0), at(1_000_000_007)] {
        let nanos = Duration::from_nanos(2);
        let mut world = World::new(config, nanos, start, 5);
        // 2⁴¹ ns are 2199 s. What is between is slept through.
        for leap in [0, 2190, 1090, 1090, 100_000] {
            for place in 0..5 {
                if let Some(peer) = world.peers[place].take() {
                    world.roster.remove(peer.key);
                }
            }
            world.run_until(plus(world.now, secs(leap)));
            for place in 0..5 {
                world.come(place);
            }
            world.live(secs(30), 3_000);
        }
        assert!(
            world.beats > 4_000 && world.closes > 200,
            "{} {}",
            world.beats,
            world.closes
        );
    }
}

#[test]
fn clocks_are_wound_on_while_everyone_lives() {
    let config = nabiz::Config::server()
        .with_interval(secs(8))
        .with_silence_timeout(secs(10))
        .with_write_timeout(secs(5));
    // Ticks of 64 ns: 2⁴¹ of them are 39 hours.
    let mut world = World::new(config, Duration::from_nanos(150), at(0), 4);
    world.live(DAY * 2, 60_000);
    assert!(
        world.beats > 20_000 && world.closes > 1_000,
        "{} {}",
        world.beats,
        world.closes
    );
}
