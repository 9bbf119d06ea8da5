//! Requests that change what is there, with the mask that says what of it.

use prost::Message as _;

use super::{
    Check,
    ask::{device, labels, proxy},
    escalation::escalations,
    quote,
};
use crate::{
    pool::{
        Credential, Edit, KeyId, LABEL_KEY_RULE, Mandate, Policy, PolicyChange, PoolName,
        SessionChange, SessionName, Span, is_label_key,
    },
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

/// The fields of a device profile.
const DEVICE_FIELDS: [&str; 8] = [
    "api_id",
    "api_hash",
    "device_model",
    "system_version",
    "app_version",
    "lang_code",
    "system_lang_code",
    "lang_pack",
];
/// The longest reason for what is done to a pool or a session, in bytes.
const MAX_DETAIL: usize = 256;
/// What of a session can be changed.
const SESSION_FIELDS: &str = "labels, labels.KEY, proxy, device, device.FIELD, account_id";

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
    by: KeyId,
) -> Result<(PoolName, PolicyChange, Mandate), Fault> {
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
    let on = mandate(&mut check, &request.detail, by);
    Ok((check.end(name)?, change, on))
}

/// Checks a request that does something to a pool.
pub(in crate::server) fn pool_deed(
    pool: &str,
    detail: &str,
    by: KeyId,
) -> Result<(PoolName, Mandate), Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", pool);
    let on = mandate(&mut check, detail, by);
    Ok((check.end(pool)?, on))
}

/// Checks a request that does something to a session.
pub(in crate::server) fn session_deed(
    pool: &str,
    session: &str,
    detail: &str,
    by: KeyId,
) -> Result<(PoolName, SessionName, Mandate), Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", pool);
    let session = check.session("session", session);
    let on = mandate(&mut check, detail, by);
    let (pool, session) = check.end(pool.zip(session))?;
    Ok((pool, session, on))
}

/// On whose word something is done, and why.
pub(super) fn mandate(check: &mut Check, detail: &str, by: KeyId) -> Mandate {
    check.at_most("detail", detail, MAX_DETAIL);
    Mandate { by, detail: detail.to_owned() }
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

/// What an `UpdateSession` asks for.
#[derive(Debug)]
pub(in crate::server) struct UpdateSession {
    /// The pool.
    pub(in crate::server) pool: PoolName,
    /// The session.
    pub(in crate::server) session: SessionName,
    /// What becomes of it.
    pub(in crate::server) change: SessionChange,
    /// The new parts of its device profile, where the others stay.
    pub(in crate::server) parts: Option<DeviceParts>,
    /// On whose word, and why.
    pub(in crate::server) on: Mandate,
}

/// Some parts of a device profile.
#[derive(Debug)]
pub(in crate::server) struct DeviceParts {
    fields: Vec<String>,
    values: v1::DeviceProfile,
}

/// Checks an `UpdateSession`.
pub(in crate::server) fn update_session(
    request: &v1::UpdateSessionRequest,
    by: KeyId,
) -> Result<UpdateSession, Fault> {
    let mut check = Check::default();
    let wanted = request.session.clone().unwrap_or_default();
    let pool = check.pool("session.pool", &wanted.pool);
    let session = check.session("session.name", &wanted.name);
    let all = said(&mut check, &wanted);
    let mask = request.update_mask.as_ref().map(|mask| mask.paths.as_slice()).unwrap_or_default();
    let (change, fields) = if mask.is_empty() {
        let change = SessionChange {
            labels: all.labels.filter(|labels| !labels.is_empty()),
            proxy: if_set(all.proxy),
            device: if_set(all.device),
            account_id: if_set(all.account_id),
            ..SessionChange::default()
        };
        (change, Vec::new())
    } else {
        named(&mut check, mask, &wanted, &all)
    };
    let on = mandate(&mut check, &request.detail, by);
    let (pool, session) = check.end(pool.zip(session))?;
    // Where the whole profile is named too, it has its parts.
    let parts = !fields.is_empty() && change.device == Edit::Keep;
    let values = wanted.device.unwrap_or_default();
    let parts = parts.then_some(DeviceParts { fields, values });
    Ok(UpdateSession { pool, session, change, parts, on })
}

/// Everything that can be changed, as the request has it.
fn said(check: &mut Check, wanted: &v1::Session) -> SessionChange {
    let edit = |value: Option<Credential>| value.map_or(Edit::Clear, Edit::Set);
    let profile = wanted.device.as_ref().map(|profile| device(check, profile));
    SessionChange {
        labels: Some(labels(check, wanted)),
        proxy: edit(proxy(check, &wanted.proxy)),
        device: edit(profile),
        account_id: wanted.account_id.map_or(Edit::Clear, Edit::Set),
        ..SessionChange::default()
    }
}

fn if_set<T>(edit: Edit<T>) -> Edit<T> {
    match edit {
        Edit::Clear => Edit::Keep,
        other => other,
    }
}

/// What a mask names, and which parts of the device profile.
fn named(
    check: &mut Check,
    mask: &[String],
    wanted: &v1::Session,
    all: &SessionChange,
) -> (SessionChange, Vec<String>) {
    let (mut change, mut fields) = (SessionChange::default(), Vec::new());
    for path in mask {
        match path.split_once('.') {
            None if path == "labels" => change.labels.clone_from(&all.labels),
            None if path == "proxy" => change.proxy = all.proxy.clone(),
            None if path == "device" => change.device = all.device.clone(),
            None if path == "account_id" => change.account_id = all.account_id.clone(),
            Some(("labels", key)) if is_label_key(key) => {
                change.edits.insert(key.to_owned(), wanted.labels.get(key).cloned());
            }
            Some(("labels", key)) => {
                let key = quote(key);
                let rule = format!("{key} is not a label key; write {LABEL_KEY_RULE}");
                check.fault("update_mask", rule);
            }
            Some(("device", field)) if DEVICE_FIELDS.contains(&field) => {
                fields.push(field.to_owned());
            }
            _ => check.mask(path, SESSION_FIELDS),
        }
    }
    (change, fields)
}

impl DeviceParts {
    /// The device profile with these parts in place of its own.
    pub(in crate::server) fn put_into(
        self,
        kept: Option<&Credential>,
    ) -> Result<Credential, Fault> {
        let none = || Ok(v1::DeviceProfile::default());
        let kept = kept.map_or_else(none, |kept| v1::DeviceProfile::decode(&*kept.0));
        let broken = |error| format!("a kept device profile cannot be read: {error}");
        let mut device = kept.map_err(|error| Fault::Internal { cause: broken(error) })?;
        let values = self.values;
        for field in self.fields {
            match field.as_str() {
                "api_id" => device.api_id = values.api_id,
                "api_hash" => device.api_hash.clone_from(&values.api_hash),
                "device_model" => device.device_model.clone_from(&values.device_model),
                "system_version" => device.system_version.clone_from(&values.system_version),
                "app_version" => device.app_version.clone_from(&values.app_version),
                "lang_code" => device.lang_code.clone_from(&values.lang_code),
                "system_lang_code" => device.system_lang_code.clone_from(&values.system_lang_code),
                _ => device.lang_pack.clone_from(&values.lang_pack),
            }
        }
        Ok(Credential(device.encode_to_vec()))
    }
}
