//! What becomes of a page's links, whatever befalls the page or the server.
//!
//! Margins are wide: the machine may be busy, and so may the browser.

use std::path::Path;
use std::time::Duration;

use nabiz_browser_tests::{Chromium, Server, Signal, eventually};
use serde_json::Value;
use tokio::time::sleep;

/// Both ends beat each second, and bear four of silence.
const FLAGS: &str =
    "--beat 1s --silence 4s --backoff-initial 500ms --backoff-max 4s --stable-after 5s";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What a link told its page under that name.
fn events<'a>(link: &'a Value, name: &str) -> Vec<&'a Value> {
    let events = link["events"].as_array().unwrap();
    events
        .iter()
        .filter(|event| event["name"] == name)
        .collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[track_caller]
fn assert_between(value: f64, least: f64, most: f64) {
    assert!(
        (least..=most).contains(&value),
        "{value} is not in [{least}, {most}]"
    );
}

/// Nobody closed anything.
#[track_caller]
fn assert_undisturbed(server: &Server, link: &Value) {
    assert_eq!(events(link, "down"), Vec::<&Value>::new());
    assert_eq!(server.all("closed"), Vec::<Value>::new());
    assert_eq!(link["phase"], "open");
}

#[tokio::test]
async fn a_page_connects_and_both_ends_show_it() {
    let server = Server::start(FLAGS);
    let chromium = Chromium::start(&server.address).await;
    let link = chromium.open().await;
    let opened = server.event("open", 0).await;
    assert_eq!(opened["conn"], link["id"]);

    let shown = "return {
        phase: document.querySelector('article').dataset.phase,
        ours: document.querySelectorAll('tr.ours').length,
        all: document.querySelectorAll('tbody tr').length,
    }";
    chromium.run("page.add(); page.add()").await;
    eventually("the server's view", async || {
        let shown = chromium.run(shown).await;
        (shown["phase"] == "open" && shown["ours"] == 3 && shown["all"] == 3).then_some(())
    })
    .await;
    for colors in ["light", "dark"] {
        chromium.prefer(colors).await;
        sleep(secs(2)).await;
        let name = format!("page-{colors}.png");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        chromium.screenshot(&path).await;
    }
}

#[tokio::test]
async fn beats_keep_an_idle_link() {
    let server = Server::start(FLAGS);
    let chromium = Chromium::start(&server.address).await;
    let old = chromium.open().await;
    sleep(secs(20)).await; // five times the limit
    let link = chromium.link().await;
    assert_undisturbed(&server, &link);
    assert_eq!(link["id"], old["id"]);
    assert_between(number(&link["beats"]), 15.0, 26.0);
    assert_between(number(&link["heard"]), 15.0, 26.0);
    assert_between(server.all("beat").len() as f64, 15.0, 26.0);
    assert_between(number(&link["silence"]), 0.0, 2_500.0);
}

#[tokio::test]
async fn a_frozen_page_is_closed_as_silent_and_comes_back() {
    let server = Server::start(FLAGS);
    let chromium = Chromium::start(&server.address).await;
    let old = chromium.open().await;
    sleep(secs(2)).await;

    chromium.freeze().await;
    let closed = server.event("closed", 0).await;
    assert_eq!(closed["reason"], "PeerSilent");
    assert_between(number(&closed["silent"]), 4.0, 6.0);
    sleep(secs(5)).await;
    assert_eq!(server.all("open").len(), 1, "a frozen page does nothing");

    chromium.thaw().await;
    // What the browser makes of the close that came meanwhile is its own affair:
    // it calls any link of a page that was frozen broken.
    let link = chromium.open_anew(&old["id"]).await;
    let downs = events(&link, "down");
    assert_eq!(downs.len(), 1);
    assert_eq!(downs[0]["why"], "Disconnected");
    assert_between(number(&downs[0]["retryIn"]), 0.0, 500.0);
}

