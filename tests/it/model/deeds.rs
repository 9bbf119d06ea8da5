//! What can be done to a store, and what comes of it.

use telegate::pool::{
    Ask, Assessment, Credential, Departure, Effect, Enqueued, Event, Grant, Invalidation, Lease,
    LeaseId, LeaseMark, Lent, Mark, NewSession, Patience, Policy, PolicyChange, PoolMode, PoolName,
    PoolStatus, PoolView, ReleaseOutcome, Revocation, Revoked, Secrets, SessionChange, SessionName,
    SessionView, Span, WaiterView, verdict::Scope,
};

use super::imagination::{FEW, POOLS};
use crate::harness::{
    mandate,
    stage::{Answer, Stage, key, labelled, lawful, name, pool_name},
};

/// One thing done to a store, or to its time.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Tick(Span),
    /// After all who wait have left: another broker knows nobody of them.
    Reopen(Vec<(PoolName, Departure)>),
    CreatePool(PoolName, Policy),
    UpdatePool(PoolName, PolicyChange),
    DeletePool(PoolName),
    SetMode(PoolName, PoolMode),
    Status(PoolName),
    Add(PoolName, NewSession),
    UpdateSession(PoolName, SessionName, SessionChange),
    Remove(PoolName, SessionName),
    /// Of the pool itself where no session is named.
    History(PoolName, Option<SessionName>, Option<u64>, usize),
    Get(PoolName, SessionName),
    Reseal(PoolName, SessionName, u8, u8),
    List(PoolName, Option<SessionName>, usize),
    ListLeases(PoolName, Option<LeaseMark>, usize),
    RevokeLeases(PoolName, Revocation),
    Acquire(PoolName, Ask),
    Enqueue(PoolName, Ask, Patience),
    Leave(PoolName, Departure),
    Tend(PoolName),
    /// The waiters after so many.
    ListWaiters(PoolName, usize, usize),
    Undo(LeaseId, u32),
    Renew(LeaseId, &'static str, Option<Span>),
    RenewAll(Vec<LeaseId>, &'static str, Option<Span>),
    InspectAll(Vec<LeaseId>, &'static str),
    AbandonAll(Vec<(LeaseId, Mark)>, &'static str),
    Release(LeaseId, &'static str, Span, Option<Assessment>),
    Report(LeaseId, &'static str, Assessment),
    Afflict(PoolName, i64, &'static str, Assessment),
    ClearCoolDown(PoolName, Option<SessionName>, Scope),
    Explain(PoolName, Ask),
    Surrender(LeaseId, Invalidation),
    Invalidate(PoolName, SessionName, Invalidation),
    Restore(PoolName, SessionName),
}

/// What came of a deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Pool(Answer<PoolView>),
    Pools(Answer<Vec<PoolView>>),
    Status(Answer<PoolStatus>),
    Session(Answer<SessionView>),
    Events(Answer<Vec<Event>>),
    Leases(Answer<Vec<Lent>>),
    Revoked(Answer<Revoked>),
    Sessions(Answer<Vec<SessionView>>),
    Removed(Answer<()>),
    Resealed(Answer<bool>),
    Granted(Answer<Grant>),
    Enqueued(Answer<Enqueued>),
    Tended(Answer<Option<Span>>),
    Waiters(Answer<Vec<WaiterView>>),
    Undone(Answer<bool>),
    Renewed(Answer<Lease>),
    Kept(Vec<Answer<Lease>>),
    Abandoned(Vec<Answer<bool>>),
    Released(Answer<(ReleaseOutcome, Option<Effect>)>),
    Reported(Answer<Effect>),
    Afflicted(Answer<u32>),
    Cleared(Answer<Option<SessionView>>),
    Explained(Answer<SessionName>),
}

/// Does a deed.
pub(super) async fn play(stage: &mut Stage, deed: &Deed) -> Outcome {
    let (store, on) = (stage.store.clone(), &mandate());
    match deed.clone() {
        Deed::Tick(span) => {
            stage.advance(span);
            Outcome::Done
        }
        Deed::Reopen(leave) => {
            for (pool, departure) in leave {
                store.leave(&pool, &departure).await.expect("nobody is kept");
            }
            stage.reopen().await;
            Outcome::Done
        }
        Deed::CreatePool(pool, policy) => {
            Outcome::Pool(lawful(store.create_pool(&pool, policy, on).await))
        }
        Deed::UpdatePool(pool, change) => {
            Outcome::Pool(lawful(store.update_pool(&pool, change, on).await))
        }
        Deed::DeletePool(pool) => Outcome::Removed(lawful(store.delete_pool(&pool, on).await)),
        Deed::SetMode(pool, mode) => Outcome::Pool(lawful(store.set_mode(&pool, mode, on).await)),
        Deed::Status(pool) => Outcome::Status(lawful(store.status(&pool).await)),
        Deed::Add(pool, new) => Outcome::Session(lawful(store.add(&pool, new).await)),
        Deed::UpdateSession(pool, name, change) => {
            Outcome::Session(lawful(store.update_session(&pool, &name, change, on).await))
        }
        Deed::Remove(pool, name) => Outcome::Removed(lawful(store.remove(&pool, &name, on).await)),
        Deed::Get(pool, name) => Outcome::Session(lawful(store.get_session(&pool, &name).await)),
        Deed::History(pool, name, before, most) => {
            Outcome::Events(lawful(store.history(&pool, name.as_ref(), before, most).await))
        }
        Deed::List(pool, after, most) => {
            Outcome::Sessions(lawful(store.list_sessions(&pool, after.as_ref(), most).await))
        }
        Deed::Reseal(pool, name, read, new) => {
            let (read, new) = (secrets(&name, read), secrets(&name, new));
            Outcome::Resealed(lawful(store.reseal(&pool, &name, &read, new).await))
        }
        Deed::ListLeases(pool, after, most) => {
            Outcome::Leases(lawful(store.list_leases(&pool, after.as_ref(), most).await))
        }
        Deed::RevokeLeases(pool, which) => {
            Outcome::Revoked(lawful(store.revoke_leases(&pool, &which).await))
        }
        Deed::Acquire(pool, ask) => Outcome::Granted(lawful(store.acquire(&pool, ask).await)),
        Deed::Enqueue(pool, ask, patience) => {
            Outcome::Enqueued(lawful(store.enqueue(&pool, ask, patience).await))
        }
        Deed::Leave(pool, departure) => {
            store.leave(&pool, &departure).await.expect("nobody is kept");
            Outcome::Done
        }
        Deed::Tend(pool) => Outcome::Tended(lawful(store.tend(&pool).await)),
        Deed::ListWaiters(pool, after, most) => {
            Outcome::Waiters(waiters(stage, &pool, after, most).await)
        }
        Deed::Undo(lease, delivery) => Outcome::Undone(lawful(store.undo(&lease, delivery).await)),
        Deed::Renew(lease, by, ttl) => {
            Outcome::Renewed(lawful(store.renew(&lease, &key(by), ttl).await))
        }
        Deed::RenewAll(leases, by, ttl) => {
            let kept = store.renew_all(&leases, &key(by), ttl).await;
            Outcome::Kept(kept.into_iter().map(lawful).collect())
        }
        Deed::InspectAll(leases, by) => {
            let kept = store.inspect_all(&leases, &key(by)).await;
            Outcome::Kept(kept.into_iter().map(lawful).collect())
        }
        Deed::AbandonAll(leases, by) => {
            let abandoned = store.abandon_all(&leases, &key(by)).await;
            Outcome::Abandoned(abandoned.into_iter().map(lawful).collect())
        }
        Deed::Release(lease, by, rest, error) => {
            let released = store.release(&lease, &key(by), rest, error.as_ref()).await;
            Outcome::Released(lawful(released))
        }
        Deed::Report(lease, by, error) => {
            Outcome::Reported(lawful(store.report(&lease, &key(by), &error).await))
        }
        Deed::Afflict(pool, account, by, error) => {
            Outcome::Afflicted(lawful(store.afflict(&pool, account, &key(by), &error).await))
        }
        Deed::ClearCoolDown(pool, session, scope) => {
            let cleared = store.clear_cool_down(&pool, session.as_ref(), &scope, on).await;
            Outcome::Cleared(lawful(cleared))
        }
        Deed::Explain(pool, ask) => Outcome::Explained(lawful(store.explain(&pool, ask).await)),
        Deed::Surrender(lease, why) => Outcome::Session(lawful(store.surrender(&lease, why).await)),
        Deed::Invalidate(pool, name, why) => {
            Outcome::Session(lawful(store.invalidate(&pool, &name, why).await))
        }
        Deed::Restore(pool, name) => {
            Outcome::Session(lawful(store.restore(&pool, &name, on).await))
        }
    }
}

/// The secret parts of a session after so many changes; at first they are as it was added.
fn secrets(name: &SessionName, changes: u8) -> Secrets {
    let added = labelled(name.as_str(), &[]);
    let other = || Some(Credential(vec![changes, 0xff]));
    match changes {
        0 => Secrets { credential: added.credential, proxy: None, device: None },
        _ => Secrets { credential: Credential(vec![0xc1, changes]), proxy: other(), device: None },
    }
}

/// Everything that can be seen of a store.
pub(super) async fn views(stage: &Stage) -> Vec<Outcome> {
    let mut seen = vec![Outcome::Pools(lawful(stage.store.list_pools(None, 10).await))];
    for pool in POOLS {
        let sessions = stage.store.list_sessions(&pool_name(pool), None, 1000).await;
        for number in 0..FEW {
            let name = name(&format!("s{number}"));
            let events = stage.store.history(&pool_name(pool), Some(&name), None, 1000).await;
            seen.push(Outcome::Events(lawful(events)));
        }
        let events = stage.store.history(&pool_name(pool), None, None, 1000).await;
        seen.push(Outcome::Events(lawful(events)));
        seen.push(Outcome::Sessions(lawful(sessions)));
        let leases = stage.store.list_leases(&pool_name(pool), None, 1000).await;
        seen.push(Outcome::Leases(lawful(leases)));
        seen.push(Outcome::Status(lawful(stage.store.status(&pool_name(pool)).await)));
        seen.push(Outcome::Waiters(waiters(stage, &pool_name(pool), 0, 1000).await));
    }
    seen
}

/// The waiters of a pool after so many. Their numbers are told by their order alone: an engine
/// that was opened again may count anew.
async fn waiters(
    stage: &Stage,
    pool: &PoolName,
    after: usize,
    most: usize,
) -> Answer<Vec<WaiterView>> {
    let mut number = 0;
    if after > 0 {
        let before = lawful(stage.store.list_waiters(pool, 0, after).await)?;
        number = before.last().map_or(0, |waiter| waiter.seq);
    }
    let waiters = lawful(stage.store.list_waiters(pool, number, most).await)?;
    assert!(waiters.iter().all(|waiter| waiter.seq > number), "not after {number}: {waiters:?}");
    assert!(waiters.is_sorted_by_key(|waiter| waiter.seq), "not in order: {waiters:?}");
    Ok(waiters.into_iter().map(|waiter| WaiterView { seq: 0, ..waiter }).collect())
}
