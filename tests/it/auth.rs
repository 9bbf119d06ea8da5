//! Who may do what: keys, roles, pools, and the key file as it changes.

use std::{fs, path::PathBuf};

use telegate::{
    clock::Clock,
    config::ServerConfig,
    keys::{KeyFile, Role},
    pool::Span,
    proto::v1,
    server,
};
use tempfile::TempDir;
use tonic::{Request, codegen::http::uri::PathAndQuery, metadata::MetadataValue};

use crate::broker::{Broker, Lines, eventually, keyed, new_session, reason, write_keys};

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("keys.toml")
}

async fn broker(keys: &[(&[Role], &[&str])]) -> (Broker, Vec<String>) {
    let mut texts = Vec::new();
    let broker = Broker::with(|folder, config| {
        texts = write_keys(folder, keys);
        ServerConfig { keys: Some(path(folder)), ..config }
    })
    .await;
    (broker, texts)
}

/// The reason for which a method refuses an empty message.
async fn refusal(broker: &Broker, path: &str, key: &str) -> String {
    let mut client = tonic::client::Grpc::new(broker.channel());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = PathAndQuery::try_from(path).unwrap();
    match client.unary(keyed(key, ()), path, codec).await {
        Ok(_) => "OK".into(),
        Err(status) => reason(&status),
    }
}

#[tokio::test]
async fn each_role_may_call_what_the_contract_says() {
    let all: &[&str] = &["*"];
    let (broker, keys) =
        broker(&[(&[Role::Worker], all), (&[Role::Observer], all), (&[Role::Admin], all)]).await;
    let table = [
        ("SessionPool", "Acquire Renew KeepAlive Release Report Invalidate", [true, false, true]),
        ("SessionPool", "GetPoolStatus WatchPool", [true, true, true]),
        (
            "SessionAdmin",
            "GetPool ListPools GetSession ListSessions ListSessionEvents ListLeases ListWaiters \
             Explain",
            [false, true, true],
        ),
        (
            "SessionAdmin",
            "CreatePool UpdatePool DeletePool PausePool ResumePool DrainPool AddSession \
             ImportSessions SyncSessions UpdateSession RemoveSession RestoreSession ClearCoolDown \
             RevokeLeases",
            [false, false, true],
        ),
    ];
    let mut methods = 0;
    for (service, names, may) in table {
        for name in names.split_whitespace() {
            let path = format!("/telegate.v1.{service}/{name}");
            for (key, may) in keys.iter().zip(may) {
                let reason = refusal(&broker, &path, key).await;
                assert_eq!(reason != "PERMISSION_MISSING", may, "{path}: {reason}");
            }
            methods += 1;
        }
    }
    assert_eq!(methods, 30);
}

#[tokio::test]
async fn only_an_admin_invalidates_by_name_and_sees_a_proxy() {
    let all: &[&str] = &["*"];
    let (broker, keys) =
        broker(&[(&[Role::Worker], all), (&[Role::Observer], all), (&[Role::Admin], all)]).await;
    let admin = &keys[2];
    let pool = Some(v1::Pool { name: "demo".into(), ..v1::Pool::default() });
    broker
        .admin()
        .create_pool(keyed(admin, v1::CreatePoolRequest { pool, detail: String::new() }))
        .await
        .unwrap();
    let mut new = new_session("demo", "alice");
    new.session.as_mut().unwrap().proxy = "http://proxy:3128".into();
    broker.admin().add_session(keyed(admin, new)).await.unwrap();

    let session = v1::SessionRef { pool: "demo".into(), session: "alice".into() };
    let target = Some(v1::invalidate_request::Target::Session(session));
    let request = v1::InvalidateRequest { target, ..v1::InvalidateRequest::default() };
    let status = broker.pool().invalidate(keyed(&keys[0], request.clone())).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_MISSING");
    broker.pool().invalidate(keyed(admin, request)).await.unwrap();

    let request = v1::GetSessionRequest { pool: "demo".into(), session: "alice".into() };
    for (key, proxy) in [(&keys[1], ""), (admin, "http://proxy:3128")] {
        let read = broker.admin().get_session(keyed(key, request.clone())).await.unwrap();
        assert_eq!(read.into_inner().session.unwrap().proxy, proxy);
    }
}

