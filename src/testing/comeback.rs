//! What the checker knows of the way back: the bounds of each delay.

use super::span::{LONGEST, NEVER, Nanos, Range, after, len};
use crate::backoff::{Backoff, Jitter};

/// Where a series of attempts stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Series {
    pub(super) attempt: u32,
    /// The last base; with decorrelated jitter, the most that the last delay
    /// can have been.
    pub(super) step: Option<Nanos>,
}

impl Series {
    /// The bounds of the next delay, or none when the attempts are used up.
    pub(super) fn next(&mut self, policy: Backoff) -> Option<Range> {
        if policy.max_attempts().is_some_and(|max| self.attempt >= max) {
            return None;
        }
        self.attempt = self.attempt.saturating_add(1);
        let (initial, max) = (len(policy.initial()), len(policy.max()));
        if policy.jitter() == Jitter::Decorrelated {
            let most = (3 * self.step.unwrap_or(initial)).min(max);
            self.step = Some(most);
            return Some(Range::new(initial, most));
        }
        let multiplier = Nanos::from(policy.multiplier().as_permille());
        let base = self
            .step
            .map_or(initial, |base| (base * multiplier / 1000).min(max));
        self.step = Some(base);
        Some(spread(policy.jitter(), base))
    }

    /// The delay just drawn has shown.
    pub(super) fn learn(&mut self, policy: Backoff, delay: Nanos) {
        if policy.jitter() == Jitter::Decorrelated {
            self.step = Some(delay);
        }
    }
}

/// The bounds of a first attempt's delay.
pub(super) fn first(policy: Backoff) -> Range {
    Series::default()
        .next(policy)
        .unwrap_or(Range::exactly(len(policy.initial())))
}

fn spread(jitter: Jitter, base: Nanos) -> Range {
    match jitter {
        Jitter::Proportional(p) => {
            let reach = base * Nanos::from(p.as_permille()) / 1000;
            Range::new(base - reach, (base + reach).min(LONGEST))
        }
        Jitter::Equal => Range::new(base - base / 2, base),
        Jitter::Full => Range::new(0, base),
        Jitter::None | Jitter::Decorrelated => Range::exactly(base),
    }
}

/// The instant before which the peer does not want us back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) until: Nanos,
    pub(super) span: Nanos,
}

/// Between two links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    policy: Backoff,
    pub(super) draw: Range,
    /// When to dial, once it was announced.
    pub(super) dial: Option<Nanos>,
    /// Something happened that may move the dial.
    pub(super) news: bool,
    pub(super) hurry: Hurry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hurry {
    Not,
    Asked,
    Spent,
}

impl Wait {
    pub(super) const fn new(policy: Backoff, draw: Range) -> Self {
        Self {
            policy,
            draw,
            dial: None,
            news: true,
            hurry: Hurry::Not,
        }
    }

    pub(super) const fn policy(&self) -> Backoff {
        self.policy
    }

    /// The user asks to go sooner, which counts once a wait.
    pub(super) fn hurry(&mut self) {
        if self.hurry == Hurry::Not {
            self.hurry = Hurry::Asked;
            self.news = true;
        }
    }

    /// What an announcement at `now` may say, and what already stands.
    pub(super) fn announcement(&self, floor: Option<Floor>, now: Nanos) -> (Range, Option<Nanos>) {
        let standing = self.dial.map(|dial| dial.saturating_sub(now));
        if !self.news || self.dial == Some(NEVER) {
            // Nothing to announce: what stands, stands.
            return (Range::exactly(standing.unwrap_or(0)), standing);
        }
        let mut range = standing.map_or(self.draw, Range::exactly);
        let mut remains = 0;
        if let Some(floor) = floor.filter(|floor| floor.until > now) {
            remains = floor.until - now;
            let most = self.draw.most.max(floor.span / 4);
            range = range.max(Range::new(0, most).plus(remains));
        }
        if self.hurry == Hurry::Asked {
            range = range.min(first(self.policy).plus(remains));
        }
        (range, standing)
    }

    /// A poll has looked at what was new.
    pub(super) fn looked(&mut self) {
        self.news = false;
        if self.hurry == Hurry::Asked && self.dial != Some(NEVER) {
            self.hurry = Hurry::Spent;
        }
    }

    pub(super) fn announced(&mut self, wait: Nanos, now: Nanos) {
        self.dial = Some(after(now, wait));
    }

    /// Whether the first announcement shows the policy's draw itself.
    pub(super) fn is_plain(&self, floor: Option<Floor>, now: Nanos) -> bool {
        self.dial.is_none()
            && self.hurry == Hurry::Not
            && floor.is_none_or(|floor| floor.until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policys_draw_shows_where_nothing_moves_it() {
        let wait = Wait::new(Backoff::new(), Range::exactly(7));
        let floor = Some(Floor { until: 10, span: 5 });
        assert!(wait.is_plain(None, 0));
        assert!(!wait.is_plain(floor, 9));
        assert!(wait.is_plain(floor, 10));

        let mut hurried = wait;
        hurried.hurry();
        assert!(!hurried.is_plain(None, 0));
        let mut announced = wait;
        announced.announced(7, 0);
        assert!(!announced.is_plain(None, 0));
    }
}
