//! What an operator changes of a pool and its sessions while they are in use.

use super::{Change, Policy, PolicyChange, Pool, PoolName, Refusal, Time};

impl PolicyChange {
    /// The policy that it makes of a pool's.
    ///
    /// # Errors
    ///
    /// `PolicyUnfit`.
    pub fn fit(&self, pool: &PoolName, policy: &Policy) -> Result<Policy, Refusal> {
        let policy = self.apply(policy);
        match policy.faults() {
            faults if faults.is_empty() => Ok(policy),
            faults => Err(Refusal::PolicyUnfit { pool: pool.clone(), faults }),
        }
    }
}

impl Pool {
    /// Changes the policy. What runs keeps what it was given; what begins from now on follows the
    /// new one.
    ///
    /// # Errors
    ///
    /// `PolicyUnfit`.
    pub fn update_policy(&mut self, change: &PolicyChange, now: Time) -> Result<(), Refusal> {
        let policy = change.fit(&self.record.name, &self.record.policy)?;
        // What is due is due by the policy under which it became so.
        self.settle(now);
        if self.record.policy != policy {
            self.record.policy = policy;
            self.record.updated_at = now;
            self.changes.push(Change::Pool);
        }
        Ok(())
    }
}
