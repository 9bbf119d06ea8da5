//! The plain broker: what one writes first. A tonic service as generated, a runtime as
//! `#[tokio::main]` has it, and one EVALSHA per call over a multiplexed connection. It knows leases
//! and their expiry, and nothing else that Telegate knows.

use std::{
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::Stream;
use prost::Message as _;
use redis::{Script, aio::MultiplexedConnection};
use telegate::proto::v1::{self, session_pool_server};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use crate::{canned::SESSION, stage::POOL};

const ACQUIRE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 64)) do
  redis.call('ZREM', KEYS[2], name)
  redis.call('HDEL', KEYS[3], name)
  redis.call('ZADD', KEYS[1], now, name)
end
local name = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not name then
  return false
end
redis.call('ZREM', KEYS[1], name)
redis.call('ZADD', KEYS[2], now + ARGV[2], name)
redis.call('HSET', KEYS[3], name, ARGV[1])
return { name, redis.call('HINCRBY', KEYS[4], name, 1), now, redis.call('HGET', KEYS[5], name) }";

const RELEASE: &str = "
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[2] then
  return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
return 1";

const KEYS: [&str; 5] =
    ["plain:{p}:free", "plain:{p}:leases", "plain:{p}:holders", "plain:{p}:epochs", "plain:{p}:s"];

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves a pool in the Redis at `with[0]`, filled with the reply in the file `with[1]` so many
/// times as `with[2]` says. Prints where.
#[tokio::main]
pub(crate) async fn play(with: &[String]) {
    let client = redis::Client::open(with[0].as_str()).expect("a URL of a Redis");
    let mut redis = client.get_multiplexed_async_connection().await.expect("a Redis");
    let reply = std::fs::read(&with[1]).expect("a reply to lend");
    let reply = v1::AcquireResponse::decode(reply.as_slice()).expect("a reply of Acquire");
    let mut fill = redis::pipe();
    for number in 0..with[2].parse().expect("how many sessions") {
        let name = SESSION.name(number);
        let mut session = reply.clone();
        session.lease = None;
        if let Some(session) = &mut session.session {
            session.name.clone_from(&name);
        }
        fill.zadd(KEYS[0], &name, 0).ignore();
        fill.hset(KEYS[4], &name, session.encode_to_vec()).ignore();
    }
    fill.query_async::<()>(&mut redis).await.expect("the pool is filled");
    let plain = Plain { redis, acquire: Script::new(ACQUIRE), release: Script::new(RELEASE) };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    println!("listening on {}", listener.local_addr().expect("a bound port"));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = session_pool_server::SessionPoolServer::new(plain);
    let served = Server::builder().add_service(service).serve_with_incoming(incoming).await;
    served.expect("the plain broker serves");
}

struct Plain {
    redis: MultiplexedConnection,
    acquire: Script,
    release: Script,
}

#[expect(clippy::unnecessary_wraps, reason = "what messages have")]
fn moment(ms: u64) -> Option<pbjson_types::Timestamp> {
    let at = UNIX_EPOCH + Duration::from_millis(ms);
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or_default();
    let nanos = i32::try_from(since.subsec_nanos()).unwrap_or_default();
    Some(pbjson_types::Timestamp { seconds, nanos })
}

#[tonic::async_trait]
impl session_pool_server::SessionPool for Plain {
    type KeepAliveStream = Events<v1::KeepAliveResponse>;
    type WatchPoolStream = Events<v1::WatchPoolResponse>;

    async fn acquire(
        &self,
        request: Request<v1::AcquireRequest>,
    ) -> Result<Response<v1::AcquireResponse>, Status> {
        let ttl = request.into_inner().ttl.map_or(60, |ttl| ttl.seconds).max(1);
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|error| Status::internal(error.to_string()))?;
        let secret = format!("{:032x}", u128::from_be_bytes(secret));
        let mut call = self.acquire.prepare_invoke();
        for key in KEYS {
            call.key(key);
        }
        let mut redis = self.redis.clone();
        let got: Option<(String, u64, u64, Vec<u8>)> = call
            .arg(&secret)
            .arg(ttl * 1000)
            .invoke_async(&mut redis)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let Some((name, epoch, now, session)) = got else {
            return Err(Status::resource_exhausted("none is free"));
        };
        let mut answer = v1::AcquireResponse::decode(session.as_slice())
            .map_err(|error| Status::internal(error.to_string()))?;
        let ttl_ms = u64::try_from(ttl).unwrap_or_default() * 1000;
        answer.lease = Some(v1::Lease {
            lease_id: format!("{POOL}/{name}/{secret}"),
            pool: POOL.to_owned(),
            session: name,
            epoch,
            ttl: Some(pbjson_types::Duration { seconds: ttl, nanos: 0 }),
            expire_time: moment(now + ttl_ms),
            grant_time: moment(now),
            max_expire_time: moment(now + 24 * 3_600_000),
            ..v1::Lease::default()
        });
        Ok(Response::new(answer))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let lease = request.into_inner().lease_id;
        let mut parts = lease.split('/').skip(1);
        let (Some(name), Some(secret)) = (parts.next(), parts.next()) else {
            return Err(Status::invalid_argument("this is no lease"));
        };
        let mut call = self.release.prepare_invoke();
        for key in KEYS {
            call.key(key);
        }
        let mut redis = self.redis.clone();
        let released: bool = call
            .arg(name)
            .arg(secret)
            .invoke_async(&mut redis)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let outcome =
            if released { v1::ReleaseOutcome::Released } else { v1::ReleaseOutcome::AlreadyEnded };
        Ok(Response::new(v1::ReleaseResponse { outcome: outcome.into(), verdict: None }))
    }

    async fn get_pool_status(
        &self,
        _: Request<v1::GetPoolStatusRequest>,
    ) -> Result<Response<v1::GetPoolStatusResponse>, Status> {
        Ok(Response::new(v1::GetPoolStatusResponse::default()))
    }

    async fn renew(
        &self,
        _: Request<v1::RenewRequest>,
    ) -> Result<Response<v1::RenewResponse>, Status> {
        Err(Status::unimplemented("plain"))
    }

    async fn keep_alive(
        &self,
        _: Request<Streaming<v1::KeepAliveRequest>>,
    ) -> Result<Response<Self::KeepAliveStream>, Status> {
        Err(Status::unimplemented("plain"))
    }

    async fn report(
        &self,
        _: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        Err(Status::unimplemented("plain"))
    }

    async fn invalidate(
        &self,
        _: Request<v1::InvalidateRequest>,
    ) -> Result<Response<v1::InvalidateResponse>, Status> {
        Err(Status::unimplemented("plain"))
    }

    async fn watch_pool(
        &self,
        _: Request<v1::WatchPoolRequest>,
    ) -> Result<Response<Self::WatchPoolStream>, Status> {
        Err(Status::unimplemented("plain"))
    }
}
