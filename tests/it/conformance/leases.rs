//! The running leases of a pool, as operators see them and end them.

use telegate::pool::{
    EndCause, LeaseId, LeaseMark, Lent, Policy, REVOKE_STEP, Refusal, ReleaseOutcome, Revocation,
    Revoked, Selector, SessionState, Span, Target,
};

use super::{DRAIN, TICK, TTL, lost, no_pool};
use crate::harness::stage::{
    ANN, Answer, LeaseIdExt as _, Stage, key, labelled, lawful, name, pool_name, want, why,
};

/// A page of the sessions that are leased in the case's pool.
async fn page(t: &Stage, after: Option<&LeaseMark>, most: usize) -> Vec<Lent> {
    lawful(t.store.list_leases(&pool_name("p"), after, most).await).unwrap()
}

fn sessions(leases: &[Lent]) -> Vec<&str> {
    leases.iter().map(|lent| lent.session.as_str()).collect()
}

async fn revoke(t: &Stage, target: Target, detail: &str) -> Answer<Revoked> {
    let which = Revocation { target, detail: detail.to_owned(), by: key("op"), from: None };
    lawful(t.store.revoke_leases(&pool_name("p"), &which).await)
}

/// What the holder of a lease is told that was revoked now.
async fn revoked_for(lease: &LeaseId, t: &Stage, detail: &str) -> Refusal {
    let epoch = t.standing(lease.session.as_str()).await.epoch;
    let (pool, session) = (lease.pool.clone(), lease.session.clone());
    let (cause, at, detail) = (EndCause::Revoked, t.now(), detail.to_owned());
    Refusal::LeaseLost { pool, session, cause, epoch, at, detail }
}

