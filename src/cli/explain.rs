//! `telegate explain`: what an error means, from the tables that the broker judges by. Offline.

use serde_json::{Value, json};
use telegate::{
    clock::Clock,
    manual,
    pool::{
        Report, Time, Verdict, judge,
        verdict::{Action, Codes, Reach, Rule, Scope},
    },
    server::status::reasons::ENTRIES,
};

use super::{
    failure::{Exit, Failure},
    print::{self, Output},
    span,
};

/// The page of the manual.
const MANUAL: &str = "docs/errors.md";
/// How many names are suggested at most.
const MAX_SUGGESTIONS: usize = 3;
/// The longest word that names are compared with, in characters.
const MAX_COMPARED: usize = 64;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A reason such as `POOL_BUSY`, the id of a rule such as `W1`, or an error of Telegram as any
    /// library tells it: `FLOOD_WAIT_17`, `"[420 FLOOD_WAIT_X]"`, `"Too Many Requests: retry after
    /// 5"`, `-404`.
    #[arg(required = true, value_name = "WORD", allow_negative_numbers = true)]
    words: Vec<String>,
    /// The method that was called, for example `messages.getHistory`.
    #[arg(long, default_value = "", hide_default_value = true)]
    method: String,
    /// The chat or user that it was about.
    #[arg(long, default_value = "", hide_default_value = true)]
    peer: String,
    /// The code that came with the error.
    #[arg(long, default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    code: i32,
    /// The data centre that answered.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    dc: u32,
    /// The session's home data centre.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    home_dc: u32,
}

pub(crate) fn run(args: Args, output: Output) -> Result<(), Failure> {
    let text = args.words.join(" ").trim().to_owned();
    if let Some(entry) = manual::reason(&text) {
        return match output {
            Output::Human => print::line(entry.trim_end()),
            Output::Json => print::json(&reason_json(&entry)),
        };
    }
    if let Some(entry) = manual::rule(&text) {
        return match output {
            Output::Human => print::line(entry.trim_end()),
            Output::Json => print::json(&json!({ "manual": entry.trim_end() })),
        };
    }
    let (report, now) = (report_of(&text, args), Clock::system().now());
    let verdict = judge(&report, now);
    let rule = Rule::all().iter().find(|rule| rule.id == verdict.rule);
    if rule.is_some_and(|rule| rule.codes == Codes::Missing) {
        return Err(unknown(&verdict.name, &text));
    }
    match output {
        Output::Human => print::record(record(&verdict, &report, now)),
        Output::Json => print::json(&verdict_json(&verdict, now)),
    }
}

/// A number alone is a code; all else is what Telegram or a library wrote.
fn report_of(text: &str, args: Args) -> Report {
    let number = text.parse().ok().filter(|_| args.code == 0);
    let (code, message) = number.map_or((args.code, text), |code| (code, ""));
    Report {
        code,
        message: message.to_owned(),
        method: args.method,
        peer: args.peer,
        dc: args.dc,
        home_dc: args.home_dc,
        ..Report::default()
    }
}

fn record(verdict: &Verdict, report: &Report, now: Time) -> Vec<(&'static str, String)> {
    let until = verdict.until.map(|at| format!("{} after the error", span_until(at, now)));
    let retry = verdict.retry_after.map(|after| span::show(as_duration(after.0)));
    let ends = verdict.action == Action::CoolDown;
    let dc = verdict.dc.map(|dc| format!("data centre {dc}"));
    vec![
        ("name", verdict.name.clone()),
        ("known", known(verdict)),
        ("rule", format!("{} ({MANUAL}#{})", verdict.rule, manual::rule_anchor(verdict.rule))),
        ("action", manual::action(verdict.action).replace('`', "")),
        ("scope", format!("{}{}", scope(verdict), narrower(verdict, report, now))),
        (if ends { "until" } else { "look again" }, until.unwrap_or_default()),
        ("retry after", retry.unwrap_or_default()),
        ("go to", dc.unwrap_or_default()),
        ("another session", manual::other_session(verdict.other_session).to_owned()),
        ("why", verdict.why.to_owned()),
    ]
}

/// Says it plainly when no rule knows the name; empty when one does.
fn known(verdict: &Verdict) -> String {
    if !verdict.is_by_default() {
        return String::new();
    }
    let rule = verdict.rule;
    if verdict.name.starts_with("CODE_") {
        return format!("no name was given: {rule}, the default for the code, decides");
    }
    let near = nearest(&verdict.name);
    let hint = if near.is_empty() { String::new() } else { format!("; {}", did_you_mean(&near)) };
    format!("no rule knows the name: {rule}, the default for the code, decides{hint}")
}

