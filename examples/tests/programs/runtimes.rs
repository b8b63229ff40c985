//! Whatever they run on, the programs say the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::support::{Program, keep, on_each_runtime, serve};
use super::{connect, sleep};

/// A line, but for what no two runs have in common.
#[derive(Debug)]
struct Said {
    words: String,
    /// When, and whatever else was measured.
    times: Vec<f64>,
}

/// More than that is not the machine's doing.
const APART: f64 = 0.6;

fn said(line: &str) -> Said {
    let (at, rest) = line.split_once(' ').unwrap();
    let mut times = vec![at.parse().unwrap()];
    let mut words = Vec::new();
    for word in rest.split(' ') {
        match word.split_once('=') {
            Some(("silent", silent)) => times.push(silent.parse().unwrap()),
            Some(("rtt" | "peer", _)) => {}
            _ => words.push(word),
        }
    }
    let words = words.join(" ");
    Said { words, times }
}

/// Each told the same story.
fn assert_same(stories: &[Vec<String>; 3]) {
    let [first, others @ ..] = stories.each_ref().map(|story| {
        let lines = story.iter().map(|line| said(line));
        lines.collect::<Vec<_>>()
    });
    for other in &others {
        let words = |story: &[Said]| story.iter().map(|said| said.words.clone()).collect();
        let [one, another]: [Vec<String>; 2] = [words(&first), words(other)];
        assert_eq!(one, another, "{stories:#?}");
        for (one, another) in first.iter().zip(other) {
            let pairs = one.times.iter().zip(&another.times);
            let apart = pairs.map(|(one, another)| (one - another).abs());
            let apart = apart.fold(0.0, f64::max);
            assert!(apart < APART, "{one:?} {another:?} {stories:#?}");
        }
    }
}

/// Answers so many pings, and leaves the rest unread.
fn answer(stream: &TcpStream, pings: usize) {
    let mut lines = BufReader::new(stream).lines();
    for _ in 0..pings {
        assert_eq!(lines.next().unwrap().unwrap(), "ping");
        { stream }.write_all(b"pong\n").unwrap();
    }
}

/// What `keep` makes of a peer that plays all its tricks: its lines, its bytes.
fn tricked(runtime: &str) -> (Vec<String>, Vec<String>) {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap().to_string();
    let mut client = keep(
        runtime,
        &address,
        r"--seed 7 --interval 400ms --silence-timeout 1s --stall-tolerance 900ms --answer pong\n
          --backoff-initial 200ms --backoff-multiplier 1.5 --backoff-jitter 20% --stable-after 1s",
    );
    // Greets, answers for a while, and falls silent.
    let (mut stream, _) = peer.accept().unwrap();
    stream.write_all(b"hello\n").unwrap();
    answer(&stream, 3);
    let mut unanswered = String::new();
    stream.read_to_string(&mut unanswered).unwrap();
    assert_eq!(unanswered, "ping\nping\n");
    // Accepts and drops.
    drop(peer.accept().unwrap());
    // Resets.
    let (mut stream, _) = peer.accept().unwrap();
    stream.write_all(b"more\n").unwrap();
    client.stdout.expect("more");
    client.write(b"not read\n");
    sleep(0.1);
    drop(stream);
    // Does not listen for a while.
    drop(peer);
    client.events.expect("ConnectFailed");
    let peer = TcpListener::bind(&address).unwrap();
    // Listens to the end.
    let (stream, _) = peer.accept().unwrap();
    client.events.expect("up");
    client.write(b"a line\n");
    let mut lines = BufReader::new(&stream).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "a line");
    client.signal(Signal::INT);
    assert_eq!(lines.count(), 0, "it says goodbye");
    drop(stream);
    assert_eq!(client.wait().code(), Some(0));
    client.events.expect("bye");
    (client.events.all(), client.stdout.all())
}

#[test]
fn keep_says_the_same_on_each() {
    let told = on_each_runtime(tricked);
    assert_same(&told.each_ref().map(|(events, _)| events.clone()));
    for (events, stdout) in &told {
        assert_eq!(stdout, &["hello", "pong", "pong", "pong", "more"]);
        for ending in [
            "down reason=PeerSilent silent=1.0",
            "down reason=Disconnected",
            "error=\"Connection reset by peer",
            "down reason=ConnectFailed error=\"Connection refused",
            "down reason=Shutdown",
        ] {
            let told = events.iter().any(|line| line.contains(ending));
            assert!(told, "{ending} in {events:#?}");
        }
    }
}

/// What came until the end.
fn rest(mut stream: TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut rest);
    String::from_utf8(rest).unwrap()
}

/// What `serve` makes of clients with all their tricks: its lines, and what it
/// answered.
fn visited(runtime: &str) -> (Vec<String>, Vec<String>) {
    let (mut server, address) = serve(
        runtime,
        "--interval 400ms --silence-timeout 1s --stall-tolerance 900ms --drain-on-term 300ms",
    );
    let mut answers = Vec::new();
    let closed = |server: &mut Program, client: usize| {
        server.events.expect(&format!("closed conn={client} "));
    };
    // Talks, and leaves in the middle of a line.
    let mut stream = connect(&address);
    stream.write_all(b"ping\nfirst\nsec").unwrap();
    stream.write_all(b"ond\nthi").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    answers.push(rest(stream));
    closed(&mut server, 1);
    // Falls silent.
    let beats = rest(connect(&address)).replace("ping\n", ".");
    assert!((2..=3).contains(&beats.len()), "{beats}");
    closed(&mut server, 2);
    // Knows no end.
    let mut stream = connect(&address);
    stream.write_all(&vec![b'x'; 70_000]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    answers.push(rest(stream));
    closed(&mut server, 3);
    // Resets.
    let mut stream = connect(&address);
    stream.write_all(b"unread\n").unwrap();
    sleep(0.1);
    drop(stream);
    closed(&mut server, 4);
    // Is still there when the server ends.
    let mut stream = connect(&address);
    stream.write_all(b"to the end\n").unwrap();
    server.events.expect("open conn=5");
    thread::sleep(Duration::from_millis(50)); // it is echoed
    server.signal(Signal::TERM);
    answers.push(rest(stream).replace("ping\n", ""));
    assert_eq!(server.wait().code(), Some(0));
    server.events.expect("bye");
    // How many beats went out is a matter of when the client came.
    let events = server.events.all().into_iter();
    let events = events.filter(|line| !line.contains(" beat "));
    (events.collect(), answers)
}

#[test]
fn serve_says_the_same_on_each() {
    let told = on_each_runtime(visited);
    assert_same(&told.each_ref().map(|(events, _)| events.clone()));
    for (_, answers) in &told {
        assert_eq!(answers, &["pong\nfirst\nsecond\n", "", "to the end\n"]);
    }
}
