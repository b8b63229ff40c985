//! Late ticks convict nobody, once.

use core::time::Duration;

use nabiz::{ConfigBuilder, Evidence, Key, Timestamp};

use super::driver::*;

fn stalls(roster: &Roster) -> u64 {
    roster.counters().stalls
}

/// Hears 60 s, stalls after 5 s, and beats so rarely that only probes do.
fn probing() -> ConfigBuilder {
    hearing().with_interval(secs(1_000_000))
}

/// So many, all of them inserted at 0 s.
fn full(config: ConfigBuilder, count: u32) -> (Roster, Vec<Key>) {
    let mut roster = roster(config);
    let keys = (0..count).map(|name| roster.insert(name, at(0))).collect();
    (roster, keys)
}

// ------------------------------------------------------------ what is a stall

#[test]
fn a_late_poll_convicts_nobody_and_judges_from_now() {
    let (mut roster, _) = full(hearing(), 100);
    idle(&mut roster, at(100));
    assert_eq!(stalls(&roster), 1);
    let log = run(&mut roster, at(100), at(1000));
    assert_eq!(log.len(), 100);
    let fresh = at(160)..=plus(at(160), RESOLUTION);
    assert!(log.iter().all(|(when, _)| fresh.contains(when)), "{log:?}");
}

#[test]
fn a_poll_within_the_tolerance_convicts() {
    let (mut roster, _) = full(hearing(), 1);
    let due = roster.deadline().unwrap();
    assert_eq!(stuck(&mut roster, plus(due, secs(5))), [silent(0)]);
    assert_eq!(stalls(&roster), 0);
}

#[test]
fn a_poll_just_past_the_tolerance_is_a_stall() {
    let (mut roster, _) = full(hearing(), 1);
    let due = roster.deadline().unwrap();
    let late = after(plus(due, secs(5)));
    idle(&mut roster, late);
    assert_eq!(stalls(&roster), 1);
}

type Call = fn(&mut Roster, Key, Timestamp);

const CALLS: [Call; 10] = [
    |roster, key, now| assert!(roster.received(key, now)),
    |roster, key, now| assert!(roster.heartbeat_received(key, now)),
    |roster, key, now| assert!(roster.sent(key, now)),
    |roster, key, now| assert!(roster.heartbeat_sent(key, now)),
    |roster, key, now| assert!(roster.exempt(key, now)),
    |roster, key, now| {
        let own = roster.set_silence_timeout(key, secs(1000), now);
        assert_eq!(own, Ok(true));
    },
    |roster, _, now| {
        roster.insert(77, now);
    },
    |roster, _, now| roster.drain(secs(1_000_000), now),
    |roster, _, now| roster.resumed(now),
    |roster, _, now| idle(roster, now),
];

#[test]
fn a_late_call_of_any_kind_is_the_stall_and_the_poll_after_it_is_none() {
    for call in CALLS {
        let (mut roster, keys) = full(hearing(), 10);
        call(&mut roster, keys[0], at(100));
        assert_eq!(stalls(&roster), 1);
        idle(&mut roster, at(100));
        assert_eq!(stalls(&roster), 1);
        let log = run(&mut roster, at(100), at(300));
        let silents = log
            .iter()
            .filter(|(_, did)| (1..10).any(|name| *did == silent(name)));
        let fresh = at(160)..=plus(at(160), RESOLUTION);
        let silents: Vec<_> = silents.collect();
        assert_eq!(silents.len(), 9);
        assert!(silents.iter().all(|(when, _)| fresh.contains(when)));
        assert_eq!(stalls(&roster), 1);
    }
}

#[test]
fn a_late_event_that_is_evidence_ends_the_suspicion_it_began() {
    let (mut roster, keys) = full(hearing(), 2);
    roster.received(keys[0], at(100));
    idle(&mut roster, at(100));
    // The one is forgiven anew, the other is not.
    idle(&mut roster, at(159));
    let log = run(&mut roster, at(159), at(1000));
    assert_log(
        &log,
        RESOLUTION,
        &[(at(160), silent(0)), (at(160), silent(1))],
    );

    let (mut roster, keys) = full(hearing(), 2);
    roster.received(keys[0], at(100));
    // A second stall: who was heard meanwhile is forgiven, who was not is not.
    assert_eq!(stuck(&mut roster, at(200)), [silent(1)]);
    let log = run(&mut roster, at(200), at(1000));
    assert_log(&log, RESOLUTION, &[(at(260), silent(0))]);
}

