//! Every field of the configuration: it acts at its instant, and not before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs
)]

mod common;

use core::time::Duration;

use common::*;
use nabiz::{
    Action, Backoff, CloseReason, Config, ConfigBuilder, Event, Evidence, GiveUpReason, Jitter,
    Limits, Phase, Ratio, Rule, Session, Timestamp,
};

const fn close(reason: CloseReason) -> Action {
    Action::Close(reason)
}

const SILENT: Action = close(CloseReason::PeerSilent);
const NO_ANSWER: Action = close(CloseReason::NoAnswer);
const WRITE_STALLED: Action = close(CloseReason::WriteStalled);
const NANO: Duration = Duration::from_nanos(1);

/// The waits before the first `count` heartbeats of a quiet link.
fn waits(config: ConfigBuilder, seed: u64, count: usize) -> Vec<Duration> {
    let mut session = seeded(config, seed);
    let mut last = at(0);
    let mut waits = Vec::new();
    while waits.len() < count {
        let due = session.deadline().unwrap();
        assert!(matches!(
            session.poll(due),
            Some(Action::SendHeartbeat { .. })
        ));
        session.handle(Event::HeartbeatSent, due);
        waits.push(due.saturating_duration_since(last));
        last = due;
    }
    waits
}

/// The smallest and the largest.
fn reach(spans: impl IntoIterator<Item = Duration>) -> (Duration, Duration) {
    spans
        .into_iter()
        .fold((Duration::MAX, Duration::ZERO), |(low, high), span| {
            (low.min(span), high.max(span))
        })
}

// ---------------------------------------------------------------- heartbeats

#[test]
fn interval_beats_when_nothing_was_sent_for_so_long() {
    let mut server = session(bare_server().with_interval(secs(30)));
    beats(&mut server, at(30), 1);
    beats(&mut server, at(60), 2);
    server.handle(Event::Sent, at(70));
    beats(&mut server, at(100), 3);
}

#[test]
fn without_interval_there_is_no_beat() {
    let mut server = session(bare_server());
    assert_eq!(server.deadline(), None);
    idle(&mut server, at(100_000));
    let mut client = connected(bare_client());
    client.handle(Event::Resumed, at(10));
    idle(&mut client, at(10));
}

#[test]
fn interval_jitter_shortens_only_and_is_drawn_for_each_beat() {
    let config = bare_server()
        .with_interval(secs(100))
        .with_interval_jitter(Ratio::percent(10));
    let drawn: Vec<_> = (0..50).flat_map(|seed| waits(config, seed, 40)).collect();
    let (low, high) = reach(drawn.iter().copied());
    assert!(low >= secs(90) && low < millis(90_100), "{low:?}");
    assert!(high <= secs(100) && high > millis(99_900), "{high:?}");
    assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));

    let exact = config.with_interval_jitter(Ratio::ZERO);
    assert!(waits(exact, 1, 10).iter().all(|wait| *wait == secs(100)));
}

#[test]
fn spread_first_beat_comes_after_a_random_part_of_the_interval() {
    let config = bare_server()
        .with_interval(secs(100))
        .with_spread_first_beat(true);
    let firsts: Vec<_> = (0..2000).map(|seed| waits(config, seed, 2)).collect();
    let (low, high) = reach(firsts.iter().map(|waits| waits[0]));
    assert!(low > Duration::ZERO && low < secs(1), "{low:?}");
    assert!(high > secs(99) && high <= secs(100), "{high:?}");
    let early = firsts.iter().filter(|waits| waits[0] < secs(50)).count();
    assert!((900..1100).contains(&early), "{early} of 2000 in one half");
    assert!(firsts.iter().all(|waits| waits[1] == secs(100)));
}

#[test]
fn spread_first_beat_is_drawn_for_each_link() {
    let config = bare_client()
        .with_interval(secs(100))
        .with_spread_first_beat(true);
    let mut client = connected(config);
    let first = client.deadline().unwrap().since_epoch();
    client.handle(Event::Disconnected, at(0));
    assert_eq!(drain(&mut client, at(0)), [reconnect(secs(1), 1)]);
    assert_eq!(client.poll(at(1)), Some(connect(1)));
    client.handle(Event::Connected, at(1));
    let second = client.deadline().unwrap().saturating_duration_since(at(1));
    assert_ne!(first, second);
    assert!(second > Duration::ZERO && second <= secs(100));
}

#[test]
fn without_spread_the_first_beat_is_one_interval_after_connecting() {
    let mut server = session(bare_server().with_interval(secs(100)));
    beats(&mut server, at(100), 1);
}

#[test]
fn only_when_idle_counts_other_traffic_as_a_beat() {
    let mut server = session(bare_server().with_interval(secs(30)));
    for second in [10, 20, 40, 65] {
        server.handle(Event::Sent, at(second));
        idle(&mut server, at(second));
    }
    beats(&mut server, at(95), 1);
}

#[test]
fn without_only_when_idle_other_traffic_does_not_count() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_only_when_idle(false);
    let mut server = session(config);
    for second in [10, 20, 29] {
        server.handle(Event::Sent, at(second));
    }
    beats(&mut server, at(30), 1);
    server.handle(Event::Sent, at(59));
    beats(&mut server, at(60), 2);
}

