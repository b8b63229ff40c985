//! A plan as one line of text.

use alloc::string::{String, ToString};
use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use core::time::Duration;

use super::plan::{Delay, Happening, Plan, Who};
use super::times::{digits, duration, instant, since_epoch, span};
use crate::time::{Ratio, Timestamp};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={}", self.seed)?;
        if self.datagrams {
            f.write_str(" datagrams")?;
        }
        if self.client_delay == self.server_delay {
            write!(f, " delay={}", self.client_delay)?;
        } else {
            write!(f, " delay-client={}", self.client_delay)?;
            write!(f, " delay-server={}", self.server_delay)?;
        }
        if self.loss > Ratio::ZERO {
            write!(f, " loss={}", self.loss)?;
        }
        for happening in &self.happenings {
            write!(f, " {happening}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            return span(self.least).fmt(f);
        }
        write!(f, "{}..{}", span(self.least), span(self.most))
    }
}

/// As a word of a [`Plan`]'s line.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, who, period) = match self {
            Self::Cut(who, period) => ("cut", *who, period),
            Self::Freeze(who, period) => ("freeze", *who, period),
            Self::Slow(who, period) => ("slow", *who, period),
            Self::Down(period) => ("down", Who::Both, period),
            Self::Vanish(period) => ("vanish", Who::Both, period),
            Self::Reset(at) => return write!(f, "reset={}", since_epoch(*at)),
            Self::Ahead(who, at, by) => {
                return write!(f, "jump{who}={}+{}", since_epoch(*at), span(*by));
            }
            Self::Back(who, at, by) => {
                return write!(f, "jump{who}={}-{}", since_epoch(*at), span(*by));
            }
        };
        let (start, end) = (since_epoch(period.start), since_epoch(period.end));
        write!(f, "{name}{who}={start}..{end}")
    }
}

/// As it is appended to a word.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "-client",
            Self::Server => "-server",
            Self::Both => "",
        })
    }
}

/// A word that is none of a [`Plan`]'s line.
///
/// ```
/// use nabiz::testing::world::Plan;
///
/// let error = "delay=50ms cut=soon".parse::<Plan>().unwrap_err();
/// assert_eq!(error.to_string(), "not a word of a plan: `cut=soon`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    word: String,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a word of a plan: `{}`", self.word)
    }
}

impl core::error::Error for PlanError {}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(line: &str) -> Result<Self, PlanError> {
        let words = line.split_whitespace();
        words
            .into_iter()
            .try_fold(Self::new(), |plan, word| match and(plan, word) {
                Some(plan) => Ok(plan),
                None => Err(PlanError {
                    word: word.to_string(),
                }),
            })
    }
}

/// The plan with what that word says.
fn and(plan: Plan, word: &str) -> Option<Plan> {
    if word == "datagrams" {
        return Some(plan.over_datagrams());
    }
    let (name, value) = word.split_once('=')?;
    match name {
        "seed" => return Some(plan.with_seed(digits(value)?)),
        "loss" => return Some(plan.with_loss(ratio(value)?)),
        "reset" => return Some(plan.with(Happening::Reset(instant(value)?))),
        "down" => return Some(plan.with(Happening::Down(period(value)?))),
        "vanish" => return Some(plan.with(Happening::Vanish(period(value)?))),
        _ => {}
    }
    let (name, who) = match name.split_once('-') {
        None => (name, Who::Both),
        Some((name, "client")) => (name, Who::Client),
        Some((name, "server")) => (name, Who::Server),
        Some(_) => return None,
    };
    Some(match name {
        "delay" => plan.with_delays(who, delays(value)?),
        "cut" => plan.with(Happening::Cut(who, period(value)?)),
        "freeze" => plan.with(Happening::Freeze(who, period(value)?)),
        "slow" => plan.with(Happening::Slow(who, period(value)?)),
        "jump" => plan.with(jump(who, value)?),
        _ => return None,
    })
}

fn period(text: &str) -> Option<Range<Timestamp>> {
    let (start, end) = text.split_once("..")?;
    Some(instant(start)?..instant(end)?)
}

fn delays(text: &str) -> Option<core::ops::RangeInclusive<Duration>> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    Some(duration(least)?..=duration(most)?)
}

fn jump(who: Who, text: &str) -> Option<Happening> {
    if let Some((at, by)) = text.split_once('+') {
        return Some(Happening::Ahead(who, instant(at)?, duration(by)?));
    }
    let (at, by) = text.split_once('-')?;
    Some(Happening::Back(who, instant(at)?, duration(by)?))
}

/// A per cent with at most one decimal, as a ratio prints.
fn ratio(text: &str) -> Option<Ratio> {
    let number = text.strip_suffix('%')?;
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    if tenth.len() != 1 {
        return None;
    }
    let permille = digits(whole)?
        .checked_mul(10)?
        .checked_add(digits(tenth)?)?;
    Some(Ratio::permille(u32::try_from(permille).ok()?))
}
