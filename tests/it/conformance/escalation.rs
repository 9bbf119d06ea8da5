//! Escalation: when many small cool-downs become one of the whole session, or of a method in the
//! pool.

use telegate::pool::{
    CoolDown, Effect, Enqueued, Escalation, Escalations, NextRelease, Patience, Policy, PoolMode,
    Priority, Queue, Refusal, ReleaseCause, SessionState, Span, Ticket, verdict::Scope,
};

use super::{TICK, sum};
use crate::harness::{
    stage::{POOL, Stage, lawful, name, pool_name, want},
    trouble::{at, cool_down, error, flood, method, of_account, peer_flood, premium, slow_mode},
};

/// A method that floods.
const SEARCH: &str = "messages.search";

/// A policy whose every number is another, so that none is taken for another.
fn strict() -> Escalations {
    Escalations {
        disabled: false,
        session_methods: 3,
        session_window: Span::secs(100),
        session_wait: Span::secs(1_000),
        session_rest: Span::secs(200),
        method_sessions: 2,
        method_window: Span::secs(150),
        method_wait: Span::secs(500),
        method_brake: Span::secs(600),
    }
}

async fn pool_of(t: &Stage, escalation: Escalations, names: &[&str]) {
    t.pool(Policy { escalation, ..Policy::default() }).await;
    t.sessions(names).await;
}

async fn brakes(t: &Stage) -> Vec<CoolDown> {
    lawful(t.store.get_pool(&pool_name("p")).await).unwrap().brakes
}

fn fired(effect: &Effect) -> Vec<&'static str> {
    effect.escalations.iter().map(|escalation| escalation.id()).collect()
}

