//! When a connection is closed, and why.

use core::time::Duration;

use nabiz::{Evidence, Ratio, Timestamp};

use super::driver::*;

const RESOLUTIONS: [Duration; 5] = [
    Duration::from_nanos(1),
    millis(1),
    millis(7),
    millis(20),
    secs(1),
];

/// Offsets that fall on nothing round.
fn offsets() -> impl Iterator<Item = Duration> {
    let mut dice = Dice(11);
    (0..40).map(move |_| dice.span(secs(3)))
}

// --------------------------------------------------------------- peer silent

#[test]
fn a_silent_peer_is_closed_between_its_limit_and_a_resolution_later() {
    for resolution in RESOLUTIONS {
        let nanos = u64::try_from(resolution.as_nanos()).unwrap();
        // As long as so fine a resolution bears.
        let limit = Duration::from_nanos((nanos << 26).min(60_000_000_000));
        for start in [at(0), at(1_000_003)] {
            let config = bare_server().with_silence_timeout(limit);
            let mut roster = resolving(config, resolution, start);
            let mut expected = Vec::new();
            let mut now = start;
            for (name, offset) in (0..).zip(offsets()) {
                let wait = u32::try_from(60_000_000_000 / limit.as_nanos()).unwrap();
                now = plus(now, offset / wait / 40);
                roster.insert(name, now);
                expected.push((plus(now, limit), silent(name)));
            }
            let log = run(&mut roster, now, plus(now, limit * 3));
            assert_log(&log, resolution, &expected);
        }
    }
}

#[test]
fn the_limit_runs_from_the_last_byte() {
    for resolution in RESOLUTIONS.into_iter().skip(1) {
        let mut roster = resolving(hearing(), resolution, at(0));
        let mut expected = Vec::new();
        let keys: Vec<_> = (0..40).map(|name| roster.insert(name, at(0))).collect();
        let mut heard: Vec<_> = offsets().collect();
        heard.sort_unstable();
        let mut now = at(0);
        for ((name, key), offset) in (0..).zip(keys).zip(heard) {
            let next = plus(at(40), offset);
            assert_eq!(run(&mut roster, now, next), []);
            now = next;
            assert!(roster.received(key, at(20)), "time does not go backwards");
            assert!(roster.received(key, now));
            expected.push((plus(now, secs(60)), silent(name)));
        }
        let log = run(&mut roster, now, at(300));
        assert_log(&log, resolution, &expected);
    }
}

#[test]
fn a_peer_that_talks_is_never_closed() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    let mut now = at(0);
    for turn in 0..1000 {
        let next = plus(at(turn * 59), millis(turn % 900));
        assert_eq!(run(&mut roster, now, next), [], "turn {turn}");
        roster.received(key, next);
        now = next;
    }
    let log = run(&mut roster, now, plus(now, secs(100)));
    assert_log(&log, RESOLUTION, &[(plus(now, secs(60)), silent(1))]);
}

#[test]
fn polled_too_often_nobody_is_closed_early() {
    for resolution in [millis(1), millis(20), secs(1)] {
        let mut roster = resolving(hearing(), resolution, at(0));
        let offset = Duration::from_nanos(1_234_567);
        let inserted = plus(at(0), offset);
        roster.insert(1, inserted);
        let limit = plus(inserted, secs(60));
        idle(&mut roster, plus(at(0), secs(58)));
        for milli in 58_000..60_000 {
            idle(&mut roster, at_ms(milli));
        }
        idle(&mut roster, before(limit));
        let latest = plus(limit, resolution);
        assert_eq!(stuck(&mut roster, latest), [silent(1)]);
    }
}

#[test]
fn a_byte_before_the_poll_withdraws_the_verdict() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    roster.received(key, at(61)); // late, but within the tolerance
    idle(&mut roster, at(61));
    assert_eq!(roster.counters().stalls, 0);
    let log = run(&mut roster, at(61), at(300));
    assert_log(&log, RESOLUTION, &[(at(121), silent(1))]);
}

#[test]
fn without_a_limit_silence_is_borne() {
    let mut roster = roster(bare_server());
    roster.insert(1, at(0));
    assert_eq!(roster.deadline(), None);
    idle(&mut roster, at(1_000_000));
    assert_eq!(roster.len(), 1);
}

#[test]
fn what_we_send_proves_nothing() {
    let mut roster = roster(hearing());
    let key = roster.insert(1, at(0));
    let mut now = at(0);
    for second in 1..60 {
        run(&mut roster, now, at(second));
        now = at(second);
        roster.sent(key, now);
        roster.heartbeat_sent(key, now);
    }
    let log = run(&mut roster, now, at(200));
    assert_log(&log, RESOLUTION, &[(at(60), silent(1))]);
}

