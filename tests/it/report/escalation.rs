//! Many small troubles become a large one, visibly, and not where it is switched off.

use telegate::{
    pool::Span,
    proto::v1::{CoolDownScope, EscalationPolicy, SessionState},
};

use super::*;
use crate::broker::{Lines, reason};

/// Three methods, as many as rest a session by default.
const METHODS: [&str; 3] = [HISTORY, "channels.getMessages", "users.getFullUser"];

async fn create(t: &Served, escalation: EscalationPolicy) {
    let policy = v1::PoolPolicy { escalation: Some(escalation), ..v1::PoolPolicy::default() };
    let pool = v1::Pool { name: POOL.into(), policy: Some(policy), ..v1::Pool::default() };
    let request = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
    let made = t.broker.admin().create_pool(request).await.unwrap().into_inner();
    assert!(made.pool.unwrap().policy.unwrap().escalation.is_some());
}

async fn add(t: &Served, sessions: &[&str]) {
    for session in sessions {
        t.broker.admin().add_session(new_session(POOL, session)).await.unwrap();
    }
}

served! {
    async fn many_methods_rest_the_whole_session_and_the_verdict_names_the_rule(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        let (lines, _guard) = Lines::capture();
        for method in &METHODS[..2] {
            let verdict = t.report(&lease, said_to(method, "FLOOD_WAIT_20")).await.unwrap();
            assert_eq!(verdict.escalations, [""; 0]);
        }
        let verdict = t.report(&lease, said_to(METHODS[2], "FLOOD_WAIT_20")).await.unwrap();
        assert_eq!(verdict.escalations, ["E1"]);
        assert!(verdict.detail.contains("the whole session rests"), "{}", verdict.detail);
        assert_eq!(lines.with("escalated").len(), 1);
        t.release(&lease, None).await.unwrap();

        let session = t.get(POOL, "alice").await;
        assert_eq!(session.state(), SessionState::FloodWait);
        assert_eq!(session.state_until, verdict.until);
        let whole = session.cool_downs.iter().find(|c| c.scope() == CoolDownScope::Session);
        assert_eq!(whole.unwrap().rule, "E1");
        assert_eq!(reason(&t.acquire(any()).await.unwrap_err()), "POOL_FLOOD_WAIT");
        let request = v1::GetPoolStatusRequest { pool: POOL.into() };
        let status = t.broker.pool().get_pool_status(request).await.unwrap().into_inner();
        let status = status.status.unwrap();
        assert_eq!(status.state(), v1::PoolState::FloodWait);
        assert_eq!(status.counts.unwrap().flood_wait, 1);
        assert_eq!(status.next_release_cause(), v1::ReleaseCause::CoolDown);
        assert_eq!(seconds(status.next_release_in.as_ref()), 21);
        let metrics = t.broker.metrics().await;
        assert!(metrics.contains("telegate_escalations_total{rule=\"E1\"} 1\n"), "{metrics}");
        let row = "telegate_sessions{pool=\"demo\",state=\"FLOOD_WAIT\"} 1\n";
        assert!(metrics.contains(row), "{metrics}");

        t.advance(Span::secs(21));
        assert_eq!(t.get(POOL, "alice").await.state(), SessionState::Ready);
    }

    async fn many_sessions_brake_the_method_in_the_whole_pool_until_an_operator_ends_it(t) {
        t.fill(&["alice", "bob", "carol"]).await;
        t.meet("alice", said_to(HISTORY, "FLOOD_WAIT_600")).await;
        let verdict = t.meet("bob", said_to("GetHistoryRequest", "FLOOD_WAIT_900")).await;
        assert_eq!(verdict.escalations, ["E3"]);
        let request = v1::GetPoolRequest { pool: POOL.into() };
        let brakes = t.broker.admin().get_pool(request.clone()).await.unwrap().into_inner().brakes;
        assert_eq!(brakes.len(), 1);
        assert_eq!(brakes[0].scope(), CoolDownScope::PoolMethod);
        assert_eq!((brakes[0].rule.as_str(), brakes[0].cause.as_str()), ("E3", "FLOOD_WAIT"));
        assert_eq!(brakes[0].until, verdict.until);
        let list = v1::ListPoolsRequest::default();
        let listed = t.broker.admin().list_pools(list).await.unwrap().into_inner().pools;
        assert_eq!(listed[0].brakes, brakes);
        let metrics = t.broker.metrics().await;
        assert!(metrics.contains("telegate_braked_methods{pool=\"demo\"} 1\n"), "{metrics}");

        // Carol never flooded, and is not lent for the method all the same.
        let want = || v1::AcquireRequest { session: "carol".into(), ..calling(HISTORY) };
        assert_eq!(reason(&t.acquire(want()).await.unwrap_err()), "POOL_FLOOD_WAIT");
        let clear = v1::ClearCoolDownRequest {
            pool: POOL.into(),
            session: String::new(),
            scope: CoolDownScope::PoolMethod.into(),
            subject: "getHistory".into(),
            detail: String::new(),
        };
        for _ in 0..2 {
            let cleared = t.broker.admin().clear_cool_down(clear.clone()).await.unwrap();
            assert_eq!(cleared.into_inner().session, None);
        }
        assert_eq!(t.broker.admin().get_pool(request).await.unwrap().into_inner().brakes, []);
        let lease = t.lend(want()).await;
        t.release(&lease, None).await.unwrap();
    }

    async fn a_very_long_wait_rests_the_session_at_its_beginning(t) {
        t.fill(&["alice"]).await;
        let verdict = t.meet("alice", said_to(HISTORY, "FLOOD_WAIT_77849")).await;
        assert_eq!(verdict.escalations, ["E2"]);
        let session = t.get(POOL, "alice").await;
        assert_eq!(session.state(), SessionState::FloodWait);
        t.advance(Span::minutes(15));
        let session = t.get(POOL, "alice").await;
        assert_eq!((session.state(), session.cool_downs.len()), (SessionState::Ready, 1));
    }

    async fn what_is_switched_off_does_not_escalate(t) {
        create(&t, EscalationPolicy { disabled: true, ..EscalationPolicy::default() }).await;
        add(&t, &["alice", "bob"]).await;
        for session in ["alice", "bob"] {
            for method in METHODS {
                let verdict = t.meet(session, said_to(method, "FLOOD_WAIT_7200")).await;
                assert_eq!(verdict.escalations, [""; 0], "{session} {method}");
            }
            assert_eq!(t.get(POOL, session).await.state(), SessionState::Ready);
        }
    }

    async fn the_policy_says_how_many_it_takes(t) {
        let two = EscalationPolicy { session_methods: Some(2), ..EscalationPolicy::default() };
        create(&t, two).await;
        add(&t, &["alice"]).await;
        let lease = t.lend(any()).await;
        t.report(&lease, said_to(METHODS[0], "FLOOD_WAIT_20")).await.unwrap();
        let verdict = t.report(&lease, said_to(METHODS[1], "FLOOD_WAIT_20")).await.unwrap();
        assert_eq!(verdict.escalations, ["E1"]);
    }
}
