//! Secrets stay where they belong: a broker is driven through the whole life of its sessions with
//! every log line on, and nothing that was planted is found in what it and the commands said, nor
//! in what the store keeps.

mod made_up;
mod operate;
mod planted;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use telegate::{
    client::{Client, Endpoint, Error},
    proto::v1::{self, CredentialForm, credential::Value, session_pool_client::SessionPoolClient},
};
use tempfile::TempDir;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

use self::{
    made_up::{
        API_HASH, NEW_API_HASH, NEW_PROXY_PASSWORD, PROXY_PASSWORD, SECOND_FACTOR,
        SYNC_PROXY_PASSWORD, ask, key, opaque, telegram,
    },
    operate::{FOLLOWED, fill_folder, operate},
    planted::Planted,
};
use super::{Broker, Said, file_in, telegate};
use crate::{
    broker::keyed,
    harness::{
        OTHER_STORE_KEY, STORE_KEY, STORE_KEYS,
        redis::{Keeps, RedisServer},
    },
    import::{contents, telethon_file},
};

const REDIS_PASSWORD: &str = "redis-swordfish-9";
/// Everything that the broker and the libraries under it can say.
const LOUD: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,tower=trace,tonic=trace,\
                    rustls=trace,redis=trace";

/// What the world holds: a broker to start again and again, and all that was planted.
struct World {
    folder: Option<TempDir>,
    store: String,
    format: &'static str,
    admin: String,
    worker: String,
    /// Secrets of sessions and brokers, which nobody may say and no store may keep.
    planted: Planted,
    /// Lease ids, which nobody may say but the answer of the Acquire.
    leases: Planted,
    /// What the broker answered when it said no, and what it tells everybody.
    said: Vec<String>,
}

impl World {
    fn new(folder: TempDir, store: String, format: &'static str) -> Self {
        let keys = folder.path().join("keys.toml");
        let made = |name: &str, role: &str| {
            let mut command = telegate();
            command.args(["keys", "new", "--name", name, "--role", role, "--keys"]).arg(&keys);
            Said::of(&command.output().unwrap()).field("key")
        };
        let (admin, worker) = (made("admin", "admin"), made("worker", "worker"));
        let mut planted = Planted::default();
        for seed in 1..=7 {
            planted.bytes(&format!("auth key {seed}"), &key(seed));
        }
        planted.text("the admin's key", &admin[4..]);
        planted.text("the worker's key", &worker[4..]);
        planted.text("the store key", &STORE_KEY[14..]);
        planted.text("the other store key", &OTHER_STORE_KEY[14..]);
        for secret in [STORE_KEY, OTHER_STORE_KEY] {
            let bits = BASE64_URL_SAFE_NO_PAD.decode(&secret[14..]).unwrap();
            planted.bytes("a store key's bits", &bits);
        }
        planted.text("the proxy's password", PROXY_PASSWORD);
        planted.text("the new proxy's password", NEW_PROXY_PASSWORD);
        planted.text("the password of a proxy in a manifest", SYNC_PROXY_PASSWORD);
        planted.text("the new api_hash", NEW_API_HASH);
        planted.text("the api_hash", API_HASH);
        planted.text("the second factor", SECOND_FACTOR);
        planted.text("the password of Redis", REDIS_PASSWORD);
        let (leases, said) = (Planted::default(), Vec::new());
        Self { folder: Some(folder), store, format, admin, worker, planted, leases, said }
    }

    async fn broker(&mut self, flags: &[&str], variables: &[(&str, &str)]) -> Broker {
        let folder = self.folder.take().unwrap();
        let keys = folder.path().join("keys.toml").display().to_string();
        let loud = ["--keys", &keys, "--log", LOUD, "--log-format", self.format];
        let flags = [&loud, flags].concat();
        Broker::serve(folder, &self.store, &flags, variables).await
    }

    /// Ends a broker and searches all that it said.
    async fn stop(&mut self, broker: Broker) {
        let folder = broker.stop().await;
        for name in ["said", "log"] {
            let said = fs::read(folder.path().join(name)).unwrap();
            if name == "log" {
                let lines = String::from_utf8_lossy(&said).lines().count();
                assert!(lines > 100, "the broker is not loud: {lines} lines");
            }
            self.planted.assert_absent(&format!("the broker's {name}"), &said);
            self.leases.assert_absent(&format!("the broker's {name}"), &said);
        }
        self.folder = Some(folder);
    }

