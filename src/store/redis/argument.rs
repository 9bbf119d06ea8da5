//! What the scripts are told: arguments as bytes.

use std::fmt::Write as _;

use serde::Serialize;

use super::scripts::Verb;
use crate::pool::{Ask, Labels, PoolMode, Requirement, Selector, SessionName, Span};

/// One run of a script.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(verb: Verb, keys: Vec<String>) -> Self {
        Self { verb, keys, args: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub(super) fn with(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an argument that the script unpacks.
    #[must_use]
    pub(super) fn packed(self, arg: &impl Serialize) -> Self {
        self.with(pack(arg))
    }
}

/// What a script unpacks, and what the broker keeps as bytes of its own.
pub(super) fn pack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("these types always encode")
}

/// An ask, as `lua/acquire.lua` reads it.
#[derive(Serialize)]
pub(super) struct PackedAsk<'a> {
    secret: String,
    key: &'a str,
    purpose: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
    retried: bool,
    selector: Vec<(bool, Vec<String>)>,
}

impl<'a> PackedAsk<'a> {
    pub(super) fn new(ask: &'a Ask) -> Self {
        Self {
            secret: ask.secret.to_hex(),
            key: ask.holder.key.as_str(),
            purpose: &ask.holder.purpose,
            ttl: ask.ttl,
            session: ask.session.as_ref().map(SessionName::as_str),
            request: ask.request.as_ref().map(|tag| tag.id.as_str()),
            digest: ask.request.as_ref().map(|tag| tag.digest.as_str()),
            retried: ask.retried_for.is_some(),
            selector: needles(&ask.selector),
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
