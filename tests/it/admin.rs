//! What operators change and see over the wire: masks, pages, and who may.

use pbjson_types::{Duration, FieldMask};
use telegate::{pool::Span, proto::v1};
use tonic::Status;

use crate::{
    broker::{Broker, reason, seen},
    grpc::{acquire, telegram_session},
};

/// The proxy of `telegram_session`.
const PROXY: &str = "socks5://user:hunter2@proxy:1080";

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
    let request = v1::UpdatePoolRequest { pool: Some(pool), update_mask, detail: String::new() };
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

async fn update_session(
    broker: &Broker,
    session: v1::Session,
    paths: &[&str],
) -> Result<v1::Session, Status> {
    let session = v1::Session { pool: "demo".into(), name: "+49151".into(), ..session };
    let update_mask = if paths.is_empty() { None } else { Some(mask(paths)) };
    let request =
        v1::UpdateSessionRequest { session: Some(session), update_mask, detail: String::new() };
    Ok(broker.admin().update_session(request).await?.into_inner().session.unwrap())
}

/// What a worker is lent.
async fn lent(broker: &Broker) -> v1::Session {
    broker.acquire("demo").await.unwrap().session.unwrap()
}

#[tokio::test]
async fn a_mask_says_what_of_a_session_changes() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    broker.admin().add_session(telegram_session()).await.unwrap();
    let labels = [("a.b", "1"), ("tier", "x")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let device = v1::DeviceProfile {
        api_id: Some(9),
        device_model: "Pixel".into(),
        ..v1::DeviceProfile::default()
    };
    let wish = v1::Session {
        labels: labels.clone().into(),
        device: Some(device.clone()),
        ..v1::Session::default()
    };

    let paths = ["labels.a.b", "labels.country", "device.api_id", "account_id"];
    let session = update_session(&broker, wish.clone(), &paths).await.unwrap();
    assert_eq!(session.labels, [("a.b".to_owned(), "1".to_owned())].into());
    assert_eq!(session.account_id, None);
    assert_eq!(session.proxy, PROXY);
    let whole = lent(&broker).await.device.unwrap();
    let names = (whole.api_id, whole.api_hash.as_str(), whole.device_model.as_str());
    assert_eq!(names, (Some(9), "hash", "Samsung Galaxy S24"));

    // Without a mask: all that are set; while it is leased, too.
    let session = update_session(&broker, wish.clone(), &[]).await.unwrap();
    assert_eq!(session.state(), v1::SessionState::Leased);
    assert_eq!(session.labels, labels.into());
    assert_eq!((session.device, session.proxy.as_str()), (Some(device), PROXY));
    let session = update_session(&broker, v1::Session::default(), &["proxy", "device", "labels"]);
    let session = session.await.unwrap();
    assert_eq!((session.proxy.as_str(), session.device), ("", None));
    assert!(session.labels.is_empty());
}

#[tokio::test]
async fn a_change_of_a_session_that_would_not_do_is_refused_by_its_path() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    broker.admin().add_session(telegram_session()).await.unwrap();
    let wish = v1::Session {
        labels: [("ä".to_owned(), "1".to_owned())].into(),
        proxy: "http://a b:1".into(),
        ..v1::Session::default()
    };
    let paths = ["epoch", "labels.ä", "device.color", "proxy"];
    let status = update_session(&broker, wish, &paths).await.unwrap_err();
    let fields: Vec<_> = violations(&status)
        .iter()
        .filter_map(|said| Some(said.split_once(": ")?.0.to_owned()))
        .collect();
    let mask = "update_mask";
    assert_eq!(fields, ["session.labels['ä']", "session.proxy", mask, mask, mask]);

    let many = (0..32).map(|n| (format!("k{n}"), String::new())).collect();
    let wish = v1::Session { labels: many, ..v1::Session::default() };
    let paths: Vec<_> = (0..32).map(|n| format!("labels.k{n}")).collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let status = update_session(&broker, wish, &paths).await.unwrap_err();
    assert_eq!(violations(&status), ["session.labels: would be 33; they may be at most 32"]);
}

