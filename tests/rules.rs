//! The rules of a session, one sentence a test.
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
    Action, CloseReason, ConfigBuilder, EndReason, Event, Evidence, GiveUpReason, Phase, Session,
    Timestamp,
};

const fn close(reason: CloseReason) -> Action {
    Action::Close(reason)
}

const SILENT: Action = close(CloseReason::PeerSilent);
const NO_ANSWER: Action = close(CloseReason::NoAnswer);
const WRITE_STALLED: Action = close(CloseReason::WriteStalled);
const CONNECT_TIMEOUT: Action = close(CloseReason::ConnectTimeout);
const NO_HELLO: Action = close(CloseReason::NoHello);
const TOO_OLD: Action = close(CloseReason::TooOld);
const DRAINING: Action = close(CloseReason::Draining);
const REJECTED: Action = close(CloseReason::Rejected);
const SHUTDOWN: Action = close(CloseReason::Shutdown);
const FLOODED: Action = close(CloseReason::Flooded);
const GIVE_UP_REJECTED: Action = Action::GiveUp(GiveUpReason::Rejected);
const GIVE_UP_EXHAUSTED: Action = Action::GiveUp(GiveUpReason::AttemptsExhausted);

/// Beats every 100 s, answers within 20 s.
fn asking() -> ConfigBuilder {
    bare_server()
        .with_interval(secs(100))
        .with_write_timeout(secs(50))
        .with_answer_timeout(secs(20))
}

/// A heartbeat that is due now, and flushed at once.
#[track_caller]
fn beats_now(session: &mut Session, now: Timestamp, number: u32) {
    assert_eq!(session.poll(now), Some(beat(number)));
    session.handle(Event::HeartbeatSent, now);
}

fn rtt(session: &Session, now: Timestamp) -> Option<Duration> {
    session.status(now).rtt
}

/// A client in `Waiting`, its first delay of 1 s announced at 0 s.
fn waiting(config: ConfigBuilder) -> Session {
    let mut client = lost(config);
    assert_eq!(drain(&mut client, at(0)), [reconnect(secs(1), 1)]);
    client
}

/// A client whose fifth dial failed at 15 s; it waits until 31 s.
fn waiting_long(config: ConfigBuilder) -> Session {
    let mut client = dialling(config);
    let mut now = 0;
    for attempt in 1..=5 {
        client.handle(Event::ConnectFailed, at(now));
        let delay = 1 << (attempt - 1);
        let announced = reconnect(secs(delay), attempt);
        assert_eq!(drain(&mut client, at(now)), [announced]);
        if attempt < 5 {
            now += delay;
            assert_eq!(drain(&mut client, at(now)), [connect(attempt)]);
        }
    }
    assert_eq!((now, client.deadline()), (15, Some(at(31))));
    client
}

/// A client whose second link is up at 1 s; no link was stable yet.
fn second_link(config: ConfigBuilder) -> Session {
    let mut client = waiting(config);
    assert_eq!(drain(&mut client, at(1)), [connect(1)]);
    client.handle(Event::Connected, at(1));
    client
}

/// A link that was asked to close at 0 s.
fn closing(config: ConfigBuilder) -> Session {
    let mut session = connected(config);
    session.handle(Event::Drain, at(0));
    assert_eq!(drain(&mut session, at(0)), [DRAINING]);
    session
}

fn done() -> Session {
    let mut client = connected(bare_client().without_backoff());
    client.handle(Event::Disconnected, at(0));
    assert_eq!(client.phase(), Phase::Done);
    client
}

// ------------------------------------------------------------ the three verbs

#[test]
fn verdicts_are_taken_in_poll_only_and_earlier_input_withdraws_them() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_stall_tolerance(secs(5));
    let mut server = session(config);
    server.handle(Event::Received, at(63)); // late, but within the tolerance
    assert!(!server.is_suspect());
    acts(&mut server, at(123), SILENT);
}

#[test]
fn input_at_an_instant_beats_a_timeout_at_the_same_instant() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Received, at(60));
    idle(&mut server, at(60));

    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(answer(1), at(120));
    idle(&mut server, at(120));

    let mut client = dialling(bare_client());
    client.handle(Event::Connected, at(20));
    idle(&mut client, at(20));
    assert_eq!(client.phase(), Phase::Open);
}

#[test]
fn what_is_due_stays_due() {
    let mut server = session(bare_server().with_interval(secs(10)));
    assert_eq!(server.deadline(), Some(at(10)));
    server.handle(Event::Received, at(12));
    assert_eq!(server.deadline(), Some(at(10)), "lies in the past");
    assert_eq!(server.poll(at(13)), Some(beat(1)));
}

#[test]
fn an_unpolled_action_is_not_lost() {
    let mut client = lost(bare_client());
    client.handle(Event::Received, at(50));
    assert_eq!(client.poll(at(90)), Some(reconnect(secs(1), 1)));
    assert_eq!(client.deadline(), Some(at(91)), "counted from the poll");
}

#[test]
fn now_going_backwards_is_no_time_passing() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Received, at(50));
    server.handle(Event::Received, at(10));
    idle(&mut server, at(5));
    acts(&mut server, at(110), SILENT);
}

#[test]
fn spurious_polls_change_nothing() {
    let config = bare_client()
        .with_interval(secs(10))
        .with_interval_jitter(nabiz::Ratio::percent(50))
        .with_spread_first_beat(true)
        .with_silence_timeout(secs(60));
    let (mut plain, mut polled) = (connected(config), connected(config));
    let expected = run(&mut plain, at(200));
    let mut log = Vec::new();
    for tick in 0..2000 {
        let now = at_ms(tick * 100);
        log.extend(run(&mut polled, now));
        for _ in 0..3 {
            idle(&mut polled, now);
        }
    }
    assert!(expected.iter().any(|(_, action)| *action == SILENT));
    assert!(expected.len() > 10);
    expected
        .iter()
        .zip(&log)
        .for_each(|(a, b)| assert_eq!(a, b));
    assert!(log.len().abs_diff(expected.len()) <= 1);
}

#[test]
fn the_same_seed_replays_and_another_does_not() {
    let run_with = |seed| {
        let config = nabiz::Config::client();
        let mut client = seeded(config, seed);
        let _ = client.poll(at(0));
        client.handle(Event::Connected, at(0));
        run(&mut client, at(1000))
    };
    assert_eq!(run_with(1), run_with(1));
    assert_ne!(run_with(1), run_with(2));
}

// ------------------------------------------------------------------- events

#[test]
fn connected_counts_only_in_connecting() {
    let mut fresh = session(bare_client());
    fresh.handle(Event::Connected, at(0));
    assert_eq!(fresh.poll(at(0)), Some(connect(0)), "was not dialled yet");

    let mut open = connected(bare_client().with_silence_timeout(secs(60)));
    open.handle(Event::Connected, at(50));
    acts(&mut open, at(60), SILENT);

    for (mut session, phase) in [
        (closing(bare_client()), Phase::Closing),
        (waiting(bare_client()), Phase::Waiting),
        (done(), Phase::Done),
    ] {
        let deadline = session.deadline();
        session.handle(Event::Connected, at(0));
        assert_eq!((session.phase(), session.deadline()), (phase, deadline));
        idle(&mut session, at(0));
    }
}

#[test]
fn connected_starts_all_clocks() {
    let at_5 = |config| {
        let mut client = dialling(config);
        client.handle(Event::Connected, at(5));
        client
    };
    let bare = bare_client();
    acts(&mut at_5(bare.with_interval(secs(9))), at(14), beat(1));
    let steady = bare.with_interval(secs(9)).with_only_when_idle(false);
    acts(&mut at_5(steady), at(14), beat(1));
    acts(
        &mut at_5(bare.with_silence_timeout(secs(9))),
        at(14),
        SILENT,
    );
    acts(
        &mut at_5(bare.with_hello_timeout(secs(9))),
        at(14),
        NO_HELLO,
    );
    acts(&mut at_5(bare.with_max_age(secs(9))), at(14), TOO_OLD);
}

