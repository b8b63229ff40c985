//! Programs that serve on a free port of the loopback interface, and end with
//! the test.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use tempfile::TempDir;

/// Of a start; they take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that serves; it ends when this is dropped, and with it its process
/// group, if it was given one of its own.
pub struct Server {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

/// What a program is told before it starts.
pub struct Setup<'a> {
    pub command: &'a mut Command,
    /// Where it is to listen.
    pub port: u16,
    /// Its own, for a configuration and whatever it writes.
    pub directory: &'a Path,
}

impl Setup<'_> {
    /// Writes a configuration, and returns its path.
    pub fn config(&self, text: &str) -> String {
        let path = self.directory.join("config");
        fs::write(&path, text).expect("a temporary file");
        path.to_str().expect("a plain path").to_owned()
    }
}

impl Server {
    /// Starts `program` as `set_up` has it, and waits until it accepts.
    pub fn start(program: &str, set_up: impl Fn(&mut Setup<'_>)) -> Self {
        let mut log = String::new();
        // Between our look for a free port and its start the port may be taken.
        for _ in 0..3 {
            match Self::try_start(program, &set_up) {
                Ok(server) => return server,
                Err(said) => log = said,
            }
        }
        panic!("{program} does not start:\n{log}");
    }

    fn try_start(program: &str, set_up: impl Fn(&mut Setup<'_>)) -> Result<Self, String> {
        let directory = TempDir::new().expect("a temporary directory");
        let log = File::create(directory.path().join("log")).expect("a temporary file");
        let address = free_address();
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", path + ":/usr/local/sbin:/usr/sbin:/sbin")
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        set_up(&mut Setup {
            command: &mut command,
            port: address.port(),
            directory: directory.path(),
        });
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                panic!("{program} is not installed: run tests/interop/install")
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let mut server = Self {
            child,
            address,
            directory,
        };
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if !matches!(server.child.try_wait(), Ok(None)) {
                return Err(server.log());
            }
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(server.log())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it printed until now.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// It stands still, its connections stay open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It is ours until it was waited for, so the signal finds it.
        let _ = match getpgid(Some(pid)) {
            Ok(group) if group == pid => kill_process_group(pid, signal),
            _ => kill_process(pid, signal),
        };
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing it keeps outlives the test, so nobody has to be polite.
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// An address on which nobody listened a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address")
}