#[tokio::test]
async fn why_something_was_done_to_a_session_is_kept_and_bounded() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice", "bob"]).await;
    let admin = broker.admin();
    let (pool, session) = ("demo".to_owned(), "alice".to_owned());
    let update = async |detail: &str| {
        let session = v1::Session {
            pool: pool.clone(),
            name: session.clone(),
            account_id: Some(7),
            ..v1::Session::default()
        };
        let (session, detail) = (Some(session), detail.to_owned());
        let request = v1::UpdateSessionRequest { session, update_mask: None, detail };
        admin.clone().update_session(request).await.map(drop)
    };
    let clear = async |detail: &str| {
        let request = v1::ClearCoolDownRequest {
            pool: pool.clone(),
            session: session.clone(),
            scope: v1::CoolDownScope::Session.into(),
            subject: String::new(),
            detail: detail.to_owned(),
        };
        admin.clone().clear_cool_down(request).await.map(drop)
    };
    let restore = async |detail: &str| {
        let (pool, session, detail) = (pool.clone(), session.clone(), detail.to_owned());
        let request = v1::RestoreSessionRequest { pool, session, detail };
        admin.clone().restore_session(request).await.map(drop)
    };
    let remove = async |detail: &str| {
        let (pool, detail) = (pool.clone(), detail.to_owned());
        let request = v1::RemoveSessionRequest { pool, session: "bob".into(), detail };
        admin.clone().remove_session(request).await.map(drop)
    };
    let long = "w".repeat(257);
    for refused in [update(&long).await, clear(&long).await, restore(&long).await] {
        let said = violations(&refused.unwrap_err());
        assert_eq!(said, ["detail: is 257 bytes long; it may be at most 256"]);
    }
    assert_eq!(violations(&remove(&long).await.unwrap_err()).len(), 1);

    update("it was sold").await.unwrap();
    let target = v1::SessionRef { pool: pool.clone(), session: session.clone() };
    let target = Some(v1::invalidate_request::Target::Session(target));
    let request = v1::InvalidateRequest { target, ..v1::InvalidateRequest::default() };
    broker.pool().invalidate(request).await.unwrap();
    restore(&long[..256]).await.unwrap();
    clear("nothing cools down").await.unwrap();
    remove("moved to another pool").await.unwrap();
    let told = async |session: &str| -> Vec<(String, String)> {
        let (pool, session) = (pool.clone(), session.to_owned());
        let request = v1::ListSessionEventsRequest {
            pool,
            session,
            ..v1::ListSessionEventsRequest::default()
        };
        let events = admin.clone().list_session_events(request).await.unwrap().into_inner().events;
        events.into_iter().map(|event| (event.verb, event.detail)).collect()
    };
    let event = |verb: &str, detail: &str| (verb.to_owned(), detail.to_owned());
    let wanted = [
        event("restore", &long[..256]),
        event("invalidate", "OPERATOR"),
        event("update", "account_id: it was sold"),
        event("add", ""),
    ];
    assert_eq!(told("alice").await, wanted);
    assert_eq!(told("").await[0], event("remove", "bob: moved to another pool"));
}