// ---------------------------------------------------------------- the limits

#[test]
fn silence_timeout_closes_at_the_limit() {
    let mut server = session(bare_server().with_silence_timeout(secs(120)));
    acts(&mut server, at(120), SILENT);
}

#[test]
fn silence_timeout_runs_from_the_last_evidence() {
    let mut server = session(bare_server().with_silence_timeout(secs(120)));
    for event in [Event::Received, Event::HeartbeatReceived, ANSWER] {
        server.handle(event, at(100));
    }
    acts(&mut server, at(220), SILENT);
}

#[test]
fn silence_timeout_is_not_pushed_by_what_we_send() {
    let config = bare_server()
        .with_interval(secs(50))
        .with_silence_timeout(secs(120));
    let mut server = session(config);
    beats(&mut server, at(50), 1);
    beats(&mut server, at(100), 2);
    server.handle(Event::Sent, at(119));
    acts(&mut server, at(120), SILENT);
}

#[test]
fn evidence_any_bytes_takes_a_partial_frame() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Received, at(59));
    acts(&mut server, at(119), SILENT);
}

#[test]
fn evidence_heartbeats_does_not_take_bytes() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_evidence(Evidence::Heartbeats);
    let mut server = session(config);
    for second in [10, 30, 59] {
        server.handle(Event::Received, at(second));
    }
    acts(&mut server, at(60), SILENT);
}

#[test]
fn evidence_heartbeats_takes_heartbeats_and_answers() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_evidence(Evidence::Heartbeats);
    for event in [Event::HeartbeatReceived, ANSWER, answer(7)] {
        let mut server = session(config);
        server.handle(event, at(59));
        acts(&mut server, at(119), SILENT);
    }
}

#[test]
fn answer_timeout_closes_so_long_after_the_flush() {
    let mut server = session(asking().with_answer_timeout(secs(7)));
    assert_eq!(server.poll(at(10)), Some(beat(1)));
    server.handle(Event::HeartbeatSent, at(11)); // our queue is not the peer's fault
    acts(&mut server, at(18), NO_ANSWER);
}

#[test]
fn answer_timeout_is_cleared_by_an_answer() {
    let mut server = session(asking().with_answer_timeout(secs(7)));
    beats(&mut server, at(10), 1);
    server.handle(answer(1), before(at(17)));
    idle(&mut server, at(17));
    beats(&mut server, at(20), 2);
}

#[test]
fn without_answer_timeout_no_clock_runs_for_answers() {
    let mut server = session(asking());
    for number in 1..100 {
        beats(&mut server, at(u64::from(number) * 10), number);
    }
}

#[test]
fn max_unanswered_closes_when_the_next_beat_falls_due() {
    let mut server = session(asking().with_max_unanswered(3));
    beats(&mut server, at(10), 1);
    beats(&mut server, at(20), 2);
    beats(&mut server, at(30), 3);
    assert_eq!(server.status(at(39)).unanswered, 3);
    acts(&mut server, at(40), NO_ANSWER);
}

#[test]
fn max_unanswered_starts_afresh_with_evidence() {
    let mut server = session(asking().with_max_unanswered(2));
    beats(&mut server, at(10), 1);
    beats(&mut server, at(20), 2);
    server.handle(Event::Received, before(at(30)));
    beats(&mut server, at(30), 3);
    beats(&mut server, at(40), 4);
    acts(&mut server, at(50), NO_ANSWER);
}

#[test]
fn write_timeout_closes_when_a_beat_is_not_flushed() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_write_timeout(secs(20));
    let mut server = session(config);
    acts(&mut server, at(30), beat(1));
    acts(&mut server, at(50), WRITE_STALLED);
}

#[test]
fn write_timeout_is_withdrawn_by_the_flush() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_write_timeout(secs(20));
    let mut server = session(config);
    acts(&mut server, at(30), beat(1));
    server.handle(Event::HeartbeatSent, at(50));
    beats(&mut server, at(80), 2);
}

#[test]
fn without_write_timeout_a_beat_may_take_for_ever() {
    let mut server = session(bare_server().with_interval(secs(30)));
    acts(&mut server, at(30), beat(1));
    assert_eq!(server.deadline(), None);
    idle(&mut server, at(100_000));
}

#[test]
fn hello_timeout_closes_when_no_byte_came_at_all() {
    let config = bare_server()
        .with_hello_timeout(secs(10))
        .with_silence_timeout(secs(60));
    let mut server = session(config);
    acts(&mut server, at(10), close(CloseReason::NoHello));
}

#[test]
fn hello_timeout_ends_with_the_first_byte() {
    let config = bare_server()
        .with_hello_timeout(secs(10))
        .with_silence_timeout(secs(60));
    let mut server = session(config);
    server.handle(Event::Received, at(10));
    acts(&mut server, at(70), SILENT);
}

