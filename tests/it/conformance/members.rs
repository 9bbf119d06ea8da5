//! The sessions of a pool: added, read, listed, removed, added again.

use telegate::pool::{
    Credential, Fingerprint, NewSession, Policy, Refusal, SessionState, SessionView, Span, Standing,
};

use super::{DRAIN, TICK, TTL, no_pool};
use crate::harness::{
    mandate,
    stage::{ANN, LeaseIdExt as _, Stage, labelled, lawful, name, pool_name, session, want, why},
};

/// The states in which a session may be removed, as the refusal tells them.
const REMOVABLE: &[SessionState] =
    &[SessionState::Ready, SessionState::FloodWait, SessionState::Suspect, SessionState::Invalid];

/// A page of the names of the case's pool.
async fn page(t: &Stage, after: Option<&str>, most: usize) -> Vec<String> {
    let after = after.map(name);
    let page = lawful(t.store.list_sessions(&pool_name("p"), after.as_ref(), most).await);
    page.unwrap().iter().map(|view| view.record.name.to_string()).collect()
}

fn not_removable(session: &str, state: SessionState) -> Result<(), Refusal> {
    let (pool, session) = (pool_name("p"), name(session));
    Err(Refusal::InappropriateState { pool, session, state, wanted: REMOVABLE })
}