fn scope(verdict: &Verdict) -> String {
    let what = match &verdict.scope {
        Scope::Request => "the request alone".to_owned(),
        Scope::Session => "the whole session".to_owned(),
        Scope::Method(name) => format!("the method {name}"),
        Scope::Peer(name) => format!("the chat or user {name}"),
        Scope::Capability(capability) => format!("the capability {capability}"),
        Scope::Egress => "the way out to Telegram".to_owned(),
    };
    match verdict.reach {
        Reach::Session => what,
        Reach::Account => format!("{what}, of every session of the account"),
    }
}

/// What would be closed instead, if the report said more.
fn narrower(verdict: &Verdict, report: &Report, now: Time) -> &'static str {
    let or = |given: &str, name: &str| if given.is_empty() { name } else { given }.to_owned();
    let (method, peer) = (or(&report.method, "METHOD"), or(&report.peer, "PEER"));
    match judge(&Report { method, peer, ..report.clone() }, now).scope {
        Scope::Method(_) if report.method.is_empty() => "; with --method, that method alone",
        Scope::Peer(_) if report.peer.is_empty() && verdict.action != Action::Denied => {
            "; with --peer, that chat or user alone"
        }
        _ => "",
    }
}

fn unknown(name: &str, text: &str) -> Failure {
    let name = if name.starts_with("CODE_") { text } else { name };
    let near = nearest(name);
    let hint = if near.is_empty() {
        let defaults = Rule::all().iter().filter_map(|rule| match rule.codes {
            Codes::These(codes) if rule.is_default() => {
                let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
                Some(format!("{} {}", codes.join("/"), rule.ruling.action.name()))
            }
            _ => None,
        });
        let defaults: Vec<_> = defaults.collect();
        format!("tell its code with --code; the defaults are {}", defaults.join(", "))
    } else {
        format!("{}? If not, tell its code with --code", did_you_mean(&near))
    };
    let said = format!("no reason and no rule is named '{}'", print::printable(name));
    Failure::new(Exit::Refused, said).next(hint)
}

fn did_you_mean(names: &[String]) -> String {
    format!("did you mean {}", names.join(" or "))
}

/// The known names that are written almost like a word, nearest first.
fn nearest(word: &str) -> Vec<String> {
    let word = word.to_ascii_uppercase();
    let length = word.chars().count();
    if length > MAX_COMPARED {
        return Vec::new();
    }
    let patterns = Rule::all().iter().flat_map(|rule| rule.names).copied();
    let names = patterns.filter(|pattern| !pattern.contains('*')).flat_map(spelled_out);
    let mut near: Vec<_> = manual::reasons()
        .map(str::to_owned)
        .chain(names)
        .map(|name| (distance(&word, &name), name))
        .filter(|(edits, _)| *edits <= length.div_ceil(5))
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect()
}

/// The names that a pattern without a star stands for.
fn spelled_out(pattern: &str) -> Vec<String> {
    let choice = pattern.split_once('(').and_then(|(before, rest)| {
        let (words, after) = rest.split_once(')')?;
        Some((before, words, after))
    });
    let Some((before, words, after)) = choice else { return vec![pattern.to_owned()] };
    let tails = spelled_out(after);
    let names =
        words.split('|').flat_map(|word| tails.iter().map(move |t| format!("{before}{word}{t}")));
    names.collect()
}

/// How many letters have to be put in, left out or changed to make the one from the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.pop().unwrap_or_default()
}

fn reason_json(entry: &str) -> Value {
    let name = entry.lines().next().unwrap_or_default().trim_start_matches('#').trim();
    let situations: Vec<_> = ENTRIES
        .iter()
        .filter(|entry| entry.name() == name)
        .map(|entry| {
            json!({
                "code": entry.code_name(),
                "http": entry.http,
                "when": entry.when,
                "remedy": entry.remedy,
                "message": entry.en,
            })
        })
        .collect();
    json!({ "reason": name, "situations": situations, "manual": entry.trim_end() })
}

fn verdict_json(verdict: &Verdict, now: Time) -> Value {
    let kind = match &verdict.scope {
        Scope::Request => "REQUEST",
        Scope::Session => "SESSION",
        Scope::Method(_) => "METHOD",
        Scope::Peer(_) => "PEER",
        Scope::Capability(_) => "CAPABILITY",
        Scope::Egress => "EGRESS",
    };
    json!({
        "name": verdict.name,
        "known": !verdict.is_by_default(),
        "rule": verdict.rule,
        "action": verdict.action.name(),
        "scope": kind,
        "subject": verdict.scope.subject(),
        "account": verdict.reach == Reach::Account,
        "wait": verdict.until.map(|at| span::seconds(as_duration(at.since(now).0))),
        "retryAfter": verdict.retry_after.map(|after| span::seconds(as_duration(after.0))),
        "dc": verdict.dc,
        "anotherSession": manual::other_session(verdict.other_session),
        "why": verdict.why,
    })
}

fn span_until(at: Time, now: Time) -> String {
    span::show(as_duration(at.since(now).0))
}

fn as_duration(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}