#[test]
fn connected_leaves_nothing_of_the_previous_link_but_attempts_totals_and_how_it_ended() {
    let config = bare_client()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_answer_timeout(secs(8))
        .with_hello_timeout(secs(30))
        .with_flood(secs(100), 2);
    let mut client = connected(config);
    beats(&mut client, at(10), 1);
    client.handle(answer(1), at(11));
    client.handle(Event::HeartbeatReceived, at(12));
    client.handle(Event::HeartbeatReceived, at(12));
    beats(&mut client, at(20), 2);
    client.handle(Event::Resumed, at(21));
    assert_eq!(client.poll(at(21)), Some(beat(3)));
    client.handle(Event::Disconnected, at(22)); // suspect, one in flight
    assert_eq!(drain(&mut client, at(22)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(23)), [connect(1)]);
    client.handle(Event::Connected, at(24));

    let status = client.status(at(24));
    assert!(!status.suspect);
    assert_eq!((status.rtt, status.rtt_smoothed), (None, None));
    assert_eq!(status.unanswered, 0);
    assert_eq!((status.silence, status.age), (Some(secs(0)), Some(secs(0))));
    assert_eq!(
        (status.attempt, status.heartbeats, status.stalls),
        (1, 3, 1)
    );
    assert_eq!(status.last_end, Some(EndReason::Disconnected));

    // No strike, no beat in flight, no answer clock, no satisfied hello.
    client.handle(Event::HeartbeatSent, at(24));
    assert_eq!(client.status(at(24)).unanswered, 0);
    client.handle(answer(3), at(24));
    assert_eq!(rtt(&client, at(24)), None);
    client.handle(Event::HeartbeatReceived, at(24));
    client.handle(Event::HeartbeatReceived, at(24));
    beats(&mut client, at(34), 4);
    acts(&mut client, at(42), NO_ANSWER);
}

#[test]
fn hello_is_owed_on_each_link() {
    let mut client = connected(bare_client().with_hello_timeout(secs(30)));
    client.handle(Event::Received, at(0));
    client.handle(Event::Disconnected, at(0));
    assert_eq!(drain(&mut client, at(0)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(1)), [connect(1)]);
    client.handle(Event::Connected, at(1));
    acts(&mut client, at(31), NO_HELLO);
}

#[test]
fn connect_failed_leads_to_the_next_reconnect() {
    let mut client = dialling(bare_client());
    client.handle(Event::ConnectFailed, at(3));
    assert_eq!(client.phase(), Phase::Waiting);
    assert_eq!(drain(&mut client, at(3)), [reconnect(secs(1), 1)]);
    let last_end = client.status(at(3)).last_end;
    assert_eq!(last_end, Some(EndReason::ConnectFailed));
}

#[test]
fn disconnected_is_the_same_as_connect_failed_in_connecting() {
    let (mut one, mut other) = (dialling(bare_client()), dialling(bare_client()));
    one.handle(Event::ConnectFailed, at(3));
    other.handle(Event::Disconnected, at(3));
    assert_eq!(one.status(at(3)), other.status(at(3)));
    assert_eq!(drain(&mut one, at(3)), drain(&mut other, at(3)));
}

#[test]
fn disconnected_ends_an_open_link_whoever_did_it() {
    let mut client = connected(bare_client());
    client.handle(Event::Disconnected, at(3));
    assert_eq!(drain(&mut client, at(3)), [reconnect(secs(1), 1)]);
    let last_end = client.status(at(3)).last_end;
    assert_eq!(last_end, Some(EndReason::Disconnected));

    let mut server = session(bare_server());
    server.handle(Event::Disconnected, at(3));
    idle(&mut server, at(3));
    assert_eq!(server.phase(), Phase::Done);
}

#[test]
fn disconnected_is_ignored_in_waiting() {
    let mut client = waiting(bare_client());
    client.handle(Event::Disconnected, at(0));
    client.handle(Event::ConnectFailed, at(0));
    acts(&mut client, at(1), connect(1));
}

#[test]
fn received_satisfies_hello_under_either_evidence() {
    for evidence in [Evidence::AnyBytes, Evidence::Heartbeats] {
        let config = bare_server()
            .with_hello_timeout(secs(10))
            .with_evidence(evidence);
        let mut server = session(config);
        server.handle(Event::Received, at(9));
        assert_eq!(server.deadline(), None);
        idle(&mut server, at(10));
    }
}

#[test]
fn heartbeat_and_answer_imply_received() {
    for event in [Event::HeartbeatReceived, ANSWER, answer(1)] {
        let config = bare_server()
            .with_hello_timeout(secs(10))
            .with_silence_timeout(secs(60));
        let mut server = session(config);
        server.handle(event, at(9));
        acts(&mut server, at(69), SILENT);
    }
}

#[test]
fn sent_pushes_the_next_heartbeat_and_proves_nothing() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_silence_timeout(secs(60));
    let mut server = session(config);
    server.handle(Event::Sent, at(29));
    idle(&mut server, at(30));
    beats(&mut server, at(59), 1);
    acts(&mut server, at(60), SILENT);
}

#[test]
fn sent_restarts_the_write_clock() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_write_timeout(secs(20));
    let mut server = session(config);
    acts(&mut server, at(30), beat(1));
    server.handle(Event::Sent, at(49));
    server.handle(Event::Sent, at(53));
    idle(&mut server, at(53));
    acts(&mut server, at(73), WRITE_STALLED);
    assert_eq!(server.status(at(73)).stalls, 0);
}

#[test]
fn received_does_not_restart_the_write_clock() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_write_timeout(secs(20));
    let mut server = session(config);
    acts(&mut server, at(30), beat(1));
    server.handle(Event::HeartbeatReceived, at(49));
    acts(&mut server, at(50), WRITE_STALLED);
}

#[test]
fn heartbeat_sent_implies_sent() {
    let mut server = session(bare_server().with_interval(secs(30)));
    assert_eq!(server.poll(at(30)), Some(beat(1)));
    server.handle(Event::HeartbeatSent, at(37));
    beats(&mut server, at(67), 2);
}

#[test]
fn heartbeat_sent_that_nobody_asked_for_is_sent_alone() {
    let mut server = session(asking());
    server.handle(Event::HeartbeatSent, at(10));
    let status = server.status(at(10));
    assert_eq!((status.unanswered, status.heartbeats), (0, 0));
    server.handle(Event::Received, at(10));
    beats(&mut server, at(110), 1);
}

#[test]
fn the_answer_clock_runs_from_the_oldest_unanswered() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(50))
        .with_answer_timeout(secs(25));
    let mut server = session(config);
    beats(&mut server, at(10), 1);
    beats(&mut server, at(20), 2);
    beats(&mut server, at(30), 3);
    acts(&mut server, at(35), NO_ANSWER);
}

#[test]
fn rejected_closes_the_transport_then_gives_up() {
    for mut client in [connected(bare_client()), dialling(bare_client())] {
        client.handle(Event::Rejected, at(1));
        assert_eq!(drain(&mut client, at(1)), [REJECTED]);
        client.handle(Event::Disconnected, at(2));
        assert_eq!(drain(&mut client, at(2)), [GIVE_UP_REJECTED]);
        assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
    }
}

#[test]
fn rejected_without_a_transport_gives_up_at_once() {
    let fresh = session(bare_client());
    for mut client in [fresh, lost(bare_client()), waiting(bare_client())] {
        client.handle(Event::Rejected, at(0));
        assert_eq!(drain(&mut client, at(0)), [GIVE_UP_REJECTED]);
        assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
    }
}

#[test]
fn rejected_while_closing_gives_up_after_the_close() {
    let mut client = closing(bare_client());
    client.handle(Event::Rejected, at(1));
    idle(&mut client, at(1));
    acts(&mut client, at(5), Action::Abort);
    assert_eq!(drain(&mut client, at(5)), [GIVE_UP_REJECTED]);
}

#[test]
fn rejected_ends_a_server_without_giving_up() {
    let mut server = session(bare_server());
    server.handle(Event::Rejected, at(1));
    assert_eq!(drain(&mut server, at(1)), [REJECTED]);
    server.handle(Event::Disconnected, at(1));
    idle(&mut server, at(1));
    assert_eq!((server.phase(), server.deadline()), (Phase::Done, None));
}

#[test]
fn rejected_ends_a_client_without_backoff_by_giving_up() {
    let mut client = connected(bare_client().without_backoff());
    client.handle(Event::Rejected, at(1));
    assert_eq!(drain(&mut client, at(1)), [REJECTED]);
    client.handle(Event::Disconnected, at(1));
    assert_eq!(drain(&mut client, at(1)), [GIVE_UP_REJECTED]);
}

#[test]
fn resumed_makes_an_open_link_suspect() {
    let config = bare_server()
        .with_interval(secs(100))
        .with_silence_timeout(secs(150));
    let mut server = session(config);
    server.handle(Event::Resumed, at(60));
    assert!(server.is_suspect() && server.status(at(60)).suspect);
    beats_now(&mut server, at(60), 1);
    beats(&mut server, at(160), 2);
    acts(&mut server, at(210), SILENT);
}

#[test]
fn resumed_gives_a_dial_its_whole_time_again() {
    let mut client = dialling(bare_client().with_connect_timeout(secs(20)));
    client.handle(Event::Resumed, at(15));
    acts(&mut client, at(35), CONNECT_TIMEOUT);
}

