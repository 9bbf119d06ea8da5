//! What a reporter is told, and what Acquire makes of it.

use telegate::{
    keys::Role,
    pool::{LeaseSecret, Span},
    proto::v1::{CoolDownScope, OtherSession, ReleaseOutcome, SessionState, VerdictAction},
};
use tonic::Request;

use super::*;
use crate::{
    broker::{keyed, reason, seen, write_keys},
    harness::stage::BEGINNING,
};

served! {
    async fn a_flood_closes_the_method_for_its_session_and_no_more(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(calling(HISTORY)).await;
        let verdict = t.report(&lease, said_to(HISTORY, "FLOOD_WAIT_17")).await.unwrap();
        assert_eq!(verdict.action(), VerdictAction::CoolDown);
        assert_eq!((verdict.scope(), verdict.subject.as_str()), (CoolDownScope::Method, HISTORY));
        // A second more, because Telegram rounds down.
        let until = BEGINNING + Span::secs(18);
        let until = i64::try_from(until.0 / 1000).unwrap();
        assert_eq!(verdict.until.map(|at| at.seconds), Some(until));
        assert_eq!(verdict.other_session(), OtherSession::Yes);
        assert_eq!((verdict.rule.as_str(), verdict.name.as_str()), ("W1", "FLOOD_WAIT"));
        assert!(verdict.detail.contains("too often"), "{}", verdict.detail);
        assert_eq!(verdict.session_state(), SessionState::Leased);
        assert_eq!((verdict.dc_id, verdict.retry_after, verdict.escalations.len()), (0, None, 0));
        t.release(&lease, None).await.unwrap();

        let refused = seen(&t.acquire(calling("GetHistoryRequest")).await.unwrap_err());
        for part in [
            "ResourceExhausted: ",
            "ErrorInfo POOL_FLOOD_WAIT telegate\n",
            "  next_release_in: 18s\n",
            "  free: 1\n",
            "RetryInfo 19.8s\n",
            "QuotaFailure demo: ",
            "grpc-retry-pushback-ms: 19800\n",
        ] {
            assert!(refused.contains(part), "no {part:?} in\n{refused}");
        }
        let lent = t.acquire(calling("messages.sendMessage")).await.unwrap();
        let session = lent.session.unwrap();
        let entry = &session.cool_downs[0];
        assert_eq!((entry.scope(), entry.subject.as_str()), (CoolDownScope::Method, HISTORY));
        assert_eq!((entry.rule.as_str(), entry.cause.as_str()), ("W1", "FLOOD_WAIT"));
        assert_eq!(entry.until, verdict.until);
        t.release(&lent.lease.unwrap().lease_id, None).await.unwrap();

        t.advance(Span(17_999));
        assert_eq!(reason(&t.acquire(calling(HISTORY)).await.unwrap_err()), "POOL_FLOOD_WAIT");
        t.advance(Span(1));
        let lent = t.acquire(calling(HISTORY)).await.unwrap();
        assert_eq!(lent.session.unwrap().cool_downs, []);
    }

    async fn a_release_with_an_error_reports_and_gives_back_in_one_step(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        let error = TelegramError { peer: "channel:1".into(), ..said("SLOWMODE_WAIT_30") };
        let released = t.release(&lease, Some(error)).await.unwrap();
        assert_eq!(released.outcome(), ReleaseOutcome::Released);
        let verdict = released.verdict.unwrap();
        assert_eq!((verdict.rule.as_str(), verdict.scope()), ("W3", CoolDownScope::Peer));
        let about = |peer: &str| v1::AcquireRequest { peer: peer.into(), ..any() };
        assert_eq!(reason(&t.acquire(about("channel:1")).await.unwrap_err()), "POOL_FLOOD_WAIT");
        let lease = t.lend(about("channel:2")).await;
        let released = t.release(&lease, None).await.unwrap();
        assert_eq!(released.verdict, None, "no error, no verdict");
    }

    async fn a_late_report_counts_from_the_error_and_never_from_tomorrow(t) {
        t.fill(&["alice"]).await;
        let at = |secs: i64| {
            let now = i64::try_from(BEGINNING.0 / 1000).unwrap();
            let occur_time = Some(pbjson_types::Timestamp { seconds: now + secs, nanos: 0 });
            TelegramError { occur_time, ..said_to(HISTORY, "FLOOD_WAIT_59") }
        };
        let until = |verdict: &v1::Verdict| {
            verdict.until.unwrap().seconds - i64::try_from(BEGINNING.0 / 1000).unwrap()
        };
        let lease = t.lend(any()).await;
        assert_eq!(until(&t.report(&lease, at(-20)).await.unwrap()), 40);
        assert_eq!(until(&t.report(&lease, at(3600)).await.unwrap()), 60);
        assert_eq!(until(&t.report(&lease, at(-50)).await.unwrap()), 60, "never shortened");
        t.release(&lease, None).await.unwrap();
        let late = t.report(&lease, said_to(HISTORY, "FLOOD_WAIT_99")).await.unwrap();
        assert_eq!((until(&late), late.session_state()), (100, SessionState::Ready));

        let newer = t.lend(any()).await;
        t.release(&newer, None).await.unwrap();
        let lost = t.report(&lease, said_to(HISTORY, "FLOOD_WAIT_999")).await.unwrap_err();
        assert_eq!(reason(&lost), "LEASE_LOST");
    }

    async fn what_is_doubtful_is_probed_and_what_is_dead_goes_out(t) {
        t.fill(&["alice"]).await;
        let verdict = t.meet("alice", said("AUTH_KEY_UNREGISTERED")).await;
        assert_eq!((verdict.action(), verdict.rule.as_str()), (VerdictAction::Verify, "D4"));
        assert_eq!(verdict.scope(), CoolDownScope::Session);
        let session = t.get(POOL, "alice").await;
        assert_eq!(session.state(), SessionState::Suspect);
        let suspicion = session.suspicion.unwrap();
        assert_eq!(suspicion.cause, "AUTH_KEY_UNREGISTERED");
        assert_eq!((suspicion.rule.as_str(), suspicion.by_key_id.as_str()), ("D4", "anonymous"));
        assert_eq!(reason(&t.acquire(any()).await.unwrap_err()), "POOL_DEPLETED");

        let probe = || v1::AcquireRequest { probe: true, ..any() };
        let lease = t.lend(probe()).await;
        t.release(&lease, None).await.unwrap();
        assert_eq!(t.get(POOL, "alice").await.state(), SessionState::Ready, "it lives");

        t.meet("alice", said("AUTH_KEY_UNREGISTERED")).await;
        let lease = t.lend(probe()).await;
        let verdict = t.report(&lease, said("AUTH_KEY_UNREGISTERED")).await.unwrap();
        assert_eq!(verdict.session_state(), SessionState::Invalid);
        let session = t.get(POOL, "alice").await;
        let why = session.invalidation.unwrap();
        assert_eq!(why.reason(), v1::InvalidReason::KeyUnregistered);
        assert_eq!(why.detail, "AUTH_KEY_UNREGISTERED");
        let released = t.release(&lease, None).await.unwrap();
        assert_eq!(released.outcome(), ReleaseOutcome::AlreadyEnded);
    }

    async fn other_verdicts_say_what_to_do_and_close_nothing(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        let migrate = t.report(&lease, said("FILE_MIGRATE_4")).await.unwrap();
        assert_eq!((migrate.action(), migrate.dc_id), (VerdictAction::Migrate, 4));
        let retry = t.report(&lease, said("RPC_CALL_FAIL")).await.unwrap();
        assert_eq!(retry.action(), VerdictAction::Retry);
        assert_eq!(seconds(retry.retry_after.as_ref()), 1);
        let denied = t.report(&lease, said("CHANNEL_PRIVATE")).await.unwrap();
        assert_eq!(denied.action(), VerdictAction::Denied);
        let app = t.report(&lease, said("API_ID_INVALID")).await.unwrap();
        assert_eq!(app.action(), VerdictAction::App);
        for verdict in [migrate, retry, denied, app] {
            assert_eq!(verdict.scope(), CoolDownScope::Unspecified, "{verdict:?}");
            assert_eq!((verdict.subject.as_str(), verdict.until), ("", None), "{verdict:?}");
        }
        assert_eq!(t.get(POOL, "alice").await.cool_downs, []);
    }

    async fn an_error_of_a_lost_lease_is_taken_note_of_and_the_loss_is_told(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        t.advance(Span::minutes(2));
        let error = said_to(HISTORY, "FLOOD_WAIT_600");
        let status = t.release(&lease, Some(error)).await.unwrap_err();
        assert_eq!(reason(&status), "LEASE_LOST");
        assert_eq!(t.get(POOL, "alice").await.cool_downs.len(), 1);
        let metrics = t.broker.metrics().await;
        let row = "telegate_reports_total{rule=\"W1\",action=\"COOL_DOWN\"} 1\n";
        assert!(metrics.contains(row), "{metrics}");
    }
}