#[tokio::test]
async fn a_proxy_is_checked_like_those_of_files_and_its_password_never_repeated() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let add = async |proxy: &str| {
        let mut request = telegram_session();
        request.session.as_mut().unwrap().proxy = proxy.to_owned();
        Ok(broker.admin().add_session(request).await?.into_inner().session.unwrap().proxy)
    };
    let change = async |proxy: &str| {
        let wish = v1::Session { proxy: proxy.to_owned(), ..v1::Session::default() };
        update_session(&broker, wish, &["proxy"]).await.map(|session| session.proxy)
    };
    let long = format!("socks5://u:hunter2{}@h:1080", "x".repeat(488));
    let refused = [
        ("h:1080:u:hunter2", "does not say what it is; write for example socks5://HOST:PORT"),
        ("none", "does not say what it is; write for example socks5://HOST:PORT"),
        ("hunter2://h:1", "is none of socks5, socks4, http, https, tg"),
        ("socks5://u:hunter2@h", "has no host and port; write for example socks5://HOST:PORT"),
        ("socks5://u:hunter2@:1", "has no host and port; write for example socks5://HOST:PORT"),
        (
            "socks5://u:hunter 2@h:1",
            "is not a URL: it has spaces or letters that belong encoded, like %20",
        ),
        (&long, "is 513 bytes long; it may be at most 512"),
    ];
    let check = |status: Status, proxy: &str, why: &str| {
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(violations(&status), [format!("session.proxy: {why}")], "{proxy}");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(!format!("{status:?}{details}").contains("hunter"), "{status:?}");
    };
    for (proxy, why) in refused {
        check(add(proxy).await.unwrap_err(), proxy, why);
    }
    assert_eq!(add("SOCKS5h://u:hunter2@h:1080/").await.unwrap(), "socks5://u:hunter2@h:1080");
    for (proxy, why) in refused {
        check(change(proxy).await.unwrap_err(), proxy, why);
    }
    assert_eq!(lent(&broker).await.proxy, "socks5://u:hunter2@h:1080", "nothing has changed");
    let fits = long.replacen('x', "", 1);
    for proxy in [fits.as_str(), "https://[::1]:8443", "tg://proxy?server=h&port=443&secret=ee"] {
        assert_eq!(change(proxy).await.unwrap(), proxy);
    }
    assert_eq!(change("").await.unwrap(), "");
}

async fn leases(broker: &Broker, size: i32, token: &str, key: &str) -> v1::ListLeasesResponse {
    let request = v1::ListLeasesRequest {
        pool: "demo".into(),
        page_size: size,
        page_token: token.into(),
        key_id: key.into(),
    };
    broker.admin().list_leases(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn leases_are_listed_by_expiry_without_their_ids() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice", "bob", "carol"]).await;
    for (session, ttl) in [("alice", 60), ("bob", 30), ("carol", 45)] {
        let request = v1::AcquireRequest {
            session: session.into(),
            ttl: Some(secs(ttl)),
            purpose: format!("{session}'s"),
            ..acquire("demo")
        };
        broker.pool().acquire(request).await.unwrap();
    }
    let first = leases(&broker, 2, "", "").await;
    let names = |page: &v1::ListLeasesResponse| -> Vec<String> {
        page.leases.iter().map(|lease| lease.session.clone()).collect()
    };
    assert_eq!(names(&first), ["bob", "carol"]);
    let lease = &first.leases[0];
    assert_eq!(lease.lease_id, "");
    let holder = lease.holder.clone().unwrap();
    assert_eq!((holder.key_id.as_str(), holder.purpose.as_str()), ("anonymous", "bob's"));
    assert_eq!(lease.expire_time.map(|at| at.seconds), Some(1_763_750_030));
    let second = leases(&broker, 2, &first.next_page_token, "").await;
    assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["alice".into()], ""));
    assert_eq!(leases(&broker, 0, "", "anonymous").await.leases.len(), 3);
    assert_eq!(leases(&broker, 0, "", "k-other").await.leases.len(), 0);
    let request = v1::ListLeasesRequest { page_token: "x".into(), ..Default::default() };
    let status = broker.admin().list_leases(request).await.unwrap_err();
    assert_eq!(violations(&status).len(), 2, "{status:?}");
}

async fn revoke(
    broker: &Broker,
    target: v1::revoke_leases_request::Target,
) -> Result<v1::RevokeLeasesResponse, Status> {
    let request = v1::RevokeLeasesRequest {
        pool: "demo".into(),
        target: Some(target),
        detail: "moving house".into(),
        page_token: String::new(),
    };
    Ok(broker.admin().revoke_leases(request).await?.into_inner())
}

