//! Beats do not bunch, whatever is done to the roster.
//!
//! Measured in tenths of a second, against the mean rate of one beat an
//! interval for each connection.

use core::time::Duration;

use nabiz::{Config, ConfigBuilder, Key};

use super::driver::*;

/// As many as a test can bear.
const MANY: u32 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};
const SOME: u32 = if cfg!(debug_assertions) {
    40_000
} else {
    200_000
};

/// Few enough for chance to show in a tenth of a second.
const NOISE: f64 = if cfg!(debug_assertions) { 0.15 } else { 0.0 };

/// Of several cases, each or every third.
const STEP: usize = if cfg!(debug_assertions) { 3 } else { 1 };

const INTERVAL: u64 = 55;

fn quiet() -> ConfigBuilder {
    Config::server()
        .with_interval(secs(INTERVAL))
        .without_silence_timeout()
}

/// A crowd, and when each of it was sent to.
struct Crowd {
    roster: Roster,
    keys: Vec<Option<Key>>,
    flushed: Vec<u64>,
    now: u64,
    /// Beats in each tenth of a second.
    tenths: Vec<u32>,
    longest: u64,
    label: String,
}

const MILLI: u64 = 1_000_000;
const TENTH: u64 = 100 * MILLI;

impl Crowd {
    fn new(label: &str, config: ConfigBuilder) -> Self {
        Self {
            roster: roster(config),
            keys: Vec::new(),
            flushed: Vec::new(),
            now: 0,
            tenths: Vec::new(),
            longest: 0,
            label: label.to_owned(),
        }
    }

    /// So many, all within the next second.
    fn filled(label: &str, config: ConfigBuilder, count: u32) -> Self {
        let mut crowd = Self::new(label, config);
        crowd.grow(count, 1000 * MILLI);
        crowd
    }

    /// So many more over so long.
    fn grow(&mut self, count: u32, span: u64) {
        let start = self.now;
        for number in 0..u64::from(count) {
            let when = start + span * number / u64::from(count);
            // Not for each: a server accepts in batches.
            if number % 64 == 0 {
                self.run_until(when);
            }
            let name = u32::try_from(self.keys.len()).unwrap();
            let key = self.roster.insert(name, instant(self.now));
            self.keys.push(Some(key));
            self.flushed.push(self.now);
        }
        self.run_until(start + span);
    }

    fn len(&self) -> usize {
        self.roster.len()
    }

    fn remove_if(&mut self, gone: impl Fn(usize) -> bool) {
        for (place, key) in self.keys.iter_mut().enumerate() {
            if gone(place) {
                if let Some(key) = key.take() {
                    self.roster.remove(key).unwrap();
                }
            }
        }
    }

    fn send(&mut self, name: usize) {
        if let Some(key) = self.keys[name] {
            self.longest = self.longest.max(self.now - self.flushed[name]);
            self.roster.sent(key, instant(self.now));
            self.flushed[name] = self.now;
        }
    }

    fn broadcast(&mut self) {
        for name in 0..self.keys.len() {
            self.send(name);
        }
    }

    fn run_until(&mut self, until: u64) {
        let Self {
            roster,
            flushed,
            tenths,
            longest,
            ..
        } = self;
        drive(
            roster,
            instant(self.now),
            instant(until),
            |roster, now, key, did, _| {
                let Did::Beat(name) = did else {
                    panic!("{did:?}");
                };
                assert!(roster.heartbeat_sent(key, now));
                let nanos = now.as_nanos();
                let last = std::mem::replace(&mut flushed[usize::try_from(name).unwrap()], nanos);
                *longest = (*longest).max(nanos - last);
                let tenth = usize::try_from(nanos / TENTH).unwrap();
                if tenths.len() <= tenth {
                    tenths.resize(tenth + 1, 0);
                }
                tenths[tenth] += 1;
            },
        );
        self.now = until;
    }

    fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + u64::try_from(span.as_nanos()).unwrap());
    }

    /// The most beats in a tenth of a second of the `index`th interval after
    /// `start`, as a multiple of the mean.
    fn peak(&self, start: u64, index: u64) -> f64 {
        let tenths = |nanos: u64| usize::try_from(nanos / TENTH).unwrap();
        let from = tenths(start + index * INTERVAL * 1000 * MILLI);
        let until = from + tenths(INTERVAL * 1000 * MILLI);
        let peak = self.tenths[from.min(self.tenths.len())..until.min(self.tenths.len())]
            .iter()
            .max();
        let mean = self.len() as f64 / (INTERVAL * 10) as f64;
        f64::from(peak.copied().unwrap_or(0)) / mean
    }

    /// Runs for so many intervals, and tells the peak of each.
    fn peaks(&mut self, intervals: u64) -> Vec<f64> {
        let start = self.now;
        self.run_for(secs(INTERVAL * intervals));
        let peaks: Vec<f64> = (0..intervals)
            .map(|index| self.peak(start, index))
            .collect();
        let longest = Duration::from_nanos(self.longest);
        println!("{}: peaks {peaks:.2?}, longest gap {longest:?}", self.label);
        self.assert_kept_warm();
        peaks
    }

    /// Nobody waits longer than the interval, to the resolution.
    #[track_caller]
    fn assert_kept_warm(&self) {
        let most = (INTERVAL * 1000 + 20) * MILLI;
        assert!(self.longest <= most, "{}: {} ns", self.label, self.longest);
        for (name, key) in self.keys.iter().enumerate() {
            if key.is_some() {
                let since = self.now - self.flushed[name];
                assert!(since <= most, "{}: {name} since {since} ns", self.label);
            }
        }
    }
}

fn instant(nanos: u64) -> nabiz::Timestamp {
    nabiz::Timestamp::from_nanos(nanos).unwrap()
}

#[track_caller]
fn assert_even(peaks: &[f64], most: f64) {
    let most = most + NOISE;
    assert!(peaks.iter().all(|peak| *peak <= most), "{peaks:.2?}");
}

#[test]
fn a_million_that_came_in_the_same_second_do_not_beat_together() {
    let mut crowd = Crowd::filled("same second", quiet(), MANY);
    assert_even(&crowd.peaks(5), 1.3);
}

#[test]
fn a_million_that_came_at_the_same_instant_do_not_beat_together() {
    let mut crowd = Crowd::new("same instant", quiet());
    crowd.grow(MANY, 0);
    assert_even(&crowd.peaks(4), 1.3);
}

#[test]
fn without_jitter_they_do_not_beat_together_either() {
    let config = quiet().with_interval_jitter(nabiz::Ratio::ZERO);
    let mut crowd = Crowd::filled("no jitter", config, SOME);
    assert_even(&crowd.peaks(4), 1.3);
}

#[test]
fn a_broadcast_does_not_synchronise_them() {
    for phase in (0..11).step_by(STEP).map(|phase| phase * 5000 + 700) {
        let mut crowd = Crowd::filled(&format!("broadcast at {phase} ms"), quiet(), SOME);
        crowd.run_for(secs(2 * INTERVAL));
        crowd.run_for(millis(phase));
        crowd.broadcast();
        assert_even(&crowd.peaks(4), 1.3);
    }
}

#[test]
fn two_broadcasts_do_not_synchronise_them() {
    for gap in [1, 5, 12, 20, 30, 44, 54].into_iter().step_by(STEP) {
        let mut crowd = Crowd::filled(&format!("broadcasts {gap} s apart"), quiet(), SOME);
        crowd.run_for(secs(2 * INTERVAL + 3));
        crowd.broadcast();
        crowd.run_for(secs(gap));
        crowd.broadcast();
        assert_even(&crowd.peaks(4), 1.3);
    }
}

#[test]
fn a_broadcast_soon_after_they_came_does_not_synchronise_them() {
    let mut crowd = Crowd::filled("early broadcast", quiet(), SOME);
    crowd.run_for(secs(3));
    crowd.broadcast();
    assert_even(&crowd.peaks(4), 1.3);
}

#[test]
fn broadcasts_that_go_on_do_not_synchronise_them() {
    for period in [10, 12, 30, 50, 56, 70].into_iter().step_by(STEP) {
        let mut crowd = Crowd::filled(&format!("broadcast every {period} s"), quiet(), SOME);
        crowd.run_for(secs(INTERVAL));
        let start = crowd.now;
        for _ in 0..6 {
            crowd.broadcast();
            crowd.run_for(secs(period));
        }
        crowd.assert_kept_warm();
        let intervals = (crowd.now - start) / (INTERVAL * 1000 * MILLI);
        let peaks: Vec<f64> = (0..intervals)
            .map(|index| crowd.peak(start, index))
            .collect();
        println!("{}: {peaks:.2?}", crowd.label);
        assert_even(&peaks, 1.3);
    }
}

