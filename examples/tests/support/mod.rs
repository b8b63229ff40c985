//! The example programs as child processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program, killed when dropped.
pub struct Program {
    child: Child,
    pub stdout: Lines,
    pub events: Lines,
}

/// The example of that name, which lies beside the tests.
fn command(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let target: PathBuf = test.parent().unwrap().parent().unwrap().into();
    let program = target.join("examples").join(name);
    assert!(program.exists(), "build it first: cargo build --examples");
    Command::new(program)
}

/// Runs a program to its end.
pub fn run(name: &str, args: &[&str]) -> Output {
    let mut command = command(name);
    command.args(args).stdin(Stdio::null()).output().unwrap()
}

/// The same with something on stdin, little enough to fit a pipe.
pub fn run_with_input(name: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = command(name);
    command.args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

pub const RUNTIMES: [&str; 3] = ["blocking", "tokio", "smol"];

/// The same on each runtime, all at the same time.
pub fn on_each_runtime<R: Send>(test: impl Fn(&'static str) -> R + Sync) -> [R; 3] {
    thread::scope(|scope| {
        let tests = RUNTIMES.map(|runtime| {
            let test = || test(runtime);
            let thread = thread::Builder::new().name(runtime.into());
            thread.spawn_scoped(scope, test).unwrap()
        });
        tests.map(|test| test.join().expect("see above"))
    })
}

/// A client.
pub fn keep(runtime: &str, address: &str, args: &str) -> Program {
    Program::start("keep", &format!("{address} --runtime {runtime} {args}"))
}

/// A client whose stdout is closed.
pub fn keep_without_reader(runtime: &str, address: &str) -> Program {
    let mut keep = Program::spawn("keep", &format!("{address} --runtime {runtime}"));
    drop(keep.stdout.take());
    Program::watch(keep)
}

/// A server, and its address.
pub fn serve(runtime: &str, args: &str) -> (Program, String) {
    listening(Program::start(
        "serve",
        &format!("--runtime {runtime} {args}"),
    ))
}

/// A server that may have only so many files open, if it leaves it at that.
pub fn serve_with_files(limit: &str, args: &str) -> (Program, String) {
    let serve = command("serve");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]);
    shell.arg(serve.get_program());
    listening(Program::watch(Program::piped(shell, args)))
}

fn listening(mut server: Program) -> (Program, String) {
    let line = server.stdout.expect("listening");
    let address = line.strip_prefix("listening ").unwrap();
    (server, address.into())
}

impl Program {
    fn start(name: &str, args: &str) -> Self {
        Self::watch(Self::spawn(name, args))
    }

    fn spawn(name: &str, args: &str) -> Child {
        Self::piped(command(name), args)
    }

    fn piped(mut command: Command, args: &str) -> Child {
        command
            .args(args.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn watch(mut child: Child) -> Self {
        let stdout = child.stdout.take().map(Lines::of).unwrap_or_default();
        let events = child.stderr.take().map(Lines::of).unwrap_or_default();
        Self {
            child,
            stdout,
            events,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
    }

    /// Ends stdin.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// How it ended.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends by Ctrl-C as it should.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
        assert_eq!(self.wait().code(), Some(0));
        self.events.expect("bye");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream as they come.
#[derive(Default)]
pub struct Lines {
    seen: Arc<(Mutex<Vec<String>>, Condvar)>,
    /// Those before were expected already.
    next: usize,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let collected = Arc::clone(&lines.seen);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                collected.0.lock().unwrap().push(line);
                collected.1.notify_all();
            }
        });
        lines
    }

    /// All that came so far.
    pub fn all(&self) -> Vec<String> {
        self.seen.0.lock().unwrap().clone()
    }

    /// Waits for the next line that contains this.
    pub fn expect(&mut self, part: &str) -> String {
        let start = Instant::now();
        let (lines, came) = &*self.seen;
        let mut lines = lines.lock().unwrap();
        loop {
            while let Some(line) = lines.get(self.next) {
                self.next += 1;
                if line.contains(part) {
                    return line.clone();
                }
            }
            assert!(start.elapsed() < PATIENCE, "no {part:?} in {lines:#?}");
            lines = came.wait_timeout(lines, PATIENCE).unwrap().0;
        }
    }

    /// So far no line contains this.
    pub fn assert_none(&self, part: &str) {
        let all = self.all();
        let found = all.iter().any(|line| line.contains(part));
        assert!(!found, "{part:?} in {all:#?}");
    }
}

/// The number in a line's `name=number`.
pub fn number(line: &str, name: &str) -> f64 {
    let fields = line.split_whitespace().filter_map(|f| f.split_once('='));
    let mut values = fields.filter(|(field, _)| *field == name);
    let (_, value) = values.next().unwrap_or_else(|| panic!("{name} in {line}"));
    value.parse().unwrap()
}
