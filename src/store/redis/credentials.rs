//! Adding, resealing and removing sessions: a credential is in the whole store at most once, but
//! the list of credentials and the pools may live on different nodes of a cluster, so that no
//! script can see both.
//!
//! To add, first the fingerprint is claimed for the session, then the session is added under that
//! claim, then a claim whose session was refused is given up. To remove, first the session goes,
//! then its claim. A broker may die at any line:
//!
//! - A claim without a session blocks its credential only until somebody adds it: when it is old
//!   enough and its session does not have the credential, it is taken over.
//! - A session without a claim cannot be: it is added only while its claim is fresh, and until
//!   well after that nobody takes the claim over.

use super::{
    Inner,
    argument::{Call, label_lines, secret_parts},
    link::{Failure, Patience},
    reply::{About, claimant, credential_exists},
    scripts::Verb,
};
use crate::{
    pool::{
        Fingerprint, Mandate, NewSession, PoolName, Secrets, SessionName, SessionState,
        SessionView, Time,
    },
    store::{Error, Result},
};

/// For how long a session can be added under a claim.
const CLAIM_GOOD_MS: u64 = 5_000;
/// After how long a claim without a session is taken over: longer, so that nodes of a cluster may
/// differ on what time it is.
const CLAIM_STALE_MS: u64 = 10_000;
/// How often adding starts over because a reply was lost or its claim grew old.
const ATTEMPTS: usize = 64;
/// The states in which a session can be removed.
const REMOVABLE: &[SessionState] =
    &[SessionState::Ready, SessionState::FloodWait, SessionState::Suspect, SessionState::Invalid];

/// A claim on a fingerprint that a call makes.
struct Claim<'a> {
    fingerprint: &'a Fingerprint,
    pool: &'a PoolName,
    session: &'a SessionName,
    /// Which call makes it: fresh and unique.
    name: String,
}

enum Claimed {
    /// For this call, at that moment.
    Here(Time),
    /// For another session.
    Elsewhere(PoolName, SessionName),
}

impl Inner {
    pub(super) async fn add(&self, pool: &PoolName, new: NewSession) -> Result<SessionView> {
        let name = new.name.clone();
        let fingerprint = new.fingerprint.clone();
        let about = About::session(pool, &name);
        let claim = Claim {
            fingerprint: &fingerprint,
            pool,
            session: &name,
            name: super::argument::fresh_name()?,
        };
        let labels = label_lines(&new.labels);
        let account = new.account_id.map(|id| id.to_string()).unwrap_or_default();
        let by = new.by.clone();
        let record = secret_parts(&new.into_record(Time::default()));
        let mut patience = self.link.patience();
        for _ in 0..ATTEMPTS {
            let claimed = self.claim(&claim, &mut patience).await?;
            let (claim_name, at) = match &claimed {
                Claimed::Here(at) => (claim.name.as_str(), at.0),
                Claimed::Elsewhere(..) => ("", 0),
            };
            let call = Call::new(Verb::Add, self.keys.pool(pool))
                .with(name.as_str())
                .with(labels.as_str())
                .with(record.as_slice())
                .with(fingerprint.as_str())
                .with(claim_name)
                .with(at.to_string())
                .with(CLAIM_GOOD_MS.to_string())
                .with(account.as_str())
                .with(by.as_str());
            let mut reply = match self.link.attempt(&call, &mut patience).await {
                Ok(reply) => reply,
                // The claim may have gone with a session that was added and removed meanwhile.
                Err(Failure::Lost) => continue,
                Err(Failure::Given(error)) => return Err(error),
            };
            if reply.is("claim_late") {
                continue;
            }
            if reply.is("credential_exists")
                && let Claimed::Elsewhere(pool, session) = claimed
            {
                return Err(credential_exists((pool, session), &fingerprint));
            }
            if reply.is("session") {
                return reply.session_view(about);
            }
            let instead = if reply.is("session_exists") && reply.text()? == fingerprint.as_str() {
                reply.text()?
            } else {
                String::new()
            };
            self.unclaim(&claim, &instead, &mut patience).await;
            return Err(reply.refusal(about));
        }
        Err(Error::Unavailable("the claim on a credential grew old again and again".to_owned()))
    }

