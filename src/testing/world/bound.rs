//! By when two ends must be up and agree.

use core::time::Duration;

use super::plan::{Happening, Plan, Side};
use super::wire::LAST_RETRY;
use crate::backoff::Jitter;
use crate::config::{Config, Evidence};
use crate::time::Timestamp;

impl Plan {
    /// The instant by which two sessions of these configurations are up and
    /// agree, whatever happened before, and stay so; `None` where nothing
    /// promises it.
    ///
    /// With Q the instant from which the plan [is quiet](Self::quiet_from):
    ///
    /// Q + max(dial + verdict + wait, server's verdict) + retry + 4 × delay
    ///
    /// - dial: the client's `connect_timeout`, of a dial that goes nowhere;
    /// - verdict: the longest way to it on a link that is dead, afresh after a
    ///   stall: the largest of `silence_timeout`, `answer_timeout` and
    ///   `resume_grace`, and the server's on a link that the client has left;
    /// - wait: the longest delay of the client's backoff;
    /// - retry: what a stream waits before it tries again, 120 s at most, and
    ///   no more than 200 ms longer than it has tried in vain;
    /// - delay: the longest way of a packet. The dial and its answer, the word
    ///   of a close, and what was under way.
    ///
    /// Nothing promises it where packets are lost; where an end's clock runs
    /// beyond half of the range; where a client does not dial for ever
    /// (no backoff, `max_attempts`) or may wait for ever (no
    /// `connect_timeout`, no `silence_timeout` at either end); where links end
    /// though all is well (`max_age`, a flood limit); where the two are not
    /// [compatible](Config::compatible_with), or their margin is less than two
    /// delays. The peer is taken to answer each heartbeat at once, if answers
    /// are expected.
    ///
    /// ```
    /// use core::time::Duration;
    /// use nabiz::testing::world::Plan;
    /// use nabiz::{Config, Timestamp};
    ///
    /// let plan: Plan = "cut=1h..70m".parse()?;
    /// let (client, server) = (Config::client().build()?, Config::server().build()?);
    /// // 70 minutes, a dial of 20 s, a silence of 120 s, a wait of 120 s, a
    /// // stream's retry of 120 s, and four delays of 50 ms.
    /// let bound = Duration::from_secs(4200 + 20 + 120 + 120 + 120) + Duration::from_millis(200);
    /// assert_eq!(plan.agreed_by(&client, &server), Timestamp::from_epoch(bound));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    #[must_use]
    pub fn agreed_by(&self, client: &Config, server: &Config) -> Option<Timestamp> {
        let quiet = self.quiet_from()?;
        let [ours, theirs] = [Side::Client, Side::Server].map(|side| self.delay(side).most);
        let round = ours.saturating_add(theirs);
        let lasting = client.compatible_with(server).is_ok()
            && lasts(client, server, round)
            && lasts(server, client, round);
        let policy = client.backoff()?;
        let dial = client.connect_timeout()?;
        if !lasting || dial <= round || policy.max_attempts().is_some() {
            return None;
        }
        let mut wait = policy.max().max(policy.initial());
        if let Jitter::Proportional(p) = policy.jitter() {
            let more = wait.as_nanos() * u128::from(p.as_permille()) / 1000;
            wait = wait.saturating_add(Duration::from_nanos(u64::try_from(more).ok()?));
        }
        let retry = if self.datagrams {
            Duration::ZERO
        } else {
            let tried = quiet
                .since_epoch()
                .saturating_add(Duration::from_millis(200));
            tried.min(LAST_RETRY)
        };
        let back = dial.checked_add(verdict(client)?)?.checked_add(wait)?;
        let after = back
            .max(verdict(server)?)
            .checked_add(retry)?
            .checked_add(round.checked_mul(2)?)?;
        let by = quiet.checked_add(after)?;
        let ahead = self
            .happenings
            .iter()
            .filter_map(|happening| match happening {
                Happening::Ahead(_, _, by) => Some(*by),
                _ => None,
            });
        let latest = ahead.fold(by.since_epoch(), Duration::saturating_add);
        (latest.as_nanos() < u128::from(u64::MAX / 2)).then_some(by)
    }
}

/// The longest way to a verdict on a peer that is gone.
fn verdict(config: &Config) -> Option<Duration> {
    let silence = config.silence_timeout()?;
    let answer = config.answer_timeout().unwrap_or_default();
    Some(silence.max(answer).max(config.resume_grace()))
}

/// Whether a link on which all is well lasts, for this end.
fn lasts(config: &Config, peer: &Config, round: Duration) -> bool {
    let bears = |limit: Option<Duration>, beats: Option<Duration>| match (limit, beats) {
        (None, _) => true,
        (Some(limit), Some(beats)) => limit > beats.saturating_add(round),
        (Some(_), None) => false,
    };
    let answers = config.answer_timeout().is_some() || config.max_unanswered().is_some();
    let beats = match (peer.interval(), config.interval().filter(|_| answers)) {
        (Some(theirs), Some(ours)) => Some(theirs.min(ours)),
        (theirs, ours) => theirs.or(ours),
    };
    // With a count alone, an answer must come within the shortest interval.
    let least = config.interval().map(|interval| {
        let jitter = u128::from(1000_u32.saturating_sub(config.interval_jitter().as_permille()));
        interval.as_nanos() * jitter / 1000
    });
    let counts =
        config.max_unanswered().is_none() || least.is_none_or(|least| least > round.as_nanos());
    config.flood().is_none()
        && config.max_age().is_none()
        && config.evidence() == Evidence::AnyBytes
        && counts
        && config.answer_timeout().is_none_or(|limit| limit > round)
        && bears(config.silence_timeout(), beats)
        && bears(config.hello_timeout(), beats)
}
