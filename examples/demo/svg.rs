//! The timeline as a picture: a lane for each actor, time to the right.

use std::time::Duration;

use svg::node::element::Rectangle;

use crate::shapes::{
    AMBER, BANDS, BAR, Bar, Canvas, FAINT, INK, RED, RULE, colour, round, text, width, wrap,
};
use crate::timeline::{Entry, Lane, What};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = WIDTH - 24.0;
/// Of the bands with the scenes' titles, and of the lanes below these.
const TOP: f64 = 62.0;
const LANES_TOP: f64 = 134.0;
const SERVER_HEIGHT: f64 = 52.0;
const CLIENT_HEIGHT: f64 = 112.0;
const LEGEND_HEIGHT: f64 = 100.0;

const TITLE: f64 = 14.0;
const LABEL: f64 = 13.0;
/// Between the lines of stacked labels.
const ROW: f64 = 15.0;

pub fn draw(entries: &[Entry]) -> String {
    let end = entries.last().map_or(Duration::ZERO, |last| last.at);
    let bottom = LANES_TOP + SERVER_HEIGHT + 3.0 * CLIENT_HEIGHT;
    let mut picture = Picture {
        entries,
        scale: (RIGHT - LEFT) / (end.as_secs_f64() + 0.1),
        bottom,
        canvas: Canvas::new(WIDTH, bottom + LEGEND_HEIGHT),
    };
    picture.heading();
    picture.scenes();
    picture.axis(end);
    picture.server(end);
    for lane in [Lane::A, Lane::B, Lane::C] {
        picture.client(lane, end);
    }
    picture.legend();
    picture.canvas.to_string()
}

struct Picture<'a> {
    entries: &'a [Entry],
    /// Pixels a second.
    scale: f64,
    /// Of the lanes.
    bottom: f64,
    canvas: Canvas,
}

/// A piece of text beside a bar, to be put where there is room.
struct Label {
    x: f64,
    anchor: Anchor,
    text: String,
    fill: &'static str,
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

impl Picture<'_> {
    fn x(&self, at: Duration) -> f64 {
        LEFT + at.as_secs_f64() * self.scale
    }

    /// The middle of a lane's bar.
    fn y(&self, lane: Lane) -> f64 {
        let clients_top = LANES_TOP + SERVER_HEIGHT;
        match lane {
            Lane::Server => LANES_TOP + SERVER_HEIGHT / 2.0,
            Lane::A => clients_top + CLIENT_HEIGHT * 0.48,
            Lane::B => clients_top + CLIENT_HEIGHT * 1.48,
            Lane::C => clients_top + CLIENT_HEIGHT * 2.48,
        }
    }

    fn heading(&mut self) {
        self.canvas.append(
            text(24.0, 34.0, 18.0, "nabiz demo: one server and three clients")
                .set("font-weight", "bold"),
        );
        let subtitle = "recorded on real TCP, with beats every 0.4 s";
        self.canvas.append(
            text(RIGHT, 34.0, LABEL, subtitle)
                .set("fill", FAINT)
                .set("text-anchor", "end"),
        );
    }

    fn scenes(&mut self) {
        let scenes = self.entries.iter().filter_map(|entry| match entry.what {
            What::Scene(title) => Some((self.x(entry.at), title)),
            _ => None,
        });
        let scenes: Vec<_> = scenes.collect();
        let ends = scenes.iter().skip(1).map(|(x, _)| *x).chain([RIGHT]);
        for ((number, (x, title)), end) in scenes.iter().enumerate().zip(ends) {
            self.canvas.append(
                Rectangle::new()
                    .set("x", round(*x))
                    .set("y", TOP)
                    .set("width", round(end - x))
                    .set("height", self.bottom - TOP)
                    .set("fill", BANDS[number % 2]),
            );
            for (row, line) in wrap(title, TITLE, end - x - 14.0).iter().enumerate() {
                let y = TOP + 20.0 + 17.0 * row as f64;
                let line = text(x + 8.0, y, TITLE, line).set("font-weight", "600");
                self.canvas.append(line);
            }
        }
    }

    fn axis(&mut self, end: Duration) {
        let y = self.bottom;
        self.canvas.rule(LEFT, y, RIGHT, y, RULE);
        for second in 0..=end.as_secs() {
            let x = self.x(Duration::from_secs(second));
            self.canvas.rule(x, y, x, y + 5.0, FAINT);
            let name = if second == 0 {
                "0 s".into()
            } else {
                second.to_string()
            };
            let mark = text(x, y + 19.0, LABEL, &name);
            self.canvas
                .append(mark.set("fill", FAINT).set("text-anchor", "middle"));
        }
    }

