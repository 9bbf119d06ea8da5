//! `telegate status`.

use telegate::{
    client::Client,
    proto::v1::{
        GetPoolStatusRequest, ListPoolsRequest, ListPoolsResponse, PoolState, PoolStatus,
        ReleaseCause,
    },
};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    span,
};

/// How many rows are asked for at once.
pub(crate) const PAGE: i32 = 500;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool. Left out: all that the key may see.
    pool: Option<String>,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    match args.pool {
        Some(pool) => one(&client, pool, output).await,
        None => all(&client, output).await,
    }
}

/// Shows how a pool stands.
pub(crate) async fn one(client: &Client, pool: String, output: Output) -> Result<(), Failure> {
    let answer = client.get_pool_status(GetPoolStatusRequest { pool }).await?;
    match output {
        Output::Json => print::json(&answer),
        Output::Human => table(answer.status),
    }
}

/// Shows how all pools stand that the key may see.
pub(crate) async fn all(client: &Client, output: Output) -> Result<(), Failure> {
    let pools = list(client).await?;
    match output {
        Output::Json => print::json(&pools),
        Output::Human => table(pools.pools.into_iter().filter_map(|pool| pool.status)),
    }
}

/// All pools, page by page.
pub(crate) async fn list(client: &Client) -> Result<ListPoolsResponse, Failure> {
    let mut all = ListPoolsResponse::default();
    let mut page_token = String::new();
    loop {
        let page = client.list_pools(ListPoolsRequest { page_size: PAGE, page_token }).await;
        let page = page.map_err(|error| match Failure::from(error) {
            lacks if lacks.lacking().is_some() => {
                lacks.next("name one pool, which a worker's key may see: `telegate status POOL`")
            }
            other => other,
        })?;
        all.pools.extend(page.pools);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// The heads of the columns of a status.
pub(crate) const HEADER: [&str; 12] = [
    "POOL",
    "STATE",
    "TOTAL",
    "FREE",
    "LEASED",
    "RESTING",
    "FLOOD WAIT",
    "SUSPECT",
    "INVALID",
    "NEXT FREE",
    "WAITING",
    "WAIT",
];

fn table(pools: impl IntoIterator<Item = PoolStatus>) -> Result<(), Failure> {
    print::table(&HEADER, pools.into_iter().map(|status| row(&status)))
}

/// A pool's status as a row of a table.
pub(crate) fn row(status: &PoolStatus) -> Vec<String> {
    let counts = status.counts.unwrap_or_default();
    let state = PoolState::try_from(status.state).unwrap_or_default();
    let mut row =
        vec![status.pool.clone(), print::value(state.as_str_name(), "POOL_STATE_").to_owned()];
    row.extend(
        [
            counts.total,
            counts.free,
            counts.leased,
            counts.resting,
            counts.flood_wait,
            counts.suspect,
            counts.invalid,
        ]
        .map(|count| count.to_string()),
    );
    row.extend([next_free(status), waiting(status), wait(status)]);
    row
}

/// How many wait, and for how long the first.
fn waiting(status: &PoolStatus) -> String {
    match status.oldest_wait.as_ref().map(span::of_wire) {
        None => "-".to_owned(),
        Some(waited) => format!("{} since {}", status.waiters, span::show(waited)),
    }
}

/// How long an acquire would wait that came now.
fn wait(status: &PoolStatus) -> String {
    match status.estimated_wait.as_ref().map(span::of_wire) {
        None => "-".to_owned(),
        Some(wait) if wait.is_zero() => "none".to_owned(),
        Some(wait) => format!("about {}", span::show(wait)),
    }
}

fn next_free(status: &PoolStatus) -> String {
    let after = status.next_release_in.as_ref().map(span::of_wire);
    let what = match status.next_release_cause() {
        ReleaseCause::Unspecified => "",
        ReleaseCause::Lease => " (a lease ends)",
        ReleaseCause::Rest => " (a rest ends)",
        ReleaseCause::CoolDown => " (a cool-down ends)",
    };
    match after {
        None => "-".to_owned(),
        Some(after) if after.is_zero() => "now".to_owned(),
        Some(after) => format!("in {}{what}", span::show(after)),
    }
}
