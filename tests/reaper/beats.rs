//! When a heartbeat is asked for: never later than the interval after the last
//! flush, to the resolution, and sometimes earlier.

use core::time::Duration;

use nabiz::{ConfigBuilder, Key, Ratio, Timestamp};

use super::driver::*;

/// Beats every 10 s, spread by place.
fn spread() -> ConfigBuilder {
    beating().with_spread_first_beat(true)
}

/// As [`assert_log`], but beats may come early by a resolution as well.
#[track_caller]
fn assert_beats(log: &Log, expected: &[(Timestamp, Did)]) {
    let early: Vec<_> = expected
        .iter()
        .map(|(due, did)| {
            (
                Timestamp::from_nanos(due.as_nanos() - 20_000_000).unwrap(),
                *did,
            )
        })
        .collect();
    assert_log(log, millis(40), &early);
}

/// That each gap between beats, from the start to the end, is within bounds.
#[track_caller]
fn assert_gaps(
    beats: &[Timestamp],
    start: Timestamp,
    end: Timestamp,
    least: Duration,
    most: Duration,
) {
    let mut last = start;
    for beat in beats {
        let gap = beat.saturating_duration_since(last);
        assert!(gap <= most, "{gap:?} until {beat:?}");
        assert!(gap >= least, "{gap:?} until {beat:?}");
        last = *beat;
    }
    assert!(
        end.saturating_duration_since(last) <= most,
        "none after {last:?}"
    );
}

// -------------------------------------------------------------- never later

#[test]
fn a_beat_is_asked_no_later_than_the_interval_after_the_last() {
    for resolution in [millis(1), RESOLUTION, secs(1)] {
        for config in [
            beating(),
            spread(),
            beating().with_interval_jitter(Ratio::percent(30)),
            spread().with_interval_jitter(Ratio::percent(30)),
            spread().with_interval_jitter(Ratio::permille(999)),
        ] {
            let mut roster = resolving(config, resolution, at(0));
            let mut start = Vec::new();
            let mut dice = Dice(9);
            let mut now = at(0);
            for name in 0..100 {
                now = plus(now, dice.span(millis(50)));
                roster.insert(name, now);
                start.push(now);
            }
            let log = run(&mut roster, now, at(600));
            for (name, start) in (0..).zip(start) {
                let beats = beats_of(&log, name);
                assert_gaps(&beats, start, at(600), secs(0), secs(10) + resolution);
                assert!(beats.len() >= 59, "{}", beats.len());
            }
        }
    }
}

#[test]
fn the_insert_counts_as_the_first_flush() {
    let mut roster = roster(beating());
    roster.insert(1, at(3));
    idle(&mut roster, at_ms(12_979));
    let log = run(&mut roster, at(12), at(20));
    assert_beats(&log, &[(at(13), Did::Beat(1))]);
}

#[test]
fn a_beat_is_due_after_the_last_flush_not_after_the_request() {
    let mut roster = roster(beating());
    let key = roster.insert(1, at(0));
    let log = run_stuck(&mut roster, at(0), at(14));
    assert_beats(&log, &[(at(10), Did::Beat(1))]);
    assert!(roster.heartbeat_sent(key, at(14)));
    let log = run(&mut roster, at(14), at(25));
    assert_beats(&log, &[(at(24), Did::Beat(1))]);
}

#[test]
fn without_an_interval_there_are_no_beats() {
    let mut roster = roster(hearing());
    for name in 0..100 {
        roster.insert(name, at(0));
    }
    let log = run(&mut roster, at(0), at(1000));
    assert!(log.iter().all(|(_, did)| matches!(did, Did::Close(..))));
}

#[test]
fn beats_do_not_depend_on_what_the_peer_sends() {
    for config in [beating(), spread()] {
        let mut roster = roster(config);
        let key = roster.insert(1, at(0));
        let (mut log, mut now) = (Vec::new(), at(0));
        for second in 1..100 {
            log.extend(run(&mut roster, now, at(second)));
            now = at(second);
            roster.received(key, now);
            roster.heartbeat_received(key, now);
        }
        assert_gaps(&beats_of(&log, 1), at(0), now, secs(0), millis(10_020));
    }
}