#[test]
fn resumed_before_the_first_connect_is_nothing() {
    let mut client = session(bare_client());
    client.handle(Event::Resumed, at(0));
    assert_eq!(drain(&mut client, at(0)), [connect(0)]);
    assert_eq!(client.status(at(0)).stalls, 0);
}

#[test]
fn resumed_in_waiting_moves_the_dial_to_a_first_attempts_draw() {
    let mut client = waiting_long(bare_client());
    client.handle(Event::Resumed, at(20));
    assert_eq!(drain(&mut client, at(20)), [reconnect(secs(1), 5)]);
    acts(&mut client, at(21), connect(5));
}

#[test]
fn resumed_in_waiting_draws_with_the_policys_jitter() {
    let policy = plain_backoff().with_jitter(nabiz::Jitter::Full);
    let dials: Vec<_> = (0..500)
        .map(|seed| {
            let mut client = seeded(bare_client().with_backoff(policy), seed);
            assert_eq!(client.poll(at(0)), Some(connect(0)));
            client.handle(Event::RetryAfter(secs(1000)), at(0));
            client.handle(Event::ConnectFailed, at(0));
            assert_eq!(drain(&mut client, at(0)).len(), 1);
            client.handle(Event::Resumed, at(0));
            drain(&mut client, at(0));
            client.deadline().unwrap()
        })
        .collect();
    assert!(
        dials
            .iter()
            .all(|dial| (at(1000)..=at(1001)).contains(dial))
    );
    let low = dials
        .iter()
        .filter(|dial| **dial < at_ms(1_000_500))
        .count();
    assert!((200..300).contains(&low), "{low} in the first half");
}

#[test]
fn resumed_in_waiting_counts_once_a_wait() {
    let mut client = waiting_long(bare_client());
    client.handle(Event::Resumed, at(20));
    assert_eq!(drain(&mut client, at(20)), [reconnect(secs(1), 5)]);
    client.handle(Event::RetryAfter(secs(8)), at(20));
    let announced = drain(&mut client, at(20));
    assert_eq!(announced.len(), 1);
    let due = client.deadline().unwrap();
    client.handle(Event::Resumed, at(20));
    idle(&mut client, at(20));
    assert_eq!(client.deadline(), Some(due));
    // The next wait has one of its own.
    assert_eq!(drain(&mut client, due), [connect(5)]);
    client.handle(Event::ConnectFailed, due);
    assert_eq!(drain(&mut client, due), [reconnect(secs(32), 6)]);
    client.handle(Event::Resumed, due);
    assert_eq!(drain(&mut client, due), [reconnect(secs(1), 6)]);
}

#[test]
fn resumed_in_waiting_that_is_not_earlier_is_nothing() {
    let mut client = waiting(bare_client());
    client.handle(Event::Resumed, at_ms(500));
    idle(&mut client, at_ms(500));
    acts(&mut client, at(1), connect(1));
}

#[test]
fn resumed_in_waiting_keeps_what_remains_of_the_floor() {
    let mut client = waiting_long(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(15));
    assert_eq!(drain(&mut client, at(15)).len(), 1);
    client.handle(Event::Resumed, at(55));
    assert_eq!(drain(&mut client, at(55)), [reconnect(secs(61), 5)]);
    acts(&mut client, at(116), connect(5));
}

#[test]
fn resumed_elsewhere_is_nothing() {
    for mut session in [closing(bare_client()), done()] {
        let deadline = session.deadline();
        session.handle(Event::Resumed, at(0));
        assert_eq!(session.deadline(), deadline);
        idle(&mut session, at(0));
    }
}

#[test]
fn shutdown_closes_what_is_open_or_dialled_then_is_done() {
    for mut client in [connected(bare_client()), dialling(bare_client())] {
        client.handle(Event::Shutdown, at(1));
        assert_eq!(drain(&mut client, at(1)), [SHUTDOWN]);
        client.handle(Event::Disconnected, at(1));
        idle(&mut client, at(1));
        assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
    }
}

#[test]
fn shutdown_in_waiting_is_done() {
    for mut client in [lost(bare_client()), waiting(bare_client())] {
        client.handle(Event::Shutdown, at(0));
        idle(&mut client, at(0));
        assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
    }
}

#[test]
fn shutdown_in_closing_is_final_without_a_second_close() {
    let mut client = closing(bare_client());
    client.handle(Event::Shutdown, at(1));
    idle(&mut client, at(1));
    client.handle(Event::Disconnected, at(2));
    idle(&mut client, at(2));
    assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
}

#[test]
fn shutdown_is_not_undone_by_a_rejection() {
    let mut client = connected(bare_client());
    client.handle(Event::Shutdown, at(1));
    client.handle(Event::Rejected, at(1));
    assert_eq!(drain(&mut client, at(1)), [SHUTDOWN]);
    client.handle(Event::Rejected, at(1));
    client.handle(Event::Disconnected, at(1));
    idle(&mut client, at(1));
    client.handle(Event::Rejected, at(1));
    idle(&mut client, at(1));
}

#[test]
fn drain_closes_an_open_link_then_returns() {
    let mut client = connected(bare_client());
    client.handle(Event::Drain, at(2));
    assert_eq!(drain(&mut client, at(2)), [DRAINING]);
    client.handle(Event::Disconnected, at(3));
    assert_eq!(drain(&mut client, at(3)), [reconnect(secs(1), 1)]);
    let last_end = client.status(at(3)).last_end;
    assert_eq!(last_end, Some(EndReason::Closed(CloseReason::Draining)));
}

#[test]
fn drain_elsewhere_is_nothing() {
    for mut client in [dialling(bare_client()), waiting(bare_client()), done()] {
        let (phase, deadline) = (client.phase(), client.deadline());
        client.handle(Event::Drain, at(0));
        assert_eq!((client.phase(), client.deadline()), (phase, deadline));
        idle(&mut client, at(0));
    }
}

// ------------------------------------------------------------------- actions

#[test]
fn connect_of_attempt_0_is_the_first_dial() {
    let mut client = session(bare_client());
    assert_eq!(client.deadline(), Some(at(0)));
    assert_eq!(drain(&mut client, at(0)), [connect(0)]);
    assert_eq!(client.status(at(0)).attempt, 0);
}

#[test]
fn connect_follows_reconnect_when_it_is_due() {
    let mut client = waiting(bare_client());
    acts(&mut client, at(1), connect(1));
    idle(&mut client, at(1));
}

#[test]
fn heartbeats_are_numbered_over_all_links() {
    let mut client = connected(bare_client().with_interval(secs(10)));
    beats(&mut client, at(10), 1);
    beats(&mut client, at(20), 2);
    client.handle(Event::Disconnected, at(20));
    assert_eq!(drain(&mut client, at(20)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(21)), [connect(1)]);
    client.handle(Event::Connected, at(21));
    beats(&mut client, at(31), 3);
    assert_eq!(client.status(at(31)).heartbeats, 3);
}

#[test]
fn after_close_only_abort_follows() {
    let config = bare_client()
        .with_interval(secs(1))
        .with_silence_timeout(secs(3))
        .with_max_age(secs(2));
    let mut client = closing(config);
    for event in [
        Event::Received,
        Event::HeartbeatReceived,
        ANSWER,
        Event::Sent,
        Event::HeartbeatSent,
        Event::Connected,
        Event::Resumed,
        Event::Drain,
    ] {
        client.handle(event, at(3));
        idle(&mut client, at(4));
    }
    acts(&mut client, at(5), Action::Abort);
    assert_eq!(drain(&mut client, at(5)), [reconnect(secs(1), 1)]);
}

#[test]
fn abort_ends_the_link_as_it_was_closed() {
    let mut client = closing(bare_client());
    acts(&mut client, at(5), Action::Abort);
    let last_end = client.status(at(5)).last_end;
    assert_eq!(last_end, Some(EndReason::Closed(CloseReason::Draining)));
    assert_eq!(client.phase(), Phase::Waiting);
}

#[test]
fn an_abandoned_dial_that_does_not_end_is_aborted() {
    let mut client = dialling(bare_client().with_close_grace(secs(5)));
    assert_eq!(client.poll(at(20)), Some(CONNECT_TIMEOUT));
    acts(&mut client, at(25), Action::Abort);
    assert_eq!(drain(&mut client, at(25)), [reconnect(secs(1), 1)]);
    let last_end = client.status(at(25)).last_end;
    let expected = EndReason::Closed(CloseReason::ConnectTimeout);
    assert_eq!(last_end, Some(expected));
}

#[test]
fn a_link_gone_before_its_close_was_emitted_is_not_closed() {
    let mut client = connected(bare_client());
    client.handle(Event::Drain, at(1));
    client.handle(Event::Disconnected, at(1));
    assert_eq!(drain(&mut client, at(1)), [reconnect(secs(1), 1)]);
    let last_end = client.status(at(1)).last_end;
    assert_eq!(last_end, Some(EndReason::Disconnected));
}

