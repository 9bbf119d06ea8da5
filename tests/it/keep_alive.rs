//! `KeepAlive` over the wire: what is asked is renewed, what ends is warned of, what is lost is
//! told at once, and what a stream leaves behind is given back when nobody comes for it.

mod brokers;
mod departures;

use std::time::{Duration, Instant};

use telegate::{
    pool::{Credential, Fingerprint, KeyId, NewSession, Policy, PoolName, SessionName, Span},
    proto::v1::{self, keep_alive_response::Event, session_pool_client::SessionPoolClient},
    store::{Error, Store as _},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    broker::{Broker, keyed, reason, write_keys},
    grpc::acquire,
};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// In what time a loss is told.
const AT_ONCE: Duration = Duration::from_millis(100);

/// One stream, as a worker has it.
struct Upkeep {
    asks: mpsc::Sender<v1::KeepAliveRequest>,
    answers: Streaming<v1::KeepAliveResponse>,
}

impl Upkeep {
    async fn open(client: SessionPoolClient<Channel>) -> Self {
        Self::try_open(client).await.unwrap()
    }

    async fn try_open(mut client: SessionPoolClient<Channel>) -> Result<Self, Status> {
        let (asks, asked) = mpsc::channel(16);
        let answers = client.keep_alive(ReceiverStream::new(asked)).await?.into_inner();
        Ok(Self { asks, answers })
    }

    async fn ask(&self, leases: &[String], more: v1::KeepAliveRequest) {
        let request = v1::KeepAliveRequest { lease_ids: leases.to_vec(), ..more };
        self.asks.send(request).await.unwrap();
    }

    async fn answer(&mut self) -> Result<Option<v1::KeepAliveResponse>, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        answer.expect("an answer comes")
    }

    /// The next answer, which is about a lease.
    async fn told(&mut self) -> (String, Event) {
        let answer = self.answer().await.unwrap().expect("the stream goes on");
        (answer.lease_id, answer.event.expect("it tells something"))
    }

    async fn renewed(&mut self) -> v1::Lease {
        match self.told().await.1 {
            Event::Renewed(lease) => lease,
            other => panic!("{}", kind(&other)),
        }
    }

    async fn lost(&mut self) -> (String, v1::LeaseLost) {
        match self.told().await {
            (lease, Event::Lost(lost)) => (lease, lost),
            (_, other) => panic!("{}", kind(&other)),
        }
    }

    async fn ending(&mut self) -> (String, v1::LeaseEnding) {
        match self.told().await {
            (lease, Event::Ending(ending)) => (lease, ending),
            (_, other) => panic!("{}", kind(&other)),
        }
    }
}

/// What an answer tells, without the secrets in it.
fn kind(event: &Event) -> String {
    match event {
        Event::Renewed(_) => "renewed".to_owned(),
        Event::Ending(ending) => format!("{ending:?}"),
        Event::Lost(lost) => format!("{lost:?}"),
    }
}

fn plain() -> v1::KeepAliveRequest {
    v1::KeepAliveRequest::default()
}

fn secs(seconds: i64) -> pbjson_types::Duration {
    pbjson_types::Duration { seconds, nanos: 0 }
}

fn millis(span: &pbjson_types::Duration) -> i64 {
    span.seconds * 1000 + i64::from(span.nanos) / 1_000_000
}

async fn lend(broker: &Broker, pool: &str) -> v1::Lease {
    broker.acquire(pool).await.unwrap().lease.unwrap()
}

async fn invalidate(client: &mut SessionPoolClient<Channel>, pool: &str, session: &str) {
    let session = v1::SessionRef { pool: pool.into(), session: session.into() };
    let target = Some(v1::invalidate_request::Target::Session(session));
    let request = v1::InvalidateRequest { target, ..v1::InvalidateRequest::default() };
    client.invalidate(request).await.unwrap();
}

/// Fills a pool through the store, which is quicker than over the wire.
async fn crowd(broker: &Broker, policy: Policy, sessions: usize) {
    let pool = PoolName::parse("demo").unwrap();
    broker.store.create_pool(&pool, policy, &crate::harness::mandate()).await.unwrap();
    for number in 0..sessions {
        let name = SessionName::parse(&format!("s{number:04}")).unwrap();
        let credential = telegate::credential::Credential::Opaque(name.as_str().into());
        let new = NewSession {
            fingerprint: Fingerprint::new(name.as_str()),
            name,
            labels: telegate::pool::Labels::default(),
            account_id: None,
            proxy: None,
            device: None,
            credential: Credential(credential.seal().0),
            by: KeyId::new("op"),
        };
        broker.store.add(&pool, new).await.unwrap();
    }
}