    /// Runs a command as the admin, and searches what it said beside its results.
    fn run(&self, broker: &Broker, words: &[&str]) -> Said {
        let mut command = telegate();
        command.env("TELEGATE_ADDRESS", &broker.address).env("TELEGATE_KEY", &self.admin);
        let said = Said::of(&command.args(words).output().unwrap());
        self.search(&words.join(" "), &said);
        said
    }

    fn search(&self, words: &str, said: &Said) {
        self.planted.assert_absent(&format!("stderr of {words}"), &said.err);
        self.leases.assert_absent(&format!("stderr of {words}"), &said.err);
        // Only who acquires is told of credentials, and who administers sees the proxy.
        if !words.starts_with("acquire") {
            let found = self.planted.found_in(&format!("stdout of {words}"), said.out.as_bytes());
            let may = |what: &&String| words.starts_with("session") && what.contains("proxy");
            let found: Vec<_> = found.iter().filter(|what| !may(what)).collect();
            assert!(found.is_empty(), "{found:#?}");
            self.leases.assert_absent(&format!("stdout of {words}"), &said.out);
        }
    }

    async fn client(&self, broker: &Broker, key: &str) -> Client {
        let (address, key) = (broker.address.clone(), Some(key.to_owned()));
        Client::connect(Endpoint { address, key, ..Endpoint::default() }).await.unwrap()
    }

    /// Notes what the broker said when it said no.
    fn refused<T>(&mut self, answer: Result<T, Error>, reason: &str) {
        let Err(error) = answer else { panic!("granted, not {reason}") };
        let said = format!("{error} {error:?}");
        assert!(said.contains(reason), "{reason}: {said}");
        self.said.push(said);
    }

    async fn lend(&mut self, client: &Client, ask: v1::AcquireRequest) -> String {
        let granted = client.acquire(ask).await.unwrap();
        let lease = granted.lease.unwrap();
        let secret = lease.lease_id.rsplit('/').next().unwrap();
        self.leases.text(&format!("lease {}", self.leases.len()), secret);
        lease.lease_id
    }

    /// Searches every file below a folder; what is in the store must not be there.
    fn search_store(&self, folder: &Path) {
        for (path, bytes) in contents(folder) {
            self.planted.assert_absent(&path.display().to_string(), bytes);
        }
    }
}

fn channel(broker: &Broker) -> Channel {
    Channel::from_shared(format!("http://{}", broker.address)).unwrap().connect_lazy()
}

/// Sessions come in: one by each way, and some that are refused.
async fn fill(world: &mut World, broker: &Broker) {
    world.run(broker, &["pool", "create", "work"]).done();
    let admin = world.client(broker, &world.admin).await;
    admin.add_session(telegram("alice", 1)).await.unwrap();
    admin.add_session(telegram("dora", 2)).await.unwrap();
    admin.add_session(opaque("vault")).await.unwrap();
    world.refused(admin.add_session(telegram("alice", 9)).await, "SESSION_ALREADY_EXISTS");
    world.refused(admin.add_session(telegram("again", 1)).await, "CREDENTIAL_ALREADY_EXISTS");
    let mut wrong = telegram("wrong/name", 2);
    wrong.session.as_mut().unwrap().proxy = PROXY_PASSWORD.repeat(40);
    if let Some(Value::Telegram(telegram)) = &mut wrong.credential.as_mut().unwrap().value {
        telegram.auth_key.truncate(100);
        SECOND_FACTOR.clone_into(&mut telegram.address);
    }
    world.refused(admin.add_session(wrong).await, "INVALID_REQUEST");
    let file = broker.path("bob.session");
    telethon_file(&file, 4, &key(3));
    world.run(broker, &["import", file.to_str().unwrap(), "--pool", "work"]).done();
    world.run(broker, &["import", file.to_str().unwrap(), "--pool", "work", "--json"]).done();
    fs::remove_file(file).unwrap();
    world.refused(
        world.client(broker, &world.worker).await.add_session(opaque("x")).await,
        "PERMISSION_MISSING",
    );
}

