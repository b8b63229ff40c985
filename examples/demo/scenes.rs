//! The play, scene by scene, each with the checks that make it more than one.
//!
//! Limits are checked from below exactly, and from above with the slack that
//! a busy machine needs.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nabiz::{Backoff, CloseReason, Config, ConfigError, EndReason, Jitter, Phase, Ratio};

use crate::client::Client;
use crate::server::Server;
use crate::timeline::{Down, Entry, Lane, Timeline, What};

pub struct Outcome {
    pub title: &'static str,
    /// What was seen, or what went wrong.
    pub seen: Result<String, String>,
}

const INTERVAL: Duration = Duration::from_millis(400);
const CLIENT_LIMIT: Duration = Duration::from_millis(1200);
/// Above what a client that is blocked for `BLOCKED` leaves it without.
const SERVER_LIMIT: Duration = Duration::from_millis(2400);
const HELLO_LIMIT: Duration = Duration::from_millis(600);
const BLOCKED: Duration = Duration::from_millis(1400);
const STABLE_AFTER: Duration = Duration::from_secs(1);
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// How late a verdict or a dial may come on a busy machine.
const SLACK: Duration = Duration::from_secs(1);
/// How long a thread may be kept from writing an entry.
const A_MOMENT: Duration = Duration::from_millis(100);
/// How many attempts a silent server sees.
const ATTEMPTS: u32 = 4;

fn server_config() -> Result<Config, ConfigError> {
    Config::server()
        .with_interval(INTERVAL)
        .with_silence_timeout(SERVER_LIMIT)
        .build()
}

fn client_config() -> Result<Config, ConfigError> {
    // Equal jitter draws from the upper half of a delay; doubled each time,
    // each is longer than the one before, whatever is drawn.
    let backoff = Backoff::new()
        .with_initial(FIRST_DELAY)
        .with_multiplier(Ratio::percent(200))
        .with_jitter(Jitter::Equal);
    Config::client()
        .with_interval(INTERVAL)
        .with_silence_timeout(CLIENT_LIMIT)
        .with_hello_timeout(HELLO_LIMIT)
        .with_stall_tolerance(Duration::from_millis(300))
        .with_stable_after(STABLE_AFTER)
        .with_backoff(backoff)
        .build()
}

/// What the policy may draw for this attempt.
fn bounds(attempt: u32) -> (Duration, Duration) {
    let base = FIRST_DELAY * 2_u32.pow(attempt - 1);
    (base / 2, base)
}

/// All scenes, and all that happened.
pub fn play() -> io::Result<(Vec<Entry>, Vec<Outcome>)> {
    let (ours, peers) = match (client_config(), server_config()) {
        (Ok(ours), Ok(peers)) => (ours, peers),
        (Err(error), _) | (_, Err(error)) => return Err(io::Error::other(error)),
    };
    ours.compatible_with(&peers).map_err(io::Error::other)?;

    let timeline = Arc::new(Timeline::new());
    let server = Server::start(peers, &timeline)?;
    let client = |lane| {
        let client = Client::start(lane, server.address, ours, &timeline);
        client.map_err(|error| error.to_string())
    };
    let stage = Stage {
        timeline: &timeline,
        server: &server,
        client: &client,
    };
    let mut outcomes = Vec::new();
    let mut scene = |title, scene: &mut dyn FnMut() -> Result<String, String>| {
        timeline.record(Lane::Server, What::Scene(title));
        let seen = scene();
        outcomes.push(Outcome { title, seen });
    };

    let mut a = None;
    let mut c = None;
    scene("1 Beats in both directions keep a link open", &mut || {
        stage.beats(a.insert(client(Lane::A)?))
    });
    scene("2 A frozen client is closed", &mut || stage.frozen_client());
    scene("3 A late tick convicts nobody", &mut || {
        stage.late_tick(c.insert(client(Lane::C)?))
    });
    let pair: Vec<Client> = a.into_iter().chain(c).collect();
    scene(
        "4 A silent server is left, and tried again after growing, jittered delays",
        &mut || stage.silent_server(&pair),
    );
    scene(
        "5 The server returns; after a stable link attempts start from 1",
        &mut || stage.return_and_reset(&pair),
    );
    scene("6 A shutdown is final", &mut || stage.shutdown(&pair));
    timeline.record(Lane::Server, What::Stop);
    Ok((timeline.entries(), outcomes))
}

