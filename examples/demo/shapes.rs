//! What the picture is made of: bars, marks and text.

use std::fmt;

use svg::node::element::{
    Circle, Definitions, Description, Line, Path, Pattern, Rectangle, Text, Title,
};
use svg::{Document, Node};

use crate::timeline::Lane;

const FONT: &str = "'Segoe UI', 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif";
/// Half the height of a bar.
pub const BAR: f64 = 7.0;
pub const PAPER: &str = "#ffffff";
pub const INK: &str = "#1e293b";
pub const FAINT: &str = "#64748b";
pub const RULE: &str = "#cbd5e1";
pub const BANDS: [&str; 2] = ["#f8fafc", "#eef2f7"];
pub const RED: &str = "#dc2626";
pub const AMBER: &str = "#b45309";

pub fn colour(lane: Lane) -> &'static str {
    match lane {
        Lane::Server => "#475569",
        Lane::A => "#0f9d76",
        Lane::B => "#9333ea",
        Lane::C => "#2563eb",
    }
}

pub struct Canvas(Document);

impl Canvas {
    /// A card with a colour of its own, for pages light and dark.
    pub fn new(width: f64, height: f64) -> Self {
        let description =
            "A timeline of beats, closes, delays and returns, recorded on real TCP connections.";
        let stripe = Rectangle::new().set("width", 2.6).set("height", 6);
        let hatch = Pattern::new()
            .set("id", "hatch")
            .set("width", 6)
            .set("height", 6)
            .set("patternUnits", "userSpaceOnUse")
            .set("patternTransform", "rotate(45)")
            .add(stripe.set("fill", PAPER).set("fill-opacity", 0.75));
        let card = Rectangle::new()
            .set("x", 0.5)
            .set("y", 0.5)
            .set("width", width - 1.0)
            .set("height", height - 1.0)
            .set("rx", 10)
            .set("fill", PAPER)
            .set("stroke", RULE);
        let document = Document::new()
            .set("viewBox", (0, 0, width, height))
            .set("width", width)
            .set("height", height)
            .set("font-family", FONT)
            .set("role", "img")
            .add(Title::new("nabiz: a server and three clients"))
            .add(Description::new().add(svg::node::Text::new(description)))
            .add(Definitions::new().add(hatch))
            .add(card);
        Self(document)
    }

    pub fn append(&mut self, node: impl Into<Box<dyn Node>>) {
        self.0.append(node);
    }

    pub fn bar(&mut self, from: f64, to: f64, y: f64, lane: Lane, kind: Bar) {
        let bar = Rectangle::new()
            .set("x", round(from))
            .set("y", round(y - BAR))
            .set("width", round((to - from).max(1.0)))
            .set("height", 2.0 * BAR)
            .set("rx", 2);
        let colour = colour(lane);
        self.append(match kind {
            Bar::Up => bar.set("fill", colour),
            Bar::Mute => bar
                .set("fill", PAPER)
                .set("stroke", colour)
                .set("stroke-width", 1.4),
            Bar::Frozen => bar.set("fill", "url(#hatch)"),
        });
    }

    /// A beat, up (-1) from the bar or down (1).
    pub fn arrow(&mut self, x: f64, y: f64, direction: f64, colour: &'static str) {
        let near = y + direction * (BAR + 2.0);
        let far = y + direction * (BAR + 13.0);
        let neck = far - direction * 5.0;
        let x = round(x);
        let path = format!(
            "M{x} {near:.1}V{neck:.1}M{} {neck:.1}H{}L{x} {far:.1}Z",
            round(x - 3.0),
            round(x + 3.0)
        );
        self.append(
            Path::new()
                .set("d", path)
                .set("fill", colour)
                .set("stroke", colour),
        );
    }

    /// A close.
    pub fn cross(&mut self, x: f64, y: f64) {
        let path = format!("M{:.1} {:.1}l8 8m0 -8l-8 8", x - 4.0, y - 4.0);
        for (colour, width) in [(PAPER, 5.5), (RED, 3.0)] {
            self.append(
                Path::new()
                    .set("d", path.clone())
                    .set("stroke", colour)
                    .set("stroke-width", width)
                    .set("stroke-linecap", "round"),
            );
        }
    }

    pub fn dial(&mut self, x: f64, y: f64, lane: Lane) {
        self.append(
            Circle::new()
                .set("cx", round(x))
                .set("cy", round(y))
                .set("r", 4)
                .set("fill", PAPER)
                .set("stroke", colour(lane))
                .set("stroke-width", 2),
        );
    }

    /// A late tick.
    pub fn diamond(&mut self, x: f64, y: f64) {
        let path = format!("M{:.1} {:.1}l8 9l-8 9l-8 -9Z", x, y - 9.0);
        self.append(
            Path::new()
                .set("d", path)
                .set("fill", "#f59e0b")
                .set("stroke", PAPER)
                .set("stroke-width", 1.5),
        );
    }

    /// The end, for good.
    pub fn square(&mut self, x: f64, y: f64) {
        self.append(
            Rectangle::new()
                .set("x", round(x - 6.0))
                .set("y", round(y - 6.0))
                .set("width", 12)
                .set("height", 12)
                .set("rx", 1)
                .set("fill", INK)
                .set("stroke", PAPER)
                .set("stroke-width", 1.5),
        );
    }

    /// A wait.
    pub fn dashes(&mut self, from: f64, to: f64, y: f64) {
        // Out of the way of the lane's own rule.
        self.rule(from, y, to, y, PAPER);
        let line = line(from, y, to, y, AMBER).set("stroke-width", 2.4);
        self.append(line.set("stroke-dasharray", "4 3"));
    }

    pub fn rule(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &'static str) {
        self.append(line(x1, y1, x2, y2, colour));
    }
}

impl fmt::Display for Canvas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)
    }
}

/// How a link, or a thread, stands.
#[derive(Clone, Copy)]
pub enum Bar {
    Up,
    Mute,
    Frozen,
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, colour: &'static str) -> Line {
    Line::new()
        .set("x1", round(x1))
        .set("y1", round(y1))
        .set("x2", round(x2))
        .set("y2", round(y2))
        .set("stroke", colour)
}

pub fn text(x: f64, y: f64, size: f64, content: &str) -> Text {
    Text::new(content)
        .set("x", round(x))
        .set("y", round(y))
        .set("font-size", size)
        .set("fill", INK)
}

/// Lines no wider than that, where the words allow it.
pub fn wrap(title: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Bold letters are wider.
    let width = |text: &str| width(text, size * 1.2);
    for word in title.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + width(" ") + width(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// Enough digits for a pixel.
pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// How wide a text is; a generous guess, as fonts differ.
pub fn width(text: &str, size: f64) -> f64 {
    let of = |c| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | '.' | ',' | ':' | ';' | ' ' => 0.38,
        'm' | 'w' => 0.9,
        _ => 0.62,
    };
    text.chars().map(of).sum::<f64>() * size
}
