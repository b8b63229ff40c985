//! Runs as text: what is printed reads back the same and runs the same, however
//! it was made; and what is written by hand is understood, or refused in words.

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
use nabiz::testing::{
    Call, Checked, CheckedReaper, Output, Replay, RosterCall, RosterReplay, RosterScript, Script,
    Who, config,
};
use nabiz::{
    Action, Backoff, CloseReason, Config, ConfigBuilder, Event, Evidence, HeartbeatId, Jitter, Key,
    Limits, Ratio, Timestamp,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(settings(1_000, 1))]

    /// Bytes, text, run: one path.
    #[test]
    fn a_script_is_its_replay(bytes in bytes(300)) {
        let script = Script::new(&bytes);
        let replay = script.replay();
        let line = replay.to_string();
        prop_assert_eq!(line.lines().count(), 1);
        prop_assert_eq!(&line.parse::<Replay>().unwrap(), &replay);
        prop_assert_eq!(&replay.run(), &script.run());

        // The checker recorded just these calls.
        let mut recorded = None;
        replay.watch(|session, _, _, _| recorded = Some(session.clone()));
        if let Some(session) = recorded {
            prop_assert_eq!(session.replay(), replay);
        }
    }

    #[test]
    fn a_roster_script_is_its_replay(bytes in bytes(300)) {
        let script = RosterScript::new(&bytes);
        let replay = script.replay();
        let line = replay.to_string();
        prop_assert_eq!(line.lines().count(), 1);
        prop_assert_eq!(&line.parse::<RosterReplay>().unwrap(), &replay);
        prop_assert_eq!(&replay.run(), &script.run());

        let beside = replay.clone().with_sessions();
        let line = beside.to_string();
        prop_assert_eq!(&line.parse::<RosterReplay>().unwrap(), &beside);
        let mut recorded = None;
        beside.watch(|reaper, _, _, _| recorded = Some(reaper.replay().to_string()));
        if let Some(recorded) = recorded {
            // A removal happens at no instant of its own.
            prop_assert_eq!(
                untimed_removals(&recorded.parse().unwrap()),
                untimed_removals(&beside)
            );
        }
    }

    /// Every field, whatever it is set to.
    #[test]
    fn every_configuration_has_a_text(bytes in bytes(64), seed: u64, start in 0..u64::MAX) {
        let start = Timestamp::from_nanos(start).unwrap();
        let replay = Replay::new(config(&bytes), seed, start);
        prop_assert_eq!(replay.to_string().parse(), Ok(replay));
    }

    /// Any text is understood or refused, and what is understood is meant.
    #[test]
    fn any_words(words in prop::collection::vec(word(), 0..12)) {
        let line = words.join(" ");
        if let Ok(replay) = line.parse::<Replay>() {
            prop_assert_eq!(replay.to_string().parse(), Ok(replay));
        }
        if let Ok(replay) = line.parse::<RosterReplay>() {
            prop_assert_eq!(replay.to_string().parse(), Ok(replay));
        }
        for prefix in ["session client seed=1 at 0s", "roster seed=1 at 0s insert"] {
            let line = format!("{prefix} {line}");
            if let Ok(replay) = line.parse::<Replay>() {
                prop_assert_eq!(replay.to_string().parse(), Ok(replay));
            }
            if let Ok(replay) = line.parse::<RosterReplay>() {
                prop_assert_eq!(replay.to_string().parse(), Ok(replay));
            }
        }
    }
}

proptest! {
    #![proptest_config(settings(20, 1))]

    #[test]
    fn a_crowd_is_its_replay(bytes in bytes(100), crowd in 2..20_usize) {
        let script = RosterScript::new(&bytes).with_crowd(crowd);
        prop_assert_eq!(script.replay().run(), script.run());
    }
}

/// Words, and what is nearly one.
fn word() -> impl Strategy<Value = String> {
    let words = "session client server roster at 0s 1.5s 5h 7ns seed=3 poll connected received sent \
        answer answer=4 retry-after=2s limits(interval=5s,silence_timeout=none,answer_timeout=none) \
        interval=none interval=5s flood=1s,3 backoff=none backoff.jitter=20% resolution=1ms \
        reserve=9 sessions insert insert=0 received#1 received#2 sent#0x400001 remove#1 \
        silence-timeout#1=3s drain=0s resumed exempt#1";
    let words: Vec<String> = words.split_whitespace().map(Into::into).collect();
    prop_oneof![
        9 => prop::sample::select(words),
        1 => "[a-z#=.%,()0-9-]{1,9}",
    ]
}