#[test]
fn an_interval_shorter_than_the_resolution_still_beats_and_ends() {
    for config in [beating(), spread()] {
        let config = config
            .with_interval(millis(3))
            .with_stall_tolerance(secs(5));
        let mut roster = roster(config);
        roster.insert(1, at(0));
        let log = run(&mut roster, at(0), at(1));
        let beats = beats_of(&log, 1);
        assert_gaps(&beats, at(0), at(1), secs(0), millis(23));
        assert!(beats.len() <= 1000, "{}", beats.len());
    }
}

// ------------------------------------------------------------ only when idle

#[test]
fn what_was_sent_puts_the_beat_off() {
    let mut roster = roster(beating());
    let key = roster.insert(1, at(0));
    let mut now = at(0);
    for second in (9..100).step_by(9) {
        assert_eq!(run(&mut roster, now, at(second)), []);
        now = at(second);
        roster.sent(key, now);
    }
    let log = run(&mut roster, now, at(115));
    assert_beats(&log, &[(at(109), Did::Beat(1))]);
}

#[test]
fn spread_beats_are_put_off_by_traffic_shortly_before() {
    let mut roster = roster(spread());
    let keys: Vec<Key> = (0..50).map(|name| roster.insert(name, at(0))).collect();
    let (mut log, mut now) = (Vec::new(), at(0));
    // Sent to every 1.5 s, nobody needs a beat.
    for milli in (1500..200_000).step_by(1500) {
        log.extend(run(&mut roster, now, at_ms(milli)));
        now = at_ms(milli);
        for key in &keys {
            roster.sent(*key, now);
        }
    }
    let late: Vec<_> = log.iter().filter(|(when, _)| *when > at(2)).collect();
    assert_eq!(late, Vec::<&(Timestamp, Did)>::new());
    // And then everyone is, within the interval.
    let log = run(&mut roster, now, plus(now, secs(200)));
    for name in 0..50 {
        let beats = beats_of(&log, name);
        assert_gaps(&beats, now, plus(now, secs(200)), secs(0), millis(10_020));
    }
}

#[test]
fn with_only_when_idle_off_other_traffic_puts_nothing_off() {
    for config in [beating(), spread()] {
        let mut roster = roster(config.with_only_when_idle(false));
        let key = roster.insert(1, at(0));
        let (mut log, mut now) = (Vec::new(), at(0));
        for second in 1..200 {
            log.extend(run(&mut roster, now, at(second)));
            now = at(second);
            roster.sent(key, now);
        }
        let beats = beats_of(&log, 1);
        assert_gaps(&beats, at(0), now, secs(0), millis(10_020));
        assert!(beats.len() >= 19);
    }
}

#[test]
fn a_heartbeat_that_nobody_asked_for_is_sent_alone() {
    let mut idle_counts = roster(beating());
    let key = idle_counts.insert(1, at(0));
    idle_counts.heartbeat_sent(key, at(7));
    let log = run(&mut idle_counts, at(7), at(20));
    assert_beats(&log, &[(at(17), Did::Beat(1))]);

    let mut beats_count = roster(beating().with_only_when_idle(false));
    let key = beats_count.insert(1, at(0));
    beats_count.heartbeat_sent(key, at(7));
    let log = run(&mut beats_count, at(7), at(19));
    assert_beats(&log, &[(at(10), Did::Beat(1))]);
}

// ------------------------------------------------------------- one in flight

#[test]
fn one_heartbeat_is_in_flight_at_a_time() {
    for config in [beating(), spread(), spread().with_probes(5)] {
        let mut roster = roster(config);
        let keys: Vec<Key> = (0..50).map(|name| roster.insert(name, at(0))).collect();
        let log = run_stuck(&mut roster, at(0), at(1000));
        assert_eq!(log.len(), 50);
        for (name, key) in (0..).zip(keys) {
            assert_eq!(beats_of(&log, name).len(), 1);
            // Other output does not end the flight.
            roster.sent(key, at(1000));
        }
        assert_eq!(run_stuck(&mut roster, at(1000), at(2000)), []);
    }
}

