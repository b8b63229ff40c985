//! Whether two ends can live with each other.

use super::{Config, End, Evidence, Incompatible};

impl Config {
    /// Checks that two ends can live with each other: each limit at least
    /// 1.5 × the interval at which the other end's beats come, in both
    /// directions.
    ///
    /// Without that margin the first delayed packet loses the link. The margin
    /// is MQTT's, whose server waits [one and a half times the keep
    /// alive](https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/os/mqtt-v3.1.1-os.html#_Toc385349238).
    /// The answers that an end expects to its own beats count like the other
    /// end's beats.
    ///
    /// # Errors
    /// The first pair of fields that does not fit.
    ///
    /// ```
    /// use nabiz::Config;
    ///
    /// let (client, server) = (Config::client().build()?, Config::server().build()?);
    /// assert_eq!(client.compatible_with(&server), Ok(()));
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    pub fn compatible_with(&self, peer: &Self) -> Result<(), Incompatible> {
        self.bears(peer, End::Ours)?;
        peer.bears(self, End::Peers)
    }

    /// Whether our limits leave a margin over what `other` sends.
    fn bears(&self, other: &Self, end: End) -> Result<(), Incompatible> {
        if self.evidence == Evidence::Heartbeats
            && self.silence_timeout.is_some()
            && other.interval.is_some()
            && other.only_when_idle
            && !self.expects_answers()
        {
            return Err(Incompatible::Suppressed { end });
        }
        let answered = self.interval.filter(|_| self.expects_answers());
        let beats = match (other.interval, answered) {
            (Some(beats), Some(answers)) => Some(beats.min(answers)),
            (beats, answers) => beats.or(answers),
        };
        for (field, limit) in [
            ("silence_timeout", self.silence_timeout),
            ("hello_timeout", self.hello_timeout),
        ] {
            match (limit, beats) {
                (Some(limit), Some(beats)) if limit < beats.scaled(3, 2) => {
                    return Err(Incompatible::NoMargin {
                        end,
                        field,
                        limit: limit.duration(),
                        interval: beats.duration(),
                    });
                }
                (Some(_), None) => return Err(Incompatible::NoBeats { end, field }),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// The classic page's own pair, 55 s against 55 s, has no margin (see the
    /// Workerman documentation on heartbeats,
    /// <https://manual.workerman.net/doc/en/faq/heartbeat.html>).
    #[test]
    fn pairs_without_margin_are_refused_in_either_direction() {
        let client = Config::client().build().unwrap();
        let server = Config::server().build().unwrap();
        assert_eq!(client.compatible_with(&server), Ok(()));

        let hasty = Config::server().with_silence_timeout(secs(55));
        let hasty = hasty.build().unwrap();
        let found = |a: Config, b: Config| match a.compatible_with(&b) {
            Err(Incompatible::NoMargin { end, field, .. }) => (end, field),
            other => panic!("{other:?}"),
        };
        assert_eq!(found(client, hasty), (End::Peers, "silence_timeout"));
        assert_eq!(found(hasty, client), (End::Ours, "silence_timeout"));

        let bound = |limit| {
            Config::server()
                .with_silence_timeout(limit)
                .build()
                .unwrap()
        };
        let half = Duration::from_millis(82_500);
        assert_eq!(client.compatible_with(&bound(half)), Ok(()));
        let less = half - Duration::from_nanos(1);
        assert_eq!(found(client, bound(less)), (End::Peers, "silence_timeout"));

        let greeted = Config::server().with_hello_timeout(secs(10));
        let greeted = greeted.build().unwrap();
        assert_eq!(found(client, greeted), (End::Peers, "hello_timeout"));
    }

    #[test]
    fn a_peer_that_never_beats_must_answer() {
        let mute = Config::server().without_interval().build().unwrap();
        let client = Config::client();
        assert_eq!(
            client.build().unwrap().compatible_with(&mute),
            Err(Incompatible::NoBeats {
                end: End::Ours,
                field: "silence_timeout"
            })
        );
        let asking = client.with_answer_timeout(secs(10)).build().unwrap();
        assert_eq!(asking.compatible_with(&mute), Ok(()));
    }

    #[test]
    fn answers_count_like_beats() {
        let asking = Config::client()
            .with_interval(secs(10))
            .with_answer_timeout(secs(5))
            .with_silence_timeout(secs(30));
        let server = Config::server().build().unwrap();
        assert_eq!(asking.build().unwrap().compatible_with(&server), Ok(()));
    }

    #[test]
    fn evidence_that_other_traffic_suppresses_is_refused() {
        let client = Config::client();
        let strict = Config::server().with_evidence(Evidence::Heartbeats);
        let strict = strict.build().unwrap();
        assert_eq!(
            client.build().unwrap().compatible_with(&strict),
            Err(Incompatible::Suppressed { end: End::Peers })
        );
        let steady = client.with_only_when_idle(false).build().unwrap();
        assert_eq!(steady.compatible_with(&strict), Ok(()));
    }
}
