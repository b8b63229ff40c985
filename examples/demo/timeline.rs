//! What happened, kept for the checks and the picture, and printed as it
//! happens.

use std::io::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use nabiz::{CloseReason, EndReason};

/// Who has a lane of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Server,
    A,
    B,
    C,
}

impl Lane {
    pub const ALL: [Self; 4] = [Self::Server, Self::A, Self::B, Self::C];

    /// The client that says hello with this byte.
    pub fn of_client(hello: u8) -> Option<Self> {
        let clients = [Self::A, Self::B, Self::C];
        clients.into_iter().find(|lane| lane.hello() == hello)
    }

    /// What a client says first.
    pub fn hello(self) -> u8 {
        self.name().as_bytes()[0]
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }

    fn style(self) -> Style {
        let colour = match self {
            Self::Server => AnsiColor::White,
            Self::A => AnsiColor::Cyan,
            Self::B => AnsiColor::Magenta,
            Self::C => AnsiColor::Blue,
        };
        colour.on_default().bold()
    }
}

/// What happened to the one whose lane it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// A scene begins.
    Scene(&'static str),
    Listening,
    Dial,
    /// The dial succeeded, which does not mean that anybody is there.
    Connected {
        attempt: u32,
    },
    /// The first word from the server.
    Welcome,
    BeatToServer,
    BeatFromServer,
    /// Its threads stand still; the sockets stay open.
    Freeze,
    Thaw,
    /// A late tick was noticed and forgiven.
    Stalled,
    /// The link, or the dial, has ended, as the client sees it.
    Down(Down),
    /// The server gave this client up.
    Closed {
        why: CloseReason,
        silence: Duration,
    },
    /// The server ended this link without a reason, because the scene says so.
    CutOff,
    /// The server read the end of this client's stream.
    Gone,
    ShutdownAsked,
    /// The client is done; whether it stayed so when asked to come back.
    Done {
        stays: bool,
    },
    /// The server's end, and the show's.
    Stop,
}

/// How a client lost its link, and when it comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Down {
    pub why: EndReason,
    pub silence: Option<Duration>,
    pub retry_in: Option<Duration>,
    pub attempt: u32,
}

impl Down {
    /// How long the silence was that ended it.
    pub fn fatal_silence(&self) -> Option<Duration> {
        let ended_it = matches!(self.why, EndReason::Closed(why) if why.is_liveness());
        self.silence.filter(|_| ended_it)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Since the show began.
    pub at: Duration,
    pub lane: Lane,
    pub what: What,
}

pub struct Timeline {
    start: Instant,
    book: Mutex<Book>,
    news: Condvar,
}

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    /// The glyph of each lane where nothing happens.
    idle: [Idle; 4],
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Idle {
    #[default]
    Absent,
    Up,
    Mute,
    Away,
    Frozen,
}

impl Timeline {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            book: Mutex::default(),
            news: Condvar::new(),
        }
    }

    pub fn record(&self, lane: Lane, what: What) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken under the lock, so that the entries are in order.
        let at = self.start.elapsed();
        let entry = Entry { at, lane, what };
        book.entries.push(entry);
        book.print(&entry);
        self.news.notify_all();
    }

    /// A place in the timeline, to look on from.
    pub fn mark(&self) -> usize {
        self.entries().len()
    }

    pub fn entries(&self) -> Vec<Entry> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.entries.clone()
    }

    /// The `count`-th entry after `mark` that is wanted; waits for it.
    pub fn wait(
        &self,
        mark: usize,
        count: usize,
        name: &str,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, String> {
        const PATIENCE: Duration = Duration::from_secs(6);
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |book: &Book| {
            let since = book.entries[mark..].iter();
            since.filter(|entry| wanted(entry)).nth(count - 1).copied()
        };
        let (book, _) = self
            .news
            .wait_timeout_while(book, PATIENCE, |book| find(book).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        find(&book).ok_or_else(|| format!("{name}: not seen within {} s", PATIENCE.as_secs()))
    }
}

impl Book {
    fn print(&mut self, entry: &Entry) {
        let mut out = anstream::stdout().lock();
        let bold = Style::new().bold();
        // Who pipes this into `head` may stop listening; the show goes on.
        let _ = if let What::Scene(title) = entry.what {
            writeln!(out, "\n{bold}{title}{bold:#}")
        } else {
            let time = entry.at.as_secs_f64();
            let gutter = self.gutter(entry);
            let (style, text) = describe(entry);
            let (lane, name) = (entry.lane.style(), entry.lane.name());
            writeln!(
                out,
                "{time:>7.3}  {gutter}  {lane}{name:<6}{lane:#}  {style}{text}{style:#}"
            )
        };
    }

    /// One glyph a lane: what happens there, or how it stands.
    fn gutter(&mut self, entry: &Entry) -> String {
        let own = entry.lane as usize;
        if let Some(idle) = becomes(entry, self.idle[own]) {
            self.idle[own] = idle;
        }
        let mut gutter = String::new();
        for lane in Lane::ALL {
            let idle = match self.idle[lane as usize] {
                Idle::Absent => "·",
                Idle::Up => "┃",
                Idle::Mute => "│",
                Idle::Away => "┊",
                Idle::Frozen => "▒",
            };
            let glyph = if lane == entry.lane {
                glyph(&entry.what).unwrap_or(idle)
            } else {
                idle
            };
            let style = lane.style();
            gutter.push_str(&format!("{style}{glyph}{style:#} "));
        }
        gutter
    }
}

/// How the lane stands after this, if that changes.
fn becomes(entry: &Entry, before: Idle) -> Option<Idle> {
    Some(match entry.what {
        What::Listening | What::Welcome | What::Thaw => Idle::Up,
        What::Connected { .. } => Idle::Mute,
        What::Freeze => Idle::Frozen,
        What::Down(down) => down.retry_in.map_or(Idle::Absent, |_| Idle::Away),
        // It does not know yet, and if it is frozen it never will.
        What::Closed { .. } if before == Idle::Frozen => Idle::Absent,
        _ => return None,
    })
}

fn glyph(what: &What) -> Option<&'static str> {
    Some(match what {
        What::Dial => "◇",
        What::Connected { .. } => "◆",
        What::BeatToServer => "◀",
        What::BeatFromServer => "▶",
        What::Down(_) | What::Closed { .. } | What::CutOff => "✕",
        What::Stalled => "!",
        _ => return None,
    })
}