law! {
    async fn floods_on_several_methods_rest_the_whole_session(t) {
        pool_of(t, strict(), &["a"]).await;
        let lease = t.lend(want()).await;
        for (method, secs) in [("messages.search", 90), ("messages.getHistory", 30)] {
            assert_eq!(fired(&t.report(&lease, &flood(method, secs)).await.unwrap()), [""; 0]);
        }
        let effect = t.report(&lease, &flood("channels.getFullChannel", 20)).await.unwrap();
        assert_eq!(fired(&effect), ["E1"]);
        // The report's own end is told; the session rests until the last of its methods is free.
        assert_eq!(effect.until, Some(t.now() + Span::secs(20)));
        let standing = t.standing("a").await;
        let rest = cool_down(Scope::Session, t.now() + Span::secs(90), "E1", "FLOOD_WAIT");
        assert_eq!(standing.cool_downs.last(), Some(&rest));
        assert_eq!((standing.cool_downs.len(), standing.floods.len()), (4, 0));
    }

    async fn such_a_rest_is_bounded(t) {
        pool_of(t, strict(), &["a"]).await;
        let lease = t.lend(want()).await;
        for method in ["one", "two", "three"] {
            t.report(&lease, &flood(method, 300)).await.unwrap();
        }
        assert_eq!(t.standing("a").await.whole(), t.now() + Span::secs(200));
    }

    async fn only_distinct_methods_within_the_window_count(t) {
        pool_of(t, strict(), &["a"]).await;
        let lease = t.lend(want().ttl(Span::hours(1))).await;
        for spelled in ["messages.search", "Search", "SearchRequest"] {
            assert_eq!(fired(&t.report(&lease, &flood(spelled, 5)).await.unwrap()), [""; 0]);
        }
        t.report(&lease, &flood("two", 5)).await.unwrap();
        t.advance(window());
        // Those of the beginning of the window count, and those before it do not.
        t.advance(TICK);
        t.report(&lease, &flood("two", 5)).await.unwrap();
        assert_eq!(fired(&t.report(&lease, &flood("three", 5)).await.unwrap()), [""; 0]);
        t.advance(window());
        assert_eq!(fired(&t.report(&lease, &flood("four", 5)).await.unwrap()), ["E1"]);
        assert_eq!(t.standing("a").await.floods, []);
    }

    async fn what_is_no_flood_on_a_method_counts_nowhere(t) {
        pool_of(t, strict(), &["a"]).await;
        let lease = t.lend(want()).await;
        for met in [flood("one", 5), flood("two", 5), premium(5), slow_mode("chat", 5)] {
            assert_eq!(fired(&t.report(&lease, &met).await.unwrap()), [""; 0]);
        }
        assert_eq!(fired(&t.report(&lease, &error(400, "PEER_FLOOD")).await.unwrap()), [""; 0]);
        assert_eq!(t.standing("a").await.floods.len(), 2);
        assert_eq!(fired(&t.report(&lease, &premium(9_999)).await.unwrap()), [""; 0]);
    }

    async fn floods_count_from_when_they_happened(t) {
        pool_of(t, strict(), &["a"]).await;
        let lease = t.lend(want().ttl(Span::hours(1))).await;
        let happened = t.now();
        t.advance(window());
        t.report(&lease, &at(flood("one", 5), happened)).await.unwrap();
        t.report(&lease, &at(flood("two", 5), happened - TICK)).await.unwrap();
        assert_eq!(t.standing("a").await.floods, [("one".to_owned(), happened)]);
        t.report(&lease, &flood("two", 5)).await.unwrap();
        // A late report of an earlier flood takes nothing away from a later one.
        t.report(&lease, &at(flood("two", 5), happened)).await.unwrap();
        let floods = [("one".to_owned(), happened), ("two".to_owned(), t.now())];
        assert_eq!(t.standing("a").await.floods, floods);
        // It escalates although it is itself over; what is not over then is what counts.
        let effect = t.report(&lease, &at(flood("three", 5), happened)).await.unwrap();
        assert_eq!((fired(&effect), effect.until), (vec!["E1"], Some(happened + Span::secs(5))));
        assert_eq!(t.standing("a").await.whole(), t.now() + Span::secs(5));
    }

    async fn one_very_long_wait_rests_the_whole_session(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        assert_eq!(fired(&t.meets("a", &flood(SEARCH, 999)).await), [""; 0]);
        assert_eq!(t.state("a").await, SessionState::Ready);
        let effect = t.meets("b", &flood("one", 1_000)).await;
        assert_eq!(fired(&effect), ["E2"]);
        let rest = cool_down(Scope::Session, t.now() + Span::secs(200), "E2", "FLOOD_WAIT");
        assert_eq!(t.standing("b").await.cool_downs.last(), Some(&rest));
        // Of one that happened long ago only what is left.
        let late = at(flood("two", 1_000), t.now() - Span::secs(900));
        assert_eq!(fired(&t.meets("c", &late).await), ["E2"]);
        assert_eq!(t.standing("c").await.whole(), t.now() + Span::secs(100));
    }

    async fn an_escalation_never_shortens_and_is_told_all_the_same(t) {
        pool_of(t, strict(), &["a"]).await;
        let lease = t.lend(want()).await;
        let until = t.now() + Span::secs(500);
        t.report(&lease, &flood("", 500)).await.unwrap();
        assert_eq!(fired(&t.report(&lease, &flood("one", 1_000)).await.unwrap()), ["E2"]);
        let whole = cool_down(Scope::Session, until, "W1", "FLOOD_WAIT");
        assert_eq!(t.standing("a").await.cool_downs.last(), Some(&whole));
    }

    async fn floods_of_several_sessions_on_one_method_brake_it_in_the_pool(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        assert_eq!(fired(&t.meets("a", &flood(SEARCH, 500)).await), [""; 0]);
        t.advance(TICK);
        let effect = t.meets("b", &flood("SearchRequest", 700)).await;
        assert_eq!(fired(&effect), ["E3"]);
        let brake_end = t.now() + Span::secs(600);
        let brake = cool_down(method("SearchRequest"), brake_end, "E3", "FLOOD_WAIT");
        assert_eq!(brakes(t).await, [brake]);
        let refusal = t.acquire(want().calling(SEARCH)).await.unwrap_err();
        let (pool, counts) = (pool_name("p"), t.status().await.counts);
        let next = NextRelease { after: Span::secs(600), cause: ReleaseCause::CoolDown };
        assert_eq!(refusal, Refusal::PoolFloodWait { pool, counts, next, queue: Queue::default() });
        assert_eq!(t.explain(want().calling(SEARCH)).await, Err(refusal));
        assert!(t.acquire(want().named("c").calling(SEARCH)).await.is_err());
        // The session itself is well, and its lease lists no brake.
        let grant = t.acquire(want().named("c").calling("messages.getHistory")).await.unwrap();
        assert_eq!(grant.cool_downs, []);
        t.advance(Span(599_999));
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        t.advance(TICK);
        assert_eq!(brakes(t).await, []);
        assert_eq!(t.lend(want().calling(SEARCH)).await.session, name("a"));
    }

    async fn only_long_waits_of_distinct_sessions_within_the_window_brake(t) {
        pool_of(t, strict(), &["a", "b"]).await;
        t.meets("a", &flood(SEARCH, 499)).await;
        t.meets("b", &flood(SEARCH, 500)).await;
        assert_eq!(fired(&t.meets("b", &flood("search", 500)).await), [""; 0]);
        t.meets("a", &flood("other", 500)).await;
        t.advance(Span(150_001));
        assert_eq!(fired(&t.meets("a", &flood(SEARCH, 500)).await), [""; 0]);
        t.advance(Span::secs(150));
        assert_eq!(fired(&t.meets("b", &flood(SEARCH, 500)).await), ["E3"]);
        // What was counted is forgotten.
        assert_eq!(fired(&t.meets("a", &flood(SEARCH, 500)).await), [""; 0]);
    }

    async fn a_brake_is_told_with_the_later_of_it_and_the_soonest_release(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        for session in ["a", "b"] {
            t.meets(session, &flood(SEARCH, 650)).await;
        }
        let (pool, next) = (pool_name("p"), |after, cause| NextRelease { after, cause });
        let lease = t.lend(want().named("c").ttl(Span::secs(700))).await;
        let counts = t.status().await.counts;
        let refusal = t.acquire(want().calling(SEARCH)).await.unwrap_err();
        let flood_end = next(Span::secs(650), ReleaseCause::CoolDown);
        let queue = Queue::default();
        let wait = Refusal::PoolFloodWait { pool: pool.clone(), counts, next: flood_end, queue };
        assert_eq!(refusal, wait);
        let refusal = t.acquire(want().named("c").calling(SEARCH)).await.unwrap_err();
        let lease_end = next(Span::secs(700), ReleaseCause::Lease);
        let queue = Queue::default();
        let busy = Refusal::PoolBusy { pool: pool.clone(), counts, next: lease_end, queue };
        assert_eq!(refusal, busy);
        t.renew_for(&lease, Span::secs(60)).await.unwrap();
        t.release(&lease).await.unwrap();
        t.meets("c", &slow_mode("chat", 300)).await;
        let counts = t.status().await.counts;
        let refusal = t.acquire(want().calling(SEARCH).about("chat")).await.unwrap_err();
        let brake_end = next(Span::secs(600), ReleaseCause::CoolDown);
        let queue = Queue::default();
        assert_eq!(refusal, Refusal::PoolFloodWait { pool, counts, next: brake_end, queue });
    }

    async fn of_two_brakes_the_later_counts_and_each_never_shortens(t) {
        pool_of(t, strict(), &["a", "b"]).await;
        for (method, secs) in [("one", 510), ("two", 520), ("one", 530), ("two", 500)] {
            for session in ["a", "b"] {
                t.meets(session, &flood(method, secs)).await;
            }
        }
        let ends: Vec<_> = brakes(t).await.iter().map(|brake| brake.until.since(t.now())).collect();
        assert_eq!(ends, [Span::secs(530), Span::secs(520)]);
        let refusal = t.acquire(want().calling("two").calling("one")).await.unwrap_err();
        let Refusal::PoolFloodWait { next, .. } = refusal else { panic!("{refusal}") };
        assert_eq!(next.after, Span::secs(530));
    }

    async fn no_brake_hides_that_nothing_would_do_anyway(t) {
        pool_of(t, strict(), &["a", "b"]).await;
        for session in ["a", "b"] {
            t.meets(session, &flood(SEARCH, 500)).await;
        }
        let asked = want().calling(SEARCH);
        let none = t.acquire(asked.clone().matching("x=1")).await.unwrap_err();
        assert!(matches!(none, Refusal::NoMatchingSession { .. }), "{none}");
        let none = t.acquire(asked.clone().named("c")).await.unwrap_err();
        assert!(matches!(none, Refusal::SessionNotFound { .. }), "{none}");
        for session in ["a", "b"] {
            t.meets(session, &error(401, "AUTH_KEY_UNREGISTERED")).await;
        }
        let none = t.acquire(asked.clone()).await.unwrap_err();
        assert!(matches!(none, Refusal::PoolDepleted { .. }), "{none}");
        t.set_mode(PoolMode::Paused).await;
        let none = t.acquire(asked).await.unwrap_err();
        assert!(matches!(none, Refusal::PoolPaused { .. }), "{none}");
    }

    async fn a_lease_that_is_repeated_is_not_braked(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        let asked = want().named("c").calling(SEARCH).request("r");
        t.lend(asked.clone()).await;
        for session in ["a", "b"] {
            t.meets(session, &flood(SEARCH, 500)).await;
        }
        assert!(t.acquire(asked).await.unwrap().replayed);
    }

    async fn a_brake_that_an_operator_ends_holds_up_no_waiter(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        for session in ["a", "b"] {
            t.meets(session, &flood(SEARCH, 500)).await;
        }
        let ask = want().calling(SEARCH).ask(|| t.fresh_secret());
        let (ticket, wait) = (Ticket(1), Span::hours(24));
        let patience = Patience { ticket, wait, priority: Priority::Normal };
        let waits = t.store.enqueue(&pool_name(POOL), ask, patience).await;
        assert!(matches!(waits, Ok(Enqueued::Waiting(_))), "{waits:?}");
        assert_eq!(t.state("c").await, SessionState::Ready);
        t.clear_brake(SEARCH).await;
        assert_eq!(t.state("c").await, SessionState::Leased);
    }

    async fn an_operator_ends_a_brake(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        for method in ["one", "two"] {
            for session in ["a", "b"] {
                t.meets(session, &flood(method, 500)).await;
            }
        }
        t.clear_brake("x.OneRequest").await;
        t.clear_brake("x.OneRequest").await;
        assert_eq!(t.lend(want().calling("one")).await.session, name("c"));
        assert!(t.acquire(want().calling("two")).await.is_err());
        assert_eq!(brakes(t).await.len(), 1);
    }

    async fn a_restriction_that_comes_back_after_it_was_over_doubles(t) {
        pool_of(t, strict(), &["a"]).await;
        let day = Span::hours(24);
        let mut ends = Vec::new();
        for turn in 0..6 {
            let effect = t.meets("a", &peer_flood()).await;
            ends.push(effect.until.unwrap().since(t.now()).0 / day.0);
            assert_eq!(fired(&effect), if turn == 0 { &[][..] } else { &["E4"] });
            // Again while it runs: nothing grows.
            let again = t.meets("a", &peer_flood()).await;
            assert_eq!((again.until, fired(&again)), (effect.until, Vec::new()));
            t.advance(effect.until.unwrap().since(t.now()));
        }
        assert_eq!(ends, [1, 2, 4, 7, 7, 7]);
        let growth = t.standing("a").await.growth;
        assert_eq!((growth[0].rule.as_str(), growth[0].times), ("R1", 5));
        // Whoever stayed clear of it for its longest term begins anew.
        t.advance(Span(7 * day.0 - 1));
        assert_eq!(fired(&t.meets("a", &peer_flood()).await), ["E4"]);
        t.advance(Span(14 * day.0));
        let effect = t.meets("a", &peer_flood()).await;
        assert_eq!((effect.until, fired(&effect)), (Some(t.now() + day), Vec::new()));
        assert_eq!(t.standing("a").await.growth[0].times, 0);
    }

    async fn a_term_grows_for_the_session_that_met_it_and_not_for_its_accounts_others(t) {
        t.pool(Policy::default()).await;
        for session in ["a", "b"] {
            t.add(of_account(session, 7)).await.unwrap();
        }
        let day = Span::hours(24);
        t.meets("a", &peer_flood()).await;
        t.advance(day);
        let effect = t.meets("a", &peer_flood()).await;
        assert_eq!(effect.until, Some(t.now() + day + day));
        let other = t.standing("b").await;
        assert_eq!((other.growth.len(), other.cool_downs[0].until), (0, t.now() + day + day));
        t.advance(sum(day, day));
        assert_eq!(t.meets("b", &peer_flood()).await.until, Some(t.now() + day));
    }

    async fn a_pool_may_switch_all_of_it_off(t) {
        pool_of(t, Escalations { disabled: true, ..strict() }, &["a", "b"]).await;
        for session in ["a", "b"] {
            for method in ["one", "two", "three", "four"] {
                let effect = t.meets(session, &flood(method, 5_000)).await;
                assert_eq!(fired(&effect), [""; 0]);
                assert_eq!(effect.until, Some(t.now() + Span::secs(5_000)));
            }
            assert_eq!(t.state(session).await, SessionState::Ready);
            assert_eq!(t.standing(session).await.floods, []);
        }
        assert_eq!(brakes(t).await, []);
        for _ in 0..2 {
            let effect = t.meets("a", &peer_flood()).await;
            assert_eq!((fired(&effect), effect.until), (vec![], Some(t.now() + Span::hours(24))));
            t.advance(Span::hours(24));
        }
    }

    async fn all_that_fire_are_told_in_one_order(t) {
        pool_of(t, Escalations { session_methods: 2, ..strict() }, &["a", "b"]).await;
        t.meets("a", &flood(SEARCH, 500)).await;
        t.meets("b", &flood("other", 5)).await;
        let lease = t.lend(want().named("b")).await;
        for number in 0..telegate::pool::MAX_COOL_DOWNS - 1 {
            t.report(&lease, &slow_mode(&number.to_string(), 3_000)).await.unwrap();
        }
        let effect = t.report(&lease, &flood(SEARCH, 2_000)).await.unwrap();
        assert_eq!(fired(&effect), ["E5", "E1", "E2", "E3"]);
        assert_eq!(effect.until, Some(t.now() + Span::secs(2_000)));
        let ids: Vec<_> = Escalation::ALL.iter().map(|escalation| escalation.id()).collect();
        assert_eq!(ids, ["E4", "E5", "E1", "E2", "E3"]);
    }

    async fn what_was_counted_and_braked_survives_a_restart(t) {
        pool_of(t, strict(), &["a", "b", "c"]).await;
        for session in ["a", "b"] {
            t.meets(session, &flood("one", 500)).await;
        }
        t.meets("a", &flood("two", 500)).await;
        let before = lawful(t.store.get_pool(&pool_name("p")).await).unwrap();
        assert_eq!(before.brakes.len(), 1);
        t.reopen().await;
        assert_eq!(lawful(t.store.get_pool(&pool_name("p")).await), Ok(before));
        assert!(t.acquire(want().calling("one")).await.is_err());
        let effect = t.meets("b", &flood("two", 500)).await;
        assert_eq!(fired(&effect), ["E3"]);
        assert_eq!(fired(&t.meets("a", &flood("three", 5)).await), ["E1"]);
    }
}

/// The window in which the floods of a session count.
fn window() -> Span {
    strict().session_window
}
