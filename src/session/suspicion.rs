//! Late ticks convict nobody, once.
//!
//! After a suspend, a pause of the virtual machine or a blocked loop the
//! peer's bytes sit unread in the kernel. To close at once is the classic mass
//! disconnect; so the peer becomes *suspect*: probe, read, and judge from now.
//! Once a silence, though: a driver that merely ticks slowly would otherwise
//! never close anybody.

use super::link::{Link, Mark};
use crate::config::Config;
use crate::time::Timestamp;

impl Link {
    /// Starts every liveness clock afresh and asks for probes.
    pub(super) fn forgive(&mut self, now: Timestamp) {
        self.suspect = true;
        self.stalled = Some(now);
        self.unanswered = 0;
        self.unanswered_since = None;
        if self.mark != Mark::Nothing {
            self.mark = Mark::Void;
        }
        // A heartbeat already in flight serves as the first probe, and gets
        // its whole time to be flushed.
        self.probes_asked = u8::from(self.asked.is_some());
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
        let limit = if config.expects_answers() {
            config.probe_limit()
        } else {
            config.silence_timeout.unwrap_or(config.resume_grace)
        };
        let wait = limit.scaled(u64::from(self.probes_asked), u64::from(config.probes));
        self.stalled?.after(wait)
    }
}