    fn lane_name(&mut self, lane: Lane) {
        let y = self.y(lane);
        let name = match lane {
            Lane::Server => "server".into(),
            client => format!("client {}", client.name()),
        };
        let name = text(24.0, y + 5.0, 14.0, &name);
        self.canvas
            .append(name.set("fill", colour(lane)).set("font-weight", "bold"));
        self.canvas.rule(LEFT, y, RIGHT, y, RULE);
    }

    fn server(&mut self, end: Duration) {
        self.lane_name(Lane::Server);
        let y = self.y(Lane::Server);
        self.canvas.bar(LEFT, self.x(end), y, Lane::Server, Bar::Up);
        for (from, to) in self.frozen(Lane::Server, end) {
            let (from, to) = (self.x(from), self.x(to));
            self.canvas.bar(from, to, y, Lane::Server, Bar::Frozen);
            let label = "sockets open, not a byte moves";
            let label = text((from + to) / 2.0, y + 23.0, LABEL, label);
            self.canvas
                .append(label.set("text-anchor", "middle").set("fill", AMBER));
        }
    }

    /// When its threads stood still.
    fn frozen(&self, lane: Lane, end: Duration) -> Vec<(Duration, Duration)> {
        let mut spans = Vec::new();
        let mut since = None;
        for entry in self.entries.iter().filter(|entry| entry.lane == lane) {
            match entry.what {
                What::Freeze => since = Some(entry.at),
                // Who is closed while frozen is of no interest any more.
                What::Thaw | What::Closed { .. } => {
                    spans.extend(since.take().map(|since| (since, entry.at)));
                }
                _ => {}
            }
        }
        spans.extend(since.map(|since| (since, end)));
        spans
    }

