//! Errors of Telegram: reports taken in, verdicts given out.

use pbjson_types::Timestamp;

use super::{
    Check,
    amend::mandate,
    quote,
    reply::{session_state, timestamp},
};
use crate::{
    pool::{
        Assessment, CoolDown, Effect, KeyId, LeaseId, Mandate, MethodFloods, PoolName, Report,
        SessionName, Span, Time,
        verdict::{Action, Capability, OtherSession, Scope, method_key},
    },
    proto::v1,
    server::status::Fault,
};

/// The longest name of a library, in bytes.
const MAX_LIBRARY: usize = 64;
/// The longest name of an error, in bytes.
const MAX_TYPE: usize = 256;
/// The longest message of an error, in bytes.
const MAX_MESSAGE: usize = 1024;
/// The longest method, peer or capability, in bytes.
pub(super) const MAX_SUBJECT: usize = 128;

/// Checks a Report.
pub(in crate::server) fn report(request: &v1::ReportRequest) -> Result<(LeaseId, Report), Fault> {
    let mut check = Check::default();
    let lease = check.lease("lease_id", &request.lease_id);
    let report = request.error.as_ref().map(|error| check.error(error));
    if report.is_none() {
        check.fault("error", "is required: what Telegram answered");
    }
    check.end(lease.zip(report))
}

/// What a `ClearCoolDown` asks for.
#[derive(Debug)]
pub(in crate::server) struct ClearCoolDown {
    /// The pool.
    pub(in crate::server) pool: PoolName,
    /// The session; none for a method of the whole pool.
    pub(in crate::server) session: Option<SessionName>,
    /// What is to be open again.
    pub(in crate::server) scope: Scope,
    /// On whose word, and why.
    pub(in crate::server) on: Mandate,
}

/// Checks a `ClearCoolDown`.
pub(in crate::server) fn clear_cool_down(
    request: &v1::ClearCoolDownRequest,
    by: KeyId,
) -> Result<ClearCoolDown, Fault> {
    use v1::CoolDownScope as Wire;
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let scope = check.number::<Wire>("scope", request.scope);
    let of_pool = scope == Some(Wire::PoolMethod);
    let session = if of_pool { None } else { check.session("session", &request.session) };
    if of_pool && !request.session.is_empty() {
        check.fault("session", "is not said when the scope is POOL_METHOD");
    }
    let subject = request.subject.as_str();
    let scope = scope.and_then(|scope| match scope {
        Wire::Unspecified => {
            let rule = "write SESSION, METHOD, PEER, CAPABILITY, POOL_METHOD or EGRESS";
            check.fault("scope", format!("is required: {rule}"));
            None
        }
        Wire::Session | Wire::Egress => {
            if !subject.is_empty() {
                check.fault("subject", "is not said for this scope: it is the whole of it");
            }
            Some(if scope == Wire::Session { Scope::Session } else { Scope::Egress })
        }
        Wire::Method | Wire::PoolMethod => {
            check.required("subject", subject);
            check.method("subject", subject);
            Some(Scope::Method(subject.to_owned()))
        }
        Wire::Peer => {
            check.required("subject", subject);
            check.plain("subject", subject, MAX_SUBJECT);
            Some(Scope::Peer(subject.to_owned()))
        }
        Wire::Capability => check.capability(subject).map(Scope::Capability),
    });
    let on = mandate(&mut check, &request.detail, by);
    let (pool, scope) = check.end(pool.zip(scope))?;
    Ok(ClearCoolDown { pool, session, scope, on })
}

impl Check {
    /// An error of Telegram, every violation at once.
    pub(super) fn error(&mut self, error: &v1::TelegramError) -> Report {
        self.plain("error.library", &error.library, MAX_LIBRARY);
        self.plain("error.type", &error.r#type, MAX_TYPE);
        self.at_most("error.message", &error.message, MAX_MESSAGE);
        if !error.method.is_empty() {
            self.method("error.method", &error.method);
        }
        self.plain("error.peer", &error.peer, MAX_SUBJECT);
        let numbers = error.code == 0 && error.transport_code == 0;
        if numbers && error.r#type.is_empty() && error.message.is_empty() {
            self.fault("error", "says nothing: send type, message, code or transport_code");
        }
        let occurred_at = error.occur_time.as_ref();
        let occurred_at = occurred_at.and_then(|time| self.moment("error.occur_time", time));
        Report {
            library: error.library.clone(),
            code: error.code,
            type_name: error.r#type.clone(),
            argument: error.argument,
            message: error.message.clone(),
            transport_code: error.transport_code,
            method: error.method.clone(),
            peer: error.peer.clone(),
            dc: error.dc_id,
            home_dc: error.home_dc_id,
            local: error.local,
            occurred_at,
        }
    }

    /// A moment. What is finer than a millisecond is left out.
    fn moment(&mut self, field: &str, time: &Timestamp) -> Option<Time> {
        match (u64::try_from(time.seconds), u64::try_from(time.nanos)) {
            (Ok(secs), Ok(nanos)) if nanos < 1_000_000_000 => {
                Some(Time(secs.saturating_mul(1000)) + Span(nanos / 1_000_000))
            }
            (Err(_), _) => {
                self.fault(field, "is before 1970");
                None
            }
            (Ok(_), _) => {
                self.fault(field, "has nanos that are not from 0 to 999999999");
                None
            }
        }
    }

