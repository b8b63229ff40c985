//! The process at the other end.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use nabiz_examples::args::Runtime;

/// Ends with us, if it is ours.
pub struct Server {
    address: String,
    pid: Option<u32>,
    child: Option<Child>,
}

/// What a process has taken so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// In bytes.
    pub memory: u64,
    pub processor: Duration,
}

impl Server {
    pub fn given(address: &str, pid: Option<u32>) -> Self {
        Self {
            address: address.into(),
            pid,
            child: None,
        }
    }

    /// The example of that name, which lies beside this one.
    pub fn start(runtime: Runtime, interval: Duration) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!("cannot start serve: {error}; build it first: cargo build --examples")
        };
        let ours = env::current_exe().map_err(|error| failed(&error))?;
        let name = runtime.to_possible_value();
        let mut child = Command::new(ours.with_file_name("serve"))
            .args(["--quiet", "--only-when-idle", "false", "--runtime"])
            .args(name.iter().map(|name| name.get_name()))
            .args(["--interval", &format!("{}ns", interval.as_nanos())])
            .args([
                "--silence-timeout",
                &format!("{}ns", 3 * interval.as_nanos()),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let read = BufReader::new(stdout).read_line(&mut line);
            read.map_err(|error| failed(&error))?;
        }
        let mut server = Self {
            address: String::new(),
            pid: Some(child.id()),
            child: Some(child),
        };
        let address = line.trim_end().strip_prefix("listening ");
        server.address = address.ok_or_else(|| failed(&"it does not listen"))?.into();
        Ok(server)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// None where it is not known.
    pub fn usage(&self) -> Option<Usage> {
        self.pid.and_then(usage)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(target_os = "linux")]
fn usage(pid: u32) -> Option<Usage> {
    use rustix::param::{clock_ticks_per_second, page_size};

    let read = |name| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let pages: u64 = read("statm")?.split(' ').nth(1)?.parse().ok()?;
    // The name, in brackets, may have spaces; the fields after it have none.
    let stat = read("stat")?;
    let fields = stat.rsplit_once(')')?.1;
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.map(|time| time.parse().unwrap_or(0)).sum();
    Some(Usage {
        memory: pages * page_size() as u64,
        processor: Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64),
    })
}

#[cfg(not(target_os = "linux"))]
fn usage(_: u32) -> Option<Usage> {
    None
}
