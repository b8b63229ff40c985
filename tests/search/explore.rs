//! Breadth first, from a session that was just made to all that it can become.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use nabiz::testing::{Checked, CheckedFingerprint};
use nabiz::{Action, EndReason, HeartbeatId, Phase, Timestamp};

use super::alike::{Alike, alike};
use super::calls::{Call, Setting};
use super::peers;

/// Of each so many states one is kept, to be compared with those that are
/// taken for the same.
const KEPT: u128 = 2;
/// And so many at most.
const MOST_KEPT: usize = 20_000;
/// A search that finds more states than this has none to stop at.
const TOO_MANY: usize = 4_000_000;
/// Of those that come to it, the last that it is compared with.
const LAST_COMPARED: u32 = 512;
/// How many of the kept are left to a silent peer at all periods.
const SAMPLES: u32 = 30;
/// Abort, Reconnect, Connect.
const MOST_AT_ONCE: usize = 3;

#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) transitions: u64,
    pub(crate) depth: u32,
    /// Histories that were compared with another of the same fingerprint, and
    /// how many of those ended at a different draw.
    pub(crate) compared: u64,
    pub(crate) drawn: u64,
    /// Runs against a silent peer, polled at a period.
    pub(crate) periods: u64,
    sampled: u32,
    pub(crate) actions: Vec<Action>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) ends: Vec<EndReason>,
    pub(crate) suspect: bool,
    pub(crate) stalls: bool,
}

impl Found {
    fn note(&mut self, session: &Checked, now: Timestamp) {
        let status = session.session().status(now);
        note(&mut self.phases, status.phase);
        self.suspect |= status.suspect;
        self.stalls |= status.stalls > 0;
    }
}

pub(crate) fn note<T: PartialEq>(seen: &mut Vec<T>, item: T) {
    if !seen.contains(&item) {
        seen.push(item);
    }
}

/// Without what counts up.
pub(crate) fn plain(action: Action) -> Action {
    match action {
        Action::Connect { .. } => Action::Connect { attempt: 0 },
        Action::SendHeartbeat { .. } => Action::SendHeartbeat {
            id: HeartbeatId::from_bytes([0; 4]),
        },
        Action::Reconnect { .. } => Action::Reconnect {
            after: core::time::Duration::ZERO,
            attempt: 0,
        },
        other => other,
    }
}

struct Search<'a> {
    setting: &'a Setting,
    calls: Vec<Call>,
    seen: HashSet<u128>,
    /// How each state was first come to, in the order of `next`.
    steps: Vec<Step>,
    kept: HashMap<u128, (Checked, u32)>,
    next: Vec<(usize, Checked)>,
    found: Found,
    wait: u64,
    /// What is being tried.
    trying: Step,
}

/// From one state to another; the first is its own origin.
#[derive(Clone, Copy, Default)]
struct Step {
    from: usize,
    call: usize,
    at: u64,
}

/// Looks at all states; more than [`TOO_MANY`] is a failure.
pub(crate) fn explore(setting: &Setting) -> Found {
    let mut search = Search {
        setting,
        calls: setting.calls(),
        seen: HashSet::new(),
        steps: Vec::new(),
        kept: HashMap::new(),
        next: Vec::new(),
        found: Found::default(),
        wait: peers::longest_wait(&setting.config),
        trying: Step::default(),
    };
    let result = catch_unwind(AssertUnwindSafe(|| search.run()));
    if let Err(panic) = result {
        search.report();
        resume_unwind(panic);
    }
    search.found.states = search.seen.len();
    search.found
}

