//! The laws, held against rosters: each is watched by a full scan of a plain
//! list ([`CheckedReaper`]), and beside a session for each connection. What a
//! single call cannot show has a test of its own.

#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

#[path = "common/cases.rs"]
mod cases;
mod common;

use std::time::Duration;

use cases::{bytes, settings};
use common::{at, secs};
use nabiz::testing::{CheckedReaper, Reaped, RosterScript};
use nabiz::{CloseReason, Config, Key, Timestamp};
use proptest::prelude::*;

proptest! {
    #![proptest_config(settings(1_500, 1))]

    /// All laws that a call can show, at any times and in any order.
    #[test]
    fn hostile(bytes in bytes(400)) {
        // Law 11, too: the same again.
        let script = RosterScript::new(&bytes);
        prop_assert_eq!(script.run(), script.run());
    }

    /// Law 12: the verdicts are those of as many sessions.
    #[test]
    fn law_12_beside_sessions(bytes in bytes(400)) {
        let _ = RosterScript::new(&bytes).run_beside_sessions();
    }
}

proptest! {
    #![proptest_config(settings(20, 50))]

    /// The same over several groups of the roster.
    #[test]
    fn a_crowd(bytes in bytes(160), crowd in 20..45_usize) {
        let _ = RosterScript::new(&bytes).with_crowd(crowd).run_beside_sessions();
    }
}

/// A driver that wakes at each deadline, and flushes heartbeats at once or
/// never; whom it closed, and when.
struct Driver {
    reaper: CheckedReaper,
    flushes: bool,
    closed: Vec<(Key, CloseReason, Timestamp)>,
    yields: usize,
}

