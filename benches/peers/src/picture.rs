//! Four measures of every contender, as bars on a log scale.

use std::error::Error;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::measure::Figures;
use crate::report::{nanos, number};

const WIDTH: u32 = 900;
const ROW: i32 = 20;
const HEAD: i32 = 34;
/// The names stand left of this.
const NAMES: i32 = 198;
/// The figures stand in the last of these of each panel.
const ROOM: i32 = 60;
const GAP: i32 = 14;

const OURS: RGBColor = RGBColor(0x0b, 0x6e, 0x4f);
const PEERS: RGBColor = RGBColor(0x8a, 0x9b, 0xa8);
const FLOOR: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);

/// A measure: its name, a contender's value, and how to write it.
struct Panel {
    name: &'static str,
    value: fn(&Figures) -> Option<f64>,
    show: fn(f64) -> String,
}

const PANELS: [Panel; 4] = [
    Panel {
        name: "touch",
        value: |figures| Some(figures.touch_ns),
        show: nanos,
    },
    Panel {
        name: "bytes per connection",
        value: |figures| Some(figures.bytes),
        show: number,
    },
    Panel {
        name: "steady poll, CPU per s",
        value: |figures| figures.steady.map(|steady| steady.ms_per_second * 1e6),
        show: nanos,
    },
    Panel {
        name: "worst tick",
        value: |figures| figures.steady.map(|steady| steady.worst_tick_us * 1e3),
        show: nanos,
    },
];

/// The picture of one number of connections.
pub fn draw(figures: &[&Figures], title: &str) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    let rows = i32::try_from(figures.len())?;
    let height = 2 * HEAD + rows * ROW + GAP;
    {
        let size = (WIDTH, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        // White on dark pages too.
        area.fill(&WHITE)?;
        let label = |text: &str, at: (i32, i32), size: i32, anchor: HPos| {
            let style = ("sans-serif", size).into_text_style(&area);
            let style = style.color(&INK).pos(Pos::new(anchor, VPos::Center));
            area.draw(&Text::new(text.to_owned(), at, style))
        };
        label(title, (GAP, HEAD / 2), 19, HPos::Left)?;
        let middle = |row: i32| 2 * HEAD + row * ROW + ROW / 2;
        for (row, figures) in (0..).zip(figures) {
            label(figures.contender, (NAMES, middle(row)), 15, HPos::Right)?;
        }
        let pitch = (WIDTH as i32 - NAMES - GAP) / 4;
        for (place, panel) in (0..).zip(&PANELS) {
            let left = NAMES + GAP / 2 + place * pitch;
            let full = pitch - ROOM - GAP / 2;
            label(panel.name, (left, HEAD + HEAD / 2), 16, HPos::Left)?;
            let scale = Scale::of(figures.iter().filter_map(|figures| (panel.value)(figures)));
            for (row, figures) in (0..).zip(figures) {
                let Some(value) = (panel.value)(figures) else {
                    label("–", (left, middle(row)), 15, HPos::Left)?;
                    continue;
                };
                let end = left + (scale.share(value) * f64::from(full)) as i32;
                let bar = [(left, middle(row) - 7), (end, middle(row) + 7)];
                area.draw(&Rectangle::new(bar, color(figures).filled()))?;
                label(&(panel.show)(value), (end + 4, middle(row)), 14, HPos::Left)?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

fn color(figures: &Figures) -> RGBColor {
    match figures.contender {
        name if name.starts_with("nabiz") => OURS,
        name if name.ends_with("(floor)") => FLOOR,
        _ => PEERS,
    }
}

/// Whole decades, from below the least to above the most.
struct Scale {
    least: f64,
    decades: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let logs = values.map(f64::log10);
        let (least, most) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), log| {
            (least.min(log), most.max(log))
        });
        let least = (least - 0.3).floor();
        Self {
            least,
            decades: most - least,
        }
    }

    /// How long a bar is, of the longest.
    fn share(&self, value: f64) -> f64 {
        ((value.log10() - self.least) / self.decades).clamp(0.0, 1.0)
    }
}
