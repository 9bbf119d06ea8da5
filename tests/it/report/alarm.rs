//! What operators must hear of: a lease breach, and errors that nobody knew.

use telegate::{
    pool::Span,
    proto::v1::{InvalidReason, SessionState, VerdictAction},
};

use super::*;
use crate::broker::{Lines, reason};

served! {
    async fn a_breach_is_an_alarm_that_names_the_last_holders(t) {
        t.fill(&["alice"]).await;
        let before = v1::AcquireRequest { purpose: "reads the news".into(), ..any() };
        let lease = t.lend(before).await;
        t.release(&lease, None).await.unwrap();
        let lease = t.lend(v1::AcquireRequest { purpose: "counts likes".into(), ..any() }).await;
        let (lines, _guard) = Lines::capture();
        let verdict = t.report(&lease, said("AUTH_KEY_DUPLICATED")).await.unwrap();
        assert_eq!((verdict.action(), verdict.rule.as_str()), (VerdictAction::Invalidated, "D3"));
        assert!(verdict.detail.contains("Lease breach"), "{}", verdict.detail);
        let session = t.get(POOL, "alice").await;
        assert_eq!(session.state(), SessionState::Invalid);
        assert_eq!(session.invalidation.unwrap().reason(), InvalidReason::KeyDuplicated);

        let alarms = lines.with("lease breach");
        assert_eq!(alarms.len(), 1, "{alarms:?}");
        assert!(alarms[0].contains("ERROR"), "{}", alarms[0]);
        for part in ["counts likes", "anonymous", "pool=demo", "session=alice"] {
            assert!(alarms[0].contains(part), "no {part} in {}", alarms[0]);
        }
        let secret = lease.rsplit('/').next().unwrap();
        assert!(!lines.text().contains(secret), "a lease id is in the log");
        let metrics = t.broker.metrics().await;
        assert!(metrics.contains("telegate_lease_breaches_total{pool=\"demo\"} 1\n"), "{metrics}");
    }

    async fn the_one_that_went_on_after_its_lease_is_named_with_the_one_that_it_hit(t) {
        t.fill(&["alice"]).await;
        let old = t.lend(v1::AcquireRequest { purpose: "went on".into(), ..any() }).await;
        t.advance(Span::minutes(5));
        let new = t.lend(v1::AcquireRequest { purpose: "was hit".into(), ..any() }).await;
        let (lines, _guard) = Lines::capture();
        let verdict = t.report(&old, said("AUTH_KEY_DUPLICATED")).await.unwrap();
        assert_eq!(verdict.session_state(), SessionState::Invalid);
        let alarms = lines.with("lease breach");
        assert!(alarms[0].contains("was hit"), "{alarms:?}");
        assert_eq!(alarms[0].matches("anonymous").count(), 3, "both, and the reporter: {alarms:?}");
        let request = v1::RenewRequest { lease_id: new, ttl: None };
        let lost = t.broker.pool().renew(request).await.unwrap_err();
        assert!(crate::broker::seen(&lost).contains("cause: INVALIDATED"));
    }

    async fn a_breach_is_an_alarm_also_from_a_lease_that_is_forgotten(t) {
        t.fill(&["alice"]).await;
        let old = t.lend(any()).await;
        t.release(&old, None).await.unwrap();
        let new = t.lend(any()).await;
        t.release(&new, None).await.unwrap();
        let (lines, _guard) = Lines::capture();
        let status = t.report(&old, said("AUTH_KEY_DUPLICATED")).await.unwrap_err();
        assert_eq!(reason(&status), "LEASE_LOST");
        assert_eq!(lines.with("lease breach").len(), 1, "{}", lines.text());
        let released = t.release(&old, Some(said("AUTH_KEY_DUPLICATED"))).await.unwrap();
        assert_eq!(released.verdict, None);
        assert_eq!(lines.with("lease breach").len(), 2, "{}", lines.text());
        assert_eq!(t.get(POOL, "alice").await.state(), SessionState::Ready, "nobody proved it");
    }

    async fn an_error_that_nobody_knew_is_told_once_by_name_and_counted_always(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        let (lines, _guard) = Lines::capture();
        let new = |number| TelegramError {
            code: 420,
            library: "telethon".into(),
            ..said_to(HISTORY, &format!("BRAND_NEW_WAIT_{number}"))
        };
        for number in [5, 6] {
            let verdict = t.report(&lease, new(number)).await.unwrap();
            assert_eq!(verdict.rule, "Z420");
            assert_eq!(verdict.action(), VerdictAction::CoolDown);
            assert_eq!(verdict.name, "BRAND_NEW_WAIT");
        }
        let known = TelegramError { code: 400, ..said("MESSAGE_EMPTY") };
        assert_eq!(t.report(&lease, known).await.unwrap().rule, "Z400");
        let told = lines.with("no rule knows");
        assert_eq!(told.len(), 1, "{told:?}");
        for part in ["WARN", "BRAND_NEW_WAIT", "rule=\"Z420\"", "code=420", "telethon", HISTORY] {
            assert!(told[0].contains(part), "no {part} in {}", told[0]);
        }
        let metrics = t.broker.metrics().await;
        for row in [
            "telegate_unknown_errors_total{rule=\"Z420\",code=\"420\"} 2\n",
            "telegate_reports_total{rule=\"Z420\",action=\"COOL_DOWN\"} 2\n",
            "telegate_reports_total{rule=\"Z400\",action=\"FIX_REQUEST\"} 1\n",
        ] {
            assert!(metrics.contains(row), "no {row} in\n{metrics}");
        }
        assert!(!metrics.contains("rule=\"Z400\",code"), "{metrics}");
    }
}
