//! Requests, checked and in the words of the rules.

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::{
    Check, Form,
    amend::{mandate, policy_change},
    error::MAX_SUBJECT,
    quote, secret,
};
use crate::{
    inventory::proxy_url,
    pool::{
        Ask, Credential, Holder, InvalidReason, Invalidation, KeyId, LABEL_KEY_RULE,
        LABEL_VALUE_RULE, Labels, LeaseId, LeaseSecret, MAX_LABELS, Mandate, NewSession, Policy,
        PoolName, Priority, Report, RequestTag, Selector, SessionName, SessionState, Span, Time,
        is_label_key, is_label_value,
    },
    proto::v1,
    server::status::Fault,
};

/// The longest wish for a TTL.
const MAX_TTL: Span = Span::hours(24 * 30);
/// The longest wait, and the longest rest.
const DAY: Span = Span::hours(24);
/// The longest request id, in bytes.
const MAX_REQUEST_ID: usize = 128;
/// The longest purpose, in bytes.
const MAX_PURPOSE: usize = 256;
/// The most methods that an Acquire names.
const MAX_METHODS: usize = 16;
/// The longest reason in words, in bytes.
const MAX_DETAIL: usize = 1024;
/// The longest proxy, in bytes.
const MAX_PROXY: usize = 512;
/// The longest part of a device profile, in bytes.
const MAX_DEVICE: usize = 128;

/// What an Acquire asks for.
#[derive(Debug)]
pub(in crate::server) struct Acquire {
    /// The pool.
    pub(in crate::server) pool: PoolName,
    /// What the rules are asked.
    pub(in crate::server) ask: Ask,
    /// The form in which the credential is wanted.
    pub(in crate::server) form: Form,
    /// How long the call may stand in line.
    pub(in crate::server) wait: Span,
    /// Where in the line.
    pub(in crate::server) priority: Priority,
}

/// Checks an Acquire.
pub(in crate::server) fn acquire(
    request: &v1::AcquireRequest,
    key: KeyId,
    secret: LeaseSecret,
) -> Result<Acquire, Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let ttl = ttl(&mut check, request.ttl.as_ref());
    let wait = check.span("wait", request.wait.as_ref(), DAY);
    let tag = request_tag(&mut check, request);
    if request.methods.len() > MAX_METHODS {
        let many = request.methods.len();
        check.fault("methods", format!("are {many}; they may be at most {MAX_METHODS}"));
    }
    for (i, method) in request.methods.iter().enumerate().take(MAX_METHODS) {
        check.method(&format!("methods[{i}]"), method);
    }
    check.plain("peer", &request.peer, MAX_SUBJECT);
    let selector = check.selector("selector", &request.selector);
    let session = (!request.session.is_empty()).then(|| check.session("session", &request.session));
    check.at_most("purpose", &request.purpose, MAX_PURPOSE);
    let form = check.number::<v1::CredentialForm>("form", request.form);
    let priority = match check.number("priority", request.priority) {
        Some(v1::WaitPriority::Low) => Priority::Low,
        Some(v1::WaitPriority::High) => Priority::High,
        Some(v1::WaitPriority::Normal | v1::WaitPriority::Unspecified) | None => Priority::Normal,
    };
    let ask = Ask {
        holder: Holder { key, purpose: request.purpose.clone() },
        ttl,
        selector,
        session: session.flatten(),
        methods: request.methods.clone(),
        peer: (!request.peer.is_empty()).then(|| request.peer.clone()),
        probe: request.probe,
        request: tag,
        secret,
        retried_for: None,
    };
    let (pool, form) = check.end(pool.zip(form))?;
    let wait = wait.unwrap_or(Span::ZERO);
    Ok(Acquire { pool, ask, form: Form::of(form), wait, priority })
}

pub(super) fn ttl(check: &mut Check, ttl: Option<&pbjson_types::Duration>) -> Option<Span> {
    check.span("ttl", ttl, MAX_TTL).filter(|ttl| *ttl > Span::ZERO)
}

