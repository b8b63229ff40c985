//! The laws, held against two drivers: a polite one that does as it is told,
//! and a hostile one that does anything at any time. Both run a session under
//! watch ([`Checked`]), which panics when a law is broken; the tests named
//! after a law add what a single call cannot show.

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
use nabiz::testing::{Checked, Script, config};
use nabiz::{
    Action, CloseReason, Config, ConfigBuilder, Event, HeartbeatId, Phase, Ratio, Timestamp,
};
use proptest::prelude::*;

/// Configurations from bytes, of either end.
fn configs() -> impl Strategy<Value = Config> {
    bytes(48).prop_map(|bytes| config(&bytes))
}

fn clients() -> impl Strategy<Value = Config> {
    bytes(48).prop_map(|mut bytes| {
        if let Some(flags) = bytes.first_mut() {
            *flags &= !1;
        }
        config(&bytes)
    })
}

/// Without chance on a link, so that two links can be compared.
fn without_chance(builder: ConfigBuilder) -> Config {
    builder
        .with_interval_jitter(Ratio::ZERO)
        .with_max_age_jitter(Ratio::ZERO)
        .with_spread_first_beat(false)
        .build()
        .unwrap()
}

fn open(config: Config, seed: u64) -> Checked {
    let mut session = Checked::new(config, seed, at(0));
    if session.session().phase() == Phase::Connecting {
        assert_eq!(session.poll(at(0)), Some(Action::Connect { attempt: 0 }));
        session.handle(Event::Connected, at(0));
    }
    session
}

/// A driver that wakes at deadlines, reports each thing when it happened and
/// reads before it polls; and a world of which the bytes decide.
struct Polite {
    session: Checked,
    now: Timestamp,
    /// What is going to happen.
    coming: Vec<(Timestamp, Event)>,
    /// How long the next thing takes, over and over.
    delays: Vec<u8>,
    turn: usize,
    /// Whether the peer answers, and at times says something itself.
    peer_lives: bool,
    actions: Vec<(Timestamp, Action)>,
}

impl Polite {
    fn new(config: Config, seed: u64, delays: Vec<u8>) -> Self {
        Self {
            session: Checked::new(config, seed, at(0)),
            now: at(0),
            coming: Vec::new(),
            delays,
            turn: 0,
            peer_lives: true,
            actions: Vec::new(),
        }
    }

    fn byte(&mut self) -> u8 {
        self.turn += 1;
        match self.delays.len() {
            0 => 0,
            len => self.delays[self.turn % len],
        }
    }

    /// Mostly a few milliseconds, at times a second or two.
    fn later(&mut self) -> Timestamp {
        let millis = match self.byte() {
            byte @ 0..=199 => u64::from(byte) / 8,
            byte => u64::from(byte - 199) * 40,
        };
        let delay = Duration::from_millis(millis);
        self.now.checked_add(delay).unwrap_or(Timestamp::MAX)
    }

    fn soon(&mut self, event: Event) {
        let later = self.later();
        self.coming.push((later, event));
    }

