//! What the screen shows: asked of the broker again and again.

use std::time::Duration;

use pbjson_types::Timestamp;
use telegate::{
    client::{Client, Error},
    clock,
    proto::v1::{
        ErrorReason, Lease, ListLeasesRequest, ListPoolsRequest, ListSessionsRequest,
        ListWaitersRequest, PoolOverview, Session, SessionState, Waiter,
    },
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::cli::failure::Failure;

/// How many pools, sessions, leases and waiters are shown at most, each.
pub(crate) const MOST: usize = 500;
/// How many pages are looked through for sessions of a state.
const PAGES: usize = 10;
/// How many rows a page has.
const PAGE: i32 = 500;

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The pool; nothing: the first.
    pub(crate) pool: Option<String>,
    /// Only sessions in this state.
    pub(crate) state: Option<SessionState>,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// All pools, or the first of them.
    pub(crate) pools: Vec<PoolOverview>,
    /// The pool that was looked at, where there is any.
    pub(crate) pool: Option<Inside>,
    /// When, by the clock of this machine.
    pub(crate) at: Instant,
}

/// What was seen of one pool.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) name: String,
    /// When, by the store's clock.
    pub(crate) read_at: Option<Timestamp>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) leases: Vec<Lease>,
    /// Nothing where the broker cannot tell yet.
    pub(crate) waiters: Option<Vec<Waiter>>,
    /// Whether there is more than is shown.
    pub(crate) more: bool,
}

/// Looks again and again, and whenever the wish changes.
pub(crate) struct Feed {
    wish: watch::Sender<Wish>,
    seen: mpsc::Receiver<Result<Seen, String>>,
    looking: JoinHandle<()>,
}

impl Feed {
    pub(crate) fn start(client: Client, wish: Wish, every: Duration) -> Self {
        let (wish, mut wished) = watch::channel(wish);
        let (tell, seen) = mpsc::channel(1);
        let looking = tokio::spawn(async move {
            loop {
                // Either the wish changes, or it is time again.
                let changed = timeout(every, wished.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
                let now = wished.borrow_and_update().clone();
                let seen = look(&client, &now).await.map_err(|failure| failure.sentence());
                if tell.send(seen).await.is_err() {
                    return;
                }
            }
        });
        Self { wish, seen, looking }
    }

    /// What was seen next, or why nothing was.
    pub(crate) async fn next(&mut self) -> Result<Seen, String> {
        match self.seen.recv().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        }
    }

    /// Looks at once, for this.
    pub(crate) fn look_for(&self, wish: Wish) {
        self.wish.send_replace(wish);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Looks once.
pub(crate) async fn look(client: &Client, wish: &Wish) -> Result<Seen, Failure> {
    let request = ListPoolsRequest { page_size: PAGE, page_token: String::new() };
    let pools = client.list_pools(request).await?.pools;
    let name = |pool: &PoolOverview| pool.pool.as_ref().map(|pool| pool.name.clone());
    let wished = pools.iter().find(|pool| wish.pool.is_some() && name(pool) == wish.pool);
    let shown = match wished.or_else(|| pools.first().filter(|_| wish.pool.is_none())) {
        Some(pool) => {
            let read_at = pool.status.as_ref().and_then(|status| status.read_time);
            Some(inside(client, name(pool).unwrap_or_default(), read_at, wish.state).await?)
        }
        None => None,
    };
    Ok(Seen { pools, pool: shown, at: clock::moment() })
}

async fn inside(
    client: &Client,
    name: String,
    read_at: Option<Timestamp>,
    state: Option<SessionState>,
) -> Result<Inside, Failure> {
    let (sessions, more_sessions) = sessions(client, &name, state).await?;
    let request =
        ListLeasesRequest { pool: name.clone(), page_size: PAGE, ..ListLeasesRequest::default() };
    let leases = client.list_leases(request).await?;
    let request =
        ListWaitersRequest { pool: name.clone(), page_size: PAGE, page_token: String::new() };
    let waiters = match client.list_waiters(request).await {
        Ok(page) => Some(page.waiters),
        Err(Error::Refused(no)) if no.reason == Some(ErrorReason::NotImplemented) => None,
        Err(error) => return Err(error.into()),
    };
    let more = more_sessions || !leases.next_page_token.is_empty();
    Ok(Inside { name, read_at, sessions, leases: leases.leases, waiters, more })
}

/// The first sessions of a state, and whether there may be more.
async fn sessions(
    client: &Client,
    pool: &str,
    state: Option<SessionState>,
) -> Result<(Vec<Session>, bool), Failure> {
    let mut request = ListSessionsRequest {
        pool: pool.to_owned(),
        page_size: PAGE,
        states: state.into_iter().map(Into::into).collect(),
        ..ListSessionsRequest::default()
    };
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let page = client.list_sessions(request.clone()).await?;
        found.extend(page.sessions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || found.len() >= MOST {
            break;
        }
    }
    let more = !request.page_token.is_empty() || found.len() > MOST;
    found.truncate(MOST);
    Ok((found, more))
}
