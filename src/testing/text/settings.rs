//! Configurations: the fields in which they differ from the presets.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::value::Usual;
use super::{AT, ParseTextError, Shown, Value, Words};
use crate::backoff::Backoff;
use crate::config::{Config, ConfigBuilder, ConfigError, Role};

/// A configuration in the making.
#[derive(Clone, Copy, Debug)]
struct Draft {
    builder: ConfigBuilder,
    backoff: Option<Backoff>,
}

/// What is done with each field in turn.
trait Visitor {
    fn field<T: Value>(
        &mut self,
        name: &'static str,
        get: impl Fn(&Config) -> T,
        set: impl Fn(&mut Draft, T),
    );

    /// A field with a setter for it, and one that takes it away.
    fn maybe<T: Value>(
        &mut self,
        name: &'static str,
        get: impl Fn(&Config) -> Option<T>,
        with: impl Fn(ConfigBuilder, T) -> ConfigBuilder,
        without: impl Fn(ConfigBuilder) -> ConfigBuilder,
    ) {
        self.field(name, get, |draft, value| {
            draft.builder = match value {
                Some(value) => with(draft.builder, value),
                None => without(draft.builder),
            };
        });
    }

    fn always<T: Value>(
        &mut self,
        name: &'static str,
        get: impl Fn(&Config) -> T,
        with: impl Fn(ConfigBuilder, T) -> ConfigBuilder,
    ) {
        self.field(name, get, |draft, value| {
            draft.builder = with(draft.builder, value);
        });
    }

    fn policy<T: Value>(
        &mut self,
        name: &'static str,
        get: impl Fn(&Backoff) -> T,
        with: impl Fn(Backoff, T) -> Backoff,
    ) {
        let get = |config: &Config| get(&config.backoff().unwrap_or_default());
        self.field(name, get, |draft, value| {
            draft.backoff = Some(with(draft.backoff.unwrap_or_default(), value));
        });
    }
}

/// Every field, by the name of its setter.
#[rustfmt::skip]
fn visit(it: &mut impl Visitor) {
    use {Config as C, ConfigBuilder as B};
    it.maybe("interval", C::interval, B::with_interval, B::without_interval);
    it.always("interval_jitter", C::interval_jitter, B::with_interval_jitter);
    it.always("spread_first_beat", C::spread_first_beat, B::with_spread_first_beat);
    it.always("only_when_idle", C::only_when_idle, B::with_only_when_idle);
    it.maybe("silence_timeout", C::silence_timeout, B::with_silence_timeout, B::without_silence_timeout);
    it.always("evidence", C::evidence, B::with_evidence);
    it.maybe("answer_timeout", C::answer_timeout, B::with_answer_timeout, B::without_answer_timeout);
    it.maybe("max_unanswered", C::max_unanswered, B::with_max_unanswered, B::without_max_unanswered);
    it.maybe("write_timeout", C::write_timeout, B::with_write_timeout, B::without_write_timeout);
    it.maybe("hello_timeout", C::hello_timeout, B::with_hello_timeout, B::without_hello_timeout);
    it.maybe("connect_timeout", C::connect_timeout, B::with_connect_timeout, B::without_connect_timeout);
    it.always("close_grace", C::close_grace, B::with_close_grace);
    it.maybe("stall_tolerance", own_tolerance, B::with_stall_tolerance, B::without_stall_tolerance);
    it.always("resume_grace", C::resume_grace, B::with_resume_grace);
    it.always("probes", C::probes, B::with_probes);
    it.maybe("flood", C::flood, |b, (gap, strikes)| b.with_flood(gap, strikes), B::without_flood);
    it.maybe("max_age", C::max_age, B::with_max_age, B::without_max_age);
    it.always("max_age_jitter", C::max_age_jitter, B::with_max_age_jitter);
    it.always("stable_after", C::stable_after, B::with_stable_after);
    it.always("max_retry_after", C::max_retry_after, B::with_max_retry_after);
    it.field(
        "backoff",
        |config| config.backoff().map(|_| Usual),
        |draft, usual| draft.backoff = usual.map(|Usual| Backoff::new()),
    );
    it.policy("backoff.initial", Backoff::initial, Backoff::with_initial);
    it.policy("backoff.multiplier", Backoff::multiplier, Backoff::with_multiplier);
    it.policy("backoff.max", Backoff::max, Backoff::with_max);
    it.policy("backoff.jitter", Backoff::jitter, Backoff::with_jitter);
    it.policy("backoff.max_attempts", Backoff::max_attempts, |policy, most| match most {
        Some(most) => policy.with_max_attempts(most),
        None => policy.without_max_attempts(),
    });
}

/// The tolerance if it is set, and not derived.
fn own_tolerance(config: &Config) -> Option<Duration> {
    let derived = config.to_builder().without_stall_tolerance().build();
    (derived != Ok(*config)).then(|| config.stall_tolerance())
}

const fn preset(role: Role) -> ConfigBuilder {
    match role {
        Role::Client => Config::client(),
        Role::Server => Config::server(),
    }
}

