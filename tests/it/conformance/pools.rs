//! Pools: made, read, listed, paused, drained, resumed.

use telegate::pool::{Escalations, Policy, PoolMode, PoolRecord, PoolState, Refusal, Span};

use super::no_pool;
use crate::harness::{
    mandate,
    stage::{Stage, lawful, name, pool_name, session, want},
};

/// A page of pools' names.
async fn page(t: &Stage, after: Option<&str>, most: usize) -> Vec<String> {
    let after = after.map(pool_name);
    let page = lawful(t.store.list_pools(after.as_ref(), most).await).unwrap();
    page.iter().map(|view| view.record.name.to_string()).collect()
}

law! {
    async fn a_new_pool_is_active_empty_and_as_it_was_given(t) {
        let policy = Policy {
            min_ttl: Span(1_001),
            default_ttl: Span(2_002),
            max_ttl: Span(3_003),
            max_lifetime: Span(4_004),
            rest: Span(5_005),
            drain: Span(6_006),
            max_waiters: 7,
            escalation: Escalations {
                disabled: true,
                session_methods: 8,
                session_window: Span(9_009),
                session_wait: Span(10_010),
                session_rest: Span(11_011),
                method_sessions: 12,
                method_window: Span(13_013),
                method_wait: Span(14_014),
                method_brake: Span(15_015),
            },
        };
        let view = t.pool(policy.clone()).await;
        let (name, now) = (pool_name("p"), t.now());
        let mode = PoolMode::Active;
        let (created_at, updated_at) = (now, now);
        let (brakes, bursts, floods) = (Vec::new(), Vec::new(), Vec::new());
        let past_epoch = 0;
        let record = PoolRecord {
            name,
            policy,
            mode,
            created_at,
            updated_at,
            past_epoch,
            brakes,
            bursts,
            floods,
        };
        assert_eq!(view.record, record);
        assert_eq!((view.status.state, view.status.at), (PoolState::Empty, now));
        assert_eq!(lawful(t.store.get_pool(&pool_name("p")).await), Ok(view));
    }

    async fn the_widest_policy_survives_the_store(t) {
        let policy = Policy {
            min_ttl: Span::hours(24),
            default_ttl: Span::hours(24),
            max_ttl: Span::hours(24),
            max_lifetime: Span::hours(24 * 30),
            rest: Span::hours(24),
            drain: Span::hours(24),
            max_waiters: 100_000,
            escalation: Escalations {
                disabled: false,
                session_methods: 100,
                session_window: Span::hours(24),
                session_wait: Span::hours(24 * 14),
                session_rest: Span::hours(24),
                method_sessions: 1000,
                method_window: Span::hours(24),
                method_wait: Span::hours(24 * 14),
                method_brake: Span::hours(24),
            },
        };
        assert_eq!(policy.faults(), []);
        assert_eq!(t.pool(policy.clone()).await.record.policy, policy);
        assert_eq!(lawful(t.store.get_pool(&pool_name("p")).await).unwrap().record.policy, policy);
    }

    async fn a_pool_is_made_once(t) {
        let first = t.pool(Policy::default()).await;
        t.advance(Span(1));
        let other = Policy { rest: Span::secs(9), ..Policy::default() };
        let exists = Refusal::PoolExists { pool: pool_name("p") };
        assert_eq!(t.pool_named("p", other).await, Err(exists));
        let view = lawful(t.store.get_pool(&pool_name("p")).await).unwrap();
        assert_eq!(view.record, first.record);
    }

    async fn a_pool_that_is_not_there_is_not_found(t) {
        let pool = pool_name("p");
        assert_eq!(lawful(t.store.get_pool(&pool).await), Err(no_pool("p")));
        assert_eq!(lawful(t.store.status(&pool).await), Err(no_pool("p")));
        assert_eq!(t.acquire(want()).await, Err(no_pool("p")));
        let paused = t.store.set_mode(&pool, PoolMode::Paused, &mandate()).await;
        assert_eq!(lawful(paused), Err(no_pool("p")));
        assert_eq!(page(t, None, 10).await, [""; 0]);
    }

    async fn pools_are_listed_by_name_in_pages(t) {
        for name in ["c", "a-1", "b", "a", "1"] {
            t.pool_named(name, Policy::default()).await.unwrap();
        }
        assert_eq!(page(t, None, 10).await, ["1", "a", "a-1", "b", "c"]);
        assert_eq!(page(t, None, 2).await, ["1", "a"]);
        assert_eq!(page(t, Some("a"), 2).await, ["a-1", "b"]);
        assert_eq!(page(t, Some("a-0"), 1).await, ["a-1"]);
        assert_eq!(page(t, Some("c"), 5).await, [""; 0]);
        assert_eq!(page(t, None, 0).await, [""; 0]);
    }

    async fn a_list_tells_every_pool_as_it_is(t) {
        t.pool_of(&["a", "b"]).await;
        t.lend(want()).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        t.set_mode(PoolMode::Paused).await;
        t.advance(Span(3));
        for view in lawful(t.store.list_pools(None, 9).await).unwrap() {
            assert_eq!(lawful(t.store.get_pool(&view.record.name).await).as_ref(), Ok(&view));
            assert_eq!(view.status.at, t.now());
        }
    }

    async fn a_change_of_mode_is_told_and_dated(t) {
        let before = t.pool(Policy::default()).await.record;
        t.advance(Span::secs(1));
        for mode in [PoolMode::Paused, PoolMode::Draining, PoolMode::Active] {
            t.advance(Span::secs(1));
            let record = t.set_mode(mode).await.record;
            assert_eq!(record, PoolRecord { mode, updated_at: t.now(), ..before.clone() });
        }
    }

    async fn a_mode_that_is_set_again_changes_nothing(t) {
        t.pool_of(&["a"]).await;
        for mode in [PoolMode::Active, PoolMode::Paused, PoolMode::Draining] {
            let first = t.set_mode(mode).await.record;
            t.advance(Span::secs(1));
            assert_eq!(t.set_mode(mode).await.record, first);
        }
    }

    async fn a_pool_that_grants_nothing_says_so(t) {
        t.pool_of(&["a"]).await;
        let pool = pool_name("p");
        t.set_mode(PoolMode::Paused).await;
        assert_eq!(t.acquire(want()).await, Err(Refusal::PoolPaused { pool: pool.clone() }));
        t.set_mode(PoolMode::Draining).await;
        assert_eq!(t.acquire(want()).await, Err(Refusal::PoolDraining { pool }));
        t.set_mode(PoolMode::Active).await;
        assert_eq!(t.next().await, "a");
    }

    async fn pools_do_not_share_sessions_or_modes(t) {
        t.pool_of(&["a"]).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        lawful(t.store.add(&pool_name("q"), session("z")).await).unwrap();
        t.set_mode(PoolMode::Paused).await;
        assert_eq!(t.lend(want().from("q")).await.session, name("z"));
        assert_eq!(t.status().await.counts.free, 1);
    }
}
