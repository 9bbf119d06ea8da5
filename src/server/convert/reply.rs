//! Answers, in the words of the contract.

use pbjson_types::{Duration, Timestamp};
use prost::Message as _;

use super::{Form, error::cool_down, escalation::escalation_policy, hand_out, page_token};
use crate::{
    credential::Credential,
    pool::{
        Event, Grant, Holder, InvalidReason, Lease, LeaseId, PoolMode, PoolName, PoolRecord,
        PoolState, PoolStatus, Priority, ReleaseCause, ReleaseOutcome, SessionName, SessionRecord,
        SessionState, SessionView, Span, Standing, Time, WaiterView,
    },
    proto::v1,
    server::status::Fault,
    store::Resealed,
};

/// Who reads an answer, and so how much of a session it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Audience {
    /// The holder of its lease, with the lease: everything.
    Holder,
    /// An admin: everything but the application's hash.
    Admin,
    /// Anybody else: no proxy either, it may contain a password.
    Other,
}

/// A granted lease and what it lends. The second factor is shown to an admin only.
pub(in crate::server) fn grant(
    pool: &PoolName,
    grant: &Grant,
    form: Form,
    audience: Audience,
) -> Result<v1::AcquireResponse, Fault> {
    let broken =
        |error| Fault::Internal { cause: format!("a kept credential cannot be read: {error}") };
    let mut credential = Credential::unseal(&grant.record.credential).map_err(broken)?;
    if let Credential::Telegram(telegram) = &mut credential
        && audience != Audience::Admin
    {
        telegram.password = None;
    }
    let standing = Standing {
        epoch: grant.lease.epoch,
        lease: Some(grant.lease.clone()),
        cool_downs: grant.cool_downs.clone(),
        ..Standing::default()
    };
    let session = session_at(pool, &grant.record, &standing, grant.at, Audience::Holder);
    Ok(v1::AcquireResponse {
        lease: Some(lease(&grant.lease, pool, &grant.record.name)),
        credential: Some(hand_out(credential, &session, form)?),
        session: Some(session),
        replayed: grant.replayed,
    })
}

/// A lease, with its secret name.
pub(in crate::server) fn lease(lease: &Lease, pool: &PoolName, session: &SessionName) -> v1::Lease {
    let id = LeaseId { pool: pool.clone(), session: session.clone(), secret: lease.secret };
    v1::Lease {
        lease_id: id.reveal(),
        epoch: lease.epoch,
        pool: pool.to_string(),
        session: session.to_string(),
        ttl: Some(duration(lease.ttl)),
        expire_time: Some(timestamp(lease.expires_at)),
        max_expire_time: Some(timestamp(lease.max_expires_at)),
        grant_time: Some(timestamp(lease.granted_at)),
        holder: Some(holder(&lease.holder)),
    }
}

/// A session, as far as its reader may see it.
pub(in crate::server) fn session(
    pool: &PoolName,
    view: &SessionView,
    audience: Audience,
) -> v1::Session {
    session_at(pool, &view.record, &view.standing, view.at, audience)
}