    pub(super) async fn remove(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<()> {
        let about = About { wanted: REMOVABLE, ..About::session(pool, session) };
        let mut patience = self.link.patience();
        // Asked before, so that the claim is known even where the reply that tells it is lost.
        let (fingerprint, name) = self.credential(pool, session, &mut patience).await?;
        let there_was_one = !name.is_empty();
        let mut patience = patience.without_doubt();
        let call = Call::new(Verb::Remove, self.keys.pool(pool)).with(session.as_str()).on(on);
        let reply = self.link.run(&call, &mut patience).await?;
        let (fingerprint, name) =
            if patience.in_doubt() && there_was_one && reply.is("session_not_found") {
                // Taken for the doing of an attempt whose reply was lost.
                (fingerprint, name)
            } else {
                let mut removed = reply.expect("removed", about)?;
                (Fingerprint::new(&removed.text()?), removed.text()?)
            };
        let claim = Claim { fingerprint: &fingerprint, pool, session, name };
        self.unclaim(&claim, "", &mut patience).await;
        Ok(())
    }

    /// Two steps: only the broker can look into a record, and only the script can see that it has
    /// not changed since.
    pub(super) async fn reseal(
        &self,
        pool: &PoolName,
        session: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool> {
        let about = About::session(pool, session);
        let mut patience = self.link.patience();
        let call = Call::new(Verb::GetSession, self.keys.pool(pool)).with(session.as_str());
        let reply = self.link.run(&call, &mut patience).await?;
        let (kept, record) = reply.kept_session(about)?;
        let now = record.secrets();
        if now == new || now != *read {
            return Ok(now == new);
        }
        let call = Call::new(Verb::Reseal, self.keys.pool(pool))
            .with(session.as_str())
            .with(kept)
            .with(secret_parts(&record.with_secrets(new)));
        let reply = self.link.run(&call, &mut patience).await?;
        reply.expect("resealed", about)?.flag()
    }

    async fn claim(&self, claim: &Claim<'_>, patience: &mut Patience) -> Result<Claimed> {
        let about = About::session(claim.pool, claim.session);
        let mut left_over = String::new();
        loop {
            let call = self.claim_call(Verb::Claim, claim).with(left_over.as_str());
            let mut reply = self.link.run(&call, patience).await?;
            if !reply.is("claimed_by") {
                return Ok(Claimed::Here(reply.expect("claimed", about)?.time()?));
            }
            let now = reply.time()?;
            let (pool, session) = claimant(&reply.text()?)?;
            let stale = now > Time(reply.number()? + CLAIM_STALE_MS);
            let value = reply.text()?;
            if !stale || value == left_over {
                return Ok(Claimed::Elsewhere(pool, session));
            }
            let (kept, _) = self.credential(&pool, &session, patience).await?;
            if kept == *claim.fingerprint {
                return Ok(Claimed::Elsewhere(pool, session));
            }
            left_over = value;
        }
    }

    /// Gives a claim up, or hands it to the claim by which the session holds the credential
    /// already. When that fails, the claim is left over.
    async fn unclaim(&self, claim: &Claim<'_>, instead: &str, patience: &mut Patience) {
        let call = self.claim_call(Verb::Unclaim, claim).with(instead);
        let _ = self.link.run(&call, patience).await;
    }

    fn claim_call(&self, verb: Verb, claim: &Claim) -> Call {
        Call::new(verb, self.keys.fingerprints())
            .with(claim.fingerprint.as_str())
            .with(format!("{}/{}", claim.pool, claim.session))
            .with(claim.name.as_str())
    }

    /// Which credential a session has and by which claim, both empty where there is no session.
    async fn credential(
        &self,
        pool: &PoolName,
        session: &SessionName,
        patience: &mut Patience,
    ) -> Result<(Fingerprint, String)> {
        let call = Call::new(Verb::Credential, self.keys.pool(pool)).with(session.as_str());
        let reply = self.link.run(&call, patience).await?;
        let mut kept = reply.expect("credential", About::session(pool, session))?;
        Ok((Fingerprint::new(&kept.text()?), kept.text()?))
    }
}
