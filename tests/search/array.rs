//! The configurations: every pair of values of two fields, where any valid
//! configuration has it, is in one of them.

use std::collections::BTreeSet;
use std::time::Duration;

use nabiz::{Backoff, Config, ConfigBuilder, Evidence, Jitter, Ratio};

pub(crate) const fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks)
}

type Setter = fn(ConfigBuilder) -> ConfigBuilder;

/// A field's name, and its values: none, the smallest, the usual.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    values: &'static [(&'static str, Setter)],
    /// Some rule of `build` looks at it together with another field.
    ruled: bool,
}

fn policy(initial: u64, most: u64) -> Backoff {
    Backoff::new()
        .with_jitter(Jitter::None)
        .with_multiplier(Ratio::permille(2000))
        .with_initial(ticks(initial))
        .with_max(ticks(most))
}

/// In ticks of a nanosecond: just before is one tick before.
pub(crate) const FIELDS: [Field; 19] = [
    Field {
        name: "role",
        ruled: true,
        // A server's is put in place of the preset, see `build`.
        values: &[("client", |b| b), ("server", |b| b)],
    },
    Field {
        name: "backoff",
        ruled: true,
        values: &[
            ("none", |b| b.without_backoff()),
            ("1 once", |b| {
                b.with_backoff(policy(1, 1).with_max_attempts(1))
            }),
            ("1 to 4", |b| b.with_backoff(policy(1, 4))),
            ("1 to 2, 3 times", |b| {
                b.with_backoff(policy(1, 2).with_max_attempts(3))
            }),
        ],
    },
    Field {
        name: "interval",
        ruled: true,
        values: &[
            ("none", |b| b.without_interval()),
            ("1", |b| b.with_interval(ticks(1))),
            ("3", |b| b.with_interval(ticks(3))),
        ],
    },
    Field {
        name: "silence_timeout",
        ruled: true,
        values: &[
            ("none", |b| b.without_silence_timeout()),
            ("1", |b| b.with_silence_timeout(ticks(1))),
            ("5", |b| b.with_silence_timeout(ticks(5))),
        ],
    },
    Field {
        name: "answer_timeout",
        ruled: true,
        values: &[
            ("none", |b| b.without_answer_timeout()),
            ("1", |b| b.with_answer_timeout(ticks(1))),
            ("2", |b| b.with_answer_timeout(ticks(2))),
        ],
    },
    Field {
        name: "max_unanswered",
        ruled: true,
        values: &[
            ("none", |b| b.without_max_unanswered()),
            ("1", |b| b.with_max_unanswered(1)),
            ("2", |b| b.with_max_unanswered(2)),
        ],
    },
    Field {
        name: "write_timeout",
        ruled: true,
        values: &[
            ("none", |b| b.without_write_timeout()),
            ("1", |b| b.with_write_timeout(ticks(1))),
            ("3", |b| b.with_write_timeout(ticks(3))),
        ],
    },
    Field {
        name: "hello_timeout",
        ruled: true,
        values: &[
            ("none", |b| b.without_hello_timeout()),
            ("1", |b| b.with_hello_timeout(ticks(1))),
            ("2", |b| b.with_hello_timeout(ticks(2))),
        ],
    },
    Field {
        name: "connect_timeout",
        ruled: true,
        values: &[
            ("none", |b| b.without_connect_timeout()),
            ("1", |b| b.with_connect_timeout(ticks(1))),
            ("3", |b| b.with_connect_timeout(ticks(3))),
        ],
    },
    Field {
        name: "evidence",
        ruled: false,
        values: &[
            ("any bytes", |b| b.with_evidence(Evidence::AnyBytes)),
            ("heartbeats", |b| b.with_evidence(Evidence::Heartbeats)),
        ],
    },
    Field {
        name: "close_grace",
        ruled: false,
        values: &[
            ("1", |b| b.with_close_grace(ticks(1))),
            ("2", |b| b.with_close_grace(ticks(2))),
        ],
    },
    Field {
        name: "stall_tolerance",
        ruled: false,
        values: &[
            ("derived", |b| b.without_stall_tolerance()),
            ("1", |b| b.with_stall_tolerance(ticks(1))),
            ("2", |b| b.with_stall_tolerance(ticks(2))),
        ],
    },
    Field {
        name: "resume_grace",
        ruled: false,
        values: &[
            ("1", |b| b.with_resume_grace(ticks(1))),
            ("3", |b| b.with_resume_grace(ticks(3))),
        ],
    },
    Field {
        name: "probes",
        ruled: false,
        values: &[("1", |b| b.with_probes(1)), ("2", |b| b.with_probes(2))],
    },
    Field {
        name: "flood",
        ruled: false,
        values: &[
            ("none", |b| b.without_flood()),
            ("1 by 1", |b| b.with_flood(ticks(1), 1)),
            ("2 by 2", |b| b.with_flood(ticks(2), 2)),
        ],
    },
    Field {
        name: "max_age",
        ruled: false,
        values: &[
            ("none", |b| b.without_max_age()),
            ("1", |b| b.with_max_age(ticks(1))),
            ("7", |b| b.with_max_age(ticks(7))),
        ],
    },
    Field {
        name: "stable_after",
        ruled: false,
        values: &[
            ("1", |b| b.with_stable_after(ticks(1))),
            ("3", |b| b.with_stable_after(ticks(3))),
        ],
    },
    Field {
        name: "max_retry_after",
        ruled: false,
        values: &[
            ("1", |b| b.with_max_retry_after(ticks(1))),
            ("4", |b| b.with_max_retry_after(ticks(4))),
        ],
    },
    Field {
        name: "only_when_idle",
        ruled: false,
        values: &[
            ("yes", |b| b.with_only_when_idle(true)),
            ("no", |b| b.with_only_when_idle(false)),
        ],
    },
];