fn untimed_removals(replay: &RosterReplay) -> Vec<(Option<Timestamp>, RosterCall)> {
    let calls = replay.calls().iter().map(|(now, call)| match call {
        RosterCall::Remove(_) => (None, *call),
        _ => (Some(*now), *call),
    });
    calls.collect()
}

#[test]
fn a_line_by_hand() {
    let line = "session client interval=5s interval_jitter=0% spread_first_beat=no \
                silence_timeout=12s backoff.jitter=none seed=42 at 1m poll at 61s connected \
                at 66s poll heartbeat-sent at 73s poll disconnected poll";
    let replay: Replay = line.parse().unwrap();
    let config = Config::client()
        .with_interval(secs(5))
        .with_interval_jitter(Ratio::ZERO)
        .with_spread_first_beat(false)
        .with_silence_timeout(secs(12))
        .with_backoff(Backoff::new().with_jitter(Jitter::None));
    assert_eq!(replay.config(), config.build().unwrap());
    assert_eq!((replay.seed(), replay.start()), (42, at(60)));
    let actions: Vec<(Timestamp, Action)> = (replay.run().into_iter())
        .filter_map(|output| match output {
            Output::Action(now, action) => Some((now, action)),
            _ => None,
        })
        .collect();
    let id = HeartbeatId::from_bytes([0, 0, 0, 1]);
    assert_eq!(
        actions,
        [
            (at(60), Action::Connect { attempt: 0 }),
            (at(66), Action::SendHeartbeat { id }),
            (at(73), Action::Close(CloseReason::PeerSilent)),
            (
                at(73),
                Action::Reconnect {
                    after: secs(1),
                    attempt: 1
                }
            ),
        ]
    );
    let printed = line.replace("1m", "60s");
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(&replay.to_string()), words(&printed));
}

#[test]
fn every_call_of_a_session_is_a_word() {
    let mut replay = Replay::new(Config::client().build().unwrap(), u64::MAX, at(0));
    let id = Some(HeartbeatId::from_bytes([255; 4]));
    let limits = Limits {
        interval: Some(Duration::from_nanos(1)),
        silence_timeout: None,
        answer_timeout: Some(Duration::MAX),
    };
    let calls = [
        (Call::Poll, "poll"),
        (Call::Handle(Event::Connected), "connected"),
        (Call::Handle(Event::ConnectFailed), "connect-failed"),
        (Call::Handle(Event::Received), "received"),
        (Call::Handle(Event::HeartbeatReceived), "heartbeat-received"),
        (Call::Handle(Event::AnswerReceived { id: None }), "answer"),
        (
            Call::Handle(Event::AnswerReceived { id }),
            "answer=4294967295",
        ),
        (Call::Handle(Event::Sent), "sent"),
        (Call::Handle(Event::HeartbeatSent), "heartbeat-sent"),
        (Call::Handle(Event::Disconnected), "disconnected"),
        (
            Call::Handle(Event::RetryAfter(Duration::MAX)),
            "retry-after=18446744073709551615.999999999s",
        ),
        (Call::Handle(Event::Rejected), "rejected"),
        (Call::Handle(Event::Resumed), "resumed"),
        (Call::Handle(Event::Shutdown), "shutdown"),
        (Call::Handle(Event::Drain), "drain"),
        (
            Call::SetLimits(limits),
            "limits(interval=1ns,silence_timeout=none,\
             answer_timeout=18446744073709551615.999999999s)",
        ),
    ];
    let mut line = "session client seed=18446744073709551615 at 0s".to_owned();
    for (call, word) in calls {
        replay.push(call, at(0));
        line = format!("{line} {word}");
    }
    assert_eq!(replay.to_string(), line);
    assert_eq!(line.parse(), Ok(replay));
}