fn session_at(
    pool: &PoolName,
    record: &SessionRecord,
    standing: &Standing,
    at: Time,
    audience: Audience,
) -> v1::Session {
    let text = |secret: &crate::pool::Credential| String::from_utf8_lossy(&secret.0).into_owned();
    let proxy = record.proxy.as_ref().map(text).unwrap_or_default();
    // What cannot be read is not shown: the session is still good.
    let device = record.device.as_ref().and_then(|d| v1::DeviceProfile::decode(&*d.0).ok());
    let state = standing.state(at);
    v1::Session {
        pool: pool.to_string(),
        name: record.name.to_string(),
        labels: record.labels.clone(),
        state: session_state(state).into(),
        epoch: standing.epoch,
        fingerprint: record.fingerprint.to_string(),
        create_time: Some(timestamp(record.created_at)),
        last_used_time: (standing.last_used > Time::default())
            .then(|| timestamp(standing.last_used)),
        state_until: standing.state_until(at).map(timestamp),
        holder: match state {
            SessionState::Leased => standing.lease.as_ref().map(|lease| holder(&lease.holder)),
            _ => None,
        },
        invalidation: standing.invalid.as_ref().map(|why| v1::Invalidation {
            reason: invalid_reason(why.reason).into(),
            detail: why.detail.clone(),
            by_key_id: why.by.to_string(),
            time: Some(timestamp(why.at)),
        }),
        cool_downs: standing.running(at).iter().map(cool_down).collect(),
        proxy: match audience {
            Audience::Holder | Audience::Admin => proxy,
            Audience::Other => String::new(),
        },
        device: device.map(|device| match audience {
            Audience::Holder => device,
            Audience::Admin | Audience::Other => {
                v1::DeviceProfile { api_hash: String::new(), ..device }
            }
        }),
        account_id: record.account_id,
        suspicion: standing.suspect.as_ref().map(|suspicion| v1::Suspicion {
            rule: suspicion.rule.clone(),
            cause: suspicion.cause.clone(),
            by_key_id: suspicion.by.to_string(),
            time: Some(timestamp(suspicion.at)),
        }),
    }
}

/// Something that was done to a session.
pub(in crate::server) fn event(event: &Event) -> v1::SessionEvent {
    v1::SessionEvent {
        time: Some(timestamp(event.at)),
        verb: event.verb.name().to_owned(),
        by_key_id: event.by.as_ref().map(ToString::to_string).unwrap_or_default(),
        detail: event.detail.clone(),
    }
}

fn holder(holder: &Holder) -> v1::Holder {
    v1::Holder { key_id: holder.key.to_string(), purpose: holder.purpose.clone() }
}

/// A waiter.
pub(in crate::server) fn waiter(view: &WaiterView) -> v1::Waiter {
    v1::Waiter {
        position: view.position,
        holder: Some(holder(&view.holder)),
        waited: Some(duration(view.waited)),
        remaining: Some(duration(view.remaining)),
        selector: view.selector.to_string(),
        session: view.session.as_ref().map(ToString::to_string).unwrap_or_default(),
        priority: match view.priority {
            Priority::High => v1::WaitPriority::High,
            Priority::Normal => v1::WaitPriority::Normal,
            Priority::Low => v1::WaitPriority::Low,
        }
        .into(),
    }
}

pub(super) const fn session_state(state: SessionState) -> v1::SessionState {
    match state {
        SessionState::Ready => v1::SessionState::Ready,
        SessionState::Leased => v1::SessionState::Leased,
        SessionState::Resting => v1::SessionState::Resting,
        SessionState::FloodWait => v1::SessionState::FloodWait,
        SessionState::Suspect => v1::SessionState::Suspect,
        SessionState::Invalid => v1::SessionState::Invalid,
    }
}

const fn invalid_reason(reason: InvalidReason) -> v1::InvalidReason {
    match reason {
        InvalidReason::Banned => v1::InvalidReason::Banned,
        InvalidReason::Deactivated => v1::InvalidReason::Deactivated,
        InvalidReason::Revoked => v1::InvalidReason::Revoked,
        InvalidReason::Expired => v1::InvalidReason::Expired,
        InvalidReason::KeyDuplicated => v1::InvalidReason::KeyDuplicated,
        InvalidReason::KeyUnregistered => v1::InvalidReason::KeyUnregistered,
        InvalidReason::Operator => v1::InvalidReason::Operator,
        InvalidReason::Other => v1::InvalidReason::Other,
    }
}

