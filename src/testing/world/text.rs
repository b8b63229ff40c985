//! A plan as one line of text.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use core::time::Duration;

use super::plan::{Delay, Happening, Plan, Who};
use crate::testing::text::{Moment, ParseTextError, Shown, Value, Words};
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
            return Shown(&self.least).fmt(f);
        }
        write!(f, "{}..{}", Shown(&self.least), Shown(&self.most))
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
            Self::Reset(at) => return write!(f, "reset={}", Moment(*at)),
            Self::Ahead(who, at, by) => {
                return write!(f, "jump{who}={}+{}", Moment(*at), Shown(by));
            }
            Self::Back(who, at, by) => {
                return write!(f, "jump{who}={}-{}", Moment(*at), Shown(by));
            }
        };
        let (start, end) = (Moment(period.start), Moment(period.end));
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

/// The words may come in any order, and each is optional.
///
/// ```
/// use nabiz::testing::world::Plan;
///
/// let error = "delay=50ms cut=soon".parse::<Plan>().unwrap_err();
/// assert_eq!((error.place(), error.word()), (Some(2), Some("cut=soon")));
/// ```
impl FromStr for Plan {
    type Err = ParseTextError;

    fn from_str(line: &str) -> Result<Self, ParseTextError> {
        let mut words = Words::new(line);
        let mut plan = Self::new();
        while let Some(word) = words.read() {
            plan = and(plan, word).ok_or_else(|| {
                words.expected("a word of a plan, such as delay=50ms, cut=1h..70m or reset=5m")
            })?;
        }
        Ok(plan)
    }
}

/// The plan with what that word says.
fn and(plan: Plan, word: &str) -> Option<Plan> {
    if word == "datagrams" {
        return Some(plan.over_datagrams());
    }
    let (name, value) = word.split_once('=')?;
    match name {
        "seed" => return Some(plan.with_seed(Value::read(value)?)),
        "loss" => return Some(plan.with_loss(Value::read(value)?)),
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

fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::from_epoch(Value::read(text)?)
}

fn period(text: &str) -> Option<Range<Timestamp>> {
    let (start, end) = text.split_once("..")?;
    let period = instant(start)?..instant(end)?;
    (period.start <= period.end).then_some(period)
}

fn delays(text: &str) -> Option<core::ops::RangeInclusive<Duration>> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let delays = Value::read(least)?..=Value::read(most)?;
    (!delays.is_empty()).then_some(delays)
}

fn jump(who: Who, text: &str) -> Option<Happening> {
    if let Some((at, by)) = text.split_once('+') {
        return Some(Happening::Ahead(who, instant(at)?, Value::read(by)?));
    }
    let (at, by) = text.split_once('-')?;
    Some(Happening::Back(who, instant(at)?, Value::read(by)?))
}
