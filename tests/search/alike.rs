//! Equal fingerprints behave alike: two histories that gave the same one, and
//! what they say to the same calls from there on.

use nabiz::testing::Checked;
use nabiz::{Action, Backoff, Event, Phase, Timestamp};

use super::array::Chance;
use super::calls::{Call, Setting, nanos};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Alike {
    All,
    /// Up to a delay under a floor, whose jitter is drawn for each dial.
    DrawDiffers,
}

const STEPS: usize = 20;

pub(crate) fn alike(setting: &Setting, one: &Checked, other: &Checked, seed: u64) -> Alike {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    // Most runs are told no floor, so that no draw cuts them short.
    let floors = chance.below(4) == 0;
    let mut calls = setting.calls();
    calls.retain(|call| floors || !matches!(call, Call::Handle(Event::RetryAfter(_))));
    // What empties a bucket, often enough to do so.
    if setting.config.flood().is_some() {
        calls.extend([Call::Handle(Event::HeartbeatReceived); 8]);
    }
    let (mut one, mut other) = (one.clone(), other.clone());
    for _ in 0..STEPS {
        let (told, said) = (now(&one), now(&other));
        let instants = setting.instants(&one);
        let pick = instants[chance.below(instants.len())].as_nanos() - told;
        // At times any instant, and mostly a poll or two at it.
        let after = match chance.below(6) {
            0 => setting.tick * u64::try_from(chance.below(12)).unwrap(),
            _ => pick,
        };
        let call = match chance.below(2) {
            0 => Call::Poll,
            _ => calls[chance.below(calls.len())],
        };
        let floor = is_under_a_floor(&one);
        let action = call.make(&mut one, later(told, after));
        let second = call.make(&mut other, later(said, after));
        if let Some(ended) = differ(setting, floor, action, second) {
            assert!(
                ended,
                "{call:?} after {after} ns: {action:?}, and {second:?} of\n{one:#?}\n{other:#?}"
            );
            return Alike::DrawDiffers;
        }
        let (here, there) = (tell(&one), tell(&other));
        assert!(
            here == there,
            "{call:?} after {after} ns: {here:#?}\nbut {there:#?}\n{one:#?}\n{other:#?}"
        );
    }
    Alike::All
}

fn now(session: &Checked) -> u64 {
    session.session().now().as_nanos()
}

fn later(now: u64, after: u64) -> Timestamp {
    Timestamp::from_nanos(now + after).unwrap()
}

/// All that shows, relative to now.
fn tell(session: &Checked) -> impl PartialEq + std::fmt::Debug + use<> {
    let now = now(session);
    let due = session.deadline().map(|due| due.as_nanos().max(now) - now);
    let inner = session.session();
    (due, inner.phase(), inner.is_suspect())
}

/// Besides the dial itself something is awaited, or before it is announced.
fn is_under_a_floor(session: &Checked) -> bool {
    let inner = session.session();
    let news = session.deadline() == Some(inner.now());
    inner.phase() == Phase::Waiting && inner.turns().count() > usize::from(!news)
}

/// Whether what they said differs: none if not, true if by a draw.
fn differ(
    setting: &Setting,
    floor: bool,
    one: Option<Action>,
    other: Option<Action>,
) -> Option<bool> {
    let config = &setting.config;
    let ends = config.backoff().and_then(|policy| policy.max_attempts());
    let count = |attempt: u32| {
        if ends.is_some() {
            attempt
        } else {
            attempt.min(1)
        }
    };
    match (one, other) {
        (Some(Action::SendHeartbeat { .. }), Some(Action::SendHeartbeat { .. })) => None,
        (Some(Action::Connect { attempt: a }), Some(Action::Connect { attempt: b })) => {
            (count(a) != count(b)).then_some(false)
        }
        (
            Some(Action::Reconnect {
                after: x,
                attempt: a,
            }),
            Some(Action::Reconnect {
                after: y,
                attempt: b,
            }),
        ) if count(a) == count(b) => {
            let policy = config
                .backoff()
                .map_or(core::time::Duration::ZERO, |p: Backoff| p.max());
            let jitter = policy.max(config.max_retry_after() / 4);
            (x != y).then(|| floor && nanos(x.abs_diff(y)) <= nanos(jitter))
        }
        // One draw moves the dial, and the other leaves it where it is.
        (Some(Action::Reconnect { .. }), None) | (None, Some(Action::Reconnect { .. })) => {
            Some(floor)
        }
        _ => (one != other).then_some(false),
    }
}