/// A pool.
pub(in crate::server) fn pool(record: &PoolRecord) -> v1::Pool {
    let policy = &record.policy;
    v1::Pool {
        name: record.name.to_string(),
        policy: Some(v1::PoolPolicy {
            min_ttl: Some(duration(policy.min_ttl)),
            default_ttl: Some(duration(policy.default_ttl)),
            max_ttl: Some(duration(policy.max_ttl)),
            max_lifetime: Some(duration(policy.max_lifetime)),
            rest: Some(duration(policy.rest)),
            drain: Some(duration(policy.drain)),
            max_waiters: Some(policy.max_waiters),
            escalation: Some(escalation_policy(&policy.escalation)),
        }),
        mode: match record.mode {
            PoolMode::Active => v1::PoolMode::Active,
            PoolMode::Paused => v1::PoolMode::Paused,
            PoolMode::Draining => v1::PoolMode::Draining,
        }
        .into(),
        create_time: Some(timestamp(record.created_at)),
        update_time: Some(timestamp(record.updated_at)),
    }
}

/// How a pool stands.
pub(in crate::server) fn pool_status(pool: &PoolName, status: &PoolStatus) -> v1::PoolStatus {
    let counts = &status.counts;
    let next = status.next.map(|next| duration(next.after));
    v1::PoolStatus {
        pool: pool.to_string(),
        state: match status.state {
            PoolState::Ready => v1::PoolState::Ready,
            PoolState::Busy => v1::PoolState::Busy,
            PoolState::FloodWait => v1::PoolState::FloodWait,
            PoolState::Depleted => v1::PoolState::Depleted,
            PoolState::Empty => v1::PoolState::Empty,
            PoolState::Paused => v1::PoolState::Paused,
            PoolState::Draining => v1::PoolState::Draining,
        }
        .into(),
        counts: Some(v1::SessionCounts {
            total: counts.total,
            free: counts.free,
            leased: counts.leased,
            resting: counts.resting,
            flood_wait: counts.flood_wait,
            suspect: counts.suspect,
            invalid: counts.invalid,
        }),
        next_release_in: if counts.free > 0 { Some(duration(Span::ZERO)) } else { next },
        next_release_cause: match status.next.map(|next| next.cause) {
            None => v1::ReleaseCause::Unspecified,
            Some(ReleaseCause::Lease) => v1::ReleaseCause::Lease,
            Some(ReleaseCause::Rest) => v1::ReleaseCause::Rest,
            Some(ReleaseCause::CoolDown) => v1::ReleaseCause::CoolDown,
        }
        .into(),
        waiters: status.queue.waiters,
        oldest_wait: status.queue.oldest_wait.map(duration),
        estimated_wait: status.estimated_wait().map(duration),
        read_time: Some(timestamp(status.at)),
    }
}

/// What a Release did.
pub(in crate::server) const fn release_outcome(outcome: ReleaseOutcome) -> v1::ReleaseOutcome {
    match outcome {
        ReleaseOutcome::Released => v1::ReleaseOutcome::Released,
        ReleaseOutcome::AlreadyEnded => v1::ReleaseOutcome::AlreadyEnded,
    }
}

/// What came of sealing sessions anew.
pub(in crate::server) fn resealed(done: Resealed) -> v1::ResealSessionsResponse {
    let row = |(session, detail): (SessionName, String)| v1::SessionLeft {
        session: session.to_string(),
        detail,
    };
    v1::ResealSessionsResponse {
        resealed: done.resealed,
        unchanged: done.unchanged,
        left: done.left.into_iter().map(row).collect(),
        needed: done.needed.into_iter().map(|(id, count)| (id.to_string(), count)).collect(),
        store_key_ids: done.held.iter().map(ToString::to_string).collect(),
        next_page_token: done.next.map(|last| page_token(last.as_str())).unwrap_or_default(),
    }
}

pub(super) fn duration(span: Span) -> Duration {
    let (seconds, nanos) = split(span.0);
    Duration { seconds, nanos }
}

pub(super) fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = split(time.0);
    Timestamp { seconds, nanos }
}

fn split(millis: u64) -> (i64, i32) {
    let seconds = i64::try_from(millis / 1000).unwrap_or(i64::MAX);
    // Below a thousand million, so it always fits.
    let nanos = i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default();
    (seconds, nanos)
}
