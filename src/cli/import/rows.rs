//! The report of an import: a row per source as it comes, a progress bar, a summary.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use telegate::{
    inventory::Sources,
    proto::v1::{ImportOutcome, ImportRow},
};

use crate::cli::{
    failure::{Exit, Failure},
    print::{self, Output, printable},
};

/// From how many sources on a progress bar is worth its line.
const LONG_WORK: usize = 50;

pub(super) struct Rows {
    output: Output,
    bar: ProgressBar,
    added: usize,
    unchanged: usize,
    refused: usize,
}

impl Rows {
    pub(super) fn new(output: Output, paths: &[PathBuf]) -> Result<Self, Failure> {
        match output {
            Output::Json => print::line("{\n\"rows\": [")?,
            Output::Human => {
                print::line(&header())?;
            }
        }
        Ok(Self { output, bar: bar(paths), added: 0, unchanged: 0, refused: 0 })
    }

    /// Prints a row.
    pub(super) fn add(&mut self, row: &ImportRow) -> Result<(), Failure> {
        let first = self.added + self.unchanged + self.refused == 0;
        match row.outcome() {
            ImportOutcome::Added => self.added += 1,
            ImportOutcome::Unchanged => self.unchanged += 1,
            _ => self.refused += 1,
        }
        self.bar.inc(1);
        let text = match self.output {
            Output::Json => {
                let json = print::json_line(row)?;
                if first { json } else { format!(",{json}") }
            }
            Output::Human => line(row),
        };
        self.bar.suspend(|| print::line(&text))
    }

    /// Ends the report. Tells how many were refused.
    pub(super) fn finish(self, dry_run: bool) -> Result<usize, Failure> {
        self.bar.finish_and_clear();
        let Self { output, added, unchanged, refused, .. } = self;
        let would = if dry_run { "would be " } else { "" };
        match output {
            Output::Json => print::line("]\n}")?,
            Output::Human => print::line(&format!(
                "\n{added} {would}added, {unchanged} unchanged, {refused} refused"
            ))?,
        }
        if added + unchanged + refused == 0 {
            return Err(Failure::new(Exit::Data, "there is nothing to import")
                .next("name session files, .txt files with session strings, or their folder"));
        }
        Ok(refused)
    }
}

/// A bar for long work in front of a person; hidden otherwise.
fn bar(paths: &[PathBuf]) -> ProgressBar {
    if !io::stderr().is_terminal() || paths.iter().any(|path| path == Path::new("-")) {
        return ProgressBar::hidden();
    }
    let count = Sources::new(paths).count();
    if count < LONG_WORK {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// What stands above the rows.
pub(in crate::cli) fn header() -> String {
    columns(["OUTCOME", "SESSION", "FINGERPRINT", "FORMAT", "FILE", ""])
}

/// A row for people.
pub(in crate::cli) fn line(row: &ImportRow) -> String {
    let outcome = print::value(row.outcome().as_str_name(), "IMPORT_OUTCOME_").to_lowercase();
    columns([&outcome, &row.session, &row.fingerprint, &row.format, &row.file_name, &row.detail])
}

/// Rows come one by one, so the columns have fixed widths.
fn columns([outcome, session, fingerprint, format, file, detail]: [&str; 6]) -> String {
    let line = format!(
        "{outcome:9}  {:24}  {fingerprint:16}  {format:17}  {}  {}",
        printable(session),
        printable(file),
        printable(detail)
    );
    line.trim_end().to_owned()
}
