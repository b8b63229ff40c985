//! The programs as their users see them: processes, sockets, signals.
#![cfg(unix)]

#[path = "programs/crowd.rs"]
mod crowd;
#[path = "programs/leaving.rs"]
mod leaving;
#[path = "programs/replay.rs"]
mod replay;
#[path = "programs/roster.rs"]
mod roster;
#[path = "programs/runtimes.rs"]
mod runtimes;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    Program, keep, keep_without_reader, number, on_each_runtime, run, serve, serve_with_files,
};

fn sleep(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds));
}

/// An address where nobody listens.
fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn help_names_every_flag() {
    let both = "--runtime --heartbeat --interval --interval-jitter --spread-first-beat --only-when-idle \
        --silence-timeout --evidence --write-timeout \
        --hello-timeout --close-grace --stall-tolerance --resume-grace --probes --flood-gap \
        --flood-strikes --max-age --max-age-jitter --seed --json";
    let client = "--answer --peer-heartbeat --answer-timeout --max-unanswered --connect-timeout --backoff --backoff-initial \
        --backoff-multiplier --backoff-max --backoff-jitter --backoff-max-attempts \
        --stable-after --max-retry-after";
    for (name, flags) in [
        ("keep", format!("{both} {client}")),
        (
            "serve",
            format!("{both} --listen --resolution --drain-on-term --quiet"),
        ),
    ] {
        let help = run(name, &["--help"]);
        assert!(help.status.success());
        let text = String::from_utf8(help.stdout).unwrap();
        for flag in flags.split_whitespace() {
            let flag = format!(" {flag}");
            let words = [" <", "\n"].map(|end| format!("{flag}{end}"));
            assert!(words.iter().any(|words| text.contains(words)), "{flag}");
        }
        assert!(text.contains("Events, one line each on stderr"));
        let has_answers = text.contains("--answer-timeout");
        assert_eq!(has_answers, name == "keep", "a roster knows no answers");
    }
}