/// Sessions are lent in each form, renewed, released, lost, taken out and brought back.
async fn live(world: &mut World, broker: &Broker) {
    let worker = world.client(broker, &world.worker).await;
    for form in [
        CredentialForm::Raw,
        CredentialForm::TelethonString,
        CredentialForm::PyrogramString,
        CredentialForm::GramjsString,
        CredentialForm::GotdJson,
        CredentialForm::MtcuteString,
    ] {
        let lease_id = world.lend(&worker, ask("alice", form)).await;
        let renew = v1::RenewRequest { lease_id: lease_id.clone(), ttl: None };
        worker.renew(renew).await.unwrap();
        let release = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
        worker.release(release.clone()).await.unwrap();
        worker.release(release).await.unwrap();
    }
    let lease_id = world.lend(&worker, ask("vault", CredentialForm::Raw)).await;
    let busy = worker.acquire(ask("vault", CredentialForm::Raw)).await;
    world.refused(busy, "POOL_BUSY");
    let target = Some(v1::invalidate_request::Target::LeaseId(lease_id.clone()));
    let invalidate = v1::InvalidateRequest { target, ..v1::InvalidateRequest::default() };
    worker.invalidate(invalidate).await.unwrap();
    let lost = worker.renew(v1::RenewRequest { lease_id: lease_id.clone(), ttl: None }).await;
    world.refused(lost, "LEASE_LOST");
    let form = worker.acquire(ask("bob", CredentialForm::PyrogramString)).await;
    world.refused(form, "INVALID_REQUEST");
    for lease_id in [format!("{lease_id}0"), lease_id.replace("vault", "bob")] {
        let renew = v1::RenewRequest { lease_id, ttl: None };
        world.refused(worker.renew(renew).await, "Refused");
    }
    let admin = world.client(broker, &world.admin).await;
    let held = world.lend(&worker, ask("bob", CredentialForm::Raw)).await;
    let release = v1::ReleaseRequest { lease_id: held, ..v1::ReleaseRequest::default() };
    world.refused(admin.release(release).await, "PERMISSION_MISSING");
    // A client that does not tell its library that the key is a secret.
    let channel = channel(broker);
    let plain = keyed(&world.worker, ask("nobody", CredentialForm::Raw));
    SessionPoolClient::new(channel.clone()).acquire(plain).await.unwrap_err();
    let mut bearer = tonic::Request::new(ask("nobody", CredentialForm::Raw));
    let value = format!("Bearer {}", world.worker).parse().unwrap();
    bearer.metadata_mut().insert("authorization", value);
    SessionPoolClient::new(channel).acquire(bearer).await.unwrap_err();
    let stranger = world.client(broker, &format!("tg_{SECOND_FACTOR}")).await;
    world.refused(stranger.acquire(ask("", CredentialForm::Raw)).await, "API_KEY_INVALID");
}

/// An operator looks at everything, by the command.
async fn look(world: &mut World, broker: &Broker) {
    for words in [
        "status",
        "pool list",
        "session list --pool work",
        "session show --pool work alice",
        "session show --pool work nobody",
        "session list --pool work --json",
        "restore --pool work vault",
        "restore --pool work vault",
        "acquire --pool work --session alice --form telethon-string",
        "release work/alice/00112233445566778899aabbccddeeff",
        "renew nonsense",
        "invalidate --pool work --session bob",
        "session remove --pool work vault",
        "keys rotate-store",
        "keys rotate-store --json",
        "pool pause work",
        "acquire --pool work",
        "pool resume work",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        let said = world.run(broker, &words);
        assert!(words[0] != "keys" || said.code == 0, "{said:?}");
        if words[0] == "acquire" && said.code == 0 {
            let lease = said.field("lease");
            world.leases.text("the command's lease", lease.rsplit('/').next().unwrap());
        }
    }
    let channel = channel(broker);
    let mut health = HealthClient::new(channel.clone());
    for service in ["telegate.live", "telegate.v1.SessionPool", "nobody"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        world.said.push(format!("{:?}", health.check(request).await));
    }
    let mut reflection = ServerReflectionClient::new(channel);
    for request in [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("telegate.v1.Credential".to_owned()),
        MessageRequest::FileContainingSymbol("telegate.v1.Nobody".to_owned()),
    ] {
        let message_request = Some(request);
        let request = ServerReflectionRequest { message_request, ..<_>::default() };
        let asked = tokio_stream::once(request);
        let mut told = reflection.server_reflection_info(asked).await.unwrap().into_inner();
        while let Some(told) = told.next().await {
            world.said.push(format!("{told:?}"));
        }
    }
}