#[test]
fn give_up_is_the_last_action_of_all() {
    let mut client = session(bare_client());
    client.handle(Event::Rejected, at(0));
    assert_eq!(drain(&mut client, at(0)), [GIVE_UP_REJECTED]);
    for event in EVENTS {
        client.handle(event, at(1));
        idle(&mut client, at(1_000_000));
    }
    assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
}

#[test]
fn the_earliest_limit_wins() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(14))
        .with_stall_tolerance(secs(100));
    let verdict = |config: ConfigBuilder, flush: bool| {
        let mut server = session(config);
        assert_eq!(server.poll(at(10)), Some(beat(1)));
        if flush {
            server.handle(Event::HeartbeatSent, at(10));
        }
        server.poll(at(100)) // all are past
    };
    let silence = config.with_silence_timeout(secs(23));
    assert_eq!(verdict(silence, false), Some(SILENT));
    let silence = config.with_silence_timeout(secs(25));
    assert_eq!(verdict(silence, false), Some(WRITE_STALLED));
    let hello = silence.with_hello_timeout(secs(23));
    assert_eq!(verdict(hello, false), Some(NO_HELLO));
    let old = hello.with_max_age(secs(22));
    assert_eq!(verdict(old, false), Some(TOO_OLD));
    let answer = old.with_answer_timeout(secs(11));
    assert_eq!(verdict(answer, true), Some(NO_ANSWER));
    let later = old.with_answer_timeout(secs(13));
    assert_eq!(verdict(later, true), Some(TOO_OLD));
}

// --------------------------------------------------- when a heartbeat is due

#[test]
fn a_beat_is_due_an_interval_after_the_last_flush_not_after_the_request() {
    let mut server = session(bare_server().with_interval(secs(10)));
    assert_eq!(server.poll(at(10)), Some(beat(1)));
    server.handle(Event::HeartbeatSent, at(14));
    beats(&mut server, at(24), 2);
}

#[test]
fn an_uploading_client_still_asks_a_server_that_only_answers() {
    let mut client = connected(
        bare_client()
            .with_interval(secs(10))
            .with_silence_timeout(secs(30))
            .with_answer_timeout(secs(5)),
    );
    for second in 1..10 {
        client.handle(Event::Sent, at(second));
        idle(&mut client, at(second));
    }
    beats(&mut client, at(10), 1);
    client.handle(answer(1), at(12));
    for second in 13..22 {
        client.handle(Event::Sent, at(second));
        idle(&mut client, at(second));
    }
    beats(&mut client, at(22), 2);
}

#[test]
fn where_no_answers_are_expected_an_upload_counts_as_beats() {
    let config = bare_client()
        .with_interval(secs(10))
        .with_silence_timeout(secs(3000));
    let mut client = connected(config);
    for second in 1..100 {
        client.handle(Event::Sent, at(second));
        idle(&mut client, at(second));
    }
}

#[test]
fn where_answers_are_expected_quiet_output_still_beats() {
    let mut server = session(asking());
    for second in 1..100 {
        server.handle(Event::Received, at(second));
        idle(&mut server, at(second));
    }
    beats(&mut server, at(100), 1); // evidence does not push it back
}

#[test]
fn never_two_beats_within_one_interval() {
    let mut client = connected(
        bare_client()
            .with_interval(secs(10))
            .with_write_timeout(secs(20))
            .with_max_unanswered(100),
    );
    beats(&mut client, at(10), 1);
    for second in 11..20 {
        client.handle(Event::Sent, at(second)); // and no evidence since 0 s
        idle(&mut client, at(second));
    }
    beats(&mut client, at(20), 2);
}

#[test]
fn one_heartbeat_in_flight_at_a_time() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_probes(5)
        .with_silence_timeout(secs(1000));
    let mut server = session(config);
    assert_eq!(server.poll(at(10)), Some(beat(1)));
    server.handle(Event::Sent, at(11));
    for second in [15, 25, 300] {
        server.handle(Event::Resumed, at(second));
        idle(&mut server, at(second));
    }
    assert_eq!(server.status(at(300)).heartbeats, 1);
}

#[test]
fn a_stuck_heartbeat_of_a_peer_that_talks_is_no_silence() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_silence_timeout(secs(30));
    let mut server = session(config);
    assert_eq!(server.poll(at(10)), Some(beat(1)));
    for second in 11..200 {
        server.handle(Event::Received, at(second));
        idle(&mut server, at(second));
    }
}

// ------------------------------------------------- when there is no answer

#[test]
fn any_evidence_of_life_clears_the_answer_clock() {
    for event in [Event::Received, Event::HeartbeatReceived, ANSWER] {
        let mut server = session(asking());
        beats(&mut server, at(100), 1);
        server.handle(event, at(119));
        assert_eq!(server.status(at(119)).unanswered, 0);
        beats(&mut server, at(200), 2);
    }
}

#[test]
fn bytes_that_are_no_evidence_do_not_clear_the_answer_clock() {
    let mut server = session(asking().with_evidence(Evidence::Heartbeats));
    beats(&mut server, at(100), 1);
    server.handle(Event::Received, at(119));
    acts(&mut server, at(120), NO_ANSWER);
}

#[test]
fn evidence_clears_the_verdict_not_the_rtt_mark() {
    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(Event::Received, at(101));
    assert_eq!(rtt(&server, at(101)), None);
    server.handle(ANSWER, at(103));
    assert_eq!(rtt(&server, at(103)), Some(secs(3)));
}

#[test]
fn rtt_is_sampled_when_exactly_one_was_flushed_since_the_last_answer() {
    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(ANSWER, at(101));
    assert_eq!(rtt(&server, at(101)), Some(secs(1)));
    beats(&mut server, at(200), 2);
    server.handle(Event::Received, at(201));
    beats(&mut server, at(300), 3);
    server.handle(ANSWER, at(302)); // of which of the two?
    assert_eq!(rtt(&server, at(302)), Some(secs(1)));
    beats(&mut server, at(400), 4);
    server.handle(ANSWER, at(405));
    assert_eq!(rtt(&server, at(405)), Some(secs(5)));
}

#[test]
fn rtt_is_sampled_when_the_ids_match() {
    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(Event::Received, at(101));
    beats(&mut server, at(200), 2);
    server.handle(answer(2), at(204));
    assert_eq!(rtt(&server, at(204)), Some(secs(4)));
}

#[test]
fn rtt_is_not_sampled_when_the_ids_do_not_match() {
    for wrong in [0, 1, 3, u32::MAX] {
        let mut server = session(asking());
        beats(&mut server, at(100), 1);
        server.handle(Event::Received, at(101));
        beats(&mut server, at(200), 2);
        server.handle(answer(wrong), at(204));
        assert_eq!(rtt(&server, at(204)), None, "id {wrong}");
        assert_eq!(server.status(at(204)).unanswered, 0, "but it is evidence");
    }
}

#[test]
fn rtt_is_sampled_once_an_answer() {
    for again in [ANSWER, answer(1)] {
        let mut server = session(asking());
        beats(&mut server, at(100), 1);
        server.handle(answer(1), at(101));
        server.handle(again, at(109));
        assert_eq!(rtt(&server, at(109)), Some(secs(1)));
    }
}

#[test]
fn rtt_runs_from_the_flush() {
    let mut server = session(asking());
    assert_eq!(server.poll(at(100)), Some(beat(1)));
    server.handle(Event::HeartbeatSent, at(105));
    server.handle(ANSWER, at(106));
    assert_eq!(rtt(&server, at(106)), Some(secs(1)));
}

/// RFC 6298 §2: the first sample as it is, then 7/8 of the old and 1/8 of the
/// new.
#[test]
fn rtt_is_smoothed() {
    let mut server = session(asking());
    let smoothed = |server: &Session| server.status(at(0)).rtt_smoothed.unwrap();
    beats(&mut server, at(100), 1);
    server.handle(ANSWER, at_ms(100_800));
    assert_eq!(smoothed(&server), millis(800));
    beats(&mut server, at(200), 2);
    server.handle(ANSWER, at_ms(201_600));
    assert_eq!(smoothed(&server), millis(900));
    assert_eq!(rtt(&server, at(202)), Some(millis(1600)));
}

#[test]
fn an_answer_that_overtakes_its_flush_cancels_the_clock() {
    for overtaking in [ANSWER, answer(1)] {
        let mut server = session(asking());
        assert_eq!(server.poll(at(100)), Some(beat(1)));
        server.handle(overtaking, at(101));
        server.handle(Event::HeartbeatSent, at(102));
        let status = server.status(at(102));
        assert_eq!((status.unanswered, status.rtt), (0, None));
        beats(&mut server, at(202), 2);
        acts(&mut server, at(222), NO_ANSWER);
    }
}

