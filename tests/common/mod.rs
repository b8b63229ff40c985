//! What the tests share: virtual time, bare configurations, and a poll loop
//! that is driven by deadlines.
#![allow(dead_code, unreachable_pub)]

use core::time::Duration;

use nabiz::{
    Action, Backoff, Config, ConfigBuilder, Event, HeartbeatId, Jitter, Ratio, Session, Timestamp,
};

pub const SEED: u64 = 42;

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The instant so many seconds after the epoch.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_epoch(secs(seconds)).unwrap()
}

/// The instant so many milliseconds after the epoch.
pub fn at_ms(milliseconds: u64) -> Timestamp {
    Timestamp::from_epoch(millis(milliseconds)).unwrap()
}

pub fn before(instant: Timestamp) -> Timestamp {
    Timestamp::from_nanos(instant.as_nanos() - 1).unwrap()
}

pub fn after(instant: Timestamp) -> Timestamp {
    Timestamp::from_nanos(instant.as_nanos() + 1).unwrap()
}

pub const fn id(number: u32) -> HeartbeatId {
    HeartbeatId::from_bytes(number.to_be_bytes())
}

pub const fn beat(number: u32) -> Action {
    Action::SendHeartbeat { id: id(number) }
}

pub const fn answer(number: u32) -> Event {
    Event::AnswerReceived {
        id: Some(id(number)),
    }
}

pub const ANSWER: Event = Event::AnswerReceived { id: None };

pub const fn reconnect(after: Duration, attempt: u32) -> Action {
    Action::Reconnect { after, attempt }
}

pub const fn connect(attempt: u32) -> Action {
    Action::Connect { attempt }
}

/// A server on which every rule that can be absent is absent, and nothing is
/// left to chance.
pub const fn bare_server() -> ConfigBuilder {
    Config::server()
        .with_interval_jitter(Ratio::ZERO)
        .with_spread_first_beat(false)
        .without_interval()
        .without_silence_timeout()
        .without_write_timeout()
}

/// The same for a client, with a policy of exactly 1, 2, 4, … 64 s.
pub const fn bare_client() -> ConfigBuilder {
    Config::client()
        .with_interval_jitter(Ratio::ZERO)
        .with_spread_first_beat(false)
        .without_interval()
        .without_silence_timeout()
        .without_write_timeout()
        .with_backoff(plain_backoff())
}

pub const fn plain_backoff() -> Backoff {
    Backoff::new()
        .with_initial(secs(1))
        .with_multiplier(Ratio::percent(200))
        .with_max(secs(64))
        .with_jitter(Jitter::None)
}

/// A session at 0 s: a server's, or a client's that was not polled yet.
pub fn session(config: ConfigBuilder) -> Session {
    seeded(config, SEED)
}

pub fn seeded(config: ConfigBuilder, seed: u64) -> Session {
    Session::new(config.build().unwrap(), seed, at(0))
}

/// A client that was told to dial at 0 s.
pub fn dialling(config: ConfigBuilder) -> Session {
    let mut session = session(config);
    assert_eq!(session.poll(at(0)), Some(connect(0)));
    session
}

/// A client whose link is up at 0 s.
pub fn connected(config: ConfigBuilder) -> Session {
    let mut session = dialling(config);
    session.handle(Event::Connected, at(0));
    session
}

/// A client whose transport is lost at 0 s, before anything was announced.
pub fn lost(config: ConfigBuilder) -> Session {
    let mut session = connected(config);
    session.handle(Event::Disconnected, at(0));
    session
}

/// Everything there is to do at `now`.
pub fn drain(session: &mut Session, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Some(action) = session.poll(now) {
        actions.push(action);
        assert!(actions.len() < 100, "no end of actions: {actions:?}");
    }
    actions
}

/// That the session acts at `when`, and not a nanosecond before.
#[track_caller]
pub fn acts(session: &mut Session, when: Timestamp, action: Action) {
    assert_eq!(session.poll(before(when)), None, "just before {when:?}");
    assert_eq!(session.deadline(), Some(when));
    assert_eq!(session.poll(when), Some(action), "at {when:?}");
}

/// The same for a heartbeat, which is flushed at once.
#[track_caller]
pub fn beats(session: &mut Session, when: Timestamp, number: u32) {
    acts(session, when, beat(number));
    session.handle(Event::HeartbeatSent, when);
}

/// That there is nothing to do at `now`.
#[track_caller]
pub fn idle(session: &mut Session, now: Timestamp) {
    assert_eq!(session.poll(now), None, "at {now:?}");
}

/// Drives the session by its deadlines up to `until`, flushes each heartbeat
/// and closes each transport at once, and returns what it asked for.
pub fn run(session: &mut Session, until: Timestamp) -> Vec<(Timestamp, Action)> {
    let mut log = Vec::new();
    let mut now = Timestamp::EPOCH;
    while let Some(due) = session.deadline() {
        now = now.max(due);
        if now > until {
            break;
        }
        while let Some(action) = session.poll(now) {
            log.push((now, action));
            assert!(log.len() < 10_000, "no end of actions");
            match action {
                Action::SendHeartbeat { .. } => session.handle(Event::HeartbeatSent, now),
                Action::Close(_) => session.handle(Event::Disconnected, now),
                _ => {}
            }
        }
    }
    log
}