#[test]
fn hello_timeout_runs_from_connected() {
    let mut client = dialling(bare_client().with_hello_timeout(secs(10)));
    client.handle(Event::Connected, at(5));
    acts(&mut client, at(15), close(CloseReason::NoHello));
}

#[test]
fn connect_timeout_abandons_the_dial() {
    let mut client = dialling(bare_client().with_connect_timeout(secs(20)));
    acts(&mut client, at(20), close(CloseReason::ConnectTimeout));
}

#[test]
fn connect_timeout_runs_from_connect() {
    let mut client = session(bare_client().with_connect_timeout(secs(20)));
    assert_eq!(client.poll(at(100)), Some(connect(0)));
    acts(&mut client, at(120), close(CloseReason::ConnectTimeout));
}

#[test]
fn without_connect_timeout_a_dial_may_take_for_ever() {
    let mut client = dialling(bare_client().without_connect_timeout());
    assert_eq!(client.deadline(), None);
    idle(&mut client, at(100_000));
    client.handle(Event::Connected, at(100_000));
    assert_eq!(client.phase(), Phase::Open);
}

#[test]
fn close_grace_aborts_what_is_not_closed() {
    let mut server = session(bare_server().with_close_grace(secs(5)));
    server.handle(Event::Drain, at(10));
    assert_eq!(server.poll(at(10)), Some(close(CloseReason::Draining)));
    acts(&mut server, at(15), Action::Abort);
    assert_eq!(server.phase(), Phase::Done);
}

#[test]
fn close_grace_is_met_by_disconnected() {
    let mut server = session(bare_server().with_close_grace(secs(5)));
    server.handle(Event::Drain, at(10));
    assert_eq!(server.poll(at(10)), Some(close(CloseReason::Draining)));
    server.handle(Event::Disconnected, at(15));
    idle(&mut server, at(15));
}

#[test]
fn max_age_closes_at_that_age() {
    let mut server = session(bare_server().with_max_age(secs(3600)));
    server.handle(Event::Received, at(3599));
    acts(&mut server, at(3600), close(CloseReason::TooOld));
}

#[test]
fn max_age_runs_from_connected() {
    let mut client = dialling(bare_client().with_max_age(secs(3600)));
    client.handle(Event::Connected, at(7));
    assert_eq!(client.status(at(7)).age_left, Some(secs(3600)));
    acts(&mut client, at(3607), close(CloseReason::TooOld));
}

#[test]
fn max_age_jitter_shortens_only() {
    let config = bare_server()
        .with_max_age(secs(1000))
        .with_max_age_jitter(Ratio::percent(10));
    let ages = (0..2000).map(|seed| {
        let mut server = seeded(config, seed);
        let due = server.deadline().unwrap();
        assert_eq!(server.poll(due), Some(close(CloseReason::TooOld)));
        due.since_epoch()
    });
    let (low, high) = reach(ages);
    assert!(low >= secs(900) && low < secs(901), "{low:?}");
    assert!(high <= secs(1000) && high > secs(999), "{high:?}");
}

/// Heartbeats are asked for every 10 s; what ends them is the test's.
fn asking() -> ConfigBuilder {
    bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_stall_tolerance(secs(1))
}

// ---------------------------------------------------------------- late ticks

#[test]
fn stall_tolerance_is_the_lateness_that_still_convicts() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_stall_tolerance(secs(2));
    let mut punctual = session(config);
    assert_eq!(punctual.poll(at(62)), Some(SILENT));
    let mut late = session(config);
    assert_eq!(late.poll(after(at(62))), None);
    assert!(late.is_suspect());
}

#[test]
fn stall_tolerance_is_by_default_a_quarter_of_the_shortest_limit() {
    let config = bare_server().with_silence_timeout(secs(8));
    assert_eq!(session(config).poll(at(10)), Some(SILENT));
    assert_eq!(session(config).poll(after(at(10))), None);
}

#[test]
fn stall_tolerance_is_by_default_at_most_five_seconds() {
    let config = bare_server().with_silence_timeout(secs(3600));
    assert_eq!(session(config).poll(at(3605)), Some(SILENT));
    assert_eq!(session(config).poll(after(at(3605))), None);
}

#[test]
fn resume_grace_is_the_time_for_the_probes_answer() {
    let config = asking()
        .with_answer_timeout(secs(3))
        .with_resume_grace(secs(15))
        .with_interval(secs(100));
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    assert_eq!(server.poll(at(50)), Some(beat(1)));
    server.handle(Event::HeartbeatSent, at(51));
    acts(&mut server, at(66), NO_ANSWER);
}

#[test]
fn resume_grace_below_the_answer_timeout_does_not_shorten_it() {
    let config = asking()
        .with_answer_timeout(secs(30))
        .with_resume_grace(secs(15))
        .with_interval(secs(100));
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    beats_now(&mut server, at(50), 1);
    acts(&mut server, at(80), NO_ANSWER);
}

#[test]
fn probes_are_spread_over_the_probes_limit() {
    let config = asking()
        .with_answer_timeout(secs(3))
        .with_resume_grace(secs(12))
        .with_interval(secs(100))
        .with_probes(3);
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    beats_now(&mut server, at(50), 1);
    beats(&mut server, at(54), 2);
    beats(&mut server, at(58), 3);
    acts(&mut server, at(62), NO_ANSWER);
}