#[test]
fn an_answer_with_the_id_in_flight_overtakes_also_when_another_awaits_one() {
    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(Event::Received, at(101));
    assert_eq!(server.poll(at(200)), Some(beat(2)));
    server.handle(answer(2), at(201));
    server.handle(Event::HeartbeatSent, at(202));
    assert_eq!(server.status(at(202)).unanswered, 0);
    beats(&mut server, at(302), 3);
}

#[test]
fn an_answer_without_id_is_for_the_one_flushed_not_for_the_one_in_flight() {
    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(Event::Received, at(101));
    assert_eq!(server.poll(at(200)), Some(beat(2)));
    server.handle(ANSWER, at(201));
    assert_eq!(rtt(&server, at(201)), Some(secs(101)));
    server.handle(Event::HeartbeatSent, at(202));
    acts(&mut server, at(222), NO_ANSWER);
}

#[test]
fn evidence_before_the_flush_does_not_cancel_the_clock() {
    let mut server = session(asking());
    assert_eq!(server.poll(at(100)), Some(beat(1)));
    server.handle(Event::Received, at(101));
    server.handle(Event::HeartbeatSent, at(102));
    acts(&mut server, at(122), NO_ANSWER);
}

#[test]
fn max_unanswered_convicts_at_the_due_beat_also_while_we_upload() {
    let mut client = connected(
        bare_client()
            .with_interval(secs(10))
            .with_write_timeout(secs(20))
            .with_max_unanswered(1),
    );
    beats(&mut client, at(10), 1);
    for second in 11..20 {
        client.handle(Event::Sent, at(second));
        idle(&mut client, at(second));
    }
    acts(&mut client, at(20), NO_ANSWER);
}

#[test]
fn answer_timeout_and_max_unanswered_the_earlier_one_wins() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_max_unanswered(2);
    let mut patient = session(config.with_answer_timeout(secs(25)));
    beats(&mut patient, at(10), 1);
    beats(&mut patient, at(20), 2);
    acts(&mut patient, at(30), NO_ANSWER);
    let mut hasty = session(config.with_answer_timeout(secs(15)));
    beats(&mut hasty, at(10), 1);
    beats(&mut hasty, at(20), 2);
    acts(&mut hasty, at(25), NO_ANSWER);
}

#[test]
fn where_nobody_answers_the_write_clock_still_ends_it() {
    let config = bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(20));
    let mut server = session(config);
    acts(&mut server, at(10), beat(1));
    acts(&mut server, at(30), WRITE_STALLED);
}

// ---------------------------------------------------------------- late ticks

#[test]
fn a_late_tick_convicts_nobody_and_judges_from_now() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    idle(&mut server, at(500));
    assert!(server.is_suspect());
    assert_eq!(server.status(at(500)).stalls, 1);
    acts(&mut server, at(560), SILENT);
}

#[test]
fn a_late_event_is_a_stall_too() {
    for event in [Event::Sent, Event::RetryAfter(secs(1)), Event::Connected] {
        let mut server = session(bare_server().with_silence_timeout(secs(60)));
        server.handle(event, at(500));
        assert!(server.is_suspect(), "{event:?}");
        acts(&mut server, at(560), SILENT);
    }
}

#[test]
fn a_late_event_that_is_evidence_ends_the_suspicion_it_began() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Received, at(500));
    assert!(!server.is_suspect());
    assert_eq!(server.status(at(500)).stalls, 1);
    acts(&mut server, at(560), SILENT);
}

#[test]
fn a_late_beat_is_a_stall_too() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_silence_timeout(secs(100))
        .with_stall_tolerance(secs(5));
    let mut server = session(config);
    beats_now(&mut server, after(at(35)), 1);
    assert!(server.is_suspect());
    let mut punctual = session(config);
    beats_now(&mut punctual, at(35), 1);
    assert!(!punctual.is_suspect());
}

#[test]
fn a_call_between_two_deadlines_is_no_stall() {
    let mut server = session(bare_server().with_silence_timeout(secs(1000)));
    server.handle(Event::Sent, at(1));
    server.handle(Event::Received, at(999));
    idle(&mut server, at(1000));
    assert!(!server.is_suspect());
}

#[test]
fn a_stall_postpones_every_liveness_verdict() {
    let bare = bare_server();

    let mut silent = session(bare.with_silence_timeout(secs(60)));
    idle(&mut silent, at(100));
    acts(&mut silent, at(160), SILENT);

    let mut mute = session(bare.with_hello_timeout(secs(30)));
    idle(&mut mute, at(100));
    acts(&mut mute, at(130), NO_HELLO);

    let stuck = bare.with_interval(secs(10)).with_write_timeout(secs(20));
    let mut stuck = session(stuck);
    acts(&mut stuck, at(10), beat(1));
    idle(&mut stuck, at(100));
    acts(&mut stuck, at(120), WRITE_STALLED);

    let mut dial = dialling(bare_client().with_connect_timeout(secs(20)));
    idle(&mut dial, at(100));
    assert_eq!(dial.status(at(100)).stalls, 1);
    acts(&mut dial, at(120), CONNECT_TIMEOUT);

    let mut asked = session(asking());
    beats(&mut asked, at(100), 1);
    assert_eq!(asked.poll(at(150)), Some(beat(2)));
    asked.handle(Event::HeartbeatSent, at(150));
    acts(&mut asked, at(170), NO_ANSWER);
}

#[test]
fn a_stall_postpones_neither_too_old_nor_shutdown_nor_drain_nor_abort() {
    let config = bare_server().with_silence_timeout(secs(60));
    let mut old = session(config.with_max_age(secs(50)));
    assert_eq!(old.poll(at(500)), Some(TOO_OLD));

    for (event, action) in [
        (Event::Shutdown, SHUTDOWN),
        (Event::Drain, DRAINING),
        (Event::Rejected, REJECTED),
    ] {
        let mut server = session(config);
        server.handle(event, at(500));
        assert_eq!(server.poll(at(900)), Some(action));
        assert_eq!(server.poll(at(5000)), Some(Action::Abort));
    }
}

#[test]
fn a_suspect_peer_is_probed_at_once() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_silence_timeout(secs(60));
    let mut server = session(config);
    server.handle(Event::Sent, at(9));
    server.handle(Event::Resumed, at(10));
    assert_eq!(server.deadline(), Some(at(10)));
    beats_now(&mut server, at(10), 1);
    idle(&mut server, at(10));
    beats(&mut server, at(40), 2);
}

#[test]
fn where_no_heartbeats_are_sent_there_is_no_probe() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Resumed, at(10));
    acts(&mut server, at(70), SILENT);
}

#[test]
fn one_in_flight_serves_as_the_probe() {
    let mut server = session(asking());
    assert_eq!(server.poll(at(100)), Some(beat(1)));
    server.handle(Event::Resumed, at(105));
    idle(&mut server, at(105));
    server.handle(Event::HeartbeatSent, at(106));
    idle(&mut server, at(106));
    acts(&mut server, at(126), NO_ANSWER);
}

/// Its answer came before the stall: nothing that may still come answers it.
#[test]
fn one_in_flight_that_was_answered_already_does_not_serve() {
    let mut server = session(asking());
    assert_eq!(server.poll(at(100)), Some(beat(1)));
    server.handle(answer(1), at(101));
    server.handle(Event::Resumed, at(105));
    idle(&mut server, at(105)); // one in flight at a time
    server.handle(Event::HeartbeatSent, at(106));
    beats_now(&mut server, at(106), 2);
    acts(&mut server, at(126), NO_ANSWER);
}

#[test]
fn what_was_unanswered_is_forgotten_and_gives_no_rtt() {
    for late in [ANSWER, answer(1)] {
        let mut server = session(asking());
        beats(&mut server, at(100), 1);
        server.handle(Event::Resumed, at(110));
        assert_eq!(server.status(at(110)).unanswered, 0);
        server.handle(late, at(111));
        assert_eq!(rtt(&server, at(111)), None);
    }
}

#[test]
fn the_probes_own_answer_gives_an_rtt_again() {
    let mut server = session(asking());
    beats(&mut server, at(100), 1);
    server.handle(Event::Resumed, at(110));
    beats_now(&mut server, at(110), 2);
    server.handle(answer(2), at(112));
    assert_eq!(rtt(&server, at(112)), Some(secs(2)));
}

