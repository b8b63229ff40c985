//! Why a line is no run, or no plan.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::error::Error;
use core::fmt;

/// Why a line is no [`Replay`](crate::testing::Replay),
/// [`RosterReplay`](crate::testing::RosterReplay) or
/// [`Plan`](crate::testing::world::Plan): which word, and what was expected in
/// its place.
///
/// ```
/// use nabiz::testing::Replay;
///
/// let error = "session client seed=42 at 0s pol".parse::<Replay>().unwrap_err();
/// assert_eq!((error.place(), error.word()), (Some(6), Some("pol")));
/// assert!(error.to_string().starts_with("word 6, 'pol': expected a call: poll, connected, "));
///
/// let error = "session client interval=0s seed=42 at 0s".parse::<Replay>().unwrap_err();
/// assert_eq!(error.to_string(), "word 3, 'interval=0s': interval must not be zero");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ParseTextError {
    word: Option<(usize, String)>,
    why: String,
}

impl ParseTextError {
    /// At a word and its place, or at the end of the line.
    pub(super) fn new(word: Option<(usize, &str)>, why: impl fmt::Display) -> Self {
        Self {
            word: word.map(|(place, word)| (place, word.to_owned())),
            why: why.to_string(),
        }
    }

    /// Which word, counted from 1; none where the line ends too early.
    #[must_use]
    pub fn place(&self) -> Option<usize> {
        self.word.as_ref().map(|(place, _)| *place)
    }

    /// The word; none where the line ends too early.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        self.word.as_ref().map(|(_, word)| word.as_str())
    }
}

impl fmt::Display for ParseTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.word {
            Some((place, word)) => write!(f, "word {place}, '{word}': {}", self.why),
            None => write!(f, "at the end: {}", self.why),
        }
    }
}

impl Error for ParseTextError {}
