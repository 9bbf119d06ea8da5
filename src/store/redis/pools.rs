//! The list of all pools, which no pool's own keys hold.

use futures_util::future::try_join_all;

use super::{MOST, RedisStore, argument::Call, reply::About, scripts::Verb};
use crate::{
    pool::{PoolName, PoolView, Refusal},
    store::{Error, Result, Store as _},
};

impl RedisStore {
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

    pub(super) async fn list_pool(&self, pool: &PoolName) -> Result<()> {
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
    pub(super) async fn listed_pool(&self, pool: &PoolName) -> Result<Option<PoolView>> {
        match self.get_pool(pool).await {
            Ok(view) => Ok(Some(view)),
            Err(Error::Refused(refusal)) if matches!(*refusal, Refusal::PoolNotFound { .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