/// The caller's id and a digest of what it asked for. The wait is no part of it: a caller that
/// lost an answer may be less patient the second time.
fn request_tag(check: &mut Check, request: &v1::AcquireRequest) -> Option<RequestTag> {
    let id = &request.request_id;
    if id.is_empty() {
        return None;
    }
    if id.len() > MAX_REQUEST_ID || !id.bytes().all(|c| c.is_ascii_graphic() || c == b' ') {
        let rule = format!("write 1 to {MAX_REQUEST_ID} printable ASCII characters");
        check.fault("request_id", format!("{} is not a request id; {rule}", quote(id)));
    }
    let asked = v1::AcquireRequest { request_id: String::new(), wait: None, ..request.clone() };
    let digest = Sha256::digest(asked.encode_to_vec());
    let digest: [u8; 16] = std::array::from_fn(|i| digest[i]);
    Some(RequestTag { id: id.clone(), digest: LeaseSecret::new(digest).to_hex() })
}

/// Checks a Renew.
pub(in crate::server) fn renew(
    request: &v1::RenewRequest,
) -> Result<(LeaseId, Option<Span>), Fault> {
    let mut check = Check::default();
    let lease = check.lease("lease_id", &request.lease_id);
    let ttl = ttl(&mut check, request.ttl.as_ref());
    Ok((check.end(lease)?, ttl))
}

/// What a Release asks for.
#[derive(Debug)]
pub(in crate::server) struct Release {
    /// The lease.
    pub(in crate::server) lease: LeaseId,
    /// How long the session should rest.
    pub(in crate::server) rest: Span,
    /// The error that ended the work.
    pub(in crate::server) error: Option<Report>,
}

/// Checks a Release.
pub(in crate::server) fn release(request: &v1::ReleaseRequest) -> Result<Release, Fault> {
    let mut check = Check::default();
    let lease = check.lease("lease_id", &request.lease_id);
    let rest = check.span("rest", request.rest.as_ref(), DAY);
    let error = request.error.as_ref().map(|error| check.error(error));
    Ok(Release { lease: check.end(lease)?, rest: rest.unwrap_or_default(), error })
}

/// What an Invalidate asks for.
#[derive(Debug)]
pub(in crate::server) struct Invalidate {
    /// Which session.
    pub(in crate::server) target: Target,
    /// Why; the store sets the moment.
    pub(in crate::server) why: Invalidation,
}

/// Which session an Invalidate is about.
#[derive(Debug)]
pub(in crate::server) enum Target {
    /// The session of this lease.
    Lease(LeaseId),
    /// The session of this name.
    Session(PoolName, SessionName),
}

/// Checks an Invalidate.
pub(in crate::server) fn invalidate(
    request: &v1::InvalidateRequest,
    by: KeyId,
) -> Result<Invalidate, Fault> {
    use v1::invalidate_request::Target as Wire;
    let mut check = Check::default();
    let (target, otherwise) = match &request.target {
        Some(Wire::LeaseId(id)) => {
            (check.lease("lease_id", id).map(Target::Lease), InvalidReason::Other)
        }
        Some(Wire::Session(name)) => {
            let pool = check.pool("session.pool", &name.pool);
            let session = check.session("session.session", &name.session);
            let target = pool.zip(session).map(|(pool, session)| Target::Session(pool, session));
            (target, InvalidReason::Operator)
        }
        None => {
            check.fault("target", "is required: lease_id, or session with its pool");
            (None, InvalidReason::Other)
        }
    };
    check.at_most("detail", &request.detail, MAX_DETAIL);
    let reason = check.number::<v1::InvalidReason>("reason", request.reason);
    let (target, reason) = check.end(target.zip(reason))?;
    let reason = match reason {
        v1::InvalidReason::Unspecified => otherwise,
        v1::InvalidReason::Banned => InvalidReason::Banned,
        v1::InvalidReason::Deactivated => InvalidReason::Deactivated,
        v1::InvalidReason::Revoked => InvalidReason::Revoked,
        v1::InvalidReason::Expired => InvalidReason::Expired,
        v1::InvalidReason::KeyDuplicated => InvalidReason::KeyDuplicated,
        v1::InvalidReason::KeyUnregistered => InvalidReason::KeyUnregistered,
        v1::InvalidReason::Operator => InvalidReason::Operator,
        v1::InvalidReason::Other => InvalidReason::Other,
    };
    let why = Invalidation { reason, detail: request.detail.clone(), by, at: Time::default() };
    Ok(Invalidate { target, why })
}

