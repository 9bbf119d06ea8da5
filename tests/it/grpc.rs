//! The transport: the way of a lease over the wire, request ids, limits, health, reflection, TLS,
//! hang-ups and the shutdown.

use std::time::Duration;

use insta::assert_snapshot;
use telegate::{
    config::{Limits, ServerConfig, Tls},
    pool::Span,
    proto::v1::{self, credential::Value},
    server,
    store::{self, Health},
};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Request,
    metadata::MetadataValue,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::broker::{Broker, Lines, eventually, new_session, reason, seen};

pub(crate) fn acquire(pool: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { pool: pool.into(), ..v1::AcquireRequest::default() }
}

pub(crate) fn telegram_session() -> v1::AddSessionRequest {
    let mut request = new_session("demo", "+49151");
    let session = request.session.as_mut().unwrap();
    session.proxy = "socks5://user:hunter2@proxy:1080".into();
    session.labels = [("country".to_owned(), "de".to_owned())].into();
    session.device = Some(v1::DeviceProfile {
        api_id: Some(4),
        api_hash: "hash".into(),
        device_model: "Samsung Galaxy S24".into(),
        ..v1::DeviceProfile::default()
    });
    request.credential = Some(v1::Credential {
        value: Some(Value::Telegram(v1::TelegramCredential {
            dc_id: 2,
            auth_key: vec![7; 256],
            address: "149.154.167.51".into(),
            port: 443,
            user_id: Some(42),
            ..v1::TelegramCredential::default()
        })),
        ..v1::Credential::default()
    });
    request
}

#[tokio::test]
async fn a_session_is_lent_renewed_and_given_back() {
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    let added = telegram_session();
    broker.admin().add_session(added.clone()).await.unwrap();

    let purpose = "reads the news".to_owned();
    let request = v1::AcquireRequest { purpose, ..acquire("demo") };
    let granted = broker.pool().acquire(request).await.unwrap().into_inner();
    let lease = granted.lease.unwrap();
    assert_eq!((lease.pool.as_str(), lease.session.as_str()), ("demo", "+49151"));
    assert_eq!(lease.epoch, 1_763_750_000_000);
    assert_eq!(lease.ttl.map(|ttl| ttl.seconds), Some(60));
    assert_eq!(lease.expire_time.map(|at| at.seconds), Some(1_763_750_060));
    let holder = lease.holder.unwrap();
    assert_eq!(holder.key_id, "anonymous");
    assert_eq!(holder.purpose, "reads the news");
    let session = granted.session.unwrap();
    assert_eq!(session.state(), v1::SessionState::Leased);
    assert_eq!(session.account_id, Some(42));
    assert_eq!(session.proxy, added.session.as_ref().unwrap().proxy);
    assert_eq!(session.device, added.session.unwrap().device);
    assert!(granted.credential.unwrap().value == added.credential.unwrap().value);
    assert!(!granted.replayed);

    broker.clock.advance(Span::secs(10));
    let ttl = Some(pbjson_types::Duration { seconds: 120, nanos: 500_000_000 });
    let request = v1::RenewRequest { lease_id: lease.lease_id.clone(), ttl };
    let renewed = broker.pool().renew(request).await.unwrap().into_inner().lease.unwrap();
    assert_eq!(renewed.lease_id, lease.lease_id);
    assert_eq!(
        renewed.expire_time.map(|at| (at.seconds, at.nanos)),
        Some((1_763_750_130, 500_000_000))
    );

    for outcome in [v1::ReleaseOutcome::Released, v1::ReleaseOutcome::AlreadyEnded] {
        let lease_id = lease.lease_id.clone();
        let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
        let released = broker.pool().release(request).await.unwrap().into_inner();
        assert_eq!(released.outcome(), outcome);
    }
    assert_eq!(broker.free("demo").await, 1);
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_lease() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice", "bob"]).await;
    let request = v1::AcquireRequest { request_id: "job 17".into(), ..acquire("demo") };
    let first = broker.pool().acquire(request.clone()).await.unwrap().into_inner();
    let again = broker.pool().acquire(request).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.lease.unwrap().lease_id, first.lease.unwrap().lease_id);
    assert_eq!(broker.free("demo").await, 1);
}

