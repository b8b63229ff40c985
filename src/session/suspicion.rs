//! Late ticks convict nobody, once.
//!
//! After a suspend, a pause of the virtual machine or a blocked loop the
//! peer's bytes sit unread in the kernel. To close at once is the classic mass
//! disconnect; so the peer becomes *suspect*: probe, read, and judge from now.
//! Once a silence, though: a driver that merely ticks slowly would otherwise
//! never close anybody.

use super::link::{Link, Mark};
use crate::config::Config;
use crate::time::{Span, Timestamp};

impl Link {
    /// Starts every liveness clock afresh and asks for probes.
    pub(super) fn forgive(&mut self, now: Timestamp) {
        self.suspect = true;
        self.stalled = Some(now);
        self.thawed = Some(now);
        self.unanswered = 0;
        self.unanswered_since = None;
        if self.mark != Mark::Nothing {
            self.mark = Mark::Void;
        }
        // A heartbeat already in flight serves as the first probe, unless it
        // was answered before; and it gets its whole time to be flushed.
        self.probes_asked = u8::from(self.asked.is_some() && !self.answered_early);
        self.asked = self.asked.map(|_| now);
    }

    /// When the next probe is due: the first at once, the others spread over
    /// the time that the peer has.
    pub(super) fn probe_due(&self, config: &Config) -> Option<Timestamp> {
        if !self.suspect
            || config.interval.is_none()
            || self.asked.is_some()
            || self.probes_asked >= config.probes
        {
            return None;
        }
        self.stalled?.after(probe_wait(config, self.probes_asked))
    }
}

/// How long after the stall the next probe is due, when so many were asked.
pub(crate) fn probe_wait(config: &Config, asked: u8) -> Span {
    let limit = if config.expects_answers() {
        config.probe_limit()
    } else {
        config.silence_timeout.unwrap_or(config.resume_grace)
    };
    limit.scaled(u64::from(asked), u64::from(config.probes))
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::{at, config, link};

    #[test]
    fn a_stall_starts_the_clocks_afresh_and_asks_for_a_probe() {
        let mut link = link(0);
        link.forgive(at(50));
        assert_eq!(link.probe_due(&config()), Some(at(50)));
        let (limit, _) = link.verdict(&config(), None).unwrap();
        assert_eq!(limit, at(50 + 30));
    }

    #[test]
    fn probes_are_spread_over_the_time_that_the_peer_has() {
        let config = config().to_builder().with_probes(3).build().unwrap();
        let mut link = link(0);
        link.forgive(at(50));
        for due in [50, 60, 70] {
            assert_eq!(link.probe_due(&config), Some(at(due)));
            link.beat_asked(&config, at(due));
            link.beat_sent(link.gap, at(due));
        }
        assert_eq!(link.probe_due(&config), None);
    }

    #[test]
    fn a_heartbeat_in_flight_serves_unless_it_was_answered_already() {
        let config = config();
        let mut waits = link(0);
        waits.beat_asked(&config, at(10));
        let mut answered = waits;
        waits.forgive(at(50));
        assert_eq!(waits.probes_asked, 1);
        answered.answered(None, 1, at(11));
        answered.forgive(at(50));
        assert_eq!(answered.probes_asked, 0);
    }

    #[test]
    fn evidence_ends_suspicion() {
        let mut link = link(0);
        link.forgive(at(50));
        link.received(&config(), at(51));
        assert!(!link.suspect);
        assert_eq!(link.probe_due(&config()), None);
    }
}