#[tokio::test]
async fn each_lease_that_is_named_is_answered_once() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "b"]).await;
    let (kept, released) = (lend(&broker, "demo").await, lend(&broker, "demo").await);
    let request = v1::ReleaseRequest { lease_id: released.lease_id.clone(), ..Default::default() };
    broker.pool().release(request).await.unwrap();
    broker.clock.advance(Span::secs(10));
    let unknown = format!("demo/nobody/{}", "0".repeat(32));
    let ids = [kept.lease_id.clone(), unknown.clone(), released.lease_id.clone(), kept.lease_id];
    let mut upkeep = Upkeep::open(broker.pool()).await;
    upkeep.ask(&ids, v1::KeepAliveRequest { ttl: Some(secs(120)), ..plain() }).await;
    let renewed = upkeep.renewed().await;
    assert_eq!(renewed.lease_id, ids[0]);
    assert_eq!(renewed.expire_time.unwrap().seconds, 1_763_750_130);
    let lost = v1::LeaseLost { reason: "LEASE_NOT_FOUND".into(), ..v1::LeaseLost::default() };
    assert_eq!(upkeep.lost().await, (unknown, lost));
    let cause = v1::LossCause::Released.into();
    let lost = v1::LeaseLost {
        cause,
        epoch: released.epoch,
        reason: "LEASE_LOST".into(),
        detail: String::new(),
    };
    assert_eq!(upkeep.lost().await, (ids[2].clone(), lost));
    // Nothing is left to say, so the next word is the answer to the next question.
    upkeep.ask(&ids[..1], plain()).await;
    assert_eq!(upkeep.renewed().await.lease_id, ids[0]);
}

#[tokio::test]
async fn a_thousand_leases_are_renewed_by_one_message() {
    let broker = Broker::start().await;
    crowd(&broker, Policy::default(), 1000).await;
    let mut ids = Vec::new();
    for _ in 0..1000 {
        ids.push(lend(&broker, "demo").await.lease_id);
    }
    broker.clock.advance(Span::secs(30));
    let mut upkeep = Upkeep::open(broker.pool()).await;
    let began = Instant::now();
    upkeep.ask(&ids, plain()).await;
    let mut renewed = Vec::new();
    for _ in 0..1000 {
        renewed.push(upkeep.renewed().await.lease_id);
    }
    eprintln!("a thousand leases were renewed in {:?}", began.elapsed());
    assert!(renewed == ids);
    ids.push(ids[0].clone());
    upkeep.ask(&ids, plain()).await;
    let status = upkeep.answer().await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_REQUEST");
}

#[tokio::test]
async fn a_revoked_lease_is_told_at_once_and_no_other() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "b"]).await;
    let (lease, other) = (lend(&broker, "demo").await, lend(&broker, "demo").await);
    let mut upkeep = Upkeep::open(broker.pool()).await;
    upkeep.ask(&[other.lease_id.clone(), lease.lease_id.clone()], plain()).await;
    upkeep.renewed().await;
    upkeep.renewed().await;
    let began = Instant::now();
    invalidate(&mut broker.pool(), "demo", "a").await;
    let told = upkeep.lost().await;
    let took = began.elapsed();
    eprintln!("a revocation reached the worker in {took:?}");
    assert!(took < AT_ONCE, "it took {took:?}");
    let cause = v1::LossCause::Invalidated.into();
    let lost = v1::LeaseLost {
        cause,
        epoch: lease.epoch,
        reason: "LEASE_LOST".into(),
        detail: String::new(),
    };
    assert_eq!(told, (lease.lease_id, lost));
    upkeep.ask(std::slice::from_ref(&other.lease_id), plain()).await;
    assert_eq!(upkeep.renewed().await.lease_id, other.lease_id);
}

#[tokio::test]
async fn a_lease_is_warned_of_when_a_third_is_left_and_lost_when_nothing_is() {
    let broker = Broker::start().await;
    crowd(&broker, Policy { min_ttl: Span::secs(1), ..Policy::default() }, 1).await;
    let ttl = Some(secs(1));
    let request = v1::AcquireRequest { ttl, ..acquire("demo") };
    let lease = broker.pool().acquire(request).await.unwrap().into_inner().lease.unwrap();
    let mut upkeep = Upkeep::open(broker.pool()).await;
    let began = Instant::now();
    upkeep
        .ask(std::slice::from_ref(&lease.lease_id), v1::KeepAliveRequest { ttl, ..plain() })
        .await;
    upkeep.renewed().await;
    // The store's clock stands still, so that only what the stream asks it tells what is left.
    broker.clock.advance(Span(700));
    let (named, ending) = upkeep.ending().await;
    assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
    assert_eq!((named, ending.reason.as_str()), (lease.lease_id.clone(), ""));
    let left = millis(ending.ttl.as_ref().unwrap());
    assert!((1..=300).contains(&left), "{left}");
    broker.clock.advance(Span(300));
    let (named, lost) = upkeep.lost().await;
    assert_eq!((named, lost.cause()), (lease.lease_id, v1::LossCause::Expired));
    assert_eq!((lost.epoch, lost.reason.as_str()), (lease.epoch, "LEASE_LOST"));
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_now_is_told_with_the_reason_and_what_is_left() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a"]).await;
    let lease = lend(&broker, "demo").await;
    let mut upkeep = Upkeep::open(broker.pool()).await;
    broker.clock.advance(Span::secs(20));
    broker.store.fail_next(Error::Unavailable("gone".into()));
    upkeep.ask(std::slice::from_ref(&lease.lease_id), plain()).await;
    let (_, ending) = upkeep.ending().await;
    assert_eq!((ending.reason.as_str(), ending.ttl.unwrap().seconds), ("STORE_UNAVAILABLE", 40));
    let pool = "demo".to_owned();
    broker.admin().drain_pool(v1::DrainPoolRequest { pool, detail: String::new() }).await.unwrap();
    upkeep.ask(std::slice::from_ref(&lease.lease_id), plain()).await;
    let (_, ending) = upkeep.ending().await;
    assert_eq!((ending.reason.as_str(), ending.ttl.unwrap().seconds), ("POOL_DRAINING", 40));
    // It is kept all the same.
    invalidate(&mut broker.pool(), "demo", "a").await;
    assert_eq!(upkeep.lost().await.1.cause(), v1::LossCause::Invalidated);
}