#[tokio::test]
async fn a_credential_that_has_not_the_wanted_form_costs_no_session() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    let form = v1::CredentialForm::TelethonString.into();
    let request = v1::AcquireRequest { form, ..acquire("demo") };
    let status = broker.pool().acquire(request.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_REQUEST");
    assert_eq!(broker.free("demo").await, 1);

    broker.admin().add_session(telegram_session()).await.unwrap();
    let request = v1::AcquireRequest { session: "+49151".into(), ..request };
    let granted = broker.pool().acquire(request).await.unwrap().into_inner();
    let credential = granted.credential.unwrap();
    assert_eq!(credential.form(), v1::CredentialForm::TelethonString);
    assert!(matches!(credential.value, Some(Value::Text(text)) if text.starts_with('1')));
}

#[tokio::test]
async fn an_admin_reads_all_but_the_secrets() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice", "bob", "carol"]).await;
    broker.admin().add_session(telegram_session()).await.unwrap();
    let (pool, session) = ("demo".to_owned(), "+49151".to_owned());
    let request = v1::GetSessionRequest { pool: pool.clone(), session };
    let read = broker.admin().get_session(request).await.unwrap().into_inner().session.unwrap();
    assert_eq!(read.proxy, "socks5://user:hunter2@proxy:1080");
    let device = read.device.unwrap();
    assert_eq!((device.api_hash.as_str(), device.api_id), ("", Some(4)));

    let list = async |page_token, selector: &str, states: &[v1::SessionState]| {
        let request = v1::ListSessionsRequest {
            pool: pool.clone(),
            page_size: 3,
            page_token,
            selector: selector.into(),
            states: states.iter().map(|state| (*state).into()).collect(),
        };
        let page = broker.admin().list_sessions(request).await.unwrap().into_inner();
        let names: Vec<_> = page.sessions.into_iter().map(|session| session.name).collect();
        (names.join(" "), page.next_page_token)
    };
    let (names, token) = list(String::new(), "", &[]).await;
    assert_eq!(names, "+49151 alice bob");
    assert_eq!(list(token, "", &[]).await, ("carol".to_owned(), String::new()));
    assert_eq!(list(String::new(), "country=de", &[]).await.0, "+49151");
    let target = v1::SessionRef { pool: pool.clone(), session: "bob".into() };
    let request = v1::InvalidateRequest {
        target: Some(v1::invalidate_request::Target::Session(target)),
        ..v1::InvalidateRequest::default()
    };
    let out = broker.pool().invalidate(request).await.unwrap().into_inner().session.unwrap();
    assert_eq!(out.invalidation.unwrap().reason(), v1::InvalidReason::Operator);
    assert_eq!(list(String::new(), "", &[v1::SessionState::Invalid]).await.0, "bob");
    let request = v1::RestoreSessionRequest {
        pool: pool.clone(),
        session: "bob".into(),
        detail: String::new(),
    };
    let back = broker.admin().restore_session(request).await.unwrap().into_inner();
    assert_eq!(back.session.unwrap().state(), v1::SessionState::Ready);
    let request = v1::RemoveSessionRequest {
        pool: pool.clone(),
        session: "bob".into(),
        detail: String::new(),
    };
    broker.admin().remove_session(request).await.unwrap();
    assert_eq!(broker.free("demo").await, 3);

    broker.fill("other", &[]).await;
    let request = v1::ListPoolsRequest { page_size: 1, page_token: String::new() };
    let page = broker.admin().list_pools(request).await.unwrap().into_inner();
    let status = page.pools[0].status.as_ref().unwrap();
    assert_eq!((status.pool.as_str(), status.state()), ("demo", v1::PoolState::Ready));
    let request = v1::ListPoolsRequest { page_size: 1, page_token: page.next_page_token };
    let page = broker.admin().list_pools(request).await.unwrap().into_inner();
    assert_eq!(page.pools[0].pool.as_ref().unwrap().name, "other");
    assert_eq!(page.next_page_token, "");
}