/// Brokers that cannot start tell why, and repeat no secret.
fn wrong_starts(world: &World, folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    fs::write(at("wrong.keys"), format!("{STORE_KEY}\n{OTHER_STORE_KEY}x\n")).unwrap();
    fs::set_permissions(at("wrong.keys"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(at("open.keys"), STORE_KEY).unwrap();
    fs::set_permissions(at("open.keys"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(at("wrong.toml"), format!("store_keys = \"{STORE_KEY}\"\nlog = 1\n")).unwrap();
    fs::write(at("torn.toml"), format!("store_key_file = \"{STORE_KEY}\n")).unwrap();
    fs::write(at("api.toml"), format!("[[key]]\nid = \"{}\"\n", world.admin)).unwrap();
    let twice = format!("{STORE_KEY} {STORE_KEY}");
    for (flags, variables) in [
        (vec!["--store-key-file", &at("wrong.keys")], vec![]),
        (vec!["--store-key-file", &at("open.keys")], vec![]),
        (vec!["--store-key-file", STORE_KEY], vec![]),
        (vec!["--config", &at("wrong.toml")], vec![]),
        (vec!["--config", &at("torn.toml")], vec![]),
        (vec!["--store", &format!("mysql://ann:{REDIS_PASSWORD}@db/0")], vec![]),
        (vec!["--store", &format!("redis://:{REDIS_PASSWORD}@127.0.0.1:1/0")], vec![]),
        (vec![], vec![(STORE_KEYS, twice.as_str())]),
        (vec![], vec![(STORE_KEYS, &STORE_KEY[..56])]),
        (vec!["--keep-unencrypted"], vec![(STORE_KEYS, STORE_KEY)]),
    ] {
        let store = ["--store", &format!("embedded:{}", at("none.db"))].map(str::to_owned);
        let mut command = telegate();
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", LOUD]).args(&flags);
        if !flags.contains(&"--store") {
            command.args(store);
        }
        let said = Said::of(&command.envs(variables).output().unwrap());
        assert!([64, 69].contains(&said.code), "{flags:?}: {said:?}");
        world.search(&flags.join(" ").replace(STORE_KEY, "…"), &said);
    }
}

/// The whole life, from the first session to a broker with the wrong key.
async fn life(mut world: World, in_store: impl Fn(&World)) {
    let keys = world.folder.as_ref().unwrap().path().join("store.keys");
    let write = |keys: &Path, text: &str| {
        fs::write(keys, text).unwrap();
        fs::set_permissions(keys, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&keys, STORE_KEY);
    let file = keys.display().to_string();
    let followed = world.folder.as_ref().unwrap().path().join(FOLLOWED);
    fill_folder(&followed, 7);
    let follow = format!("{FOLLOWED}={}", followed.display());
    let flags = ["--store-key-file", &file, "--sync", &follow];
    let broker = world.broker(&flags, &[]).await;
    fill(&mut world, &broker).await;
    live(&mut world, &broker).await;
    operate(&mut world, &broker).await;
    world.stop(broker).await;
    fs::remove_file(&keys).unwrap();
    in_store(&world);

    let both = format!("{OTHER_STORE_KEY},{STORE_KEY}");
    let broker = world.broker(&[], &[(STORE_KEYS, &both)]).await;
    look(&mut world, &broker).await;
    live_again(&mut world, &broker).await;
    world.stop(broker).await;

    let broker = world.broker(&[], &[(STORE_KEYS, STORE_KEY)]).await;
    let worker = world.client(&broker, &world.worker).await;
    world.refused(worker.acquire(ask("dora", CredentialForm::Raw)).await, "INTERNAL");
    world.run(&broker, &["session", "show", "--pool", "work", "dora"]);
    world.run(&broker, &["keys", "rotate-store"]);
    world.stop(broker).await;

    let broker = world.broker(&[], &[]).await;
    let admin = world.client(&broker, &world.admin).await;
    world.refused(admin.add_session(telegram("carol", 2)).await, "STORE_KEY_MISSING");
    world.stop(broker).await;

    let folder = world.folder.take().unwrap();
    wrong_starts(&world, folder.path());
    for said in &world.said {
        world.planted.assert_absent("an answer", said);
        world.leases.assert_absent("an answer", said);
    }
    assert!(world.leases.len() > 8 && world.said.len() > 15, "too little was done");
    world.folder = Some(folder);
    in_store(&world);
}

async fn live_again(world: &mut World, broker: &Broker) {
    let worker = world.client(broker, &world.worker).await;
    let admin = world.client(broker, &world.admin).await;
    let removed = v1::RestoreSessionRequest {
        pool: "work".into(),
        session: "bob".into(),
        detail: String::new(),
    };
    admin.restore_session(removed).await.unwrap();
    let busy = worker.acquire(ask("alice", CredentialForm::Raw)).await;
    world.refused(busy, "POOL_BUSY");
    let target = v1::SessionRef { pool: "work".into(), session: "alice".into() };
    let target = Some(v1::invalidate_request::Target::Session(target));
    let invalidate = v1::InvalidateRequest { target, ..v1::InvalidateRequest::default() };
    admin.invalidate(invalidate).await.unwrap();
}

/// The files of the embedded store.
fn database(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let files = contents(world.folder.as_ref().unwrap().path());
    let is_store = |path: &Path| path.display().to_string().contains("telegate.db");
    files.into_iter().filter(|(path, _)| is_store(path)).collect()
}

async fn embedded(format: &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let store = file_in(&folder);
    life(World::new(folder, store, format), |world| {
        let files = database(world);
        assert!(!files.is_empty());
        for (path, bytes) in files {
            world.planted.assert_absent(&path.display().to_string(), bytes);
        }
    })
    .await;
}

/// A server of one's own with a password, whose files are not packed.
fn server() -> Option<(RedisServer, String)> {
    let server = RedisServer::start(Keeps::Everything)?;
    server.command(&["CONFIG", "SET", "rdbcompression", "no"]);
    server.command(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]);
    let url = server.url().replace("redis://", &format!("redis://:{REDIS_PASSWORD}@"));
    Some((server, url))
}

async fn redis(format: &'static str) {
    let Some((server, url)) = server() else { return };
    life(World::new(tempfile::tempdir().unwrap(), url, format), |world| {
        assert_eq!(server.command(&["SAVE"]), "OK");
        assert!(server.folder().join("dump.rdb").exists());
        world.search_store(server.folder());
    })
    .await;
}

#[tokio::test]
async fn nothing_is_told_and_nothing_is_kept_with_the_embedded_store_and_text() {
    embedded("text").await;
}

#[tokio::test]
async fn nothing_is_told_and_nothing_is_kept_with_the_embedded_store_and_json() {
    embedded("json").await;
}

#[tokio::test]
async fn nothing_is_told_and_nothing_is_kept_with_redis_and_text() {
    redis("text").await;
}

#[tokio::test]
async fn nothing_is_told_and_nothing_is_kept_with_redis_and_json() {
    redis("json").await;
}

/// The search is worth something: without sealing it finds all that a store is given.
#[tokio::test]
async fn unsealed_secrets_are_found_in_either_store() {
    let wanted = ["auth key 1, raw", "proxy's password", "api_hash", "second factor"];
    let all_in = |found: &[String]| {
        let is_in = |what: &&str| found.iter().any(|found| found.contains(*what));
        assert!(wanted.iter().all(is_in), "{found:?}");
    };
    let folder = tempfile::tempdir().unwrap();
    let store = file_in(&folder);
    let mut world = World::new(folder, store, "text");
    let broker = world.broker(&["--keep-unencrypted"], &[]).await;
    fill(&mut world, &broker).await;
    world.stop(broker).await;
    let file = database(&world).remove(0).1;
    all_in(&world.planted.found_in("the file", &file));

    let Some((server, url)) = server() else { return };
    let mut world = World::new(tempfile::tempdir().unwrap(), url, "text");
    let broker = world.broker(&["--keep-unencrypted"], &[]).await;
    fill(&mut world, &broker).await;
    world.stop(broker).await;
    server.command(&["SAVE"]);
    let all: Vec<_> = contents(server.folder()).into_values().flatten().collect();
    all_in(&world.planted.found_in("Redis", &all));
}