/// The fields of a configuration that are not as in its role's preset, each
/// after a space.
pub(in crate::testing) struct Unusual<'a>(pub(in crate::testing) &'a Config);

impl fmt::Display for Unusual<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let preset = preset(self.0.role()).build().map_err(|_| fmt::Error)?;
        let mut printer = Printer {
            config: self.0,
            preset: &preset,
            f,
            result: Ok(()),
        };
        visit(&mut printer);
        printer.result
    }
}

struct Printer<'a, 'f> {
    config: &'a Config,
    preset: &'a Config,
    f: &'a mut fmt::Formatter<'f>,
    result: fmt::Result,
}

impl Visitor for Printer<'_, '_> {
    fn field<T: Value>(
        &mut self,
        name: &'static str,
        get: impl Fn(&Config) -> T,
        _: impl Fn(&mut Draft, T),
    ) {
        let value = get(self.config);
        if self.result.is_ok() && value != get(self.preset) {
            self.result = write!(self.f, " {name}={}", Shown(&value));
        }
    }
}

/// What stands before the first `at`: the configuration and the seed.
pub(in crate::testing) struct Settings<'a> {
    draft: Draft,
    seed: Option<u64>,
    /// The role or kind of the run; then each word that set something.
    words: Vec<Words<'a>>,
}

impl<'a> Settings<'a> {
    /// Reads up to the first `at`. What is no field of a configuration and no
    /// seed is for `other`, which tells whether it knows the word: its name and
    /// its value, if it has one.
    pub(in crate::testing) fn read(
        words: &mut Words<'a>,
        role: Role,
        others: &str,
        mut other: impl FnMut(&Words<'a>, &str, Option<&str>) -> Result<bool, ParseTextError>,
    ) -> Result<Self, ParseTextError> {
        let builder = preset(role);
        let backoff = builder.build().ok().and_then(|config| config.backoff());
        let mut settings = Self {
            draft: Draft { builder, backoff },
            seed: None,
            words: [words.clone()].into(),
        };
        loop {
            let word = words.need("a field such as interval=5s, seed=NUMBER, or at")?;
            if word == AT {
                break;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            let is_known = match value {
                Some(value) if name == "seed" => {
                    settings.seed = Some(words.value(value)?);
                    true
                }
                Some(value) => settings.set(words, name, value)?,
                None => false,
            };
            if !is_known && !other(words, name, value)? {
                return Err(words.expected(format_args!("seed, {others}at, or {}", names())));
            }
            settings.words.push(words.clone());
        }
        if settings.seed.is_none() {
            return Err(words.expected("seed=NUMBER before it"));
        }
        Ok(settings)
    }

    fn set(&mut self, words: &Words<'a>, name: &str, value: &str) -> Result<bool, ParseTextError> {
        let mut setter = Setter {
            words,
            name,
            value,
            draft: &mut self.draft,
            result: Ok(false),
        };
        visit(&mut setter);
        setter.result
    }

    pub(in crate::testing) fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    pub(in crate::testing) fn config(&self) -> Result<Config, ParseTextError> {
        let Draft { builder, backoff } = self.draft;
        let builder = match backoff {
            Some(backoff) => builder.with_backoff(backoff),
            None => builder.without_backoff(),
        };
        builder.build().map_err(|error| self.refused(error))
    }

    /// At the last word that set the field, or else at the first of all.
    pub(in crate::testing) fn refused(&self, error: ConfigError) -> ParseTextError {
        let sets = |words: &&Words<'a>| {
            let name = words.last.unwrap_or_default().split('=').next();
            let policy = name.and_then(|name| name.split('.').next());
            [name, policy].contains(&Some(error.field()))
        };
        let found = self.words.iter().rev().find(sets);
        match found.or(self.words.first()) {
            Some(words) => words.refused(error),
            None => ParseTextError::new(None, error),
        }
    }
}

struct Setter<'a, 'w> {
    words: &'a Words<'w>,
    name: &'a str,
    value: &'a str,
    draft: &'a mut Draft,
    /// Whether the field was found.
    result: Result<bool, ParseTextError>,
}

impl Visitor for Setter<'_, '_> {
    fn field<T: Value>(
        &mut self,
        name: &'static str,
        _: impl Fn(&Config) -> T,
        set: impl Fn(&mut Draft, T),
    ) {
        if name == self.name {
            self.result = self.words.value(self.value).map(|value| {
                set(self.draft, value);
                true
            });
        }
    }
}

/// The names of all fields, for who wrote another.
fn names() -> String {
    struct Names(String);

    impl Visitor for Names {
        fn field<T: Value>(
            &mut self,
            name: &'static str,
            _: impl Fn(&Config) -> T,
            _: impl Fn(&mut Draft, T),
        ) {
            if !self.0.is_empty() {
                self.0.push_str(", ");
            }
            self.0.push_str(name);
        }
    }

    let mut names = Names(String::new());
    visit(&mut names);
    names.0
}