impl Driver {
    fn new(config: Config, seed: u64) -> Self {
        Self {
            reaper: CheckedReaper::new(config, seed, at(0)).unwrap(),
            flushes: true,
            closed: Vec::new(),
            yields: 0,
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.reaper.reaper().deadline()
    }

    fn poll(&mut self, now: Timestamp) {
        while let Some(reaped) = self.reaper.poll(now) {
            match reaped {
                Reaped::Heartbeat { key, .. } if self.flushes => {
                    self.reaper.heartbeat_sent(key, now);
                }
                Reaped::Heartbeat { .. } => {}
                Reaped::Close { key, reason, .. } => self.closed.push((key, reason, now)),
                Reaped::Yield => self.yields += 1,
            }
        }
    }

    /// Wakes at all deadlines before an instant.
    fn until(&mut self, end: Timestamp) -> u32 {
        let mut wakes = 0;
        while let Some(due) = self.due().filter(|due| *due < end) {
            self.poll(due);
            wakes += 1;
        }
        wakes
    }
}

fn later(since: Timestamp, wait: Duration) -> Timestamp {
    since.checked_add(wait).unwrap()
}

proptest! {
    #![proptest_config(settings(30, 20))]

    /// Laws 1, 2 and 4 on the good days: whoever is heard of in time stays, who
    /// no longer is goes within the resolution, and a driver that is never late
    /// is never told that it was.
    #[test]
    fn a_polite_driver_closes_the_silent_alone(
        silence in 2..200_u64,
        interval in 1..200_u64,
        seed: u64,
        lives in prop::collection::vec((0..100_u64, 0..1_000_u64, 1..12_u64), 1..60),
    ) {
        let config = Config::server()
            .with_silence_timeout(secs(silence))
            .with_interval(secs(interval))
            .build()
            .unwrap();
        let mut driver = Driver::new(config, seed);
        driver.reaper = driver.reaper.with_sessions();
        // When each is heard of: first, then so many times.
        let mut heard = Vec::new();
        let (keys, mut last): (Vec<Key>, Vec<Timestamp>) = lives
            .iter()
            .map(|_| (driver.reaper.insert(0, at(0)), at(0)))
            .unzip();
        for (who, (first, part, times)) in lives.into_iter().enumerate() {
            let mut now = secs(silence) * u32::try_from(first).unwrap() / 100;
            for _ in 0..times {
                heard.push((later(at(0), now), who));
                now += secs(silence) * u32::try_from(part).unwrap() / 1_000;
            }
        }
        heard.sort();
        for (now, who) in heard {
            driver.until(now);
            prop_assert!(driver.reaper.received(keys[who], now));
            last[who] = now;
        }
        driver.until(Timestamp::MAX);
        prop_assert_eq!(driver.reaper.reaper().counters().stalls, 0);
        prop_assert_eq!(driver.closed.len(), keys.len());
        for (key, reason, now) in driver.closed {
            let who = keys.iter().position(|held| *held == key).unwrap();
            let limit = later(last[who], secs(silence));
            prop_assert_eq!(reason, CloseReason::PeerSilent);
            prop_assert!(limit <= now && now <= later(limit, Duration::from_millis(20)));
        }
    }

    /// Law 4: polled at any period, who stays silent is gone within twice the
    /// limit and the period, whenever the silence began.
    #[test]
    fn law_4_forgiveness_ends_at_any_period(
        silence in 2..100_u64,
        interval in 1..100_u64,
        write in 1..100_u64,
        seed: u64,
        period in 1..300_000_u64,
        flushes: bool,
        words in prop::collection::vec(0..40_usize, 1..20),
    ) {
        let config = Config::server()
            .with_silence_timeout(secs(silence))
            .with_interval(secs(interval))
            .with_write_timeout(secs(write))
            .build()
            .unwrap();
        let period = Duration::from_millis(period);
        let mut driver = Driver::new(config, seed);
        driver.flushes = flushes;
        let mut now = at(0);
        let (keys, mut last): (Vec<Key>, Vec<Timestamp>) = words
            .iter()
            .map(|_| (driver.reaper.insert(0, now), now))
            .unzip();
        // The longest limit in force counts, also where it is on nobody's way.
        let limit = match flushes {
            true => secs(silence.max(write)),
            // Each heartbeat waits for a poll.
            false => secs(silence).max(secs(interval).max(period) + secs(write)),
        };
        let way = (limit + period) * 2 + Duration::from_millis(20);
        for tick in 0_usize.. {
            if driver.reaper.reaper().is_empty() {
                break;
            }
            now = later(now, period);
            for (who, words) in words.iter().enumerate() {
                if tick < *words && driver.reaper.received(keys[who], now) {
                    last[who] = now;
                }
            }
            driver.poll(now);
            for (key, since) in keys.iter().zip(&last) {
                let is_overdue = now >= later(*since, way);
                prop_assert!(!is_overdue || !driver.reaper.reaper().contains(*key));
            }
        }
    }

    /// Law 10: a key of any bits, as those of another roster are, is refused by
    /// each call or is one that this roster gave.
    #[test]
    fn law_10_keys_of_any_bits(bits: u64, many in 0..5_u64) {
        let config = Config::server().build().unwrap();
        let mut reaper = CheckedReaper::new(config, 42, at(0)).unwrap();
        let given: Vec<Key> = (0..many).map(|who| reaper.insert(who, at(0))).collect();
        let Some(key) = Key::from_bits(bits) else {
            return Ok(());
        };
        let is_known = given.contains(&key);
        prop_assert_eq!(reaper.reaper().contains(key), is_known);
        prop_assert_eq!(reaper.received(key, at(1)), is_known);
        prop_assert_eq!(reaper.heartbeat_received(key, at(1)), is_known);
        prop_assert_eq!(reaper.sent(key, at(1)), is_known);
        prop_assert_eq!(reaper.heartbeat_sent(key, at(1)), is_known);
        prop_assert_eq!(reaper.exempt(key, at(1)), is_known);
        prop_assert_eq!(reaper.remove(key).is_some(), is_known);
    }

    /// A drain is even, and takes everyone, also who comes meanwhile.
    #[test]
    fn a_drain_takes_everyone_in_its_window(
        seed: u64,
        many in 0..150_usize,
        window in 0..100_000_u64,
        guests in prop::collection::vec(0..150_000_u64, 0..10),
    ) {
        let config = Config::server().without_silence_timeout().build().unwrap();
        let mut driver = Driver::new(config, seed);
        for _ in 0..many {
            driver.reaper.insert(0, at(0));
        }
        let window = Duration::from_millis(window);
        driver.reaper.drain(window, at(0));
        let mut guests: Vec<Duration> = guests.into_iter().map(Duration::from_millis).collect();
        guests.sort();
        for wait in &guests {
            let now = later(at(0), *wait);
            driver.until(now);
            driver.reaper.insert(1, now);
            driver.poll(now);
        }
        driver.until(Timestamp::MAX);
        prop_assert_eq!(driver.closed.len(), many + guests.len());
        let latest = guests.last().copied().unwrap_or_default().max(window);
        for (_, reason, now) in driver.closed {
            prop_assert_eq!(reason, CloseReason::Draining);
            prop_assert!(now <= later(at(0), latest));
        }
    }
}

/// Law 7: who was drained comes back after the drain, and spread over as long.
#[test]
fn law_7_a_drained_roster_comes_back_spread() {
    let window = secs(60);
    for seed in 0..3 {
        let config = Config::server().without_interval().build().unwrap();
        let mut reaper = CheckedReaper::new(config, seed, at(0)).unwrap();
        for who in 0..300 {
            reaper.insert(who, at(0));
        }
        reaper.drain(window, at(0));
        let mut returns = Vec::new();
        while let Some(due) = reaper.reaper().deadline() {
            if let Some(Reaped::Close { retry_after, .. }) = reaper.poll(due) {
                returns.push(later(due, retry_after.unwrap()));
            }
        }
        returns.sort_unstable();
        assert_eq!(returns.len(), 300);
        assert!(returns[0] >= at(60) && returns[299] <= at(120));
        for second in 60..120 {
            let within = |back: &&Timestamp| at(second) <= **back && **back < at(second + 1);
            let count = returns.iter().filter(within).count();
            assert!(count <= 20, "{count} of 300 in one second of 60");
        }
    }
}

/// Law 10: when all fall silent at once, all are closed at once, but in parts.
#[test]
fn law_10_a_mass_expiry_pauses() {
    let config = Config::server().without_interval().build().unwrap();
    let mut driver = Driver::new(config, 7);
    let keys: Vec<Key> = (0..1_200)
        .map(|who| driver.reaper.insert(who, at(0)))
        .collect();
    // Some are heard of again.
    for key in keys.iter().step_by(10) {
        driver.reaper.received(*key, at(60));
    }
    let due = at(121);
    driver.until(due);
    assert_eq!(driver.closed.len(), 1_080);
    assert!((1..=3).contains(&driver.yields), "{}", driver.yields);
    assert!(driver.closed.windows(2).all(|two| two[0].2 == two[1].2));
    driver.until(Timestamp::MAX);
    assert_eq!(driver.closed.len(), 1_200);
}

/// A roster in which nothing happens is not looked at much more often than it
/// beats.
#[test]
fn an_idle_time_takes_few_wakes() {
    for (many, interval, time) in [(1, 55, 86_400), (20, 55, 3_600), (100, 300, 3_600)] {
        let config = Config::server().with_interval(secs(interval));
        let config = config.without_silence_timeout().build().unwrap();
        let mut driver = Driver::new(config, 7);
        for who in 0..many {
            driver.reaper.insert(who, at(0));
        }
        let wakes = u64::from(driver.until(at(time)));
        let beats = driver.reaper.reaper().counters().heartbeats;
        let least = time / interval * many;
        assert!(
            (least..=least * 5 / 4).contains(&beats),
            "{beats} for {least}"
        );
        // And once to see that a heartbeat was flushed in time.
        assert!(wakes <= beats * 2 + 100, "{wakes} for {beats} beats");
    }
}

/// What the checker found once: each of these ran into a broken law.
mod found {
    use super::*;

