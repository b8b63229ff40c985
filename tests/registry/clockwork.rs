//! The driver: when it wakes, and when it ends.

use core::task::Poll;
use core::time::Duration;

use nabiz::CloseReason;
use nabiz::runtime::{Clock, Registry};
use tokio::time::{Instant, advance, sleep, timeout};

use super::helpers::{RESOLUTION, close, due, quiet, roster};
use crate::common::{SEED, bare_server, millis, secs};

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_registry_and_all_leases_are_gone() {
    for registry_first in [true, false] {
        let (registry, driver) = roster(bare_server().with_silence_timeout(secs(10)));
        let (first, second) = (registry.register(), registry.register());
        let other = registry.clone();
        sleep(secs(1)).await;
        drop(first);
        if registry_first {
            drop((registry, other));
            sleep(secs(1)).await;
            assert!(!driver.is_finished());
            drop(second);
        } else {
            drop(second);
            drop(registry);
            sleep(secs(1)).await;
            assert!(!driver.is_finished());
            drop(other);
        }
        timeout(millis(1), driver).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_also_where_it_has_not_begun() {
    let config = bare_server().build().unwrap();
    let (registry, driver) = nabiz::tokio::Registry::new(config).unwrap();
    drop(registry.register());
    drop(registry);
    timeout(millis(1), driver.run()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_watches_over_leases_without_a_registry() {
    let start = Instant::now();
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let lease = registry.register();
    drop(registry);
    let silent = close(CloseReason::PeerSilent);
    assert_eq!(due(&lease, start, secs(10)).await, silent);
}

#[tokio::test(start_paused = true)]
async fn without_it_everyone_is_told_to_close() {
    let (registry, driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let lease = registry.register();
    let waits = registry.register();
    let waits = tokio::spawn(async move { waits.next().await });
    quiet(&lease, secs(1)).await;
    driver.abort();
    assert!(driver.await.is_err());
    let shutdown = close(CloseReason::Shutdown);
    assert_eq!(timeout(millis(1), waits).await.unwrap().unwrap(), shutdown);
    lease.received();
    assert_eq!(lease.poll(), Some(shutdown));
    assert_eq!(lease.poll(), Some(shutdown));
    let late = registry.register();
    assert_eq!(late.poll(), Some(shutdown));
    late.received();
    assert_eq!(late.poll(), Some(shutdown));
    registry.drain(secs(1));
    registry.resumed();
    drop((lease, late));
    assert_eq!(registry.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_it_left_behind_stands() {
    let (registry, driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let lease = registry.register();
    sleep(secs(11)).await;
    driver.abort();
    assert!(driver.await.is_err());
    assert_eq!(lease.poll(), Some(close(CloseReason::PeerSilent)));
}

#[tokio::test(start_paused = true)]
async fn it_wakes_for_what_is_due_earlier_than_it_thought() {
    let config = bare_server().with_silence_timeout(secs(3600));
    let (registry, _driver) = roster(config);
    let (first, second) = (registry.register(), registry.register());
    // In the middle of a nap.
    sleep(millis(10_500)).await;
    let start = Instant::now();
    first.set_silence_timeout(secs(12)).unwrap();
    let silent = close(CloseReason::PeerSilent);
    assert_eq!(due(&first, start, millis(1500)).await, silent);
    let start = Instant::now();
    second.set_silence_timeout(secs(5)).unwrap(); // which is past
    assert_eq!(due(&second, start, secs(0)).await, silent);
    sleep(secs(7)).await;
    // Nobody is left, and so nothing is due.
    let start = Instant::now();
    let third = registry.register();
    third.set_silence_timeout(secs(2)).unwrap();
    assert_eq!(due(&third, start, secs(2)).await, silent);
}

#[tokio::test(start_paused = true)]
async fn it_wakes_for_who_comes() {
    let config = bare_server().with_silence_timeout(secs(4));
    let (registry, _driver) = roster(config);
    sleep(secs(1003)).await;
    for _ in 0..3 {
        let start = Instant::now();
        let lease = registry.register();
        let silent = close(CloseReason::PeerSilent);
        assert_eq!(due(&lease, start, secs(4)).await, silent);
        drop(lease);
        sleep(millis(7654)).await;
    }
}

/// A runtime whose timer rings whenever it is looked at, and never by itself.
mod eager {
    use super::Duration;
    use core::cell::Cell;
    use core::task::{Context, Poll};
    use nabiz::runtime::{Runtime, Timer};

    #[derive(Debug)]
    pub struct Eager;

    #[derive(Debug)]
    pub struct Rings;

    thread_local! {
        pub static IS_RINGING: Cell<bool> = const { Cell::new(false) };
        pub static SETS: Cell<u32> = const { Cell::new(0) };
    }

    impl Runtime for Eager {
        type Timer = Rings;
    }

    impl Timer for Rings {
        fn after(_: Duration) -> Self {
            SETS.set(SETS.get() + 1);
            Self
        }

        fn reset(&mut self, _: Duration) {
            SETS.set(SETS.get() + 1);
        }

        fn poll_rung(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if IS_RINGING.take() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_trusts_the_clock_and_judges_nobody_before_its_timer_rang() {
    use core::future::Future;
    use core::pin::pin;
    use core::task::{Context, Waker};
    use eager::{Eager, IS_RINGING, SETS};

    type Driver = nabiz::runtime::Driver<Eager>;
    let config = bare_server()
        .with_silence_timeout(secs(15))
        .with_stall_tolerance(secs(60));
    let config = config.build().unwrap();
    let (registry, driver): (Registry<Driver>, Driver) =
        Registry::with(config, SEED, Clock::tokio(), RESOLUTION).unwrap();
    let lease = registry.register();
    let mut run = pin!(driver.run());
    let mut cx = Context::from_waker(Waker::noop());
    let mut poll = || {
        for _ in 0..5 {
            assert!(run.as_mut().poll(&mut cx).is_pending());
        }
    };
    poll();
    assert_eq!(SETS.get(), 1);
    for _ in 0..5 {
        // It rings early, and is set again, for a nap.
        IS_RINGING.set(true);
        poll();
        assert_eq!(registry.len(), 1);
        advance(secs(1)).await;
    }
    assert_eq!(SETS.replace(0), 6);
    advance(secs(11)).await;
    poll();
    assert_eq!(registry.len(), 1, "closed before the timer rang");
    // It rings for the nap, which is over since 14 s; then for this.
    IS_RINGING.set(true);
    poll();
    assert_eq!(registry.len(), 1, "closed for an earlier ring");
    IS_RINGING.set(true);
    poll();
    assert_eq!(registry.len(), 0);
    assert_eq!(lease.poll(), Some(close(CloseReason::PeerSilent)));
    assert_eq!(SETS.get(), 1);
    // That was for him, and not for who comes next.
    let next = registry.register();
    advance(secs(16)).await;
    poll();
    assert_eq!(next.poll(), None);
    assert_eq!(registry.len(), 1, "closed before the timer rang");
}

#[tokio::test(start_paused = true)]
async fn it_pauses_for_others() {
    let (registry, _driver) = roster(bare_server().with_silence_timeout(secs(10)));
    let leases: Vec<_> = (0..10_000).map(|_| registry.register()).collect();
    sleep(millis(9990)).await;
    let watched = registry.clone();
    let others = tokio::spawn(async move {
        let mut lens = Vec::new();
        // Takes turns with the driver, and does not leave it the rest.
        core::future::poll_fn(|cx| {
            lens.push(watched.len());
            if watched.is_empty() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        lens.dedup();
        lens
    });
    while !others.is_finished() {
        advance(millis(1)).await;
    }
    let lens = others.await.unwrap();
    assert!(lens.len() >= 9, "{lens:?}");
    drop(leases);
}
