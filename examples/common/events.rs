//! Events as lines, as text or as JSON.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use nabiz::Timestamp;
use nabiz::blocking::{Clock, LinkEvent};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// One event: a name and its fields. Text and JSON are made from the same, so
/// that they cannot say different things.
#[derive(Clone, Debug)]
pub struct Line {
    name: &'static str,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    /// To the millisecond.
    Seconds(Duration),
    /// To the microsecond.
    RoundTrip(Duration),
    Word(String),
    /// Quoted.
    Text(String),
}

impl Line {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            fields: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: Option<Value>) -> Self {
        self.fields.extend(value.map(|value| (name, value)));
        self
    }

    #[must_use]
    pub fn number(self, name: &'static str, number: impl Into<u64>) -> Self {
        self.with(name, Some(Value::Number(number.into())))
    }

    /// Left out where there is none, as the two below.
    #[must_use]
    pub fn seconds(self, name: &'static str, span: impl Into<Option<Duration>>) -> Self {
        self.with(name, span.into().map(Value::Seconds))
    }

    #[must_use]
    pub fn round_trip(self, name: &'static str, span: Option<Duration>) -> Self {
        self.with(name, span.map(Value::RoundTrip))
    }

    #[must_use]
    pub fn error(self, error: Option<&io::Error>) -> Self {
        self.with("error", error.map(|error| Value::Text(error.to_string())))
    }

    /// A word without spaces.
    #[must_use]
    pub fn word(self, name: &'static str, word: impl fmt::Display) -> Self {
        self.with(name, Some(Value::Word(word.to_string())))
    }

    /// What a link tells its user, but for the bytes.
    pub fn of(event: &LinkEvent<'_>) -> Option<Self> {
        Some(match event {
            LinkEvent::Up { attempt, .. } => Self::new("up").number("attempt", *attempt),
            LinkEvent::HeartbeatSent { id, .. } => Self::new("beat").number("id", id.get()),
            LinkEvent::Stalled => Self::new("stall"),
            LinkEvent::Down {
                why,
                error,
                silence,
                retry_in,
                attempt,
                ..
            } => {
                let line = Self::new("down")
                    .word("reason", why)
                    .seconds("silent", *silence)
                    .error(error.as_ref());
                match retry_in {
                    Some(retry_in) => line.retry(*retry_in, *attempt),
                    None => line,
                }
            }
            LinkEvent::Retry {
                retry_in, attempt, ..
            } => Self::new("retry").retry(*retry_in, *attempt),
            LinkEvent::GaveUp(reason) => Self::new("gave_up").word("reason", reason),
            _ => return None,
        })
    }

    fn retry(self, retry_in: Duration, attempt: u32) -> Self {
        self.seconds("retry_in", retry_in)
            .number("attempt", attempt)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Seconds(span) => write!(f, "{:.3}", to_millis(*span)),
            Self::RoundTrip(span) => write!(f, "{}ms", micros(*span) / 1e3),
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_u64(*number),
            Self::Seconds(span) => to.serialize_f64(to_millis(*span)),
            Self::RoundTrip(span) => to.serialize_f64(micros(*span) / 1e6),
            Self::Word(text) | Self::Text(text) => to.serialize_str(text),
        }
    }
}

/// Seconds, to the millisecond.
fn to_millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e3).round() / 1e3
}

fn micros(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round()
}

/// A line and when it was written.
struct Stamped<'a> {
    after: Value,
    line: &'a Line,
}

impl Serialize for Stamped<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("t", &self.after)?;
        map.serialize_entry("event", self.line.name)?;
        for (name, value) in &self.line.fields {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Writes events to stderr, each in one write, so that threads do not mix
/// theirs.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    clock: Clock,
    start: Timestamp,
    json: bool,
    connection: Option<u64>,
}

impl Log {
    /// Counts from now, by the clock that the sessions live by.
    pub fn new(json: bool) -> Self {
        let clock = Clock::default();
        Self {
            clock,
            start: clock.now(),
            json,
            connection: None,
        }
    }

    /// The same for one connection of many: `conn` is its first field.
    #[must_use]
    pub fn of_connection(self, connection: u64) -> Self {
        Self {
            connection: Some(connection),
            ..self
        }
    }

    pub fn write(&self, mut line: Line) {
        if let Some(connection) = self.connection {
            line.fields.insert(0, ("conn", Value::Number(connection)));
        }
        let after = self.clock.now().saturating_duration_since(self.start);
        let written = self.render(after, &line);
        // Who closed stderr does not want to know.
        let _ = io::stderr().write_all(written.as_bytes());
    }

    fn render(&self, after: Duration, line: &Line) -> String {
        let after = Value::Seconds(after);
        if !self.json {
            return format!("{after} {line}\n");
        }
        // Strings and finite numbers always serialize.
        let json = serde_json::to_string(&Stamped { after, line }).unwrap_or_default();
        json + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(line: &Line) -> (String, String) {
        let after = Duration::from_micros(12_345_400);
        let [text, json] = [false, true].map(|json| Log::new(json).render(after, line));
        (text, json)
    }

    #[test]
    fn text_and_json() {
        let line = Line::new("down")
            .word("reason", "Disconnected")
            .seconds("silent", Duration::from_millis(5001))
            .error(Some(&io::Error::other("a \"quoted\"\nline")))
            .seconds("retry_in", Duration::from_micros(1_213_400))
            .number("attempt", 1_u32)
            .round_trip("none", None);
        let (text, json) = both(&line);
        assert_eq!(
            text,
            "12.345 down reason=Disconnected silent=5.001 \
             error=\"a \\\"quoted\\\"\\nline\" retry_in=1.213 attempt=1\n"
        );
        assert_eq!(
            json,
            "{\"t\":12.345,\"event\":\"down\",\"reason\":\"Disconnected\",\"silent\":5.001,\
             \"error\":\"a \\\"quoted\\\"\\nline\",\"retry_in\":1.213,\"attempt\":1}\n"
        );
    }

    #[test]
    fn round_trips() {
        let line =
            |micros| Line::new("answer").round_trip("rtt", Some(Duration::from_micros(micros)));
        assert_eq!(both(&line(800)).0, "12.345 answer rtt=0.8ms\n");
        assert_eq!(both(&line(12_043)).0, "12.345 answer rtt=12.043ms\n");
        assert!(both(&line(800)).1.ends_with("\"rtt\":0.0008}\n"));
    }
}
