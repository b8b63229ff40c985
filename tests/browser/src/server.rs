//! The example as a child process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use serde_json::Value;

use crate::eventually;

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Server {
    /// One on a port of its own.
    pub fn start(flags: &str) -> Self {
        Self::on(0, flags)
    }

    /// One on this port.
    pub fn on(port: u16, flags: &str) -> Self {
        let program = std::env::var("NABIZ_BROWSER").expect("use the script `run`");
        let mut child = Command::new(program)
            .args(["--json", "--port", &port.to_string()])
            .args(flags.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let events = Arc::default();
        collect(child.stderr.take().unwrap(), Arc::clone(&events));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening ").expect(&line).into();
        Self {
            child,
            address,
            events,
        }
    }

    pub fn port(&self) -> u16 {
        let port = self.address.rsplit(':').next().unwrap();
        port.trim_end_matches('/').parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// All events of that name so far.
    pub fn all(&self, name: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let named = events.iter().filter(|event| event["event"] == name);
        named.cloned().collect()
    }

    /// The event of that name which comes after so many others.
    pub async fn event(&self, name: &str, nth: usize) -> Value {
        let what = format!("event {nth} {name} of the server");
        eventually(&what, async || self.all(name).into_iter().nth(nth)).await
    }

    /// How it ended by itself.
    pub async fn end(mut self) -> (ExitStatus, Vec<Value>) {
        let status = eventually("the end of the server", async || {
            self.child.try_wait().unwrap()
        })
        .await;
        self.event("bye", 0).await;
        (status, self.events.lock().unwrap().clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            for event in self.events.lock().unwrap().iter() {
                eprintln!("server: {event}");
            }
        }
    }
}

fn collect(lines: impl Read + Send + 'static, events: Arc<Mutex<Vec<Value>>>) {
    thread::spawn(move || {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(event) => events.lock().unwrap().push(event),
                Err(_) => eprintln!("server: {line}"),
            }
        }
    });
}