    fn reaper(config: Config) -> CheckedReaper {
        CheckedReaper::new(config, 7, at(0))
            .unwrap()
            .with_sessions()
    }

    fn drain(reaper: &mut CheckedReaper, now: Timestamp) -> usize {
        let mut closed = 0;
        while let Some(reaped) = reaper.poll(now) {
            closed += usize::from(matches!(reaped, Reaped::Close { .. }));
            if let Reaped::Heartbeat { key, .. } = reaped {
                reaper.heartbeat_sent(key, now);
            }
        }
        closed
    }

    #[test]
    fn a_late_poll_and_a_word_of_sleep_at_one_instant() {
        let mut reaper = reaper(Config::server().build().unwrap());
        reaper.insert(1, at(0));
        drain(&mut reaper, at(100));
        for _ in 0..10 {
            reaper.resumed(at(100));
        }
        let key = reaper.insert(2, at(100));
        let silence = reaper.reaper().silence(key, at(101)).unwrap();
        assert!(silence > Duration::from_millis(980));
    }

    #[test]
    fn a_leap_over_all_ticks_keeps_who_was_heard_after_a_stall() {
        let config = Config::server().without_interval().build().unwrap();
        let mut reaper = reaper(config);
        reaper.insert(1, at(0));
        drain(&mut reaper, at(200));
        let key = reaper.insert(2, at(200));
        let later = at(15_000_000_000);
        assert_eq!(drain(&mut reaper, later), 1);
        assert!(reaper.reaper().contains(key));
    }

