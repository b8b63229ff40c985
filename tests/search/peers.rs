//! What a peer's conduct must lead to, from wherever a session is: a polite
//! one brings it back, and one that stays silent loses it, however coarsely
//! the session is polled.

use std::time::Duration;

use nabiz::testing::Checked;
use nabiz::{Action, CloseReason, Config, Event, Phase, Session, Timestamp};

use super::array::Chance;
use super::calls::{Setting, nanos};

/// More calls than any way back takes at one instant, many times over.
const CALLS: u32 = 64;

/// The longest wait between two links: that of the policy, or a floor as long
/// as any that is obeyed and the jitter on top of it.
pub(crate) fn longest_wait(config: &Config) -> u64 {
    let Some(policy) = config.backoff() else {
        return 0;
    };
    let (delay, floor) = (nanos(policy.max()), nanos(config.max_retry_after()));
    floor + delay.max(floor / 4)
}

/// With a peer that lets it dial, answers, reads what is written, speaks and
/// closes at once, a session is open and unsuspected, or done. That takes at
/// most one wait: whatever is due on an open link but its age is withdrawn by
/// what the peer says, a dial and a close take no time, and a link that has
/// just begun is neither suspect nor too old.
pub(crate) fn comes_back(setting: &Setting, session: &Session, wait: u64) {
    let mut session = session.clone();
    let begin = session.now();
    let mut now = begin;
    for _ in 0..CALLS {
        match session.phase() {
            Phase::Done => return,
            Phase::Connecting => {
                session.handle(Event::Connected, now);
                if session.phase() == Phase::Connecting {
                    let _ = session.poll(now);
                }
            }
            Phase::Open => {
                speaks(&mut session, now);
                let action = session.poll(now);
                if action.is_none() && session.phase() == Phase::Open && !session.is_suspect() {
                    let took = now.saturating_duration_since(begin);
                    assert!(nanos(took) <= wait, "back after {took:?}: {session:#?}");
                    return;
                }
            }
            Phase::Closing => {
                let _ = session.poll(now);
                session.handle(Event::Disconnected, now);
            }
            Phase::Waiting => {
                if session.poll(now).is_none() {
                    now = session.deadline().expect("a wait that ends");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("{}: never back, from {begin:?}: {session:#?}", setting.name);
}

/// What was written is flushed and answered; and the peer has something to say,
/// by which no bucket fills.
fn speaks(session: &mut Session, now: Timestamp) {
    session.handle(Event::HeartbeatSent, now);
    session.handle(Event::Received, now);
    session.handle(Event::AnswerReceived { id: None }, now);
}

/// From an open link on, with a peer that speaks at each tick, nothing but age
/// ends it.
pub(crate) fn stays(setting: &Setting, session: &Session) {
    if session.phase() != Phase::Open {
        return;
    }
    let mut session = session.clone();
    let mut now = session.now();
    for _ in 0..100 {
        speaks(&mut session, now);
        while let Some(action) = session.poll(now) {
            match action {
                Action::SendHeartbeat { .. } => speaks(&mut session, now),
                Action::Close(CloseReason::TooOld) => return,
                other => panic!("{other:?} with a peer that speaks: {session:#?}"),
            }
        }
        let later = now.as_nanos() + setting.tick;
        now = Timestamp::from_nanos(later).unwrap();
    }
}

/// Polled at a period, at whatever phase of it, with a peer that stays silent
/// from now on, the link is closed within twice the longest way to a verdict
/// and the period (law 4). Gives the number of runs.
pub(crate) fn ends_at_any_period(setting: &Setting, session: &Checked) -> u64 {
    let inner = session.session();
    if inner.phase() != Phase::Open {
        return 0;
    }
    let mut runs = 0;
    let mut chance = Chance(inner.now().as_nanos() | 1);
    for flushes in [true, false] {
        let Some(limit) = longest_way(inner.config(), flushes, 0) else {
            continue;
        };
        let most = 3 * limit.div_ceil(setting.tick);
        // All periods where limits are a few ticks, else some of each size.
        let stride = usize::try_from(most.div_ceil(24)).unwrap();
        let mut ticks = 1;
        while ticks <= most {
            let period = ticks * setting.tick;
            for phase in [1, ticks.div_ceil(2), ticks] {
                silent(setting, session, flushes, period, phase * setting.tick);
                runs += 1;
            }
            ticks += u64::try_from(1 + chance.below(stride)).unwrap();
        }
    }
    runs
}

fn silent(setting: &Setting, session: &Checked, flushes: bool, period: u64, phase: u64) {
    let mut session = session.clone();
    let begin = session.session().now().as_nanos();
    let limit = longest_way(session.session().config(), flushes, period).unwrap();
    let bound = begin + 2 * (limit + period);
    let mut now = begin + phase.min(period);
    let flush = |session: &mut Checked, now| {
        if flushes {
            session.handle(Event::HeartbeatSent, now);
        }
    };
    // One that is in flight already is flushed as those to come.
    flush(&mut session, Timestamp::from_nanos(begin).unwrap());
    loop {
        let at = Timestamp::from_nanos(now).unwrap();
        while let Some(action) = session.poll(at) {
            if matches!(action, Action::SendHeartbeat { .. }) {
                flush(&mut session, at);
            }
        }
        if session.session().phase() != Phase::Open {
            return;
        }
        assert!(
            now <= bound,
            "{}: open {now} ns, bound {bound}, begun {begin}, polled each {period} from {phase}, limit {limit}\n{session:#?}",
            setting.name
        );
        now += period;
    }
}

/// The longest way from the last sign of life to a verdict, for a driver that
/// polls with this period and flushes at once or never.
fn longest_way(config: &Config, flushes: bool, period: u64) -> Option<u64> {
    let span = |span: Option<Duration>| span.map(nanos);
    // Each heartbeat waits for a poll.
    let interval = span(config.interval()).map(|interval| interval.max(period));
    let after_a_beat = |limit: Option<u64>| Some(interval? + limit?);
    let silence = span(config.silence_timeout());
    if !flushes {
        return silence.max(after_a_beat(span(config.write_timeout())));
    }
    let count = config.max_unanswered();
    let counted = count.and_then(|max| Some(interval? * (u64::from(max) + 1)));
    let answers = config.answer_timeout().is_some() || count.is_some();
    let probe = answers.then_some(nanos(config.resume_grace()));
    let answer = after_a_beat(span(config.answer_timeout()));
    let ways = [silence, answer, counted, probe];
    ways.into_iter().flatten().max()
}
