//! What the tests of the tokio adapter share.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::io::{self, ErrorKind};

use nabiz::tokio::{Clock, Link, LinkEvent};
use nabiz::{ConfigBuilder, EndReason, GiveUpReason, HeartbeatId};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::common::{SEED, secs};

/// How a future is awaited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// As anybody would.
    Whole,
    /// Polled once and dropped, and made anew when it would have been woken.
    Pieces,
    /// The same, and polled before each time by somebody who then loses
    /// interest.
    Restless,
}

pub const HOWS: [How; 3] = [How::Whole, How::Pieces, How::Restless];

/// Awaits what `make` makes.
pub async fn awaited<C>(how: How, mut make: impl AsyncFnMut() -> C) -> C {
    if how == How::Whole {
        return make().await;
    }
    poll_fn(|cx| {
        if how == How::Restless {
            let mut other = Context::from_waker(Waker::noop());
            let ready = pin!(make()).poll(&mut other);
            if ready.is_ready() {
                return ready;
            }
        }
        pin!(make()).poll(cx)
    })
    .await
}

/// What a test compares of an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Up(u32),
    Data(Vec<u8>),
    Beat(u32),
    Stalled,
    Down {
        why: EndReason,
        error: Option<ErrorKind>,
        silence: Option<Duration>,
        retry_in: Option<Duration>,
        attempt: u32,
    },
    Retry(Duration, u32),
    GaveUp(GiveUpReason),
}

pub fn seen(event: LinkEvent<'_>) -> Seen {
    match event {
        LinkEvent::Up { attempt, .. } => Seen::Up(attempt),
        LinkEvent::Data(bytes) => Seen::Data(bytes.to_vec()),
        LinkEvent::HeartbeatSent { id, .. } => Seen::Beat(id.get()),
        LinkEvent::Stalled => Seen::Stalled,
        LinkEvent::Down {
            why,
            error,
            silence,
            retry_in,
            attempt,
            ..
        } => Seen::Down {
            why,
            error: error.map(|error| error.kind()),
            silence,
            retry_in,
            attempt,
        },
        LinkEvent::Retry {
            retry_in, attempt, ..
        } => Seen::Retry(retry_in, attempt),
        LinkEvent::GaveUp(reason) => Seen::GaveUp(reason),
        other => panic!("{other:?}"),
    }
}

/// The next event, whatever it is.
pub async fn next<T>(link: &mut Link<T>) -> Option<Seen>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut buffer = [0; 64];
    link.next(&mut buffer).await.map(seen)
}

/// The next event that is no heartbeat's.
pub async fn next_but_beats<T>(link: &mut Link<T>) -> Option<Seen>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    loop {
        match next(link).await {
            Some(Seen::Beat(_)) => {}
            other => return other,
        }
    }
}

/// That nothing happens for so long.
pub async fn idle<T>(link: &mut Link<T>, long: Duration)
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let event = tokio::time::timeout(long, next(link)).await;
    assert!(event.is_err(), "{event:?}");
}

pub fn ping(_: HeartbeatId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"!");
}

/// The far ends of the pipes that a link dialled, in order.
pub type Peers = mpsc::UnboundedReceiver<DuplexStream>;

/// A link whose dials all succeed at once, with a pipe of so many bytes.
pub fn piped(config: ConfigBuilder, size: usize) -> (Link<DuplexStream>, Peers) {
    let (far_ends, peers) = mpsc::unbounded_channel();
    let link = dialling(config, move || {
        let (near, far) = duplex(size);
        let _ = far_ends.send(far);
        core::future::ready(Ok(near))
    });
    (link, peers)
}

/// A link that dials like this.
pub fn dialling<T, F>(config: ConfigBuilder, connect: impl FnMut() -> F + Send + 'static) -> Link<T>
where
    T: AsyncRead + AsyncWrite + Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let config = config.build().unwrap();
    Link::with(config, SEED, Clock::tokio(), ping, connect).unwrap()
}

/// A link that is up, and its far end.
pub async fn up(config: ConfigBuilder, size: usize) -> (Link<DuplexStream>, DuplexStream) {
    let (mut link, mut peers) = piped(config, size);
    assert_eq!(next(&mut link).await, Some(Seen::Up(0)));
    (link, peers.recv().await.unwrap())
}

/// That so much time has passed, to the nanosecond.
#[track_caller]
pub fn passed(start: Instant, time: Duration) {
    assert_eq!(start.elapsed(), time);
}

/// The same to the millisecond, which is what tokio's timers can tell.
#[track_caller]
pub fn about(start: Instant, time: Duration) {
    let elapsed = start.elapsed();
    let late = elapsed.checked_sub(time);
    assert!(
        late.is_some_and(|late| late <= Duration::from_millis(2)),
        "{elapsed:?} is not {time:?}"
    );
}

/// Until so long after `start`.
pub async fn until(start: Instant, seconds: u64) {
    tokio::time::sleep_until(start + secs(seconds)).await;
}
