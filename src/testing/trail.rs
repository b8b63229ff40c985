//! The calls that led to where a checker is, for its report.

use alloc::collections::VecDeque;
use alloc::format;
use core::fmt::{self, Write as _};

use super::model::{Broken, Verdict};
use crate::time::Timestamp;

/// How many calls a report shows at most.
const SHOWN: usize = 200;

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

#[derive(Clone, Debug)]
pub(super) struct Trail<W> {
    calls: VecDeque<(Timestamp, W)>,
    forgotten: usize,
}

impl<W: fmt::Display> Trail<W> {
    pub(super) const fn new() -> Self {
        Self {
            calls: VecDeque::new(),
            forgotten: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.calls.clear();
        self.forgotten = 0;
    }

    pub(super) fn record(&mut self, what: W, now: Timestamp) {
        if self.calls.len() == SHOWN {
            self.calls.pop_front();
            self.forgotten += 1;
        }
        self.calls.push_back((now, what));
    }

    /// Panics with the law that is broken, if one is, with the setting and the
    /// calls.
    #[track_caller]
    pub(super) fn demand(&self, verdict: Verdict, setting: fmt::Arguments<'_>) {
        let Err(Broken { law, why }) = verdict else {
            return;
        };
        let name = NAMES.get(law).unwrap_or(&"?");
        let mut report = format!("law {law} ({name}) is broken: {why}\n{setting}\n");
        if self.forgotten > 0 {
            let _ = writeln!(report, "… {} calls before …", self.forgotten);
        }
        for (now, what) in &self.calls {
            let _ = writeln!(report, "at {} ns: {what}", now.as_nanos());
        }
        panic!("{report}");
    }
}
