//! Every reason that can occur, as a client sees it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use insta::assert_snapshot;
use pbjson_types::Duration;
use telegate::{
    keys::Role,
    pool::{NextRelease, PoolCounts, PoolName, Queue, Refusal, ReleaseCause, Span},
    proto::v1,
    store,
};
use tonic::{
    Code, Request, Status,
    codegen::{Service as _, http::uri::PathAndQuery},
    metadata::MetadataValue,
};

use crate::broker::{Broker, keyed, new_session, seen, write_keys};

fn acquire(pool: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { pool: pool.into(), ..v1::AcquireRequest::default() }
}

async fn refused(broker: &Broker, request: v1::AcquireRequest) -> String {
    seen(&broker.pool().acquire(request).await.unwrap_err())
}

fn lease_id(response: v1::AcquireResponse) -> String {
    response.lease.unwrap().lease_id
}

async fn renew(broker: &Broker, lease_id: String) -> Result<v1::RenewResponse, Status> {
    let request = v1::RenewRequest { lease_id, ttl: None };
    broker.pool().renew(request).await.map(tonic::Response::into_inner)
}

/// Calls a method by its path with any message.
async fn call<T: prost::Message + Default + 'static>(
    broker: &Broker,
    path: &'static str,
    message: T,
) -> Status {
    let mut client = tonic::client::Grpc::new(broker.channel());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<T, v1::AcquireResponse>::default();
    client.unary(Request::new(message), PathAndQuery::from_static(path), codec).await.unwrap_err()
}

#[tokio::test]
async fn keys_roles_and_pools() {
    let mut keys = Vec::new();
    let broker = Broker::with(|folder, config| {
        let all: &[&str] = &["*"];
        keys = write_keys(
            folder,
            &[
                (&[Role::Admin], all),
                (&[Role::Worker], all),
                (&[Role::Worker, Role::Admin], &["mine"]),
            ],
        );
        let path = folder.path().join("keys.toml");
        telegate::config::ServerConfig { keys: Some(path), ..config }
    })
    .await;
    let normal = |text: String| {
        let file = std::fs::read_to_string(broker.folder.path().join("keys.toml")).unwrap();
        let ids = file.lines().filter_map(|line| line.strip_prefix("id = ")?.get(1..11));
        ids.fold(text, |text, id| text.replace(id, "k-00000000"))
    };
    let admin = &keys[0];
    for pool in ["demo", "mine"] {
        let pool = Some(v1::Pool { name: pool.into(), ..v1::Pool::default() });
        let request = keyed(admin, v1::CreatePoolRequest { pool, detail: String::new() });
        broker.admin().create_pool(request).await.unwrap();
    }
    broker.admin().add_session(keyed(admin, new_session("demo", "alice"))).await.unwrap();

    assert_snapshot!("api_key_missing", refused(&broker, acquire("demo")).await);
    let request = keyed("tg_nobodys", acquire("demo"));
    let status = broker.pool().acquire(request).await.unwrap_err();
    assert_snapshot!("api_key_invalid", seen(&status));
    let request = keyed(&keys[1], v1::ListPoolsRequest::default());
    let status = broker.admin().list_pools(request).await.unwrap_err();
    assert_snapshot!("permission_missing_role", normal(seen(&status)));
    let status = broker.pool().acquire(keyed(&keys[2], acquire("demo"))).await.unwrap_err();
    let known = normal(seen(&status));
    let status = broker.pool().acquire(keyed(&keys[2], acquire("none"))).await.unwrap_err();
    let unknown = normal(seen(&status));
    assert_eq!(known.replace("demo", "none"), unknown, "it tells that the pool exists");
    assert_snapshot!("permission_missing_pool", known);

    let granted = broker.pool().acquire(keyed(&keys[1], acquire("demo"))).await.unwrap();
    let request = v1::RenewRequest { lease_id: lease_id(granted.into_inner()), ttl: None };
    let status = broker.pool().renew(keyed(admin, request)).await.unwrap_err();
    assert_snapshot!("permission_missing_holder", seen(&status));

    let mut elsewhere = new_session("mine", "bob");
    elsewhere.credential = new_session("demo", "alice").credential;
    let request = keyed(&keys[2], elsewhere.clone());
    let status = broker.admin().add_session(request).await.unwrap_err();
    assert_snapshot!("credential_already_exists_elsewhere", seen(&status));
    let status = broker.admin().add_session(keyed(admin, elsewhere)).await.unwrap_err();
    assert_snapshot!("credential_already_exists", seen(&status));
}