#[tokio::test]
async fn a_key_sees_its_own_pools_only() {
    let (broker, keys) =
        broker(&[(&[Role::Admin], &["*"]), (&[Role::Admin], &["b", "d", "none"])]).await;
    for pool in ["a", "b", "c", "d"] {
        let pool = Some(v1::Pool { name: pool.into(), ..v1::Pool::default() });
        let request = keyed(&keys[0], v1::CreatePoolRequest { pool, detail: String::new() });
        broker.admin().create_pool(request).await.unwrap();
    }
    let list = async |key: &str, page_size, page_token| {
        let request = v1::ListPoolsRequest { page_size, page_token };
        let page = broker.admin().list_pools(keyed(key, request)).await.unwrap().into_inner();
        let names = page.pools.into_iter().map(|row| row.pool.unwrap().name);
        (names.collect::<String>(), page.next_page_token)
    };
    assert_eq!(list(&keys[0], 0, String::new()).await.0, "abcd");
    assert_eq!(list(&keys[1], 0, String::new()).await, ("bd".into(), String::new()));
    let (first, token) = list(&keys[1], 1, String::new()).await;
    assert_eq!((first.as_str(), list(&keys[1], 1, token).await.0.as_str()), ("b", "d"));

    let pool = Some(v1::Pool { name: "e".into(), ..v1::Pool::default() });
    let request = keyed(&keys[1], v1::CreatePoolRequest { pool, detail: String::new() });
    let status = broker.admin().create_pool(request).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_MISSING");
}

#[tokio::test]
async fn a_bearer_token_does_as_well() {
    let (broker, keys) = broker(&[(&[Role::Observer], &["*"])]).await;
    let call = async |authorization: String| {
        let mut request = Request::new(v1::GetPoolStatusRequest { pool: "demo".into() });
        let value = MetadataValue::try_from(authorization).unwrap();
        request.metadata_mut().insert("authorization", value);
        reason(&broker.pool().get_pool_status(request).await.unwrap_err())
    };
    assert_eq!(call(format!("Bearer {}", keys[0])).await, "POOL_NOT_FOUND");
    assert_eq!(call("Bearer tg_nobodys".into()).await, "API_KEY_INVALID");
    assert_eq!(call(format!("Basic {}", keys[0])).await, "API_KEY_MISSING");
}

#[tokio::test]
async fn the_key_file_is_re_read_and_a_broken_one_keeps_the_old_keys() {
    let (lines, _guard) = Lines::capture();
    let (broker, keys) = broker(&[(&[Role::Observer], &["*"])]).await;
    let path = path(&broker.folder);
    let status = async |key: &str| {
        let request = keyed(key, v1::GetPoolStatusRequest { pool: "demo".into() });
        reason(&broker.pool().get_pool_status(request).await.unwrap_err())
    };
    let mut file = KeyFile::load(&path).unwrap();
    let (id, added) = file.generate("new", vec![Role::Observer], vec!["*".into()], 0).unwrap();
    assert_eq!(status(added.reveal()).await, "API_KEY_INVALID");
    file.save(&path).unwrap();
    eventually("taken up", async || status(added.reveal()).await == "POOL_NOT_FOUND").await;

    let probe = async || status(&keys[0]).await == "POOL_NOT_FOUND";
    fs::write(&path, "[[key]]\nbroken").unwrap();
    eventually("told", async || !lines.with("keys not re-read").is_empty()).await;
    assert!(probe().await);
    fs::remove_file(&path).unwrap();
    eventually("told", async || lines.with("keys not re-read").len() == 2).await;
    assert!(probe().await);
    file.revoke(&id);
    file.save(&path).unwrap();
    eventually("revoked", async || status(added.reveal()).await == "API_KEY_INVALID").await;
    assert!(probe().await);
}