law! {
    async fn an_added_session_is_free_at_once_and_as_it_was_given(t) {
        t.pool(Policy::default()).await;
        t.advance(Span::secs(2));
        let new = NewSession {
            account_id: Some(i64::MAX),
            proxy: Some(Credential(Vec::new())),
            device: Some(Credential(b"{\"lang\":\"de\"}".to_vec())),
            credential: Credential((0..=255).rev().collect()),
            ..labelled("+49151.x_y@z-1", &[("a/b.c_d-e", "A/b.c_d-e@f+g:h"), ("e", "")])
        };
        let view = t.add(new.clone()).await.unwrap();
        let (record, standing) = (new.into_record(t.now()), Standing::default());
        assert_eq!(view, SessionView { record, standing, at: t.now() });
        assert_eq!(t.get("+49151.x_y@z-1").await.unwrap(), view);
        assert_eq!(t.next().await, "+49151.x_y@z-1");
    }

    async fn the_smallest_session_survives_the_store(t) {
        t.pool(Policy::default()).await;
        let new = NewSession { credential: Credential(Vec::new()), ..session("a") };
        let view = t.add(new.clone()).await.unwrap();
        assert_eq!(view.record, new.into_record(t.now()));
        assert_eq!(t.acquire(want()).await.unwrap().record, view.record);
    }

    async fn a_large_credential_survives_the_store(t) {
        t.pool(Policy::default()).await;
        let bytes: Vec<u8> = (0..65_536_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
        t.add(NewSession { credential: Credential(bytes.clone()), ..session("a") }).await.unwrap();
        assert_eq!(t.acquire(want()).await.unwrap().record.credential, Credential(bytes));
    }

    async fn a_credential_with_zeros_in_it_can_be_removed_and_added_again(t) {
        t.pool(Policy::default()).await;
        let zeros = || NewSession { credential: Credential(vec![0; 256]), ..session("a") };
        for _ in 0..2 {
            t.add(zeros()).await.unwrap();
            assert!(matches!(t.add(zeros()).await, Err(Refusal::SessionExists { .. })));
            t.remove("a").await.unwrap();
        }
    }

    async fn a_name_is_taken_once_per_pool(t) {
        t.pool_of(&["a"]).await;
        let other = NewSession { fingerprint: Fingerprint::new("other"), ..session("a") };
        let exists = Refusal::SessionExists { pool: pool_name("p"), session: name("a") };
        assert_eq!(t.add(other.clone()).await, Err(exists.clone()));
        // The name is looked at before the credential.
        assert_eq!(t.add(session("a")).await, Err(exists));
        t.pool_named("q", Policy::default()).await.unwrap();
        lawful(t.store.add(&pool_name("q"), other).await).unwrap();
    }

    async fn a_credential_is_taken_once_in_the_whole_store(t) {
        t.pool_of(&["a"]).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        let twin = NewSession { fingerprint: session("a").fingerprint, ..session("b") };
        let exists = Refusal::CredentialExists {
            pool: pool_name("p"),
            session: name("a"),
            fingerprint: twin.fingerprint.clone(),
        };
        assert_eq!(t.add(twin.clone()).await, Err(exists.clone()));
        for pool in ["p", "q"] {
            let answer = lawful(t.store.add(&pool_name(pool), twin.clone()).await);
            assert_eq!(answer, Err(exists.clone()), "{pool}");
        }
        assert!(t.get("b").await.is_err());
        assert_eq!(t.status().await.counts.total, 1);
    }

    async fn a_refused_credential_leaves_no_trace(t) {
        t.pool_of(&["a"]).await;
        let twin = NewSession { fingerprint: session("a").fingerprint, ..session("b") };
        t.add(twin).await.unwrap_err();
        t.remove("a").await.unwrap();
        t.sessions(&["a", "b"]).await;
    }

    async fn nothing_is_done_in_a_pool_that_is_not_there(t) {
        t.pool_of(&["a"]).await;
        let (pool, a) = (pool_name("nowhere"), name("a"));
        assert_eq!(lawful(t.store.add(&pool, session("a")).await), Err(no_pool("nowhere")));
        assert_eq!(lawful(t.store.remove(&pool, &a, &mandate()).await), Err(no_pool("nowhere")));
        assert_eq!(lawful(t.store.get_session(&pool, &a).await), Err(no_pool("nowhere")));
        let list = t.store.list_sessions(&pool, None, 10).await;
        assert_eq!(lawful(list), Err(no_pool("nowhere")));
        assert_eq!(lawful(t.store.status(&pool).await), Err(no_pool("nowhere")));
    }

    async fn a_session_that_is_not_there_is_not_found(t) {
        t.pool_of(&["a"]).await;
        let no_session =
            Refusal::SessionNotFound { pool: pool_name("p"), session: name("b") };
        assert_eq!(t.get("b").await, Err(no_session.clone()));
        assert_eq!(t.remove("b").await, Err(no_session));
    }

    async fn a_free_and_an_invalid_session_can_be_removed(t) {
        t.pool_of(&["a", "b", "c"]).await;
        t.invalidate("b", why("op", "")).await.unwrap();
        assert_eq!(t.remove("a").await, Ok(()));
        assert_eq!(t.remove("b").await, Ok(()));
        assert!(matches!(t.get("a").await, Err(Refusal::SessionNotFound { .. })));
        assert_eq!(t.status().await.counts.total, 1);
        assert_eq!(t.all_that(&want()).await, ["c"]);
    }

    async fn a_leased_session_cannot_be_removed(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Leased));
        t.advance(Span(TTL.0 - 1));
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Leased));
        t.renew(&lease).await.unwrap();
    }

    async fn a_draining_session_cannot_be_removed(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        t.advance(TTL);
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Resting));
        t.advance(Span(DRAIN.0 - 1));
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Resting));
        t.advance(TICK);
        assert_eq!(t.remove("a").await, Ok(()));
    }

    async fn a_resting_session_cannot_be_removed(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release_to_rest(&lease, Span::secs(5)).await.unwrap();
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Resting));
        t.advance(Span::secs(5));
        assert_eq!(t.remove("a").await, Ok(()));
    }

    async fn an_invalid_session_whose_holder_may_still_be_connected_cannot_be_removed(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Resting));
        t.advance(Span(DRAIN.0 - 1));
        assert_eq!(t.remove("a").await, not_removable("a", SessionState::Resting));
        t.advance(TICK);
        assert_eq!(t.remove("a").await, Ok(()));
    }

    async fn a_session_that_its_holder_took_out_can_be_removed_at_once(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.surrender(&lease, why(ANN, "")).await.unwrap();
        assert_eq!(t.remove("a").await, Ok(()));
    }

    async fn a_removed_session_can_be_added_again_as_new(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        let epoch = t.standing("a").await.epoch;
        t.release(&lease).await.unwrap();
        t.advance(TICK);
        t.remove("a").await.unwrap();
        let view = t.add(labelled("a", &[("new", "yes")])).await.unwrap();
        assert_eq!(view.record.created_at, t.now());
        assert_eq!(view.standing, Standing { epoch, ..Standing::default() });
        assert_eq!(t.all_that(&want()).await, ["a", "b"]);
    }

    async fn the_credential_of_a_removed_session_can_be_added_elsewhere(t) {
        t.pool_of(&["a"]).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        t.remove("a").await.unwrap();
        let moved = NewSession { fingerprint: session("a").fingerprint, ..session("moved") };
        lawful(t.store.add(&pool_name("q"), moved).await).unwrap();
        let exists = t.add(session("a")).await.unwrap_err();
        assert!(matches!(exists, Refusal::CredentialExists { .. }), "{exists}");
    }

    async fn epochs_go_on_rising_when_a_session_was_removed_and_added_again(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await.epoch;
        t.release(&lease).await.unwrap();
        // All in the same millisecond.
        t.remove("a").await.unwrap();
        t.sessions(&["a"]).await;
        t.lend(want()).await;
        assert_eq!(t.standing("a").await.epoch, before + 1);
    }

    async fn a_lease_of_a_removed_session_is_not_known(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().request("r1")).await;
        t.release(&lease).await.unwrap();
        t.remove("a").await.unwrap();
        assert_eq!(t.renew(&lease).await, Err(Refusal::LeaseNotFound));
        assert_eq!(t.release(&lease).await, Err(Refusal::LeaseNotFound));
        assert_eq!(t.surrender(&lease, why(ANN, "")).await, Err(Refusal::LeaseNotFound));
        assert!(!t.undo(&lease, 1).await);
        t.sessions(&["a"]).await;
        assert_eq!(t.renew(&lease.of_session("a")).await, Err(Refusal::LeaseNotFound));
        assert!(!t.acquire(want().request("r1")).await.unwrap().replayed);
    }

    async fn a_pool_whose_last_session_was_removed_is_empty(t) {
        t.pool_of(&["a"]).await;
        t.remove("a").await.unwrap();
        let empty = Refusal::PoolEmpty { pool: pool_name("p") };
        assert_eq!(t.acquire(want()).await, Err(empty));
    }

    async fn sessions_are_listed_by_name_in_pages(t) {
        t.pool_of(&["c", "a", "b", "B", "+1", "a.1"]).await;
        let by_name = ["+1", "B", "a", "a.1", "b", "c"];
        assert_eq!(page(t, None, 10).await, by_name);
        assert_eq!(page(t, None, 6).await, by_name);
        assert_eq!(page(t, None, 2).await, by_name[..2]);
        assert_eq!(page(t, Some("B"), 2).await, by_name[2..4]);
        assert_eq!(page(t, Some("a.1"), 2).await, by_name[4..]);
        assert_eq!(page(t, Some("c"), 2).await, [""; 0]);
        assert_eq!(page(t, None, 0).await, [""; 0]);
        // The name to go on from need not be there any more.
        assert_eq!(page(t, Some("a.0"), 1).await, ["a.1"]);
        t.remove("a.1").await.unwrap();
        assert_eq!(page(t, Some("a.1"), 10).await, ["b", "c"]);
    }

    async fn a_list_tells_every_session_as_it_is(t) {
        t.pool_of(&["a", "b", "c", "d"]).await;
        t.lend(want().named("a")).await;
        let rests = t.lend(want().named("b")).await;
        t.release_to_rest(&rests, Span::secs(5)).await.unwrap();
        t.invalidate("c", why("op", "")).await.unwrap();
        t.advance(TICK);
        let listed = lawful(t.store.list_sessions(&pool_name("p"), None, 9).await).unwrap();
        let states: Vec<_> = listed.iter().map(|view| view.standing.state(view.at)).collect();
        let expected = [
            SessionState::Leased,
            SessionState::Resting,
            SessionState::Invalid,
            SessionState::Ready,
        ];
        assert_eq!(states, expected);
        for view in listed {
            assert_eq!(t.get(view.record.name.as_str()).await, Ok(view));
        }
    }
}
