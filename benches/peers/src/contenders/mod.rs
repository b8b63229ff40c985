//! Every contender behind the same few verbs, each used as its own
//! documentation proposes.

mod delay_queue;
mod floor;
mod moka;
mod nexus_timeouts;
mod nexus_wheel;
mod paused;
mod priority;
mod reaper;
mod recency;
mod scan;
mod sleep;
mod sorted;
mod timer_queue;

use crate::roster::Roster;

/// What is done with each of them.
pub trait Visitor {
    fn visit<R: Roster>(&mut self);
}

/// The floor, the Reaper, then what people would pick.
pub fn visit_all(visitor: &mut impl Visitor) {
    visitor.visit::<floor::Floor4>();
    visitor.visit::<floor::Floor8>();
    visitor.visit::<floor::Checked>();
    visitor.visit::<reaper::Silent>();
    visitor.visit::<reaper::Beating>();
    visitor.visit::<delay_queue::DelayQueueRoster>();
    visitor.visit::<timer_queue::TimerQueueRoster>();
    visitor.visit::<nexus_wheel::NexusWheel>();
    visitor.visit::<nexus_timeouts::NexusTimeouts>();
    visitor.visit::<sleep::SleepRoster>();
    visitor.visit::<priority::PriorityRoster>();
    visitor.visit::<recency::RecencyRoster>();
    visitor.visit::<moka::MokaRoster>();
    visitor.visit::<sorted::SortedRoster>();
    visitor.visit::<scan::ScanRoster>();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::{LIMIT, Nanos, SECOND, Scope};
    use crate::world::{TICK, World};

    struct Check;

    impl Visitor for Check {
        fn visit<R: Roster>(&mut self) {
            if R::SCOPE == Scope::Everything {
                the_silent_half_expires::<R>();
            }
        }
    }

    /// Runs to `until` and says when each was closed.
    fn closings<R: Roster>(world: &mut World<R>, until: Nanos) -> Vec<(u32, Nanos)> {
        let mut closings = Vec::new();
        while world.nanos() < until {
            world.run_until(world.nanos() + TICK);
            let now = world.nanos();
            let closed = world.server.closed.drain(..).map(|id| (id, now));
            closings.extend(closed);
        }
        closings
    }

    fn the_silent_half_expires<R: Roster>() {
        let heard = 50 * SECOND;
        let mut world = World::<R>::new(1000);
        world.insert_all();
        assert!(closings(&mut world, heard).is_empty(), "{}", R::NAME);
        world.touch_each((0..1000).step_by(2));
        let closings = closings(&mut world, heard + LIMIT + R::RESOLUTION + SECOND);

        let mut times = vec![None; 1000];
        for (id, at) in closings {
            assert_eq!(times[id as usize].replace(at), None, "{}: twice", R::NAME);
        }
        for (id, at) in times.into_iter().enumerate() {
            let due = if id % 2 == 0 { heard + LIMIT } else { LIMIT };
            let range = due..=due + R::RESOLUTION + TICK;
            assert!(
                at.is_some_and(|at| range.contains(&at)),
                "{}: {id} at {at:?}",
                R::NAME
            );
        }
    }

    #[test]
    fn exactly_the_silent_half_expires_in_time() {
        visit_all(&mut Check);
    }

    struct Busy;

    impl Visitor for Busy {
        fn visit<R: Roster>(&mut self) {
            let mut world = World::<R>::new(3000);
            world.fill();
            for _ in 0..4 {
                world.cycle(|_, _| ());
            }
            world.touches();
            assert!(world.server.closed.is_empty(), "{}", R::NAME);
            world.remove_all();
            world.run_until(world.nanos() + 2 * LIMIT);
            assert!(world.server.closed.is_empty(), "{}", R::NAME);
        }
    }

    #[test]
    fn nobody_expires_who_is_heard_of_or_gone() {
        visit_all(&mut Busy);
    }
}
