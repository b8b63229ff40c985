//! Runs as one line of text: its words, and what they say.

mod error;
mod settings;
mod value;

pub use error::ParseTextError;
pub(super) use settings::{Settings, Unusual};
pub(super) use value::{Shown, Value};

use core::fmt;
use core::str::SplitWhitespace;
use core::time::Duration;

use crate::time::Timestamp;

/// The word before a time that says when.
pub(super) const AT: &str = "at";

/// The words of a line.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    rest: SplitWhitespace<'a>,
    /// The last that was read, and which one that is, from 1; none at the end.
    last: Option<&'a str>,
    place: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self {
            rest: line.split_whitespace(),
            last: None,
            place: 0,
        }
    }

    /// The next word, if one is left.
    pub(super) fn read(&mut self) -> Option<&'a str> {
        self.last = self.rest.next();
        self.place += 1;
        self.last
    }

    /// The next word, which has to be there.
    pub(super) fn need(&mut self, expected: &str) -> Result<&'a str, ParseTextError> {
        match self.read() {
            Some(word) => Ok(word),
            None => Err(self.expected(expected)),
        }
    }

    /// What the last word, or the part after its `=`, says.
    pub(super) fn value<T: Value>(&self, text: &str) -> Result<T, ParseTextError> {
        T::read(text).ok_or_else(|| self.expected(T::expected()))
    }

    /// The instant after `at`.
    pub(super) fn instant(&mut self) -> Result<Timestamp, ParseTextError> {
        let time: Duration = match self.read() {
            Some(word) => self.value(word)?,
            None => return Err(self.expected(Duration::expected())),
        };
        let latest = || self.expected(format_args!("{} at most", Moment(Timestamp::MAX)));
        Timestamp::from_epoch(time).ok_or_else(latest)
    }

    /// The last word is not what is expected here.
    pub(super) fn expected(&self, what: impl fmt::Display) -> ParseTextError {
        self.refused(format_args!("expected {what}"))
    }

    /// The last word will not do.
    pub(super) fn refused(&self, why: impl fmt::Display) -> ParseTextError {
        ParseTextError::new(self.last.map(|word| (self.place, word)), why)
    }
}

/// An instant, as time since the epoch.
pub(super) struct Moment(pub(super) Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.0.since_epoch()).fmt(f)
    }
}

/// Calls, each at its instant, which is told where it is another than before.
pub(super) fn show_calls<C: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    start: Timestamp,
    calls: impl IntoIterator<Item = (Timestamp, C)>,
) -> fmt::Result {
    write!(f, " {AT} {}", Moment(start))?;
    let mut last = start;
    for (now, call) in calls {
        if now != last {
            write!(f, " {AT} {}", Moment(now))?;
            last = now;
        }
        write!(f, " {call}")?;
    }
    Ok(())
}
