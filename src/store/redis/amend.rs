//! Changing records: what a pool or a session is, the rules change in the broker, and a script
//! writes it if it is still what the broker was told.
//!
//! The broker is told first, so a change costs two round trips, and one more for each change that
//! came between. Repeated after a lost reply, a change finds itself made and makes it again.

use super::{
    Inner,
    argument::{Call, pack},
    link::Patience,
    reply::About,
    scripts::Verb,
};
use crate::{
    pool::{PolicyChange, PoolName, PoolView},
    store::{Error, Result},
};

/// How often a change starts over because another came between.
const ATTEMPTS: usize = 64;

impl Inner {
    pub(super) async fn update_pool(
        &self,
        pool: &PoolName,
        change: &PolicyChange,
    ) -> Result<PoolView> {
        let about = About::pool(pool);
        let mut patience = Patience::new();
        let (mut digest, mut policy) = (String::new(), Vec::new());
        for _ in 0..ATTEMPTS {
            let call = Call::new(Verb::UpdatePool, self.keys.pool(pool))
                .with(digest.as_str())
                .with(policy.as_slice());
            let mut reply = self.link.run(&call, &mut patience).await?;
            if !reply.is("stale") {
                return reply.pool_view(about);
            }
            let (record, seen) = reply.told_pool()?;
            let made = change.fit(pool, &record.policy)?;
            policy = if made == record.policy { Vec::new() } else { pack(&made) };
            digest = seen;
        }
        Err(unsettled())
    }
}

fn unsettled() -> Error {
    Error::Unavailable("what was to be changed changed again and again".to_owned())
}
