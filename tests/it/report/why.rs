//! Explain: what an Acquire would get, and what stands in the way.

use super::*;
use crate::broker::reason;

async fn explain(t: &Served, acquire: v1::AcquireRequest) -> v1::ExplainResponse {
    let request = v1::ExplainRequest { acquire: Some(acquire) };
    t.broker.admin().explain(request).await.unwrap().into_inner()
}

/// Who is passed over, and why, as `name: why`.
fn passed_over(answer: &v1::ExplainResponse) -> Vec<String> {
    answer.passed_over.iter().map(|row| format!("{}: {}", row.session, row.because)).collect()
}

served! {
    async fn who_would_be_granted_is_told_with_who_would_not(t) {
        t.fill(&["alice", "bob", "carol", "dave"]).await;
        let lease = t.lend(v1::AcquireRequest { purpose: "news".into(), ..named("alice") }).await;
        t.meet("bob", said_to(HISTORY, "FLOOD_WAIT_60")).await;
        t.meet("carol", said("SESSION_REVOKED")).await;
        let answer = explain(&t, calling(HISTORY)).await;
        assert_eq!((answer.session.as_str(), answer.reason.as_str()), ("dave", ""));
        assert!(answer.because[0].contains("used longest ago"), "{:?}", answer.because);
        assert!(answer.because.iter().any(|b| b.contains("does not cool down for method")));
        let over = passed_over(&answer);
        assert_eq!(over.len(), 3, "{over:?}");
        assert!(over[0].starts_with("alice: anonymous has leased it until "), "{over:?}");
        assert!(over[0].ends_with(", for: news."), "{over:?}");
        assert!(over[1].starts_with("bob: It cools down for method messages.getHistory until "));
        assert!(over[1].ends_with("rule W1, FLOOD_WAIT."), "{over:?}");
        assert_eq!(over[2], "carol: It is INVALID (REVOKED) until it is restored.");

        let granted = t.acquire(calling(HISTORY)).await.unwrap().session.unwrap();
        assert_eq!(granted.name, "dave", "it told the truth, and leased nothing");
        t.release(&lease, None).await.unwrap();
    }

    async fn a_refusal_is_told_with_its_reason_and_what_it_comes_from(t) {
        t.fill(&["alice", "bob"]).await;
        for session in ["alice", "bob"] {
            t.meet(session, said_to(HISTORY, "FLOOD_WAIT_600")).await;
        }
        let answer = explain(&t, calling("GetHistoryRequest")).await;
        assert_eq!((answer.session.as_str(), answer.reason.as_str()), ("", "POOL_FLOOD_WAIT"));
        let brake = answer.because.iter().find(|b| b.contains("is braked in the whole pool until"));
        assert!(brake.is_some_and(|b| b.ends_with("rule E3, FLOOD_WAIT.")), "{answer:?}");
        assert_eq!(answer.passed_over.len(), 2);

        let german = v1::AcquireRequest { selector: "country=de".into(), ..any() };
        let answer = explain(&t, german).await;
        assert_eq!(answer.reason, "NO_MATCHING_SESSION");
        assert_eq!(passed_over(&answer)[0], "alice: Its labels do not match country=de.");
        let answer = explain(&t, named("carol")).await;
        assert_eq!((answer.reason.as_str(), answer.passed_over.len()), ("SESSION_NOT_FOUND", 0));
    }

    async fn a_suspect_is_told_of_and_a_probe_would_get_it(t) {
        t.fill(&["alice"]).await;
        t.meet("alice", said("AUTH_KEY_UNREGISTERED")).await;
        let answer = explain(&t, any()).await;
        assert_eq!(answer.reason, "POOL_DEPLETED");
        let over = passed_over(&answer);
        assert!(over[0].starts_with("alice: It is SUSPECT since 2025-"), "{over:?}");
        let answer = explain(&t, v1::AcquireRequest { probe: true, ..any() }).await;
        assert_eq!(answer.session, "alice");
        assert!(answer.because[0].contains("a probe is asked for"), "{answer:?}");
    }

    async fn of_many_sessions_a_hundred_are_told_of(t) {
        t.fill(&[]).await;
        for n in 0..130 {
            let session = new_session(POOL, &format!("s{n:03}"));
            t.broker.admin().add_session(session).await.unwrap();
        }
        let answer = explain(&t, v1::AcquireRequest { selector: "country".into(), ..any() }).await;
        assert_eq!(answer.passed_over.len(), 100);
        assert!(answer.because.contains(&"30 more sessions would be passed over.".to_owned()));
        let elsewhere = v1::AcquireRequest { pool: "nowhere".into(), ..any() };
        let request = v1::ExplainRequest { acquire: Some(elsewhere) };
        let status = t.broker.admin().explain(request).await.unwrap_err();
        assert_eq!(reason(&status), "POOL_NOT_FOUND");
    }
}