impl Search<'_> {
    fn run(&mut self) {
        self.arrive(self.setting.start());
        let mut frontier = std::mem::take(&mut self.next);
        while !frontier.is_empty() {
            self.found.depth += 1;
            for (index, session) in frontier {
                self.expand(index, &session);
            }
            frontier = std::mem::take(&mut self.next);
        }
    }

    fn expand(&mut self, from: usize, session: &Checked) {
        let now = session.session().now();
        let instants = self.setting.instants(session);
        for index in 0..self.calls.len() {
            let call = self.calls[index];
            for at in &instants {
                self.trying = Step {
                    from,
                    call: index,
                    at: at.as_nanos(),
                };
                let mut after = session.clone();
                let action = call.make(&mut after, *at);
                self.found.transitions += 1;
                if let Some(action) = action {
                    note(&mut self.found.actions, plain(action));
                }
                // The way a link ended is not in the fingerprint.
                if let Some(end) = after.session().status(*at).last_end {
                    note(&mut self.found.ends, end);
                }
                if *at == now {
                    self.backwards(session, call, &after, action);
                }
                self.arrive(after);
            }
        }
    }

    /// A clock that goes backwards is one that stands.
    fn backwards(&mut self, session: &Checked, call: Call, same: &Checked, action: Option<Action>) {
        let now = session.session().now().as_nanos();
        let earlier = Timestamp::from_nanos(now - self.setting.tick).unwrap();
        let mut after = session.clone();
        self.found.transitions += 1;
        assert_eq!(call.make(&mut after, earlier), action, "backwards {call:?}");
        assert!(
            self.of(&after) == self.of(same),
            "{call:?} backwards: {after:?}"
        );
    }

    fn of(&self, session: &Checked) -> CheckedFingerprint {
        session.fingerprint(self.setting.other(session.session()))
    }

    fn arrive(&mut self, mut session: Checked) {
        let fingerprint = self.of(&session);
        // The state of the checker is that of the session, or one is wrong: so
        // what is merged by the one is merged by the other.
        assert!(
            fingerprint.agrees(),
            "the account differs: {fingerprint:#?}\n{session:#?}"
        );
        let now = session.session().now();
        // How far it is to the end of time is in no fingerprint.
        let ends = self.setting.left.is_some();
        let digest = digest(&fingerprint, ends.then_some(now));
        if !self.seen.insert(digest) {
            self.compare(digest, &session);
            return;
        }
        assert!(self.seen.len() <= TOO_MANY, "no end of states");
        self.steps.push(self.trying);
        session.forget();
        self.found.note(&session, now);
        if !ends {
            peers::comes_back(self.setting, session.session(), self.wait);
        }
        // The one thing that the checker counts and the fingerprint leaves out.
        let mut polled = session.clone();
        let at = polled.deadline().map_or(now, |due| due.max(now));
        let said = std::iter::from_fn(|| polled.poll(at)).take(MOST_AT_ONCE + 1);
        assert!(said.count() <= MOST_AT_ONCE, "{session:#?}");
        if !ends && digest % KEPT == 0 && self.kept.len() < MOST_KEPT {
            peers::stays(self.setting, session.session());
            if self.found.sampled < SAMPLES && session.session().phase() == Phase::Open {
                self.found.sampled += 1;
                self.found.periods += peers::ends_at_any_period(self.setting, &session);
            }
            self.kept.insert(digest, (session.clone(), 0));
        }
        self.next.push((self.steps.len() - 1, session));
    }

    /// The calls that led to the failure, from the start.
    fn report(&self) {
        let mut steps = vec![self.trying];
        while let Some(before) = steps.last().filter(|step| step.at > 0) {
            steps.push(self.steps[before.from]);
        }
        let calls = steps.into_iter().rev().filter(|step| step.at > 0);
        let mut session = self.setting.start();
        let made = catch_unwind(AssertUnwindSafe(|| {
            for step in calls {
                let at = Timestamp::from_nanos(step.at).unwrap();
                let _ = self.calls[step.call].make(&mut session, at);
            }
        }));
        // A broken law tells its replay.
        if made.is_ok() {
            eprintln!("replay: {}", session.replay());
        }
    }

    fn compare(&mut self, digest: u128, session: &Checked) {
        if digest % KEPT != 0 {
            return;
        }
        let Some((first, arrived)) = self.kept.get_mut(&digest) else {
            return;
        };
        // Some that came soon, some late: their histories differ the most, and
        // those in a row the least.
        *arrived += 1;
        if arrived.is_power_of_two() && *arrived <= LAST_COMPARED {
            let seed = self.found.compared + 1;
            self.found.compared += 1;
            if alike(self.setting, first, session, seed) == Alike::DrawDiffers {
                self.found.drawn += 1;
            }
        }
    }
}

/// 128 bits, of which two fingerprints share all by accident once in far more
/// states than any search sees.
fn digest(fingerprint: &CheckedFingerprint, now: Option<Timestamp>) -> u128 {
    let mut lanes = Lanes(0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03);
    (fingerprint, now).hash(&mut lanes);
    (u128::from(mix(lanes.0)) << 64) | u128::from(mix(lanes.1))
}

struct Lanes(u64, u64);

const fn mix(value: u64) -> u64 {
    let z = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Lanes {
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x9fb2_1c65_1e98_df25)
            .rotate_left(29);
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
}

impl Hasher for Lanes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.word(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.word(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.word(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.word(word);
    }

    fn write_isize(&mut self, word: isize) {
        self.word(word as u64);
    }
}