#[tokio::test]
async fn leases_of_other_keys_and_pools_are_not_kept() {
    use telegate::keys::Role::{Admin, Worker};
    let mut keys = Vec::new();
    let broker = Broker::with(|folder, config| {
        keys = write_keys(folder, &[(&[Admin], &["*"]), (&[Worker], &["demo"])]);
        telegate::config::ServerConfig { keys: Some(folder.path().join("keys.toml")), ..config }
    })
    .await;
    crowd(&broker, Policy::default(), 1).await;
    let granted = broker.pool().acquire(keyed(&keys[0], acquire("demo"))).await.unwrap();
    let foreign = granted.into_inner().lease.unwrap().lease_id;
    let forbidden = format!("secret/a/{}", "0".repeat(32));
    let asked = v1::KeepAliveRequest { lease_ids: vec![foreign, forbidden], ..plain() };
    let asks = tokio_stream::once(asked);
    let answers = broker.pool().keep_alive(keyed(&keys[1], asks)).await.unwrap().into_inner();
    let answers: Vec<_> = tokio_stream::StreamExt::collect(answers).await;
    for answer in &answers {
        let Event::Lost(lost) = answer.as_ref().unwrap().event.as_ref().unwrap() else { panic!() };
        assert_eq!(lost.reason, "PERMISSION_MISSING");
    }
    assert_eq!(answers.len(), 2);
}

#[tokio::test]
async fn a_key_that_is_revoked_keeps_no_lease_any_more() {
    use telegate::keys::Role::Admin;
    let mut keys = Vec::new();
    let broker = Broker::with(|folder, config| {
        keys = write_keys(folder, &[(&[Admin], &["*"])]);
        telegate::config::ServerConfig { keys: Some(folder.path().join("keys.toml")), ..config }
    })
    .await;
    crowd(&broker, Policy::default(), 1).await;
    let granted = broker.pool().acquire(keyed(&keys[0], acquire("demo"))).await.unwrap();
    let lease = granted.into_inner().lease.unwrap().lease_id;
    let (asks, asked) = mpsc::channel(16);
    let asked = keyed(&keys[0], ReceiverStream::new(asked));
    let answers = broker.pool().keep_alive(asked).await.unwrap().into_inner();
    let mut upkeep = Upkeep { asks, answers };
    upkeep.ask(std::slice::from_ref(&lease), plain()).await;
    upkeep.renewed().await;
    write_keys(&broker.folder, &[(&[Admin], &["*"])]);
    let refused = crate::harness::eventually("the stream is refused", PATIENCE, async || {
        upkeep.ask(std::slice::from_ref(&lease), plain()).await;
        upkeep.answer().await.err()
    });
    assert_eq!(reason(&refused.await), "API_KEY_INVALID");
}

#[tokio::test]
async fn what_is_no_lease_id_ends_the_stream_and_is_not_repeated() {
    let broker = Broker::start().await;
    let mut upkeep = Upkeep::open(broker.pool()).await;
    upkeep.ask(&["somebody's secret".to_owned()], plain()).await;
    let status = upkeep.answer().await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_REQUEST");
    let seen = crate::broker::seen(&status);
    assert!(seen.contains("lease_ids[0]") && !seen.contains("somebody"), "{seen}");
}

#[tokio::test]
async fn a_connection_has_64_streams() {
    let broker = Broker::start().await;
    let client = broker.pool();
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(Upkeep::open(client.clone()).await);
    }
    let refused = Upkeep::try_open(client.clone()).await.err().unwrap();
    assert_eq!(reason(&refused), "QUOTA_EXCEEDED");
    drop(open.pop());
    crate::broker::eventually("a stream can be opened again", async || {
        Upkeep::try_open(client.clone()).await.is_ok()
    })
    .await;
    // Streams stand in no other call's way.
    Upkeep::open(broker.pool()).await;
}