#[test]
fn every_call_of_a_roster_is_a_word() {
    let config = Config::server().build().unwrap();
    let mut replay = RosterReplay::new(config, 0, at(0)).unwrap();
    let who = Who::Nth(1);
    let stranger = Who::Stranger(Key::from_bits(u64::MAX).unwrap());
    let calls = [
        (RosterCall::Insert(1), "insert"),
        (RosterCall::Insert(1), "insert=1"),
        (RosterCall::Received(who), "received#1"),
        (RosterCall::HeartbeatReceived(who), "heartbeat-received#1"),
        (RosterCall::Sent(who), "sent#1"),
        (
            RosterCall::HeartbeatSent(stranger),
            "heartbeat-sent#0xffffffffffffffff",
        ),
        (RosterCall::Exempt(who), "exempt#1"),
        (
            RosterCall::SetSilenceTimeout(who, Duration::MAX),
            "silence-timeout#1=18446744073709551615.999999999s",
        ),
        (RosterCall::Remove(who), "remove#1"),
        (RosterCall::Poll, "poll"),
        (RosterCall::Drain(Duration::ZERO), "drain=0s"),
        (RosterCall::Resumed, "resumed"),
    ];
    let mut line = "roster seed=0 at 0s".to_owned();
    for (call, word) in calls {
        replay.push(call, at(0));
        line = format!("{line} {word}");
    }
    assert_eq!(replay.to_string(), line);
    let _ = replay.run();
    assert_eq!(line.parse(), Ok(replay));
}

/// All fields differ from the preset, so all are printed.
#[test]
fn every_field_is_a_word() {
    let longest = Duration::from_nanos(u64::MAX - 2);
    let policy = Backoff::new()
        .with_initial(Duration::from_nanos(1))
        .with_multiplier(Ratio::permille(u32::MAX))
        .with_max(longest)
        .with_jitter(Jitter::Proportional(Ratio::permille(125)))
        .with_max_attempts(7);
    let config = Config::client()
        .with_interval(longest)
        .with_interval_jitter(Ratio::permille(999))
        .with_spread_first_beat(false)
        .with_only_when_idle(false)
        .without_silence_timeout()
        .with_evidence(Evidence::Heartbeats)
        .with_answer_timeout(Duration::from_millis(20))
        .with_max_unanswered(u16::MAX)
        .with_write_timeout(Duration::from_micros(3))
        .with_hello_timeout(secs(4))
        .without_connect_timeout()
        .with_close_grace(secs(6))
        .with_stall_tolerance(secs(7))
        .with_resume_grace(secs(8))
        .with_probes(u8::MAX)
        .with_flood(secs(9), u32::MAX)
        .with_max_age(secs(10))
        .with_max_age_jitter(Ratio::percent(11))
        .with_stable_after(secs(12))
        .with_max_retry_after(secs(13))
        .with_backoff(policy);
    let replay = Replay::new(config.build().unwrap(), 1, Timestamp::MAX);
    let line = "session client interval=18446744073.709551613s interval_jitter=99.9% \
        spread_first_beat=no only_when_idle=no silence_timeout=none evidence=heartbeats \
        answer_timeout=20ms max_unanswered=65535 write_timeout=3us hello_timeout=4s \
        connect_timeout=none close_grace=6s stall_tolerance=7s resume_grace=8s probes=255 \
        flood=9s,4294967295 max_age=10s max_age_jitter=11% stable_after=12s max_retry_after=13s \
        backoff.initial=1ns backoff.multiplier=429496729.5% backoff.max=18446744073.709551613s \
        backoff.jitter=12.5% backoff.max_attempts=7 seed=1 at 18446744073.709551614s";
    assert_eq!(replay.to_string(), line);
    assert_eq!(line.parse(), Ok(replay));
    // No field was forgotten: `Debug` knows them all.
    let fields = format!("{:?}", Config::server().build().unwrap());
    for field in fields
        .split(['{', ','])
        .filter_map(|field| field.split_once(": "))
    {
        let name = field
            .0
            .trim()
            .trim_end_matches("_gap")
            .trim_end_matches("_strikes");
        assert!(
            name == "role" || line.contains(&format!(" {name}")),
            "{name}"
        );
    }
}

/// A derived tolerance that happens to be the same is another configuration.
#[test]
fn what_is_derived_stays_derived() {
    let text = |config: ConfigBuilder| Replay::new(config.build().unwrap(), 1, at(0)).to_string();
    let set = Config::server().with_stall_tolerance(secs(5));
    assert_eq!(text(Config::server()), "session server seed=1 at 0s");
    assert_eq!(text(set), "session server stall_tolerance=5s seed=1 at 0s");
    let none = Config::client().without_backoff();
    assert_eq!(text(none), "session client backoff=none seed=1 at 0s");
    for config in [set, none] {
        assert_eq!(
            text(config).parse::<Replay>().unwrap().config(),
            config.build().unwrap()
        );
    }
}

