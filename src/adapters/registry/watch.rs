//! What a driver needs of the roster it drives.

use core::cell::Cell;
use core::fmt;
use core::task::Waker;
use std::sync::{Arc, Weak};
use std::vec::Vec;

use super::seats::{Row, Seat, Verdict};
use super::{Shared, State};
use crate::reaper::{News, Reap};
use crate::time::Timestamp;

/// A driver's view of the roster.
pub struct Watch {
    pub(super) shared: Arc<Shared>,
    /// Whom a turn has to wake; empty between turns.
    pub(super) woken: Vec<Waker>,
}

/// When a driver is needed.
#[derive(Clone, Copy, Debug)]
pub(in crate::adapters) enum Wait {
    /// Then, or when it is woken; none: only then.
    Until(Option<Timestamp>),
    /// Never: nobody is left, or will come.
    Over,
}

impl Watch {
    pub(in crate::adapters) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// When a turn is due; `waker` is woken when that changes.
    pub(in crate::adapters) fn wait(&mut self, waker: &Waker) -> Wait {
        let mut state = self.shared.lock();
        if state.is_over() {
            return Wait::Over;
        }
        let due = state.reaper.deadline();
        state.wakes_at = due.unwrap_or(Timestamp::MAX);
        let old = state.driver.replace(waker.clone());
        drop(state);
        drop(old);
        Wait::Until(due)
    }

    /// Hands out what is due. False: others are to run, and then another turn.
    pub(in crate::adapters) fn turn(&mut self, now: Timestamp) -> bool {
        let mut state = self.shared.lock();
        let State { reaper, rows, .. } = &mut *state;
        let row = |seat| row_of(rows, seat);
        // What a verdict is based on: what comes later withdraws it.
        let known = Cell::new(News::default());
        let news = |seat: &Seat| {
            known.set(row(*seat).map_or(News::default(), |row| row.news(*seat)));
            known.get()
        };
        let is_done = loop {
            let (seat, verdict) = match reaper.poll_with(now, news) {
                Some(Reap::Heartbeat { value: seat, .. }) => (*seat, None),
                Some(Reap::Close {
                    value: seat,
                    reason,
                    retry_after,
                    ..
                }) => {
                    let verdict = Verdict {
                        reason,
                        retry_after,
                        news: known.get(),
                        is_put_off: false,
                        is_told: false,
                    };
                    (seat, Some(verdict))
                }
                Some(Reap::Yield) => break false,
                None => break true,
            };
            let waker = row(seat).and_then(|row| {
                row.post(seat, |mail| match verdict {
                    Some(_) => {
                        mail.close = verdict;
                        mail.beaten = false;
                    }
                    None => {
                        mail.beat = true;
                        mail.asked = Some(now);
                    }
                })
            });
            self.woken.extend(waker);
        };
        drop(state);
        self.wake_all();
        is_done
    }

    fn wake_all(&mut self) {
        for waker in self.woken.drain(..) {
            waker.wake();
        }
    }
}

fn row_of(rows: &[Weak<Row>], seat: Seat) -> Option<Arc<Row>> {
    rows.get(seat.row())?.upgrade()
}

/// Nobody is watched any more, and so nobody may stay.
impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_abandoned = true;
        for (_, seat) in state.reaper.iter() {
            let waker = row_of(&state.rows, *seat).and_then(|row| {
                row.post(*seat, |mail| {
                    mail.close.get_or_insert_with(Verdict::abandoned);
                })
            });
            self.woken.extend(waker);
        }
        let driver = state.driver.take();
        drop(state);
        drop(driver);
        self.wake_all();
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("reaper", &self.shared.lock().reaper)
            .finish_non_exhaustive()
    }
}