#[test]
fn probes_are_spread_over_the_silence_timeout_where_none_answer() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_interval(secs(1000))
        .with_probes(2);
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    beats_now(&mut server, at(50), 1);
    beats(&mut server, at(80), 2);
    acts(&mut server, at(110), SILENT);
}

#[test]
fn one_probe_is_the_default() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_interval(secs(1000));
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    beats_now(&mut server, at(50), 1);
    acts(&mut server, at(110), SILENT);
}

/// A heartbeat that is due now, and flushed at once.
#[track_caller]
fn beats_now(session: &mut Session, now: Timestamp, number: u32) {
    assert_eq!(session.poll(now), Some(beat(number)));
    session.handle(Event::HeartbeatSent, now);
}

// --------------------------------------------------------------------- flood

fn flooded(config: ConfigBuilder, milliseconds: &[u64]) -> bool {
    let mut server = session(config);
    for beat in milliseconds {
        server.handle(Event::HeartbeatReceived, at_ms(*beat));
    }
    let end = at_ms(*milliseconds.last().unwrap());
    server.poll(end) == Some(close(CloseReason::Flooded))
}

#[test]
fn flood_strikes_are_the_burst_that_is_allowed() {
    let config = bare_server().with_flood(secs(10), 3);
    assert!(!flooded(config, &[1000, 1000, 1000]));
    assert!(flooded(config, &[1000, 1000, 1000, 1000]));
}

#[test]
fn flood_gap_is_the_time_for_one_more() {
    let config = bare_server().with_flood(secs(10), 3);
    assert!(!flooded(config, &[1000, 1000, 1000, 11_000]));
    assert!(flooded(config, &[1000, 1000, 1000, 10_999]));
    assert!(flooded(config, &[1000, 1000, 1000, 11_000, 20_999]));
    assert!(!flooded(config, &[1000, 1000, 1000, 11_000, 21_000]));
}

#[test]
fn flood_bucket_holds_no_more_than_its_strikes() {
    let config = bare_server().with_flood(secs(10), 2);
    assert!(flooded(config, &[900_000, 900_000, 900_000]));
    assert!(flooded(config, &[0, 0, 900_000, 900_000, 900_000]));
}

#[test]
fn flood_of_one_strike_wants_every_gap() {
    let config = bare_server().with_flood(secs(10), 1);
    let steady: Vec<u64> = (0..100).map(|n| n * 10_000).collect();
    assert!(!flooded(config, &steady));
    assert!(flooded(config, &[0, 10_000, 19_999]));
}

#[test]
fn flood_counts_heartbeats_alone() {
    let mut server = session(bare_server().with_flood(secs(10), 1));
    for _ in 0..100 {
        server.handle(Event::Received, at(1));
        server.handle(ANSWER, at(1));
    }
    idle(&mut server, at(1));
}

#[test]
fn without_flood_heartbeats_come_as_fast_as_they_like() {
    let mut server = session(bare_server());
    for _ in 0..10_000 {
        server.handle(Event::HeartbeatReceived, at(1));
    }
    idle(&mut server, at(1));
}

// ---------------------------------------------------------------- coming back