    fn client(&mut self, lane: Lane, end: Duration) {
        self.lane_name(lane);
        let own: Vec<Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.lane == lane)
            .copied()
            .collect();
        let y = self.y(lane);
        self.links(lane, &own, end);
        self.waits(lane, &own);
        for (from, to) in self.frozen(lane, end) {
            self.canvas
                .bar(self.x(from), self.x(to), y, lane, Bar::Frozen);
        }
        let (mut above, mut below) = (Vec::new(), Vec::new());
        let mut attempt = 0;
        for entry in &own {
            let x = self.x(entry.at);
            let label = |anchor, text, fill| Label {
                x,
                anchor,
                text,
                fill,
            };
            match entry.what {
                What::BeatToServer => self.canvas.arrow(x, y, -1.0, colour(lane)),
                What::BeatFromServer => self.canvas.arrow(x, y, 1.0, colour(Lane::Server)),
                What::Dial => self.canvas.dial(x, y, lane),
                What::Connected { attempt: number } => attempt = number,
                What::Welcome if attempt > 0 => {
                    above.push(label(Anchor::Start, format!("attempt {attempt}"), INK));
                }
                What::Freeze => {
                    let mut later = own.iter().filter(|later| later.at > entry.at);
                    let text = match later.find(|later| later.what == What::Thaw) {
                        Some(thaw) => format!("blocked for {}", secs(thaw.at - entry.at)),
                        None => "frozen".into(),
                    };
                    above.push(label(Anchor::Start, text, AMBER));
                }
                What::Stalled => {
                    self.canvas.diamond(x, y);
                    above.push(label(Anchor::Start, "late tick, forgiven".into(), AMBER));
                }
                What::Down(down) if down.retry_in.is_none() => {
                    self.canvas.square(x, y);
                    below.push(label(Anchor::Start, down.why.to_string(), INK));
                }
                What::Down(down) => {
                    self.canvas.cross(x, y);
                    below.push(match down.fatal_silence() {
                        // There is room before the first, and little later.
                        Some(silence) if down.attempt == 1 => {
                            let text = format!("{}, {}", down.why, secs(silence));
                            label(Anchor::End, text, RED)
                        }
                        _ => label(Anchor::Middle, down.why.to_string(), RED),
                    });
                }
                What::Closed { why, silence } => {
                    self.canvas.cross(x, y);
                    let text = format!("server closes: {why}, {}", secs(silence));
                    below.push(label(Anchor::End, text, RED));
                }
                _ => {}
            }
        }
        above.extend(self.delays(&own));
        self.place(above, y - BAR - 20.0, -ROW);
        self.place(below, y + BAR + 30.0, ROW);
    }

    /// Bars from each connect to its end, pale until the server spoke.
    fn links(&mut self, lane: Lane, own: &[Entry], end: Duration) {
        let y = self.y(lane);
        let mut mute = None;
        let mut up = None;
        for entry in own {
            let x = self.x(entry.at);
            match entry.what {
                What::Connected { .. } => mute = Some(x),
                What::Welcome => {
                    mute = None;
                    up = Some(x);
                }
                What::Down(_) | What::Closed { .. } => {
                    if let Some(from) = mute.take() {
                        self.canvas.bar(from, x, y, lane, Bar::Mute);
                    }
                    if let Some(from) = up.take() {
                        self.canvas.bar(from, x, y, lane, Bar::Up);
                    }
                }
                _ => {}
            }
        }
        if let Some(from) = up {
            self.canvas.bar(from, self.x(end), y, lane, Bar::Up);
        }
    }

    /// From each end to the next dial.
    fn spans_away(&self, own: &[Entry]) -> Vec<(f64, f64, Duration)> {
        let mut spans = Vec::new();
        let mut since = None;
        for entry in own {
            match entry.what {
                What::Down(down) => since = down.retry_in.map(|delay| (entry.at, delay)),
                What::Dial => {
                    spans.extend(
                        since
                            .take()
                            .map(|(from, delay)| (self.x(from), self.x(entry.at), delay)),
                    );
                }
                _ => {}
            }
        }
        spans
    }

    fn waits(&mut self, lane: Lane, own: &[Entry]) {
        let y = self.y(lane);
        for (from, to, _) in self.spans_away(own) {
            self.canvas.dashes(from, to, y);
        }
    }

    fn delays(&self, own: &[Entry]) -> Vec<Label> {
        let spans = self.spans_away(own).into_iter();
        spans
            .map(|(from, to, delay)| Label {
                x: (from + to) / 2.0,
                anchor: Anchor::Middle,
                text: format!("{:.2} s", delay.as_secs_f64()),
                fill: AMBER,
            })
            .collect()
    }

    /// Puts each label into the row nearest to the bar where it has room.
    fn place(&mut self, mut labels: Vec<Label>, y: f64, row_height: f64) {
        labels.sort_by(|one, other| one.x.total_cmp(&other.x));
        let mut ends: Vec<f64> = Vec::new();
        for label in labels {
            let room = width(&label.text, LABEL);
            let start = match label.anchor {
                Anchor::Start => label.x,
                Anchor::Middle => label.x - room / 2.0,
                Anchor::End => label.x - room,
            };
            let start = start.clamp(LEFT, RIGHT - room);
            let row = ends.iter().position(|end| *end < start);
            let row = row.unwrap_or_else(|| {
                ends.push(0.0);
                ends.len() - 1
            });
            ends[row] = start + room + 5.0;
            let x = match label.anchor {
                Anchor::Start => start,
                Anchor::Middle => start + room / 2.0,
                Anchor::End => start + room,
            };
            self.canvas.append(
                text(x, y + row_height * row as f64, LABEL, &label.text)
                    .set("text-anchor", label.anchor.name())
                    .set("fill", label.fill),
            );
        }
    }

    fn legend(&mut self) {
        let top = self.bottom + 44.0;
        let column = (RIGHT - LEFT) / 5.0;
        /// Draws an example at this place.
        type Sample = fn(&mut Canvas, f64, f64);
        let samples: [(&str, Sample); 10] = [
            ("link up", |canvas, x, y| {
                canvas.bar(x, x + 30.0, y, Lane::A, Bar::Up)
            }),
            ("connected, server mute", |canvas, x, y| {
                canvas.bar(x, x + 30.0, y, Lane::A, Bar::Mute)
            }),
            ("standing still", |canvas, x, y| {
                canvas.bar(x, x + 30.0, y, Lane::A, Bar::Up);
                canvas.bar(x, x + 30.0, y, Lane::A, Bar::Frozen);
            }),
            ("beat to the server", |canvas, x, y| {
                canvas.arrow(x + 15.0, y + 13.0, -1.0, colour(Lane::A))
            }),
            ("beat from the server", |canvas, x, y| {
                canvas.arrow(x + 15.0, y - 13.0, 1.0, colour(Lane::Server))
            }),
            ("link closed", |canvas, x, y| canvas.cross(x + 15.0, y)),
            ("delay before the next dial", |canvas, x, y| {
                canvas.dashes(x, x + 30.0, y);
            }),
            ("dial", |canvas, x, y| canvas.dial(x + 15.0, y, Lane::A)),
            ("late tick", |canvas, x, y| canvas.diamond(x + 15.0, y)),
            ("shut down, for good", |canvas, x, y| {
                canvas.square(x + 15.0, y)
            }),
        ];
        for (number, (name, sample)) in samples.into_iter().enumerate() {
            let x = LEFT + column * (number % 5) as f64;
            let y = top + 28.0 * (number / 5) as f64;
            sample(&mut self.canvas, x, y);
            self.canvas.append(text(x + 38.0, y + 4.0, LABEL, name));
        }
    }
}

fn secs(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