#[test]
fn chatter_at_random_does_not_synchronise_them() {
    let mut crowd = Crowd::filled("chatter", quiet(), SOME);
    crowd.run_for(secs(INTERVAL));
    let mut dice = Dice(5);
    let start = crowd.now;
    // Each is sent to about once in two intervals.
    for _ in 0..INTERVAL * 40 {
        for _ in 0..SOME / u32::try_from(INTERVAL * 20).unwrap() {
            let name = dice.below(u64::from(SOME));
            crowd.send(usize::try_from(name).unwrap());
        }
        crowd.run_for(millis(100));
    }
    let peaks: Vec<f64> = (0..4).map(|index| crowd.peak(start, index)).collect();
    println!("during chatter: {peaks:.2?}");
    assert_even(&peaks, 1.3);
    assert_even(&crowd.peaks(3), 1.3);
}

#[test]
fn a_broadcast_to_a_part_does_not_synchronise_it() {
    for part in [2, 3, 10] {
        let mut crowd = Crowd::filled(&format!("broadcast to one in {part}"), quiet(), SOME);
        crowd.run_for(secs(2 * INTERVAL));
        for name in (0..crowd.keys.len()).step_by(part) {
            crowd.send(name);
        }
        assert_even(&crowd.peaks(3), 1.3);
    }
    let mut crowd = Crowd::filled("broadcast to the first half", quiet(), SOME);
    crowd.run_for(secs(2 * INTERVAL));
    for name in 0..crowd.keys.len() / 2 {
        crowd.send(name);
    }
    assert_even(&crowd.peaks(3), 1.3);
}

// ------------------------------------------------- rosters that change in size

#[test]
fn a_roster_that_grows_slowly_is_kept_warm_and_settles() {
    for span in [100, 300, 1000] {
        let mut crowd = Crowd::new(&format!("grown over {span} s"), quiet());
        crowd.grow(SOME, span * 1000 * MILLI);
        let peaks = crowd.peaks(5);
        assert_even(&peaks, 2.1);
        assert_even(&peaks[3..], 1.3);
    }
}

#[test]
fn a_roster_that_doubles_is_kept_warm_and_settles() {
    let mut crowd = Crowd::filled("doubled", quiet(), SOME / 2);
    crowd.run_for(secs(INTERVAL * 2 + 20));
    crowd.grow(SOME / 2, 1000 * MILLI);
    let peaks = crowd.peaks(5);
    assert_even(&peaks, 2.1);
    assert_even(&peaks[3..], 1.3);
}

/// What is left when these are gone.
fn thinned(label: &str, gone: impl Fn(usize) -> bool) -> Vec<f64> {
    let mut crowd = Crowd::filled(label, quiet(), MANY);
    crowd.run_for(secs(2 * INTERVAL));
    crowd.remove_if(gone);
    crowd.peaks(5)
}

#[test]
fn a_roster_that_shrinks_to_a_tenth_evenly_stays_even() {
    let peaks = thinned("one in ten is left", |place| place % 10 != 0);
    assert_even(&peaks, 1.3);
    let peaks = thinned("every second is left", |place| place % 2 != 0);
    assert_even(&peaks, 1.3);
    let peaks = thinned("one in three is left, at random", |place| {
        (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62 != 0
    });
    assert_even(&peaks, 1.3);
}

#[test]
fn a_roster_that_lost_a_contiguous_part_is_kept_warm_and_settles() {
    let count = usize::try_from(MANY).unwrap();
    let first = thinned("the first half is gone", |place| place < count / 2);
    let second = thinned("the second half is gone", |place| place >= count / 2);
    let tenth = thinned("the first tenth is left", |place| place >= count / 10);
    // What was far behind comes in the first interval, and is then in step.
    for peaks in [first, second, tenth] {
        assert_even(&peaks, 2.7);
        assert_even(&peaks[1..], 1.5);
        assert_even(&peaks[2..], 1.3);
    }
}

#[test]
fn a_roster_that_turns_over_is_kept_warm_and_stays_even() {
    let mut crowd = Crowd::filled("turnover", quiet(), SOME);
    crowd.run_for(secs(2 * INTERVAL));
    let mut dice = Dice(8);
    let start = crowd.now;
    // A tenth goes and comes in each interval.
    for _ in 0..INTERVAL * 30 {
        for _ in 0..SOME / u32::try_from(INTERVAL * 100).unwrap() {
            let name = usize::try_from(dice.below(u64::from(SOME))).unwrap();
            let old = crowd.keys[name].take().unwrap();
            crowd.roster.remove(old).unwrap();
            let number = u32::try_from(name).unwrap();
            let key = crowd.roster.insert(number, instant(crowd.now));
            crowd.keys[name] = Some(key);
            crowd.flushed[name] = crowd.now;
        }
        crowd.run_for(millis(100));
    }
    crowd.assert_kept_warm();
    let peaks: Vec<f64> = (0..3).map(|index| crowd.peak(start, index)).collect();
    println!("turnover: {peaks:.2?}");
    assert_even(&peaks, 1.3);
}