#[test]
fn after_the_flight_beats_go_on() {
    for config in [
        beating(),
        spread(),
        beating().with_write_timeout(secs(1000)),
    ] {
        let mut roster = roster(config);
        let key = roster.insert(1, at(0));
        assert_eq!(run_stuck(&mut roster, at(0), at(100)).len(), 1);
        roster.heartbeat_sent(key, at(100));
        let log = run(&mut roster, at(100), at(200));
        assert_gaps(
            &beats_of(&log, 1),
            at(100),
            at(200),
            secs(0),
            millis(10_020),
        );
    }
}

#[test]
fn the_next_in_a_place_has_nothing_in_flight() {
    for config in [beating(), spread()] {
        let mut roster = roster(config);
        let key = roster.insert(1, at(0));
        assert_eq!(run_stuck(&mut roster, at(0), at(100)).len(), 1);
        roster.remove(key);
        assert_eq!(roster.insert(2, at(100)).index(), key.index());
        let log = run(&mut roster, at(100), at(200));
        assert_gaps(
            &beats_of(&log, 2),
            at(100),
            at(200),
            secs(0),
            millis(10_020),
        );
    }
}

// ---------------------------------------------------------- where not spread

#[test]
fn unspread_beats_come_after_the_interval_less_a_jitter_drawn_for_each() {
    let mut roster = roster(beating().with_interval_jitter(Ratio::percent(20)));
    for name in 0..100 {
        roster.insert(name, at(0));
    }
    let log = run(&mut roster, at(0), at(1000));
    let mut gaps = Vec::new();
    for name in 0..100 {
        let beats = beats_of(&log, name);
        assert_gaps(&beats, at(0), at(1000), millis(7980), millis(10_020));
        let mut last = at(0);
        for beat in beats {
            gaps.push(beat.saturating_duration_since(last).as_millis());
            last = beat;
        }
    }
    assert!(gaps.len() > 10_000);
    // Over the whole range, and evenly.
    let tenths = gaps.iter().fold([0u32; 11], |mut tenths, gap| {
        tenths[usize::try_from(gap.saturating_sub(8000) / 200).unwrap()] += 1;
        tenths
    });
    let (fewest, most) = (
        tenths[..10].iter().min().unwrap(),
        tenths[..10].iter().max().unwrap(),
    );
    assert!(*fewest > 800 && *most < 1400, "{tenths:?}");
}

#[test]
fn unspread_and_without_jitter_beats_keep_to_the_interval() {
    let mut roster = roster(beating());
    for name in 0..10 {
        roster.insert(name, at_ms(u64::from(name) * 77));
    }
    let log = run(&mut roster, at(1), at(1000));
    for name in 0..10 {
        let start = at_ms(u64::from(name) * 77);
        assert_gaps(
            &beats_of(&log, name),
            start,
            at(1000),
            millis(9980),
            millis(10_020),
        );
    }
}

// -------------------------------------------------------------------- spread

#[test]
fn spread_beats_are_hardly_more_than_the_interval_asks_for() {
    let mut roster = roster(spread().with_interval_jitter(Ratio::percent(10)));
    for name in 0..1000 {
        roster.insert(name, at(0));
    }
    let log = run(&mut roster, at(0), at(1000));
    assert!((100_000..110_000).contains(&log.len()), "{}", log.len());
}

#[test]
fn a_roster_of_any_size_beats_in_time() {
    for count in [1, 2, 3, 63, 64, 65, 127, 129, 1000, 1023, 1025, 4097] {
        let mut roster = roster(spread());
        for name in 0..count {
            roster.insert(name, at(0));
        }
        let log = run(&mut roster, at(0), at(35));
        // Of many, some.
        for name in (0..count).step_by(1 + usize::try_from(count / 100).unwrap()) {
            let beats = beats_of(&log, name);
            assert_gaps(&beats, at(0), at(35), secs(0), millis(10_020));
        }
    }
}

#[test]
fn a_late_poll_asks_for_what_it_missed_once() {
    let config = spread().with_stall_tolerance(secs(1000));
    let mut roster = roster(config);
    for name in 0..500 {
        roster.insert(name, at(0));
    }
    let mut did = poll(&mut roster, at(900));
    assert_eq!(did.len(), 500, "not once for each round that was missed");
    did.sort_by_key(|did| format!("{did:?}"));
    did.dedup();
    assert_eq!(did.len(), 500);
}