#[test]
fn bad_input_is_refused_in_one_line() {
    let keep = "127.0.0.1:1";
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "keep",
            &[],
            "keep: the following required arguments were not provided: <HOST:PORT>",
        ),
        (
            "keep",
            &["localhost"],
            "keep: invalid value 'localhost' for '<HOST:PORT>': expected HOST:PORT",
        ),
        (
            "keep",
            &["localhost:http"],
            "keep: invalid value 'localhost:http' for '<HOST:PORT>': \"http\" is no port",
        ),
        (
            "keep",
            &[keep, "--interval", "0s"],
            "keep: --interval must not be zero",
        ),
        (
            "keep",
            &[keep, "--interval", "soon"],
            "keep: invalid value 'soon' for '--interval",
        ),
        (
            "keep",
            &[keep, "--bogus"],
            "keep: unexpected argument '--bogus' found",
        ),
        (
            "keep",
            &[keep, "--heartbeat", r"\q"],
            "keep: invalid value '\\q' for '--heartbeat",
        ),
        (
            "keep",
            &[keep, "--heartbeat", ""],
            "keep: invalid value '' for '--heartbeat",
        ),
        (
            "keep",
            &[keep, "--backoff-multiplier", "0.5"],
            "keep: --backoff-multiplier must be at least 1",
        ),
        (
            "keep",
            &[keep, "--hello-timeout", "120s"],
            "keep: --hello-timeout must be below silence_timeout",
        ),
        (
            "keep",
            &[keep, "--evidence", "heartbeats"],
            "keep: evidence of heartbeats alone needs",
        ),
        (
            "serve",
            &["--listen", "x"],
            "serve: invalid value 'x' for '--listen",
        ),
        (
            "serve",
            &["--probes", "0"],
            "serve: --probes must not be zero",
        ),
        (
            "serve",
            &["--connect-timeout", "1s"],
            "serve: unexpected argument '--connect-timeout'",
        ),
        (
            "serve",
            &["--answer-timeout", "3s"],
            "serve: invalid value '3s' for '--answer-timeout <ANSWER_TIMEOUT>': serve judges all \
             clients by one roster, which does not know their answers",
        ),
        (
            "serve",
            &["--max-unanswered=2"],
            "serve: invalid value '2' for '--max-unanswered <MAX_UNANSWERED>': serve judges all",
        ),
        (
            "keep",
            &[keep, "--runtime", "async-std"],
            "keep: invalid value 'async-std' for '--runtime <RUNTIME>' [possible values: blocking, tokio, smol]",
        ),
        (
            "serve",
            &["--drain-on-term", "soon"],
            "serve: invalid value 'soon' for '--drain-on-term",
        ),
        (
            "crowd",
            &["--connections", "0"],
            "crowd: invalid value '0' for '--connections",
        ),
        (
            "crowd",
            &["--interval", "0s"],
            "crowd: --interval must not be zero",
        ),
        (
            "crowd",
            &["--pid", "1"],
            "crowd: the following required arguments were not provided: <HOST:PORT>",
        ),
        (
            "crowd",
            &[keep, "--runtime", "smol"],
            "crowd: the argument '[HOST:PORT]' cannot be used with '--runtime <RUNTIME>'",
        ),
        (
            "roster",
            &["--connections", "0"],
            "roster: invalid value '0' for '--connections",
        ),
        (
            "roster",
            &["--duration", "59s"],
            "roster: --duration must be from 1m to a year",
        ),
        (
            "roster",
            &["--interval", "0s"],
            "roster: --interval must be from 20ms to the duration",
        ),
        (
            "roster",
            &["--silence-timeout", "1000days"],
            "roster: --silence-timeout is too long for so fine a resolution",
        ),
        (
            "serve",
            &["--resolution", "0s"],
            "serve: --resolution must not be zero",
        ),
        (
            "serve",
            &["--resolution", "1us"],
            "serve: --silence-timeout is too long for so fine a resolution",
        ),
    ];
    for (name, args, expected) in cases {
        let refused = run(name, args);
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(message.starts_with(expected), "{args:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn a_client_that_beats_is_kept() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "--silence-timeout 3s --interval none");
        let mut client = keep(
            runtime,
            &address,
            r"--heartbeat ping\n --answer pong\n --interval 1s --silence-timeout 3s",
        );
        client.events.expect("up attempt=0");
        sleep(8.0);
        let events = client.events.all();
        let beats = events.iter().filter(|line| line.contains(" beat id="));
        assert!((6..=12).contains(&beats.count()), "{events:#?}");
        client.events.expect("answer rtt=");
        client.events.assert_none("down");
        server.events.assert_none("closed");

        client.interrupt();
        client.events.assert_none("retry_in");
        let closed = server.events.expect("closed conn=1");
        assert!(closed.contains("reason=Disconnected"), "{closed}");
        server.interrupt();
    });
}

#[test]
fn a_client_that_does_not_beat_is_closed_and_comes_back() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "--silence-timeout 3s --interval none");
        let mut client = keep(runtime, &address, "--interval none --backoff-initial 100ms");
        let closed = server.events.expect("closed conn=1 reason=PeerSilent");
        assert!((3.0..4.0).contains(&number(&closed, "silent")), "{closed}");
        let down = client.events.expect("down reason=Disconnected");
        assert!(number(&down, "retry_in") <= 0.1, "{down}");
        client.events.expect("up attempt=1");
        server.events.expect("open conn=2");
    });
}

#[test]
fn a_client_comes_back_to_a_server_that_was_killed() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "");
        let mut client = keep(
            runtime,
            &address,
            "--backoff-initial 300ms --backoff-jitter none",
        );
        client.events.expect("up attempt=0");
        server.signal(Signal::KILL);
        server.wait();
        let down = client.events.expect("down reason=Disconnected");
        assert_eq!(number(&down, "retry_in"), 0.3);
        let down = client
            .events
            .expect("down reason=ConnectFailed error=\"Connection refused");
        assert_eq!(number(&down, "retry_in"), 0.48);
        let (mut server, _) = serve(runtime, &format!("--listen {address}"));
        client.events.expect("up attempt=");
        client.write(b"again\n");
        client.stdout.expect("again");
        client.interrupt();
        server.interrupt();
    });
}