/// Checks the name of a pool.
pub(in crate::server) fn pool(name: &str) -> Result<PoolName, Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", name);
    check.end(pool)
}

/// Checks the names of a session and its pool.
pub(in crate::server) fn session_ref(
    pool: &str,
    session: &str,
) -> Result<(PoolName, SessionName), Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", pool);
    let session = check.session("session", session);
    check.end(pool.zip(session))
}

/// Checks a `CreatePool`.
pub(in crate::server) fn create_pool(
    request: &v1::CreatePoolRequest,
    by: KeyId,
) -> Result<(PoolName, Policy, Mandate), Fault> {
    let mut check = Check::default();
    let wanted = request.pool.clone().unwrap_or_default();
    let name = check.pool("pool.name", &wanted.name);
    let wire = wanted.policy.unwrap_or_default();
    let before = check.0.len();
    let policy = policy_change(&mut check, &wire).apply(&Policy::default());
    // Where a value could not be read, what it says of the others means nothing.
    if check.0.len() == before {
        for fault in policy.faults() {
            check.fault(format!("pool.policy.{}", fault.field), fault.fault);
        }
    }
    let on = mandate(&mut check, &request.detail, by);
    Ok((check.end(name)?, policy, on))
}

/// Checks a `ListWaiters`: the pool, after which number to go on, and how many.
pub(in crate::server) fn list_waiters(
    request: &v1::ListWaitersRequest,
) -> Result<(PoolName, u64, usize), Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let size = check.page_size(request.page_size);
    let after = check.page_token(&request.page_token, |text| text.parse().ok());
    Ok((check.end(pool)?, after.unwrap_or(0), size))
}

/// Checks a `ListPools`: where to go on, and how many.
pub(in crate::server) fn list_pools(
    request: &v1::ListPoolsRequest,
) -> Result<(Option<PoolName>, usize), Fault> {
    let mut check = Check::default();
    let size = check.page_size(request.page_size);
    let after = check.page_token(&request.page_token, PoolName::parse);
    check.end(Some((after, size)))
}

/// What a `ListSessions` asks for.
#[derive(Debug)]
pub(in crate::server) struct ListSessions {
    /// The pool.
    pub(in crate::server) pool: PoolName,
    /// Where to go on.
    pub(in crate::server) after: Option<SessionName>,
    /// How many.
    pub(in crate::server) size: usize,
    /// Which labels they must have.
    pub(in crate::server) selector: Selector,
    /// Which states they must be in; empty: all.
    pub(in crate::server) states: Vec<SessionState>,
}

/// Checks a `ListSessions`.
pub(in crate::server) fn list_sessions(
    request: &v1::ListSessionsRequest,
) -> Result<ListSessions, Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let size = check.page_size(request.page_size);
    let after = check.page_token(&request.page_token, SessionName::parse);
    let selector = check.selector("selector", &request.selector);
    let mut states = Vec::new();
    for (i, number) in request.states.iter().enumerate() {
        match check.number(&format!("states[{i}]"), *number) {
            Some(v1::SessionState::Ready) => states.push(SessionState::Ready),
            Some(v1::SessionState::Leased) => states.push(SessionState::Leased),
            Some(v1::SessionState::Resting) => states.push(SessionState::Resting),
            Some(v1::SessionState::FloodWait) => states.push(SessionState::FloodWait),
            Some(v1::SessionState::Suspect) => states.push(SessionState::Suspect),
            Some(v1::SessionState::Invalid) => states.push(SessionState::Invalid),
            Some(v1::SessionState::Unspecified) => {
                let rule = "write READY, LEASED, RESTING, FLOOD_WAIT, SUSPECT or INVALID";
                check.fault(format!("states[{i}]"), format!("is not said; {rule}"));
            }
            None => {}
        }
    }
    let pool = check.end(pool)?;
    Ok(ListSessions { pool, after, size, selector, states })
}