law! {
    async fn running_leases_are_listed_as_they_expire_in_pages(t) {
        t.pool_of(&["a", "b", "B", "c", "d"]).await;
        t.lend(want().named("b")).await;
        for name in ["B", "a", "c"] {
            t.lend(want().named(name).ttl(Span::secs(30))).await;
        }
        let all = page(t, None, 9).await;
        assert_eq!(sessions(&all), ["B", "a", "c", "b"]);
        for lent in &all {
            let standing = t.standing(lent.session.as_str()).await;
            assert_eq!(standing.lease.as_ref(), Some(&lent.lease));
        }
        assert_eq!(page(t, None, 2).await, all[..2]);
        assert_eq!(page(t, Some(&all[1].mark()), 2).await, all[2..]);
        assert_eq!(page(t, Some(&all[2].mark()), 1).await, all[3..]);
        assert_eq!(page(t, Some(&all[3].mark()), 1).await, []);
        assert_eq!(page(t, None, 0).await, []);
        // The lease to go on from need not be there any more.
        let gone = LeaseMark { session: name("b.1"), ..all[0].mark() };
        assert_eq!(page(t, Some(&gone), 9).await, all[2..]);
    }

    async fn only_running_leases_are_listed(t) {
        t.pool_of(&["a", "b", "c"]).await;
        t.lend(want().named("a").ttl(Span::secs(30))).await;
        t.lend(want().named("b")).await;
        let released = t.lend(want().named("c")).await;
        t.release(&released).await.unwrap();
        assert_eq!(sessions(&page(t, None, 9).await), ["a", "b"]);
        t.advance(Span::secs(30));
        assert_eq!(sessions(&page(t, None, 9).await), ["b"]);
        t.advance(Span(TTL.0 - 30_000));
        assert_eq!(page(t, None, 9).await, []);
    }

    async fn a_renewed_lease_moves_on_in_the_list(t) {
        t.pool_of(&["a", "b"]).await;
        let first = t.lend(want().named("a")).await;
        t.lend(want().named("b")).await;
        t.advance(TICK);
        t.renew(&first).await.unwrap();
        assert_eq!(sessions(&page(t, None, 9).await), ["b", "a"]);
    }

    async fn many_leases_are_listed_in_pages_of_any_size(t) {
        t.pool_of(&[]).await;
        let names: Vec<_> = (0..300).map(|number| format!("s{number:03}")).collect();
        let all: Vec<_> = names.iter().map(String::as_str).collect();
        t.sessions(&all).await;
        // All end at once, so that only the names tell them apart.
        t.all_that(&want()).await;
        assert_eq!(sessions(&page(t, None, 1000).await), all);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let some = page(t, after.as_ref(), 97).await;
            let Some(last) = some.last() else { break };
            after = Some(last.mark());
            seen.extend(some);
        }
        assert_eq!(sessions(&seen), all);
    }

    async fn the_leases_of_a_pool_that_is_not_there_are_not_listed(t) {
        let none = t.store.list_leases(&pool_name("p"), None, 9).await;
        assert_eq!(lawful(none), Err(no_pool("p")));
    }

    async fn a_revoked_lease_is_over_and_its_session_drains(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        let granted = t.standing("a").await.lease.unwrap();
        t.advance(TICK);
        let revoked = revoke(t, Target::Session(name("a")), "moving").await.unwrap();
        let ended = vec![Lent { session: name("a"), lease: granted }];
        assert_eq!(revoked, Revoked { ended, next: None });
        let told = revoked_for(&lease, t, "moving").await;
        assert_eq!(t.renew(&lease).await, Err(told.clone()));
        assert_eq!(t.release(&lease).await, Err(told.clone()));
        assert_eq!(t.surrender(&lease, why(ANN, "")).await, Err(told.clone()));
        assert!(!t.undo(&lease, 1).await);
        assert_eq!(t.state("a").await, SessionState::Resting);
        t.advance(Span(DRAIN.0 - 1));
        assert_eq!(t.all_that(&want()).await, ["b"]);
        t.advance(TICK);
        assert_eq!(t.next().await, "a");
        t.reopen().await;
        assert_eq!(t.renew(&lease).await, Err(told));
    }

    async fn a_revocation_without_words_is_told_without(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        revoke(t, Target::Session(name("a")), "").await.unwrap();
        assert_eq!(t.renew(&lease).await, Err(revoked_for(&lease, t, "").await));
    }

    async fn revoking_what_is_not_leased_does_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        t.release(&lease).await.unwrap();
        let nothing = Revoked { ended: vec![], next: None };
        for target in [
            Target::Session(name("a")),
            Target::Lease(lease.clone()),
            Target::Lease(lease.of_session("nobody")),
            Target::Key(key("nobody")),
            Target::Selector(Selector::parse("c=1").unwrap()),
        ] {
            assert_eq!(revoke(t, target, "").await.as_ref(), Ok(&nothing));
        }
        assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::AlreadyEnded));
        let none = Refusal::SessionNotFound { pool: pool_name("p"), session: name("c") };
        assert_eq!(revoke(t, Target::Session(name("c")), "").await, Err(none));
    }

    async fn a_lease_that_has_expired_cannot_be_revoked_any_more(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.standing("a").await.epoch;
        t.advance(TTL);
        let expiry = t.now();
        for target in [Target::Session(name("a")), Target::Key(key(ANN))] {
            assert_eq!(revoke(t, target, "").await.unwrap().ended, []);
        }
        assert_eq!(t.renew(&lease).await, Err(lost(&lease, EndCause::Expired, epoch, expiry)));
    }

    async fn one_lease_is_revoked_by_its_id_and_no_other(t) {
        t.pool_of(&["a"]).await;
        let old = t.lend(want()).await;
        t.release(&old).await.unwrap();
        let new = t.lend(want()).await;
        assert_eq!(revoke(t, Target::Lease(old), "").await.unwrap().ended, []);
        t.renew(&new).await.unwrap();
        assert_eq!(revoke(t, Target::Lease(new), "").await.unwrap().ended.len(), 1);
        assert_eq!(t.state("a").await, SessionState::Resting);
    }

    async fn the_leases_of_a_key_are_revoked_and_no_other(t) {
        t.pool_of(&["a", "b", "c"]).await;
        let ann = t.lend(want().named("a")).await;
        let bob = t.lend(want().named("b").by("bob")).await;
        t.lend(want().named("c")).await;
        let revoked = revoke(t, Target::Key(key(ANN)), "left").await.unwrap();
        assert_eq!(sessions(&revoked.ended), ["a", "c"]);
        t.renew_as(&bob, "bob").await.unwrap();
        assert_eq!(t.renew(&ann).await, Err(revoked_for(&ann, t, "left").await));
    }

    async fn the_leases_that_a_selector_matches_are_revoked_and_no_other(t) {
        t.pool(Policy::default()).await;
        for (session, country) in [("a", "de"), ("b", "fr"), ("c", "de")] {
            t.add(labelled(session, &[("country", country)])).await.unwrap();
        }
        t.all_that(&want()).await;
        let german = Target::Selector(Selector::parse("country=de").unwrap());
        assert_eq!(sessions(&revoke(t, german, "").await.unwrap().ended), ["a", "c"]);
        let all = Target::Selector(Selector::default());
        assert_eq!(sessions(&revoke(t, all, "").await.unwrap().ended), ["b"]);
    }

    async fn many_leases_are_revoked_in_steps_and_those_granted_meanwhile_spared(t) {
        t.pool(Policy { drain: Span::ZERO, ..Policy::default() }).await;
        let names: Vec<_> = (0..REVOKE_STEP + 44).map(|n| format!("s{n:03}")).collect();
        t.sessions(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
        t.all_that(&want()).await;
        let target = Target::Key(key(ANN));
        let first = revoke(t, target.clone(), "").await.unwrap();
        assert_eq!(first.ended.len(), REVOKE_STEP);
        let from = first.next.unwrap();
        assert_eq!((from.since, &from.after), (t.now(), &first.ended[REVOKE_STEP - 1].mark()));
        t.advance(TICK);
        assert_eq!(t.all_that(&want()).await.len(), REVOKE_STEP);
        let which = Revocation { target, detail: String::new(), by: key("op"), from: Some(from) };
        let then = lawful(t.store.revoke_leases(&pool_name("p"), &which).await).unwrap();
        assert_eq!(then.ended.len(), 44);
        let from = then.next.unwrap();
        let which = Revocation { from: Some(from), ..which };
        let last = lawful(t.store.revoke_leases(&pool_name("p"), &which).await).unwrap();
        assert_eq!(last, Revoked { ended: vec![], next: None });
        assert_eq!(t.status().await.counts.leased, u32::try_from(REVOKE_STEP).unwrap());
    }

    async fn the_leases_of_a_pool_that_is_not_there_cannot_be_revoked(t) {
        assert_eq!(revoke(t, Target::Session(name("a")), "").await, Err(no_pool("p")));
    }
}
