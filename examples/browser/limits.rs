//! What both ends live by.

use std::time::Duration;

use clap::Args;
use nabiz::{Backoff, Config, ConfigError};
use nabiz_examples::args::time;
use nabiz_examples::cli;
use serde::Serialize;

#[derive(Args, Clone, Copy, Debug)]
pub struct LimitArgs {
    /// Each end beats when it sent nothing else for this long
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    beat: Duration,

    /// Each end closes a link whose other end was silent for this long
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = time)]
    silence: Duration,

    /// The same for the page alone [default: as --silence]
    #[arg(long, value_name = "TIME", value_parser = time)]
    page_silence: Option<Duration>,

    /// The page's first reconnect delay, before jitter
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    backoff_initial: Duration,

    /// The page's longest reconnect delay, before jitter
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    backoff_max: Duration,

    /// The page's attempts start again after a link that lived this long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    stable_after: Duration,
}

/// The two ends, which can live with each other.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub server: Config,
    pub page: Config,
}

impl LimitArgs {
    /// Both ends; exits where they make no sense.
    pub fn agreed(&self) -> Ends {
        let ends = Ends {
            server: self
                .server()
                .unwrap_or_else(|error| refused(error, "silence")),
            page: self
                .page()
                .unwrap_or_else(|error| refused(error, "page-silence")),
        };
        if let Err(error) = ends.server.compatible_with(&ends.page) {
            cli::usage_error::<super::Args>(error);
        }
        ends
    }

    fn server(&self) -> Result<Config, ConfigError> {
        Config::server()
            .with_interval(self.beat)
            .with_silence_timeout(self.silence)
            .build()
    }

    fn page(&self) -> Result<Config, ConfigError> {
        let backoff = Backoff::new()
            .with_initial(self.backoff_initial)
            .with_max(self.backoff_max);
        Config::client()
            .with_interval(self.beat)
            .with_silence_timeout(self.page_silence.unwrap_or(self.silence))
            .with_backoff(backoff)
            .with_stable_after(self.stable_after)
            .build()
    }
}

/// Tells it by the flag instead of the field.
fn refused(error: ConfigError, silence: &str) -> ! {
    match error.field() {
        "interval" => cli::usage_error::<super::Args>(format_args!("--beat {}", error.rule())),
        "silence_timeout" => {
            cli::usage_error::<super::Args>(format_args!("--{silence} {}", error.rule()))
        }
        _ => cli::refused::<super::Args>(error),
    }
}

/// The page's end as the page wants it: `pulse` has the names and the unit
/// of the options in `pulse.js`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageLimits {
    server_silence: Option<u128>,
    pulse: Options,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    interval: Option<u128>,
    silence: Option<u128>,
    write_timeout: Option<u128>,
    connect_timeout: Option<u128>,
    close_grace: u128,
    stall_tolerance: u128,
    backoff: Option<Delays>,
    stable_after: u128,
    max_retry_after: u128,
}

#[derive(Debug, Serialize)]
struct Delays {
    initial: u128,
    multiplier: f64,
    max: u128,
}

impl From<Ends> for PageLimits {
    fn from(Ends { server, page }: Ends) -> Self {
        let millis = |time: Option<Duration>| time.as_ref().map(Duration::as_millis);
        Self {
            server_silence: millis(server.silence_timeout()),
            pulse: Options {
                interval: millis(page.interval()),
                silence: millis(page.silence_timeout()),
                write_timeout: millis(page.write_timeout()),
                connect_timeout: millis(page.connect_timeout()),
                close_grace: page.close_grace().as_millis(),
                stall_tolerance: page.stall_tolerance().as_millis(),
                backoff: page.backoff().map(|backoff| Delays {
                    initial: backoff.initial().as_millis(),
                    multiplier: f64::from(backoff.multiplier().as_permille()) / 1e3,
                    max: backoff.max().as_millis(),
                }),
                stable_after: page.stable_after().as_millis(),
                max_retry_after: page.max_retry_after().as_millis(),
            },
        }
    }
}
