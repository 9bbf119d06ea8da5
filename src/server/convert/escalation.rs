//! The policy of escalation, both ways.

use super::{Check, reply::duration};
use crate::{
    pool::{Escalations, Span},
    proto::v1,
};

/// The policy that is asked for; what is not said is as by default. Whether its values fit is told
/// with the policy that it is part of.
pub(super) fn escalations(check: &mut Check, wire: &v1::EscalationPolicy) -> Escalations {
    let default = Escalations::default();
    let mut span = |field: &str, duration: Option<&pbjson_types::Duration>, default| {
        let field = format!("pool.policy.escalation.{field}");
        check.span(&field, duration, Span(u64::MAX)).unwrap_or(default)
    };
    Escalations {
        disabled: wire.disabled,
        session_methods: wire.session_methods.unwrap_or(default.session_methods),
        session_window: span(
            "session_window",
            wire.session_window.as_ref(),
            default.session_window,
        ),
        session_wait: span("session_wait", wire.session_wait.as_ref(), default.session_wait),
        session_rest: span("session_rest", wire.session_rest.as_ref(), default.session_rest),
        method_sessions: wire.method_sessions.unwrap_or(default.method_sessions),
        method_window: span("method_window", wire.method_window.as_ref(), default.method_window),
        method_wait: span("method_wait", wire.method_wait.as_ref(), default.method_wait),
        method_brake: span("method_brake", wire.method_brake.as_ref(), default.method_brake),
    }
}

/// The policy as it is.
pub(super) fn escalation_policy(policy: &Escalations) -> v1::EscalationPolicy {
    v1::EscalationPolicy {
        disabled: policy.disabled,
        session_methods: Some(policy.session_methods),
        session_window: Some(duration(policy.session_window)),
        session_wait: Some(duration(policy.session_wait)),
        session_rest: Some(duration(policy.session_rest)),
        method_sessions: Some(policy.method_sessions),
        method_window: Some(duration(policy.method_window)),
        method_wait: Some(duration(policy.method_wait)),
        method_brake: Some(duration(policy.method_brake)),
    }
}