#[test]
fn with_answers_the_count_does_not_convict_before_the_probes_limit() {
    let config = bare_server()
        .with_interval(secs(4))
        .with_write_timeout(secs(100))
        .with_max_unanswered(2)
        .with_resume_grace(secs(30));
    let mut server = session(config);
    beats(&mut server, at(4), 1);
    beats(&mut server, at(8), 2);
    server.handle(Event::Resumed, at(9));
    beats_now(&mut server, at(9), 3);
    let log = run(&mut server, at(60));
    let verdict = log.iter().find(|(_, action)| *action == NO_ANSWER);
    assert_eq!(verdict, Some(&(at(39), NO_ANSWER)));
}

#[test]
fn without_answers_the_fresh_limit_is_a_whole_silence_timeout() {
    let config = bare_server()
        .with_interval(secs(1000))
        .with_silence_timeout(secs(60))
        .with_resume_grace(secs(10));
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    beats_now(&mut server, at(50), 1);
    acts(&mut server, at(110), SILENT);
}

#[test]
fn evidence_ends_suspicion() {
    let config = bare_server()
        .with_interval(secs(30))
        .with_silence_timeout(secs(60));
    for event in [Event::Received, Event::HeartbeatReceived, ANSWER] {
        let mut server = session(config);
        server.handle(Event::Resumed, at(10));
        server.handle(event, at(10));
        assert!(!server.is_suspect());
        idle(&mut server, at(10)); // the probe that was due is not
    }
    let mut strict = session(config.with_evidence(Evidence::Heartbeats));
    strict.handle(Event::Resumed, at(10));
    strict.handle(Event::Received, at(10));
    assert!(strict.is_suspect());
}

#[test]
fn suspicion_is_forgiven_once_a_silence_and_then_a_late_poll_convicts() {
    let config = bare_server()
        .with_interval(secs(40))
        .with_silence_timeout(secs(60));
    let mut server = session(config);
    beats_now(&mut server, at(500), 1); // a stall
    server.handle(Event::Sent, at(550)); // another: the beat of 540 s is late
    assert_eq!(server.status(at(550)).stalls, 1);
    assert_eq!(server.poll(at(700)), Some(SILENT));
}

#[test]
fn a_stall_during_suspicion_restarts_nothing_and_asks_no_new_probe() {
    let mut server = session(asking().with_interval(secs(30)));
    beats_now(&mut server, at(500), 1);
    server.handle(Event::Sent, at(518));
    // The clock of the probe ran out at 520 s.
    server.handle(Event::Sent, at(590));
    assert_eq!(server.deadline(), Some(at(520)));
    assert_eq!(server.poll(at(600)), Some(NO_ANSWER));
}

#[test]
fn a_new_silence_is_forgiven_again() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    for start in [1000, 2000, 3000, 4000] {
        idle(&mut server, at(start));
        assert!(server.is_suspect());
        server.handle(Event::Received, at(start + 10));
    }
    assert_eq!(server.status(at(4010)).stalls, 4);
    acts(&mut server, at(4070), SILENT);
}

#[test]
fn resumed_is_always_forgiven() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    for second in [50, 100, 150, 200, 250] {
        server.handle(Event::Resumed, at(second));
        idle(&mut server, at(second));
    }
    assert_eq!(server.status(at(250)).stalls, 5);
    acts(&mut server, at(310), SILENT);
}

#[test]
fn a_resume_that_comes_late_counts_as_one_stall() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Resumed, at(1000));
    assert_eq!(server.status(at(1000)).stalls, 1);
    acts(&mut server, at(1060), SILENT);
}

#[test]
fn resumed_during_suspicion_restarts_the_clocks_and_probes_anew() {
    let mut server = session(asking());
    server.handle(Event::Resumed, at(50));
    beats_now(&mut server, at(50), 1);
    server.handle(Event::Resumed, at(65));
    beats_now(&mut server, at(65), 2);
    acts(&mut server, at(85), NO_ANSWER);
}

#[test]
fn resumed_after_the_limit_saves_the_peer() {
    let mut server = session(bare_server().with_silence_timeout(secs(60)));
    server.handle(Event::Resumed, at(62));
    acts(&mut server, at(122), SILENT);
}

#[test]
fn a_dial_is_forgiven_once() {
    let mut client = dialling(bare_client().with_connect_timeout(secs(20)));
    idle(&mut client, at(100));
    assert_eq!(client.poll(at(500)), Some(CONNECT_TIMEOUT));
}

#[test]
fn each_connect_is_a_new_silence() {
    let mut client = dialling(bare_client().with_connect_timeout(secs(20)));
    idle(&mut client, at(100));
    client.handle(Event::ConnectFailed, at(101));
    assert_eq!(drain(&mut client, at(101)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(102)), [connect(1)]);
    idle(&mut client, at(500));
    assert_eq!(client.status(at(500)).stalls, 2);
    client.handle(Event::Connected, at(501));
    assert!(!client.is_suspect());
}

#[test]
fn a_stall_of_the_dial_does_not_make_the_link_suspect() {
    let config = bare_client()
        .with_connect_timeout(secs(20))
        .with_silence_timeout(secs(60));
    let mut client = dialling(config);
    client.handle(Event::Connected, at(100));
    assert!(!client.is_suspect());
    idle(&mut client, at(300));
    assert!(client.is_suspect(), "the link has a forgiveness of its own");
}

#[test]
fn beats_read_while_suspect_are_free() {
    let config = bare_server()
        .with_flood(secs(1000), 1)
        .with_stall_tolerance(secs(5));
    let mut server = session(config);
    server.handle(Event::HeartbeatReceived, at(50)); // the only token
    server.handle(Event::Resumed, at(100));
    let mut trusted = server.clone();
    server.handle(Event::HeartbeatReceived, at(120)); // past the tolerance
    idle(&mut server, at(120));
    trusted.handle(Event::Received, at(110));
    trusted.handle(Event::HeartbeatReceived, at(120));
    assert_eq!(trusted.poll(at(120)), Some(FLOODED));
}

#[test]
fn beats_read_within_the_tolerance_after_a_stall_are_free_and_then_they_count() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_flood(secs(10), 1)
        .with_stall_tolerance(secs(2));
    let mut server = session(config);
    for _ in 0..50 {
        server.handle(Event::HeartbeatReceived, at(100));
        server.handle(Event::HeartbeatReceived, at(102));
    }
    idle(&mut server, at(102));
    server.handle(Event::HeartbeatReceived, at(103));
    idle(&mut server, at(103));
    server.handle(Event::HeartbeatReceived, at(104));
    assert_eq!(server.poll(at(104)), Some(FLOODED));
}

#[test]
fn beats_read_after_a_stall_that_was_not_forgiven_are_free_too() {
    let config = bare_server()
        .with_silence_timeout(secs(60))
        .with_flood(secs(10), 1)
        .with_stall_tolerance(secs(2));
    let mut server = session(config);
    server.handle(Event::Resumed, at(50));
    for _ in 0..50 {
        server.handle(Event::HeartbeatReceived, at(200)); // due was 110 s
    }
    idle(&mut server, at(200));
    assert_eq!(server.status(at(200)).stalls, 1);
}

#[test]
fn a_driver_that_merely_ticks_slowly_still_closes() {
    let asking = bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_answer_timeout(secs(5));
    let counting = bare_server()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_max_unanswered(2);
    let silent = bare_server()
        .with_interval(secs(10))
        .with_silence_timeout(secs(30));
    for (config, limit) in [(asking, 20), (counting, 30), (silent, 30)] {
        for period in [1, 2, 3, 5, 7, 10, 11, 29, 60, 61, 100, 1000] {
            for (flush, limit) in [(true, limit), (false, limit.max(30))] {
                let mut server = session(config);
                let bound = 2 * (limit + period);
                let closed = (0..)
                    .map(|tick| at(tick * period))
                    .take_while(|now| *now <= at(bound))
                    .any(|now| {
                        drain(&mut server, now).into_iter().any(|action| {
                            if flush && matches!(action, Action::SendHeartbeat { .. }) {
                                server.handle(Event::HeartbeatSent, now);
                            }
                            matches!(action, Action::Close(_))
                        })
                    });
                assert!(closed, "every {period} s, flush {flush}: {config:?}");
            }
        }
    }
}

// -------------------------------------------------------------- reconnecting

#[test]
fn after_is_counted_from_the_poll_that_announces_it() {
    let mut client = lost(bare_client());
    assert_eq!(drain(&mut client, at(33)), [reconnect(secs(1), 1)]);
    acts(&mut client, at(34), connect(1));
}

#[test]
fn attempts_count_up_over_failures() {
    let client = waiting_long(bare_client());
    assert_eq!(client.status(at(15)).attempt, 5);
}

