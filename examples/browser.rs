//! A page that keeps a WebSocket to a roster, by the same rules at both ends.
//!
//! `server` gives out the page and takes its links, `connection` is one of
//! them, `roster` what all pages are told about all links, `limits` what both
//! ends live by. The page's end is `browser/pulse.js`, a file to copy.

#[path = "browser/connection.rs"]
mod connection;
#[path = "browser/limits.rs"]
mod limits;
#[path = "browser/roster.rs"]
mod roster;
#[path = "browser/server.rs"]
mod server;

use std::fmt::Display;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use nabiz_examples::args::time;
use nabiz_examples::cli;
use nabiz_examples::events::{Line, Log};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use limits::LimitArgs;
use server::Server;

/// Serves a page that keeps a WebSocket to this server, and shows how both ends
/// see it.
///
/// Open the address in a browser, or in several. Both ends beat when they have
/// nothing else to say, and close a link whose other end fell silent; the page
/// comes back. Freeze it, hide it, put the machine to sleep, stop this server or
/// kill it, and see what each end makes of it.
///
/// The first line on stdout tells the address: `listening http://127.0.0.1:8080/`.
/// Ctrl-C closes all links, spread over a while, and tells each when to come
/// back; a second one exits at once.
#[derive(Parser)]
#[command(name = "browser", version, after_long_help = EVENTS)]
struct Args {
    /// Where to listen; 0.0.0.0: for other machines too
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: IpAddr,

    /// Where to listen; 0: any that is free
    #[arg(long, value_name = "NUMBER", default_value = "8080")]
    port: u16,

    #[command(flatten)]
    limits: LimitArgs,

    /// Spread the goodbyes of Ctrl-C over this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    drain: Duration,

    /// Events as JSON lines
    #[arg(long)]
    json: bool,
}

const EVENTS: &str = r#"Events, one line each on stderr, seconds since the start first:
  1.204 open conn=1
  2.346 beat conn=1 id=1           a heartbeat of ours was written
  12.348 closed conn=1 reason=PeerSilent silent=6.004
  13.102 closed conn=2 reason=Disconnected silent=0.512 error="…"
  15.000 drain                     Ctrl-C came
  16.250 closed conn=3 reason=Draining silent=1.204 retry_in=4.911
  20.000 bye                       always the last

With --json the same as objects with "t" and "event"; every time is in seconds.

Times are written as 500ms, 5s, 1m 30s, 2h. Exit code: 0 after Ctrl-C, 1 when the address
cannot be listened on, 2 for a usage error, 130 after a second Ctrl-C.

Example: browser --port 8080 --beat 2s --silence 6s"#;

fn main() -> ExitCode {
    let args: Args = cli::parse();
    let limits = args.limits.agreed();
    let stop = Arc::new(Notify::new());
    if let Err(error) = ctrlc::set_handler(stopper(Arc::clone(&stop))) {
        return failed("cannot catch Ctrl-C", error);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed("cannot start", error),
    };
    let log = Log::new(args.json);
    let code = runtime.block_on(async {
        let listener = match TcpListener::bind((args.host, args.port)).await {
            Ok(listener) => listener,
            Err(error) => {
                return failed(
                    &format!("cannot listen on {}:{}", args.host, args.port),
                    error,
                );
            }
        };
        let (server, driver) = match Server::new(limits, log) {
            Ok(made) => made,
            Err(error) => cli::refused::<Args>(error),
        };
        if let Ok(address) = listener.local_addr() {
            // Serving does not depend on who reads this.
            let mut stdout = io::stdout();
            let _ = writeln!(stdout, "listening http://{address}/").and_then(|()| stdout.flush());
        }
        tokio::spawn(driver.run());
        tokio::select! {
            served = server.serve(listener) => match served {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed("cannot serve", error),
            },
            () = server.drain_after(stop.notified(), args.drain) => ExitCode::SUCCESS,
        }
    });
    if code == ExitCode::SUCCESS {
        log.write(Line::new("bye"));
    }
    code
}

/// The first Ctrl-C ends politely, the second at once.
fn stopper(stop: Arc<Notify>) -> impl FnMut() + Send + 'static {
    let stopping = AtomicBool::new(false);
    move || {
        if stopping.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
        stop.notify_one();
    }
}

fn failed(what: &str, error: impl Display) -> ExitCode {
    eprintln!("browser: {what}: {error}");
    ExitCode::FAILURE
}
