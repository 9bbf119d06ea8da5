//! Making and deleting pools, and the list of them all, which no pool's own keys hold.

use futures_util::future::try_join_all;

use super::{
    MOST, RedisStore,
    argument::{Call, fresh_name},
    reply::About,
    scripts::Verb,
};
use crate::{
    pool::{Mandate, Policy, PoolName, PoolView, Refusal},
    store::{Error, Result, Store as _},
};

impl RedisStore {
    pub(super) async fn made_pool(
        &self,
        pool: &PoolName,
        policy: Policy,
        on: &Mandate,
    ) -> Result<PoolView> {
        // Listed first: a name without a pool is passed over, a pool without a name were lost.
        self.list_pool(pool).await?;
        let [expiry, at] = self.inner.witnesses.of(pool);
        let call = self
            .call(Verb::CreatePool, pool)
            .with(pool.as_str())
            .packed(&policy)
            .with(fresh_name()?)
            .with(expiry)
            .with(at)
            .on(on);
        let view = self.run(call).await?.pool_view(About::pool(pool))?;
        // And last: whoever deleted a pool of this name may have unlisted it only now.
        self.list_pool(pool).await?;
        Ok(view)
    }

    pub(super) async fn unmade_pool(&self, pool: &PoolName, on: &Mandate) -> Result<()> {
        let call = self.call(Verb::DeletePool, pool).with(fresh_name()?).on(on);
        self.run(call).await?.expect("deleted", About::pool(pool))?;
        self.inner.witnesses.forget(pool);
        let unlist = Call::new(Verb::UnlistPool, self.inner.keys.pools()).with(pool.as_str());
        self.run(unlist).await?.expect("unlisted", About::pool(pool))?;
        if self.listed_pool(pool).await?.is_some() {
            // Somebody has made it again meanwhile.
            self.list_pool(pool).await?;
        }
        Ok(())
    }

    /// Reads pools that are listed, from the first after a name.
    pub(super) async fn pools_after(
        &self,
        after: Option<&PoolName>,
        most: usize,
    ) -> Result<Vec<PoolView>> {
        let mut views = Vec::new();
        let mut after = after.cloned();
        while views.len() < most {
            let chunk = (most - views.len()).min(MOST);
            let names = self.list_chunk(after.as_ref(), chunk).await?;
            let shown = try_join_all(names.iter().map(|name| self.listed_pool(name))).await?;
            views.extend(shown.into_iter().flatten());
            if names.len() < chunk {
                break;
            }
            after = names.last().cloned();
        }
        Ok(views)
    }

    async fn list_pool(&self, pool: &PoolName) -> Result<()> {
        let list = Call::new(Verb::ListPool, self.inner.keys.pools()).with(pool.as_str());
        self.run(list).await?.expect("listed", About::pool(pool)).map(drop)
    }

    async fn list_chunk(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolName>> {
        let call = Call::new(Verb::ListPools, self.inner.keys.pools())
            .with(after.map_or("", PoolName::as_str))
            .with(most.to_string());
        self.run(call).await?.pool_names()
    }

    /// A pool that is listed; none if it is not made yet.
    async fn listed_pool(&self, pool: &PoolName) -> Result<Option<PoolView>> {
        match self.get_pool(pool).await {
            Ok(view) => Ok(Some(view)),
            Err(Error::Refused(refusal)) if matches!(*refusal, Refusal::PoolNotFound { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
