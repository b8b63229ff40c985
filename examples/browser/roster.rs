//! Who is connected, as all pages are told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nabiz::tokio::Lease;
use serde::Serialize;
use tokio::sync::watch;

/// As many links as a message tells of, and as many ends.
const TOLD: usize = 100;
const REMEMBERED: usize = 5;

/// One link, shared by the task that serves it and by those that tell of it.
pub struct Link {
    pub id: u64,
    pub lease: Lease,
    since: Instant,
    beats: AtomicU32,
    heard: AtomicU32,
}

impl Link {
    /// One more beat went out; its number.
    pub fn beaten(&self) -> u32 {
        self.beats.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// One more beat came in.
    pub fn heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// How many went out.
    pub fn beats(&self) -> u32 {
        self.beats.load(Ordering::Relaxed)
    }
}

/// All links, in the order in which they came.
#[derive(Default)]
pub struct Roster {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    last: u64,
    links: BTreeMap<u64, Arc<Link>>,
    ended: VecDeque<Ended>,
}

/// How a link ended, as the page's view shows it.
#[derive(Clone, Debug, Serialize)]
struct Ended {
    id: u64,
    why: String,
    silence: u128,
}

/// What a page is told: on arrival its own number, later with each beat.
#[derive(Debug, Serialize)]
pub struct News {
    #[serde(skip_serializing_if = "Option::is_none")]
    beat: Option<u32>,
    id: u64,
    links: Vec<Row>,
    ended: Vec<Ended>,
}

/// Times in milliseconds.
#[derive(Debug, Serialize)]
struct Row {
    id: u64,
    silence: u128,
    age: u128,
    beats: u32,
    heard: u32,
}

impl Roster {
    pub fn enter(&self, lease: Lease) -> Arc<Link> {
        let mut state = self.lock();
        state.last += 1;
        let link = Arc::new(Link {
            id: state.last,
            lease,
            since: Instant::now(),
            beats: AtomicU32::new(0),
            heard: AtomicU32::new(0),
        });
        state.links.insert(link.id, Arc::clone(&link));
        self.count.send_replace(state.links.len());
        link
    }

    /// The link is no longer told of; its lease ends with its task.
    pub fn leave(&self, link: &Link, why: &str, silence: Duration) {
        let mut state = self.lock();
        state.links.remove(&link.id);
        state.ended.push_front(Ended {
            id: link.id,
            why: why.into(),
            silence: silence.as_millis(),
        });
        state.ended.truncate(REMEMBERED);
        self.count.send_replace(state.links.len());
    }

    pub fn news(&self, to: &Link, beat: Option<u32>) -> News {
        let state = self.lock();
        let row = |link: &Arc<Link>| Row {
            id: link.id,
            silence: link.lease.silence().as_millis(),
            age: link.since.elapsed().as_millis(),
            beats: link.beats(),
            heard: link.heard.load(Ordering::Relaxed),
        };
        News {
            beat,
            id: to.id,
            links: state.links.values().take(TOLD).map(row).collect(),
            ended: state.ended.iter().cloned().collect(),
        }
    }

    /// Waits until nobody is left.
    pub async fn empty(&self) {
        // Not an error: the sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