#[test]
fn a_call_between_two_deadlines_is_no_stall() {
    let (mut roster, keys) = full(hearing(), 2);
    roster.received(keys[0], at(50));
    roster.received(keys[1], at(59));
    assert_eq!(stalls(&roster), 0);
    let log = run(&mut roster, at(59), at(200));
    assert_log(
        &log,
        RESOLUTION,
        &[(at(110), silent(0)), (at(119), silent(1))],
    );
    assert_eq!(stalls(&roster), 0);
}

#[test]
fn a_call_soon_after_a_poll_that_found_nothing_is_no_stall() {
    let (mut roster, keys) = full(hearing(), 2);
    for second in (0..600).step_by(50) {
        for key in &keys {
            roster.received(*key, at(second));
        }
        // Whatever fell due was looked at: the deadline is a later one.
        let now = run(&mut roster, at(second), at(second + 49));
        assert_eq!((now, stalls(&roster)), (Vec::new(), 0));
    }
}

#[test]
fn an_empty_roster_cannot_stall() {
    let mut roster = roster(everything());
    idle(&mut roster, at(1_000_000));
    assert_eq!(stalls(&roster), 0);
    let key = roster.insert(1, at(2_000_000));
    assert_eq!(stalls(&roster), 0);
    roster.remove(key);
    run(&mut roster, at(2_000_000), at(2_000_200));
    roster.insert(2, at(9_000_000));
    assert_eq!(stalls(&roster), 0);
}

#[test]
fn a_roster_that_becomes_empty_waits_for_nobody() {
    let (mut roster, _) = full(hearing(), 5);
    assert_eq!(run(&mut roster, at(0), at(100)).len(), 5);
    assert_eq!(roster.deadline(), None);
    roster.insert(9, at(1_000_000));
    assert_eq!(stalls(&roster), 0);
    let log = run(&mut roster, at(1_000_000), at(2_000_000));
    assert_log(&log, RESOLUTION, &[(at(1_000_060), silent(9))]);
}

#[test]
fn where_nothing_is_ever_due_nothing_is_late() {
    let (mut roster, keys) = full(bare_server(), 3);
    for second in [10, 10_000, 10_000_000] {
        roster.received(keys[0], at(second));
        idle(&mut roster, at(second));
    }
    assert_eq!((stalls(&roster), roster.len()), (0, 3));
}

#[test]
fn who_is_inserted_by_the_late_call_is_not_suspect() {
    let (mut roster, _) = full(probing(), 1);
    roster.insert(7, at(100));
    assert_eq!(
        poll(&mut roster, at(100)),
        [Did::Beat(0)],
        "only one is probed"
    );
    let log = run(&mut roster, at(100), at(1000));
    assert_log(
        &log,
        RESOLUTION,
        &[(at(160), silent(0)), (at(160), silent(7))],
    );
}

