//! All pools of a store, and what must be unique over all of them.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use super::{
    CoolDown, Event, EventVerb, Fingerprint, Mandate, MethodFloods, NewSession, News, Policy, Pool,
    PoolName, PoolRecord, PoolStatus, Refusal, SessionName, SessionRecord, SessionView, Standing,
    Time, floods_of, trail::Trail,
};

/// A pool as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// What it is.
    pub record: PoolRecord,
    /// How it stands.
    pub status: PoolStatus,
    /// The brakes that run, by key. The record shows none.
    pub brakes: Vec<CoolDown>,
    /// The floods of the last hour by method, the most first. The record shows none.
    pub floods: Vec<MethodFloods>,
}

/// All pools of a store.
#[derive(Debug, Default)]
pub struct Realm {
    pools: BTreeMap<PoolName, Pool>,
    holders: HashMap<Fingerprint, (PoolName, SessionName)>,
    /// What is left of pools that were deleted, for pools that are made under their names.
    past: BTreeMap<PoolName, Past>,
    /// The pools that were deleted since the changes were last taken.
    deleted: Vec<PoolName>,
    /// The pools that deeds were done on since the changes were last taken.
    touched: Vec<PoolName>,
}

/// What is left of a pool that was deleted.
#[derive(Debug, Default)]
struct Past {
    /// Its past epoch.
    epoch: u64,
    /// What was done to it; its deletion last.
    trail: Trail,
}

