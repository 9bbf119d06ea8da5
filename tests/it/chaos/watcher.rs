//! A watcher: looks at the pool again and again and writes down what it sees.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use telegate::{
    client::{Client, Endpoint},
    proto::v1::{self, CoolDownScope, SessionState},
};

use super::{World, count};
use crate::history::line::{CoolDown, Holding, Look};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(60);
/// How long a look may take; one that takes longer says little.
const LOOK_WITHIN: Duration = Duration::from_secs(1);

/// Where the brokers really are: they change when they are killed.
pub(super) type Addresses = Arc<Mutex<Vec<String>>>;

/// Looks until the world is stopped.
pub(super) async fn watch(world: Arc<World>, addresses: Addresses, key: String) {
    let (mut client, mut turn): (Option<Client>, usize) = (None, 0);
    while !world.is_stopped() {
        if client.is_none() {
            let known = addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
            turn += 1;
            let address = known[turn % known.len()].clone();
            let endpoint = Endpoint { address, key: Some(key.clone()), ..Endpoint::default() };
            client = Client::connect(endpoint).await.ok();
        }
        if let Some(asked) = &client {
            match tokio::time::timeout(LOOK_WITHIN, look(&world, asked)).await {
                Ok(Some(look)) => {
                    count(&world.tally.looks);
                    world.history().looks.push(look);
                }
                _ => client = None,
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn look(world: &World, client: &Client) -> Option<Look> {
    let asked = world.now();
    let request = v1::ListSessionsRequest { pool: "p".to_owned(), ..Default::default() };
    let sessions = client.list_sessions(request).await.ok()?.sessions;
    let request =
        v1::ListWaitersRequest { pool: "p".to_owned(), page_size: 1000, ..Default::default() };
    let waiters = client.list_waiters(request).await.ok()?.waiters;
    let mut look = Look { asked, answered: world.now(), ..Look::default() };
    look.waiting = waiters.into_iter().map(|it| it.holder.unwrap_or_default().purpose).collect();
    for session in sessions {
        let kind = session.labels.get("kind").cloned().unwrap_or_default();
        let floods = session.cool_downs.iter();
        let floods = floods.filter(|it| it.scope() == CoolDownScope::Method);
        let cooling: Vec<_> = floods
            .map(|it| CoolDown {
                session: session.name.clone(),
                scope: it.subject.clone(),
                told: asked,
                until: world.at(it.until.as_ref()),
            })
            .collect();
        match session.state() {
            SessionState::Ready => {
                if cooling.is_empty() {
                    look.free.push((session.name.clone(), format!("{kind}, messages.search")));
                }
                look.free.push((session.name.clone(), kind));
            }
            SessionState::Leased => look.held.push(Holding {
                name: session.holder.unwrap_or_default().purpose,
                granted: world.at_ms(session.epoch),
                session: session.name.clone(),
            }),
            _ => {}
        }
        look.cooling.extend(cooling);
    }
    Some(look)
}
