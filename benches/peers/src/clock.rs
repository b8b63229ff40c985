//! Two clocks, and what reading them costs.

use std::sync::OnceLock;
use std::sync::atomic::{Ordering, fence};

use rustix::time::{ClockId, clock_gettime};

/// A clock's reading in nanoseconds.
pub type Clock = fn() -> u64;

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    secs * 1_000_000_000 + nanos
}

/// The time of day: cheap to read, but it counts what others ran meanwhile.
pub fn wall() -> u64 {
    read(ClockId::Monotonic)
}

/// What this thread ran: costs a system call.
pub fn cpu() -> u64 {
    read(ClockId::ThreadCPUTime)
}

/// What two readings with nothing between them differ by.
fn cost(clock: Clock) -> u64 {
    let mut costs: Vec<u64> = (0..10_001)
        .map(|_| {
            let start = clock();
            clock() - start
        })
        .collect();
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// How long `work` takes by a clock, less the cost of reading it. It is done
/// when its stores are: a processor has a hundred of them under way.
#[inline]
pub fn time_wall<T>(work: impl FnOnce() -> T) -> (u64, T) {
    static COST: OnceLock<u64> = OnceLock::new();
    let clock = || {
        fence(Ordering::SeqCst);
        wall()
    };
    let cost = *COST.get_or_init(|| cost(clock));
    let start = clock();
    let done = work();
    ((clock() - start).saturating_sub(cost), done)
}

/// What reading the clock of this thread costs.
fn cpu_cost() -> u64 {
    static COST: OnceLock<u64> = OnceLock::new();
    *COST.get_or_init(|| cost(cpu))
}

/// How long this thread runs for `work`, less the cost of reading the clock.
#[inline]
pub fn time_cpu<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let cost = cpu_cost();
    let start = cpu();
    let done = work();
    ((cpu() - start).saturating_sub(cost), done)
}

/// The same for each piece of work, as long as there is more.
pub fn time_cpu_each(mut work: impl FnMut() -> bool) -> impl Iterator<Item = u64> {
    let cost = cpu_cost();
    let mut start = Some(cpu());
    std::iter::from_fn(move || {
        let before = start.take()?;
        let goes_on = work();
        let now = cpu();
        start = goes_on.then_some(now);
        Some((now - before).saturating_sub(cost))
    })
}