#[tokio::test]
async fn a_request_id_comes_back_with_every_answer() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    let call = async |pool: &str, id: Option<&'static str>| {
        let mut request = Request::new(v1::GetPoolStatusRequest { pool: pool.into() });
        if let Some(id) = id {
            request.metadata_mut().insert("x-request-id", MetadataValue::from_static(id));
        }
        let metadata = match broker.pool().get_pool_status(request).await {
            Ok(response) => response.metadata().clone(),
            Err(status) => status.metadata().clone(),
        };
        metadata.get("x-request-id").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(call("demo", Some("job-17")).await, "job-17");
    assert_eq!(call("none", Some("job-18")).await, "job-18");
    assert_eq!(call("demo", Some("not usable")).await.len(), 16);
    assert_ne!(call("demo", None).await, call("demo", None).await);
    let asked = HealthClient::new(broker.channel()).check(HealthCheckRequest::default()).await;
    assert!(asked.unwrap().metadata().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_call_is_one_log_line_that_tells_the_cause_and_no_secret() {
    let (lines, _guard) = Lines::capture();
    let broker = Broker::start().await;
    broker.fill("demo", &[]).await;
    broker.admin().add_session(telegram_session()).await.unwrap();
    let granted = broker.acquire("demo").await.unwrap();
    let lease_id = granted.lease.unwrap().lease_id;
    broker.acquire("demo").await.unwrap_err();
    let request = v1::ReleaseRequest { lease_id: lease_id.clone(), ..Default::default() };
    broker.pool().release(request).await.unwrap();
    broker.store.fail_next(store::Error::Unavailable("connection refused".into()));
    let mut request = Request::new(v1::GetPoolStatusRequest { pool: "demo".into() });
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("job-17"));
    broker.pool().get_pool_status(request).await.unwrap_err();

    let acquires = lines.with("method=\"Acquire\"");
    assert_eq!(acquires.len(), 2, "{}", lines.text());
    assert!(acquires[0].contains("DEBUG") && acquires[0].contains("code=\"OK\""));
    for part in ["INFO", "code=ResourceExhausted", "reason=\"POOL_BUSY\"", "pool=\"demo\"", "ms="] {
        assert!(acquires[1].contains(part), "{part}: {}", acquires[1]);
    }
    let failed = lines.with("connection refused");
    assert_eq!(failed.len(), 1, "{}", lines.text());
    for part in ["WARN", "request_id=\"job-17\"", "key=\"anonymous\"", "STORE_UNAVAILABLE"] {
        assert!(failed[0].contains(part), "{part}: {}", failed[0]);
    }
    let secret = lease_id.rsplit('/').next().unwrap();
    for hidden in [secret, "hunter2", "[7, 7"] {
        assert_eq!(lines.with(hidden), [""; 0], "{hidden} is in the log");
    }
}

async fn health(broker: &Broker, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(broker.channel()).check(request).await.unwrap().into_inner();
    answer.status()
}

