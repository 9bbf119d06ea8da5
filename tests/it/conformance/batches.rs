//! Verbs on many leases: each is answered on its own, as the verb for one would answer it.

use telegate::{
    pool::{EndCause, Lease, LeaseId, Mark, Policy, PoolMode, Refusal, SessionState, Span},
    store::BATCH,
};

use super::{DRAIN, TTL, lost};
use crate::harness::stage::{
    ANN, Answer, LeaseIdExt as _, Stage, key, lawful, lease_id, pool_name, secret, session, want,
    why,
};

/// The lease as it was granted.
const FRESH: Mark = Mark { renewals: 0, deliveries: 1 };

impl Stage {
    /// Renews many by the default TTL.
    pub(crate) async fn renew_all(&self, leases: &[LeaseId]) -> Vec<Answer<Lease>> {
        let answers = self.store.renew_all(leases, &key(ANN), None).await;
        answers.into_iter().map(lawful).collect()
    }

    /// Looks whether Ann still holds leases.
    pub(crate) async fn inspect_all(&self, leases: &[LeaseId]) -> Vec<Answer<Lease>> {
        let answers = self.store.inspect_all(leases, &key(ANN)).await;
        answers.into_iter().map(lawful).collect()
    }

    /// Gives back for a holder that has vanished.
    pub(crate) async fn abandon(&self, lease: &LeaseId, mark: Mark) -> Answer<bool> {
        let answers = self.store.abandon_all(&[(lease.clone(), mark)], &key(ANN)).await;
        let [answer] = answers.try_into().expect("an answer for each lease");
        lawful(answer)
    }
}