#[test]
fn what_is_wrong_is_told() {
    let session = |line: &str| line.parse::<Replay>().unwrap_err().to_string();
    let roster = |line: &str| line.parse::<RosterReplay>().unwrap_err().to_string();
    let time = "expected a time such as 1.5s, 20ms or 1ns";
    assert_eq!(session(""), "at the end: expected session");
    assert_eq!(session("roster"), "word 1, 'roster': expected session");
    assert_eq!(session("session"), "at the end: expected client or server");
    assert_eq!(
        session("session peer"),
        "word 2, 'peer': expected client or server"
    );
    assert_eq!(
        session("session client"),
        "at the end: expected a field such as interval=5s, seed=NUMBER, or at"
    );
    assert_eq!(
        session("session client at 0s"),
        "word 3, 'at': expected seed=NUMBER before it"
    );
    assert_eq!(
        session("session client seed=-1 at 0s"),
        "word 3, 'seed=-1': expected a number up to 18446744073709551615"
    );
    let unknown = session("session client intervall=5s seed=1 at 0s");
    assert!(
        unknown.starts_with(
            "word 3, 'intervall=5s': expected seed, at, or interval, interval_jitter, "
        ),
        "{unknown}"
    );
    assert_eq!(
        session("session client interval=5 seed=1 at 0s"),
        format!("word 3, 'interval=5': {time}, or none")
    );
    assert_eq!(
        session("session client silence_timeout=5s hello_timeout=5s seed=1 at 0s"),
        "word 4, 'hello_timeout=5s': hello_timeout must be below silence_timeout"
    );
    assert_eq!(
        session("session client hello_timeout=120s seed=1 at 0s"),
        "word 3, 'hello_timeout=120s': hello_timeout must be below silence_timeout"
    );
    assert_eq!(
        session("session server backoff.initial=5s seed=1 at 0s"),
        "word 3, 'backoff.initial=5s': backoff is for clients: a server does not dial"
    );
    assert_eq!(
        session("session client backoff.initial=5h seed=1 at 0s"),
        "word 2, 'client': backoff.max must not be below the initial delay"
    );
    assert_eq!(
        session("session client seed=1 at"),
        format!("at the end: {time}")
    );
    assert_eq!(
        session("session client seed=1 at soon"),
        format!("word 5, 'soon': {time}")
    );
    assert_eq!(
        session("session client seed=1 at 18446744073.709551615s"),
        "word 5, '18446744073.709551615s': expected 18446744073.709551614s at most"
    );
    let call = session("session client seed=1 at 0s recieved");
    assert!(
        call.starts_with("word 6, 'recieved': expected a call: poll, connected, "),
        "{call}"
    );
    assert_eq!(
        session("session client seed=1 at 0s retry-after=5"),
        format!("word 6, 'retry-after=5': {time}")
    );
    assert_eq!(
        session("session client seed=1 at 0s limits(interval=5s)"),
        "word 6, 'limits(interval=5s)': expected limits such as \
         limits(interval=5s,silence_timeout=12s,answer_timeout=none)"
    );

    assert_eq!(roster("session"), "word 1, 'session': expected roster");
    assert_eq!(
        roster("roster answer_timeout=5s seed=1 at 0s"),
        "word 2, 'answer_timeout=5s': answer_timeout is not for a roster: use a session for each \
         connection"
    );
    assert_eq!(
        roster("roster resolution=0s seed=1 at 0s"),
        "word 2, 'resolution=0s': resolution must not be zero"
    );
    assert_eq!(
        roster("roster resolution=1ns seed=1 at 0s"),
        "word 1, 'roster': interval is too long for so fine a resolution"
    );
    assert_eq!(
        roster("roster sessions=5 seed=1 at 0s").split(',').nth(1),
        Some(" 'sessions=5': expected seed")
    );
    assert_eq!(
        roster("roster seed=1 at 0s sent#1"),
        "word 5, 'sent#1': expected insert before it"
    );
    assert_eq!(
        roster("roster seed=1 at 0s insert insert sent#3"),
        "word 7, 'sent#3': expected #1 to #2"
    );
    assert_eq!(
        roster("roster seed=1 at 0s sent#0x0"),
        "word 5, 'sent#0x0': expected a key's bits after #0x"
    );
    let call = roster("roster seed=1 at 0s insert received");
    assert!(
        call.contains("'received': expected a call: poll, insert, received#N"),
        "{call}"
    );
}