/// Which value each field has.
pub(crate) type Choice = [usize; FIELDS.len()];

/// Two fields, the first listed first, each with its value.
type Pair = (usize, usize, usize, usize);

pub(crate) fn build(choice: &Choice) -> Option<Config> {
    let preset = [Config::client(), Config::server()][choice[0]];
    let exact = preset
        .with_interval_jitter(Ratio::ZERO)
        .with_spread_first_beat(false);
    let set = |builder, (field, value): (&Field, &usize)| field.values[*value].1(builder);
    let builder = FIELDS.iter().zip(choice).fold(exact, set);
    builder.build().ok()
}

fn pairs(choice: &Choice) -> impl Iterator<Item = Pair> + '_ {
    let fields = 0..choice.len();
    fields.flat_map(move |a| (a + 1..choice.len()).map(move |b| (a, choice[a], b, choice[b])))
}

pub(crate) struct Array {
    pub(crate) choices: Vec<Choice>,
    pub(crate) pairs: usize,
    pub(crate) refused: usize,
}

/// All pairs that `build` accepts in some configuration, by trying all
/// configurations of those fields that a rule ties together.
fn accepted() -> (BTreeSet<Pair>, usize) {
    let mut accepted = BTreeSet::new();
    let mut choice = [0; FIELDS.len()];
    loop {
        if build(&choice).is_some() {
            accepted
                .extend(pairs(&choice).filter(|(a, _, b, _)| FIELDS[*a].ruled && FIELDS[*b].ruled));
        }
        // Counts up, over the fields that are tied together.
        let mut ruled = (0..FIELDS.len()).filter(|field| FIELDS[*field].ruled);
        let next = ruled.find(|field| {
            choice[*field] = (choice[*field] + 1) % FIELDS[*field].values.len();
            choice[*field] != 0
        });
        if next.is_none() {
            break;
        }
    }
    let mut all = 0;
    for (a, one) in FIELDS.iter().enumerate() {
        for (b, other) in FIELDS.iter().enumerate().skip(a + 1) {
            for x in 0..one.values.len() {
                for y in 0..other.values.len() {
                    all += 1;
                    if !(one.ruled && other.ruled) {
                        accepted.insert((a, x, b, y));
                    }
                }
            }
        }
    }
    let refused = all - accepted.len();
    (accepted, refused)
}

/// Greedy: of many configurations with a pair that none has yet, the one with
/// the most such pairs, until each pair is in one.
pub(crate) fn pairwise() -> Array {
    let (accepted, refused) = accepted();
    let mut missing = accepted.clone();
    let mut choices = Vec::new();
    let mut chance = Chance(1);
    while let Some(&(a, x, b, y)) = missing.first() {
        let mut best: Option<(usize, Choice)> = None;
        let mut tries = 0;
        while tries < 300 || best.is_none() {
            tries += 1;
            assert!(tries < 100_000, "no configuration with {:?}", (a, x, b, y));
            let mut choice = [0; FIELDS.len()];
            for (value, field) in choice.iter_mut().zip(&FIELDS) {
                *value = chance.below(field.values.len());
            }
            (choice[a], choice[b]) = (x, y);
            if build(&choice).is_none() {
                continue;
            }
            let news = pairs(&choice).filter(|pair| missing.contains(pair)).count();
            if best.is_none_or(|(most, _)| news > most) {
                best = Some((news, choice));
            }
        }
        let (_, choice) = best.unwrap();
        for pair in pairs(&choice) {
            missing.remove(&pair);
        }
        choices.push(choice);
    }
    Array {
        choices,
        pairs: accepted.len(),
        refused,
    }
}

/// Which pairs that some configuration has are in none of these.
pub(crate) fn uncovered(choices: &[Choice]) -> usize {
    let (mut accepted, _) = accepted();
    for choice in choices {
        assert!(build(choice).is_some());
        for pair in pairs(choice) {
            accepted.remove(&pair);
        }
    }
    accepted.len()
}

pub(crate) fn name(choice: &Choice) -> String {
    let told = FIELDS.iter().zip(choice).map(|(field, value)| {
        let short: String = field
            .name
            .split('_')
            .filter_map(|w| w.chars().next())
            .collect();
        format!("{short}:{}", field.values[*value].0)
    });
    told.collect::<Vec<_>>().join(" ")
}

/// A small generator (`xorshift64*`), so that each run is the same.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % most
    }
}