law! {
    async fn each_lease_is_renewed_or_refused_on_its_own(t) {
        t.pool_of(&["a", "b", "c", "d"]).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        let (first, released) = (t.lend(want()).await, t.lend(want()).await);
        let (invalid, foreign) = (t.lend(want()).await, t.lend(want().by("bob")).await);
        let epoch = t.now().0;
        t.advance(Span::secs(20));
        t.release(&released).await.unwrap();
        t.invalidate("c", why("op", "")).await.unwrap();
        let at = t.now();
        t.advance(Span::secs(1));
        let nowhere = first.of_pool("nowhere");
        let elsewhere = first.of_pool("q");
        let asked = [&first, &released, &nowhere, &invalid, &foreign, &elsewhere, &first];
        let answers = t.renew_all(&asked.map(LeaseId::clone)).await;
        let kept = answers[0].clone().unwrap();
        assert_eq!((kept.expires_at, kept.ttl, kept.renewals), (t.now() + TTL, TTL, 1));
        let again = Ok(Lease { renewals: 2, ..kept });
        let not_holder =
            Refusal::NotHolder { pool: pool_name("p"), session: foreign.session.clone() };
        assert_eq!(
            answers[1..],
            [
                Err(lost(&released, EndCause::Released, epoch, at)),
                Err(Refusal::LeaseNotFound),
                Err(lost(&invalid, EndCause::Invalidated, epoch, at)),
                Err(not_holder),
                Err(Refusal::LeaseNotFound),
                again.clone(),
            ]
        );
        assert_eq!(t.standing("a").await.lease, again.ok());
    }

    async fn more_leases_than_one_batch_are_all_renewed(t) {
        t.pool(Policy::default()).await;
        let mut leases = Vec::new();
        for number in 0..=BATCH {
            t.add(session(&format!("s{number:04}"))).await.unwrap();
            leases.push(t.lend(want()).await);
        }
        t.advance(Span::secs(50));
        leases.push(leases[0].with(secret(u64::MAX)));
        let answers = t.renew_all(&leases).await;
        assert_eq!(answers.len(), BATCH + 2);
        assert_eq!(answers[BATCH + 1], Err(Refusal::LeaseNotFound));
        let renewed = |answer: &Result<Lease, Refusal>| {
            answer.as_ref().is_ok_and(|lease| lease.expires_at == t.now() + TTL)
        };
        assert!(answers[..=BATCH].iter().all(renewed));
        let secrets: Vec<_> = answers[..=BATCH].iter().flatten().map(|l| l.secret).collect();
        assert_eq!(secrets, leases[..=BATCH].iter().map(|id| id.secret).collect::<Vec<_>>());
        assert_eq!(t.renew_all(&[]).await, []);
    }

    async fn a_draining_pool_renews_none(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.set_mode(PoolMode::Draining).await;
        let draining = Refusal::PoolDraining { pool: pool_name("p") };
        assert_eq!(t.renew_all(std::slice::from_ref(&lease)).await, [Err(draining)]);
        assert!(t.inspect_all(&[lease]).await[0].is_ok());
    }

    async fn a_look_tells_what_is_left_and_extends_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        let (lease, foreign) = (t.lend(want()).await, t.lend(want().by("bob")).await);
        let before = t.standing("a").await;
        t.advance(Span::secs(20));
        let not_holder =
            Refusal::NotHolder { pool: pool_name("p"), session: foreign.session.clone() };
        let left = Lease { ttl: Span::secs(40), ..before.lease.clone().unwrap() };
        let asked = [lease.clone(), foreign, lease.of_pool("nowhere")];
        let answers = [Ok(left), Err(not_holder), Err(Refusal::LeaseNotFound)];
        assert_eq!(t.inspect_all(&asked).await, answers);
        assert_eq!(t.standing("a").await, before);
        let (epoch, expiry) = (before.epoch, before.lease.unwrap().expires_at);
        t.advance(Span::secs(40));
        let expired = lost(&lease, EndCause::Expired, epoch, expiry);
        assert_eq!(t.inspect_all(&[lease]).await, [Err(expired)]);
    }

    async fn an_abandoned_session_drains_because_its_holder_may_still_be_connected(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.now().0;
        t.advance(Span::secs(10));
        let at = t.now();
        assert_eq!(t.abandon(&lease, FRESH).await, Ok(true));
        assert_eq!(t.state("a").await, SessionState::Resting);
        assert_eq!(t.standing("a").await.rest_until, at + DRAIN);
        let released = lost(&lease, EndCause::Released, epoch, at);
        assert_eq!(t.abandon(&lease, FRESH).await, Err(released.clone()));
        assert_eq!(t.renew(&lease).await, Err(released));
        t.advance(DRAIN);
        assert_eq!(t.next().await, "a");
    }

    async fn the_longer_of_rest_and_drain_counts_for_an_abandoned_session(t) {
        t.pool(Policy { rest: Span::secs(90), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        assert_eq!(t.abandon(&lease, FRESH).await, Ok(true));
        assert_eq!(t.standing("a").await.rest_until, t.now() + Span::secs(90));
    }

    async fn a_lease_that_was_taken_up_again_is_not_abandoned(t) {
        t.pool_of(&["a", "b"]).await;
        // Renewed so that nothing but the count of renewals tells.
        let renewed = t.lend(want().ttl(Span::secs(100))).await;
        let expires_at = t.standing("a").await.lease.unwrap().expires_at;
        t.renew_for(&renewed, Span::secs(5)).await.unwrap();
        assert_eq!(t.abandon(&renewed, FRESH).await, Ok(false));
        let lease = t.standing("a").await.lease.unwrap();
        assert_eq!((lease.expires_at, lease.renewals), (expires_at, 1));
        assert_eq!(t.abandon(&renewed, lease.mark()).await, Ok(true));

        let asked = want().request("r");
        let repeated = t.lend(asked.clone()).await;
        t.acquire(asked.clone()).await.unwrap();
        assert_eq!(t.abandon(&repeated, FRESH).await, Ok(false));
        let grant = t.acquire(asked).await.unwrap();
        assert_eq!(lease_id(&pool_name("p"), &grant), repeated);
        assert_eq!(t.abandon(&repeated, grant.lease.mark()).await, Ok(true));
    }

    async fn nobody_abandons_another_keys_lease(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().by("bob")).await;
        let not_holder =
            Refusal::NotHolder { pool: pool_name("p"), session: lease.session.clone() };
        assert_eq!(t.abandon(&lease, FRESH).await, Err(not_holder));
        assert_eq!(t.state("a").await, SessionState::Leased);
        assert_eq!(t.abandon(&lease.of_pool("nowhere"), FRESH).await, Err(Refusal::LeaseNotFound));
    }
}