#[test]
fn the_frozen_convict_nobody() {
    on_each_runtime(|runtime| {
        const PATIENT: &str = "--interval 1s --silence-timeout 60s";
        const STRICT: &str = "--interval 1s --silence-timeout 3s";
        let freeze = |client_args: &str, server_args: &str, frozen: [bool; 2]| {
            let (server, address) = serve(runtime, server_args);
            let mut client = keep(runtime, &address, client_args);
            client.events.expect("up attempt=0");
            sleep(1.5);
            let pair = [&client, &server];
            let frozen: Vec<&Program> = (pair.into_iter().zip(frozen))
                .filter_map(|(program, frozen)| frozen.then_some(program))
                .collect();
            frozen
                .iter()
                .for_each(|program| program.signal(Signal::STOP));
            sleep(7.0);
            frozen
                .iter()
                .for_each(|program| program.signal(Signal::CONT));
            sleep(4.0); // longer than the limits
            client.events.assert_none("down");
            server.events.assert_none("closed");
            (client, server)
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut client, _server) = freeze(STRICT, PATIENT, [true, false]);
                client.events.expect("stall");
            });
            scope.spawn(|| {
                let (_client, mut server) = freeze(PATIENT, STRICT, [false, true]);
                server.events.expect("stall");
            });
            scope.spawn(|| {
                let (mut client, mut server) = freeze(STRICT, STRICT, [true, true]);
                client.events.expect("stall");
                server.events.expect("stall");
            });
        });
    });
}

/// That long after the limit a verdict may come: the resolution, unless it is
/// told another, and what a busy machine takes to wake up.
const LATE: f64 = 0.02 + 0.1;

#[test]
fn a_client_frozen_for_good_is_closed_at_the_limit() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "--silence-timeout 3s --interval 1s");
        let mut client = keep(runtime, &address, "--interval 500ms");
        client.events.expect("beat id=2");
        client.signal(Signal::STOP);
        let start = Instant::now();
        let closed = server.events.expect("closed conn=1 reason=PeerSilent");
        let silent = number(&closed, "silent");
        assert!((3.0..3.0 + LATE).contains(&silent), "{closed}");
        assert!(start.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn a_crowd_that_falls_silent_is_closed_in_time() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "--silence-timeout 3s --interval none");
        let crowd: Vec<TcpStream> = (0..300).map(|_| connect(&address)).collect();
        for _ in &crowd {
            let closed = server.events.expect("closed conn=");
            assert!(closed.contains("reason=PeerSilent"), "{closed}");
            assert!((3.0..4.0).contains(&number(&closed, "silent")), "{closed}");
        }
    });
}

#[test]
fn a_frozen_server_convicts_none_of_many() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "--silence-timeout 3s --interval 1s");
        let mut crowd: Vec<TcpStream> = (0..30).map(|_| connect(&address)).collect();
        let mut talk = |seconds: f64| {
            let start = Instant::now();
            while start.elapsed().as_secs_f64() < seconds {
                for stream in &mut crowd {
                    stream.write_all(b"ping\n").unwrap();
                }
                sleep(0.3);
            }
        };
        talk(1.0);
        server.signal(Signal::STOP);
        talk(10.0);
        server.signal(Signal::CONT);
        talk(4.0);
        server.events.expect("stall");
        server.events.assert_none("closed");
        let events = server.events.all();
        let stalls = events.iter().filter(|line| line.ends_with(" stall"));
        assert!(stalls.count() < 3, "once for all of them");
        // Forgiven, not forgotten.
        for _ in &crowd {
            let closed = server.events.expect("closed conn=");
            assert!(closed.contains("reason=PeerSilent"), "{closed}");
            assert!((3.0..4.0).contains(&number(&closed, "silent")), "{closed}");
        }
    });
}

