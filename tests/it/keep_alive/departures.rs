//! The end of a stream: its leases are released after the grace if that was asked for, unless
//! somebody came back for them.

use telegate::pool::SessionState;

use super::*;
use crate::broker::eventually;

fn release_after(grace: Duration) -> v1::KeepAliveRequest {
    let nanos = i32::try_from(grace.as_nanos()).unwrap();
    let disconnect_grace = Some(pbjson_types::Duration { seconds: 0, nanos });
    v1::KeepAliveRequest { release_on_disconnect: Some(true), disconnect_grace, ..plain() }
}

async fn state(broker: &Broker, session: &str) -> SessionState {
    let (pool, session) = (PoolName::parse("demo").unwrap(), SessionName::parse(session).unwrap());
    let view = broker.store.get_session(&pool, &session).await.unwrap();
    view.standing.state(view.at)
}

#[tokio::test]
async fn leases_of_a_stream_that_broke_are_released_and_their_sessions_drain() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "b", "c"]).await;
    let leases: [v1::Lease; 3] =
        [lend(&broker, "demo").await, lend(&broker, "demo").await, lend(&broker, "demo").await];
    let [named, also, unnamed] = leases.map(|lease| lease.lease_id);
    let mut upkeep = Upkeep::open(broker.pool()).await;
    upkeep.ask(std::slice::from_ref(&named), plain()).await;
    upkeep.renewed().await;
    upkeep.ask(&[also], release_after(Duration::from_millis(50))).await;
    upkeep.renewed().await;
    drop(upkeep);
    for session in ["a", "b"] {
        eventually("it drains", async || state(&broker, session).await == SessionState::Resting)
            .await;
    }
    assert_eq!(state(&broker, "c").await, SessionState::Leased);
    let renewed = broker.pool().renew(v1::RenewRequest { lease_id: named, ttl: None }).await;
    assert_eq!(reason(&renewed.unwrap_err()), "LEASE_LOST");
    broker.pool().renew(v1::RenewRequest { lease_id: unnamed, ttl: None }).await.unwrap();
}

#[tokio::test]
async fn a_lease_that_another_stream_or_renew_takes_up_in_time_stays() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "b", "z"]).await;
    let leases: [v1::Lease; 3] =
        [lend(&broker, "demo").await, lend(&broker, "demo").await, lend(&broker, "demo").await];
    let [streamed, renewed, forgotten] = leases.map(|lease| lease.lease_id);
    let mut upkeep = Upkeep::open(broker.pool()).await;
    let ids = [streamed.clone(), renewed.clone(), forgotten];
    upkeep.ask(&ids, release_after(Duration::from_millis(500))).await;
    for _ in &ids {
        upkeep.renewed().await;
    }
    drop(upkeep);
    let mut next = Upkeep::open(broker.pool()).await;
    next.ask(&[streamed], plain()).await;
    next.renewed().await;
    broker.pool().renew(v1::RenewRequest { lease_id: renewed, ttl: None }).await.unwrap();
    // The last of the three is released in the same step that spares the others.
    eventually("the grace is over", async || state(&broker, "z").await == SessionState::Resting)
        .await;
    for session in ["a", "b"] {
        assert_eq!(state(&broker, session).await, SessionState::Leased, "{session}");
    }
}

#[tokio::test]
async fn the_last_word_about_the_end_counts() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "z"]).await;
    let (kept, released) = (lend(&broker, "demo").await, lend(&broker, "demo").await);
    let grace = Duration::from_millis(20);
    let mut changed = Upkeep::open(broker.pool()).await;
    changed.ask(&[kept.lease_id], release_after(grace)).await;
    changed.renewed().await;
    let keep = v1::KeepAliveRequest { release_on_disconnect: Some(false), ..plain() };
    let strange = format!("demo/nobody/{}", "0".repeat(32));
    changed.ask(&[strange], keep).await;
    changed.lost().await;
    drop(changed);
    let mut later = Upkeep::open(broker.pool()).await;
    later.ask(&[released.lease_id], release_after(grace)).await;
    later.renewed().await;
    drop(later);
    eventually("the other drains", async || state(&broker, "z").await == SessionState::Resting)
        .await;
    assert_eq!(state(&broker, "a").await, SessionState::Leased);
}

#[tokio::test]
async fn a_broker_that_shuts_down_says_so_and_leaves_the_leases_alone() {
    let mut broker = Broker::start().await;
    broker.fill("demo", &["a"]).await;
    let lease = lend(&broker, "demo").await;
    let mut upkeep = Upkeep::open(broker.pool()).await;
    upkeep.ask(&[lease.lease_id], release_after(Duration::ZERO)).await;
    upkeep.renewed().await;
    broker.stop();
    let status = upkeep.answer().await.unwrap_err();
    assert_eq!(reason(&status), "SHUTTING_DOWN");
    drop(upkeep);
    broker.served.take().unwrap().await.unwrap().unwrap();
    assert_eq!(state(&broker, "a").await, SessionState::Leased);
}
