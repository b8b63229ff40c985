//! What holds inside a roster after every call: nobody is due before its group
//! is, and what is told quickly agrees with what is told one by one.

use std::format;
use std::vec::Vec;

use super::verdict::Judgement;
use super::*;
use crate::time::Ratio;

/// A pseudo-random life's dice.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }

    fn config(&mut self) -> Config {
        let mut config = Config::server()
            .with_interval(self.millis(1, 20_000))
            .with_silence_timeout(self.millis(5001, 60_000))
            .with_write_timeout(self.millis(1, 30_000))
            .with_only_when_idle(!self.one_in(3))
            .with_spread_first_beat(!self.one_in(3))
            .with_interval_jitter(Ratio::percent(if self.one_in(2) { 50 } else { 0 }));
        if self.one_in(4) {
            config = config.without_interval();
        }
        if self.one_in(4) {
            config = config.without_silence_timeout();
        }
        if self.one_in(4) {
            config = config.without_write_timeout();
        }
        if self.one_in(3) {
            config = config.with_hello_timeout(self.millis(1, 5000));
        }
        if self.one_in(4) {
            config = config.with_flood(Duration::from_millis(100), 2);
        }
        if self.one_in(4) {
            config = config.with_max_age(Duration::from_secs(100));
        }
        if self.one_in(3) {
            config = config.with_evidence(Evidence::Heartbeats);
        }
        if self.one_in(2) {
            config = config.with_probes(3);
        }
        if self.one_in(2) {
            config = config.with_stall_tolerance(self.millis(1, 20_000));
        }
        config.build().unwrap()
    }
}

struct Life {
    dice: Dice,
    reaper: Reaper<u32>,
    keys: Vec<Key>,
    now: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(77_777));
        let _ = [dice.below(2), dice.below(2)];
        let config = dice.config();
        let now = match dice.one_in(8) {
            true => u64::MAX - 100_000_000_000 - dice.below(1 << 30),
            false => dice.below(1 << 30),
        };
        let fine = Duration::from_micros(300 + dice.below(1000));
        let resolution = if dice.one_in(2) {
            fine
        } else {
            dice.millis(1, 3000)
        };
        let reaper = Reaper::new(config, seed, instant(now)).unwrap();
        let reaper = reaper.with_resolution(resolution).unwrap();
        let capacity = usize::try_from(dice.below(3000)).unwrap();
        Self {
            reaper: if dice.one_in(2) {
                reaper.with_capacity(capacity)
            } else {
                reaper
            },
            dice,
            keys: Vec::new(),
            now,
        }
    }

    fn pick(&mut self) -> Option<Key> {
        let count = self.keys.len().max(1) as u64;
        let place = usize::try_from(self.dice.below(count)).unwrap();
        self.keys.get(place).copied()
    }

    fn poll(&mut self) -> bool {
        let (mut closed, mut beat) = (None, None);
        match self.reaper.poll(instant(self.now)) {
            Some(Reap::Close { key, .. }) => closed = Some(key),
            Some(Reap::Heartbeat { key, .. }) => beat = Some(key),
            Some(Reap::Yield) => {}
            None => return false,
        }
        self.keys.retain(|key| Some(*key) != closed);
        if let Some(key) = beat.filter(|_| self.dice.one_in(2)) {
            self.reaper.heartbeat_sent(key, instant(self.now));
        }
        true
    }

    /// Any call; gives its name.
    fn step(&mut self, longest: u64) -> &'static str {
        if self.dice.one_in(2) {
            self.now = self.now.saturating_add(self.dice.below(longest));
        }
        if self.dice.one_in(300) {
            let leap = 1 << (35 + self.dice.below(24));
            self.now = self.now.saturating_add(leap);
        }
        let now = instant(self.now);
        let any = self.pick();
        match (self.dice.below(13), any) {
            (0, _) if self.keys.len() < 150 => {
                for name in 0..10 {
                    self.keys.push(self.reaper.insert(name, now));
                }
                "insert"
            }
            (1 | 2, Some(key)) => {
                self.reaper.received(key, now);
                "received"
            }
            (3, Some(key)) => {
                self.reaper.heartbeat_received(key, now);
                "heartbeat_received"
            }
            (4, Some(key)) => {
                self.reaper.sent(key, now);
                "sent"
            }
            (5, Some(key)) => {
                self.reaper.heartbeat_sent(key, now);
                "heartbeat_sent"
            }
            (6, Some(key)) if self.dice.one_in(3) => {
                assert!(self.reaper.remove(key).is_some());
                self.keys.retain(|other| *other != key);
                "remove"
            }
            (7, _) if self.dice.one_in(20) => {
                self.reaper.resumed(now);
                "resumed"
            }
            (8, Some(key)) if self.dice.one_in(8) => {
                let timeout = self.dice.millis(5001, 55_000);
                assert_eq!(self.reaper.set_silence_timeout(key, timeout, now), Ok(true));
                "set_silence_timeout"
            }
            (9, _) if self.dice.one_in(100) => {
                self.reaper.drain(self.dice.millis(0, 50_000), now);
                "drain"
            }
            (10, _) => {
                self.poll();
                "poll"
            }
            _ => {
                let due = self.reaper.deadline().map_or(0, Timestamp::as_nanos);
                self.now = self.now.max(due);
                let polls = (0..5000).take_while(|_| self.poll()).count();
                assert!(polls < 5000, "no end to it");
                let due = self.reaper.deadline();
                let now = instant(self.now).max(self.reaper.now);
                assert!(due.is_none_or(|due| due > now), "{due:?} at {now:?}");
                "polls"
            }
        }
    }
}