#[tokio::test]
async fn a_browser_that_slept_convicts_nobody() {
    let server = Server::start(&FLAGS.replace("--silence 4s", "--silence 60s --page-silence 3s"));
    let chromium = Chromium::start(&server.address).await;
    let old = chromium.open().await;
    sleep(secs(2)).await;
    chromium.stop();
    sleep(secs(10)).await;
    chromium.go_on();
    sleep(secs(5)).await;
    let link = chromium.link().await;
    assert_undisturbed(&server, &link);
    assert_eq!(link["id"], old["id"]);
    println!("{} stalls", link["stalls"]);
    assert!(number(&link["stalls"]) >= 1.0);
    assert_eq!(link["suspect"], false);
}

#[tokio::test]
async fn a_page_whose_script_was_busy_convicts_nobody() {
    let server = Server::start(&FLAGS.replace("--silence 4s", "--silence 60s --page-silence 3s"));
    let chromium = Chromium::start(&server.address).await;
    chromium.open().await;
    for _ in 0..2 {
        sleep(secs(2)).await;
        chromium
            .run("const until = performance.now() + 7_000; while (performance.now() < until);")
            .await;
    }
    sleep(secs(4)).await;
    let link = chromium.link().await;
    assert_undisturbed(&server, &link);
    assert!(number(&link["stalls"]) >= 2.0);
}

#[tokio::test]
async fn a_hidden_page_lives_and_convicts_nobody() {
    let server = Server::start(FLAGS);
    // What befalls a page after minutes in the background, after seconds: its
    // timers ring once a minute.
    let throttle = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/3";
    let chromium = Chromium::with(&server.address, &[throttle]).await;
    let old = chromium.open().await;
    let ringing = "globalThis.rings = [performance.now()];
        setInterval(() => rings.push(performance.now()), 100)";
    chromium.run(ringing).await;
    chromium.hide().await;
    sleep(secs(35)).await;
    assert_eq!(server.all("closed"), Vec::<Value>::new());

    chromium.show().await;
    sleep(secs(3)).await;
    let link = chromium.link().await;
    assert_undisturbed(&server, &link);
    assert_eq!(link["id"], old["id"]);
    assert!(!events(&link, "stall").is_empty(), "who is seen again asks");
    assert_between(number(&link["beats"]), 28.0, 50.0);

    let rings = "return rings.slice(1).map((at, nth) => at - rings[nth])";
    let gaps = chromium.run(rings).await;
    let gaps: Vec<_> = gaps.as_array().unwrap().iter().map(number).collect();
    let widest = gaps.iter().copied().fold(0.0, f64::max);
    println!(
        "a timer of 100 ms rang {} times in 38 s, the widest gap {widest:.0} ms",
        gaps.len()
    );
    assert!(widest > 800.0, "timers were not throttled");
}