/// `#3` is the third for ever, and its key is tried when it is stale.
#[test]
fn the_stale_are_named() {
    let line = "roster silence_timeout=3s interval=none seed=1 at 0s insert insert remove#1 insert \
                received#1 received#3 at 3s received#3 poll at 3.02s poll received#2 poll";
    let replay: RosterReplay = line.parse().unwrap();
    let mut closed = Vec::new();
    replay.watch(|_, _, _, answer| {
        if let Ok(Some(reaped)) = answer {
            closed.push(reaped);
        }
    });
    let [nabiz::testing::Reaped::Close { value: 2, .. }] = closed[..] else {
        panic!("{closed:?}");
    };
}

#[test]
#[should_panic(expected = "#2 of 1 inserted")]
fn who_was_not_inserted_is_refused() {
    let mut replay: RosterReplay = "roster seed=1 at 0s insert".parse().unwrap();
    replay.push(RosterCall::Sent(Who::Nth(2)), at(0));
}

/// A key of another roster is a stranger's, and stays one.
#[test]
fn strangers_are_told_by_their_bits() {
    let config = Config::server().build().unwrap();
    let mut reaper = CheckedReaper::new(config, 7, at(0)).unwrap();
    let stranger = Key::from_bits(0x0040_0001).unwrap();
    assert!(!reaper.received(stranger, at(1)));
    let key = reaper.insert(5, at(2));
    reaper.sent(key, at(2));
    let line = "roster seed=7 at 0s at 1s received#0x400001 at 2s insert=5 sent#1";
    assert_eq!(reaper.replay().to_string(), line);
    assert_eq!(line.parse(), Ok(reaper.replay()));
}

/// What a checker keeps is bounded, from the start on.
#[test]
fn a_long_run_is_cut() {
    let mut session = Checked::new(Config::server().build().unwrap(), 7, at(0));
    for _ in 0..70_000 {
        session.handle(Event::Received, at(0));
    }
    assert_eq!(session.replay().calls().len(), 1 << 16);
}

#[test]
fn scripts_can_be_shown() {
    let shown = format!("{:?}", Script::new(b"any"));
    assert!(shown.starts_with("Script { config: Config {"), "{shown}");
    let shown = format!("{:?}", RosterScript::new(b"any"));
    assert!(
        shown.starts_with("RosterScript { config: Config {"),
        "{shown}"
    );
}

#[test]
fn a_line_cannot_ask_for_all_the_memory_there_is() {
    let line = |reserved: usize| format!("roster reserve={reserved} seed=1 at 0s");
    let most = 1 << 24;
    assert!(line(most).parse::<RosterReplay>().is_ok());
    let refused = line(most + 1).parse::<RosterReplay>().unwrap_err();
    assert!(
        refused.to_string().contains("at most 16777216"),
        "{refused}"
    );
}

#[test]
fn an_error_tells_where() {
    let error = |line: &str| line.parse::<Replay>().unwrap_err();
    let wrong = error("session client interval=0s seed=42 at 0s");
    assert_eq!(
        (wrong.place(), wrong.word()),
        (Some(3), Some("interval=0s"))
    );
    let short = error("session client seed=42 at");
    assert_eq!((short.place(), short.word()), (None, None));
}

#[test]
fn what_was_expected_is_told_by_example() {
    for (word, expected) in [
        ("interval_jitter=10", "a ratio such as 160% or 12.5%"),
        ("flood=10", "a gap and strikes such as 10s,3, or none"),
        ("only_when_idle=1", "yes or no"),
        ("probes=256", "a number up to 255"),
        (
            "backoff.jitter=some",
            "none, equal, full, decorrelated, or a ratio such as 20%",
        ),
    ] {
        let line = format!("session client {word} seed=1 at 0s");
        let error = line.parse::<Replay>().unwrap_err().to_string();
        assert!(error.ends_with(&format!("expected {expected}")), "{error}");
    }
}
