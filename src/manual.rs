//! The manual of errors: `docs/errors.md` and `telegate explain`, made from the tables alone.
//!
//! Whatever is told of one reason or one rule comes from its row; a test compares the file.

mod words;

pub use words::{action, lasting, other_session};

use std::fmt::Write as _;

use crate::{
    pool::{
        Escalation,
        verdict::{Rule, Ruling},
    },
    server::status::{
        anchor,
        examples::{Example, examples},
        reasons::{ENTRIES, Retry},
    },
};

const INTRODUCTION: &str = "\
# The errors

<!-- Made from the broker's own tables; do not edit. See CONTRIBUTING.md. -->

First the reasons for which the broker itself refuses a call, then the rules by which it judges the
errors of Telegram, then those by which many small troubles become a large one. `telegate explain`
prints the same for one word: `telegate explain POOL_BUSY`, `telegate explain FLOOD_WAIT_17`,
`telegate explain E1`.

## The broker's reasons

Every error carries `google.rpc.ErrorInfo` with domain `telegate`, a reason, and in its metadata
whatever changes in the message. `RetryInfo` is there exactly when waiting helps; the trailer
`grpc-retry-pushback-ms` then says the same, and is negative otherwise. A call that sends
`accept-language` also gets a `LocalizedMessage`, in English or Russian. Words in braces are keys of
the metadata.

";

const RULES: &str = "\
## The rules for Telegram's errors

A worker that got an error from Telegram reports it; the verdict names the rule that decided. Rules
are tried in this order and the first that matches decides, by the canonical name: in capitals and
without its number, as in `FLOOD_WAIT`. In a pattern `*` is any run and `(A|B)` a choice, and
nothing but the whole name matches. A case with a condition goes before the one without.

Waits count from the moment of the error, are at least a second and at most 14 days, or a year when
they come as a date. A number that should be there and is not counts as a minute. A wait that
doubles is the first time so long; when it comes back after it was over, it is twice as long (E4).

A cool-down is never shortened by a later report: the later end stands. Only an operator ends it
before its time: `telegate flood clear`. Of a method only the last part of its name counts, in any
case and without `Request`, so that `messages.getHistory` and `GetHistoryRequest` are one.

";

const ESCALATIONS: &str = "\
## The rules of escalation

Each is a part of the pool's policy, `policy.escalation`, which can also switch all but E5 off. A
verdict names those that fired in `escalations`; the cool-down that one made carries its id.

";

