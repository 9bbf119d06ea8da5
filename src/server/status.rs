//! The one place that turns refusals and failures into gRPC statuses.
//!
//! Every status carries `ErrorInfo` and `RequestInfo`; `RetryInfo` and a pushback trailer that says
//! the same exactly when waiting helps, and a negative pushback otherwise. What went wrong inside
//! is noted for the log and never sent.

pub mod examples;
pub mod reasons;
mod transport;
mod words;

use std::{collections::BTreeMap, time::Duration};

use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{
    ErrorDetails, FieldViolation, PreconditionViolation, QuotaViolation, StatusExt as _,
};

pub(crate) use self::words::{anchor, code_name};
use self::{
    reasons::Entry,
    words::{owned, render, tell_counts, tell_wait, told_delay},
};
pub(super) use self::{
    transport::{broken_stream, made_by_transport},
    words::cause_name,
};
use super::call::{Call, Locale, Outcome, Weight};
use crate::{
    keys::Role,
    pool::{
        Fingerprint, KeyId, MAX_LABELS, NextRelease, PolicyFault, PoolCounts, PoolName, Queue,
        Refusal, SessionName, SessionState,
    },
    store,
};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "telegate";
/// The page that explains the reasons.
const MANUAL: &str = "https://github.com/telegate/telegate/blob/main/docs/errors.md";
/// The trailer that tells gRPC clients when to retry: milliseconds, or negative for never.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// The most violations that one answer names: clients refuse headers of more than 8 KiB.
const MAX_VIOLATIONS: usize = 16;

/// Why a call is not answered as it wished.
#[derive(Debug)]
pub(super) enum Fault {
    /// The store refused or failed.
    Store(store::Error),
    /// The request is malformed.
    Invalid(Vec<Violation>),
    /// The bytes are not the message that the method takes.
    Unreadable,
    /// The message is too large.
    TooLarge {
        /// The most bytes it may have.
        most: usize,
    },
    /// There is no API key.
    KeyMissing,
    /// The API key is not known.
    KeyInvalid,
    /// The key lacks a role.
    RoleMissing {
        /// The key.
        key: KeyId,
        /// The least role that would do.
        role: Role,
    },
    /// The key may not use the pool.
    PoolForbidden {
        /// The key.
        key: KeyId,
        /// The pool that the request names, whether or not it exists.
        pool: PoolName,
    },
    /// The credential is in a pool that the key may not see.
    CredentialElsewhere {
        /// The credential's fingerprint.
        fingerprint: Fingerprint,
    },
    /// This version cannot do it yet.
    NotImplemented {
        /// The call or the field.
        what: &'static str,
    },
    /// The connection has as many streams as it may.
    TooManyStreams {
        /// How many that is.
        most: usize,
    },
    /// There is no such method.
    UnknownMethod {
        /// What was called.
        what: String,
    },
    /// The call took too long.
    Late,
    /// The server is shutting down.
    ShuttingDown,
    /// A bug.
    Internal {
        /// For the log.
        cause: String,
    },
}

/// A field that is not what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// The path of the field.
    pub(super) field: String,
    /// What is wrong, and what would do.
    pub(super) description: String,
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Builds the status of a fault, and notes for the log what came of the call.
pub(super) fn status(fault: Fault, call: &Call) -> Status {
    build(answer(fault), call)
}

/// The reason of a refusal and its message in English, for who asks what would happen.
pub(super) fn told(refusal: Refusal) -> (&'static str, String) {
    let Answer { entry, facts, .. } = refused(refusal);
    (entry.name(), render(entry.en, &facts))
}

/// The reason that a status would have, for streams that tell it of one lease.
pub(super) fn reason(fault: Fault) -> &'static str {
    answer(fault).entry.name()
}

fn build(answer: Answer, call: &Call) -> Status {
    let Answer { entry, facts, delay, detail, cause } = answer;
    let reason = entry.name();
    call.note(Outcome { code: entry.code, reason, weight: weight(entry.code), cause });
    let message = render(entry.en, &facts);
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, owned(&facts));
    details.set_request_info(&call.id, "");
    let mut trailers = MetadataMap::new();
    let pushback = match told_delay(entry.retry, delay, call.jitter) {
        Some(delay) => {
            details.set_retry_info(Some(delay));
            delay.as_millis().to_string()
        }
        None => "-1".to_owned(),
    };
    if let Ok(value) = MetadataValue::try_from(pushback) {
        trailers.insert(PUSHBACK, value);
    }
    detail.add_to(&mut details, &message, reason);
    match call.locale {
        Some(Locale::En) => _ = details.set_localized_message("en", message.as_str()),
        Some(Locale::Ru) => _ = details.set_localized_message("ru", render(entry.ru, &facts)),
        None => {}
    }
    Status::with_error_details_and_metadata(entry.code, message, details, trailers)
}