#[tokio::test]
async fn a_missing_or_empty_key_file_is_an_error_with_a_next_step() {
    let start = async |keys: Option<&str>| {
        let mut broker = Broker::with(|folder, config| {
            if let Some(text) = keys {
                fs::write(path(folder), text).unwrap();
            }
            ServerConfig { keys: Some(path(folder)), ..config }
        })
        .await;
        broker.served.take().unwrap().await.unwrap().unwrap_err()
    };
    for (keys, said) in [
        (None, "does not exist; make it with `telegate keys new`"),
        (Some(""), "has no keys; make one with `telegate keys new`"),
        (Some("nonsense"), "mend it, or make a new one with `telegate keys new`"),
    ] {
        let error = start(keys).await;
        assert!(matches!(error, server::Error::Keys(_) | server::Error::NoKeys(_)));
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_key_is_refused_from_its_expiry_on() {
    let (broker, keys) = broker(&[(&[Role::Observer], &["*"])]).await;
    let path = path(&broker.folder);
    let status = async |key: &str| {
        let request = keyed(key, v1::GetPoolStatusRequest { pool: "demo".into() });
        reason(&broker.pool().get_pool_status(request).await.unwrap_err())
    };
    let now = Clock::system().now();
    let made = KeyFile::edit(&path, |file| {
        let mut made = Vec::new();
        for after in [Span::ZERO, Span::secs(3), Span::hours(1)] {
            let (id, secret) = file.generate("e", vec![Role::Observer], vec!["*".into()], 0)?;
            file.expire(&id, now + after);
            made.push(secret);
        }
        Ok(made)
    });
    let [over, soon, later] = &made.unwrap()[..] else { panic!("three were made") };
    eventually("taken up", async || status(later.reveal()).await == "POOL_NOT_FOUND").await;
    assert_eq!(status(over.reveal()).await, "API_KEY_INVALID");
    eventually("expired", async || status(soon.reveal()).await == "API_KEY_INVALID").await;
    assert!(Clock::system().now() >= now + Span::secs(2), "it was refused before its expiry");
    assert_eq!(status(&keys[0]).await, "POOL_NOT_FOUND");
}

#[tokio::test]
async fn keys_are_listed_with_their_last_use_and_never_what_they_are() {
    let (broker, keys) = broker(&[
        (&[Role::Admin], &["*"]),
        (&[Role::Worker, Role::Observer], &["mine"]),
        (&[Role::Admin], &["mine", "other"]),
    ])
    .await;
    let path = path(&broker.folder);
    let file = KeyFile::load(&path).unwrap();
    let ids: Vec<_> = file.entries().iter().map(|entry| entry.id.clone()).collect();
    let list = async |key: &str, size, token: &str| {
        let request = v1::ListKeysRequest { page_size: size, page_token: token.into() };
        broker.admin().list_keys(keyed(key, request)).await.map(tonic::Response::into_inner)
    };
    let first = list(&keys[0], 2, "").await.unwrap();
    let second = list(&keys[0], 2, &first.next_page_token).await.unwrap();
    assert_eq!((first.keys.len(), second.keys.len()), (2, 1));
    let all: Vec<_> = first.keys.into_iter().chain(second.keys).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(
        all.iter().map(|key| &key.id).collect::<Vec<_>>(),
        sorted.iter().collect::<Vec<_>>()
    );
    let find = |keys: &[v1::ApiKey], id: &str| keys.iter().find(|k| k.id == id).unwrap().clone();
    let worker = find(&all, &ids[1]);
    assert_eq!(worker.roles, [1, 2]);
    assert_eq!((worker.pools, worker.last_used_time), (vec!["mine".into()], None));
    assert!(find(&all, &ids[0]).last_used_time.is_some());

    let request = keyed(&keys[1], v1::GetPoolStatusRequest { pool: "mine".into() });
    broker.pool().get_pool_status(request).await.unwrap_err();
    // What was used stays known when the file is re-read.
    KeyFile::edit(&path, |file| file.generate("x", vec![Role::Worker], vec!["*".into()], 0))
        .unwrap();
    eventually("re-read", async || list(&keys[0], 0, "").await.unwrap().keys.len() == 4).await;
    let all = list(&keys[0], 0, "").await.unwrap().keys;
    assert!(find(&all, &ids[1]).last_used_time.is_some());
    assert!(!format!("{all:?}").contains("sha256"));
    // Who may see some pools only sees the keys for these only.
    let some = list(&keys[2], 0, "").await.unwrap().keys;
    let seen: std::collections::BTreeSet<_> = some.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(seen, [ids[1].as_str(), ids[2].as_str()].into());
    let refused = list(&keys[1], 0, "").await.unwrap_err();
    assert_eq!(reason(&refused), "PERMISSION_MISSING");
}
