//! What the scripts are told: arguments as bytes.

use std::fmt::Write as _;

use serde::Serialize;

use super::{keys::Names, resp, scripts::Verb};
use crate::{
    pool::{
        Ask, Assessment, Escalations, InvalidReason, Labels, LeaseId, Mandate, Patience, PoolMode,
        Requirement, Selector, SessionName, SessionRecord, Span, Target, Time,
        verdict::{Action, Reach, Scope, Term, method_key},
    },
    store::{Error, Result},
};

/// The keys of methods begin so.
pub(super) const METHOD: &str = "method:";

/// One run of a script.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) keys: Names,
    /// How many arguments it has, and these as words of a command.
    pub(super) count: usize,
    pub(super) words: Vec<u8>,
}

/// How long the arguments of most calls are together, as words.
const ROOM: usize = 256;

impl Call {
    pub(super) fn new(verb: Verb, keys: Names) -> Self {
        Self { verb, keys, count: 0, words: Vec::with_capacity(ROOM) }
    }

    /// Adds an argument.
    #[must_use]
    pub(super) fn with(mut self, arg: impl AsRef<[u8]>) -> Self {
        resp::word(&mut self.words, arg);
        self.count += 1;
        self
    }

    /// Adds on whose word it is done, and why.
    #[must_use]
    pub(super) fn on(self, on: &Mandate) -> Self {
        self.with(on.by.as_str()).with(on.detail.as_str())
    }

    /// Adds a lease as the deeds on many take it.
    #[must_use]
    pub(super) fn lease(self, lease: &LeaseId) -> Self {
        self.with(lease.session.as_str()).with(lease.secret.to_hex())
    }

    /// Adds an ask.
    #[must_use]
    pub(super) fn ask(self, ask: &Ask) -> Self {
        self.with(row(&PackedAsk::new(ask)))
    }

    /// Adds an argument that the script unpacks.
    #[must_use]
    pub(super) fn packed(self, arg: &impl Serialize) -> Self {
        self.with(pack(arg))
    }
}

/// What a script unpacks as a row of values: a list without its head, which takes one byte.
fn row(value: &impl Serialize) -> Vec<u8> {
    let mut list = rmp_serde::to_vec(value).expect("these types always encode");
    debug_assert_eq!(list[0] & 0xf0, 0x90, "a list of up to fifteen values");
    list.remove(0);
    list
}

/// What a script unpacks, and what the broker keeps as bytes of its own.
pub(super) fn pack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("these types always encode")
}

/// An ask: a row, as `lua/standing.lua` reads it.
#[derive(Serialize)]
struct PackedAsk<'a> {
    secret: String,
    key: &'a str,
    purpose: &'a str,
    ttl: Option<Span>,
    session: Option<&'a str>,
    request: Option<&'a str>,
    digest: Option<&'a str>,
    retried: bool,
    selector: Option<Vec<(bool, Vec<String>)>>,
    scopes: Option<Vec<String>>,
    probe: bool,
}

impl<'a> PackedAsk<'a> {
    fn new(ask: &'a Ask) -> Self {
        let selector = needles(&ask.selector);
        let scopes: Vec<_> = ask.scopes().iter().map(Scope::key).collect();
        Self {
            secret: ask.secret.to_hex(),
            key: ask.holder.key.as_str(),
            purpose: &ask.holder.purpose,
            ttl: ask.ttl,
            session: ask.session.as_ref().map(SessionName::as_str),
            request: ask.request.as_ref().map(|tag| tag.id.as_str()),
            digest: ask.request.as_ref().map(|tag| tag.digest.as_str()),
            retried: ask.retried_for.is_some(),
            selector: (!selector.is_empty()).then_some(selector),
            scopes: (!scopes.is_empty()).then_some(scopes),
            probe: ask.probe,
        }
    }
}

/// An error, as `lua/effect.lua` reads it.
#[derive(Serialize)]
pub(super) struct PackedError<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<InvalidReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    of_account: bool,
    #[serde(flatten)]
    term: PackedTerm,
    rule: &'static str,
    cause: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    flooded: Option<PackedFlood<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Time>,
    escalation: Escalations,
}

/// A method that flooded: what tells it apart, and how it was spelled.
#[derive(Serialize)]
struct PackedFlood<'a> {
    key: String,
    method: &'a str,
}

/// How long an error closes its scope.
#[derive(Serialize)]
#[serde(tag = "term")]
enum PackedTerm {
    Open,
    Length { length: Span },
    Date { date: Time },
    Growing { first: Span, most: Span },
}

