//! What operators see of a pool: its running leases, which they can end, and the trails of its
//! sessions and of the pool itself.

use super::{MOST, RedisStore, argument::PackedTarget, reply::About, scripts::Verb};
use crate::{
    pool::{
        Event, LeaseMark, Lent, PoolName, REVOKE_STEP, Revocation, Revoked, SessionName, Target,
    },
    store::Result,
};

impl RedisStore {
    pub(super) async fn leases_after(
        &self,
        pool: &PoolName,
        after: Option<&LeaseMark>,
        most: usize,
    ) -> Result<Vec<Lent>> {
        let mut found: Vec<Lent> = Vec::new();
        loop {
            let chunk = (most - found.len()).min(MOST);
            let mark = found.last().map(Lent::mark).or_else(|| after.cloned());
            let call = self
                .call(Verb::ListLeases, pool)
                .with(mark.as_ref().map(|mark| mark.expires_at.0.to_string()).unwrap_or_default())
                .with(mark.as_ref().map_or("", |mark| mark.session.as_str()))
                .with(chunk.to_string());
            let more = self.run(call).await?.leases(About::pool(pool))?;
            let is_last = more.len() < chunk;
            found.extend(more);
            if is_last || found.len() >= most {
                return Ok(found);
            }
        }
    }

    pub(super) async fn revoke(&self, pool: &PoolName, which: &Revocation) -> Result<Revoked> {
        let from = which.from.as_ref();
        let call = self
            .call(Verb::RevokeLeases, pool)
            .packed(&PackedTarget::new(&which.target))
            .with(which.detail.as_str())
            .with(REVOKE_STEP.to_string())
            .with(from.map(|from| from.since.0.to_string()).unwrap_or_default())
            .with(from.map(|from| from.after.expires_at.0.to_string()).unwrap_or_default())
            .with(from.map_or("", |from| from.after.session.as_str()))
            .with(which.by.as_str());
        let session = match &which.target {
            Target::Session(name) => Some(name),
            _ => None,
        };
        self.run(call).await?.revoked(About { session, ..About::pool(pool) })
    }

    pub(super) async fn events_of(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Event>> {
        let call = self
            .call(Verb::History, pool)
            .with(session.map_or("", SessionName::as_str))
            .with(before.map(|number| number.to_string()).unwrap_or_default())
            .with(most.to_string());
        self.run(call).await?.events(About { session, ..About::pool(pool) })
    }
}