#[tokio::test]
async fn malformed_requests() {
    let broker = Broker::start().await;
    let wrong = v1::AcquireRequest {
        pool: "De mo".into(),
        ttl: Some(Duration { seconds: -1, nanos: 0 }),
        wait: Some(Duration { seconds: 86_401, nanos: 0 }),
        request_id: "zwölf\n".into(),
        methods: vec!["m".repeat(129), "messages.getHistory".into()],
        peer: "p".repeat(129),
        selector: "country=de,,".into(),
        session: "/".into(),
        purpose: "p".repeat(257),
        form: 99,
        priority: 99,
        probe: false,
    };
    assert_snapshot!("invalid_request", refused(&broker, wrong).await);
    let none = renew(&broker, "demo/alice/hunter2".into()).await.unwrap_err();
    assert!(!seen(&none).contains("hunter2"), "a lease id is repeated");
    assert_snapshot!("invalid_request_lease_id", seen(&none));

    // The first field is a text in one of these messages, and a number in the other.
    let other = v1::ListPoolsRequest { page_size: 7, page_token: String::new() };
    let status = call(&broker, "/telegate.v1.SessionPool/Acquire", other).await;
    assert_snapshot!("invalid_request_unreadable", seen(&status));
    let large = v1::AcquireRequest { purpose: "p".repeat(2_000_000), ..acquire("demo") };
    assert_snapshot!("invalid_request_too_large", refused(&broker, large).await);
}

#[tokio::test]
async fn pools_that_lend_nothing() {
    let broker = Broker::start().await;
    assert_snapshot!("pool_not_found", refused(&broker, acquire("demo")).await);
    broker.fill("demo", &[]).await;
    assert_snapshot!("pool_empty", refused(&broker, acquire("demo")).await);
    broker.admin().add_session(new_session("demo", "alice")).await.unwrap();
    let selector = "country=de,tier in (a,b)".to_owned();
    let request = v1::AcquireRequest { selector, ..acquire("demo") };
    assert_snapshot!("no_matching_session", refused(&broker, request).await);
    let request = v1::AcquireRequest { session: "bob".into(), ..acquire("demo") };
    assert_snapshot!("session_not_found", refused(&broker, request).await);

    let lease = broker.acquire("demo").await.unwrap();
    broker.clock.advance(Span(47_500));
    assert_snapshot!("pool_busy", refused(&broker, acquire("demo")).await);

    let pool = "demo".to_owned();
    broker
        .admin()
        .pause_pool(v1::PausePoolRequest { pool: pool.clone(), detail: String::new() })
        .await
        .unwrap();
    assert_snapshot!("pool_paused", refused(&broker, acquire("demo")).await);
    broker
        .admin()
        .drain_pool(v1::DrainPoolRequest { pool: pool.clone(), detail: String::new() })
        .await
        .unwrap();
    let status = renew(&broker, lease_id(lease.clone())).await.unwrap_err();
    assert_snapshot!("pool_draining", seen(&status));
    broker
        .admin()
        .resume_pool(v1::ResumePoolRequest { pool, detail: String::new() })
        .await
        .unwrap();

    let target = Some(v1::invalidate_request::Target::LeaseId(lease_id(lease)));
    let request = v1::InvalidateRequest { target, ..v1::InvalidateRequest::default() };
    broker.pool().invalidate(request).await.unwrap();
    assert_snapshot!("pool_depleted", refused(&broker, acquire("demo")).await);
}

#[tokio::test]
async fn leases_and_sessions_that_are_not_as_the_caller_thinks() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    let unknown = format!("demo/alice/{}", "0".repeat(32));
    assert_snapshot!("lease_not_found", seen(&renew(&broker, unknown).await.unwrap_err()));

    let request = v1::AcquireRequest { request_id: "job-17".into(), ..acquire("demo") };
    let first = broker.pool().acquire(request.clone()).await.unwrap().into_inner();
    let other = v1::AcquireRequest { purpose: "other".into(), ..request };
    assert_snapshot!("request_id_reused", refused(&broker, other).await);
    let (pool, session) = ("demo".to_owned(), "alice".to_owned());
    let request = v1::RestoreSessionRequest {
        pool: pool.clone(),
        session: session.clone(),
        detail: String::new(),
    };
    let status = broker.admin().restore_session(request).await.unwrap_err();
    assert_snapshot!("inappropriate_state", seen(&status));

    broker.clock.advance(Span::secs(61));
    let lost = renew(&broker, lease_id(first.clone())).await.unwrap_err();
    assert_snapshot!("lease_lost_expired", seen(&lost));
    broker.clock.advance(Span::secs(30));
    broker.acquire("demo").await.unwrap();
    broker.clock.advance(Span::secs(61));
    let lost = renew(&broker, lease_id(first)).await.unwrap_err();
    assert_snapshot!("lease_lost_superseded", seen(&lost));

    let status = broker.admin().add_session(new_session(&pool, &session)).await.unwrap_err();
    assert_snapshot!("session_already_exists", seen(&status));
    let pool = Some(v1::Pool { name: pool, ..v1::Pool::default() });
    let request = v1::CreatePoolRequest { pool, detail: String::new() };
    let status = broker.admin().create_pool(request).await.unwrap_err();
    assert_snapshot!("pool_already_exists", seen(&status));
}

