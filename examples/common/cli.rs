//! Command lines that fail in one line.

use std::fmt::Display;
use std::process;

use clap::Parser;
use clap::error::ErrorKind;

/// The exit code of a usage error.
const USAGE: i32 = 2;

/// The parsed command line; else prints one line, or the help, and exits.
pub fn parse<A: Parser>() -> A {
    A::try_parse().unwrap_or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => usage_error::<A>(one_line(&error.to_string())),
    })
}

/// A refused configuration, by the flag instead of the field.
pub fn refused<A: Parser>(error: nabiz::ConfigError) -> ! {
    let flag = error.field().replace(['_', '.'], "-");
    usage_error::<A>(format_args!("--{flag} {}", error.rule()))
}

/// Prints the message in one line, and exits.
pub fn usage_error<A: Parser>(message: impl Display) -> ! {
    let program = A::command();
    eprintln!("{}: {message}", program.get_name());
    process::exit(USAGE)
}

/// The first paragraph of what clap has to say; usage and tips follow it.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines = message.lines().map(str::trim);
    let first: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    first.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_and_tips_are_cut() {
        let clap_says = "error: required arguments were not provided:\n  <HOST:PORT>\n\nUsage: …\n";
        assert_eq!(
            one_line(clap_says),
            "required arguments were not provided: <HOST:PORT>"
        );
    }
}
