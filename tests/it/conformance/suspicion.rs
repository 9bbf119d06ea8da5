//! Suspicion: a session that may be dead is lent to nobody but a probe, whose report decides.

use telegate::pool::{
    EndCause, Ended, Enqueued, Holder, InvalidReason, Invalidation, Patience, PoolState, Priority,
    Refusal, ReleaseOutcome, SessionState, Span, Suspicion, Ticket,
};

use super::{DRAIN, TICK, TTL};
use crate::harness::{
    stage::{ANN, Stage, Want, holder, key, name, pool_name, want, why},
    trouble::{error, flood, of_account, peer_flood, unknown_key, whole, wrong},
};

/// A probe of any session.
fn probe() -> Want {
    want().probing()
}

/// A pool of one session, which is suspect.
async fn suspected(t: &Stage) {
    t.pool_of(&["a"]).await;
    t.meets("a", &unknown_key()).await;
    assert_eq!(t.state("a").await, SessionState::Suspect);
}

law! {
    async fn a_session_that_may_be_dead_is_suspect_and_lent_to_nobody(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        let effect = t.report(&lease, &unknown_key()).await.unwrap();
        assert_eq!(effect.until, Some(t.now() + Span::secs(60)));
        assert_eq!((effect.state, effect.account), (SessionState::Leased, None));
        let suspicion = Suspicion {
            epoch: t.standing("a").await.epoch,
            rule: "D4".to_owned(),
            cause: "AUTH_KEY_UNREGISTERED".to_owned(),
            by: key(ANN),
            at: t.now(),
        };
        assert_eq!(t.standing("a").await.suspect, Some(suspicion));
        t.release(&lease).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Suspect);
        assert_eq!(t.get("a").await.unwrap().standing.state_until(t.now()), None);
        let counts = t.status().await.counts;
        assert_eq!((counts.suspect, counts.free), (1, 1));
        assert_eq!(t.all_that(&want()).await, ["b"]);
        let named = t.acquire(want().named("a")).await.unwrap_err();
        let counts = t.status().await.counts;
        assert_eq!(named, Refusal::PoolDepleted { pool: pool_name("p"), counts });
    }

    async fn a_pool_of_suspect_sessions_is_depleted(t) {
        suspected(t).await;
        let status = t.status().await;
        assert_eq!((status.state, status.next), (PoolState::Depleted, None));
        let refusal = t.acquire(want()).await.unwrap_err();
        let counts = status.counts;
        assert_eq!(refusal, Refusal::PoolDepleted { pool: pool_name("p"), counts });
    }

    async fn a_probe_gets_the_suspect_one_first_and_a_free_one_else(t) {
        t.pool_of(&["a", "b", "c"]).await;
        t.advance(TICK);
        t.meets("b", &unknown_key()).await;
        assert_eq!(t.explain(probe()).await, Ok(name("b")));
        assert_eq!(t.all_that(&probe()).await, ["b", "a", "c"]);
    }

    async fn a_probe_that_waits_gets_the_suspect_one_when_what_it_cooled_down_for_is_over(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &flood("messages.search", 500)).await;
        t.meets("a", &unknown_key()).await;
        let ask = probe().calling("messages.search").ask(|| t.fresh_secret());
        let (ticket, wait) = (Ticket(1), Span::hours(1));
        let patience = Patience { ticket, wait, priority: Priority::Normal };
        let waits = t.store.enqueue(&pool_name("p"), ask, patience).await;
        assert!(matches!(waits, Ok(Enqueued::Waiting(_))), "{waits:?}");
        t.advance(Span::secs(500));
        assert_eq!(t.state("a").await, SessionState::Suspect);
        // Whatever is done next in the pool hands it over; no timer is needed.
        t.acquire(want()).await.unwrap_err();
        assert_eq!(t.state("a").await, SessionState::Leased);
    }

    async fn probes_take_suspects_by_name_and_those_that_rested_by_the_end_of_their_rest(t) {
        t.pool_of(&["a", "b", "c", "d"]).await;
        for (session, rest) in [("d", 0), ("a", 20), ("c", 0), ("b", 10)] {
            let lease = t.lend(want().named(session)).await;
            t.report(&lease, &unknown_key()).await.unwrap();
            t.release_to_rest(&lease, Span::secs(rest)).await.unwrap();
        }
        t.advance(Span::secs(10));
        assert_eq!(t.all_that(&probe()).await, ["c", "d", "b"]);
        t.advance(Span::secs(9));
        assert!(t.acquire(probe()).await.is_err());
        t.advance(Span::secs(1));
        assert_eq!(t.all_that(&probe()).await, ["a"]);
    }

    async fn a_suspect_session_is_probed_after_its_cool_down_and_in_its_open_scopes(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.report(&lease, &whole(30)).await.unwrap();
        t.report(&lease, &flood("messages.search", 60)).await.unwrap();
        t.report(&lease, &unknown_key()).await.unwrap();
        t.release(&lease).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Suspect);
        let until = t.get("a").await.unwrap().standing.state_until(t.now());
        assert_eq!(until, Some(t.now() + Span::secs(30)));
        assert!(t.acquire(probe().named("a")).await.is_err());
        t.advance(Span::secs(30));
        assert!(t.acquire(probe().calling("messages.search")).await.is_err());
        assert!(t.acquire(probe().named("a").calling("messages.search")).await.is_err());
        assert_eq!(t.lend(probe().calling("messages.getHistory")).await.session, name("a"));
    }

    async fn the_first_sight_is_not_enough_however_often_one_lease_sees_it(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.report(&lease, &unknown_key()).await.unwrap();
        let before = t.standing("a").await;
        t.advance(TICK);
        t.report(&lease, &unknown_key()).await.unwrap();
        t.report(&lease, &error(401, "SOMETHING_NEW")).await.unwrap();
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_probe_that_sees_it_again_makes_the_session_invalid(t) {
        suspected(t).await;
        t.advance(Span::secs(60));
        let lease = t.lend(probe().by("bob")).await;
        let epoch = t.standing("a").await.epoch;
        let effect = t.report_as(&lease, "bob", &unknown_key()).await.unwrap();
        assert_eq!((effect.state, effect.breach), (SessionState::Invalid, None));
        let standing = t.standing("a").await;
        let why = Invalidation {
            reason: InvalidReason::KeyUnregistered,
            detail: "AUTH_KEY_UNREGISTERED".to_owned(),
            by: key("bob"),
            at: t.now(),
        };
        assert_eq!((standing.invalid, standing.rest_until.0), (Some(why), 0));
        let (secret, cause, at) = (lease.secret, EndCause::Surrendered, t.now());
        let (holder, detail) = (Some(key("bob")), String::new());
        let ended = Ended { secret, epoch, cause, at, holder, detail };
        assert_eq!((standing.lease, standing.ended), (None, Some(ended)));
        assert_eq!(t.release_as(&lease, "bob").await, Ok(ReleaseOutcome::AlreadyEnded));
    }

    async fn what_no_dead_key_is_answered_clears_a_probed_session(t) {
        t.pool_of(&["a"]).await;
        for met in [wrong(), error(403, "CHAT_WRITE_FORBIDDEN"), whole(2), peer_flood()] {
            t.meets("a", &unknown_key()).await;
            t.advance(Span::secs(60));
            let lease = t.lend(probe()).await;
            t.report(&lease, &met).await.unwrap();
            assert_eq!(t.standing("a").await.suspect, None, "{}", met.name);
            t.report(&lease, &unknown_key()).await.unwrap();
            assert!(t.standing("a").await.suspect.is_some(), "{}", met.name);
            t.release(&lease).await.unwrap();
            t.advance(Span::secs(2));
            t.restore("a").await.unwrap();
        }
    }

    async fn what_a_dead_key_is_answered_too_clears_nothing(t) {
        suspected(t).await;
        let before = t.standing("a").await.suspect;
        for (code, message) in [
            (500, "INTERDC_2_CALL_ERROR"),
            (303, "USER_MIGRATE_4"),
            (400, "PHONE_CODE_INVALID"),
            (400, "API_ID_INVALID"),
        ] {
            let lease = t.lend(probe()).await;
            let (_, effect) = t.release_over(&lease, &error(code, message)).await.unwrap();
            assert_eq!(effect.unwrap().until, None, "{message}");
            assert_eq!(t.state("a").await, SessionState::Suspect, "{message}");
        }
        assert_eq!(t.standing("a").await.suspect, before);
    }

    async fn the_lease_that_saw_it_cannot_clear_it(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.report(&lease, &unknown_key()).await.unwrap();
        t.report(&lease, &wrong()).await.unwrap();
        t.release(&lease).await.unwrap();
        t.report(&lease, &wrong()).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Suspect);
    }

    async fn a_probe_that_is_released_without_an_error_clears_the_session(t) {
        suspected(t).await;
        let lease = t.lend(probe()).await;
        assert_eq!(t.state("a").await, SessionState::Leased);
        t.release(&lease).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Ready);
        t.meets("a", &unknown_key()).await;
        let late = t.lend(probe()).await;
        t.report(&late, &unknown_key()).await.unwrap();
        assert_eq!(t.release(&late).await, Ok(ReleaseOutcome::AlreadyEnded));
        assert_eq!(t.state("a").await, SessionState::Invalid);
    }

    async fn a_probe_that_expires_or_is_undone_decides_nothing(t) {
        suspected(t).await;
        let undone = t.lend(probe()).await;
        assert!(t.undo(&undone, 1).await);
        assert_eq!(t.state("a").await, SessionState::Suspect);
        t.lend(probe()).await;
        t.advance(TTL);
        assert_eq!(t.state("a").await, SessionState::Suspect);
        let until = t.get("a").await.unwrap().standing.state_until(t.now());
        assert_eq!(until, Some(t.now() + DRAIN));
        assert!(t.acquire(probe()).await.is_err());
        t.advance(DRAIN);
        assert_eq!(t.lend(probe()).await.session, name("a"));
    }

    async fn the_report_of_a_probe_may_come_after_its_release(t) {
        t.pool_of(&["a", "b"]).await;
        for session in ["a", "b"] {
            t.meets(session, &unknown_key()).await;
        }
        let (a, b) = (t.lend(probe()).await, t.lend(probe()).await);
        t.advance(TTL);
        t.report(&a, &wrong()).await.unwrap();
        assert_eq!(t.standing("a").await.suspect, None);
        let effect = t.report(&b, &unknown_key()).await.unwrap();
        assert_eq!(effect.state, SessionState::Invalid);
        let ended = t.standing("b").await.ended.unwrap();
        assert_eq!((ended.secret, ended.cause), (b.secret, EndCause::Expired));
    }

    async fn two_leases_that_see_it_are_enough_in_any_order_of_their_reports(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want()).await;
        t.release(&first).await.unwrap();
        let second = t.lend(want()).await;
        t.report(&first, &unknown_key()).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Leased);
        t.report(&second, &unknown_key()).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Invalid);
    }

    async fn an_older_lease_cannot_confirm_what_a_younger_one_saw(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want()).await;
        t.release(&first).await.unwrap();
        let second = t.lend(want()).await;
        t.report(&second, &unknown_key()).await.unwrap();
        t.report(&first, &unknown_key()).await.unwrap();
        t.report(&first, &wrong()).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Leased);
        assert!(t.standing("a").await.suspect.is_some());
    }

    async fn a_suspect_session_is_cleared_by_restore_and_only_while_nobody_holds_it(t) {
        suspected(t).await;
        let lease = t.lend(probe()).await;
        let refused = t.restore("a").await.unwrap_err();
        let leased = SessionState::Leased;
        assert!(matches!(&refused, Refusal::InappropriateState { state, .. } if *state == leased));
        assert!(t.undo(&lease, 1).await);
        let view = t.restore("a").await.unwrap();
        assert_eq!(view.standing.state(view.at), SessionState::Ready);
        assert_eq!((view.standing.suspect, t.next().await), (None, "a".to_owned()));
    }

    async fn an_invalid_session_is_restored_without_its_suspicion(t) {
        suspected(t).await;
        t.invalidate("a", why("op", "out")).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Invalid);
        assert!(t.acquire(probe()).await.is_err());
        let view = t.restore("a").await.unwrap();
        assert_eq!(view.standing.state(view.at), SessionState::Ready);
        assert_eq!(view.standing.suspect, None);
        let lease = t.lend(want()).await;
        t.invalidate("a", why("op", "out")).await.unwrap();
        t.report(&lease, &unknown_key()).await.unwrap();
        assert_eq!(t.standing("a").await.suspect, None);
    }

    async fn a_suspect_session_can_be_removed_unless_somebody_may_be_connected(t) {
        suspected(t).await;
        t.lend(probe()).await;
        t.advance(TTL);
        assert!(t.remove("a").await.is_err());
        t.advance(DRAIN);
        t.remove("a").await.unwrap();
    }

    async fn suspicion_survives_a_restart(t) {
        suspected(t).await;
        let before = t.standing("a").await;
        t.reopen().await;
        assert_eq!(t.standing("a").await, before);
        assert!(t.acquire(want()).await.is_err());
        let lease = t.lend(probe()).await;
        t.reopen().await;
        t.report(&lease, &unknown_key()).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Invalid);
    }

    async fn a_dead_session_is_invalid_at_once_and_only_it(t) {
        t.pool(telegate::pool::Policy::default()).await;
        for (session, account) in [("a", 7), ("b", 7)] {
            t.add(of_account(session, account)).await.unwrap();
        }
        let lease = t.lend(want()).await;
        let effect = t.report(&lease, &error(401, "SESSION_REVOKED")).await.unwrap();
        assert_eq!((effect.state, effect.until), (SessionState::Invalid, None));
        let why = Invalidation {
            reason: InvalidReason::Revoked,
            detail: "SESSION_REVOKED".to_owned(),
            by: key(ANN),
            at: t.now(),
        };
        let standing = t.standing("a").await;
        assert_eq!((standing.invalid.as_ref(), standing.rest_until.0), (Some(&why), 0));
        assert_eq!(standing.ended.as_ref().map(|ended| ended.cause), Some(EndCause::Surrendered));
        t.advance(TICK);
        let effect = t.report(&lease, &error(401, "SESSION_EXPIRED")).await.unwrap();
        assert_eq!(effect.state, SessionState::Invalid);
        assert_eq!(t.standing("a").await, standing);
        assert_eq!(t.next().await, "b");
    }

    async fn a_dead_account_takes_all_its_sessions_out_and_running_leases_with_them(t) {
        t.pool(telegate::pool::Policy::default()).await;
        for (session, account) in [("a", 7), ("b", 7), ("c", 7), ("d", 8)] {
            t.add(of_account(session, account)).await.unwrap();
        }
        t.invalidate("c", why("op", "before")).await.unwrap();
        let (a, b) = (t.lend(want()).await, t.lend(want()).await);
        let effect = t.report(&a, &error(401, "USER_DEACTIVATED_BAN")).await.unwrap();
        assert_eq!((effect.account, effect.state), (Some(7), SessionState::Invalid));
        let other = t.standing("b").await;
        assert_eq!(other.invalid, t.standing("a").await.invalid);
        assert_eq!(other.invalid.unwrap().reason, InvalidReason::Banned);
        assert_eq!(other.rest_until, t.now() + DRAIN);
        assert_eq!(other.ended.unwrap().cause, EndCause::Invalidated);
        assert_eq!(t.standing("c").await.invalid.unwrap().detail, "before");
        assert!(matches!(t.renew(&b).await, Err(Refusal::LeaseLost { .. })));
        assert_eq!(t.all_that(&want()).await, ["d"]);
        assert_eq!(t.afflict(7, &error(401, "USER_DEACTIVATED")).await, Ok(0));
        assert_eq!(t.afflict(8, &error(401, "USER_DEACTIVATED")).await, Ok(1));
        let why = t.standing("d").await.invalid.unwrap();
        assert_eq!((why.reason, why.by), (InvalidReason::Deactivated, key(ANN)));
    }

    async fn a_late_report_of_death_ends_the_lease_that_runs_now(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want()).await;
        t.release(&first).await.unwrap();
        let second = t.lend(want()).await;
        t.report(&first, &error(401, "SESSION_REVOKED")).await.unwrap();
        let standing = t.standing("a").await;
        assert_eq!(standing.rest_until, t.now() + DRAIN);
        let ended = standing.ended.unwrap();
        assert_eq!((ended.secret, ended.cause), (second.secret, EndCause::Invalidated));
    }

    async fn a_session_used_twice_at_once_tells_who_holds_it_and_who_held_it_last(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want().by("bob")).await;
        t.release_as(&first, "bob").await.unwrap();
        let second = t.lend(want()).await;
        let duplicated = error(406, "AUTH_KEY_DUPLICATED");
        let effect = t.report(&second, &duplicated).await.unwrap();
        let held = Holder { key: key("bob"), purpose: String::new() };
        assert_eq!(effect.breach, Some(vec![holder(ANN), held]));
        assert_eq!(effect.state, SessionState::Invalid);
        let reason = t.standing("a").await.invalid.unwrap().reason;
        assert_eq!(reason, InvalidReason::KeyDuplicated);
        let again = t.report(&second, &duplicated).await.unwrap();
        let held = Holder { key: key(ANN), purpose: String::new() };
        assert_eq!(again.breach, Some(vec![held]));
    }

    async fn a_session_used_twice_at_once_in_its_first_lease_tells_its_holder(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let effect = t.report(&lease, &error(406, "AUTH_KEY_DUPLICATED")).await.unwrap();
        assert_eq!(effect.breach, Some(vec![holder(ANN)]));
    }
}