    /// One wake. False when nothing will ever happen again.
    fn wake(&mut self) -> bool {
        let first = self.coming.iter().map(|(at, _)| *at).min();
        let Some(next) = [first, self.session.deadline()].into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        let now = self.now;
        // Stable, so that one transport's events keep their order.
        self.coming.sort_by_key(|(at, _)| *at);
        let due = self.coming.partition_point(|(at, _)| *at <= now);
        for (_, event) in self.coming.drain(..due).collect::<Vec<_>>() {
            self.session.handle(event, now);
        }
        while let Some(action) = self.session.poll(now) {
            self.actions.push((now, action));
            self.act(action);
        }
        if self.peer_lives && self.session.session().phase() == Phase::Open && self.byte() > 160 {
            let event = match self.byte() % 4 {
                0 => Event::HeartbeatReceived,
                1 => Event::Sent,
                _ => Event::Received,
            };
            self.soon(event);
        }
        true
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { .. } if self.byte() < 200 => self.soon(Event::Connected),
            Action::Connect { .. } => self.soon(Event::ConnectFailed),
            Action::SendHeartbeat { id } => {
                let flushed = self.later();
                self.coming.push((flushed, Event::HeartbeatSent));
                if self.peer_lives {
                    let echoed = (self.byte() % 2 == 0).then_some(id);
                    let answered = self.later().max(flushed);
                    let answer = Event::AnswerReceived { id: echoed };
                    self.coming.push((answered, answer));
                }
            }
            Action::Close(_) => {
                self.coming.clear();
                if self.byte() < 200 {
                    self.soon(Event::Disconnected);
                }
            }
            Action::Abort => self.coming.clear(),
            Action::Reconnect { .. } | Action::GiveUp(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(settings(3_000, 1))]

    /// All laws that a call can show, at any times and in any order.
    #[test]
    fn hostile(bytes in bytes(400)) {
        // Law 11, too: the same again.
        let script = Script::new(&bytes);
        prop_assert_eq!(script.run(), script.run());
    }

    /// The same laws on the good days.
    #[test]
    fn polite(config in configs(), seed: u64, delays in bytes(64), dies in 0..200_u32) {
        let mut driver = Polite::new(config, seed, delays);
        for wake in 0..250 {
            driver.peer_lives = wake < dies;
            if !driver.wake() {
                break;
            }
        }
        // Laws 1 and 2 from another side: a driver that is never late is never
        // told that it was.
        prop_assert_eq!(driver.session.session().status(driver.now).stalls, 0);
    }

    /// Law 2: after its last sign of life a peer has its silence timeout, and
    /// not an instant more, whatever we send.
    #[test]
    fn law_2_silence_is_told_to_the_instant(
        silence in 2..300_u64,
        interval in 1..300_u64,
        seed: u64,
        heard in prop::collection::vec(0..1_000_u64, 0..8),
    ) {
        let config = Config::server()
            .with_silence_timeout(secs(silence))
            .with_interval(secs(interval))
            .build()
            .unwrap();
        let mut session = Checked::new(config, seed, at(0));
        let mut last = at(0);
        // Each sign of life comes within the timeout, the exact end included.
        for part in heard {
            let wait = secs(silence) * u32::try_from(part).unwrap() / 999;
            let next = last.checked_add(wait).unwrap();
            while session.deadline().unwrap() < next {
                let due = session.deadline().unwrap();
                prop_assert!(beaten(&mut session, due).is_none());
            }
            last = next;
            session.handle(Event::Received, last);
        }
        let limit = last.checked_add(secs(silence)).unwrap();
        let told = loop {
            let due = session.deadline().unwrap();
            if let Some(reason) = beaten(&mut session, due) {
                break (reason, due);
            }
        };
        prop_assert_eq!(told, (CloseReason::PeerSilent, limit));
    }

    /// Law 3: seen from the wire, no two flushes lie further apart than the
    /// interval and the time that a flush takes.
    #[test]
    fn law_3_the_wire_is_never_quiet_for_longer_than_an_interval(
        config in configs(),
        seed: u64,
        flush in 0..500_u64,
        other in prop::collection::vec(1..90_u64, 0..20),
    ) {
        let builder = config.to_builder().without_max_unanswered().without_answer_timeout();
        let config = builder.with_interval(secs(20)).build().unwrap();
        let flush = Duration::from_millis(flush);
        let mut session = open(config, seed);
        let (mut flushed, mut now) = (at(0), at(0));
        let mut other = other.into_iter();
        let mut next_other = other.next().map(at);
        for _ in 0..100 {
            let Some(due) = session.deadline() else { break };
            if let Some(sends) = next_other.filter(|sends| *sends <= due) {
                (now, next_other) = (sends, other.next().and_then(|wait| sends.checked_add(secs(wait))));
                session.handle(Event::Sent, now);
                prop_assert!(now.saturating_duration_since(flushed) <= secs(20) + flush);
                flushed = now;
                continue;
            }
            now = now.max(due);
            match session.poll(now) {
                Some(Action::SendHeartbeat { .. }) => {
                    now = now.checked_add(flush).unwrap();
                    session.handle(Event::HeartbeatSent, now);
                    if session.session().phase() != Phase::Open { break }
                    prop_assert!(now.saturating_duration_since(flushed) <= secs(20) + flush);
                    flushed = now;
                    next_other = next_other.map(|sends| sends.max(now));
                }
                Some(_) => break,
                None => {}
            }
        }
    }

    /// Law 4: a call that comes too late convicts nobody, whatever the limits
    /// and however late.
    #[test]
    fn law_4_a_late_tick_convicts_nobody(config in configs(), seed: u64, late in 1..u64::MAX / 4) {
        let mut session = open(config, seed);
        let Some(due) = session.deadline() else { return Ok(()) };
        let late = config.stall_tolerance().saturating_add(Duration::from_nanos(late));
        let Some(now) = due.checked_add(late) else { return Ok(()) };
        if let Some(Action::Close(reason)) = session.poll(now) {
            prop_assert!(!reason.is_liveness(), "{reason} at {now:?}");
        }
    }

    /// Law 4: polled at any period, a peer that stays silent is closed within
    /// twice the longest way to a verdict and the period.
    #[test]
    fn law_4_forgiveness_ends(
        config in configs(),
        seed: u64,
        parts in 1..60_u32,
        flushes: bool,
    ) {
        let config = config.to_builder().without_max_age().build().unwrap();
        // A first guess of the period, for the ways that depend on it.
        let Some(limit) = longest_way(&config, flushes, Duration::ZERO) else { return Ok(()) };
        if limit >= secs(1_000_000) {
            return Ok(());
        }
        let period = (limit * parts / 16).max(Duration::from_nanos(1));
        let limit = longest_way(&config, flushes, period).unwrap();
        let bound = 2 * (limit + period);
        let mut session = open(config, seed);
        let mut now = at(0);
        while session.session().phase() == Phase::Open {
            now = now.checked_add(period).unwrap();
            prop_assert!(now.since_epoch() <= bound, "open at {now:?}, limit {limit:?}, period {period:?}");
            while let Some(action) = session.poll(now) {
                if flushes && matches!(action, Action::SendHeartbeat { .. }) {
                    session.handle(Event::HeartbeatSent, now);
                }
            }
        }
    }

    /// Law 6: whatever came before, after `Shutdown` nobody returns, and with
    /// the transport gone nothing is left to do.
    #[test]
    fn law_6_shutdown_is_final(config in configs(), seed: u64, delays in bytes(40), wakes in 0..60) {
        // Near the end of time it would be closing for ever.
        let config = config.to_builder().with_close_grace(secs(5)).build().unwrap();
        let mut driver = Polite::new(config, seed, delays);
        for _ in 0..wakes {
            driver.wake();
        }
        prop_assume!(driver.now < at(4_000_000_000));
        let mut session = driver.session;
        session.handle(Event::Shutdown, driver.now);
        let mut said = Vec::new();
        while let Some(due) = session.deadline() {
            said.extend(session.poll(due.max(driver.now)));
            prop_assert!(said.len() <= 2, "{said:?}");
        }
        prop_assert_eq!(session.session().phase(), Phase::Done);
        let quiet = |action: &Action| matches!(action, Action::Close(_) | Action::Abort);
        prop_assert!(said.iter().all(quiet), "{said:?}");
    }

    /// Law 7: a server that accepts and drops meets ever longer delays; one
    /// that held a link long enough starts them again.
    #[test]
    fn law_7_accept_and_drop_is_no_way_back_to_the_first_delay(
        config in clients(),
        seed: u64,
        lives in prop::collection::vec(0..3_u8, 1..40),
    ) {
        let Some(policy) = config.backoff() else { return Ok(()) };
        let stable = config.stable_after();
        prop_assume!(policy.max() < secs(1_000_000) && stable < secs(1_000_000));
        let builder = config.to_builder().without_max_age().without_interval();
        let builder = builder.without_answer_timeout().without_max_unanswered();
        let config = builder.without_silence_timeout().without_hello_timeout().build().unwrap();
        let mut session = Checked::new(config, seed, at(0));
        let mut now = at(0);
        let mut attempt = 0;
        prop_assert_eq!(session.poll(now), Some(Action::Connect { attempt }));
        for lived in lives {
            if lived == 0 {
                session.handle(Event::ConnectFailed, now);
            } else {
                session.handle(Event::Connected, now);
                let short = Duration::from_nanos(u64::from(lived == 1));
                now = now.checked_add(stable - short).unwrap();
                session.handle(Event::Disconnected, now);
            }
            attempt = if lived == 2 { 1 } else { attempt + 1 };
            if policy.max_attempts().is_some_and(|max| attempt > max) {
                prop_assert!(matches!(session.poll(now), Some(Action::GiveUp(_))));
                break;
            }
            let Some(Action::Reconnect { after, attempt: told }) = session.poll(now) else {
                panic!("no Reconnect");
            };
            prop_assert_eq!(told, attempt);
            now = now.checked_add(after).unwrap();
            prop_assert_eq!(session.poll(now), Some(Action::Connect { attempt }));
        }
    }

    /// Law 9: a link after a wild one goes as a link after none.
    #[test]
    fn law_9_a_link_inherits_nothing(
        config in clients(),
        seed: u64,
        wild in bytes(120),
        story in bytes(120),
    ) {
        let policy = config.backoff().unwrap_or_default().without_max_attempts();
        let policy = policy.with_initial(secs(1)).with_max(secs(1));
        let config = without_chance(config.to_builder().with_backoff(policy));
        let mut first = open(config, seed);
        let clean = tell(&mut first, at(0), &story);

        let mut second = open(config, seed);
        let _ = tell(&mut second, at(0), &wild);
        let Some(began) = again(&mut second) else { return Ok(()) };
        prop_assume!(began < at(1_000_000_000));
        prop_assert_eq!(tell(&mut second, began, &story), clean);
    }
}

/// Polls at an instant and flushes what is to be sent; the verdict, if any.
fn beaten(session: &mut Checked, now: Timestamp) -> Option<CloseReason> {
    loop {
        match session.poll(now)? {
            Action::SendHeartbeat { .. } => session.handle(Event::HeartbeatSent, now),
            Action::Close(reason) => return Some(reason),
            other => panic!("{other:?}"),
        }
    }
}

/// The longest way from the last sign of life to a verdict, for a driver that
/// polls with this period and flushes at once or never.
fn longest_way(config: &Config, flushes: bool, period: Duration) -> Option<Duration> {
    // Each heartbeat waits for a poll.
    let interval = config.interval().map(|interval| interval.max(period));
    let after_a_beat = |limit: Option<Duration>| Some(interval?.saturating_add(limit?));
    let silence = config.silence_timeout();
    if !flushes {
        return silence.max(after_a_beat(config.write_timeout()));
    }
    let count = config.max_unanswered();
    let counted = count.and_then(|max| Some(interval?.saturating_mul(u32::from(max) + 1)));
    let answers = config.answer_timeout().is_some() || count.is_some();
    let probe = answers.then_some(config.resume_grace());
    let answer = after_a_beat(config.answer_timeout());
    [silence, answer, counted, probe]
        .into_iter()
        .flatten()
        .max()
}

/// Lets a link of a wild past end, and the next begin, unless that would be
/// beyond the end of time.
fn again(session: &mut Checked) -> Option<Timestamp> {
    let mut now = at(0);
    for _ in 0..10 {
        // The session's own time: a call with an earlier one is as late.
        now = now.max(session.deadline().unwrap_or(now));
        if matches!(session.session().phase(), Phase::Open | Phase::Closing) {
            session.handle(Event::Disconnected, now);
        }
        if let Some(Action::Connect { .. }) = session.poll(now) {
            session.handle(Event::Connected, now);
            return Some(now);
        }
    }
    None
}

/// The deadline, but for those near the end of time: beyond it is never, which
/// a later link meets first.
fn soon(session: &Checked) -> Option<Timestamp> {
    session.deadline().filter(|due| *due < at(4_000_000_000))
}

/// What a link does in a story that starts with it: each action but the
/// heartbeats' numbers, and when it came.
fn tell(session: &mut Checked, began: Timestamp, story: &[u8]) -> Vec<(Duration, Option<Action>)> {
    let mut now = began;
    let mut told = Vec::new();
    let mut beat = 0;
    for step in story.chunks_exact(2) {
        if session.session().phase() != Phase::Open {
            break;
        }
        let wait = Duration::from_millis(u64::from(step[1]) * 50);
        if step[0] < 100 {
            now = now.max(soon(session).unwrap_or(now));
        }
        now = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        let event = match step[0] % 10 {
            0 => Some(Event::Received),
            1 => Some(Event::HeartbeatReceived),
            2 => Some(Event::AnswerReceived { id: None }),
            3 if beat > 0 => Some(Event::AnswerReceived {
                id: Some(HeartbeatId::from_bytes(u32::to_be_bytes(beat))),
            }),
            4 => Some(Event::Sent),
            5 | 6 => Some(Event::HeartbeatSent),
            7 if step[0] > 200 => Some(Event::Resumed),
            _ => None,
        };
        // At times a burst, for the flood limit.
        for _ in 0..=u8::from(step[1] < 40) * 3 {
            if let Some(event) = event {
                session.handle(event, now);
            }
        }
        while let Some(action) = session.poll(now) {
            let action = match action {
                Action::SendHeartbeat { id } => {
                    beat = id.get();
                    None
                }
                other => Some(other),
            };
            told.push((now.saturating_duration_since(began), action));
            if session.session().phase() != Phase::Open {
                break;
            }
        }
        if let (Phase::Open, Some(deadline)) = (session.session().phase(), soon(session)) {
            told.push((deadline.saturating_duration_since(began), None));
        }
    }
    told
}

/// A relay that thaws twice before it is read delivers a burst all the same.
#[test]
fn what_piled_up_over_two_stalls_is_no_flood() {
    let config = Config::server()
        .without_interval()
        .with_silence_timeout(secs(40))
        .with_flood(secs(10), 2)
        .build()
        .unwrap();
    let mut session = Checked::new(config, 7, at(0));
    let _ = session.poll(at(1_000));
    // Asleep again before a byte was read, and then all of them at once.
    for _ in 0..5 {
        session.handle(Event::HeartbeatReceived, at(2_000));
    }
    assert_ne!(
        session.poll(at(2_000)),
        Some(Action::Close(CloseReason::Flooded))
    );
}

/// Law 11, on every platform: integers alone, so these numbers are the same
/// everywhere. A change here is a change of what is drawn: users' replays
/// break, and the changelog has to say so.
#[test]
fn law_11_golden() {
    let config = Config::client()
        .with_max_age(secs(1_000_000))
        .with_max_age_jitter(Ratio::percent(10));
    let config = config.build().unwrap();
    let mut drawn = Vec::new();
    for seed in 0..100 {
        let mut session = Checked::new(config, seed, at(0));
        let mut now = at(0);
        let _ = session.poll(now);
        for fails in 0..20 {
            if fails % 3 == 0 {
                session.handle(Event::RetryAfter(secs(100)), now);
            }
            session.handle(Event::ConnectFailed, now);
            let Some(Action::Reconnect { after, .. }) = session.poll(now) else {
                panic!("no Reconnect");
            };
            drawn.push(after);
            now = now.checked_add(after).unwrap();
            let _ = session.poll(now);
        }
        session.handle(Event::Connected, now);
        drawn.extend(session.session().status(now).age_left);
        for _ in 0..5 {
            let due = session.deadline().unwrap();
            drawn.push(due.saturating_duration_since(now));
            now = due;
            session.handle(Event::Received, now);
            assert_eq!(beaten(&mut session, now), None);
        }
    }
    // FNV-1a.
    let hash = drawn.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, span| {
        let bytes = span.as_nanos().to_le_bytes();
        bytes.into_iter().fold(hash, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    });
    assert_eq!((drawn.len(), hash), (2_600, 472_538_223_290_252_862));
}
