//! What operators change and see over the wire: masks, pages, and who may.

use pbjson_types::{Duration, FieldMask};
use telegate::proto::v1;
use tonic::Status;

use crate::broker::{Broker, reason};

const fn secs(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

/// What is wrong with a request, field by field.
fn violations(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    assert_eq!(reason(status), "INVALID_REQUEST", "{status:?}");
    let bad = status.get_error_details().bad_request().unwrap().field_violations.clone();
    bad.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
}

async fn update_pool(
    broker: &Broker,
    policy: &v1::PoolPolicy,
    paths: &[&str],
) -> Result<v1::PoolPolicy, Status> {
    let pool = v1::Pool { name: "demo".into(), policy: Some(*policy), ..v1::Pool::default() };
    let update_mask = if paths.is_empty() { None } else { Some(mask(paths)) };
    let request = v1::UpdatePoolRequest { pool: Some(pool), update_mask };
    let answer = broker.admin().update_pool(request).await?;
    Ok(answer.into_inner().pool.unwrap().policy.unwrap())
}

#[tokio::test]
async fn a_mask_says_which_fields_of_a_policy_change() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let wish =
        v1::PoolPolicy { rest: Some(secs(5)), drain: Some(secs(6)), ..v1::PoolPolicy::default() };

    let policy = update_pool(&broker, &wish, &["policy.rest"]).await.unwrap();
    assert_eq!((policy.rest, policy.drain), (Some(secs(5)), Some(secs(30))));
    // Without a mask: all that are set.
    let policy = update_pool(&broker, &wish, &[]).await.unwrap();
    assert_eq!(
        (policy.rest, policy.drain, policy.max_ttl),
        (Some(secs(5)), Some(secs(6)), Some(secs(3600)))
    );
    // A field that is named and not set takes its default.
    let policy = update_pool(&broker, &wish, &["policy.drain", "policy.max_ttl"]).await.unwrap();
    assert_eq!((policy.rest, policy.drain), (Some(secs(5)), Some(secs(6))));
    let none = v1::PoolPolicy::default();
    let policy = update_pool(&broker, &none, &["policy"]).await.unwrap();
    assert_eq!(
        (policy.rest, policy.drain, policy.max_waiters),
        (Some(secs(0)), Some(secs(30)), Some(1000))
    );
}

#[tokio::test]
async fn a_mask_or_a_policy_that_would_not_do_is_refused_by_its_path() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let paths = ["mode", "policyrest", "policy.rest.seconds", "policy.rest"];
    let status = update_pool(&broker, &v1::PoolPolicy::default(), &paths).await.unwrap_err();
    let said = violations(&status);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("update_mask: 'mode' cannot be changed; name some of policy.min"));

    let short = v1::PoolPolicy { max_ttl: Some(secs(7)), ..v1::PoolPolicy::default() };
    let status = update_pool(&broker, &short, &[]).await.unwrap_err();
    let said = "pool.policy.default_ttl: is 60s; it must be from 5s to 7s";
    assert_eq!(violations(&status), [said]);

    let escalation = v1::EscalationPolicy { session_methods: Some(1), ..Default::default() };
    let policy = v1::PoolPolicy { escalation: Some(escalation), ..v1::PoolPolicy::default() };
    let status = update_pool(&broker, &policy, &[]).await.unwrap_err();
    let said = "pool.policy.escalation.session_methods: is 1; it must be from 2 to 100";
    assert_eq!(violations(&status), [said]);
    // A field that the mask does not name is not looked at.
    update_pool(&broker, &policy, &["policy.rest"]).await.unwrap();
}

#[tokio::test]
async fn the_policy_of_escalation_changes_as_a_whole() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let escalation = v1::EscalationPolicy {
        session_methods: Some(7),
        method_brake: Some(secs(60)),
        ..v1::EscalationPolicy::default()
    };
    let wish = v1::PoolPolicy { escalation: Some(escalation), ..v1::PoolPolicy::default() };
    let policy = update_pool(&broker, &wish, &["policy.escalation"]).await.unwrap();
    let made = policy.escalation.unwrap();
    assert_eq!((made.session_methods, made.method_brake), (Some(7), Some(secs(60))));
    assert_eq!(made.session_window, Some(secs(600)), "what was not said is as by default");
    let rest = v1::PoolPolicy { rest: Some(secs(5)), ..v1::PoolPolicy::default() };
    let policy = update_pool(&broker, &rest, &[]).await.unwrap();
    assert_eq!(policy.escalation, Some(made), "what is not set stays");
    let off = v1::EscalationPolicy { disabled: true, ..v1::EscalationPolicy::default() };
    let wish = v1::PoolPolicy { escalation: Some(off), ..v1::PoolPolicy::default() };
    let policy = update_pool(&broker, &wish, &[]).await.unwrap();
    let made = policy.escalation.unwrap();
    assert_eq!((made.disabled, made.session_methods), (true, Some(3)));
}