/// The whole of `docs/errors.md`.
#[must_use]
pub fn whole() -> String {
    let mut text = INTRODUCTION.to_owned();
    let examples = examples();
    for name in reasons() {
        let _ = writeln!(text, "<a id=\"{}\"></a>\n", anchor(name));
        text += &of_reason(name, &examples);
    }
    text += RULES;
    for rule in Rule::all() {
        let _ = writeln!(text, "<a id=\"{}\"></a>\n", rule_anchor(rule.id));
        text += &of_rule(rule);
    }
    text += ESCALATIONS;
    for escalation in escalations() {
        let _ = writeln!(text, "<a id=\"{}\"></a>\n", rule_anchor(escalation.id()));
        text += &of_escalation(escalation);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The names of all reasons, in the manual's order.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    let is_first = |at: usize| ENTRIES[..at].iter().all(|e| e.reason != ENTRIES[at].reason);
    (0..ENTRIES.len()).filter(move |&at| is_first(at)).map(|at| ENTRIES[at].name())
}

/// What the manual says of a reason, which may be written in any case.
#[must_use]
pub fn reason(word: &str) -> Option<String> {
    let word = word.to_ascii_uppercase().replace('-', "_");
    let word = word.strip_prefix("ERROR_REASON_").unwrap_or(&word);
    let name = reasons().find(|name| *name == word)?;
    Some(of_reason(name, &examples()))
}

/// What the manual says of a rule for Telegram's errors or of escalation, by its id in any case.
#[must_use]
pub fn rule(id: &str) -> Option<String> {
    let rule = Rule::all().iter().find(|rule| rule.id.eq_ignore_ascii_case(id)).map(of_rule);
    rule.or_else(|| {
        escalations().into_iter().find(|e| e.id().eq_ignore_ascii_case(id)).map(of_escalation)
    })
}

/// Where the manual explains a rule.
#[must_use]
pub fn rule_anchor(id: &str) -> String {
    format!("rule-{}", anchor(id))
}

/// The rules of escalation by their ids.
fn escalations() -> [Escalation; 5] {
    let mut all = Escalation::ALL;
    all.sort_by_key(|escalation| escalation.id());
    all
}

fn of_escalation(escalation: Escalation) -> String {
    let words = words::escalation(escalation);
    let mut text = format!("### {}\n\n", escalation.id());
    let _ = writeln!(text, "- When: {}", words.when);
    let _ = writeln!(text, "- Effect: {}", words.effect);
    let _ = writeln!(text, "- Why: {}", escalation.why());
    let _ = writeln!(text, "- Knobs: {}\n", words.knobs);
    text
}

fn of_reason(name: &str, examples: &[Example]) -> String {
    let mut text = format!("### {name}\n\n");
    for example in examples.iter().filter(|example| example.entry.name() == name) {
        let entry = example.entry;
        let retry = match entry.retry {
            Retry::Futile => "Repeating it unchanged is futile.".to_owned(),
            Retry::After { least, most } => {
                format!("Waiting helps, {} to {}.", lasting(least), lasting(most))
            }
        };
        let code = entry.code_name();
        let _ = writeln!(text, "`{code}`, HTTP {}. {retry}\n", entry.http);
        let _ = writeln!(text, "- When: {}", entry.when);
        let _ = writeln!(text, "- What to do: {}", entry.remedy);
        let _ = writeln!(text, "- Message: {}", entry.en);
        let _ = writeln!(text, "- In Russian: {}", entry.ru);
        let _ = writeln!(text, "- Details: {}", details(example));
        let _ = writeln!(text, "\n```text\n{}```\n", example.text());
    }
    text
}

/// The details of an example, with the keys of its metadata.
fn details(example: &Example) -> String {
    let named = |name: &&str| {
        let keys = example.metadata();
        if *name == "ErrorInfo" && !keys.is_empty() {
            return format!("`ErrorInfo` with `{}`", keys.join("`, `"));
        }
        format!("`{name}`")
    };
    example.details().iter().map(named).collect::<Vec<_>>().join("; ")
}

fn of_rule(rule: &Rule) -> String {
    let mut text = format!("### {}\n\n", rule.id);
    let codes = words::codes(rule.codes);
    if rule.is_default() {
        let _ = writeln!(text, "Names that no rule above knows, {codes}.\n");
    } else {
        let _ = writeln!(text, "`{}`, {codes}.\n", rule.names.join("`, `"));
    }
    let conditions = rule.except.iter().map(|(when, ruling)| (Some(*when), ruling));
    for (when, ruling) in conditions.chain([(None, &rule.ruling)]) {
        let condition = match when {
            Some(when) => words::when(when),
            None if rule.except.is_empty() => String::new(),
            None => "Otherwise".to_owned(),
        };
        let _ = writeln!(text, "{}", of_ruling(&condition, ruling));
    }
    text
}

fn of_ruling(condition: &str, ruling: &Ruling) -> String {
    let mut text = String::new();
    if !condition.is_empty() {
        let _ = writeln!(text, "{condition}:\n");
    }
    let place = words::place(ruling.place, ruling.reach);
    let _ = writeln!(text, "- Action: {}", action(ruling.action));
    let _ = writeln!(text, "- Scope: {place}");
    let _ = writeln!(text, "- Wait: {}", words::wait(ruling.wait));
    let _ = writeln!(text, "- Another session: {}", other_session(ruling.other));
    let _ = writeln!(text, "- Why: {}", ruling.why);
    text
}