#[test]
fn a_link_that_lived_too_short_does_not_start_attempts_again() {
    let mut client = second_link(bare_client().with_stable_after(secs(30)));
    client.handle(Event::Received, at(30));
    client.handle(Event::Disconnected, before(at(31)));
    assert_eq!(drain(&mut client, at(31)), [reconnect(secs(2), 2)]);
}

#[test]
fn a_stable_link_starts_attempts_again() {
    let mut client = second_link(bare_client().with_stable_after(secs(30)));
    assert_eq!(client.status(at(31)).attempt, 1);
    client.handle(Event::Disconnected, at(31));
    assert_eq!(drain(&mut client, at(31)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(32)), [connect(1)]);
    client.handle(Event::ConnectFailed, at(32));
    assert_eq!(drain(&mut client, at(32)), [reconnect(secs(2), 2)]);
}

#[test]
fn the_end_of_a_link_is_its_close_if_there_was_one() {
    let config = bare_client().with_stable_after(secs(30));
    for (second, attempt) in [(30, 2), (31, 1)] {
        let mut client = second_link(config);
        client.handle(Event::Drain, at(second));
        assert_eq!(drain(&mut client, at(second)), [DRAINING]);
        client.handle(Event::Disconnected, at(second + 4));
        let delay = secs(u64::from(attempt));
        assert_eq!(client.poll(at(40)), Some(reconnect(delay, attempt)));

        let mut client = second_link(config);
        client.handle(Event::Drain, at(second));
        assert_eq!(drain(&mut client, at(second)), [DRAINING]);
        acts(&mut client, at(second + 5), Action::Abort);
        assert_eq!(client.poll(at(40)), Some(reconnect(delay, attempt)));
    }
}

#[test]
fn a_mute_server_is_not_stable_because_we_waited_for_it() {
    let config = bare_client()
        .with_stable_after(secs(30))
        .with_silence_timeout(secs(100));
    for (heard, attempt) in [(None, 2), (Some(30), 2), (Some(31), 1)] {
        let mut client = second_link(config);
        if let Some(second) = heard {
            client.handle(Event::Received, at(second));
        }
        let due = client.deadline().unwrap();
        assert_eq!(client.poll(due), Some(SILENT));
        client.handle(Event::Disconnected, due);
        let delay = secs(u64::from(attempt));
        assert_eq!(client.poll(due), Some(reconnect(delay, attempt)));
    }
}

#[test]
fn every_liveness_verdict_counts_to_the_last_evidence() {
    let config = bare_client().with_stable_after(secs(5));
    let beating = config.with_interval(secs(20));
    for (config, flush) in [
        (config.with_hello_timeout(secs(20)), false),
        (beating.with_write_timeout(secs(20)), false),
        (
            beating
                .with_write_timeout(secs(90))
                .with_answer_timeout(secs(20)),
            true,
        ),
    ] {
        let mut client = second_link(config);
        let end = loop {
            let due = client.deadline().unwrap();
            match client.poll(due).unwrap() {
                Action::SendHeartbeat { id } => {
                    assert!(id.get() < 100, "no end of beats");
                    if flush {
                        client.handle(Event::HeartbeatSent, due);
                    }
                }
                Action::Close(reason) => {
                    assert!(reason.is_liveness());
                    break due;
                }
                other => panic!("{other:?}"),
            }
        };
        client.handle(Event::Disconnected, end);
        assert_eq!(client.poll(end), Some(reconnect(secs(2), 2)));
    }
}

#[test]
fn a_link_that_grew_too_old_was_stable() {
    let config = bare_client()
        .with_stable_after(secs(30))
        .with_max_age(secs(40));
    let mut client = second_link(config);
    acts(&mut client, at(41), TOO_OLD);
    client.handle(Event::Disconnected, at(41));
    assert_eq!(client.poll(at(41)), Some(reconnect(secs(1), 1)));
}

#[test]
fn a_dial_that_failed_was_no_stable_link_however_long_it_took() {
    let config = bare_client()
        .without_connect_timeout()
        .with_stable_after(secs(5));
    let mut client = dialling(config);
    client.handle(Event::ConnectFailed, at(100));
    assert_eq!(drain(&mut client, at(100)), [reconnect(secs(1), 1)]);
    assert_eq!(drain(&mut client, at(101)), [connect(1)]);
    client.handle(Event::ConnectFailed, at(200));
    assert_eq!(drain(&mut client, at(200)), [reconnect(secs(2), 2)]);
}

#[test]
fn the_dial_that_was_abandoned_counts_as_an_attempt() {
    let mut client = dialling(bare_client());
    assert_eq!(drain(&mut client, at(20)), [CONNECT_TIMEOUT]);
    client.handle(Event::ConnectFailed, at(20));
    assert_eq!(drain(&mut client, at(20)), [reconnect(secs(1), 1)]);
}