#[tokio::test]
async fn a_page_that_is_online_again_asks_at_once() {
    let server = Server::start("--beat 20s --silence 60s");
    let chromium = Chromium::start(&server.address).await;
    chromium.open().await;
    chromium.offline(true).await;
    sleep(secs(1)).await;
    chromium.offline(false).await;
    let link = chromium
        .link_that("a probe", |link| !events(link, "beat").is_empty())
        .await;
    assert_eq!(events(&link, "stall").len(), 1);
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_found_again() {
    let server = Server::start(FLAGS);
    let chromium = Chromium::start(&server.address).await;
    chromium.open().await;
    let port = server.port();
    sleep(secs(6)).await; // long enough to be stable
    server.signal(Signal::KILL);
    drop(server);

    let link = chromium
        .link_that("many attempts", |link| number(&link["attempt"]) >= 7.0)
        .await;
    let downs = events(&link, "down");
    assert_eq!(downs[0]["why"], "Disconnected");
    assert!(downs[1..].iter().all(|down| down["why"] == "ConnectFailed"));
    let delays: Vec<_> = downs.iter().map(|down| number(&down["retryIn"])).collect();
    println!("delays: {delays:.0?}");
    for (attempt, (down, delay)) in (1..).zip(downs.iter().zip(&delays)) {
        assert_eq!(down["attempt"], attempt);
        assert_between(
            *delay,
            0.0,
            (500.0 * 1.6_f64.powi(attempt - 1)).min(4_000.0),
        );
    }

    let server = Server::on(port, FLAGS);
    let link = chromium.open().await;
    assert_eq!(server.event("open", 0).await["conn"], link["id"]);
    assert!(number(&link["attempt"]) >= 7.0, "not stable yet");
}

#[tokio::test]
async fn a_frozen_server_is_closed_as_silent_and_found_again() {
    let server = Server::start(FLAGS);
    let chromium = Chromium::start(&server.address).await;
    let old = chromium.open().await;
    sleep(secs(2)).await;

    server.signal(Signal::STOP);
    let link = chromium
        .link_that("the page gives it up", |link| {
            !events(link, "down").is_empty()
        })
        .await;
    let down = events(&link, "down")[0];
    assert_eq!(down["why"], "PeerSilent");
    assert_between(number(&down["silence"]), 4_000.0, 5_500.0);
    sleep(secs(4)).await;

    server.signal(Signal::CONT);
    chromium.open_anew(&old["id"]).await;
    let reasons: Vec<_> = server.all("closed");
    assert!(
        reasons
            .iter()
            .all(|closed| closed["reason"] == "Disconnected"),
        "the server blames nobody: {reasons:?}"
    );
}

#[tokio::test]
async fn a_server_that_was_frozen_convicts_nobody() {
    let server = Server::start(&FLAGS.replace("--silence 4s", "--silence 3s --page-silence 60s"));
    let chromium = Chromium::start(&server.address).await;
    chromium.run("page.add(); page.add()").await;
    server.event("open", 2).await;
    sleep(secs(2)).await;
    server.signal(Signal::STOP);
    sleep(secs(8)).await;
    server.signal(Signal::CONT);
    sleep(secs(5)).await;
    for link in chromium.links().await {
        assert_undisturbed(&server, &link);
    }
}

#[tokio::test]
async fn a_drain_spreads_the_goodbyes_and_the_returns() {
    const LINKS: usize = 8;
    let flags = format!("{FLAGS} --drain 4s");
    let server = Server::start(&flags);
    let chromium = Chromium::start(&server.address).await;
    for _ in 1..LINKS {
        chromium.run("page.add()").await;
    }
    server.event("open", LINKS - 1).await;
    let port = server.port();
    sleep(secs(2)).await;

    server.signal(Signal::TERM);
    let (status, events_there) = server.end().await;
    assert_eq!(status.code(), Some(0));
    let time = |event: &Value| number(&event["t"]);
    let began = events_there
        .iter()
        .find(|event| event["event"] == "drain")
        .unwrap();
    let closed: Vec<_> = events_there
        .iter()
        .filter(|event| event["event"] == "closed")
        .collect();
    let times: Vec<_> = closed
        .iter()
        .map(|event| time(event) - time(began))
        .collect();
    println!("closed after {times:.2?} s");
    assert_eq!(closed.len(), LINKS);
    assert!(closed.iter().all(|event| event["reason"] == "Draining"));
    assert_between(times[LINKS - 1], 2.0, 5.5);
    let widest = times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .fold(0.0, f64::max);
    assert_between(widest, 0.2, 1.5);

    let server = Server::on(port, &flags);
    server.event("open", LINKS - 1).await;
    let mut returns = Vec::new();
    for link in chromium.links().await {
        let (down, up) = (events(&link, "down")[0], events(&link, "up")[1]);
        assert_eq!(down["code"], 1012);
        let reason = down["reason"].as_str().unwrap();
        let hint: f64 = reason
            .strip_prefix("Draining, retry-after=")
            .unwrap()
            .parse()
            .unwrap();
        assert_between(number(&down["retryIn"]) / 1e3, hint, hint * 1.25 + 0.5);
        let away = (number(&up["at"]) - number(&down["at"])) / 1e3;
        assert!(away >= hint, "back after {away} of {hint}");
        returns.push(number(&up["at"]) / 1e3);
    }
    returns.sort_by(f64::total_cmp);
    let spread = returns[LINKS - 1] - returns[0];
    println!("back within {spread:.2} s of each other");
    assert!(spread > 0.5, "{returns:?}");
}
