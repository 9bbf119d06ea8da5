//! What a call that waits takes in the broker, beside one that a bare server holds, and what a
//! stream takes that keeps a lease.

use std::{
    thread,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use telegate::proto::v1::{self, session_pool_client::SessionPoolClient};
use tokio::runtime::Runtime;
use tonic::{Streaming, transport::Channel};

use crate::{
    cost,
    figures::table,
    goals::{Goal, Goals},
    stage::{self, Appends, POOL, Redis, Replies, Server, TELEGATE},
};

/// How many calls wait before it is measured, and how many come then: so many that the steps in
/// which the allocator grows do not tell in the figure of one.
const BEFORE: u64 = 2_000;
const MORE: u64 = 20_000;
/// How many of them come at once, and over how many connections: all at once would keep Redis busy
/// for longer than a call may take, and what comes again and again leaves its traces in the memory.
const STEP: u64 = 1_000;
const STEP_CONNECTIONS: u64 = 2;
/// How long until all that came wait, and how often it is asked whether they do.
const WAIT_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many streams are open before it is measured, how many are opened then, and over how many
/// connections: each may have 64.
const STREAMS_BEFORE: u64 = 1_000;
const STREAMS_MORE: u64 = 5_000;
const CONNECTIONS: usize = 100;
/// How long until nothing more changes.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// Measures both, and prints a table.
pub(crate) fn measure(goals: &mut Goals) {
    let embedded = Server::embedded(TELEGATE, &["--log", "warn"]);
    stage::fill(&embedded, 1);
    let replies = Replies::of(&embedded);
    let mut rows = Vec::new();
    let mut row = |name: &str, bytes: f64| {
        rows.push(vec![name.to_owned(), format!("{:.1}", bytes / 1024.0)]);
        bytes / 1024.0
    };
    row("held by a bare tonic server", per_waiter(replies.echo("echo-parked"), Waits::Anyway));
    row("waiting, embedded store", per_waiter(embedded, Waits::InLine));
    let redis = Redis::start(Appends::Never);
    if let Some(redis) = &redis {
        let broker = Server::broker(TELEGATE, &redis.url(), &["--log", "warn"]);
        stage::fill(&broker, 1);
        let each = row("waiting, Redis", per_waiter(broker, Waits::InLine));
        goals.note("KB per parked waiter, Redis", each, Goal::AtMost(6.0));
    }
    let embedded = Server::embedded(TELEGATE, &["--log", "warn"]);
    stage::fill(&embedded, STREAMS_BEFORE + STREAMS_MORE);
    row("KeepAlive stream with its lease, embedded store", per_stream(embedded));
    println!(
        "Memory per call that is open: the growth from {BEFORE} to {} of them, of streams from \
         {STREAMS_BEFORE} to {}\n",
        BEFORE + MORE,
        STREAMS_BEFORE + STREAMS_MORE
    );
    table(&["SUBJECT", "KB"], &rows);
}

/// Which calls wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Those that find no session free.
    InLine,
    /// All.
    Anyway,
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_waiter(mut server: Server, waits: Waits) -> f64 {
    let pid = server.pid();
    let server = &server;
    let runtime = Runtime::new().expect("a runtime");
    if waits == Waits::InLine {
        runtime.block_on(async {
            let hour = Some(pbjson_types::Duration { seconds: 3600, nanos: 0 });
            let ask = v1::AcquireRequest { pool: POOL.to_owned(), ttl: hour, ..Default::default() };
            server.client().await.acquire(ask).await.expect("the session is free");
        });
    }
    let flags = format!(
        "--scenario wait --wait 30m --connections {STEP_CONNECTIONS} --in-flight {STEP} \
         --duration 1h --ttl 1h"
    );
    let flags: Vec<_> = flags.split(' ').map(str::to_owned).collect();
    let (mut held, mut count) = (Vec::new(), 0);
    let mut all_wait = |wanted: u64| {
        while count < wanted {
            held.push(server.drive_on(&flags));
            count += STEP;
            let deadline = Instant::now() + WAIT_WITHIN;
            while runtime.block_on(waiting(server)) < count {
                assert!(Instant::now() < deadline, "not all wait in time");
                thread::sleep(LOOK_EVERY);
            }
        }
        thread::sleep(SETTLES_IN);
        cost::resident(pid)
    };
    let before = all_wait(BEFORE);
    let after = all_wait(BEFORE + MORE);
    after.saturating_sub(before) as f64 / MORE as f64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_stream(mut server: Server) -> f64 {
    let pid = server.pid();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let to = format!("http://{}", server.address);
            clients.push(SessionPoolClient::connect(to).await.expect("the broker serves"));
        }
        let mut open = Vec::new();
        let mut before = 0;
        for number in 0..STREAMS_BEFORE + STREAMS_MORE {
            let at = usize::try_from(number).unwrap_or_default() % clients.len();
            open.push(keep(&mut clients[at]).await);
            if number + 1 == STREAMS_BEFORE {
                tokio::time::sleep(SETTLES_IN).await;
                before = cost::resident(pid);
            }
        }
        tokio::time::sleep(SETTLES_IN).await;
        cost::resident(pid).saturating_sub(before) as f64 / STREAMS_MORE as f64
    })
}

/// Leases a session, and opens a stream that keeps it.
async fn keep(client: &mut SessionPoolClient<Channel>) -> Streaming<v1::KeepAliveResponse> {
    let hour = Some(pbjson_types::Duration { seconds: 3600, nanos: 0 });
    let ask = v1::AcquireRequest { pool: POOL.to_owned(), ttl: hour, ..Default::default() };
    let granted = client.acquire(ask).await.expect("a session is free").into_inner();
    let lease_ids = vec![granted.lease.unwrap_or_default().lease_id];
    let first = v1::KeepAliveRequest { lease_ids, ttl: hour, ..Default::default() };
    let said = stream::iter([first]).chain(stream::pending());
    let mut heard = client.keep_alive(said).await.expect("it is open").into_inner();
    heard.message().await.expect("it is open").expect("the lease is renewed");
    heard
}

async fn waiting(server: &Server) -> u64 {
    let request = v1::GetPoolStatusRequest { pool: POOL.to_owned() };
    // While thousands come, it may take too long.
    let answer = server.client().await.get_pool_status(request).await;
    answer.ok().and_then(|it| it.status).map_or(0, |status| u64::from(status.waiters))
}