/// Whether a refusal for this reason tells that its pool exists. Only such pools are counted by
/// name.
pub(super) fn is_of_a_pool(reason: &str) -> bool {
    ![&reasons::POOL_NOT_FOUND, &reasons::POOL_FORBIDDEN].iter().any(|e| e.name() == reason)
}

/// How much an error of a code matters to those who run the broker.
const fn weight(code: Code) -> Weight {
    match code {
        Code::Internal | Code::Unknown | Code::DataLoss => Weight::Bug,
        Code::Unavailable => Weight::Outage,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Weight::Refusal,
    }
}

type Facts = BTreeMap<&'static str, String>;

/// All that a status is built from.
struct Answer {
    entry: &'static Entry,
    facts: Facts,
    /// How long the situation will last; nothing when nobody knows.
    delay: Duration,
    detail: Detail,
    cause: Option<String>,
}

/// The detail that only some situations have.
enum Detail {
    None,
    BadRequest(Vec<Violation>),
    Quota { subject: String },
    Precondition { kind: &'static str, subject: String, needs: Vec<String> },
    Help { subject: String, needs: String },
    Resource { kind: &'static str, name: String },
}

impl Detail {
    fn add_to(self, details: &mut ErrorDetails, message: &str, reason: &str) {
        match self {
            Self::None => {}
            Self::BadRequest(violations) => {
                let violation = |v: Violation| FieldViolation::new(v.field, v.description);
                details.set_bad_request(violations.into_iter().map(violation).collect::<Vec<_>>());
            }
            Self::Quota { subject } => {
                details.set_quota_failure(vec![QuotaViolation::new(subject, message)]);
            }
            Self::Precondition { kind, subject, needs } => {
                let violation = |need| PreconditionViolation::new(kind, subject.as_str(), need);
                let violations: Vec<_> = needs.into_iter().map(violation).collect();
                details.set_precondition_failure(violations);
            }
            Self::Help { subject, needs } => {
                let violation = PreconditionViolation::new("SESSIONS", subject, needs);
                details.set_precondition_failure(vec![violation]);
                let anchor = anchor(reason);
                details.add_help_link(format!("About {reason}"), format!("{MANUAL}#{anchor}"));
            }
            Self::Resource { kind, name } => {
                details.set_resource_info(kind, name, "", message);
            }
        }
    }
}

impl Answer {
    fn new<const N: usize>(entry: &'static Entry, facts: [(&'static str, String); N]) -> Self {
        let facts = facts.into_iter().collect();
        Self { entry, facts, delay: Duration::ZERO, detail: Detail::None, cause: None }
    }