#[tokio::test]
async fn the_holder_of_a_revoked_lease_is_told_so_and_why() {
    use v1::revoke_leases_request::Target;
    let broker = Broker::start().await;
    broker.fill("demo", &["alice", "bob"]).await;
    let lease_id = broker.acquire("demo").await.unwrap().lease.unwrap().lease_id;
    broker.acquire("demo").await.unwrap();
    let revoked = revoke(&broker, Target::LeaseId(lease_id.clone())).await.unwrap();
    let sessions: Vec<_> = revoked.leases.iter().map(|lease| lease.session.as_str()).collect();
    assert_eq!((sessions, revoked.leases[0].lease_id.as_str()), (vec!["alice"], ""));
    let request = v1::RenewRequest { lease_id: lease_id.clone(), ttl: None };
    let status = broker.pool().renew(request).await.unwrap_err();
    insta::assert_snapshot!("lease_revoked", seen(&status));
    assert_eq!(revoke(&broker, Target::LeaseId(lease_id)).await.unwrap().leases.len(), 0);
    let all = revoke(&broker, Target::KeyId("anonymous".into())).await.unwrap();
    assert_eq!((all.leases.len(), all.next_page_token.as_str()), (1, ""));
}

#[tokio::test]
async fn many_leases_are_revoked_page_by_page() {
    use v1::revoke_leases_request::Target;
    let broker = Broker::start().await;
    let names: Vec<_> = (0..1100).map(|number| format!("s{number}")).collect();
    broker.fill("demo", &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for _ in &names {
        broker.acquire("demo").await.unwrap();
    }
    let first = revoke(&broker, Target::Selector(String::new())).await.unwrap();
    assert_eq!(first.leases.len(), 1024);
    let request = v1::RevokeLeasesRequest {
        pool: "demo".into(),
        target: Some(Target::Selector(String::new())),
        page_token: first.next_page_token,
        ..v1::RevokeLeasesRequest::default()
    };
    let last = broker.admin().revoke_leases(request).await.unwrap().into_inner();
    assert_eq!((last.leases.len(), last.next_page_token.as_str()), (76, ""));
}

#[tokio::test]
async fn a_revocation_that_would_not_do_is_refused_and_repeats_no_lease_id() {
    use v1::revoke_leases_request::Target;
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let request = v1::RevokeLeasesRequest {
        detail: "x".repeat(257),
        page_token: "?".into(),
        ..v1::RevokeLeasesRequest::default()
    };
    let status = broker.admin().revoke_leases(request).await.unwrap_err();
    assert_eq!(violations(&status).len(), 4, "{status:?}");
    let secret = "00112233445566778899aabbccddeeff";
    let target = Target::LeaseId(format!("other/alice/{secret}"));
    assert!(!format!("{target:?}").contains("0011"));
    let status = revoke(&broker, target).await.unwrap_err();
    assert_eq!(violations(&status), ["lease_id: is of another pool"]);
    assert!(!format!("{status:?}").contains("0011"), "{status:?}");
}

#[tokio::test]
async fn the_history_of_a_session_is_told_newest_first_in_pages() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    broker.acquire("demo").await.unwrap();
    broker.clock.advance(Span::hours(1));
    let session = v1::SessionRef { pool: "demo".into(), session: "alice".into() };
    let request = v1::InvalidateRequest {
        target: Some(v1::invalidate_request::Target::Session(session)),
        reason: v1::InvalidReason::Banned.into(),
        detail: "seen in the news".into(),
    };
    broker.pool().invalidate(request).await.unwrap();
    let mut request = v1::ListSessionEventsRequest {
        pool: "demo".into(),
        session: "alice".into(),
        page_size: 2,
        page_token: String::new(),
    };
    let page = broker.admin().list_session_events(request.clone()).await.unwrap().into_inner();
    let told: Vec<_> = page
        .events
        .iter()
        .map(|e| (e.verb.as_str(), e.by_key_id.as_str(), e.detail.as_str()))
        .collect();
    let invalidated = ("invalidate", "anonymous", "BANNED: seen in the news");
    assert_eq!(told, [invalidated, ("expire", "", "held by anonymous")]);
    let times: Vec<_> = page.events.iter().map(|e| e.time.unwrap().seconds).collect();
    assert_eq!(times, [1_763_753_600, 1_763_750_060]);
    request.page_token = page.next_page_token;
    let page = broker.admin().list_session_events(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.events[0].verb.as_str(), page.next_page_token.as_str()), ("add", ""));
    request.page_token = "x".into();
    let status = broker.admin().list_session_events(request).await.unwrap_err();
    assert_eq!(violations(&status).len(), 1, "{status:?}");
}
