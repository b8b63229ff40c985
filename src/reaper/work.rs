//! What a poll does: who is looked at, in which order, and when to pause.

use super::news::News;
use super::roster::{GROUP, Key, place};
use super::verdict::Judgement;
use super::{Reaper, Visit};
use crate::session::CloseReason;
use crate::time::Span;

/// How many connections are looked at between two pauses.
pub(super) const BUDGET: usize = 1024;

/// What one poll came to.
pub(super) enum Step<T> {
    Heartbeat(usize),
    Close {
        key: Key,
        value: T,
        reason: CloseReason,
        retry_after: Option<Span>,
    },
    Yield,
    Rest,
}

impl<T> Reaper<T> {
    /// The next duty, or what else a poll comes to.
    pub(super) fn work(&mut self, news: &impl Fn(&T) -> News) -> Step<T> {
        self.done = self.done_until();
        let step = self.step(news);
        if matches!(step, Step::Yield | Step::Rest) {
            self.visited = 0;
        }
        if matches!(step, Step::Rest) {
            self.busy = None;
            self.done = self.now;
            self.schedule();
        } else {
            self.busy = Some(self.now);
            self.expect();
        }
        step
    }

    fn step(&mut self, news: &impl Fn(&T) -> News) -> Step<T> {
        let now = self.now.as_nanos();
        while self.visited < BUDGET {
            if self.visit.todo != 0 {
                let index = place(self.visit.group, self.visit.todo);
                self.visit.todo &= self.visit.todo.wrapping_sub(1);
                self.learn(index, news);
                match self.judge(index) {
                    Judgement::Close(reason) => {
                        if let Some(step) = self.close(index, reason, None) {
                            return step;
                        }
                    }
                    Judgement::Beat(verdict_at) => {
                        self.dues.lower(index / GROUP, verdict_at);
                        return self.beat(index);
                    }
                    Judgement::Wait(due) => self.dues.lower(index / GROUP, due),
                }
            } else if let Some(group) = self.dues.first(now) {
                self.visit(group);
            } else if let Some(step) = self.drain_one() {
                return step;
            } else if let Some(index) = self.next_probe(news).or_else(|| self.next_beat(news)) {
                return self.beat(index);
            } else if self.visited < BUDGET {
                return Step::Rest;
            }
        }
        Step::Yield
    }

    /// Finds who of a group may be due, and when the others are.
    fn visit(&mut self, group: usize) {
        let live = self.roster.live_in(group);
        self.looked_at(live.count_ones().max(1) as usize);
        let (todo, rest) = if self.is_plain() {
            self.compare(group, live)
        } else {
            self.compare_each(group, live)
        };
        self.dues.set(group, rest);
        self.visit = Visit { group, todo };
    }

    pub(super) fn looked_at(&mut self, count: usize) {
        self.visited = self.visited.saturating_add(count);
    }

    pub(super) fn close(
        &mut self,
        index: usize,
        reason: CloseReason,
        retry_after: Option<Span>,
    ) -> Option<Step<T>> {
        let key = self.roster.key(index)?;
        let value = self.roster.remove(index)?;
        self.counters.closed = self.counters.closed.wrapping_add(1);
        Some(Step::Close {
            key,
            value,
            reason,
            retry_after,
        })
    }

    /// Asks for a heartbeat.
    fn beat(&mut self, index: usize) -> Step<T> {
        let stalled = self.ask(index);
        self.dues.lower(index / GROUP, stalled);
        self.counters.heartbeats = self.counters.heartbeats.wrapping_add(1);
        Step::Heartbeat(index)
    }
}
