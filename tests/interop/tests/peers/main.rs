//! Every wrapper against the real thing, with heartbeats and without. What was
//! measured is printed as a table in the end.

mod brokers;
mod config;
mod freezes;
mod nats;
mod proxies;
mod redis;
mod trickles;
mod websockets;
mod wrappers;

use std::process::ExitCode;
use std::sync::mpsc;

use libtest_mimic::{Arguments, Trial};

/// A peer, what is done to it, and a test that says what it measured.
type Case = (&'static str, &'static str, fn() -> String);

/// They wait more than they work.
const THREADS: usize = 8;

fn main() -> ExitCode {
    let cases = [
        proxies::CASES,
        nats::CASES,
        brokers::CASES,
        websockets::CASES,
        redis::CASES,
        freezes::CASES,
        trickles::CASES,
        wrappers::CASES,
    ];
    let (sender, rows) = mpsc::channel();
    let trials = cases
        .concat()
        .into_iter()
        .enumerate()
        .map(|(number, case)| {
            let (peer, what, test) = case;
            let sender = sender.clone();
            Trial::test(format!("{peer}, {what}"), move || {
                let measured = test();
                sender.send((number, peer, what, measured))?;
                Ok(())
            })
        });
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let mut rows: Vec<_> = rows.try_iter().collect();
    rows.sort();
    if !rows.is_empty() {
        println!("| peer | | measured |\n|---|---|---|");
    }
    for (_, peer, what, measured) in rows {
        println!("| {peer} | {what} | {measured} |");
    }
    conclusion.exit_code()
}
