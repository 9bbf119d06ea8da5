//! The leases of a pool, as operators see them and end them.

use super::{Check, lease};
use crate::{
    pool::{KeyId, LeaseMark, Lent, PoolName, Progress, Revocation, SessionName, Target, Time},
    proto::v1,
    server::status::Fault,
};

/// The longest id of a key, in bytes.
const MAX_KEY: usize = 64;
/// The longest reason for a revocation, in bytes.
const MAX_DETAIL: usize = 256;

/// What a `ListLeases` asks for.
#[derive(Debug)]
pub(in crate::server) struct ListLeases {
    /// The pool.
    pub(in crate::server) pool: PoolName,
    /// Where to go on.
    pub(in crate::server) after: Option<LeaseMark>,
    /// How many.
    pub(in crate::server) size: usize,
    /// Whose; nothing: everybody's.
    pub(in crate::server) key: Option<KeyId>,
}

/// Checks a `ListLeases`.
pub(in crate::server) fn list_leases(request: &v1::ListLeasesRequest) -> Result<ListLeases, Fault> {
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let size = check.page_size(request.page_size);
    let after = check.page_token(&request.page_token, parse_mark);
    check.at_most("key_id", &request.key_id, MAX_KEY);
    let key = (!request.key_id.is_empty()).then(|| KeyId::new(&request.key_id));
    Ok(ListLeases { pool: check.end(pool)?, after, size, key })
}

/// Checks a `RevokeLeases`.
pub(in crate::server) fn revoke_leases(
    request: &v1::RevokeLeasesRequest,
    by: KeyId,
) -> Result<(PoolName, Revocation), Fault> {
    use v1::revoke_leases_request::Target as Wire;
    let mut check = Check::default();
    let pool = check.pool("pool", &request.pool);
    let target = match &request.target {
        Some(Wire::Session(name)) => check.session("session", name).map(Target::Session),
        Some(Wire::LeaseId(id)) => {
            let lease = check.lease("lease_id", id);
            if lease.as_ref().zip(pool.as_ref()).is_some_and(|(lease, pool)| lease.pool != *pool) {
                check.fault("lease_id", "is of another pool");
            }
            lease.map(Target::Lease)
        }
        Some(Wire::KeyId(id)) => {
            check.at_most("key_id", id, MAX_KEY);
            Some(Target::Key(KeyId::new(id)))
        }
        Some(Wire::Selector(selector)) => {
            Some(Target::Selector(check.selector("selector", selector)))
        }
        None => {
            check.fault("target", "is required: session, key_id, selector or lease_id");
            None
        }
    };
    check.at_most("detail", &request.detail, MAX_DETAIL);
    let from = check.page_token(&request.page_token, parse_progress);
    let (pool, target) = check.end(pool.zip(target))?;
    Ok((pool, Revocation { target, detail: request.detail.clone(), by, from }))
}

/// How far a revocation has come, as page tokens have it.
pub(in crate::server) fn progress(progress: &Progress) -> String {
    format!("{}/{}", progress.since.0, mark(&progress.after))
}

fn parse_progress(text: &str) -> Option<Progress> {
    let (since, after) = text.split_once('/')?;
    Some(Progress { since: Time(since.parse().ok()?), after: parse_mark(after)? })
}

/// A running lease without its id, which is the holder's secret.
pub(in crate::server) fn lent(pool: &PoolName, lent: &Lent) -> v1::Lease {
    v1::Lease { lease_id: String::new(), ..lease(&lent.lease, pool, &lent.session) }
}

/// A mark, as page tokens have it.
pub(in crate::server) fn mark(mark: &LeaseMark) -> String {
    format!("{}/{}", mark.expires_at.0, mark.session)
}

fn parse_mark(text: &str) -> Option<LeaseMark> {
    let (expires_at, session) = text.split_once('/')?;
    let expires_at = Time(expires_at.parse().ok()?);
    Some(LeaseMark { expires_at, session: SessionName::parse(session)? })
}
