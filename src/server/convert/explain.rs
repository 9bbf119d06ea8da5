//! Hypothetical Acquires: the question, and the answer in sentences.

use super::{Check, acquire};
use crate::{
    pool::{
        Ask, CoolDown, InvalidReason, KeyId, LeaseSecret, PoolName, SessionState, SessionView,
        Unfit, unfit,
        verdict::{Scope, method_key},
    },
    proto::v1,
    server::status::{Fault, Violation},
};

/// Checks an Explain. What makes an Acquire wait or safe to repeat is left out.
pub(in crate::server) fn explain(
    request: &v1::ExplainRequest,
    key: KeyId,
) -> Result<(PoolName, Ask), Fault> {
    let Some(asked) = &request.acquire else {
        let mut check = Check::default();
        check.fault("acquire", "is required: what would be asked");
        return check.end(None);
    };
    let asked = v1::AcquireRequest {
        request_id: String::new(),
        wait: None,
        priority: v1::WaitPriority::Unspecified.into(),
        ..asked.clone()
    };
    // Nothing is leased, so nothing needs a secret.
    let checked = acquire(&asked, key, LeaseSecret::new([0; 16])).map_err(|fault| match fault {
        Fault::Invalid(violations) => Fault::Invalid(
            violations
                .into_iter()
                .map(|v| Violation { field: format!("acquire.{}", v.field), ..v })
                .collect(),
        ),
        other => other,
    })?;
    Ok((checked.pool, checked.ask))
}

/// Why a session would be granted.
pub(in crate::server) fn because(view: &SessionView, ask: &Ask) -> Vec<String> {
    let name = &view.record.name;
    let is_suspect = view.standing.state(view.at) == SessionState::Suspect;
    let mut because = vec![match (&ask.session, is_suspect) {
        (Some(_), true) => format!("{name} is the session that is asked for, as a probe."),
        (Some(_), false) => format!("{name} is the session that is asked for, and it is free."),
        (None, true) => {
            format!("{name} is SUSPECT, a probe is asked for, and its time for one has come.")
        }
        (None, false) => {
            format!("{name} is free, and of those that would do it was used longest ago.")
        }
    }];
    if let (None, true) = (&ask.session, view.standing.last_used.0 == 0) {
        because.push("It was never used before.".to_owned());
    }
    if !ask.selector.is_empty() {
        because.push(format!("Its labels match {}.", ask.selector));
    }
    let scopes = ask.scopes();
    if !scopes.is_empty() {
        let scopes: Vec<_> = scopes.iter().map(scope).collect();
        because.push(format!("It does not cool down for {}.", scopes.join(", ")));
    }
    because
}

/// The brakes that stand in the way of an ask.
pub(in crate::server) fn braking(brakes: &[CoolDown], ask: &Ask) -> Vec<String> {
    let keys: Vec<_> = ask.methods.iter().map(|method| method_key(method)).collect();
    let brakes = brakes.iter().filter(|brake| keys.contains(&method_key(brake.scope.subject())));
    brakes
        .map(|brake| {
            let CoolDown { scope, until, rule, cause } = brake;
            let method = scope.subject();
            format!("{method} is braked in the whole pool until {until}: rule {rule}, {cause}.")
        })
        .collect()
}

/// Why a session would be passed over, if it would.
pub(in crate::server) fn passed_over(view: &SessionView, ask: &Ask) -> Option<v1::PassedOver> {
    let because = match unfit(view, ask)? {
        Unfit::NotNamed => "Another session is asked for by name.".to_owned(),
        Unfit::Unmatched => format!("Its labels do not match {}.", ask.selector),
        Unfit::Invalid(reason) => {
            format!("It is INVALID ({}) until it is restored.", invalid_reason(reason))
        }
        Unfit::Leased { holder, until } if holder.purpose.is_empty() => {
            format!("{} has leased it until {until}.", holder.key)
        }
        Unfit::Leased { holder, until } => {
            format!("{} has leased it until {until}, for: {}.", holder.key, holder.purpose)
        }
        Unfit::Suspect(suspicion) => format!(
            "It is SUSPECT since {}: rule {}, {}. A probe or `telegate restore` decides.",
            suspicion.at, suspicion.rule, suspicion.cause
        ),
        Unfit::NotYetProbed { from } => format!("It is SUSPECT, and to be probed from {from} on."),
        Unfit::Resting { until } => format!("It rests until {until}."),
        Unfit::CoolingDown(CoolDown { scope: what, until, rule, cause }) => {
            format!("It cools down for {} until {until}: rule {rule}, {cause}.", scope(&what))
        }
    };
    Some(v1::PassedOver { session: view.record.name.to_string(), because })
}

fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Request => "the request".to_owned(),
        Scope::Session => "everything".to_owned(),
        Scope::Method(name) => format!("method {name}"),
        Scope::Peer(name) => format!("peer {name}"),
        Scope::Capability(capability) => format!("capability {capability}"),
        Scope::Egress => "its way out to Telegram".to_owned(),
    }
}

const fn invalid_reason(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::Banned => "BANNED",
        InvalidReason::Deactivated => "DEACTIVATED",
        InvalidReason::Revoked => "REVOKED",
        InvalidReason::Expired => "EXPIRED",
        InvalidReason::KeyDuplicated => "KEY_DUPLICATED",
        InvalidReason::KeyUnregistered => "KEY_UNREGISTERED",
        InvalidReason::Operator => "OPERATOR",
        InvalidReason::Other => "OTHER",
    }
}
