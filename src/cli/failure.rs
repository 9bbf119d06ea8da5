//! How a word fails: what is said, and the exit code.

use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode};

use serde::Serialize;
use telegate::{
    client::{Error, Kind, Refused},
    keys::Role,
    proto::v1::ErrorReason,
};

use super::{print::Output, span};

/// The exit codes, as in BSD's sysexits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Refused = 1,
    Usage = 64,
    Data = 65,
    Unavailable = 69,
    Internal = 70,
    Io = 74,
    Temporary = 75,
    Permission = 77,
    Lost = 79,
    CannotRun = 126,
    NoCommand = 127,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a word was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    next: Option<String>,
    refused: Option<Box<Refused>>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), next: None, refused: None }
    }

    /// Adds what to do about it.
    pub(crate) fn next(self, step: impl Into<String>) -> Self {
        Self { next: Some(step.into()), ..self }
    }

    /// Names the role that the whole word needs, where a step of it was refused for want of a
    /// lesser one.
    pub(crate) fn needing(mut self, role: Role) -> Self {
        if let Some(lacking) = self.lacking() {
            self.message =
                self.message.replace(&format!("role {lacking}"), &format!("role {role}"));
        }
        self
    }

    /// The role for want of which it was refused.
    pub(crate) fn lacking(&self) -> Option<String> {
        self.refused.as_ref()?.metadata.get("role").cloned()
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn print(&self, output: Output) {
        match output {
            Output::Human => eprintln!("{}", self.text()),
            Output::Json => eprintln!("{}", self.json()),
        }
    }

    /// What is wrong, in one line.
    pub(crate) fn sentence(&self) -> String {
        self.message.lines().next().unwrap_or_default().to_owned()
    }

    fn text(&self) -> String {
        let mut text = format!("error: {}", self.message.trim_end());
        if let Some(refused) = &self.refused {
            for violation in &refused.violations {
                let _ = write!(text, "\n  {}: {}", violation.subject, violation.description);
            }
            let retry = refused.retry_after.map(span::show);
            let retry = retry.map(|after| format!(" (retry in {after})")).unwrap_or_default();
            if !refused.reason_name.is_empty() {
                let _ = write!(text, "\nreason: {}{retry}", refused.reason_name);
            }
            if refused.kind() == Kind::Bug && !refused.request_id.is_empty() {
                let _ = write!(text, "\nrequest id: {}", refused.request_id);
            }
        }
        if let Some(next) = &self.next {
            let _ = write!(text, "\nnext: {next}");
        }
        text
    }

    fn json(&self) -> String {
        let refused = self.refused.as_deref();
        let error = JsonError {
            message: &self.message,
            exit_code: self.exit as u8,
            next: self.next.as_deref(),
            code: refused.map(Refused::code_name),
            reason: refused.map(|r| r.reason_name.as_str()),
            retry_after: refused.and_then(|r| r.retry_after).map(span::seconds),
            metadata: refused.map(|r| &r.metadata),
            violations: refused.map_or(vec![], |refused| {
                let pairs = refused.violations.iter();
                pairs
                    .map(|v| JsonViolation { subject: &v.subject, description: &v.description })
                    .collect()
            }),
            request_id: refused.map(|r| r.request_id.as_str()),
            help: refused.and_then(|r| r.help.as_deref()),
        };
        serde_json::json!({ "error": error }).to_string()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonError<'a> {
    message: &'a str,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<JsonViolation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonViolation<'a> {
    subject: &'a str,
    description: &'a str,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Endpoint(message) => Self::new(Exit::Usage, message),
            Error::Unreachable { ref cause, .. } => {
                let next = if cause.contains("CaUsedAsEndEntity") {
                    "serve a certificate that an authority has signed, not the authority's own"
                } else if cause.contains("certificate") {
                    "name the authority that signed its certificate with --ca"
                } else if cause.contains("refused") {
                    "start it with `telegate serve`, or name another with --address"
                } else {
                    "see that it serves there, with TLS at https://, or name another with --address"
                };
                Self::new(Exit::Unavailable, error.to_string()).next(next)
            }
            Error::Refused(refused) => Self {
                exit: exit_of(&refused),
                message: refused.message.clone(),
                next: next_of(&refused).map(str::to_owned),
                refused: Some(refused),
            },
        }
    }
}

/// What a person at a command line can do, where the broker's own words are for programs.
fn next_of(refused: &Refused) -> Option<&'static str> {
    match refused.reason {
        Some(ErrorReason::ApiKeyMissing) => {
            Some("set TELEGATE_KEY, or name a file with --key-file")
        }
        _ => None,
    }
}

fn exit_of(refused: &Refused) -> Exit {
    match refused.kind() {
        Kind::BadRequest => Exit::Usage,
        Kind::Forbidden => Exit::Permission,
        Kind::Temporary => Exit::Temporary,
        Kind::Unavailable => Exit::Unavailable,
        Kind::Bug => Exit::Internal,
        Kind::Final => Exit::Refused,
    }
}
