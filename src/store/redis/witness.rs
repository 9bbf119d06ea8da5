//! What Redis must still know when it comes back: the newest leases that it has acknowledged.
//!
//! A Redis that restarts from an older snapshot, or a replica that takes over, has lost its newest
//! writes and no others. So if it knows the newest lease of a pool, it has lost no lease of that
//! pool; and if it does not, a session that looks free may be in use.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{
    argument::Call,
    keys::Keys,
    reply::{About, Reply},
    scripts::Verb,
    wire::Wire,
};
use crate::{
    pool::{Lease, PoolName, SessionName, Time},
    store::{Error, Result},
};

/// How many leases of the same millisecond are kept. More tell nothing new.
const MAX_KEPT: usize = 64;

/// The newest acknowledged leases of each pool that this broker lends from.
pub(super) struct Witnesses {
    keys: Keys,
    newest: Mutex<HashMap<PoolName, Newest>>,
}

#[derive(Clone)]
struct Newest {
    /// When they were granted or renewed.
    at: Time,
    /// The latest expiry of any lease so far.
    last: Time,
    leases: Vec<Witness>,
}

#[derive(Clone)]
struct Witness {
    session: SessionName,
    epoch: u64,
    expires_at: Time,
}

/// What a server that has started anew knows of a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Still,
    Lost,
    /// Not even its pool.
    NoPool,
}

impl Witnesses {
    pub(super) fn new(keys: Keys) -> Self {
        Self { keys, newest: Mutex::default() }
    }

    /// Remembers a lease as it was granted or renewed.
    pub(super) fn note(&self, pool: &PoolName, session: &SessionName, lease: &Lease) {
        let at = lease.expires_at - lease.ttl;
        let Lease { epoch, expires_at, .. } = *lease;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match newest.get_mut(pool) {
            Some(known) => known,
            None => newest.entry(pool.clone()).or_insert_with(|| Newest {
                at,
                last: at,
                leases: Vec::with_capacity(1),
            }),
        };
        known.last = known.last.max(expires_at);
        if at > known.at {
            known.at = at;
            known.leases.clear();
        }
        if at == known.at && known.leases.len() < MAX_KEPT {
            known.leases.push(Witness { session: session.clone(), epoch, expires_at });
        }
    }

    /// The latest expiry of a lease of a pool, and when the newest was granted or renewed; nothing
    /// where there was none. By them a server that lets the pool be made knows whether it has
    /// forgotten it, and who holds what.
    pub(super) fn of(&self, pool: &PoolName) -> [String; 2] {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let known = newest.get(pool);
        known.map_or_else(Default::default, |known| [known.last, known.at].map(|t| t.0.to_string()))
    }

    /// Forgets a pool that was deleted: there is nothing left that could be lost.
    pub(super) fn forget(&self, pool: &PoolName) {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).remove(pool);
    }

    /// Asks a server that has started anew about all of them; it holds the grants of each pool
    /// that has lost one.
    pub(super) async fn question(&self, wire: &Wire) -> Result<()> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (pool, Newest { leases, last, .. }) in newest {
            for witness in leases {
                let known = self.knows(wire, &pool, &witness, last).await?;
                if known != Known::Still {
                    tracing::error!(
                        %pool,
                        "Redis came back without leases that it had acknowledged; nothing is \
                         granted from the pool until they are over; see appendfsync and AOF"
                    );
                    // It has said what it had to: the next restart is another matter. Of a pool
                    // that is gone it speaks when the pool is made again.
                    if known == Known::Lost {
                        self.newest.lock().unwrap_or_else(PoisonError::into_inner).remove(&pool);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    async fn knows(
        &self,
        wire: &Wire,
        pool: &PoolName,
        witness: &Witness,
        last: Time,
    ) -> Result<Known> {
        let Witness { session, epoch, expires_at } = witness;
        let call = Call::new(Verb::Recall, self.keys.pool(pool))
            .with(session.as_str())
            .with(epoch.to_string())
            .with(expires_at.0.to_string())
            .with(last.0.to_string());
        let answer = wire.send(&call).await;
        let reply = Reply::read(answer.map_err(|error| Error::Unavailable(error.to_string()))?)?;
        if reply.is("pool_not_found") {
            return Ok(Known::NoPool);
        }
        let known = reply.expect("recalled", About::pool(pool))?.text()? == "known";
        Ok(if known { Known::Still } else { Known::Lost })
    }
}