#[test]
fn silence_is_told_to_the_resolution() {
    for resolution in [millis(1), millis(20), secs(1)] {
        let mut roster = resolving(hearing(), resolution, at(0));
        let key = roster.insert(1, at(0));
        for milli in (0..50_000).step_by(37) {
            roster.received(key, at_ms(milli));
            assert_eq!(roster.silence(key, at_ms(milli)), Some(secs(0)));
        }
        roster.received(key, at_ms(50_123));
        for milli in (50_123..59_000).step_by(11) {
            let told = roster.silence(key, at_ms(milli)).unwrap();
            let true_silence = millis(milli - 50_123);
            assert!(
                told <= true_silence && told + resolution >= true_silence,
                "{told:?}"
            );
        }
        // Backwards is no time passing.
        assert_eq!(roster.silence(key, at(0)), Some(secs(0)));
    }
}

// ------------------------------------------------------------------ evidence

#[test]
fn where_only_heartbeats_count_other_bytes_prove_nothing() {
    let mut roster = roster(hearing().with_evidence(Evidence::Heartbeats));
    let (busy, beating) = (roster.insert(1, at(0)), roster.insert(2, at(0)));
    let mut now = at(0);
    for second in 1..60 {
        run(&mut roster, now, at(second));
        now = at(second);
        roster.received(busy, now);
        if second == 50 {
            roster.heartbeat_received(beating, now);
        }
    }
    assert!(roster.silence(busy, now) >= Some(millis(58_980)));
    let log = run(&mut roster, now, at(200));
    assert_log(
        &log,
        RESOLUTION,
        &[(at(60), silent(1)), (at(110), silent(2))],
    );
}

#[test]
fn a_heartbeat_is_evidence_under_either() {
    for evidence in [Evidence::AnyBytes, Evidence::Heartbeats] {
        let mut roster = roster(hearing().with_evidence(evidence));
        let key = roster.insert(1, at(0));
        assert!(roster.heartbeat_received(key, at(30)));
        let log = run(&mut roster, at(30), at(200));
        assert_log(&log, RESOLUTION, &[(at(90), silent(1))]);
    }
}

// --------------------------------------------------------------------- hello

#[test]
fn who_says_nothing_at_all_is_closed_at_the_hello_limit() {
    for resolution in RESOLUTIONS.into_iter().skip(1) {
        let config = hearing().with_hello_timeout(secs(10));
        let mut roster = resolving(config, resolution, at(0));
        let mut expected = Vec::new();
        let mut now = at(0);
        for (name, offset) in (0..).zip(offsets()) {
            now = plus(now, offset / 40);
            roster.insert(name, now);
            expected.push((plus(now, secs(10)), Did::Close(name, NoHello)));
        }
        let log = run(&mut roster, now, at(100));
        assert_log(&log, resolution, &expected);
    }
}

#[test]
fn the_first_byte_is_the_hello_under_either_evidence() {
    for evidence in [Evidence::AnyBytes, Evidence::Heartbeats] {
        let config = hearing()
            .with_hello_timeout(secs(10))
            .with_evidence(evidence);
        let mut roster = roster(config);
        let any = roster.insert(1, at(0));
        let beat = roster.insert(2, at(0));
        roster.insert(3, at(0));
        roster.received(any, at(4));
        roster.heartbeat_received(beat, at(4));
        let log = run(&mut roster, at(4), at(200));
        let limit = match evidence {
            Evidence::AnyBytes => at(64),
            _ => at(60),
        };
        let expected = [
            (at(10), Did::Close(3, NoHello)),
            (limit, silent(1)),
            (at(64), silent(2)),
        ];
        assert_log(&log, RESOLUTION, &expected);
    }
}

#[test]
fn hello_may_be_all_there_is() {
    let mut roster = roster(bare_server().with_hello_timeout(secs(10)));
    let key = roster.insert(1, at(0));
    roster.insert(2, at(3));
    roster.received(key, at(5));
    let log = run(&mut roster, at(5), at(10_000));
    assert_log(&log, RESOLUTION, &[(at(13), Did::Close(2, NoHello))]);
    assert_eq!((roster.len(), roster.deadline()), (1, None));
}

#[test]
fn each_connection_owes_a_hello_of_its_own_though_its_place_was_anothers() {
    let mut roster = roster(hearing().with_hello_timeout(secs(10)));
    let first = roster.insert(1, at(0));
    roster.received(first, at(1));
    roster.remove(first);
    let second = roster.insert(2, at(2));
    assert_eq!(first.index(), second.index());
    let log = run(&mut roster, at(2), at(100));
    assert_log(&log, RESOLUTION, &[(at(12), Did::Close(2, NoHello))]);
}