/// Checks a `ResealSessions`: the pool, after which name, how many at most.
pub(in crate::server) fn reseal_sessions(
    request: &v1::ResealSessionsRequest,
) -> Result<(PoolName, Option<SessionName>, usize), Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let size = check.page_size(request.page_size);
    let after = check.page_token(&request.page_token, SessionName::parse);
    Ok((check.end(pool)?, after, size))
}

/// What a `ListSessionEvents` asks for.
#[derive(Debug)]
pub(in crate::server) struct ListEvents {
    /// The pool.
    pub(in crate::server) pool: PoolName,
    /// The session; nothing: the pool itself.
    pub(in crate::server) session: Option<SessionName>,
    /// Where to go on: before the event of this number.
    pub(in crate::server) before: Option<u64>,
    /// How many.
    pub(in crate::server) size: usize,
}

/// Checks a `ListSessionEvents`.
pub(in crate::server) fn list_events(
    request: &v1::ListSessionEventsRequest,
) -> Result<ListEvents, Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let session = match request.session.as_str() {
        "" => None,
        name => check.session("session", name),
    };
    let size = check.page_size(request.page_size);
    let before = check.page_token(&request.page_token, |number| number.parse().ok());
    Ok(ListEvents { pool: check.end(pool)?, session, before, size })
}

/// Checks an `AddSession`.
pub(in crate::server) fn add_session(
    request: &v1::AddSessionRequest,
    by: KeyId,
) -> Result<(PoolName, NewSession), Fault> {
    let mut check = Check::default();
    let session = request.session.clone().unwrap_or_default();
    let pool = check.pool("session.pool", &session.pool);
    let name = check.session("session.name", &session.name);
    let labels = labels(&mut check, &session);
    let proxy = proxy(&mut check, &session.proxy);
    let device = session.device.as_ref().map(|profile| device(&mut check, profile));
    let credential = secret::take_in(&mut check, request.credential.as_ref());
    let ((pool, name), credential) = check.end(pool.zip(name).zip(credential))?;
    let known = match &credential {
        crate::credential::Credential::Telegram(telegram) => telegram.user_id,
        crate::credential::Credential::Opaque(_) => None,
    };
    let new = NewSession {
        name,
        labels,
        fingerprint: credential.fingerprint(),
        account_id: session.account_id.or(known),
        proxy,
        device,
        credential: credential.seal(),
        by,
    };
    Ok((pool, new))
}

/// Checks a proxy; empty: none. What is wrong is told as of a file, and never repeats the proxy.
pub(super) fn proxy(check: &mut Check, proxy: &str) -> Option<Credential> {
    const FIELD: &str = "session.proxy";
    if proxy.is_empty() {
        return None;
    }
    if proxy.len() > MAX_PROXY {
        check.at_most(FIELD, proxy, MAX_PROXY);
        return None;
    }
    match proxy_url(proxy) {
        Ok(url) => Some(Credential(url.into_bytes())),
        Err(why) => {
            check.fault(FIELD, why);
            None
        }
    }
}

/// Checks labels.
pub(super) fn labels(check: &mut Check, session: &v1::Session) -> Labels {
    let many = session.labels.len();
    if many > MAX_LABELS {
        check.fault("session.labels", format!("are {many}; they may be at most {MAX_LABELS}"));
    }
    for (key, value) in session.labels.iter().take(MAX_LABELS) {
        let field = format!("session.labels[{}]", quote(key));
        if !is_label_key(key) {
            check.fault(&field, format!("is not a label key; write {LABEL_KEY_RULE}"));
        }
        if !is_label_value(value) {
            let value = quote(value);
            check.fault(field, format!("{value} is not a label value; write {LABEL_VALUE_RULE}"));
        }
    }
    session.labels.clone()
}

/// Checks a device profile.
pub(super) fn device(check: &mut Check, device: &v1::DeviceProfile) -> Credential {
    for (field, text) in [
        ("api_hash", &device.api_hash),
        ("device_model", &device.device_model),
        ("system_version", &device.system_version),
        ("app_version", &device.app_version),
        ("lang_code", &device.lang_code),
        ("system_lang_code", &device.system_lang_code),
        ("lang_pack", &device.lang_pack),
    ] {
        check.at_most(format!("session.device.{field}"), text, MAX_DEVICE);
    }
    Credential(device.encode_to_vec())
}
