//! Requests that change what is there, with the mask that says what of it.

use super::{Check, escalation::escalations};
use crate::{
    pool::{Policy, PolicyChange, PoolName, Span},
    proto::v1,
    server::status::Fault,
};

/// The fields of a policy that can be changed.
const POLICY_FIELDS: [&str; 8] = [
    "min_ttl",
    "default_ttl",
    "max_ttl",
    "max_lifetime",
    "rest",
    "drain",
    "max_waiters",
    "escalation",
];

/// What a request says of a policy.
pub(super) fn policy_change(check: &mut Check, wire: &v1::PoolPolicy) -> PolicyChange {
    let escalation = wire.escalation.as_ref().map(|wire| escalations(check, wire));
    let mut span = |field: &str, duration: Option<&pbjson_types::Duration>| {
        check.span(&format!("pool.policy.{field}"), duration, Span(u64::MAX))
    };
    PolicyChange {
        min_ttl: span("min_ttl", wire.min_ttl.as_ref()),
        default_ttl: span("default_ttl", wire.default_ttl.as_ref()),
        max_ttl: span("max_ttl", wire.max_ttl.as_ref()),
        max_lifetime: span("max_lifetime", wire.max_lifetime.as_ref()),
        rest: span("rest", wire.rest.as_ref()),
        drain: span("drain", wire.drain.as_ref()),
        max_waiters: wire.max_waiters,
        escalation,
    }
}

/// Checks an `UpdatePool`.
pub(in crate::server) fn update_pool(
    request: &v1::UpdatePoolRequest,
) -> Result<(PoolName, PolicyChange), Fault> {
    let mut check = Check::default();
    let wanted = request.pool.clone().unwrap_or_default();
    let name = check.pool("pool.name", &wanted.name);
    let wire = wanted.policy.unwrap_or_default();
    let said = policy_change(&mut check, &wire);
    let change = match request.update_mask.as_ref().filter(|mask| !mask.paths.is_empty()) {
        None => said,
        Some(mask) => {
            let mut change = PolicyChange::default();
            for path in &mask.paths {
                match path.strip_prefix("policy.").or((path == "policy").then_some("")) {
                    Some("") => POLICY_FIELDS.iter().for_each(|f| take(&mut change, f, &said)),
                    Some(field) if POLICY_FIELDS.contains(&field) => {
                        take(&mut change, field, &said);
                    }
                    _ => {
                        let fields = POLICY_FIELDS.map(|field| format!("policy.{field}"));
                        check.mask(path, &fields.join(", "));
                    }
                }
            }
            change
        }
    };
    Ok((check.end(name)?, change))
}

/// Takes a field over that the mask names. One that is not set takes its default.
fn take(change: &mut PolicyChange, field: &str, said: &PolicyChange) {
    let default = Policy::default();
    let or = |said: Option<Span>, default| Some(said.unwrap_or(default));
    match field {
        "min_ttl" => change.min_ttl = or(said.min_ttl, default.min_ttl),
        "default_ttl" => change.default_ttl = or(said.default_ttl, default.default_ttl),
        "max_ttl" => change.max_ttl = or(said.max_ttl, default.max_ttl),
        "max_lifetime" => change.max_lifetime = or(said.max_lifetime, default.max_lifetime),
        "rest" => change.rest = or(said.rest, default.rest),
        "drain" => change.drain = or(said.drain, default.drain),
        "escalation" => change.escalation = Some(said.escalation.unwrap_or(default.escalation)),
        _ => change.max_waiters = Some(said.max_waiters.unwrap_or(default.max_waiters)),
    }
}