    fn with(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    fn because(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }
}

fn answer(fault: Fault) -> Answer {
    match fault {
        Fault::Store(store::Error::Refused(refusal)) => refused(*refusal),
        Fault::Store(error @ store::Error::Unavailable(_)) => {
            Answer::new(&reasons::STORE_UNAVAILABLE, []).because(error.to_string())
        }
        Fault::Store(error @ store::Error::Recovering(_)) => {
            Answer::new(&reasons::STORE_RECOVERING, []).because(error.to_string())
        }
        Fault::Store(error @ store::Error::Broken(_)) => {
            Answer::new(&reasons::INTERNAL, []).because(error.to_string())
        }
        Fault::Store(store::Error::NoKey) => {
            let needs = vec!["the broker has a store key".to_owned()];
            let detail =
                Detail::Precondition { kind: "STORE_KEY", subject: "telegate".into(), needs };
            Answer::new(&reasons::STORE_KEY_MISSING, []).with(detail)
        }
        Fault::Invalid(violations) => invalid(violations),
        Fault::Unreadable => unreadable(Answer::new(&reasons::UNREADABLE, [message_field()])),
        Fault::TooLarge { most } => unreadable(Answer::new(
            &reasons::TOO_LARGE,
            [message_field(), ("max_message", most.to_string())],
        )),
        Fault::KeyMissing => Answer::new(&reasons::KEY_MISSING, [("header", "x-api-key".into())]),
        Fault::KeyInvalid => Answer::new(&reasons::KEY_INVALID, []),
        Fault::RoleMissing { key, role } => Answer::new(
            &reasons::ROLE_MISSING,
            [("key", key.to_string()), ("role", role.to_string())],
        ),
        Fault::PoolForbidden { key, pool } => Answer::new(
            &reasons::POOL_FORBIDDEN,
            [("key", key.to_string()), ("pool", pool.to_string())],
        ),
        Fault::CredentialElsewhere { fingerprint } => {
            let name = fingerprint.to_string();
            Answer::new(&reasons::CREDENTIAL_ELSEWHERE, [("fingerprint", name.clone())])
                .with(Detail::Resource { kind: "telegate.v1.Credential", name })
        }
        Fault::NotImplemented { what } => {
            Answer::new(&reasons::NOT_IMPLEMENTED, [("what", what.into())])
        }
        Fault::TooManyStreams { most } => {
            Answer::new(&reasons::TOO_MANY_STREAMS, [("limit", most.to_string())])
                .with(Detail::Quota { subject: "connection".into() })
        }
        Fault::UnknownMethod { what } => Answer::new(&reasons::UNKNOWN_METHOD, [("what", what)]),
        Fault::Late => Answer::new(&reasons::STORE_UNAVAILABLE, [])
            .because("the call took longer than limits.call_timeout"),
        Fault::ShuttingDown => Answer::new(&reasons::SHUTTING_DOWN, []),
        Fault::Internal { cause } => Answer::new(&reasons::INTERNAL, []).because(cause),
    }
}

fn message_field() -> (&'static str, String) {
    ("fields", "message".to_owned())
}

fn unreadable(answer: Answer) -> Answer {
    let description = render(answer.entry.en, &answer.facts);
    answer.with(Detail::BadRequest(vec![Violation { field: "message".into(), description }]))
}

fn invalid(mut violations: Vec<Violation>) -> Answer {
    if violations.len() > MAX_VIOLATIONS {
        let more = violations.len() - MAX_VIOLATIONS + 1;
        violations.truncate(MAX_VIOLATIONS - 1);
        let description = format!("{more} more violations are not listed");
        violations.push(Violation { field: "…".into(), description });
    }
    let mut fields: Vec<_> = violations.iter().map(|v| v.field.as_str()).collect();
    fields.dedup();
    let fields = fields.join(",");
    Answer::new(&reasons::INVALID_REQUEST, [("fields", fields)])
        .with(Detail::BadRequest(violations))
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::PoolNotFound { pool } => about_pool(&reasons::POOL_NOT_FOUND, &pool),
        Refusal::PoolExists { pool } => about_pool(&reasons::POOL_EXISTS, &pool),
        Refusal::PoolNotEmpty { pool, total } => {
            let (subject, needs) = (pool.to_string(), vec!["EMPTY".to_owned()]);
            let mut answer = about_pool(&reasons::POOL_NOT_EMPTY, &pool);
            answer.facts.insert("total", total.to_string());
            answer.with(Detail::Precondition { kind: "STATE", subject, needs })
        }
        Refusal::PolicyUnfit { pool: _, faults } => invalid(
            faults
                .into_iter()
                .map(|PolicyFault { field, fault }| Violation {
                    field: format!("pool.policy.{field}"),
                    description: fault,
                })
                .collect(),
        ),
        Refusal::PoolEmpty { pool } => {
            let needs = "the pool has a session".to_owned();
            about_pool(&reasons::POOL_EMPTY, &pool)
                .with(Detail::Help { subject: pool.to_string(), needs })
        }
        Refusal::PoolPaused { pool } => needs_active(&reasons::POOL_PAUSED, &pool),
        Refusal::PoolDraining { pool } => needs_active(&reasons::POOL_DRAINING, &pool),
        Refusal::PoolBusy { pool, counts, next, queue } => {
            free_later(&reasons::POOL_BUSY, &pool, counts, next, queue)
        }
        Refusal::PoolFloodWait { pool, counts, next, queue } => {
            free_later(&reasons::POOL_FLOOD_WAIT, &pool, counts, next, queue)
                .with(Detail::Quota { subject: pool.to_string() })
        }
        Refusal::PoolDepleted { pool, counts } => counted(&reasons::POOL_DEPLETED, &pool, counts)
            .with(Detail::Help {
                subject: pool.to_string(),
                needs: "a session that would do is neither INVALID nor SUSPECT".to_owned(),
            }),
        Refusal::NoMatchingSession { pool, selector, counts } => {
            let mut answer = about_pool(&reasons::NO_MATCHING_SESSION, &pool);
            answer.facts.insert("selector", selector.to_string());
            answer.facts.insert("total", counts.total.to_string());
            let needs = format!("a session of the pool matches '{selector}'");
            answer.with(Detail::Help { subject: pool.to_string(), needs })
        }
        Refusal::WaitQueueFull { pool, waiters, most, counts, next, queue } => {
            let reason = &reasons::WAIT_QUEUE_FULL;
            let mut answer = free_later(reason, &pool, counts, next, queue).after(QUEUE_PAUSE);
            answer.facts.insert("waiters", waiters.to_string());
            answer.facts.insert("max_waiters", most.to_string());
            answer
        }
        Refusal::SessionNotFound { pool, session } => {
            about_session(&reasons::SESSION_NOT_FOUND, &pool, &session)
        }
        Refusal::TooManyLabels { pool: _, session: _, count } => invalid(vec![Violation {
            field: "session.labels".to_owned(),
            description: format!("would be {count}; they may be at most {MAX_LABELS}"),
        }]),
        Refusal::SessionExists { pool, session } => {
            about_session(&reasons::SESSION_EXISTS, &pool, &session)
        }
        Refusal::CredentialExists { pool, session, fingerprint } => {
            let mut answer = about_session(&reasons::CREDENTIAL_EXISTS, &pool, &session);
            answer.facts.insert("fingerprint", fingerprint.to_string());
            answer
        }
        Refusal::RequestIdReused { pool, request_id } => {
            let mut answer = about_pool(&reasons::REQUEST_ID_REUSED, &pool);
            answer.facts.insert("request_id", request_id.clone());
            answer.with(Detail::Resource { kind: "telegate.v1.AcquireRequest", name: request_id })
        }
        Refusal::LeaseNotFound => Answer::new(&reasons::LEASE_NOT_FOUND, [])
            .with(Detail::Resource { kind: LEASE, name: String::new() }),
        Refusal::LeaseLost { pool, session, cause, epoch, at, detail } => {
            let told = !detail.is_empty();
            let entry = if told { &reasons::LEASE_REVOKED } else { &reasons::LEASE_LOST };
            let mut answer = about_session(entry, &pool, &session);
            if told {
                answer.facts.insert("detail", detail);
            }
            answer.facts.insert("cause", cause_name(cause).to_owned());
            answer.facts.insert("epoch", epoch.to_string());
            answer.facts.insert("lost_at", at.to_string());
            answer.with(Detail::Resource { kind: LEASE, name: format!("{pool}/{session}") })
        }
        Refusal::NotHolder { pool, session } => {
            about_session(&reasons::NOT_HOLDER, &pool, &session).with(Detail::None)
        }
        Refusal::InappropriateState { pool, session, state, wanted } => {
            let needs: Vec<_> = wanted.iter().map(|state| state.name().to_owned()).collect();
            let mut answer = about_session(&reasons::INAPPROPRIATE_STATE, &pool, &session);
            answer.facts.insert("state", SessionState::name(state).to_owned());
            answer.facts.insert("wanted", needs.join(","));
            let subject = format!("{pool}/{session}");
            answer.with(Detail::Precondition { kind: "STATE", subject, needs })
        }
    }
}