fn describe(entry: &Entry) -> (Style, String) {
    let dim = Style::new().dimmed();
    let good = AnsiColor::Green.on_default();
    let bad = AnsiColor::Red.on_default();
    let odd = AnsiColor::Yellow.on_default();
    let is_server = entry.lane == Lane::Server;
    match entry.what {
        What::Scene(title) => (dim, title.into()),
        What::Listening => (good, "listens on 127.0.0.1".into()),
        What::Dial => (dim, "dials".into()),
        What::Connected { attempt: 0 } => (good, "connected".into()),
        What::Connected { attempt } => (good, format!("connected, attempt {attempt}")),
        What::Welcome => (good, "is welcomed by the server".into()),
        What::BeatToServer => (dim, "beat to the server".into()),
        What::BeatFromServer => (dim, "beat from the server".into()),
        What::Freeze if is_server => (
            odd,
            "freezes: sockets stay open, nothing is read or written".into(),
        ),
        What::Freeze => (odd, "freezes: its thread stands still".into()),
        What::Thaw => (odd, "goes on".into()),
        What::Stalled => (odd, "notices its late tick, and convicts nobody".into()),
        What::Down(down) => {
            let mut text = format!("down: {}", down.why);
            if let Some(silence) = down.fatal_silence() {
                text += &format!(" after {:.3} s", silence.as_secs_f64());
            }
            match down.retry_in {
                Some(after) => {
                    let (after, attempt) = (after.as_secs_f64(), down.attempt);
                    text += &format!("; attempt {attempt} follows in {after:.3} s");
                }
                None => text += "; no attempt follows",
            }
            (bad, text)
        }
        What::Closed { why, silence } => {
            let silence = silence.as_secs_f64();
            let text = format!("is closed by the server: {why} after {silence:.3} s");
            (bad, text)
        }
        What::CutOff => (bad, "is cut off by the server".into()),
        What::Gone => (dim, "has left, as the server finds".into()),
        What::ShutdownAsked => (odd, "is asked to shut down".into()),
        What::Stop => (dim, "stops".into()),
        What::Done { stays: true } => (good, "is done, and stays so when asked to return".into()),
        What::Done { stays: false } => (bad, "is done, but came back when asked to".into()),
    }
}