/// The delays announced at 0 s, over many seeds, for a hint before the end.
fn hinted(hints: &[u64]) -> Vec<Duration> {
    (0..400)
        .map(|seed| {
            let mut client = seeded(bare_client(), seed);
            assert_eq!(client.poll(at(0)), Some(connect(0)));
            client.handle(Event::Connected, at(0));
            for hint in hints {
                client.handle(Event::RetryAfter(secs(*hint)), at(0));
            }
            client.handle(Event::Disconnected, at(0));
            match client.poll(at(0)) {
                Some(Action::Reconnect { after, .. }) => after,
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

#[track_caller]
fn spread_over(delays: &[Duration], low: Duration, high: Duration) {
    let slack = (high - low) / 20;
    let least = *delays.iter().min().unwrap();
    let most = *delays.iter().max().unwrap();
    assert!(least >= low && least <= low + slack, "{least:?} {low:?}");
    assert!(most <= high && most >= high - slack, "{most:?} {high:?}");
}

#[test]
fn a_retry_after_is_a_floor_with_jitter_on_top() {
    spread_over(&hinted(&[100]), secs(100), secs(125)); // d/4 above the draw
    spread_over(&hinted(&[2]), secs(2), secs(3)); // the draw above d/4
}

#[test]
fn a_floor_of_nothing_is_no_floor() {
    assert!(hinted(&[0]).iter().all(|delay| *delay == secs(1)));
}

#[test]
fn the_later_floor_wins() {
    spread_over(&hinted(&[100, 10]), secs(100), secs(125));
    spread_over(&hinted(&[10, 100]), secs(100), secs(125));
}

#[test]
fn a_floor_runs_from_when_it_was_heard() {
    let mut client = connected(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(0));
    client.handle(Event::Disconnected, at(70));
    match client.poll(at(70)) {
        Some(Action::Reconnect { after, .. }) => {
            assert!(after >= secs(30) && after <= secs(55), "{after:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_floor_that_has_passed_is_none() {
    let mut client = connected(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(0));
    client.handle(Event::Disconnected, at(100));
    assert_eq!(client.poll(at(100)), Some(reconnect(secs(1), 1)));
}

#[test]
fn the_policys_draw_counts_where_it_is_larger_than_the_floor() {
    let slow = plain_backoff().with_initial(secs(60));
    let mut client = connected(bare_client().with_backoff(slow));
    client.handle(Event::RetryAfter(millis(1)), at(0));
    client.handle(Event::Disconnected, at(0));
    match client.poll(at(0)) {
        Some(Action::Reconnect { after, .. }) => {
            assert!(after >= secs(60) && after <= secs(61), "{after:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn connected_clears_the_floor() {
    let mut client = dialling(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(0));
    client.handle(Event::Connected, at(1));
    client.handle(Event::Disconnected, at(2));
    assert_eq!(client.poll(at(2)), Some(reconnect(secs(1), 1)));
}

#[test]
fn a_failed_dial_does_not_clear_the_floor() {
    let mut client = dialling(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(0));
    client.handle(Event::ConnectFailed, at(1));
    match client.poll(at(1)) {
        Some(Action::Reconnect { after, .. }) => assert!(after >= secs(99)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_after_in_closing_counts() {
    let mut client = closing(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(1));
    client.handle(Event::Disconnected, at(1));
    match client.poll(at(1)) {
        Some(Action::Reconnect { after, .. }) => assert!(after >= secs(100)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_after_in_waiting_announces_anew() {
    let mut client = waiting(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at_ms(500));
    let actions = drain(&mut client, at_ms(500));
    match actions[..] {
        [Action::Reconnect { after, attempt: 1 }] => {
            assert!(after >= secs(100) && after <= secs(125), "{after:?}");
            let due = at_ms(500).checked_add(after).unwrap();
            acts(&mut client, due, connect(1));
        }
        _ => panic!("{actions:?}"),
    }
}

#[test]
fn a_retry_after_before_the_announcement_is_announced_once() {
    let mut client = lost(bare_client());
    client.handle(Event::RetryAfter(secs(100)), at(0));
    let actions = drain(&mut client, at(0));
    assert!(
        matches!(actions[..], [Action::Reconnect { after, .. }] if after >= secs(100)),
        "{actions:?}"
    );
}

#[test]
fn a_retry_after_does_not_bring_the_dial_forward() {
    let mut client = waiting_long(bare_client());
    client.handle(Event::RetryAfter(millis(1)), at(20));
    drain(&mut client, at(20));
    assert_eq!(client.deadline(), Some(at(31)));
}

// ------------------------------------------------------------------- corners

#[test]
fn before_the_first_connect_there_is_no_transport() {
    let mut client = session(bare_client());
    for event in [
        Event::ConnectFailed,
        Event::Disconnected,
        Event::Drain,
        Event::Received,
    ] {
        client.handle(event, at(0));
    }
    let mut stopped = client.clone();
    let mut rejected = client.clone();
    assert_eq!(drain(&mut client, at(0)), [connect(0)]);
    stopped.handle(Event::Shutdown, at(0));
    assert_eq!(drain(&mut stopped, at(0)), []);
    assert_eq!(stopped.phase(), Phase::Done);
    rejected.handle(Event::Rejected, at(0));
    assert_eq!(drain(&mut rejected, at(0)), [GIVE_UP_REJECTED]);
}

#[test]
fn in_closing_connect_failed_and_disconnected_both_end_it() {
    for event in [Event::ConnectFailed, Event::Disconnected] {
        let mut client = closing(bare_client());
        client.handle(event, at(1));
        assert_eq!(client.phase(), Phase::Waiting);
        assert_eq!(drain(&mut client, at(1)), [reconnect(secs(1), 1)]);
    }
}

#[test]
fn elsewhere_a_stray_connect_failed_is_nothing() {
    let mut open = connected(bare_client().with_silence_timeout(secs(60)));
    open.handle(Event::ConnectFailed, at(50));
    acts(&mut open, at(60), SILENT);
}

#[test]
fn shutdown_cancels_an_owed_give_up() {
    let mut rejected = session(bare_client());
    rejected.handle(Event::Rejected, at(0));
    let exhausted = bare_client().with_backoff(plain_backoff().with_max_attempts(1));
    let mut exhausted = waiting(exhausted);
    assert_eq!(drain(&mut exhausted, at(1)), [connect(1)]);
    exhausted.handle(Event::ConnectFailed, at(1));
    assert_eq!(exhausted.clone().poll(at(1)), Some(GIVE_UP_EXHAUSTED));
    for mut client in [rejected, exhausted] {
        assert!(client.deadline().is_some());
        client.handle(Event::Shutdown, at(1));
        idle(&mut client, at(1));
        assert_eq!((client.phase(), client.deadline()), (Phase::Done, None));
    }
}

#[test]
fn a_client_without_a_backoff_is_done_when_its_link_ends() {
    let config = bare_client().without_backoff();
    let mut failed = dialling(config);
    failed.handle(Event::ConnectFailed, at(1));
    idle(&mut failed, at(1));
    assert_eq!(failed.phase(), Phase::Done);
    let mut closed = closing(config);
    acts(&mut closed, at(5), Action::Abort);
    idle(&mut closed, at(5));
    assert_eq!(closed.phase(), Phase::Done);
}

const EVENTS: [Event; 13] = [
    Event::Connected,
    Event::ConnectFailed,
    Event::Received,
    Event::HeartbeatReceived,
    ANSWER,
    Event::Sent,
    Event::HeartbeatSent,
    Event::Disconnected,
    Event::RetryAfter(secs(3)),
    Event::Resumed,
    Event::Drain,
    Event::Rejected,
    Event::Shutdown,
];

/// What comes out when events are thrown at a session; each call tells the
/// index of the event before it.
fn thrown(mut session: Session, seed: u64, kinds: usize) -> Vec<(Option<Event>, Action)> {
    let mut state = seed;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut now, mut out) = (0, Vec::new());
    for _ in 0..200 {
        now += next(4000);
        let event = EVENTS[usize::try_from(next(kinds as u64)).unwrap()];
        session.handle(event, at_ms(now));
        let actions = drain(&mut session, at_ms(now));
        out.extend(actions.into_iter().map(|action| (Some(event), action)));
        let due = session.deadline();
        assert!(due.is_none_or(|due| due > at_ms(now)), "quiescent");
    }
    out
}

#[test]
fn a_server_never_returns() {
    let config = bare_server()
        .with_interval(secs(2))
        .with_silence_timeout(secs(6));
    for seed in 0..500 {
        let out = thrown(seeded(config, seed), seed, EVENTS.len());
        assert!(out.iter().all(|(_, action)| !matches!(
            action,
            Action::Connect { .. } | Action::Reconnect { .. } | Action::GiveUp(_)
        )));
    }
}

#[test]
fn nobody_returns_after_shutdown_or_a_rejection() {
    let config = bare_client()
        .with_interval(secs(2))
        .with_silence_timeout(secs(6));
    for (seed, last) in (0..500).flat_map(|seed| [(seed, 12), (seed, 11)]) {
        let mut client = seeded(config, seed);
        let steps = seed % 7;
        for step in 0..steps {
            let kind = usize::try_from((seed * 31 + step * 7) % 11).unwrap();
            drain(&mut client, at(step));
            client.handle(EVENTS[kind], at(step));
        }
        client.handle(EVENTS[last], at(steps));
        let out = thrown(client, seed, EVENTS.len());
        assert!(
            out.iter().all(|(_, action)| !matches!(
                action,
                Action::Connect { .. } | Action::Reconnect { .. }
            )),
            "{out:?}"
        );
    }
}

#[test]
fn one_close_a_link_or_dial() {
    let config = bare_client()
        .with_interval(secs(2))
        .with_silence_timeout(secs(6))
        .with_flood(secs(1), 1)
        .with_connect_timeout(secs(3));
    for seed in 0..500 {
        let mut closed = false;
        for (_, action) in thrown(seeded(config, seed), seed, 11) {
            match action {
                Action::Close(_) => assert!(!std::mem::replace(&mut closed, true)),
                Action::Connect { .. } => closed = false,
                Action::SendHeartbeat { .. } => assert!(!closed),
                _ => {}
            }
        }
    }
}

// -------------------------------------------------------------------- status

#[test]
fn status_tells_what_a_user_logs() {
    let config = bare_client()
        .with_interval(secs(10))
        .with_write_timeout(secs(20))
        .with_answer_timeout(secs(9))
        .with_max_age(secs(1000));
    let mut client = connected(config);
    assert_eq!(client.status(at(0)).phase, Phase::Open);
    beats(&mut client, at(10), 1);
    client.handle(ANSWER, at(12));
    beats(&mut client, at(20), 2);
    let status = client.status(at(25));
    assert_eq!(status.silence, Some(secs(13)));
    assert_eq!(
        (status.age, status.age_left),
        (Some(secs(25)), Some(secs(975)))
    );
    assert_eq!((status.heartbeats, status.unanswered), (2, 1));
    assert_eq!(status.rtt, Some(secs(2)));
    assert_eq!((status.attempt, status.last_end), (0, None));

    acts(&mut client, at(29), NO_ANSWER);
    assert_eq!(client.phase(), Phase::Closing);
    client.handle(Event::Disconnected, at(29));
    let status = client.status(at(29));
    let why = EndReason::Closed(CloseReason::NoAnswer);
    assert_eq!((status.phase, status.last_end), (Phase::Waiting, Some(why)));
    assert_eq!((status.silence, status.age), (None, None));
    assert_eq!((status.age_left, status.attempt), (None, 1));
}

#[test]
fn phases_go_round() {
    let mut client = session(bare_client());
    assert_eq!(client.phase(), Phase::Connecting);
    assert_eq!(client.poll(at(0)), Some(connect(0)));
    assert_eq!(client.phase(), Phase::Connecting);
    client.handle(Event::Connected, at(0));
    assert_eq!(client.phase(), Phase::Open);
    client.handle(Event::Drain, at(1));
    assert_eq!(client.phase(), Phase::Closing);
    assert_eq!(client.poll(at(1)), Some(DRAINING));
    client.handle(Event::Disconnected, at(1));
    assert_eq!(client.phase(), Phase::Waiting);
    assert_eq!(client.poll(at(1)), Some(reconnect(secs(1), 1)));
    assert_eq!(client.poll(at(2)), Some(connect(1)));
    assert_eq!(client.phase(), Phase::Connecting);
    client.handle(Event::Shutdown, at(2));
    assert_eq!(client.poll(at(2)), Some(SHUTDOWN));
    client.handle(Event::Disconnected, at(2));
    assert_eq!(client.phase(), Phase::Done);
    assert_eq!(session(bare_server()).phase(), Phase::Open);
}
