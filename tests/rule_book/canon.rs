//! When two watched rosters are in the same state.
//!
//! All of a watched roster is written by `Debug`: the roster from within, the
//! list of its connections with the exact time of everything, and the sessions
//! beside it. Of that text are taken for the same
//!
//! - instants, which are told by their size (the clock starts at
//!   [`START`]): how far each is from now counts, and of those further away than
//!   any limit reaches only the order;
//! - the numbers of stalls, of which the order counts;
//! - totals, values and the generations of keys, which are left out: nothing
//!   that is drawn hangs on them here; and how many were looked at since the
//!   last pause, which so few do not come to.
//!
//! Everything else counts to the letter, so that what this does not know keeps
//! two states apart. Not in the text are the second roster, which is polled
//! too often, and how many duties there were at an instant (law 10).

use core::fmt::{self, Write};
use core::hash::Hasher;
use std::collections::hash_map::DefaultHasher;

use nabiz::testing::CheckedReaper;

/// No number but an instant is as large, and none that is never as small.
pub const START: u64 = 1_000_000_000_000_000_000;
const INSTANTS: core::ops::Range<u128> = 900_000_000_000_000_000..10_000_000_000_000_000_000;

/// What grows for ever and decides nothing: totals, and who it is.
const TOTALS: [&str; 8] = [
    "value",
    "stalls",
    "visited",
    "beats",
    "inserted",
    "removed",
    "closed",
    "heartbeats",
];
/// Numbers of stalls.
const ORDERS: [&str; 1] = ["heard_as"];

/// Names states.
#[derive(Debug, Default)]
pub struct Canon {
    /// Fields on which nothing depends under the configuration.
    idle: Vec<&'static str>,
    text: String,
    /// Where the roster from within ends, of which nothing is idle.
    inside: usize,
    instants: Vec<u128>,
    orders: Vec<u128>,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Text(usize, usize),
    Instant(u128),
    Order(u128),
}

/// Takes the text of a watched roster up to what does not belong to the state,
/// without the configurations: what of one changes, the list has too.
struct Sink<'a> {
    text: &'a mut String,
    braces: usize,
    skips: bool,
}

impl Write for Sink<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if self.skips {
            for byte in piece.bytes() {
                match byte {
                    b'{' => self.braces += 1,
                    b'}' => self.braces -= 1,
                    _ => continue,
                }
                self.skips = self.braces > 0;
            }
            return Ok(());
        }
        match piece {
            "Config" => self.skips = true,
            "stale" => return Err(fmt::Error),
            _ => self.text.push_str(piece),
        }
        Ok(())
    }
}

impl Canon {
    pub fn new(idle: &[&'static str]) -> Self {
        Self {
            idle: idle.to_vec(),
            ..Self::default()
        }
    }

    /// The name of a state, of which its driver knows `more`; instants further apart than `reach` nanoseconds are
    /// just far apart.
    pub fn name(&mut self, reaper: &CheckedReaper, more: [u64; 2], reach: u64) -> u128 {
        self.text.clear();
        let _ = write!(self.text, "{more:?}{:?}", reaper.reaper().state());
        self.inside = self.text.len();
        let mut sink = Sink {
            text: &mut self.text,
            braces: 0,
            skips: false,
        };
        // It fails at the end of what is wanted.
        let whole = write!(sink, "{reaper:?}");
        assert!(whole.is_err(), "the text of a watched roster has changed");
        self.read();
        self.hash(u128::from(more[0]), u128::from(reach))
    }

    /// Makes tokens of the text.
    fn read(&mut self) {
        self.tokens.clear();
        self.instants.clear();
        self.orders.clear();
        let text = self.text.as_bytes();
        let (mut from, mut place) = (0, 0);
        let mut field: &[u8] = b"";
        while let Some(byte) = text.get(place) {
            let start = place;
            if byte.is_ascii_alphabetic() || *byte == b'_' {
                let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                place += text[place..]
                    .iter()
                    .take_while(|byte| is_name(byte))
                    .count();
                if &text[start..place] != b"Some" {
                    field = &text[start..place];
                }
                continue;
            }
            if !byte.is_ascii_digit() {
                place += 1;
                continue;
            }
            let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
            place += text[place..]
                .iter()
                .take_while(|byte| is_part(byte))
                .count();
            let number = &self.text[start..place];
            let is_seconds = text.get(place) == Some(&b's');
            let is_time = is_seconds || text[place..].starts_with(b"ns");
            let is_idle =
                start >= self.inside && self.idle.iter().any(|name| name.as_bytes() == field);
            let is_field = |names: &[&str]| names.iter().any(|name| name.as_bytes() == field);
            let token = match number.split_once('.') {
                _ if is_idle => Some(Token::Text(start, start)),
                Some((whole, part)) if is_seconds => {
                    let scale = 10_u128.pow(9 - u32::try_from(part.len()).unwrap());
                    let nanos = whole.parse::<u128>().unwrap() * 1_000_000_000;
                    instant(nanos + part.parse::<u128>().unwrap() * scale)
                }
                // A key: its place.
                Some((whole, _)) if !is_time && !text[place..].starts_with(b"m") => {
                    Some(Token::Text(start, start + whole.len()))
                }
                Some(_) => None,
                None if is_seconds => instant(number.parse::<u128>().unwrap() * 1_000_000_000),
                None if is_field(&TOTALS) => Some(Token::Text(start, start)),
                None if is_field(&ORDERS) => Some(Token::Order(number.parse().unwrap())),
                None => instant(number.parse().unwrap()),
            };
            if let Some(token) = token {
                self.tokens.push(Token::Text(from, start));
                self.tokens.push(token);
                match token {
                    Token::Instant(at) => self.instants.push(at),
                    Token::Order(number) => self.orders.push(number),
                    Token::Text(..) => {}
                }
                from = place;
            }
        }
        self.tokens.push(Token::Text(from, text.len()));
        self.instants.sort_unstable();
        self.instants.dedup();
        self.orders.sort_unstable();
        self.orders.dedup();
    }

    fn hash(&self, now: u128, reach: u128) -> u128 {
        // How far each instant is from now; of those beyond the reach only the
        // order tells.
        let beyond = |at: u128| at.abs_diff(now) > reach;
        let passed = self.instants.partition_point(|at| *at < now);
        let old = self.instants[..passed].partition_point(|at| beyond(*at));
        let places = self.instants.iter().enumerate().map(|(index, at)| {
            if index < old {
                index as u128
            } else if *at <= now + reach {
                (1 << 64) + at - now.saturating_sub(reach)
            } else {
                (1 << 65) + index as u128 - self.instants.len() as u128
            }
        });
        let places: Vec<u128> = places.collect();
        let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
        hashers[1].write_u8(1);
        for hasher in &mut hashers {
            for token in &self.tokens {
                match token {
                    Token::Text(from, until) => {
                        hasher.write(&self.text.as_bytes()[*from..*until]);
                        hasher.write_u8(0xff);
                    }
                    Token::Instant(at) => {
                        let index = self.instants.binary_search(at).unwrap();
                        hasher.write_u128(places[index]);
                    }
                    Token::Order(number) => {
                        hasher.write_usize(self.orders.binary_search(number).unwrap());
                    }
                }
            }
        }
        u128::from(hashers[0].finish()) << 64 | u128::from(hashers[1].finish())
    }
}

fn instant(nanos: u128) -> Option<Token> {
    INSTANTS.contains(&nanos).then_some(Token::Instant(nanos))
}