// ------------------------------------------------------------------- too old

#[test]
fn a_connection_of_an_age_is_closed_however_lively_it_is() {
    for resolution in RESOLUTIONS.into_iter().skip(1) {
        let config = bare_server().with_max_age(secs(100));
        let mut roster = resolving(config, resolution, at(0));
        let mut expected = Vec::new();
        let mut now = at(0);
        let mut keys = Vec::new();
        for (name, offset) in (0..).zip(offsets()) {
            now = plus(now, offset / 40);
            keys.push(roster.insert(name, now));
            expected.push((plus(now, secs(100)), Did::Close(name, TooOld)));
        }
        let mut log = Vec::new();
        for second in 3..200 {
            log.extend(run(&mut roster, now, at(second)));
            now = at(second);
            for key in &keys {
                roster.received(*key, now);
                roster.sent(*key, now);
            }
        }
        assert_log(&log, resolution, &expected);
    }
}

#[test]
fn ages_are_drawn_for_each_connection_within_what_the_jitter_allows() {
    let config = bare_server()
        .with_max_age(secs(1000))
        .with_max_age_jitter(Ratio::percent(20));
    let mut roster = roster(config);
    for name in 0..2000 {
        roster.insert(name, at(0));
    }
    let log = run(&mut roster, at(0), at(2000));
    assert_eq!(log.len(), 2000);
    let mut halves = [0, 0];
    for (when, did) in &log {
        assert!(matches!(did, Did::Close(_, TooOld)));
        assert!(
            (at(800)..=plus(at(1000), RESOLUTION)).contains(when),
            "{when:?}"
        );
        halves[usize::from(*when > at(900))] += 1;
    }
    assert!(
        halves.iter().all(|half| (900..1100).contains(half)),
        "{halves:?}"
    );
    let instants: std::collections::BTreeSet<Timestamp> =
        log.iter().map(|(when, _)| *when).collect();
    assert!(instants.len() > 1500, "{} instants", instants.len());
}

#[test]
fn the_next_in_a_place_draws_an_age_of_its_own() {
    let config = bare_server()
        .with_max_age(secs(1000))
        .with_max_age_jitter(Ratio::percent(50));
    let mut roster = roster(config);
    let mut ages = Vec::new();
    let mut now = at(0);
    for name in 0..20 {
        let key = roster.insert(name, now);
        assert_eq!(key.index(), 0);
        let log = run(&mut roster, now, plus(now, secs(2000)));
        let [(when, Did::Close(_, TooOld))] = log[..] else {
            panic!("{log:?}");
        };
        let age = when.saturating_duration_since(now);
        assert!(age >= secs(500) && age <= millis(1_000_020));
        ages.push(age.as_secs());
        now = when;
    }
    ages.sort_unstable();
    ages.dedup();
    assert!(ages.len() > 10, "{ages:?}");
}

// ------------------------------------------------------------- write stalled

fn writing() -> nabiz::ConfigBuilder {
    beating().with_write_timeout(secs(20))
}

#[test]
fn a_heartbeat_that_is_not_flushed_closes_with_write_stalled() {
    for resolution in RESOLUTIONS.into_iter().skip(1) {
        let mut roster = resolving(writing(), resolution, at(0));
        roster.insert(1, at(0));
        let log = run_stuck(&mut roster, at(0), at(200));
        let [(asked, Did::Beat(1)), (closed, Did::Close(1, WriteStalled))] = log[..] else {
            panic!("{log:?}");
        };
        assert!((at(10)..=plus(at(10), resolution)).contains(&asked));
        let limit = plus(asked, secs(20));
        assert!(
            (limit..=plus(limit, resolution)).contains(&closed),
            "{log:?}"
        );
    }
}

#[test]
fn output_that_moves_restarts_the_write_clock() {
    let mut roster = roster(writing());
    let key = roster.insert(1, at(0));
    let log = run_stuck(&mut roster, at(0), at(25));
    assert_eq!(log.len(), 1);
    assert!(roster.sent(key, at(25)));
    let log = run_stuck(&mut roster, at(25), at(200));
    assert_log(&log, RESOLUTION, &[(at(45), Did::Close(1, WriteStalled))]);
}

#[test]
fn output_that_moves_restarts_the_write_clock_though_only_heartbeats_count() {
    let mut roster = roster(writing().with_only_when_idle(false));
    let key = roster.insert(1, at(0));
    let log = run_stuck(&mut roster, at(0), at(25));
    assert_eq!(log.len(), 1);
    assert!(roster.sent(key, at(25)));
    let log = run_stuck(&mut roster, at(25), at(200));
    assert_log(&log, RESOLUTION, &[(at(45), Did::Close(1, WriteStalled))]);
}

