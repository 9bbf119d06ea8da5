//! All pools of a store, and what must be unique over all of them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use super::{
    Fingerprint, NewSession, Policy, Pool, PoolName, PoolRecord, PoolStatus, Refusal, SessionName,
    SessionView, Time,
};

/// A pool as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// What it is.
    pub record: PoolRecord,
    /// How it stands.
    pub status: PoolStatus,
}

/// All pools of a store.
#[derive(Debug, Default)]
pub struct Realm {
    pools: BTreeMap<PoolName, Pool>,
    holders: HashMap<Fingerprint, (PoolName, SessionName)>,
}

impl Realm {
    /// Takes in a pool as it was kept.
    pub fn restore_pool(&mut self, pool: Pool) {
        let name = pool.record().name.clone();
        for (session, kept) in &pool.sessions {
            let holder = (name.clone(), session.clone());
            self.holders.insert(kept.record.fingerprint.clone(), holder);
        }
        self.pools.insert(name, pool);
    }

    /// Makes an empty pool.
    ///
    /// # Errors
    ///
    /// `PoolExists`.
    pub fn create_pool(
        &mut self,
        name: &PoolName,
        policy: Policy,
        now: Time,
    ) -> Result<PoolView, Refusal> {
        if self.pools.contains_key(name) {
            return Err(Refusal::PoolExists { pool: name.clone() });
        }
        self.pools.insert(name.clone(), Pool::new(name.clone(), policy, now));
        self.view(name, now)
    }

    /// The pool of that name.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`.
    pub fn pool(&mut self, name: &PoolName) -> Result<&mut Pool, Refusal> {
        self.pools.get_mut(name).ok_or_else(|| Refusal::PoolNotFound { pool: name.clone() })
    }

    /// A pool and how it stands.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`.
    pub fn view(&mut self, name: &PoolName, now: Time) -> Result<PoolView, Refusal> {
        let pool = self.pool(name)?;
        Ok(PoolView { record: pool.record().clone(), status: pool.status(now) })
    }

    /// Pools by name, from the first after a name.
    pub fn list(&mut self, after: Option<&PoolName>, most: usize, now: Time) -> Vec<PoolView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.pools
            .range_mut::<PoolName, _>((from, Bound::Unbounded))
            .take(most)
            .map(|(_, pool)| PoolView { record: pool.record().clone(), status: pool.status(now) })
            .collect()
    }

    /// Adds a session whose credential no session of any pool has.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`, `SessionExists`, `CredentialExists`.
    pub fn add(
        &mut self,
        pool: &PoolName,
        new: NewSession,
        now: Time,
    ) -> Result<SessionView, Refusal> {
        let fingerprint = new.fingerprint.clone();
        let name = new.name.clone();
        let holder = self.holders.get(&fingerprint).cloned();
        let target = self.pool(pool)?;
        if target.kept(&name).is_none()
            && let Some((pool, session)) = holder
        {
            return Err(Refusal::CredentialExists { pool, session, fingerprint });
        }
        let view = target.add(new, now)?;
        self.holders.insert(fingerprint, (pool.clone(), name));
        Ok(view)
    }

    /// Removes a session; its credential may be added again.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`, `SessionNotFound`, `InappropriateState`.
    pub fn remove(
        &mut self,
        pool: &PoolName,
        name: &SessionName,
        now: Time,
    ) -> Result<(), Refusal> {
        let record = self.pool(pool)?.remove(name, now)?;
        self.holders.remove(&record.fingerprint);
        Ok(())
    }
}
