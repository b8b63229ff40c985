//! A world of two sessions, made of any bytes.

use alloc::vec::Vec;
use core::time::Duration;

use super::log::Entry;
use super::plan::Plan;
use super::run::World;
use super::session::SessionEnd;
use crate::config::{Config, Evidence, Role};
use crate::session::Action;
use crate::testing::bytes::{Bytes, configured};
use crate::time::Timestamp;

/// How many instants a run has at most.
const STEPS: usize = 120;

/// A client and a server, and what happens to the wire between them, made of
/// any bytes: for fuzzers, and for property tests that shrink.
///
/// Both ends are under watch, and the wire's promise is checked too: when the
/// plan is quiet and nothing else is in the way, both ends are up and agree
/// [by the time](Plan::agreed_by) that they must. It runs for 120 instants at
/// most, which many plans outlast; of those nothing more is asked.
///
/// ```
/// use nabiz::testing::world::WorldScript;
///
/// let script = WorldScript::new(b"any bytes will do");
/// assert_eq!(script.run(), script.run());
/// ```
#[derive(Clone, Debug)]
pub struct WorldScript {
    client: Config,
    server: Config,
    answers: bool,
    plan: Plan,
}

impl WorldScript {
    /// The world that these bytes make.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        let flags = bytes.byte();
        let mut client = configured(&mut bytes, Some(Role::Client));
        let mut server = configured(&mut bytes, Some(Role::Server));
        if flags & 1 == 0 {
            (client, server) = matched(client, server);
        }
        let answers = flags & 2 == 0;
        Self {
            client,
            server,
            answers,
            plan: Plan::from_bytes(bytes.0),
        }
    }

    /// The client's configuration.
    #[must_use]
    pub const fn client(&self) -> Config {
        self.client
    }

    /// The server's configuration.
    #[must_use]
    pub const fn server(&self) -> Config {
        self.server
    }

    /// What happens.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// By when both ends must be up and agree, if they must.
    #[must_use]
    pub fn agreed_by(&self) -> Option<Timestamp> {
        let asked = |config: &Config| {
            config.answer_timeout().is_some() || config.max_unanswered().is_some()
        };
        if !self.answers && (asked(&self.client) || asked(&self.server)) {
            return None;
        }
        self.plan.agreed_by(&self.client, &self.server)
    }

    /// The world before anything happens in it.
    #[must_use]
    pub fn world(&self) -> World<SessionEnd, SessionEnd> {
        let (server, seed, answers) = (self.server, self.plan.seed, self.answers);
        let with = |end: SessionEnd| if answers { end.answering() } else { end };
        let client = SessionEnd::new(self.client, seed, Timestamp::EPOCH);
        let accept = move |link, now| {
            let end = SessionEnd::new(server, seed ^ (u64::from(link) << 32), now);
            if answers { end.answering() } else { end }
        };
        World::new(with(client), accept, self.plan.clone())
    }

    /// Runs it for a hundred instants or so, under watch; what happened, and what
    /// the client asked for.
    ///
    /// # Panics
    /// If a law is broken, or the two ends do not agree when they must.
    #[must_use]
    pub fn run(&self) -> (Vec<Entry>, Vec<(Timestamp, Action)>) {
        let mut world = self.world();
        let by = self.agreed_by();
        if world.run_steps(by.unwrap_or(Timestamp::MAX), STEPS) && by.is_some() {
            self.demand_agreement(&world);
            // And it lasts.
            for _ in 0..STEPS / 4 {
                world.run_steps(Timestamp::MAX, 1);
                self.demand_agreement(&world);
            }
        }
        (world.log().to_vec(), world.client().said().to_vec())
    }

    #[track_caller]
    fn demand_agreement(&self, world: &World<SessionEnd, SessionEnd>) {
        assert!(
            world.is_agreed(),
            "the ends do not agree at {:?}\n{}\n{self:?}",
            world.now(),
            self.plan
        );
    }
}

/// The two, so that their links last: most that is made of any bytes does not.
fn matched(client: Config, server: Config) -> (Config, Config) {
    let (short, long) = (Duration::from_secs(20), Duration::from_secs(600));
    let beats = |config: &Config| {
        let interval = config.interval().unwrap_or(Duration::from_secs(55));
        interval.clamp(short, long)
    };
    let (ours, theirs) = (beats(&client), beats(&server));
    let limit = ours.max(theirs).saturating_mul(2).saturating_add(short);
    let lasting = |config: &Config, interval| {
        let builder = config.to_builder();
        builder
            .with_interval(interval)
            .with_silence_timeout(limit)
            .with_evidence(Evidence::AnyBytes)
            .without_flood()
            .without_max_age()
    };
    let policy = client.backoff().unwrap_or_default();
    let dial = client.connect_timeout().unwrap_or_default();
    let client = lasting(&client, ours)
        .with_backoff(policy.without_max_attempts())
        .with_connect_timeout(dial.clamp(short, long))
        .build();
    let server = lasting(&server, theirs).build();
    // A field that does not go with these: then the presets, which no bytes
    // make.
    match (client, server) {
        (Ok(client), Ok(server)) => (client, server),
        _ => (
            configured(&mut Bytes(&[]), Some(Role::Client)),
            configured(&mut Bytes(&[]), Some(Role::Server)),
        ),
    }
}
