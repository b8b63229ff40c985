//! The calls that led to where a checker is, for its report.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use super::model::{Broken, Verdict};
use crate::time::Timestamp;

/// How many calls a report shows at most.
const SHOWN: usize = 200;

/// How many calls a checker keeps from its start, for the replay.
const KEPT: usize = 1 << 16;

pub(super) const NAMES: [&str; 13] = [
    "an honest status",
    "never early",
    "never late",
    "keeps the path warm",
    "late ticks convict nobody, and forgiveness ends",
    "once",
    "only clients return",
    "no storm",
    "quiescence",
    "no carry-over",
    "total",
    "replay",
    "one rule book",
];

/// Calls, of which the first are kept and the last are shown. A clone copies
/// what there is, and allocates once for as long as all is kept.
#[derive(Clone, Debug)]
pub(super) struct Trail<W> {
    kept: Vec<(Timestamp, W)>,
    /// The last of those after `kept`.
    later: VecDeque<(Timestamp, W)>,
    made: usize,
    /// How many came before what the report is to show.
    before: usize,
    /// How many came before the first that was made.
    forgotten: usize,
}

impl<W: fmt::Display> Trail<W> {
    pub(super) const fn new() -> Self {
        Self {
            kept: Vec::new(),
            later: VecDeque::new(),
            made: 0,
            before: 0,
            forgotten: 0,
        }
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        let forgotten = self.forgotten + self.made;
        *self = Self {
            forgotten,
            ..Self::new()
        };
    }

    /// The report begins with the last call.
    pub(super) fn begin(&mut self) {
        self.before = self.made.saturating_sub(1);
    }

    pub(super) fn record(&mut self, what: W, now: Timestamp) {
        self.made += 1;
        if self.kept.len() < KEPT {
            self.kept.push((now, what));
            return;
        }
        if self.later.len() == SHOWN {
            self.later.pop_front();
        }
        self.later.push_back((now, what));
    }

    /// The last call.
    pub(super) fn last(&self) -> Option<&(Timestamp, W)> {
        self.later.back().or(self.kept.last())
    }

    /// The last call, to tell what it gave.
    pub(super) fn last_mut(&mut self) -> Option<&mut W> {
        let last = self.later.back_mut().or(self.kept.last_mut());
        last.map(|(_, what)| what)
    }

    /// The calls from the start, as far as they are kept.
    pub(super) fn kept(&self) -> &[(Timestamp, W)] {
        &self.kept
    }

    /// Panics with the law that is broken, if one is, with the setting, the
    /// calls, and the line that replays it.
    #[track_caller]
    pub(super) fn demand<R: fmt::Display>(
        &self,
        verdict: Verdict,
        setting: fmt::Arguments<'_>,
        replay: impl FnOnce() -> R,
    ) {
        let Err(Broken { law, why }) = verdict else {
            return;
        };
        let name = NAMES.get(law).unwrap_or(&"?");
        let mut report = format!("law {law} ({name}) is broken: {why}\n{setting}\n");
        let calls = self.kept.iter().chain(&self.later);
        let left_out = self.made - self.kept.len() - self.later.len();
        let shown = (self.made - self.before).min(SHOWN);
        if shown < self.made - self.before {
            let _ = writeln!(
                report,
                "… {} calls before …",
                self.made - self.before - shown
            );
        }
        for (now, what) in calls.skip(self.made - shown - left_out) {
            let _ = writeln!(report, "at {} ns: {what}", now.as_nanos());
        }
        if self.made > self.kept.len() {
            let _ = writeln!(
                report,
                "the replay is cut: the first {} of {} calls",
                self.kept.len(),
                self.made
            );
        }
        if self.forgotten > 0 {
            let _ = writeln!(
                report,
                "the replay lacks the first {} calls, which were forgotten",
                self.forgotten
            );
        }
        let _ = write!(report, "replay: {}", replay());
        panic!("{report}");
    }
}

/// The message that a checker panics with.
#[cfg(test)]
pub(super) fn report(run: impl FnOnce() + std::panic::UnwindSafe) -> alloc::string::String {
    let panic = std::panic::catch_unwind(run).expect_err("no law is broken");
    *panic.downcast().expect("a report")
}
