//! What people and programs see on stdout: tables and records, or JSON.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use pbjson_types::Timestamp;
use serde::Serialize;
use telegate::pool::{Span, Time};

use super::failure::{Exit, Failure};

/// For whom is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Human,
    Json,
}

/// Prints a line. A reader that went away, as `head` does, is no failure.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    line_if_read(text).map(drop)
}

/// Prints a line, and tells whether there is still a reader.
pub(crate) fn line_if_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Io, format!("the output cannot be written: {error}"))),
    }
}

/// Prints a text over the one that was printed last, which had so many lines.
pub(crate) fn over(lines: usize, text: &str) -> Result<(), Failure> {
    let back = if lines == 0 { String::new() } else { format!("\x1b[{lines}A\x1b[J") };
    line(&format!("{back}{text}"))
}

/// Prints a message of the contract as JSON, in the form that grpcurl prints.
pub(crate) fn json(message: &impl Serialize) -> Result<(), Failure> {
    line(&canonical(&no_json(serde_json::to_string_pretty(message))?))
}

/// A message as JSON in one line.
pub(crate) fn json_line(message: &impl Serialize) -> Result<String, Failure> {
    Ok(canonical(&no_json(serde_json::to_string(message))?))
}

/// A message as a JSON value, to be put into another.
pub(crate) fn value_of(message: &impl Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(message)
        .map_err(|error| Failure::new(Exit::Internal, format!("no JSON: {error}")))
}

fn no_json(made: serde_json::Result<String>) -> Result<String, Failure> {
    made.map_err(|error| Failure::new(Exit::Internal, format!("no JSON: {error}")))
}

/// JSON with its moments as Protobuf's canonical form writes them: ending in `Z`.
fn canonical(json: &str) -> String {
    let moment = |text: &str| {
        text.len() >= 19 && text.chars().all(|c| c.is_ascii_digit() || "-:.T".contains(c))
    };
    let mut parts = json.split("+00:00\"");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let start = text.rfind('"').map_or(0, |at| at + 1);
        text += if moment(&text[start..]) { "Z\"" } else { "+00:00\"" };
        text += part;
    }
    text
}

/// Prints a table: with lines on a terminal, plain columns otherwise.
pub(crate) fn table(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<(), Failure> {
    line(&table_text(header, rows))
}

/// A table as it is printed.
pub(crate) fn table_text(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    if io::stdout().is_terminal() {
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    if !io::stdout().is_terminal() {
        table.column_iter_mut().for_each(|column| _ = column.set_padding((0, 2)));
    }
    table.trim_fmt()
}

/// Prints a record: a line per field, those without a value left out.
pub(crate) fn record<'a>(
    fields: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<(), Failure> {
    let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in fields {
        line(&format!("{name:width$}  {}", printable(&value)))?;
    }
    Ok(())
}

/// A text without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A moment, to the second; empty when there is none.
pub(crate) fn moment(time: Option<&Timestamp>) -> String {
    let secs = time.and_then(|time| u64::try_from(time.seconds).ok());
    secs.map(|secs| (Time::default() + Span::secs(secs)).to_string()).unwrap_or_default()
}

/// An enum's value without the prefix that the contract gives all its names.
pub(crate) fn value<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.strip_prefix(prefix).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_end_in_z_and_other_texts_stay() {
        for (json, wanted) in [
            (r#"{"a":"2025-11-21T18:33:20+00:00"}"#, r#"{"a":"2025-11-21T18:33:20Z"}"#),
            (r#"["2025-11-21T18:33:20.125+00:00"]"#, r#"["2025-11-21T18:33:20.125Z"]"#),
            (r#"{"a":"at +00:00","b":"+00:00"}"#, r#"{"a":"at +00:00","b":"+00:00"}"#),
        ] {
            assert_eq!(canonical(json), wanted);
        }
    }
}
