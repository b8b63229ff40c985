//! A browser with one page, driven over WebDriver.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use fantoccini::wd::{WebDriverCompatibleCommand, WindowHandle};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use crate::{PATIENCE, eventually};

/// What a browser in a container needs, and what keeps it from calling home.
const FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1160,900",
];

/// What the driver adds and users do not have: the throttling of pages in the
/// background is what we are here for.
const UNWANTED: [&str; 3] = [
    "disable-background-timer-throttling",
    "disable-backgrounding-occluded-windows",
    "disable-renderer-backgrounding",
];

/// A browser with a profile of its own, ended when dropped.
pub struct Chromium {
    client: Client,
    page: WindowHandle,
    driver: Child,
    browser: Pid,
    _profile: TempDir,
}

impl Chromium {
    pub async fn start(address: &str) -> Self {
        Self::with(address, &[]).await
    }

    /// One with more flags.
    pub async fn with(address: &str, flags: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = driver();
        let mut args = FLAGS.map(String::from).to_vec();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        args.extend(flags.iter().map(ToString::to_string));
        let capabilities = json!({
            "goog:chromeOptions": { "args": args, "excludeSwitches": UNWANTED },
            "timeouts": { "script": PATIENCE.as_millis() as u64 },
        });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&format!("http://127.0.0.1:{}", port))
            .await
            .unwrap();
        let process = client.capabilities().unwrap()["goog:processID"].as_i64();
        let browser = Pid::from_raw(process.unwrap().try_into().unwrap()).unwrap();
        client.goto(address).await.unwrap();
        let page = client.window().await.unwrap();
        Self {
            client,
            page,
            driver,
            browser,
            _profile: profile,
        }
    }

    /// What a script in the page returns; the page's own module is `page`.
    pub async fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0];
             import('/page.js').then((page) => {{ {script} }}).then(done, (error) => done(`${{error}}`));"
        );
        self.client.execute_async(&script, vec![]).await.unwrap()
    }

    /// The page's links: what they know of themselves, and all that happened.
    pub async fn links(&self) -> Vec<Value> {
        let links = self
            .run(
                "return page.links.map(({ id, pulse, events }) => ({ id, events, ...pulse.status }))",
            )
            .await;
        links
            .as_array()
            .unwrap_or_else(|| panic!("{links}"))
            .clone()
    }

    /// Its first link.
    pub async fn link(&self) -> Value {
        self.links().await.swap_remove(0)
    }

    /// Waits until the first link is as it should be.
    pub async fn link_that(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            Some(self.link().await).filter(|link| is(link))
        })
        .await
    }

    /// Waits until it is open, under any number but this.
    pub async fn open_anew(&self, old: &Value) -> Value {
        self.link_that("the page's link is open", |link| {
            link["phase"] == "open" && link["id"].is_u64() && link["id"] != *old
        })
        .await
    }

    pub async fn open(&self) -> Value {
        self.open_anew(&Value::Null).await
    }

    /// Has the page's tasks stand still, as browsers do to save power; the
    /// browser itself goes on.
    pub async fn freeze(&self) {
        let state = json!({ "state": "frozen" });
        self.order("Page.setWebLifecycleState", state).await;
    }

    /// The contrary.
    pub async fn thaw(&self) {
        let state = json!({ "state": "active" });
        self.order("Page.setWebLifecycleState", state).await;
    }

    /// Has the whole browser stand still, as when the machine sleeps.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// The contrary.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for process in family(self.browser) {
            kill_process(process, signal).unwrap();
        }
    }

    /// Puts another tab before the page. Until it is shown again the page
    /// cannot be asked.
    pub async fn hide(&self) {
        let other = self.client.new_window(true).await.unwrap();
        self.client.switch_to_window(other.handle).await.unwrap();
    }

    /// Puts the page before all tabs.
    pub async fn show(&self) {
        let page = self.page.clone();
        self.client.switch_to_window(page).await.unwrap();
        let state = self.run("return document.visibilityState").await;
        assert_eq!(state, "visible");
    }

    /// As when the network is lost, or there again. (A link that is open may
    /// go on: the page is told all the same.)
    pub async fn offline(&self, is_offline: bool) {
        let conditions = json!({
            "offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.order("Network.enable", json!({})).await;
        self.order("Network.emulateNetworkConditions", conditions)
            .await;
    }

    /// As for a user who likes it `light` or `dark`.
    pub async fn prefer(&self, colors: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": colors });
        self.order(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )
        .await;
    }

    pub async fn screenshot(&self, path: &Path) {
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(path, picture).unwrap();
    }

    /// An order of the browser's own protocol.
    async fn order(&self, name: &'static str, params: Value) {
        let order = Order { name, params };
        self.client.issue_cmd(order).await.unwrap();
    }
}

#[derive(Debug)]
struct Order {
    name: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for Order {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        let body = json!({ "cmd": self.name, "params": self.params });
        (http::Method::POST, Some(body.to_string()))
    }
}

/// A process with all that come from it.
fn family(head: Pid) -> Vec<Pid> {
    let mut family = vec![head];
    let mut seen = 0;
    while let Some(parent) = family.get(seen) {
        seen += 1;
        let parent = parent.as_raw_nonzero();
        // By thread, because each knows only the children of its own.
        let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter();
        for thread in threads.flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children"));
            for child in children.unwrap_or_default().split_whitespace() {
                family.extend(child.parse().ok().and_then(Pid::from_raw));
            }
        }
    }
    family
}

/// The program between us and the browser, and its port.
fn driver() -> (Child, u16) {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver, which `run` installs");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let port = line.split_once("successfully on port ")?.1;
        port.trim_end_matches('.').parse().ok()
    });
    thread::spawn(move || lines.for_each(drop)); // else it may wait for a reader
    (driver, port.expect("a port of chromedriver's"))
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // It would outlive its driver; its own children do not outlive it.
        let _ = kill_process(self.browser, Signal::KILL);
    }
}
