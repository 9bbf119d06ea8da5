//! Verbs on many leases: some batches of them at once, a round trip for each.

use futures_util::{StreamExt as _, stream};

use super::{
    RedisStore,
    argument::{Call, millis},
    reply::{About, Reply},
    scripts::Verb,
};
use crate::{
    pool::{KeyId, Lease, LeaseId, Mark, Span},
    store::{
        Result,
        batch::{batches, in_order},
    },
};

/// How many batches of one call are under way at once.
const AT_ONCE: usize = 8;

impl RedisStore {
    pub(super) async fn extend_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>> {
        let start = |call: Call| call.with(key.as_str()).with(millis(ttl));
        let one = |call: Call, id: &LeaseId| call.lease(id);
        let read = |reply: Reply, id: &LeaseId| {
            let lease = reply.lease(About::session(&id.pool, &id.session))?;
            self.inner.witnesses.note(&id.pool, &id.session, &lease);
            Ok(lease)
        };
        self.on_each(Verb::RenewAll, leases, |id| id, start, one, read).await
    }

    pub(super) async fn look_at_all(&self, leases: &[LeaseId], key: &KeyId) -> Vec<Result<Lease>> {
        let start = |call: Call| call.with(key.as_str());
        let one = |call: Call, id: &LeaseId| call.lease(id);
        let read = |reply: Reply, id: &LeaseId| reply.lease(About::session(&id.pool, &id.session));
        self.on_each(Verb::InspectAll, leases, |id| id, start, one, read).await
    }

    pub(super) async fn give_up_all(
        &self,
        leases: &[(LeaseId, Mark)],
        key: &KeyId,
    ) -> Vec<Result<bool>> {
        let start = |call: Call| call.with(key.as_str());
        let one = |call: Call, (id, mark): &(LeaseId, Mark)| {
            call.lease(id).with(mark.renewals.to_string()).with(mark.deliveries.to_string())
        };
        let read = |reply: Reply, (id, _): &(LeaseId, Mark)| {
            reply.expect("abandoned", About::session(&id.pool, &id.session))?.flag()
        };
        self.on_each(Verb::AbandonAll, leases, |(id, _)| id, start, one, read).await
    }

    async fn on_each<L: Sync, T: Send>(
        &self,
        verb: Verb,
        leases: &[L],
        id: impl Fn(&L) -> &LeaseId + Sync,
        start: impl Fn(Call) -> Call + Sync,
        one: impl Fn(Call, &L) -> Call + Sync,
        read: impl Fn(Reply, &L) -> Result<T> + Sync,
    ) -> Vec<Result<T>> {
        let calls: Vec<_> = batches(leases.iter().map(|lease| &id(lease).pool))
            .into_iter()
            .map(|batch| {
                let call = start(self.call(verb, &batch.pool));
                let call = batch.places.iter().fold(call, |call, at| one(call, &leases[*at]));
                (batch, call)
            })
            .collect();
        let round_trip = |(batch, call): (_, Call)| async move { (batch, self.run(call).await) };
        let replied: Vec<_> =
            stream::iter(calls).map(round_trip).buffer_unordered(AT_ONCE).collect().await;
        let answers = replied.into_iter().map(|(batch, reply)| {
            let each = reply.and_then(|reply| reply.each(About::pool(&batch.pool)));
            let answers = each.map(|each| {
                each.into_iter().zip(&batch.places).map(|(r, at)| read(r, &leases[*at])).collect()
            });
            (batch, answers)
        });
        in_order(answers.collect())
    }
}