/// What a deed changed, as it is now.
#[derive(Debug)]
pub enum PoolChange<'a> {
    /// A pool is new, or its own record changed.
    Pool(&'a PoolRecord),
    /// A pool is gone; its past epoch.
    Deleted(PoolName, u64),
    /// A session is new, or what is known of it changed.
    Session(&'a PoolName, &'a SessionRecord, &'a Standing),
    /// A session stands differently.
    Standing(&'a PoolName, SessionName, &'a Standing),
    /// Something was done to a session, or to the pool itself.
    Event(&'a PoolName, Option<SessionName>, &'a Event),
    /// A session is gone.
    Removed(&'a PoolName, SessionName),
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

    /// Takes in the past epoch of a pool that was deleted, and what was done to it, as they were
    /// kept.
    pub fn restore_past(&mut self, name: PoolName, epoch: u64, events: Vec<Event>) {
        self.past.insert(name, Past { epoch, trail: events.into() });
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
        on: &Mandate,
        now: Time,
    ) -> Result<PoolView, Refusal> {
        if self.pools.contains_key(name) {
            return Err(Refusal::PoolExists { pool: name.clone() });
        }
        let mut pool = Pool::new(name.clone(), policy, now);
        let past = self.past.remove(name).unwrap_or_default();
        pool.record.past_epoch = past.epoch;
        pool.trail = past.trail;
        pool.note_own(EventVerb::Create, &on.by, on.detail.as_str(), now);
        self.pools.insert(name.clone(), pool);
        self.view(name, now)
    }

    /// Deletes a pool without sessions. Only its past epoch is kept, so that fencing numbers go on
    /// rising in a pool that is made under its name, and its trail.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`, `PoolNotEmpty`.
    pub fn delete_pool(&mut self, name: &PoolName, on: &Mandate, now: Time) -> Result<(), Refusal> {
        let pool = self.pool(name)?;
        if !pool.sessions.is_empty() {
            let total = super::status::count(pool.sessions.len());
            return Err(Refusal::PoolNotEmpty { pool: name.clone(), total });
        }
        let mut past =
            Past { epoch: pool.record.past_epoch, trail: std::mem::take(&mut pool.trail) };
        past.trail.note(EventVerb::Delete, Some(&on.by), on.detail.clone(), now);
        self.past.insert(name.clone(), past);
        self.pools.remove(name);
        self.deleted.push(name.clone());
        Ok(())
    }

    /// The pool of that name.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`.
    pub fn pool(&mut self, name: &PoolName) -> Result<&mut Pool, Refusal> {
        let pool = self.pools.get_mut(name);
        let pool = pool.ok_or_else(|| Refusal::PoolNotFound { pool: name.clone() })?;
        self.touched.push(name.clone());
        Ok(pool)
    }

    /// A pool and how it stands.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`.
    pub fn view(&mut self, name: &PoolName, now: Time) -> Result<PoolView, Refusal> {
        let pool = self.pool(name)?;
        let status = pool.status(now);
        let record = pool.record();
        let brakes = record.brakes.iter().filter(|brake| brake.until > now).cloned().collect();
        let floods = floods_of(record.floods.clone(), now);
        // Both engines show the same, and one of them keeps these elsewhere.
        let record = PoolRecord {
            brakes: Vec::new(),
            bursts: Vec::new(),
            floods: Vec::new(),
            ..record.clone()
        };
        Ok(PoolView { record, status, brakes, floods })
    }

    /// Pools by name, from the first after a name.
    pub fn list(&mut self, after: Option<&PoolName>, most: usize, now: Time) -> Vec<PoolView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names: Vec<_> = self
            .pools
            .range::<PoolName, _>((from, Bound::Unbounded))
            .take(most)
            .map(|(name, _)| name.clone())
            .collect();
        names.iter().filter_map(|name| self.view(name, now).ok()).collect()
    }

    /// Offers what the deeds since the changes were last taken have freed to those who wait, and
    /// tells what others must hear of it. Every deed ends with it.
    pub fn serve(&mut self, now: Time) -> Vec<(PoolName, News)> {
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut all = Vec::new();
        for name in &self.touched {
            if let Some(pool) = self.pools.get_mut(name) {
                all.extend(pool.news(now).into_iter().map(|news| (name.clone(), news)));
            }
        }
        all
    }

    /// Takes what has changed since it was last asked, for engines that make it durable.
    pub fn take_changes(&mut self) -> Vec<PoolChange<'_>> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        let mut changes = Vec::new();
        for name in touched {
            if let Some(pool) = self.pools.get_mut(&name) {
                changes.push((name, pool.take_changes()));
            }
        }
        let deleted = std::mem::take(&mut self.deleted);
        let deleted = deleted.into_iter().filter_map(|name| {
            let (name, past) = self.past.get_key_value(&name)?;
            let event = past.trail.last().map(|event| PoolChange::Event(name, None, event));
            Some([Some(PoolChange::Deleted(name.clone(), past.epoch)), event])
        });
        let deleted = deleted.flatten().flatten();
        let pools = &self.pools;
        let as_they_are = |(name, changes)| pools.get(&name).map(|pool| pool.current(changes));
        deleted.chain(changes.into_iter().filter_map(as_they_are).flatten()).collect()
    }

    /// Reads what was done to a session, or to a pool itself, newest first, from the first before a
    /// number. The trail of a pool that was deleted can still be read.
    ///
    /// # Errors
    ///
    /// `PoolNotFound`, `SessionNotFound`.
    pub fn history(
        &mut self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
        now: Time,
    ) -> Result<Vec<Event>, Refusal> {
        if let Some(session) = session {
            return self.pool(pool)?.history(session, before, most, now);
        }
        let living = self.pools.get(pool).map(|pool| &pool.trail);
        let trail = living.or_else(|| self.past.get(pool).map(|past| &past.trail));
        let trail = trail.filter(|trail| living.is_some() || trail.last().is_some());
        let trail = trail.ok_or_else(|| Refusal::PoolNotFound { pool: pool.clone() })?;
        Ok(trail.before(before, most))
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
        if !target.has(&name)
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
        on: &Mandate,
        now: Time,
    ) -> Result<(), Refusal> {
        let record = self.pool(pool)?.remove(name, on, now)?;
        self.holders.remove(&record.fingerprint);
        Ok(())
    }
}
