//! All that decides what a roster will do, for searches that merge states.

use core::fmt;

use super::Reaper;
use super::amnesty::Amnesty;
use crate::time::{Span, Timestamp};

impl<T> Reaper<T> {
    /// A view of all that this roster will ever do depends on, to be written by
    /// `Debug`: for searches that merge states.
    ///
    /// Instants are nanoseconds from the epoch, those told in ticks the end of
    /// their tick. Left out are what the connections were inserted with, the
    /// generations of their keys, and the counters, on which only draws and
    /// stale keys depend. So two rosters of one configuration without jitters,
    /// whose views differ by one shift of all instants by whole ticks, will say
    /// the same, that much later; but for the `retry_after`s of a drain, which
    /// are drawn; in its first ticks a roster may also ask to be polled sooner.
    ///
    /// ```
    /// use nabiz::{Config, Reaper, Timestamp};
    ///
    /// let now = Timestamp::EPOCH;
    /// let mut reaper = Reaper::new(Config::server().build()?, 42, now)?;
    /// let empty = format!("{:?}", reaper.state());
    /// reaper.insert("alice", now);
    /// assert_ne!(format!("{:?}", reaper.state()), empty);
    /// # Ok::<(), nabiz::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn state(&self) -> impl fmt::Debug + '_ {
        State(self)
    }
}

struct State<'a, T>(&'a Reaper<T>);

impl<T> fmt::Debug for State<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reaper = self.0;
        let end = |tick: u64| reaper.ticks.end(tick);
        let now = reaper.now.as_nanos();
        // How far into its tick `now` is tells where all ticks lie.
        let phase = now.saturating_sub(reaper.ticks.start(reaper.ticks.at(reaper.now)));
        f.debug_struct("Reaper")
            .field("now", &now)
            .field("phase", &phase)
            .field("heard", &end(reaper.tick()))
            .field("plain", &reaper.plain.as_nanos())
            .field("next", &reaper.next)
            .field("late", &reaper.late.as_nanos())
            .field("done", &reaper.done.as_nanos())
            .field("busy", &reaper.busy.map(Timestamp::as_nanos))
            .field("tolerance", &reaper.tolerance.nanos())
            .field("visit", &reaper.visit)
            .field("visited", &reaper.visited)
            .field("dues", &reaper.dues.groups)
            .finish()?;
        for amnesty in [reaper.amnesties.older, reaper.amnesties.younger] {
            let told = amnesty.map(|amnesty: Amnesty| {
                let Amnesty {
                    at,
                    tick,
                    probes,
                    cursor,
                } = amnesty;
                (at.as_nanos(), end(tick), probes, cursor)
            });
            write!(f, "{told:?}")?;
        }
        let round = reaper.round.map(|round| (round.next, round.at));
        let drain = reaper.drain.map(|drain| {
            let (end, next) = (drain.end.as_nanos(), drain.next.as_nanos());
            (drain.window.nanos(), end, next, drain.cursor)
        });
        write!(f, "{round:?}{drain:?}")?;
        // A roster that has the column is not one that has not, yet.
        write!(f, "{}", reaper.silences.len())?;
        for index in 0..reaper.roster.places() {
            let Some(slot) = reaper.roster.live_slot(index) else {
                // Who was there last may make the group look due, too soon.
                if let Some(flush) = reaper.flushes.get(index).filter(|last| last.number() > 0) {
                    write!(f, "[{index} {}]", end(flush.tick(reaper.tick())))?;
                }
                continue;
            };
            let standing = reaper.amnesties.standing(slot.tick());
            let flush = reaper.flushes.get(index).map(|flush| {
                let since = end(flush.tick(reaper.tick()));
                (since, flush.is_in_flight(), flush.is_put_off())
            });
            let nanos = |at: Option<Timestamp>| at.map(Timestamp::as_nanos);
            let bucket = reaper.buckets.get(index).map(|full| nanos(*full));
            let retirement = reaper.retirements.get(index).map(|at| nanos(*at));
            let silence = reaper.silences.get(index);
            let silence = silence.map(|own| own.map(Span::nanos));
            write!(
                f,
                "[{index} {} {} {} {:?} {flush:?} {bucket:?} {retirement:?} {silence:?}]",
                end(slot.tick()),
                slot.is_heard(),
                standing.is_suspect,
                nanos(standing.since),
            )?;
        }
        Ok(())
    }
}
