//! Shapes, at the edges of what they may be.

use super::*;
use crate::{
    pool::{
        Escalations, KeyId, LeaseSecret, Time,
        verdict::{Capability, Scope},
    },
    proto::v1,
};

fn violations<T: std::fmt::Debug>(checked: Result<T, Fault>) -> Vec<String> {
    match checked {
        Ok(_) => Vec::new(),
        Err(Fault::Invalid(violations)) => {
            violations.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn duration(seconds: i64, nanos: i32) -> Duration {
    Duration { seconds, nanos }
}

#[test]
fn a_span_is_whole_milliseconds_and_not_negative() {
    assert_eq!(whole_millis(&duration(1, 500_000_000)), Ok(Span(1500)));
    assert_eq!(whole_millis(&duration(0, 0)), Ok(Span::ZERO));
    for (bad, said) in [
        (duration(0, 1), "finer than a millisecond"),
        (duration(-1, 0), "negative"),
        (duration(0, -1_000_000), "negative"),
        (duration(0, 1_000_000_000), "a second or more"),
        (duration(i64::MAX, 0), "longer than any clock"),
    ] {
        let fault = whole_millis(&bad).unwrap_err();
        assert!(fault.contains(said), "{bad:?}: {fault}");
    }
}

#[test]
fn limits_of_an_acquire_hold_at_their_edge() {
    let check = |change: &dyn Fn(&mut v1::AcquireRequest)| {
        let mut request = v1::AcquireRequest { pool: "demo".into(), ..Default::default() };
        change(&mut request);
        violations(acquire(&request, KeyId::new("k"), LeaseSecret::new([0; 16])))
    };
    let edge = |change: &dyn Fn(&mut v1::AcquireRequest, usize), most: usize| {
        assert_eq!(check(&|request| change(request, most)), [""; 0]);
        assert_eq!(check(&|request| change(request, most + 1)).len(), 1);
    };
    edge(&|request, n| request.purpose = "p".repeat(n), 256);
    edge(&|request, n| request.peer = "p".repeat(n), 128);
    edge(&|request, n| request.request_id = "p".repeat(n), 128);
    edge(&|request, n| request.methods = vec!["m".into(); n], 16);
    edge(&|request, n| request.methods = vec!["m".repeat(n)], 128);
    let days = 30 * 86_400;
    edge(&|request, n| request.ttl = Some(duration(i64::try_from(n).unwrap(), 0)), days);
}

#[test]
fn the_digest_of_a_request_depends_on_all_but_its_id_and_wait() {
    let digest = |change: &dyn Fn(&mut v1::AcquireRequest)| {
        let mut request = v1::AcquireRequest {
            pool: "demo".into(),
            request_id: "a".into(),
            ..Default::default()
        };
        change(&mut request);
        let checked = acquire(&request, KeyId::new("k"), LeaseSecret::new([0; 16])).unwrap();
        checked.ask.request.unwrap().digest
    };
    let plain = digest(&|_| {});
    assert_eq!(plain.len(), 32);
    assert_eq!(digest(&|request| request.request_id = "b".into()), plain);
    assert_eq!(digest(&|request| request.wait = Some(duration(0, 0))), plain);
    assert_ne!(digest(&|request| request.purpose = "other".into()), plain);
    assert_ne!(digest(&|request| request.ttl = Some(duration(7, 0))), plain);
    assert_ne!(digest(&|request| request.probe = true), plain);
}

#[test]
fn a_lease_id_is_never_repeated() {
    let secret = "00112233445566778899aabbccddeeff";
    for bad in [format!("demo/alice/{secret}x"), format!("{}{secret}", "x".repeat(300))] {
        let request = v1::RenewRequest { lease_id: bad, ttl: None };
        let said = violations(renew(&request)).join(" ");
        assert!(said.starts_with("lease_id: ") && !said.contains("0011"), "{said}");
    }
}

#[test]
fn every_violation_of_a_policy_is_told_by_its_path() {
    let policy = v1::PoolPolicy {
        min_ttl: Some(duration(0, 0)),
        max_ttl: Some(duration(90_000, 0)),
        max_waiters: Some(0),
        ..Default::default()
    };
    let pool = v1::Pool { name: "-".into(), policy: Some(policy), ..Default::default() };
    let said = violations(create_pool(
        &v1::CreatePoolRequest { pool: Some(pool), detail: String::new() },
        KeyId::new("k"),
    ));
    let fields: Vec<_> = said.iter().filter_map(|v| v.split(':').next()).collect();
    assert_eq!(
        fields,
        [
            "pool.name",
            "pool.policy.min_ttl",
            "pool.policy.max_ttl",
            "pool.policy.max_lifetime",
            "pool.policy.max_waiters"
        ]
    );
    assert_eq!(
        violations(create_pool(&v1::CreatePoolRequest::default(), KeyId::new("k"))).len(),
        1
    );
}

#[test]
fn every_violation_of_a_session_is_told_and_no_secret_with_it() {
    let labels = [("bad key".to_owned(), "v".to_owned()), ("k".to_owned(), "ü".to_owned())];
    let session = v1::Session {
        pool: String::new(),
        name: "a/b".into(),
        labels: labels.into(),
        proxy: "not a url".into(),
        device: Some(v1::DeviceProfile { lang_code: "x".repeat(129), ..Default::default() }),
        ..Default::default()
    };
    let telegram = v1::TelegramCredential {
        dc_id: 6,
        auth_key: b"hunter2".to_vec(),
        address: "::1".into(),
        port: 65_536,
        ..Default::default()
    };
    let credential = v1::Credential {
        value: Some(v1::credential::Value::Telegram(telegram)),
        form: v1::CredentialForm::GotdJson.into(),
    };
    let request = v1::AddSessionRequest { session: Some(session), credential: Some(credential) };
    let said = violations(add_session(&request, KeyId::new("k")));
    let fields: Vec<_> = said.iter().filter_map(|v| v.split(": ").next()).collect();
    assert_eq!(
        fields,
        [
            "session.pool",
            "session.name",
            "session.labels['bad key']",
            "session.labels['k']",
            "session.proxy",
            "session.device.lang_code",
            "credential.form",
            "credential.telegram.dc_id",
            "credential.telegram.auth_key",
            "credential.telegram.address",
            "credential.telegram.port"
        ]
    );
    assert!(!said.join(" ").contains("hunter2"));
}

#[test]
fn an_empty_or_zero_credential_is_none() {
    use v1::credential::Value;
    let add = |value| {
        let session = v1::Session { pool: "demo".into(), name: "a".into(), ..Default::default() };
        let credential = Some(v1::Credential { value, ..Default::default() });
        let request = v1::AddSessionRequest { session: Some(session), credential };
        violations(add_session(&request, KeyId::new("k")))
    };
    let key = |auth_key| {
        Some(Value::Telegram(v1::TelegramCredential { dc_id: 1, auth_key, ..Default::default() }))
    };
    assert_eq!(add(key(vec![1; 256])), [""; 0]);
    assert_eq!(add(Some(Value::Opaque(vec![0; 65_536]))), [""; 0]);
    for bad in [
        key(vec![0; 256]),
        key(vec![1; 255]),
        Some(Value::Opaque(Vec::new())),
        Some(Value::Opaque(vec![0; 65_537])),
        Some(Value::Text("1Ag".into())),
        None,
    ] {
        assert_eq!(add(bad).len(), 1);
    }
}

#[test]
fn a_page_token_is_the_brokers_own() {
    let list = |token: &str| {
        let request = v1::ListPoolsRequest { page_size: 0, page_token: token.into() };
        list_pools(&request)
    };
    let (after, size) = list(&page_token("demo")).unwrap();
    assert_eq!((after, size), (PoolName::parse("demo"), PAGE));
    for bad in ["demo", "=", &page_token("De mo")] {
        assert_eq!(violations(list(bad)).len(), 1, "{bad}");
    }
    let request = v1::ListPoolsRequest { page_size: 1001, page_token: String::new() };
    assert_eq!(violations(list_pools(&request)).len(), 1);
}

fn seen(change: impl FnOnce(&mut v1::TelegramError)) -> v1::ReportRequest {
    let mut error = v1::TelegramError { r#type: "FLOOD_WAIT_17".into(), ..Default::default() };
    change(&mut error);
    let lease_id = format!("demo/alice/{}", "0".repeat(32));
    v1::ReportRequest { lease_id, error: Some(error) }
}

#[test]
fn limits_of_a_report_hold_at_their_edge() {
    let edge = |change: &dyn Fn(&mut v1::TelegramError, String), most: usize| {
        let with = |n| violations(report(&seen(|error| change(error, "x".repeat(n)))));
        assert_eq!(with(most), [""; 0]);
        assert_eq!(with(most + 1).len(), 1);
    };
    edge(&|error, text| error.library = text, 64);
    edge(&|error, text| error.r#type = text, 256);
    edge(&|error, text| error.message = text, 1024);
    edge(&|error, text| error.method = text, 128);
    edge(&|error, text| error.peer = text, 128);
}

#[test]
fn every_violation_of_a_report_is_told_at_once() {
    let bad = seen(|error| {
        error.library = "tele\nthon".into();
        error.r#type = String::new();
        error.method = " . ".into();
        error.peer = "channel\u{0}1".into();
        error.occur_time = Some(pbjson_types::Timestamp { seconds: -1, nanos: 0 });
    });
    let said = violations(report(&v1::ReportRequest { lease_id: "no".into(), ..bad }));
    let fields: Vec<_> = said.iter().filter_map(|v| v.split(": ").next()).collect();
    assert_eq!(
        fields,
        ["lease_id", "error.library", "error.method", "error.peer", "error", "error.occur_time"]
    );
    let nothing = v1::ReportRequest { error: None, ..seen(|_| ()) };
    assert_eq!(violations(report(&nothing)), ["error: is required: what Telegram answered"]);
    let nanos = seen(|error| {
        error.occur_time = Some(pbjson_types::Timestamp { seconds: 1, nanos: 1_000_000_000 });
    });
    assert_eq!(violations(report(&nanos)).len(), 1);
}

#[test]
fn one_of_the_ways_to_tell_an_error_is_enough() {
    let none = v1::TelegramError::default;
    for error in [
        v1::TelegramError { r#type: "X".into(), ..none() },
        v1::TelegramError { message: "line one\nline two".into(), ..none() },
        v1::TelegramError { code: 420, ..none() },
        v1::TelegramError { transport_code: -404, ..none() },
    ] {
        assert_eq!(violations(report(&seen(|told| *told = error))), [""; 0]);
    }
    let time = Some(pbjson_types::Timestamp { seconds: 17, nanos: 1_999_999 });
    let (_, told) = report(&seen(|error| error.occur_time = time)).unwrap();
    assert_eq!(told.occurred_at, Some(Time(17_001)));
}

#[test]
fn methods_and_peers_of_an_acquire_are_plain_text() {
    let said = |methods: &[&str], peer: &str| {
        let methods = methods.iter().map(|method| (*method).to_owned()).collect();
        let request = v1::AcquireRequest {
            pool: "demo".into(),
            methods,
            peer: peer.into(),
            ..Default::default()
        };
        violations(acquire(&request, KeyId::new("k"), LeaseSecret::new([0; 16])))
    };
    assert_eq!(said(&["messages.getHistory", "Request"], "канал 1"), [""; 0]);
    let bad = said(&["", "a\u{7f}", "ok"], "a\tb");
    let fields: Vec<_> = bad.iter().filter_map(|v| v.split(": ").next()).collect();
    assert_eq!(fields, ["methods[0]", "methods[1]", "peer"]);
}

#[test]
fn a_cool_down_is_cleared_by_its_scope_and_subject() {
    use v1::CoolDownScope as Wire;
    let ask = |session: &str, scope: Wire, subject: &str| {
        let request = v1::ClearCoolDownRequest {
            pool: "demo".into(),
            session: session.into(),
            scope: scope.into(),
            subject: subject.into(),
            detail: String::new(),
        };
        clear_cool_down(&request, KeyId::new("k"))
    };
    for (session, wire, subject, scope) in [
        ("a", Wire::Session, "", Scope::Session),
        ("a", Wire::Egress, "", Scope::Egress),
        ("a", Wire::Method, "GetHistory", Scope::Method("GetHistory".into())),
        ("a", Wire::Peer, "channel:1", Scope::Peer("channel:1".into())),
        ("a", Wire::Capability, "strangers", Scope::Capability(Capability::Strangers)),
        ("", Wire::PoolMethod, "GetHistory", Scope::Method("GetHistory".into())),
    ] {
        let asked = ask(session, wire, subject).unwrap();
        assert_eq!((asked.scope, asked.session), (scope, SessionName::parse(session)));
    }
    for (session, wire, subject, field) in [
        ("a", Wire::Unspecified, "", "scope"),
        ("a", Wire::Session, "x", "subject"),
        ("a", Wire::Peer, "", "subject"),
        ("a", Wire::Capability, "walking", "subject"),
        ("", Wire::Method, "x", "session"),
        ("a", Wire::PoolMethod, "x", "session"),
    ] {
        let said = violations(ask(session, wire, subject));
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("{field}: ")), "{said:?}");
    }
}

#[test]
fn an_escalation_policy_is_taken_field_by_field_and_its_faults_are_told_by_path() {
    let with = |escalation| {
        let policy = v1::PoolPolicy { escalation: Some(escalation), ..Default::default() };
        let pool = v1::Pool { name: "demo".into(), policy: Some(policy), ..Default::default() };
        create_pool(
            &v1::CreatePoolRequest { pool: Some(pool), detail: String::new() },
            KeyId::new("k"),
        )
    };
    let (_, policy, _) = with(v1::EscalationPolicy {
        session_methods: Some(5),
        method_brake: Some(duration(7, 0)),
        ..Default::default()
    })
    .unwrap();
    let wanted =
        Escalations { session_methods: 5, method_brake: Span::secs(7), ..Escalations::default() };
    assert_eq!(policy.escalation, wanted);
    let shown = escalation::escalation_policy(&policy.escalation);
    let again = escalation::escalations(&mut Check::default(), &shown);
    assert_eq!(again, wanted, "what is shown can be sent");
    let said = violations(with(v1::EscalationPolicy {
        session_methods: Some(1),
        session_rest: Some(duration(90_000, 0)),
        ..Default::default()
    }));
    let fields: Vec<_> = said.iter().filter_map(|v| v.split(": ").next()).collect();
    assert_eq!(
        fields,
        ["pool.policy.escalation.session_rest", "pool.policy.escalation.session_methods"]
    );
}

#[test]
fn what_is_explained_is_checked_like_an_acquire_and_told_by_its_path() {
    let ask = |acquire| violations(explain(&v1::ExplainRequest { acquire }, KeyId::new("k")));
    assert_eq!(ask(None), ["acquire: is required: what would be asked"]);
    let said = ask(Some(v1::AcquireRequest { peer: "a\n".into(), ..Default::default() }));
    let fields: Vec<_> = said.iter().filter_map(|v| v.split(": ").next()).collect();
    assert_eq!(fields, ["acquire.pool", "acquire.peer"]);
    let ignored = v1::AcquireRequest {
        pool: "demo".into(),
        request_id: "ü".into(),
        wait: Some(duration(-1, 0)),
        priority: 99,
        ..Default::default()
    };
    assert_eq!(ask(Some(ignored)), [""; 0]);
}