#[test]
fn input_does_not_restart_the_write_clock() {
    let mut roster = roster(writing());
    let key = roster.insert(1, at(0));
    let mut log = run_stuck(&mut roster, at(0), at(10));
    let mut now = at(10);
    for second in 11..40 {
        log.extend(run_stuck(&mut roster, now, at(second)));
        now = at(second);
        roster.received(key, now);
    }
    let [(asked, _), (closed, Did::Close(1, WriteStalled))] = log[..] else {
        panic!("{log:?}");
    };
    assert!(closed <= plus(asked, millis(20_020)));
}

#[test]
fn a_flushed_heartbeat_ends_the_write_clock() {
    let mut roster = roster(writing());
    let key = roster.insert(1, at(0));
    assert_eq!(run_stuck(&mut roster, at(0), at(29)).len(), 1);
    assert!(roster.heartbeat_sent(key, at(29)));
    let log = run_stuck(&mut roster, at(29), at(45));
    let [(beat, Did::Beat(1))] = log[..] else {
        panic!("{log:?}");
    };
    assert!(beat > at(38));
}

#[test]
fn without_a_write_timeout_a_heartbeat_may_take_for_ever() {
    let mut roster = roster(beating());
    let key = roster.insert(1, at(0));
    assert_eq!(run_stuck(&mut roster, at(0), at(100_000)).len(), 1);
    assert!(roster.heartbeat_sent(key, at(100_000)));
    let log = run_stuck(&mut roster, at(100_000), at(100_011));
    assert_eq!(log.len(), 1);
}

// ------------------------------------------------------------------- reasons

#[test]
fn the_earliest_limit_wins() {
    let config = |hello, silence, write, age| {
        bare_server()
            .with_interval(secs(10))
            .with_hello_timeout(secs(hello))
            .with_silence_timeout(secs(silence))
            .with_write_timeout(secs(write))
            .with_max_age(secs(age))
            .with_stall_tolerance(secs(5))
    };
    let cases = [
        (config(30, 60, 80, 70), NoHello, 30),
        (config(59, 60, 80, 58), TooOld, 58),
        (config(31, 60, 20, 70), WriteStalled, 30),
    ];
    for (config, reason, second) in cases {
        let mut roster = roster(config);
        roster.insert(1, at(0));
        let log = run_stuck(&mut roster, at(0), at(200));
        let (when, did) = log[log.len() - 1];
        assert_eq!(did, Did::Close(1, reason));
        assert!(
            (at(second)..=at_ms(second * 1000 + 40)).contains(&when),
            "{when:?}"
        );
    }
    for (heard, reason, second) in [(9, PeerSilent, 69), (11, TooOld, 70)] {
        let mut roster = roster(config(30, 60, 80, 70));
        let key = roster.insert(1, at(0));
        roster.received(key, at(heard));
        let log = run_stuck(&mut roster, at(heard), at(200));
        let (when, did) = log[log.len() - 1];
        assert_eq!(did, Did::Close(1, reason));
        assert!(
            (at(second)..=at_ms(second * 1000 + 20)).contains(&when),
            "{when:?}"
        );
    }
}

#[test]
fn of_limits_past_in_one_late_poll_the_earliest_is_the_reason() {
    let config = bare_server()
        .with_hello_timeout(secs(20))
        .with_silence_timeout(secs(30))
        .with_max_age(secs(40))
        .with_stall_tolerance(secs(100));
    let mut silent_first = roster(config);
    let key = silent_first.insert(1, at(0));
    silent_first.insert(2, at(0));
    silent_first.received(key, at(1));
    let mut did = stuck(&mut silent_first, at(50));
    did.sort_by_key(|did| format!("{did:?}"));
    assert_eq!(did, [Did::Close(1, PeerSilent), Did::Close(2, NoHello)]);
}

#[test]
fn a_close_is_said_once_and_with_the_right_key() {
    let mut roster = roster(hearing());
    let keys: Vec<_> = (0..100).map(|name| roster.insert(name, at(0))).collect();
    let mut closed = [false; 100];
    drive(
        &mut roster,
        at(0),
        at(100),
        |roster, _, key, did, retry_after| {
            let Did::Close(name, PeerSilent) = did else {
                panic!("{did:?}");
            };
            let place = usize::try_from(name).unwrap();
            assert_eq!((keys[place], retry_after), (key, None));
            assert!(!std::mem::replace(&mut closed[place], true));
            assert!(!roster.contains(key));
        },
    );
    assert_eq!(closed, [true; 100]);
}