#[test]
fn a_coarse_resolution_closes_many_at_once() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(
            runtime,
            "--silence-timeout 3s --interval none --resolution 1s",
        );
        let crowd = [(); 20].map(|()| {
            sleep(0.1);
            connect(&address)
        });
        let closed = crowd.each_ref().map(|_| {
            let closed = server.events.expect("closed conn=");
            let silent = number(&closed, "silent");
            assert!((3.0..4.0 + LATE).contains(&silent), "{closed}");
            closed.split(' ').next().unwrap().parse::<f64>().unwrap()
        });
        // They came one by one, a tenth of a second apart.
        let pauses = closed.windows(2).filter(|pair| pair[1] - pair[0] > 0.05);
        assert!(pauses.count() < 12, "{closed:?}");
    });
}

#[test]
fn a_server_drains_politely() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "");
        let mut clients = [(); 3].map(|()| keep(runtime, &address, "--backoff none"));
        for client in &mut clients {
            client.events.expect("up");
        }
        server.events.expect("open conn=3"); // up is before that: the queue is the kernel's
        server.interrupt();
        for client in &mut clients {
            server.events.assert_none("Disconnected");
            client.events.expect("down reason=Disconnected");
            client.events.expect("bye");
            assert_eq!(client.wait().code(), Some(1), "nobody asked it to end");
        }
        let drained = server.events.all();
        let drained = drained
            .iter()
            .filter(|line| line.contains("reason=Draining"));
        assert_eq!(drained.count(), 3);
    });
}

#[test]
fn a_second_interrupt_ends_at_once() {
    on_each_runtime(|runtime| {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let mut client = keep(runtime, &address, "--close-grace 60s");
        client.events.expect("up");
        client.signal(Signal::TERM);
        sleep(0.5);
        client.signal(Signal::INT);
        assert_eq!(client.wait().code(), Some(130));
    });
}

#[test]
fn an_interrupt_ends_a_dial_and_a_wait() {
    on_each_runtime(|runtime| {
        let mut client = keep(
            runtime,
            &refused(),
            "--backoff-initial 60s --backoff-jitter none",
        );
        client.events.expect("down reason=ConnectFailed");
        client.interrupt();
        // Nobody answers there: a block that is reserved for documentation.
        let mut client = keep(runtime, "192.0.2.1:4000", "");
        sleep(0.3);
        client.interrupt();
    });
}

#[test]
fn json_lines() {
    on_each_runtime(|runtime| {
        let (mut server, address) =
            serve(runtime, "--json --interval 500ms --only-when-idle false");
        let mut client = keep(
            runtime,
            &address,
            r"--json --interval 300ms --answer pong\n",
        );
        client.events.expect(r#""event":"answer","rtt":"#);
        server.events.expect(r#""event":"beat","conn":1,"id":1"#);
        client.interrupt();
        server.interrupt();
        for program in [&client, &server] {
            let mut before = 0.0;
            for line in program.events.all() {
                let event: serde_json::Value = serde_json::from_str(&line).unwrap();
                let after = event["t"].as_f64().unwrap();
                assert!(after >= before, "{line}");
                assert!(event["event"].is_string(), "{line}");
                before = after;
            }
        }
    });
}

#[test]
fn a_seed_replays() {
    on_each_runtime(|runtime| {
        let address = refused();
        let delays = |seed: u32| {
            let flags = "--backoff-initial 20ms --backoff-max-attempts 6";
            let mut client = keep(runtime, &address, &format!("{flags} --seed {seed}"));
            client.events.expect("gave_up reason=AttemptsExhausted");
            client.events.expect("bye");
            assert_eq!(client.wait().code(), Some(1));
            let events = client.events.all();
            let retries = events.iter().filter(|line| line.contains("retry_in="));
            let delays: Vec<_> = retries.map(|line| number(line, "retry_in")).collect();
            assert_eq!(delays.len(), 6);
            delays
        };
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    });
}

#[test]
fn lines_come_back() {
    on_each_runtime(|runtime| {
        let (_server, address) = serve(runtime, "");
        let mut client = keep(runtime, &address, "");
        client.write(b"one\ntwo\n");
        client.stdout.expect("one");
        client.stdout.expect("two");
        client.write(b"no end");
        client.close_stdin(); // which ends nothing
        sleep(0.3);
        client.events.assert_none("down");
        client.interrupt();
    });
}

#[test]
fn lines_wait_for_a_connection() {
    on_each_runtime(|runtime| {
        let address = refused();
        let mut client = keep(
            runtime,
            &address,
            "--backoff-initial 100ms --backoff-max 200ms",
        );
        client.write(b"early\n");
        client.events.expect("down reason=ConnectFailed");
        let (_server, _) = serve(runtime, &format!("--listen {address}"));
        client.stdout.expect("early");
    });
}

/// A client of our own, that waits no longer than it must.
fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

#[test]
fn pings_in_pieces() {
    on_each_runtime(|runtime| {
        let (_server, address) = serve(runtime, "");
        let mut stream = connect(&address);
        for piece in ["pi", "ng\npin", "g\r\nping\nec", "ho"] {
            stream.write_all(piece.as_bytes()).unwrap();
            sleep(0.05);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "pong\npong\npong\n", "half a line gets nothing");
    });
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "");
        let mut stream = connect(&address);
        let lines = "some line\n".repeat(10_000);
        stream.write_all(lines.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer == lines);
        server.events.expect("closed conn=1 reason=Disconnected");
    });
}

