//! Callers: they wait, work, renew, report floods, give back, vanish, hang up and come back.

use std::{sync::Arc, time::Duration};

use telegate::{
    client::{Client, Error},
    proto::v1::{self, ErrorReason, WaitPriority},
};

use super::{KINDS, World, count};
use crate::{
    harness::broker::wire,
    history::{
        Held,
        line::{CoolDown, End, Use, Wait},
    },
    model::dice::Dice,
};

/// The TTL of a lease.
const TTL: Duration = Duration::from_secs(3);
/// The method that some calls are for, and that floods.
const METHOD: &str = "messages.search";

/// What one call asks for.
#[derive(Clone)]
struct Plan {
    name: String,
    kind: &'static str,
    is_picky: bool,
    priority: WaitPriority,
    wait: Duration,
    request_id: String,
}

/// One caller, until the world is stopped.
pub(super) async fn call(world: Arc<World>, client: Client, key: &'static str, mut dice: Dice) {
    while !world.is_stopped() {
        let plan = Plan::new(&world, &mut dice);
        let sent = world.now();
        let (end, lease, came_back) = acquire(&world, &client, &plan, &mut dice).await;
        let wait = Wait {
            name: plan.name.clone(),
            kind: plan.demand(),
            class: plan.priority as i32,
            key: key.to_owned(),
            sent,
            ended: world.now(),
            end,
            came_back,
        };
        world.history().waits.push(wait);
        match lease {
            Some(lease) => work(&world, &client, &plan, lease, &mut dice).await,
            None => pause(5 + dice.below(80)).await,
        }
    }
}

impl Plan {
    fn new(world: &World, dice: &mut Dice) -> Self {
        let name = format!("w{}", world.names.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let classes = [WaitPriority::Normal, WaitPriority::Normal, WaitPriority::High];
        Self {
            kind: dice.pick::<&str>(&KINDS),
            is_picky: dice.once_in(4),
            priority: *dice.pick(&classes),
            wait: Duration::from_millis(*dice.pick(&[0, 300, 2_000, 5_000, 20_000])),
            request_id: if dice.once_in(2) { name.clone() } else { String::new() },
            name,
        }
    }

    /// What is demanded, as the watcher names it.
    fn demand(&self) -> String {
        if self.is_picky { format!("{}, {METHOD}", self.kind) } else { self.kind.to_owned() }
    }

    fn request(&self) -> v1::AcquireRequest {
        v1::AcquireRequest {
            pool: "p".to_owned(),
            selector: format!("kind={}", self.kind),
            methods: if self.is_picky { vec![METHOD.to_owned()] } else { Vec::new() },
            ttl: wire(TTL),
            wait: wire(self.wait),
            request_id: self.request_id.clone(),
            purpose: self.name.clone(),
            priority: self.priority.into(),
            ..v1::AcquireRequest::default()
        }
    }
}

/// Asks, and perhaps hangs up, and then perhaps comes back. Tells what became of it, and whether it
/// was ever away.
async fn acquire(
    world: &World,
    client: &Client,
    plan: &Plan,
    dice: &mut Dice,
) -> (End, Option<v1::Lease>, bool) {
    let mut came_back = false;
    loop {
        let hangs_up = dice.once_in(4);
        let patience = if hangs_up { dice.below(1_500) } else { 60_000 };
        let answer = client.acquire(plan.request());
        let answer = tokio::time::timeout(Duration::from_millis(patience), answer).await;
        let Ok(answer) = answer else {
            if !hangs_up {
                // A wire that lets nothing through for long; the client's own pings are slower.
                count(&world.tally.cut_off);
                return (End::CutOff, None, came_back);
            }
            count(&world.tally.hung_up);
            if plan.request_id.is_empty() || dice.once_in(2) {
                return (End::Gone, None, came_back);
            }
            came_back = true;
            count(&world.tally.came_back);
            pause(dice.below(300)).await;
            continue;
        };
        return match answer {
            Ok(reply) => {
                count(&world.tally.granted);
                let lease = reply.lease.unwrap_or_default();
                // The epoch is the moment of the grant, as long as it comes from the clock.
                (End::Granted(world.at_ms(lease.epoch)), Some(lease), came_back)
            }
            Err(error) => (refused(world, plan, &error), None, came_back),
        };
    }
}

fn refused(world: &World, plan: &Plan, error: &Error) -> End {
    let reason = match error {
        Error::Refused(no) => no.reason,
        _ => None,
    };
    match (error, reason) {
        (_, Some(ErrorReason::PoolBusy | ErrorReason::PoolFloodWait)) => {
            count(&world.tally.refused);
            End::Refused
        }
        (Error::Unreachable { .. }, _)
        | (
            _,
            Some(
                ErrorReason::StoreUnavailable
                | ErrorReason::StoreRecovering
                | ErrorReason::ShuttingDown,
            ),
        ) => {
            count(&world.tally.cut_off);
            End::CutOff
        }
        _ => {
            world.surprise(format!("at {:?} {}: {error:?}", world.now(), plan.name));
            End::CutOff
        }
    }
}

/// Uses a lease and writes down for how long.
async fn work(world: &World, client: &Client, plan: &Plan, lease: v1::Lease, dice: &mut Dice) {
    let from = world.now();
    let granted = world.at_ms(lease.epoch);
    if plan.is_picky {
        let (session, scope) = (lease.session.clone(), METHOD.to_owned());
        world.history().uses.push(Use { session, scope, granted });
    }
    let mut expires = world.at(lease.expire_time.as_ref());
    pause(if dice.once_in(10) { dice.below(800) } else { dice.below(40) }).await;
    if dice.once_in(6) {
        let request = v1::RenewRequest { lease_id: lease.lease_id.clone(), ttl: wire(TTL) };
        if let Ok(Ok(reply)) = soon(client.renew(request)).await {
            expires = world.at(reply.lease.unwrap_or_default().expire_time.as_ref());
        }
        pause(dice.below(20)).await;
    }
    let until = world.now().min(expires);
    let vanishes = dice.once_in(25);
    let held = Held {
        session: lease.session.clone(),
        epoch: lease.epoch,
        from,
        until: if vanishes { expires } else { until },
    };
    // A reply that came when its lease was over is no lease.
    if held.from < held.until {
        world.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(held);
    }
    if vanishes {
        return;
    }
    let flood = plan.is_picky && dice.once_in(3);
    let error = flood.then(|| v1::TelegramError {
        code: 420,
        message: format!("FLOOD_WAIT_{}", 1 + dice.below(3)),
        method: METHOD.to_owned(),
        ..v1::TelegramError::default()
    });
    let rest = if dice.once_in(10) { wire(Duration::from_millis(dice.below(300))) } else { None };
    let request = v1::ReleaseRequest { lease_id: lease.lease_id, rest, error };
    let Ok(Ok(reply)) = soon(client.release(request)).await else { return };
    if let Some(until) = reply.verdict.and_then(|verdict| verdict.until) {
        let (told, until) = (world.now(), world.at(Some(&until)));
        let (session, scope) = (lease.session, METHOD.to_owned());
        world.history().promises.push(CoolDown { session, scope, told, until });
    }
}

/// An answer, if it comes in time.
async fn soon<T>(answer: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(Duration::from_secs(5), answer).await
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