#[tokio::test]
async fn a_broken_world() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    let fail = async |error| {
        broker.store.fail_next(error);
        let request = v1::GetPoolStatusRequest { pool: "demo".into() };
        let text = seen(&broker.pool().get_pool_status(request).await.unwrap_err());
        assert!(!text.contains("hunter2"), "the cause is sent: {text}");
        text
    };
    let cause = || "redis://:hunter2@db".to_owned();
    assert_snapshot!("store_unavailable", fail(store::Error::Unavailable(cause())).await);
    assert_snapshot!("store_recovering", fail(store::Error::Recovering(cause())).await);
    assert_snapshot!("store_key_missing", fail(store::Error::NoKey).await);
    assert_snapshot!("internal", fail(store::Error::Broken(cause())).await);
    let next = NextRelease { after: Span::hours(1), cause: ReleaseCause::CoolDown };
    let counts = PoolCounts { total: 3, flood_wait: 3, ..PoolCounts::default() };
    let pool = PoolName::parse("demo").unwrap();
    let flood = Refusal::PoolFloodWait { pool, counts, next, queue: Queue::default() };
    assert_snapshot!("pool_flood_wait", fail(flood.into()).await);

    let request = v1::RemoveSessionRequest {
        pool: "demo".into(),
        session: "panic".into(),
        detail: String::new(),
    };
    let status = broker.admin().remove_session(request).await.unwrap_err();
    assert_snapshot!("internal_panic", seen(&status));
    assert_eq!(broker.free("demo").await, 1, "it serves on after a panic");
}

#[tokio::test]
async fn what_this_version_has_not() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    let status = call(&broker, "/telegate.v1.SessionPool/Steal", acquire("demo")).await;
    assert_snapshot!("not_implemented_unknown_method", seen(&status));
    let status = call(&broker, "/nowhere/At", acquire("demo")).await;
    assert_snapshot!("not_implemented_unknown_service", seen(&status));
}

/// A message that is sent as it is.
struct Sent(Option<Bytes>);

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}

/// Calls a method with `{1: "demo"}`, as a pool or a lease id, compressed or not; gives the error
/// and what the broker says that it can read.
async fn call_in(
    broker: &Broker,
    method: &str,
    encoding: &str,
    compressed: u8,
) -> (Option<Status>, Option<String>) {
    const PLAIN: &[u8] = b"\x0a\x04demo";
    const GZIP: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 227, 98, 73, 73, 205, 205, 7, 0, 185, 36, 223, 18, 6, 0,
        0, 0,
    ];
    let message = if compressed == 1 { GZIP } else { PLAIN };
    let mut sent = vec![compressed, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    sent.extend(message);
    let request = http::Request::post(format!("http://broker/telegate.v1.SessionPool/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(tonic::body::Body::new(Sent(Some(sent.into()))));
    let mut channel = broker.channel();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let answer = channel.call(request.unwrap()).await.unwrap();
    let reads = answer.headers().get("grpc-accept-encoding");
    let reads = reads.map(|encodings| encodings.to_str().unwrap().to_owned());
    (Status::from_header_map(answer.headers()), reads)
}

#[tokio::test]
async fn who_compresses_is_told_what_can_be_read_whichever_way_the_call_goes() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    // The last goes the generated way always.
    for method in ["Acquire", "Release", "GetPoolStatus"] {
        for compressed in [0, 1] {
            let (refused, reads) = call_in(&broker, method, "gzip", compressed).await;
            assert_snapshot!("not_implemented_compressed", seen(&refused.unwrap()));
            assert_eq!(reads.as_deref(), Some("identity"), "{method}");
        }
    }
    assert_eq!(broker.free("demo").await, 1, "nothing was lent");
    let (refused, _) = call_in(&broker, "Release", "identity", 0).await;
    assert_eq!(refused.unwrap().code(), Code::InvalidArgument, "a lease id was read");
    let (refused, _) = call_in(&broker, "Acquire", "identity", 0).await;
    assert!(refused.is_none());
}

#[tokio::test]
async fn an_error_speaks_the_callers_language() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    for (accepted, name) in [("ru-RU,ru;q=0.9,en;q=0.8", "in_russian"), ("de,en", "in_english")] {
        let mut request = Request::new(acquire("demo"));
        request.metadata_mut().insert("accept-language", MetadataValue::from_static(accepted));
        let status = broker.pool().acquire(request).await.unwrap_err();
        assert_snapshot!(name, seen(&status));
    }
}