#[test]
fn backlog_worked_off_slowly_is_no_stall() {
    let (mut roster, _) = full(hearing(), 50_000);
    let mut now = plus(at(60), RESOLUTION);
    let mut closed = 0;
    let mut yields = 0;
    loop {
        let reap = roster.poll(now);
        match reap {
            None => break,
            Some(nabiz::Reap::Close { reason, .. }) => {
                assert_eq!(reason, PeerSilent);
                closed += 1;
            }
            Some(nabiz::Reap::Yield) => {
                yields += 1;
                now = plus(now, millis(4_900));
            }
            Some(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((closed, stalls(&roster)), (50_000, 0));
    assert!(yields >= 48 && now > at(280), "{yields} until {now:?}");
}

#[test]
fn closing_slowly_is_no_stall_either() {
    let (mut roster, _) = full(hearing(), 200);
    let mut now = plus(at(60), RESOLUTION);
    let mut closed = 0;
    while let Some(reap) = roster.poll(now) {
        if matches!(reap, nabiz::Reap::Close { .. }) {
            closed += 1;
            now = plus(now, secs(4)); // each of them takes long
        }
    }
    assert_eq!((closed, stalls(&roster)), (200, 0));
}

#[test]
fn a_pause_in_the_middle_of_the_work_is_a_stall() {
    let (mut roster, _) = full(hearing(), 50_000);
    let now = plus(at(60), RESOLUTION);
    let mut closed = 0;
    loop {
        match roster.poll(now) {
            Some(nabiz::Reap::Yield) => break,
            Some(_) => closed += 1,
            None => panic!("{closed} only"),
        }
    }
    assert!(closed <= 1024);
    assert!(roster.deadline() <= Some(now));
    idle(&mut roster, at(100));
    assert_eq!(stalls(&roster), 1);
    let log = run(&mut roster, at(100), at(1000));
    assert_eq!(log.len() + closed, 50_000);
    assert!(log[0].0 >= at(160));
}

#[test]
fn while_work_is_left_it_is_the_last_poll_that_counts_not_other_calls() {
    for call in &CALLS[..7] {
        let (mut roster, keys) = full(hearing(), 50_000);
        let now = plus(at(60), RESOLUTION);
        while let Some(reap) = roster.poll(now) {
            if matches!(reap, nabiz::Reap::Yield) {
                break;
            }
        }
        let last = keys[49_999];
        call(&mut roster, last, plus(now, millis(3000)));
        assert_eq!(stalls(&roster), 0);
        call(&mut roster, last, plus(now, millis(5001)));
        assert_eq!(stalls(&roster), 1);
    }
}

// ----------------------------------------------------- what a stall postpones

#[test]
fn a_stall_postpones_every_liveness_verdict() {
    let hello = bare_server()
        .with_hello_timeout(secs(30))
        .with_stall_tolerance(secs(5));
    let (mut roster, _) = full(hello, 1);
    idle(&mut roster, at(50));
    let log = run(&mut roster, at(50), at(1000));
    assert_log(&log, RESOLUTION, &[(at(80), Did::Close(0, NoHello))]);

    let writing = beating().with_write_timeout(secs(20));
    let (mut roster, _) = full(writing, 1);
    let log = run_stuck(&mut roster, at(0), at(10));
    assert_log(&log, RESOLUTION, &[(at(10), Did::Beat(0))]);
    idle(&mut roster, at(50));
    let log = run_stuck(&mut roster, at(50), at(1000));
    assert_log(&log, RESOLUTION, &[(at(70), Did::Close(0, WriteStalled))]);

    let (mut roster, _) = full(hearing(), 1);
    idle(&mut roster, at(100));
    let log = run(&mut roster, at(100), at(1000));
    assert_log(&log, RESOLUTION, &[(at(160), silent(0))]);
}

#[test]
fn a_stall_does_not_postpone_too_old() {
    let (mut roster, _) = full(hearing().with_max_age(secs(70)), 3);
    let did = stuck(&mut roster, at(100));
    assert_eq!(did, [0, 1, 2].map(|name| Did::Close(name, TooOld)));
    assert_eq!(stalls(&roster), 1);
}

#[test]
fn a_stall_does_not_postpone_a_drain() {
    let (mut roster, _) = full(hearing(), 100);
    roster.drain(secs(50), at(50));
    let did = stuck(&mut roster, at(100));
    assert_eq!(did.len(), 100);
    assert!(did.iter().all(|did| matches!(did, Did::Close(_, Draining))));
}

#[test]
fn a_stall_does_not_postpone_flooded() {
    let (mut roster, keys) = full(hearing().with_flood(secs(100), 1), 2);
    roster.heartbeat_received(keys[0], at(1));
    roster.heartbeat_received(keys[0], at(1));
    assert_eq!(stuck(&mut roster, at(100)), [Did::Close(0, Flooded)]);
}

#[test]
fn a_timeout_of_its_own_starts_afresh_too() {
    let (mut roster, keys) = full(hearing().with_stall_tolerance(secs(1)), 3);
    roster
        .set_silence_timeout(keys[0], secs(10), at(0))
        .unwrap();
    roster
        .set_silence_timeout(keys[1], secs(200), at(0))
        .unwrap();
    idle(&mut roster, at(20));
    assert_eq!(stalls(&roster), 1);
    let log = run(&mut roster, at(20), at(1000));
    let expected = [
        (at(30), silent(0)),
        (at(80), silent(2)),
        (at(220), silent(1)),
    ];
    assert_log(&log, RESOLUTION, &expected);
}

// -------------------------------------------------------------------- probes

#[test]
fn everyone_suspect_is_probed_at_once() {
    let (mut roster, _) = full(probing(), 3000);
    let probes = poll(&mut roster, at(100));
    assert_eq!(probes.len(), 3000);
    let mut names: Vec<Did> = probes;
    names.sort_by_key(|did| format!("{did:?}"));
    names.dedup();
    assert_eq!(names.len(), 3000, "one each");
    idle(&mut roster, at(101));
    let log = run(&mut roster, at(101), at(1000));
    assert!(log.iter().all(|(_, did)| matches!(did, Did::Close(..))));
}

#[test]
fn after_a_late_event_the_deadline_calls_for_the_probes() {
    let (mut roster, keys) = full(probing(), 3);
    roster.received(keys[0], at(100));
    assert!(roster.deadline() <= Some(at(100)));
    assert_eq!(poll(&mut roster, at(100)), [Did::Beat(1), Did::Beat(2)]);
}

#[test]
fn three_probes_are_spread_over_the_limit() {
    let (mut roster, _) = full(probing().with_probes(3), 2);
    let mut log: Log = poll(&mut roster, at(100))
        .into_iter()
        .map(|did| (at(100), did))
        .collect();
    log.extend(run(&mut roster, at(100), at(1000)));
    let expected = [
        (at(100), Did::Beat(0)),
        (at(100), Did::Beat(1)),
        (at(120), Did::Beat(0)),
        (at(120), Did::Beat(1)),
        (at(140), Did::Beat(0)),
        (at(140), Did::Beat(1)),
        (at(160), silent(0)),
        (at(160), silent(1)),
    ];
    assert_log(&log, RESOLUTION, &expected);
}

#[test]
fn who_answers_is_not_probed_again() {
    let (mut roster, keys) = full(probing().with_probes(3), 2);
    assert_eq!(poll(&mut roster, at(100)).len(), 2);
    roster.received(keys[1], at(101));
    let log = run(&mut roster, at(101), at(159));
    assert_log(
        &log,
        RESOLUTION,
        &[(at(120), Did::Beat(0)), (at(140), Did::Beat(0))],
    );
}

#[test]
fn where_a_heartbeat_is_in_flight_it_is_the_probe() {
    let config = hearing()
        .with_interval(secs(10))
        .with_write_timeout(secs(1000));
    let (mut roster, keys) = full(config, 2);
    let log = run_stuck(&mut roster, at(0), at(50));
    assert_eq!(log.len(), 2, "both are in flight");
    roster.heartbeat_sent(keys[1], at(50));
    let log = run_stuck(&mut roster, at(50), at(59));
    assert_eq!(log, []);
    // The first stays in flight, the other is due by the interval at 60 s.
    assert_eq!(stuck(&mut roster, at(100)), [Did::Beat(1)]);
}

#[test]
fn where_no_heartbeats_are_sent_there_is_no_probe() {
    let (mut roster, _) = full(hearing().with_probes(3), 2);
    idle(&mut roster, at(100));
    let log = run(&mut roster, at(100), at(1000));
    assert_eq!(log.len(), 2);
}

#[test]
fn a_probe_that_is_not_flushed_is_a_stalled_write() {
    let (mut roster, keys) = full(probing().with_write_timeout(secs(20)), 2);
    assert_eq!(stuck(&mut roster, at(100)).len(), 2);
    roster.heartbeat_sent(keys[1], at(101));
    let log = run_stuck(&mut roster, at(101), at(1000));
    assert_log(
        &log,
        RESOLUTION,
        &[(at(120), Did::Close(0, WriteStalled)), (at(160), silent(1))],
    );
}

// ------------------------------------------------------------ once a silence

#[test]
fn evidence_ends_suspicion() {
    for evidence in [Evidence::AnyBytes, Evidence::Heartbeats] {
        let (mut roster, keys) = full(hearing().with_evidence(evidence), 2);
        idle(&mut roster, at(100));
        roster.received(keys[0], at(120));
        roster.heartbeat_received(keys[1], at(120));
        let first = match evidence {
            Evidence::AnyBytes => at(180),
            _ => at(160),
        };
        let log = run(&mut roster, at(120), at(1000));
        assert_log(
            &log,
            RESOLUTION,
            &[(first, silent(0)), (at(180), silent(1))],
        );
    }
}

#[test]
fn a_peer_is_forgiven_once_a_silence_and_then_a_late_poll_convicts() {
    let (mut roster, _) = full(hearing(), 100);
    idle(&mut roster, at(100));
    assert_eq!(stuck(&mut roster, at(200)).len(), 100);
    assert!(roster.is_empty());
}

#[test]
fn a_stall_during_suspicion_restarts_nothing_and_asks_no_new_probe() {
    let (mut roster, keys) = full(probing(), 2);
    assert_eq!(poll(&mut roster, at(100)).len(), 2);
    roster
        .set_silence_timeout(keys[1], secs(80), at(100))
        .unwrap();
    // Due at 160 s; more than 5 s later is a stall, but no excuse.
    assert_eq!(poll(&mut roster, at(170)), [silent(0)]);
    let log = run(&mut roster, at(170), at(1000));
    assert_log(&log, RESOLUTION, &[(at(180), silent(1))]);
}

#[test]
fn a_new_silence_is_forgiven_again() {
    let (mut roster, keys) = full(hearing(), 1);
    let mut now = 0;
    for _ in 0..10 {
        now += 100;
        idle(&mut roster, at(now));
        now += 30;
        roster.received(keys[0], at(now));
    }
    assert_eq!(stalls(&roster), 10);
    let log = run(&mut roster, at(now), at(10_000));
    assert_log(&log, RESOLUTION, &[(at(now + 60), silent(0))]);
}

#[test]
fn a_roster_remembers_two_stalls() {
    // Silent from 0 s, 110 s and 130 s on; stalls at 100, 120 and 140 s.
    let (mut roster, keys) = full(hearing().with_stall_tolerance(secs(1)), 4);
    let short = keys[3]; // makes every late call a stall
    roster.set_silence_timeout(short, secs(5), at(0)).unwrap();
    let beat = |roster: &mut Roster, second| {
        roster.received(short, at(second));
    };
    beat(&mut roster, 100);
    roster.received(keys[1], at(101));
    roster.received(keys[2], at(101));
    assert_eq!(stalls(&roster), 1);
    beat(&mut roster, 120);
    assert_eq!(stalls(&roster), 2);
    roster.received(keys[2], at(121));
    beat(&mut roster, 140);
    assert_eq!(stalls(&roster), 3);
    // Judged from 100 s, where the older stall was, and from 140 s.
    roster.exempt(short, at(140));
    let log = run(&mut roster, at(140), at(1000));
    let expected = [
        (at(160), silent(0)),
        (at(200), silent(1)),
        (at(200), silent(2)),
    ];
    assert_log(&log, RESOLUTION, &expected);
}

// ------------------------------------------------------------------- resumed

#[test]
fn the_drivers_word_is_a_stall() {
    let (mut roster, _) = full(probing(), 3);
    roster.resumed(at(50));
    assert_eq!(stalls(&roster), 1);
    assert_eq!(poll(&mut roster, at(50)).len(), 3, "the probes");
    let log = run(&mut roster, at(50), at(1000));
    assert_eq!(log.len(), 3);
    assert!(
        log.iter()
            .all(|(when, _)| (at(110)..=at_ms(110_020)).contains(when))
    );
    assert_eq!(stalls(&roster), 1);
}

#[test]
fn the_drivers_word_is_always_forgiven() {
    let (mut roster, _) = full(probing(), 3);
    for second in [50, 100, 150, 200] {
        roster.resumed(at(second));
        assert_eq!(poll(&mut roster, at(second)).len(), 3, "probed anew");
        assert_eq!(run(&mut roster, at(second), at(second + 50)), []);
    }
    assert_eq!(stalls(&roster), 4);
    let log = run(&mut roster, at(250), at(1000));
    assert_eq!(log.len(), 3);
    assert!(
        log.iter()
            .all(|(when, _)| (at(260)..=at_ms(260_020)).contains(when))
    );
}

#[test]
fn the_drivers_word_after_the_limit_saves_the_peers() {
    let (mut roster, _) = full(hearing(), 3);
    roster.resumed(at(1000));
    idle(&mut roster, at(1000));
    assert_eq!(stalls(&roster), 1, "late as it comes, it is one stall");
    let log = run(&mut roster, at(1000), at(2000));
    assert_eq!(log.len(), 3);
    assert!(log[0].0 >= at(1060));
}

#[test]
fn the_drivers_word_makes_no_stall_of_the_next_calls() {
    for config in [hearing(), probing()] {
        let (mut roster, keys) = full(config, 3);
        roster.resumed(at(10));
        poll(&mut roster, at(10));
        for second in [20, 30, 40, 59] {
            roster.received(keys[0], at(second));
            poll(&mut roster, at(second));
        }
        assert_eq!(stalls(&roster), 1);
        let log = run(&mut roster, at(59), at(1000));
        let expected = [
            (at(70), silent(1)),
            (at(70), silent(2)),
            (at(119), silent(0)),
        ];
        assert_log(&log, RESOLUTION, &expected);
    }
}

#[test]
fn an_empty_roster_may_resume() {
    let mut roster = roster(probing());
    roster.resumed(at(10));
    idle(&mut roster, at(10));
    roster.insert(1, at(20));
    idle(&mut roster, at(20));
    let log = run(&mut roster, at(20), at(1000));
    assert_log(&log, RESOLUTION, &[(at(80), silent(1))]);
}

// ------------------------------------------------------- forgiveness has an end

/// Polls every period and tells how long after they fell silent the last
/// connections were closed.
fn polled_every(config: ConfigBuilder, period: Duration, count: u32) -> Duration {
    let mut roster = roster(config);
    let mut dice = Dice(period.as_secs());
    let (mut now, mut name, mut worst) = (at(0), 0, secs(0));
    let mut since = Vec::new();
    let end = plus(at(0), period * 40);
    while now < plus(end, secs(300) + period * 4) {
        if now < end && name < count {
            let key = roster.insert(name, now);
            // Some talk for a while.
            let talk = plus(now, dice.span(period));
            let heard = dice.one_in(2) && roster.received(key, talk);
            since.push(if heard { talk } else { now });
            name += 1;
        }
        now = plus(now, period);
        for did in poll(&mut roster, now) {
            if let Did::Close(name, _) = did {
                let heard = since[usize::try_from(name).unwrap()];
                worst = worst.max(now.saturating_duration_since(heard));
            }
        }
        if roster.is_empty() && now >= end {
            break;
        }
    }
    assert!(roster.is_empty(), "{} are left: {roster:?}", roster.len());
    worst
}

#[test]
fn polled_every_period_however_coarse_a_silent_peer_is_closed_within_twice_limit_plus_period() {
    let limit = secs(60);
    let configs = [
        bare_server().with_silence_timeout(limit),
        hearing(),
        hearing().with_interval(secs(20)),
        hearing().with_interval(secs(20)).with_probes(3),
        hearing()
            .with_interval(secs(20))
            .with_spread_first_beat(true),
        hearing().with_stall_tolerance(millis(20)),
        hearing().with_hello_timeout(secs(30)),
    ];
    for config in configs {
        let periods = (1..=30)
            .chain((32..130).step_by(3))
            .chain((130..=600).step_by(47));
        for period in periods {
            let worst = polled_every(config, secs(period), 30);
            let bound = (limit + secs(period)) * 2 + RESOLUTION;
            assert!(
                worst <= bound,
                "{worst:?} at a period of {period} s: {config:?}"
            );
        }
    }
}

#[test]
fn a_longer_timeout_of_its_own_ends_too_however_coarse_the_period() {
    let config = bare_server().with_silence_timeout(secs(10));
    for period in (1..=40).chain([60, 90, 100, 150, 200]) {
        let mut roster = roster(config);
        let long = roster.insert(0, at(0));
        roster.set_silence_timeout(long, secs(100), at(0)).unwrap();
        let mut second = 0;
        let closed = loop {
            // Of the others some talk and some do not: something is always late.
            for name in 1..5 {
                let key = roster.insert(name, at(second));
                roster.received(key, at(second));
            }
            second += period;
            assert!(second < 10_000, "not closed at a period of {period} s");
            if poll(&mut roster, at(second)).contains(&silent(0)) {
                break second;
            }
        };
        assert!(closed >= 100);
        assert!(closed <= 2 * (100 + period), "{closed} s at {period} s");
    }
}

#[test]
fn a_write_that_is_stuck_ends_too_however_coarse_the_period() {
    let config = bare_server()
        .with_interval(secs(20))
        .with_write_timeout(secs(30));
    for period in (1..=60).chain([100, 200, 300]) {
        let mut roster = roster(config);
        roster.insert(1, at(0));
        let mut second = 0;
        let closed = loop {
            second += period;
            assert!(second < 10_000, "not closed at a period of {period} s");
            if stuck(&mut roster, at(second)).contains(&Did::Close(1, WriteStalled)) {
                break second;
            }
        };
        // The beat waits for its tick, too.
        assert!(closed <= 2 * (50 + period) + 1, "{closed} s at {period} s");
    }
}

/// Calls at random instants, many of them late: whoever is closed had the
/// whole limit since the first stall of that silence, and nobody stays for
/// ever.
#[test]
fn at_random_times_nobody_is_closed_before_a_fresh_limit_and_nobody_stays() {
    struct Peer {
        key: Key,
        heard: Timestamp,
        /// The first stall since.
        stalled: Option<Timestamp>,
        mute: bool,
    }
    let limit = secs(60);
    for seed in 0..150 {
        let probes = if seed % 3 == 0 { 3 } else { 1 };
        let mut config = hearing().with_probes(probes);
        if seed % 2 == 0 {
            config = config.with_interval(secs(25));
        }
        let mut roster = roster(config);
        let mut dice = Dice(seed);
        let mut now = at(0);
        let mut peers: Vec<Peer> = (0..30)
            .map(|name| Peer {
                key: roster.insert(name, now),
                heard: now,
                stalled: None,
                mute: dice.one_in(2),
            })
            .collect();
        let longest = secs(1 + dice.below(200));
        let mut stalled = 0;
        for _ in 0..400 {
            let gap = if dice.one_in(3) {
                dice.span(longest)
            } else {
                dice.span(secs(9))
            };
            now = plus(now, gap);
            // What a driver that was away does: it reads, and then polls.
            let mut heard = Vec::new();
            for (place, peer) in peers.iter_mut().enumerate() {
                if !peer.mute
                    && (now.saturating_duration_since(peer.heard) > limit / 2 || dice.one_in(5))
                {
                    roster.received(peer.key, now);
                    heard.push(place);
                }
            }
            let mut closed = Vec::new();
            poll_all(&mut roster, now, |roster, key, did, _| match did {
                Did::Beat(_) => assert!(roster.heartbeat_sent(key, now)),
                Did::Close(name, reason) => closed.push((name, reason)),
            });
            if stalls(&roster) > stalled {
                assert_eq!(stalls(&roster), stalled + 1, "one a call");
                stalled += 1;
                for peer in &mut peers {
                    peer.stalled = peer.stalled.or(Some(now));
                }
            }
            for place in heard {
                peers[place].heard = now;
                peers[place].stalled = None;
            }
            for (name, reason) in closed {
                let peer = &mut peers[usize::try_from(name).unwrap()];
                assert!(peer.mute && reason == PeerSilent, "seed {seed}");
                let since = peer
                    .stalled
                    .map_or(peer.heard, |stalled| stalled.max(peer.heard));
                let silence = now.saturating_duration_since(since);
                assert!(silence >= limit, "seed {seed}: {silence:?}");
                peer.key = roster.insert(name, now);
                peer.heard = now;
                peer.stalled = None;
                peer.mute = dice.one_in(2);
            }
            for peer in peers.iter().filter(|peer| peer.mute) {
                let silence = now.saturating_duration_since(peer.heard);
                let bound = (limit + longest.max(secs(9))) * 2 + RESOLUTION;
                assert!(silence <= bound, "seed {seed}: silent for {silence:?}");
            }
        }
    }
}