#[tokio::test]
async fn health_follows_the_store() {
    let broker = Broker::start().await;
    for (store, told) in [
        (Health::Up, ServingStatus::Serving),
        (Health::Down, ServingStatus::NotServing),
        (Health::Up, ServingStatus::Serving),
    ] {
        broker.store.set_health(store);
        for service in ["", "telegate.v1.SessionPool", "telegate.v1.SessionAdmin"] {
            let what = format!("{service} {told:?}");
            eventually(&what, async || health(&broker, service).await == told).await;
        }
        // Lives whatever the store does.
        assert_eq!(health(&broker, "telegate.live").await, ServingStatus::Serving);
    }
    let request = HealthCheckRequest { service: "telegate.v1.Nothing".into() };
    let unknown = HealthClient::new(broker.channel()).check(request).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

macro_rules! reflect {
    ($version:ident, $channel:expr, $ask:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let message_request =
            Some($ask(MessageRequest::ListServices, MessageRequest::FileContainingSymbol));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut client = ServerReflectionClient::new($channel);
        let answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        match answers.into_inner().next().await.unwrap().unwrap().message_response {
            Some(MessageResponse::ListServicesResponse(list)) => {
                list.service.into_iter().map(|service| service.name).collect::<Vec<_>>().join(" ")
            }
            Some(MessageResponse::FileDescriptorResponse(files)) => {
                let bytes = files.file_descriptor_proto.concat();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            other => panic!("{other:?}"),
        }
    }};
}

#[tokio::test]
async fn reflection_tells_the_services_and_the_types_of_error_details() {
    let broker = Broker::start().await;
    let listed = [
        reflect!(v1, broker.channel(), |list: fn(String) -> _, _: fn(String) -> _| list(
            String::new()
        )),
        reflect!(v1alpha, broker.channel(), |list: fn(String) -> _, _: fn(String) -> _| list(
            String::new()
        )),
    ];
    for services in listed {
        for service in
            ["telegate.v1.SessionPool", "telegate.v1.SessionAdmin", "grpc.health.v1.Health"]
        {
            assert!(services.contains(service), "{services}");
        }
    }
    for symbol in ["google.rpc.RetryInfo", "google.rpc.ErrorInfo", "telegate.v1.Lease"] {
        let name = symbol.rsplit('.').next().unwrap();
        let files = [
            reflect!(v1, broker.channel(), |_: fn(String) -> _, file: fn(String) -> _| file(
                symbol.into()
            )),
            reflect!(v1alpha, broker.channel(), |_: fn(String) -> _, file: fn(String) -> _| file(
                symbol.into()
            )),
        ];
        assert!(files.iter().all(|file| file.contains(name)), "{symbol}");
    }
}

#[tokio::test]
async fn a_hang_up_undoes_the_grant() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    broker.store.hold_answers();
    let channel = broker.channel();
    let mut client = v1::session_pool_client::SessionPoolClient::new(channel.clone());
    let waiting = tokio::spawn(async move { client.acquire(acquire("demo")).await });
    eventually("granted inside", async || broker.free("demo").await == 0).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    // On the same connection, so that the broker has read of the hang-up before it answers.
    let mut client = v1::session_pool_client::SessionPoolClient::new(channel);
    let request = v1::GetPoolStatusRequest { pool: "demo".into() };
    client.get_pool_status(request).await.unwrap();
    broker.store.go_on();
    eventually("undone", async || broker.free("demo").await == 1).await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_ended_and_its_grant_undone() {
    let limits = Limits { call_timeout: Duration::from_millis(100), ..Limits::default() };
    let broker = Broker::with(|_, config| ServerConfig { limits, ..config }).await;
    broker.fill("demo", &["alice"]).await;
    broker.store.hold_answers();
    let status = broker.acquire("demo").await.unwrap_err();
    assert_eq!(reason(&status), "STORE_UNAVAILABLE");
    broker.store.go_on();
    eventually("undone", async || broker.free("demo").await == 1).await;
}

#[tokio::test]
async fn calls_beyond_the_limit_stand_in_line() {
    let limits = Limits { max_in_flight: 1, ..Limits::default() };
    let broker = Broker::with(|_, config| ServerConfig { limits, ..config }).await;
    broker.fill("demo", &["alice"]).await;
    broker.store.hold_answers();
    let mut client = broker.pool();
    let first = tokio::spawn(async move { client.acquire(acquire("demo")).await });
    eventually("the first is under way", async || broker.store.held() == 1).await;
    let mut client = broker.pool();
    let request = v1::GetPoolStatusRequest { pool: "demo".into() };
    let second = tokio::spawn(async move { client.get_pool_status(request).await });
    // Probes are not calls: they pass, and by then the second could have been answered.
    assert_eq!(health(&broker, "").await, ServingStatus::Serving);
    assert!(!second.is_finished());
    broker.store.go_on();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_refuses_new_calls_and_finishes_those_under_way() {
    let mut broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    broker.store.hold_answers();
    let mut client = broker.pool();
    let under_way = tokio::spawn(async move { client.acquire(acquire("demo")).await });
    eventually("under way", async || broker.store.held() == 1).await;
    let watched = HealthClient::new(broker.channel()).watch(HealthCheckRequest::default()).await;
    let mut watched = watched.unwrap().into_inner();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);

    broker.stop();
    assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let request = v1::GetPoolStatusRequest { pool: "demo".into() };
    eventually("refused", async || broker.pool().get_pool_status(request.clone()).await.is_err())
        .await;
    let refused = broker.pool().get_pool_status(request.clone()).await.unwrap_err();
    assert_snapshot!("shutting_down", seen(&refused));
    assert!(!under_way.is_finished());

    broker.store.go_on();
    let granted = under_way.await.unwrap().unwrap().into_inner();
    assert_eq!(granted.lease.unwrap().session, "alice");
    broker.served.take().unwrap().await.unwrap().unwrap();
    let closed = broker.pool().get_pool_status(request).await.unwrap_err();
    assert_eq!((closed.code(), reason(&closed).as_str()), (Code::Unavailable, ""));
}

#[tokio::test]
async fn a_shutdown_waits_no_longer_than_it_may() {
    let drain_timeout = Duration::from_millis(50);
    let mut broker = Broker::with(|_, config| ServerConfig { drain_timeout, ..config }).await;
    broker.fill("demo", &["alice"]).await;
    broker.store.hold_answers();
    let mut client = broker.pool();
    let under_way = tokio::spawn(async move { client.acquire(acquire("demo")).await });
    eventually("under way", async || broker.store.held() == 1).await;
    broker.stop();
    broker.served.take().unwrap().await.unwrap().unwrap();
    assert!(!under_way.is_finished());
}

fn file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

#[tokio::test]
async fn tls_serves_and_mutual_tls_wants_the_clients_certificate() {
    let pem = |name: &str| std::fs::read(file(name)).unwrap();
    let status = async |broker: &Broker, tls: ClientTlsConfig| {
        let tls = tls.ca_certificate(Certificate::from_pem(pem("ca.pem"))).domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{}", broker.address)).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
        let mut client = v1::session_pool_client::SessionPoolClient::new(channel);
        let request = v1::GetPoolStatusRequest { pool: "demo".into() };
        client.get_pool_status(request).await.unwrap_err()
    };
    let with_tls = |client_ca| {
        let tls = Tls { cert: file("server.pem"), key: file("server.key"), client_ca };
        Broker::with(|_, config| ServerConfig { tls: Some(tls), ..config })
    };
    let identity = || {
        let identity = Identity::from_pem(pem("client.pem"), pem("client.key"));
        ClientTlsConfig::new().identity(identity)
    };
    let broker = with_tls(None).await;
    assert_eq!(reason(&status(&broker, ClientTlsConfig::new()).await), "POOL_NOT_FOUND");
    let broker = with_tls(Some(file("ca.pem"))).await;
    assert_eq!(reason(&status(&broker, identity()).await), "POOL_NOT_FOUND");
    assert_eq!(reason(&status(&broker, ClientTlsConfig::new()).await), "");
}

#[tokio::test]
async fn files_for_tls_that_do_not_do_are_told_at_the_start() {
    let start = async |cert: &str| {
        let tls = Tls { cert: file(cert), key: file("server.key"), client_ca: None };
        let broker = Broker::with(|_, config| ServerConfig { tls: Some(tls), ..config }).await;
        let mut broker = broker;
        broker.served.take().unwrap().await.unwrap().unwrap_err()
    };
    let missing = start("none.pem").await;
    assert!(matches!(missing, server::Error::TlsFile { .. }), "{missing}");
    let broken = start("README.md").await;
    assert!(matches!(broken, server::Error::Tls(_)), "{broken}");
    assert!(broken.to_string().contains("check that cert, key"), "{broken}");
}