impl<'a> PackedError<'a> {
    pub(super) fn new(error: &'a Assessment) -> Self {
        let scope = &error.scope;
        Self {
            action: action_name(error.action),
            reason: match error.action {
                Action::Invalidated(reason) => Some(reason),
                _ => None,
            },
            key: (*scope != Scope::Request).then(|| scope.key()),
            subject: matches!(scope, Scope::Method(_)).then(|| scope.subject()),
            of_account: error.reach == Reach::Account,
            term: match error.term {
                Term::Open => PackedTerm::Open,
                Term::Length(length) => PackedTerm::Length { length },
                Term::Date(date) => PackedTerm::Date { date },
                Term::Growing { first, most } => PackedTerm::Growing { first, most },
            },
            rule: error.rule,
            cause: &error.name,
            flooded: error
                .flooded
                .as_ref()
                .map(|method| PackedFlood { key: method_key(method), method }),
            occurred_at: error.occurred_at,
            escalation: Escalations::default(),
        }
    }
}

/// An action, as the scripts know it.
const fn action_name(action: Action) -> &'static str {
    match action {
        Action::CoolDown => "CoolDown",
        Action::Restricted => "Restricted",
        Action::Denied => "Denied",
        Action::FixRequest => "FixRequest",
        Action::Verify => "Verify",
        Action::Invalidated(_) => "Invalidated",
        Action::Retry | Action::Migrate | Action::Login | Action::App => "Nothing",
    }
}

/// How an ask waits, as `lua/enqueue.lua` reads it.
#[derive(Serialize)]
pub(super) struct PackedWait<'a> {
    ticket: String,
    wait: Span,
    class: u8,
    channel: &'a str,
    demand: String,
    selector: String,
}

impl<'a> PackedWait<'a> {
    pub(super) fn new(ask: &Ask, patience: &Patience, channel: &'a str) -> Self {
        Self {
            ticket: patience.ticket.0.to_string(),
            wait: patience.wait,
            class: patience.priority as u8,
            channel,
            demand: ask.demand(),
            selector: ask.selector.to_string(),
        }
    }
}

/// Which leases are ended, as `lua/revoke_leases.lua` reads it.
#[derive(Default, Serialize)]
pub(super) struct PackedTarget<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<Vec<(bool, Vec<String>)>>,
}

impl<'a> PackedTarget<'a> {
    pub(super) fn new(target: &'a Target) -> Self {
        let none = Self::default();
        match target {
            Target::Session(name) => Self { session: Some(name.as_str()), ..none },
            Target::Lease(id) => {
                let (session, secret) = (id.session.as_str(), id.secret.to_hex());
                Self { session: Some(session), secret: Some(secret), ..none }
            }
            Target::Key(key) => Self { key: Some(key.as_str()), ..none },
            Target::Selector(selector) => Self { selector: Some(needles(selector)), ..none },
        }
    }
}

/// A selector, as `lua/selector.lua` reads it.
fn needles(selector: &Selector) -> Vec<(bool, Vec<String>)> {
    let values = |key: &str, values: &[String]| {
        values.iter().map(|value| format!("\n{key}={value}\n")).collect()
    };
    let any = |key: &str| vec![format!("\n{key}=")];
    let needle = |requirement: &Requirement| match requirement {
        Requirement::In(key, accepted) => (true, values(key, accepted)),
        Requirement::NotIn(key, refused) => (false, values(key, refused)),
        Requirement::Exists(key) => (true, any(key)),
        Requirement::Missing(key) => (false, any(key)),
    };
    selector.requirements().iter().map(needle).collect()
}

/// The record of a session, as `kept.rs` reads it: its secret parts. What else is known of it, the
/// scripts keep in the open.
pub(super) fn secret_parts(record: &SessionRecord) -> Vec<u8> {
    row(&(&record.credential, &record.proxy, &record.device))
}

/// Labels, as `lua/standing.lua` keeps them.
pub(super) fn label_lines(labels: &Labels) -> String {
    let mut lines = String::new();
    for (key, value) in labels {
        let _ = write!(lines, "\n{key}={value}");
    }
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines
}

/// A mode, as it is kept.
pub(super) const fn mode_name(mode: PoolMode) -> &'static str {
    match mode {
        PoolMode::Active => "Active",
        PoolMode::Paused => "Paused",
        PoolMode::Draining => "Draining",
    }
}

/// A span in milliseconds, or nothing.
pub(super) fn millis(span: Option<Span>) -> String {
    span.map(|span| span.0.to_string()).unwrap_or_default()
}

/// Bytes in hexadecimal, as Lua's `redis.sha1hex` writes them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A fresh name: it tells a call apart from others about the same pool or credential.
pub(super) fn fresh_name() -> Result<String> {
    let mut bits = [0; 8];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::Broken(format!("the system gives no random bits: {error}")))?;
    Ok(hex(&bits))
}