#[test]
fn a_reset_ends_one_connection_only() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "");
        let mut other = connect(&address);
        let mut stream = connect(&address);
        stream.write_all(b"unread\n").unwrap();
        sleep(0.3);
        drop(stream); // with the echo unread, which resets
        server.events.expect("closed conn=2 reason=Disconnected");
        other.write_all(b"ping\n").unwrap();
        let mut answer = [0; 5];
        other.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"pong\n");
    });
}

#[test]
fn a_line_without_end_is_refused() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "");
        let mut stream = connect(&address);
        stream.write_all(&vec![b'x'; 70_000]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        drop(stream);
        assert!(answer.is_empty());
        server.events.expect("closed conn=1 reason=Rejected");
    });
}

/// Writes lines until nothing more is taken.
fn stuff(stream: &TcpStream) {
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let lines = "a line that nobody reads\n".repeat(1000);
    loop {
        match (&*stream).write_all(lines.as_bytes()) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    on_each_runtime(|runtime| {
        let (mut server, address) = serve(runtime, "--interval 500ms --write-timeout 2s");
        let stream = connect(&address);
        stuff(&stream);
        server.events.expect("closed conn=1 reason=WriteStalled");
    });
}

#[test]
fn a_client_that_reads_slowly_is_kept() {
    on_each_runtime(|runtime| {
        let (server, address) = serve(runtime, "--interval none --silence-timeout 1s");
        let writer = connect(&address);
        let mut reader = writer.try_clone().unwrap();
        let lines = "some line\n".repeat(800_000);
        let total = lines.len();
        thread::scope(|scope| {
            scope.spawn(move || {
                (&writer).write_all(lines.as_bytes()).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut echoed = 0;
            let mut buffer = vec![0; 200_000];
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => break,
                    read => echoed += read,
                }
                sleep(0.05);
            }
            assert_eq!(echoed, total);
        });
        server.events.assert_none("PeerSilent");
    });
}

#[test]
fn open_files_are_no_limit_before_the_hard_one() {
    let (mut server, address) = serve_with_files("-Sn 40", "");
    let _crowd: Vec<TcpStream> = (0..60).map(|_| connect(&address)).collect();
    server.events.expect("open conn=60");

    let (mut server, address) = serve_with_files("-n 40", "");
    let crowd: Vec<TcpStream> = (0..60).map(|_| connect(&address)).collect();
    let failed = server.events.expect("accept_failed");
    assert!(failed.contains("error=\"Too many open files"), "{failed}");
    assert!(failed.ends_with(" files=40"), "{failed}");
    drop(crowd);
    server.events.expect("open conn=60"); // it got better
}

#[test]
fn whoever_reads_keep_may_leave() {
    on_each_runtime(|runtime| {
        let (_server, address) = serve(runtime, "");
        let line = "a line\n".repeat(100);
        let mut client = keep_without_reader(runtime, &address);
        client.write(line.as_bytes());
        assert_eq!(client.wait().code(), Some(0));
        client.events.expect("bye");
        client.events.assert_none("panicked");
    });
}