    /// A text without control characters: it is compared, kept and logged.
    pub(super) fn plain(&mut self, field: &str, text: &str, most: usize) {
        self.at_most(field, text, most);
        if text.chars().any(char::is_control) {
            self.fault(field, "has control characters; write plain text");
        }
    }

    /// A method in any library's spelling.
    pub(super) fn method(&mut self, field: &str, text: &str) {
        self.plain(field, text, MAX_SUBJECT);
        if method_key(text).is_empty() {
            self.fault(field, "names no method; write for example messages.getHistory");
        }
    }

    fn required(&mut self, field: &str, text: &str) {
        if text.is_empty() {
            self.fault(field, "is required for this scope");
        }
    }

    fn capability(&mut self, name: &str) -> Option<Capability> {
        let capability = Capability::parse(name);
        if capability.is_none() {
            let all: Vec<_> = Capability::all().map(Capability::name).collect();
            let rule = format!("is {}; write one of {}", quote(name), all.join(", "));
            self.fault("subject", rule);
        }
        capability
    }
}

/// What to do about an error, and what it did; `detail` says why.
pub(in crate::server) fn verdict(
    error: &Assessment,
    effect: &Effect,
    detail: String,
) -> v1::Verdict {
    let is_closed = match error.action {
        Action::Verify => true,
        Action::CoolDown | Action::Restricted => error.closes() && effect.until.is_some(),
        _ => false,
    };
    let (scope, subject) = if is_closed {
        (cool_down_scope(&error.scope), error.scope.subject().to_owned())
    } else {
        (v1::CoolDownScope::Unspecified, String::new())
    };
    v1::Verdict {
        action: action(error.action).into(),
        scope: scope.into(),
        subject,
        until: effect.until.map(timestamp),
        other_session: other_session(error.other_session).into(),
        rule: error.rule.to_owned(),
        detail,
        dc_id: error.dc.unwrap_or_default(),
        retry_after: error.retry_after.map(super::reply::duration),
        escalations: effect.escalations.iter().map(|fired| fired.id().to_owned()).collect(),
        session_state: session_state(effect.state).into(),
        name: error.name.clone(),
    }
}

/// A cool-down of a session.
pub(super) fn cool_down(entry: &CoolDown) -> v1::CoolDown {
    v1::CoolDown {
        scope: cool_down_scope(&entry.scope).into(),
        subject: entry.scope.subject().to_owned(),
        until: Some(timestamp(entry.until)),
        rule: entry.rule.clone(),
        cause: entry.cause.clone(),
    }
}

/// The methods of a pool that are braked.
pub(in crate::server) fn brakes(brakes: &[CoolDown]) -> Vec<v1::CoolDown> {
    let scope = v1::CoolDownScope::PoolMethod.into();
    brakes.iter().map(|brake| v1::CoolDown { scope, ..cool_down(brake) }).collect()
}

/// The floods of the last hour.
pub(in crate::server) fn floods(floods: &[MethodFloods]) -> Vec<v1::MethodFloods> {
    let row = |floods: &MethodFloods| v1::MethodFloods {
        method: floods.method.clone(),
        count: floods.count,
    };
    floods.iter().map(row).collect()
}

const fn cool_down_scope(scope: &Scope) -> v1::CoolDownScope {
    match scope {
        Scope::Request => v1::CoolDownScope::Unspecified,
        Scope::Session => v1::CoolDownScope::Session,
        Scope::Method(_) => v1::CoolDownScope::Method,
        Scope::Peer(_) => v1::CoolDownScope::Peer,
        Scope::Capability(_) => v1::CoolDownScope::Capability,
        Scope::Egress => v1::CoolDownScope::Egress,
    }
}

const fn action(action: Action) -> v1::VerdictAction {
    match action {
        Action::Retry => v1::VerdictAction::Retry,
        Action::CoolDown => v1::VerdictAction::CoolDown,
        Action::Migrate => v1::VerdictAction::Migrate,
        Action::FixRequest => v1::VerdictAction::FixRequest,
        Action::Denied => v1::VerdictAction::Denied,
        Action::Restricted => v1::VerdictAction::Restricted,
        Action::Verify => v1::VerdictAction::Verify,
        Action::Invalidated(_) => v1::VerdictAction::Invalidated,
        Action::Login => v1::VerdictAction::Login,
        Action::App => v1::VerdictAction::App,
    }
}

const fn other_session(other: OtherSession) -> v1::OtherSession {
    match other {
        OtherSession::Yes => v1::OtherSession::Yes,
        OtherSession::No => v1::OtherSession::No,
        OtherSession::Maybe => v1::OtherSession::Maybe,
        OtherSession::Premium => v1::OtherSession::Premium,
        OtherSession::OtherKind => v1::OtherSession::OtherKind,
        OtherSession::OtherEgress => v1::OtherSession::OtherEgress,
    }
}
