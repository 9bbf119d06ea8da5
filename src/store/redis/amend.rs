//! Changing records: what a pool or a session is, the rules change in the broker, and a script
//! writes it if it is still what the broker was told.
//!
//! The broker is told first, so a change costs two round trips, and one more for each change that
//! came between. Repeated after a lost reply, a change finds itself made and makes it again.

use super::{
    Inner,
    argument::{Call, label_lines, pack, secret_parts},
    reply::About,
    scripts::Verb,
};
use crate::{
    pool::{
        Mandate, PolicyChange, PoolName, PoolView, SessionChange, SessionName, SessionView,
        changed, policy_changed, reasoned,
    },
    store::{Error, Result},
};

/// How often a change starts over because another came between.
const ATTEMPTS: usize = 64;

impl Inner {
    pub(super) async fn update_pool(
        &self,
        pool: &PoolName,
        change: &PolicyChange,
        on: &Mandate,
    ) -> Result<PoolView> {
        let about = About::pool(pool);
        let mut patience = self.link.patience();
        let (mut digest, mut policy, mut what) = (String::new(), Vec::new(), String::new());
        for _ in 0..ATTEMPTS {
            let call = Call::new(Verb::UpdatePool, self.keys.pool(pool))
                .with(digest.as_str())
                .with(policy.as_slice())
                .with(on.by.as_str())
                .with(what.as_str());
            let mut reply = self.link.run(&call, &mut patience).await?;
            if !reply.is("stale") {
                return reply.pool_view(about);
            }
            let (record, seen) = reply.told_pool()?;
            let made = change.fit(pool, &record.policy)?;
            policy = if made == record.policy { Vec::new() } else { pack(&made) };
            what = policy_changed(&record.policy, &made, &on.detail);
            digest = seen;
        }
        Err(unsettled())
    }

    pub(super) async fn update_session(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: &SessionChange,
        on: &Mandate,
    ) -> Result<SessionView> {
        let about = About::session(pool, session);
        let mut patience = self.link.patience();
        let (mut digest, mut record) = (String::new(), Vec::new());
        let (mut labels, mut account, mut what) = (String::new(), String::new(), String::new());
        for _ in 0..ATTEMPTS {
            let call = Call::new(Verb::UpdateSession, self.keys.pool(pool))
                .with(session.as_str())
                .with(digest.as_str())
                .with(record.as_slice())
                .with(labels.as_str())
                .with(account.as_str())
                .with(on.by.as_str())
                .with(what.as_str());
            let mut reply = self.link.run(&call, &mut patience).await?;
            if !reply.is("stale") {
                return reply.session_view(about);
            }
            let (known, seen) = reply.told_session(session)?;
            let made = change.clone().fit(pool, &known)?;
            record = if made == known { Vec::new() } else { secret_parts(&made) };
            labels = label_lines(&made.labels);
            account = made.account_id.map(|id| id.to_string()).unwrap_or_default();
            what = reasoned(&changed(&known, &made), &on.detail);
            digest = seen;
        }
        Err(unsettled())
    }
}

fn unsettled() -> Error {
    Error::Unavailable("what was to be changed changed again and again".to_owned())
}