fn instant(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos).unwrap_or(Timestamp::MAX)
}

fn check(reaper: &Reaper<u32>, after: &str) {
    let tick = reaper.ticks.end(5) - reaper.ticks.end(4);
    for index in 0..reaper.roster.places() {
        let (group, bit) = (index / GROUP, index % GROUP);
        let is_due = reaper.visit.group == group && reaper.visit.todo >> bit & 1 != 0;
        if reaper.roster.live_slot(index).is_none() || is_due {
            continue;
        }
        let due = match reaper.judge(index) {
            Judgement::Wait(due) => due,
            _ => reaper.now.as_nanos(),
        };
        let held = reaper.dues.of(group);
        assert!(
            held <= due.saturating_add(tick),
            "{after}: {index}: {held} > {due}"
        );
    }
    for group in (0..reaper.dues.len()).filter(|_| reaper.is_plain()) {
        let live = reaper.roster.live_in(group);
        let (todo, rest) = reaper.compare(group, live);
        let (todo_each, _) = reaper.compare_each(group, live);
        let (_, rest_each) = reaper.compare_each(group, live & !todo);
        assert_eq!(todo_each & !todo, 0, "{after}");
        assert!(rest <= rest_each && rest > reaper.now.as_nanos(), "{after}");
    }
}

#[test]
fn nobody_is_due_before_the_group_is() {
    let lives = if cfg!(debug_assertions) { 300 } else { 3000 };
    for seed in 0..lives {
        let mut life = Life::new(seed);
        let longest = 1 << (10 + life.dice.below(30));
        for _ in 0..300 {
            let call = life.step(longest);
            check(&life.reaper, &format!("seed {seed}, {call}"));
            assert_eq!(life.reaper.len(), life.keys.len());
        }
    }
}

#[test]
fn there_is_as_much_beside_the_slots_as_slots() {
    let config = Config::server().with_flood(Duration::from_secs(1), 3);
    let config = config.with_max_age(Duration::from_secs(1000));
    let mut reaper = Reaper::new(config.build().unwrap(), 1, instant(0)).unwrap();
    for name in 0..300 {
        let key = reaper.insert(name, instant(0));
        reaper.exempt(key, instant(0));
        let places = reaper.roster.places();
        assert_eq!(reaper.dues.len() * GROUP, places);
        for column in [
            reaper.flushes.len(),
            reaper.buckets.len(),
            reaper.retirements.len(),
            reaper.silences.len(),
        ] {
            assert_eq!(column, places);
        }
    }
}

#[cfg(feature = "std")]
#[test]
fn what_is_old_stays_old_when_it_is_told_again() {
    let start = 1 << 50;
    let config = Config::server().build().unwrap();
    let mut reaper = Reaper::new(config, 1, instant(start)).unwrap();
    let first = reaper.ticks.start(1);
    assert_eq!(reaper.tick_of(instant(0)), 0);
    assert_eq!(reaper.tick_of(instant(first - 1)), 0);
    assert_eq!(reaper.tick_of(instant(first)), 1);

    assert_eq!(reaper.last_link(), 0);
    let key = reaper.insert(0, instant(start));
    reaper.insert(1, instant(start));
    assert_eq!(reaper.last_link(), 2);

    // News of the same flush does not undo what was put off since.
    let index = key.index();
    reaper.flushes[index] = reaper.flushes[index].put_off();
    let news = news::News {
        sent: Some(instant(start)),
        ..Default::default()
    };
    reaper.learn(index, &|_| news);
    assert!(reaper.flushes[index].is_put_off());
}

#[test]
fn evidence_is_later_than_the_amnesties_before_it() {
    let config = Config::server().build().unwrap();
    let mut reaper = Reaper::<u32>::new(config, 1, instant(0)).unwrap();
    let at = |secs: u64| instant(secs * 1_000_000_000);
    reaper.resumed(at(10));
    let tick = reaper.amnesties.younger.unwrap().tick;
    assert_eq!(reaper.amnesties.passed(at(9), tick), tick);
    assert_eq!(reaper.amnesties.passed(at(10), tick), tick + 1);
    assert_eq!(reaper.amnesties.passed(at(10), tick + 9), tick + 9);
}