    #[test]
    fn a_leap_in_which_the_clock_of_a_flush_comes_round() {
        let config = Config::server()
            .without_silence_timeout()
            .with_stall_tolerance(Duration::from_nanos(1 << 60))
            .build()
            .unwrap();
        let mut reaper = reaper(config);
        let key = reaper.insert(1, at(0));
        // 2³⁰ ticks of 2²³ ns, and a bit.
        let now = later(at(1), Duration::from_nanos(1 << 53));
        let beat = Reaped::Heartbeat { key, value: 1 };
        assert_eq!(reaper.poll(now), Some(beat));
    }

    #[test]
    fn who_comes_when_all_have_gone_is_no_suspect() {
        let mut reaper = reaper(Config::server().build().unwrap());
        let key = reaper.insert(1, at(0));
        drain(&mut reaper, at(100));
        reaper.remove(key);
        drain(&mut reaper, at(100));
        reaper.insert(2, at(300));
        let stalls = reaper.reaper().counters().stalls;
        drain(&mut reaper, at(300));
        assert_eq!(reaper.reaper().counters().stalls, stalls);
    }

    #[test]
    fn a_beat_in_flight_does_not_hide_the_silence() {
        let config = Config::server()
            .with_spread_first_beat(false)
            .with_interval(secs(50))
            .with_silence_timeout(secs(60))
            .without_write_timeout()
            .build()
            .unwrap();
        let mut reaper = reaper(config);
        reaper.insert(1, at(0));
        let mut closed = 0;
        while let Some(due) = reaper.reaper().deadline() {
            closed += drain(&mut reaper, due);
        }
        assert_eq!(closed, 1);
    }

    /// Where no limit is in force a forgiven stall convicts nobody, and the next
    /// may take its place. The checker, for which the time up to a word of sleep
    /// was not done with, kept it, and counted a limit that was set later from
    /// there.
    #[test]
    fn a_word_of_sleep_to_who_has_no_limit_yet() {
        let config = Config::server()
            .without_silence_timeout()
            .without_write_timeout()
            .with_spread_first_beat(false)
            .build()
            .unwrap();
        let mut reaper = reaper(config);
        let key = reaper.insert(1, at(0));
        reaper.resumed(at(1));
        reaper.sent(key, at(20)); // late, and again
        drain(&mut reaper, at(40));
        reaper.set_silence_timeout(key, secs(25), at(40)).unwrap();
        // From the second stall: the first has run out.
        drain(&mut reaper, at(44));
        assert!(reaper.reaper().contains(key));
        assert_eq!(drain(&mut reaper, at(46)), 1);
    }
}

/// What the fuzzers kept: rare runs, some of which the checker must be lenient
/// with. Not in the published crate.
#[test]
fn what_the_fuzzers_kept_breaks_no_law() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for target in ["reaper", "reaper_vs_sessions"] {
        let Ok(entries) = std::fs::read_dir(corpus.join(target)) else {
            return;
        };
        for entry in entries {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let _ = RosterScript::new(&bytes).run_beside_sessions();
        }
    }
}
