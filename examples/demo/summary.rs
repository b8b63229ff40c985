//! The table at the end.

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use crate::scenes::Outcome;

pub fn print(outcomes: &[Outcome]) {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100)
        .set_header(["", "scene", "seen"]);
    for outcome in outcomes {
        let (sign, seen) = match &outcome.seen {
            Ok(seen) => ("✓", seen),
            Err(wrong) => ("✗", wrong),
        };
        table.add_row([sign, outcome.title, seen]);
    }
    // Coloured last, so that the table need not know what takes no room.
    let paint = |sign: &str, style: Style| format!("{style}{sign}{style:#}");
    let table = table
        .to_string()
        .replace('✓', &paint("✓", AnsiColor::Green.on_default().bold()))
        .replace('✗', &paint("✗", AnsiColor::Red.on_default().bold()));
    anstream::println!("\n{table}");
    let failed = outcomes.iter().filter(|outcome| outcome.seen.is_err());
    match failed.count() {
        0 => anstream::println!("All {} scenes went as they should.", outcomes.len()),
        failed => anstream::println!("{failed} of {} scenes went wrong.", outcomes.len()),
    }
}