struct Stage<'a> {
    timeline: &'a Timeline,
    server: &'a Server,
    client: &'a dyn Fn(Lane) -> Result<Client, String>,
}

impl Stage<'_> {
    fn beats(&self, a: &Client) -> Result<String, String> {
        self.welcome(0, a.lane)?;
        // Longer than any limit, with not a byte but beats.
        thread::sleep(SERVER_LIMIT + INTERVAL);
        self.nobody_was_closed(0)?;
        let status = a.link.status();
        check(status.phase == Phase::Open, "the link is not open")?;
        let sent = self.count(0, a.lane, What::BeatToServer);
        let came = self.count(0, a.lane, What::BeatFromServer);
        check(sent >= 4 && came >= 4, "too few beats")?;
        Ok(format!(
            "open for {} on {sent} beats out and {came} in; the limits are {} and {}",
            secs(status.age.unwrap_or_default()),
            secs(CLIENT_LIMIT),
            secs(SERVER_LIMIT),
        ))
    }

    fn frozen_client(&self) -> Result<String, String> {
        let mark = self.timeline.mark();
        let b = (self.client)(Lane::B)?;
        self.welcome(mark, b.lane)?;
        thread::sleep(INTERVAL * 2);
        b.freeze();
        let closed = self.timeline.wait(mark, 1, "a close of B", |entry| {
            entry.lane == b.lane && matches!(entry.what, What::Closed { .. })
        })?;
        let What::Closed { why, silence } = closed.what else {
            return Err("no close".into());
        };
        let silent = why == CloseReason::PeerSilent;
        check(silent, &format!("closed for {why}, not for PeerSilent"))?;
        within(silence, SERVER_LIMIT, SERVER_LIMIT + SLACK, "the silence")?;
        check(
            self.downs(mark, Lane::A).is_empty(),
            "A lost its link meanwhile",
        )?;
        Ok(format!(
            "B closed: {why} after {} against a limit of {}; A untouched",
            secs(silence),
            secs(SERVER_LIMIT)
        ))
    }

    fn late_tick(&self, c: &Client) -> Result<String, String> {
        let mark = self.timeline.mark();
        self.welcome(mark, c.lane)?;
        thread::sleep(INTERVAL * 2);
        c.freeze();
        let is = |what| move |entry: &Entry| entry.lane == c.lane && entry.what == what;
        let from = self
            .timeline
            .wait(mark, 1, "C standing still", is(What::Freeze))?;
        thread::sleep(BLOCKED);
        let thaw = self.timeline.mark();
        c.thaw();
        let to = self.timeline.wait(thaw, 1, "C going on", is(What::Thaw))?;
        self.timeline
            .wait(thaw, 1, "the late tick", is(What::Stalled))?;
        self.timeline
            .wait(thaw, 2, "C beating again", is(What::BeatToServer))?;
        self.nobody_was_closed(mark)?;
        let stalls = self.count(mark, c.lane, What::Stalled);
        let status = c.link.status();
        check(status.phase == Phase::Open, "C's link is not open")?;
        check(!status.suspect, "C still suspects the server")?;
        Ok(format!(
            "C blocked for {} against a limit of {}: late ticks forgiven {stalls}, links closed 0",
            secs(to.at - from.at),
            secs(CLIENT_LIMIT),
        ))
    }

    fn silent_server(&self, clients: &[Client]) -> Result<String, String> {
        let mark = self.timeline.mark();
        self.server.freeze();
        for client in clients {
            self.timeline
                .wait(mark, ATTEMPTS as usize, "enough attempts", |entry| {
                    entry.lane == client.lane && matches!(entry.what, What::Down(_))
                })?;
        }
        let mut seen = Vec::new();
        let mut all_delays = Vec::new();
        for client in clients {
            let (verdict, delays) = self.outage(mark, client.lane)?;
            let shown: Vec<String> = delays.iter().map(|delay| short(*delay)).collect();
            seen.push(format!(
                "{} left it after {} and stayed away for {} s",
                client.lane.name(),
                secs(verdict),
                shown.join(", ")
            ));
            all_delays.push(delays);
        }
        check(
            all_delays.windows(2).all(|pair| pair[0] != pair[1]),
            "two clients drew the same delays",
        )?;
        Ok(seen.join("; "))
    }

    /// Checks how one client bore the silence; tells the time to its verdict,
    /// and its delays.
    fn outage(&self, mark: usize, lane: Lane) -> Result<(Duration, Vec<Duration>), String> {
        let mut verdict = Duration::ZERO;
        let mut delays = Vec::new();
        for (number, (at, down)) in (1..=ATTEMPTS).zip(self.downs(mark, lane)) {
            let silence = down
                .fatal_silence()
                .ok_or_else(|| format!("down for {}", down.why))?;
            if number == 1 {
                within(silence, CLIENT_LIMIT, CLIENT_LIMIT + SLACK, "the silence")?;
                verdict = silence;
            }
            check(down.attempt == number, "an attempt was miscounted")?;
            let delay = down.retry_in.unwrap_or_default();
            let (least, most) = bounds(number);
            within(delay, least, most, "a delay")?;
            // The last wait goes on into the next scene.
            if number < ATTEMPTS {
                let waited = self.dial_after(lane, at)? - at;
                // The entry was written a moment after the wait began.
                let least = delay.saturating_sub(A_MOMENT);
                within(waited, least, delay + SLACK, "a wait")?;
            }
            delays.push(delay);
        }
        let grow = delays.windows(2).all(|pair| pair[0] <= pair[1]);
        check(grow, "the delays do not grow")?;
        Ok((verdict, delays))
    }

    fn return_and_reset(&self, clients: &[Client]) -> Result<String, String> {
        let mark = self.timeline.mark();
        self.server.thaw();
        let mut ups = Vec::new();
        for client in clients {
            let welcome = self.welcome(mark, client.lane)?;
            let attempt = self.attempt_before(welcome);
            check(attempt >= ATTEMPTS, "attempts were reset too early")?;
            ups.push(format!("{} up at attempt {attempt}", client.lane.name()));
        }
        thread::sleep(STABLE_AFTER + INTERVAL);
        let mark = self.timeline.mark();
        for client in clients {
            self.server.cut_off(client.lane);
        }
        let mut delays = Vec::new();
        for client in clients {
            self.welcome(mark, client.lane)?;
            let downs = self.downs(mark, client.lane);
            let (_, down) = downs.first().ok_or("no second outage")?;
            let (why, attempt) = (down.why, down.attempt);
            let disconnected = why == EndReason::Disconnected;
            check(
                disconnected,
                &format!("down for {why}, not for Disconnected"),
            )?;
            check(attempt == 1, &format!("attempt {attempt} follows, not 1"))?;
            let delay = down.retry_in.unwrap_or_default();
            let (least, most) = bounds(1);
            within(delay, least, most, "the delay")?;
            delays.push(short(delay));
        }
        thread::sleep(INTERVAL * 2);
        Ok(format!(
            "{}; cut off once stable, attempt 1 follows after {} s",
            ups.join(", "),
            delays.join(" and ")
        ))
    }

    fn shutdown(&self, clients: &[Client]) -> Result<String, String> {
        let mark = self.timeline.mark();
        for client in clients {
            client.shutdown();
        }
        for client in clients {
            self.timeline.wait(mark, 1, "the end", |entry| {
                entry.lane == client.lane && entry.what == What::Done { stays: true }
            })?;
            self.timeline
                .wait(mark, 1, "the server's end of it", |entry| {
                    entry.lane == client.lane && entry.what == What::Gone
                })?;
        }
        // Whoever meant to return would have dialled by then.
        let watched = bounds(1).1 * 8;
        thread::sleep(watched);
        for client in clients {
            let dials = self.count(mark, client.lane, What::Dial);
            check(dials == 0, "somebody came back from the dead")?;
            let downs = self.downs(mark, client.lane);
            let is_final = match downs.as_slice() {
                [(_, down)] => {
                    down.why == EndReason::Closed(CloseReason::Shutdown) && down.retry_in.is_none()
                }
                _ => false,
            };
            check(is_final, "it did not end for Shutdown, for good")?;
        }
        Ok(format!(
            "{} links closed for Shutdown; asked to return, and watched for {}: no dial",
            clients.len(),
            secs(watched)
        ))
    }

    fn welcome(&self, mark: usize, lane: Lane) -> Result<Entry, String> {
        let name = format!("a welcome for {}", lane.name());
        self.timeline.wait(mark, 1, &name, |entry| {
            entry.lane == lane && entry.what == What::Welcome
        })
    }

    fn nobody_was_closed(&self, mark: usize) -> Result<(), String> {
        let closed = self.timeline.entries()[mark..]
            .iter()
            .any(|entry| matches!(entry.what, What::Down(_) | What::Closed { .. }));
        check(!closed, "a link was closed")
    }

    fn count(&self, mark: usize, lane: Lane, what: What) -> usize {
        let entries = self.timeline.entries();
        let since = entries[mark..].iter();
        since
            .filter(|entry| entry.lane == lane && entry.what == what)
            .count()
    }

    /// Each end of a link or dial, and when it came.
    fn downs(&self, mark: usize, lane: Lane) -> Vec<(Duration, Down)> {
        let entries = self.timeline.entries();
        let since = entries[mark..].iter();
        since
            .filter_map(|entry| match entry.what {
                What::Down(down) if entry.lane == lane => Some((entry.at, down)),
                _ => None,
            })
            .collect()
    }

    /// When the next dial after `at` came.
    fn dial_after(&self, lane: Lane, at: Duration) -> Result<Duration, String> {
        let entries = self.timeline.entries();
        let mut since = entries.iter().skip_while(|entry| entry.at <= at);
        let dial = since.find(|entry| entry.lane == lane && entry.what == What::Dial);
        dial.map(|dial| dial.at)
            .ok_or_else(|| "no dial followed".into())
    }

    /// The attempt that led to this welcome.
    fn attempt_before(&self, welcome: Entry) -> u32 {
        let entries = self.timeline.entries();
        let before = entries.iter().rev().filter(|entry| entry.at <= welcome.at);
        before
            .filter(|entry| entry.lane == welcome.lane)
            .find_map(|entry| match entry.what {
                What::Connected { attempt } => Some(attempt),
                _ => None,
            })
            .unwrap_or(0)
    }
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    holds.then_some(()).ok_or_else(|| otherwise.into())
}

fn within(seen: Duration, least: Duration, most: Duration, name: &str) -> Result<(), String> {
    let (shown, from, to) = (secs(seen), secs(least), secs(most));
    check(
        least <= seen && seen <= most,
        &format!("{name} was {shown}, not {from} to {to}"),
    )
}

fn secs(duration: Duration) -> String {
    let secs = duration.as_secs_f64();
    if duration.subsec_millis() % 100 == 0 {
        format!("{secs:.1} s")
    } else {
        format!("{secs:.3} s")
    }
}

fn short(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}
