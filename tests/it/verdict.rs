//! The real exceptions of real libraries are judged like the errors that they stand for.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use telegate::pool::{
    Report, Time, Verdict, judge,
    verdict::{Action, OtherSession, Scope},
};

use crate::harness::nothing_may_be_skipped;

const NOW: Time = Time(1_800_000_000_000);
/// How many errors the file has.
const KNOWN_ERRORS: usize = 1008;
const METHOD: &str = "messages.getStickers";

/// What a verdict is made of, as far as it does not depend on words.
type Said = (Action, Scope, Option<Time>, OtherSession, &'static str);

/// What a library does not tell, by the rule that the error falls to and the rule that its report
/// falls to instead, with the number of reports.
type Losses<'a> = &'a [(&'a str, &'a str, usize)];

#[test]
fn telethon_is_judged_like_the_errors_that_it_raises() {
    // Its classes have one code each, so that a 406 may come as a 400; a sentence has none at all.
    // The default for each of these codes says the same: mend the request.
    check_python("telethon", "python", &[("Z400", "Z0", 2), ("Z406", "Z400", 10)]);
}

#[test]
fn pyrogram_is_judged_like_the_errors_that_it_raises() {
    // Its classes have one code each: two errors that are known as 400 and as 406 come as a 406,
    // and VOLUME_LOC_NOT_FOUND as a 500. SESSION_TOO_FRESH loses its number in the text.
    let losses = [("W6", "W6", 2), ("Z400", "Z406", 6), ("Z400", "Z5xx", 3)];
    check_python("pyrogram", "python-pyrogram", &losses);
}

#[test]
fn kurigram_is_judged_like_the_errors_that_it_raises() {
    check_python("kurigram", "python-kurigram", &[]);
}

#[test]
fn gramjs_is_judged_like_the_errors_that_it_makes() {
    let modules = env::var_os("TELEGATE_TEST_NODE_MODULES")
        .map_or_else(|| tools().join("node/node_modules"), PathBuf::from);
    if !modules.join("telegram").is_dir() {
        return skip("gramjs");
    }
    let mut node = Command::new("node");
    node.arg(root().join("tests/telegram/errors_gramjs.mjs")).arg(modules.join(".."));
    // It makes one class of FLOOD_WAIT and FLOOD_PREMIUM_WAIT.
    check("gramjs", &mut node, &[("W2", "W1", 4)]);
}

#[test]
fn the_known_names_are_those_of_the_list_that_no_rule_has() {
    let list = fs::read_to_string(root().join("tests/data/telegram_errors.tsv")).unwrap();
    let errors = list.lines().skip(1).map(|line| {
        let mut cells = line.split('\t');
        let code = cells.next().unwrap_or_default().parse().unwrap_or(0);
        let message = cells.next().unwrap_or_default().to_owned();
        judge(&Report { code, message, ..Report::default() }, NOW)
    });
    let names: BTreeSet<_> =
        errors.filter(Verdict::is_by_default).map(|verdict| verdict.name).collect();
    assert!(names.len() > 400, "{}", names.len());
    let made: String = names.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
    let path = root().join("src/pool/verdict/known_names.txt");
    if env::var_os("TELEGATE_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(written == made, "stale: TELEGATE_BLESS=1 writes src/pool/verdict/known_names.txt");
}

fn check_python(library: &str, folder: &str, losses: Losses) {
    let variable = format!("TELEGATE_TEST_PYTHON_{}", library.to_uppercase());
    let python = env::var_os(variable)
        .map_or_else(|| tools().join(folder).join("bin/python"), PathBuf::from);
    if !python.is_file() {
        return skip(library);
    }
    let mut command = Command::new(python);
    command.arg(root().join("tests/telegram/errors_python.py")).arg(library);
    check(library, &mut command, losses);
}

/// Runs a script that prints what a library's exceptions tell, and judges every line of it.
fn check(library: &str, script: &mut Command, losses: Losses) {
    let output = script.arg(root().join("tests/data/telegram_errors.tsv")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{library}: {said}");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut lost: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let told: Value = serde_json::from_str(line).unwrap();
        let [name, form] = ["name", "form"].map(|field| told[field].as_str().unwrap().to_owned());
        let code = number(&told["code"]);
        let raw = Report { code, message: name.clone(), ..about(METHOD) };
        let (wanted, judged) = (judge(&raw, NOW), judge(&report(&told["report"]), NOW));
        *counts.entry(form.clone()).or_default() += 1;
        if said_by(&wanted) != said_by(&judged) {
            let rules = (wanted.rule.to_owned(), judged.rule.to_owned());
            lost.entry(rules).or_default().push(format!("{code} {name} as {form}"));
        }
    }
    println!("{library}: judged {counts:?}");
    assert!(counts["attributes"] >= KNOWN_ERRORS, "{library} left some out: {counts:?}");
    let found: Vec<_> =
        lost.iter().map(|((from, to), all)| (from.as_str(), to.as_str(), all.len())).collect();
    assert_eq!(found, losses, "{library}: {lost:#?}");
}

fn said_by(verdict: &Verdict) -> Said {
    let (scope, other) = (verdict.scope.clone(), verdict.other_session);
    (verdict.action, scope, verdict.until, other, verdict.rule)
}

fn about(method: &str) -> Report {
    Report { method: method.to_owned(), peer: "channel:1".to_owned(), ..Report::default() }
}

fn report(told: &Value) -> Report {
    let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
    Report {
        code: number(&told["code"]),
        type_name: text("type"),
        argument: told["argument"].as_i64(),
        message: text("message"),
        ..about(&text("method"))
    }
}

fn number(value: &Value) -> i32 {
    value.as_i64().map_or(0, |number| i32::try_from(number).unwrap())
}

fn skip(library: &str) {
    assert!(!nothing_may_be_skipped(), "{library} is missing: 'make tools' installs it");
    println!("{library} is missing: skipped; 'make tools' installs it");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tools() -> PathBuf {
    root().join("target/tools")
}