#[tokio::test]
async fn a_report_needs_the_key_that_holds_the_lease_and_its_pool() {
    let mut keys = Vec::new();
    let broker = Broker::with(|folder, config| {
        let worker: &[Role] = &[Role::Worker];
        keys = write_keys(
            folder,
            &[(&[Role::Admin], &["*"]), (worker, &["demo"]), (worker, &["demo"]), (worker, &["x"])],
        );
        let path = folder.path().join("keys.toml");
        telegate::config::ServerConfig { keys: Some(path), ..config }
    })
    .await;
    let pool = Some(v1::Pool { name: POOL.into(), ..v1::Pool::default() });
    let admin = |request| keyed(&keys[0], request);
    broker
        .admin()
        .create_pool(admin(v1::CreatePoolRequest { pool, detail: String::new() }))
        .await
        .unwrap();
    broker.admin().add_session(keyed(&keys[0], new_session(POOL, "alice"))).await.unwrap();
    let granted = broker.pool().acquire(keyed(&keys[1], any())).await.unwrap().into_inner();
    let lease_id = granted.lease.unwrap().lease_id;
    let report = async |key: &str, lease_id: &str| {
        let lease_id = lease_id.to_owned();
        let request = v1::ReportRequest { lease_id, error: Some(said("FLOOD_WAIT_5")) };
        let answer = broker.pool().report(keyed(key, request)).await;
        answer.map_or_else(|status| reason(&status), |_| "OK".to_owned())
    };
    assert_eq!(report(&keys[2], &lease_id).await, "PERMISSION_MISSING", "another's lease");
    assert_eq!(report(&keys[3], &lease_id).await, "PERMISSION_MISSING", "another's pool");
    let unknown = format!("{POOL}/bob/{}", LeaseSecret::new([7; 16]).to_hex());
    assert_eq!(report(&keys[1], &unknown).await, "LEASE_NOT_FOUND");
    assert_eq!(report(&keys[1], "bob").await, "INVALID_REQUEST");
    assert_eq!(report(&keys[1], &lease_id).await, "OK");
}

#[tokio::test]
async fn a_flood_wait_speaks_the_callers_language() {
    let Some(t) = Served::open(Engine::Embedded).await else { return };
    t.fill(&["alice"]).await;
    t.meet("alice", said_to(HISTORY, "FLOOD_WAIT_17")).await;
    let mut request = Request::new(calling(HISTORY));
    request.metadata_mut().insert("accept-language", "ru".parse().unwrap());
    let status = t.broker.pool().acquire(request).await.unwrap_err();
    insta::assert_snapshot!("flood_wait_in_russian", seen(&status));
}