const LEASE: &str = "telegate.v1.Lease";
/// How long a caller stays away from a waiting room that is full.
const QUEUE_PAUSE: Duration = Duration::from_secs(2);

fn about_pool(entry: &'static Entry, pool: &PoolName) -> Answer {
    let name = pool.to_string();
    Answer::new(entry, [("pool", name.clone())])
        .with(Detail::Resource { kind: "telegate.v1.Pool", name })
}

fn about_session(entry: &'static Entry, pool: &PoolName, session: &SessionName) -> Answer {
    let name = format!("{pool}/{session}");
    Answer::new(entry, [("pool", pool.to_string()), ("session", session.to_string())])
        .with(Detail::Resource { kind: "telegate.v1.Session", name })
}

fn needs_active(entry: &'static Entry, pool: &PoolName) -> Answer {
    let (subject, needs) = (pool.to_string(), vec!["ACTIVE".to_owned()]);
    about_pool(entry, pool).with(Detail::Precondition { kind: "MODE", subject, needs })
}

fn free_later(
    entry: &'static Entry,
    pool: &PoolName,
    counts: PoolCounts,
    next: NextRelease,
    queue: Queue,
) -> Answer {
    let mut answer = counted(entry, pool, counts).after(Duration::from_millis(next.after.0));
    tell_wait(&mut answer.facts, counts, next, queue);
    answer
}

fn counted(entry: &'static Entry, pool: &PoolName, counts: PoolCounts) -> Answer {
    let mut answer = Answer::new(entry, [("pool", pool.to_string())]);
    tell_counts(&mut answer.facts, counts);
    answer
}

#[cfg(test)]
mod tests;