/// The delays announced over so many dials that fail at once.
fn delays(policy: Backoff, seed: u64, count: usize) -> Vec<Duration> {
    let mut client = seeded(bare_client().with_backoff(policy), seed);
    let mut now = at(0);
    let mut delays = Vec::new();
    while delays.len() < count {
        match client.poll(now) {
            Some(Action::Connect { .. }) => client.handle(Event::ConnectFailed, now),
            Some(Action::Reconnect { after, .. }) => {
                delays.push(after);
                if after > Duration::ZERO {
                    idle(&mut client, now);
                    let due = now.checked_add(after).unwrap();
                    assert_eq!(client.deadline(), Some(due));
                    idle(&mut client, before(due));
                }
                now = now.checked_add(after).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    delays
}

#[test]
fn backoff_initial_is_the_first_delay() {
    let policy = plain_backoff().with_initial(secs(3));
    assert_eq!(delays(policy, 1, 1), [secs(3)]);
}

#[test]
fn backoff_multiplier_grows_each_delay() {
    let policy = plain_backoff().with_multiplier(Ratio::percent(150));
    let expected = [1000, 1500, 2250, 3375].map(millis);
    assert_eq!(delays(policy, 1, 4), expected);
}

#[test]
fn backoff_max_caps_the_delay() {
    let policy = plain_backoff().with_max(secs(5));
    assert_eq!(delays(policy, 1, 6), [1, 2, 4, 5, 5, 5].map(secs));
}

#[test]
fn backoff_jitter_spreads_the_delay_also_at_the_cap() {
    for (jitter, low, high) in [
        (Jitter::Full, 0, 8000),
        (Jitter::Equal, 4000, 8000),
        (Jitter::Proportional(Ratio::percent(20)), 6400, 9600),
    ] {
        let policy = plain_backoff().with_max(secs(8)).with_jitter(jitter);
        let at_the_cap = (0..500).map(|seed| delays(policy, seed, 5)[4]);
        let (least, most) = reach(at_the_cap);
        let slack = millis((high - low) / 50);
        let (low, high) = (millis(low), millis(high));
        assert!(
            least >= low && least <= low + slack,
            "{jitter:?}: {least:?}"
        );
        assert!(
            most <= high + NANO && most >= high - slack,
            "{jitter:?}: {most:?}"
        );
    }
}

#[test]
fn backoff_jitter_decorrelated_stays_within_three_times_the_previous() {
    let policy = plain_backoff()
        .with_max(secs(20))
        .with_jitter(Jitter::Decorrelated);
    for seed in 0..100 {
        let mut previous = secs(1);
        for delay in delays(policy, seed, 12) {
            assert!(delay >= secs(1) && delay <= (previous * 3).min(secs(20)));
            previous = delay;
        }
    }
}

#[test]
fn backoff_max_attempts_gives_up_after_so_many() {
    let policy = plain_backoff().with_max_attempts(2);
    let mut client = dialling(bare_client().with_backoff(policy));
    client.handle(Event::ConnectFailed, at(0));
    assert_eq!(drain(&mut client, at(0)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(1)), [connect(1)]);
    client.handle(Event::ConnectFailed, at(1));
    assert_eq!(drain(&mut client, at(1)), [reconnect(secs(2), 2)]);
    assert_eq!(drain(&mut client, at(3)), [connect(2)]);
    client.handle(Event::ConnectFailed, at(3));
    let end = Action::GiveUp(GiveUpReason::AttemptsExhausted);
    assert_eq!(drain(&mut client, at(3)), [end]);
    assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
}

#[test]
fn without_backoff_a_client_does_not_come_back() {
    let mut client = lost(bare_client().without_backoff());
    idle(&mut client, at(0));
    assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
}

/// The attempt that is announced when a second link ends at that age.
fn attempt_after(config: ConfigBuilder, age: Duration) -> u32 {
    let mut client = lost(config);
    assert_eq!(drain(&mut client, at(0)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(1)), [connect(1)]);
    client.handle(Event::Connected, at(1));
    let end = at(1).checked_add(age).unwrap();
    client.handle(Event::Disconnected, end);
    match client.poll(end) {
        Some(Action::Reconnect { attempt, after }) => {
            assert_eq!(after, secs(u64::from(attempt)));
            attempt
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn stable_after_is_the_age_at_which_attempts_start_again() {
    let config = bare_client().with_stable_after(secs(30));
    assert_eq!(attempt_after(config, secs(30)), 1);
    assert_eq!(attempt_after(config, secs(30) - NANO), 2);
    assert_eq!(attempt_after(config, Duration::ZERO), 2);
}

#[test]
fn max_retry_after_is_the_longest_that_is_obeyed() {
    let config = bare_client().with_max_retry_after(secs(100));
    let announced = |hint| {
        let mut client = lost(config);
        client.handle(Event::RetryAfter(hint), at(0));
        match client.poll(at(0)) {
            Some(Action::Reconnect { after, .. }) => after,
            other => panic!("{other:?}"),
        }
    };
    let (obeyed, cut) = (announced(secs(100)), announced(secs(100_000)));
    assert!(obeyed >= secs(100) && obeyed <= secs(125), "{obeyed:?}");
    assert_eq!(cut, obeyed);
    assert_eq!(announced(Duration::MAX), obeyed);
}

// ------------------------------------------------------------------ refusals

#[track_caller]
fn refused(config: ConfigBuilder, field: &str, rule: Rule) {
    let error = config.build().unwrap_err();
    assert_eq!((error.field(), error.rule()), (field, rule));
    assert!(error.to_string().starts_with(field), "{error}");
}

type Setter = fn(ConfigBuilder, Duration) -> ConfigBuilder;

const SPANS: [(&str, Setter); 13] = [
    ("interval", |config, span| config.with_interval(span)),
    ("silence_timeout", |config, span| {
        config.with_silence_timeout(span)
    }),
    ("answer_timeout", |config, span| {
        config.with_answer_timeout(span)
    }),
    ("write_timeout", |config, span| {
        config.with_write_timeout(span)
    }),
    ("hello_timeout", |config, span| {
        config.with_hello_timeout(span)
    }),
    ("connect_timeout", |config, span| {
        config.with_connect_timeout(span)
    }),
    ("close_grace", |config, span| config.with_close_grace(span)),
    ("stall_tolerance", |config, span| {
        config.with_stall_tolerance(span)
    }),
    ("resume_grace", |config, span| {
        config.with_resume_grace(span)
    }),
    ("flood", |config, span| config.with_flood(span, 1)),
    ("max_age", |config, span| config.with_max_age(span)),
    ("stable_after", |config, span| {
        config.with_stable_after(span)
    }),
    ("max_retry_after", |config, span| {
        config.with_max_retry_after(span)
    }),
];

#[test]
fn a_span_of_zero_is_refused() {
    for (field, set) in SPANS {
        refused(set(Config::client(), Duration::ZERO), field, Rule::Zero);
        assert!(set(Config::client(), NANO).build().is_ok(), "{field}");
    }
}

#[test]
fn a_span_beyond_the_range_is_refused() {
    let open_ended = Config::client().without_silence_timeout();
    for (field, set) in SPANS {
        for span in [Duration::MAX, Duration::from_nanos(u64::MAX)] {
            refused(set(open_ended, span), field, Rule::TooLong);
        }
        let long = Duration::from_nanos(u64::MAX - 2);
        assert!(set(open_ended, long).build().is_ok(), "{field}");
    }
}

#[test]
fn a_count_of_zero_is_refused() {
    let client = Config::client();
    refused(client.with_max_unanswered(0), "max_unanswered", Rule::Zero);
    refused(client.with_probes(0), "probes", Rule::Zero);
    refused(client.with_flood(secs(1), 0), "flood", Rule::Zero);
    let none = plain_backoff().with_max_attempts(0);
    refused(
        client.with_backoff(none),
        "backoff.max_attempts",
        Rule::Zero,
    );
    let one = client.with_max_unanswered(1).with_probes(1);
    assert!(one.with_flood(secs(1), 1).build().is_ok());
}

#[test]
fn a_jitter_of_the_whole_span_is_refused() {
    let client = Config::client();
    for whole in [Ratio::ONE, Ratio::permille(u32::MAX)] {
        refused(
            client.with_interval_jitter(whole),
            "interval_jitter",
            Rule::NotBelowOne,
        );
        refused(
            client.with_max_age_jitter(whole),
            "max_age_jitter",
            Rule::NotBelowOne,
        );
    }
    let most = Ratio::permille(999);
    let client = client.with_interval_jitter(most).with_max_age_jitter(most);
    assert!(client.build().is_ok());
}

#[test]
fn a_hello_timeout_not_below_the_silence_timeout_is_refused() {
    let client = Config::client().with_silence_timeout(secs(60));
    let rule = Rule::NotBelowSilence;
    refused(client.with_hello_timeout(secs(60)), "hello_timeout", rule);
    refused(client.with_hello_timeout(secs(61)), "hello_timeout", rule);
    let below = client.with_hello_timeout(secs(60) - NANO);
    assert!(below.build().is_ok());
    let alone = client.without_silence_timeout();
    assert!(alone.with_hello_timeout(secs(60)).build().is_ok());
}

#[test]
fn answers_without_heartbeats_are_refused() {
    let mute = Config::client().without_interval();
    let rule = Rule::NeedsInterval;
    refused(mute.with_answer_timeout(secs(5)), "answer_timeout", rule);
    refused(mute.with_max_unanswered(2), "max_unanswered", rule);
    assert!(mute.build().is_ok());
}

#[test]
fn answers_with_neither_write_nor_silence_timeout_are_refused() {
    let open_ended = Config::client()
        .without_write_timeout()
        .without_silence_timeout();
    let rule = Rule::Unbounded;
    let asking = open_ended.with_answer_timeout(secs(5));
    let counting = open_ended.with_max_unanswered(2);
    refused(asking, "answer_timeout", rule);
    refused(counting, "max_unanswered", rule);
    for config in [asking, counting] {
        assert!(config.with_write_timeout(secs(20)).build().is_ok());
        assert!(config.with_silence_timeout(secs(60)).build().is_ok());
    }
    assert!(open_ended.build().is_ok());
}

#[test]
fn a_server_that_dials_or_comes_back_is_refused() {
    let server = Config::server();
    refused(
        server.with_backoff(Backoff::new()),
        "backoff",
        Rule::OnServer,
    );
    refused(
        server.with_connect_timeout(secs(20)),
        "connect_timeout",
        Rule::OnServer,
    );
}

#[test]
fn a_bad_backoff_is_refused() {
    let refused = |policy, field, rule| refused(Config::client().with_backoff(policy), field, rule);
    let policy = plain_backoff();
    refused(
        policy.with_initial(Duration::ZERO),
        "backoff.initial",
        Rule::Zero,
    );
    refused(
        policy.with_initial(Duration::MAX),
        "backoff.initial",
        Rule::TooLong,
    );
    refused(policy.with_max(Duration::ZERO), "backoff.max", Rule::Zero);
    refused(policy.with_max(Duration::MAX), "backoff.max", Rule::TooLong);
    refused(
        policy.with_initial(secs(65)),
        "backoff.max",
        Rule::BelowInitial,
    );
    refused(
        policy.with_multiplier(Ratio::permille(999)),
        "backoff.multiplier",
        Rule::BelowOne,
    );
    let beyond = Jitter::Proportional(Ratio::permille(1001));
    refused(policy.with_jitter(beyond), "backoff.jitter", Rule::AboveOne);
    let edge = policy
        .with_initial(secs(64))
        .with_multiplier(Ratio::ONE)
        .with_jitter(Jitter::Proportional(Ratio::ONE));
    assert!(Config::client().with_backoff(edge).build().is_ok());
}

#[test]
fn setters_may_come_in_any_order() {
    let one = Config::client()
        .with_hello_timeout(secs(30))
        .with_silence_timeout(secs(60))
        .with_interval(secs(20));
    let other = Config::client()
        .with_interval(secs(20))
        .with_silence_timeout(secs(60))
        .with_hello_timeout(secs(30));
    assert_eq!(one.build(), other.build());
    assert_eq!(one.build().unwrap().to_builder(), one);
}

/// Nothing is silently clamped: what was set is what stands.
#[test]
fn what_was_set_is_what_stands() {
    let config = Config::client()
        .with_max_unanswered(u16::MAX)
        .with_backoff(plain_backoff().with_max_attempts(u32::MAX - 1));
    let config = config.build().unwrap();
    assert_eq!(config.max_unanswered(), Some(u16::MAX));
    let attempts = config.backoff().unwrap().max_attempts();
    assert_eq!(attempts, Some(u32::MAX - 1));
}

// ---------------------------------------------------------------- set_limits

#[test]
fn set_limits_moves_the_beats() {
    let mut server = session(bare_server().with_interval(secs(50)));
    set(&mut server, at(10), |limits| {
        limits.interval = Some(secs(20))
    });
    beats(&mut server, at(20), 1); // the clock runs on from 0 s
    beats(&mut server, at(40), 2);
    set(&mut server, at(41), |limits| limits.interval = None);
    idle(&mut server, at(1000));
}

#[test]
fn set_limits_can_start_the_beats() {
    let mut server = session(bare_server());
    set(&mut server, at(5), |limits| {
        limits.interval = Some(secs(20))
    });
    beats(&mut server, at(20), 1);
}

#[test]
fn set_limits_moves_the_silence_timeout() {
    let mut server = session(bare_server().with_silence_timeout(secs(50)));
    server.handle(Event::Received, at(10));
    set(&mut server, at(20), |limits| {
        limits.silence_timeout = Some(secs(90));
    });
    acts(&mut server, at(100), SILENT);
}

#[test]
fn set_limits_moves_a_running_answer_clock() {
    let config = asking()
        .with_interval(secs(100))
        .with_answer_timeout(secs(50));
    let mut server = session(config);
    beats(&mut server, at(100), 1);
    set(&mut server, at(110), |limits| {
        limits.answer_timeout = Some(secs(30));
    });
    acts(&mut server, at(130), NO_ANSWER);
}

#[test]
fn set_limits_that_are_thereby_past_fall_due_now_and_are_no_stall() {
    let mut server = session(bare_server().with_silence_timeout(secs(500)));
    set(&mut server, at(100), |limits| {
        limits.silence_timeout = Some(secs(20));
    });
    assert_eq!(server.deadline(), Some(at(100)));
    assert_eq!(server.poll(at(100)), Some(SILENT));
    assert_eq!(server.status(at(100)).stalls, 0);
}

#[test]
fn set_limits_that_put_a_beat_into_the_past_make_it_due_now() {
    let config = bare_server()
        .with_interval(secs(500))
        .with_silence_timeout(secs(600));
    let mut server = session(config);
    set(&mut server, at(100), |limits| {
        limits.interval = Some(secs(20))
    });
    assert_eq!(server.deadline(), Some(at(100)));
    beats_now(&mut server, at(100), 1);
    assert_eq!(server.status(at(100)).stalls, 0);
    beats(&mut server, at(120), 2);
}

#[test]
fn set_limits_thereby_past_may_still_be_met_by_a_late_poll() {
    let config = bare_server()
        .with_silence_timeout(secs(500))
        .with_stall_tolerance(secs(2));
    let mut server = session(config);
    let limits = Limits {
        silence_timeout: Some(secs(20)),
        ..server.config().limits()
    };
    server.set_limits(limits, at(100)).unwrap();
    let mut late = server.clone();
    assert_eq!(server.poll(at(102)), Some(SILENT));
    assert_eq!(late.poll(after(at(102))), None);
    assert!(late.is_suspect());
}

#[test]
fn set_limits_refused_changes_nothing() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_silence_timeout(secs(100))
        .with_hello_timeout(secs(60))
        .with_interval_jitter(Ratio::percent(10));
    let mut server = session(config);
    let (deadline, before) = (server.deadline(), *server.config());
    let mut refused = |change: fn(&mut Limits), field, rule| {
        let mut limits = server.config().limits();
        change(&mut limits);
        let error = server.set_limits(limits, at(10)).unwrap_err();
        assert_eq!((error.field(), error.rule()), (field, rule));
        assert_eq!(*server.config(), before);
        assert_eq!(server.deadline(), deadline);
    };
    refused(
        |limits| limits.interval = Some(Duration::ZERO),
        "interval",
        Rule::Zero,
    );
    refused(
        |limits| limits.silence_timeout = Some(Duration::MAX),
        "silence_timeout",
        Rule::TooLong,
    );
    refused(
        |limits| limits.silence_timeout = Some(secs(60)),
        "hello_timeout",
        Rule::NotBelowSilence,
    );
    refused(
        |limits| {
            limits.answer_timeout = Some(secs(5));
            limits.interval = None;
        },
        "answer_timeout",
        Rule::NeedsInterval,
    );
    refused(
        |limits| {
            limits.answer_timeout = Some(secs(5));
            limits.silence_timeout = None;
        },
        "answer_timeout",
        Rule::Unbounded,
    );
}

/// A call that changes nothing is also not a call that was late.
#[test]
fn set_limits_refused_is_no_stall() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    let bad = Limits {
        interval: Some(Duration::ZERO),
        ..server.config().limits()
    };
    assert!(server.set_limits(bad, at(1000)).is_err());
    assert_eq!(server.deadline(), Some(at(60)));
    assert!(!server.is_suspect());
}

#[test]
fn set_limits_is_judged_for_stalls_like_any_call() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    set(&mut server, at(100), |limits| {
        limits.silence_timeout = Some(secs(70));
    });
    assert!(server.is_suspect());
    assert_eq!(server.status(at(100)).stalls, 1);
    acts(&mut server, at(170), SILENT);
}

#[test]
fn set_limits_is_valid_for_later_links_too() {
    let mut client = connected(bare_client().with_interval(secs(50)));
    set(&mut client, at(1), |limits| limits.interval = Some(secs(7)));
    client.handle(Event::Disconnected, at(2));
    assert_eq!(drain(&mut client, at(2)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(3)), [connect(1)]);
    client.handle(Event::Connected, at(3));
    beats(&mut client, at(10), 1);
    assert_eq!(client.config().interval(), Some(secs(7)));
}

#[test]
fn set_limits_before_connecting_is_valid_when_connected() {
    let mut client = session(bare_client());
    set(&mut client, at(0), |limits| {
        limits.silence_timeout = Some(secs(7));
    });
    assert_eq!(client.poll(at(0)), Some(connect(0)));
    client.handle(Event::Connected, at(1));
    acts(&mut client, at(8), SILENT);
}

#[test]
fn set_limits_to_the_same_changes_nothing() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_interval_jitter(Ratio::percent(50))
        .with_spread_first_beat(true);
    let (mut touched, mut plain) = (session(config), session(config));
    for _ in 0..20 {
        let due = plain.deadline().unwrap();
        let earlier = before(due);
        touched
            .set_limits(touched.config().limits(), earlier)
            .unwrap();
        assert_eq!(touched.deadline(), Some(due));
        for session in [&mut touched, &mut plain] {
            assert!(session.poll(due).is_some());
            session.handle(Event::HeartbeatSent, due);
        }
    }
}

#[track_caller]
fn set(session: &mut Session, now: Timestamp, change: fn(&mut Limits)) {
    let mut limits = session.config().limits();
    change(&mut limits);
    session.set_limits(limits, now).unwrap();
}

#[test]
fn what_was_set_is_what_a_configuration_tells() {
    let config = Config::client()
        .with_interval(secs(11))
        .with_interval_jitter(Ratio::percent(3))
        .with_spread_first_beat(false)
        .with_only_when_idle(false)
        .with_silence_timeout(secs(31))
        .with_evidence(Evidence::Heartbeats)
        .with_answer_timeout(secs(7))
        .with_max_unanswered(4)
        .with_write_timeout(secs(9))
        .with_hello_timeout(secs(8))
        .with_connect_timeout(secs(6))
        .with_close_grace(secs(2))
        .with_stall_tolerance(secs(3))
        .with_resume_grace(secs(12))
        .with_probes(2)
        .with_flood(secs(1), 5)
        .with_max_age(secs(900))
        .with_max_age_jitter(Ratio::percent(4))
        .with_stable_after(secs(13))
        .with_max_retry_after(secs(600))
        .build()
        .unwrap();
    assert_eq!(config.interval(), Some(secs(11)));
    assert_eq!(config.interval_jitter(), Ratio::percent(3));
    assert!(!config.spread_first_beat() && !config.only_when_idle());
    assert_eq!(config.silence_timeout(), Some(secs(31)));
    assert_eq!(config.evidence(), Evidence::Heartbeats);
    assert_eq!(config.answer_timeout(), Some(secs(7)));
    assert_eq!(config.max_unanswered(), Some(4));
    assert_eq!(config.write_timeout(), Some(secs(9)));
    assert_eq!(config.hello_timeout(), Some(secs(8)));
    assert_eq!(config.connect_timeout(), Some(secs(6)));
    assert_eq!(config.close_grace(), secs(2));
    assert_eq!(config.stall_tolerance(), secs(3));
    assert_eq!(config.resume_grace(), secs(12));
    assert_eq!(config.probes(), 2);
    assert_eq!(config.flood(), Some((secs(1), 5)));
    assert_eq!(config.max_age(), Some(secs(900)));
    assert_eq!(config.max_age_jitter(), Ratio::percent(4));
    assert_eq!(config.stable_after(), secs(13));
    assert_eq!(config.max_retry_after(), secs(600));
    let limits = Limits {
        interval: Some(secs(11)),
        silence_timeout: Some(secs(31)),
        answer_timeout: Some(secs(7)),
    };
    assert_eq!(config.limits(), limits);
    assert_eq!(config.to_builder().build(), Ok(config));
}
