//! `telegate keys rotate-store`: has the broker seal everything with the first store key, page by
//! page, and tells which keys can go.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use serde::Serialize;
use telegate::{
    client::Client,
    proto::v1::{ListPoolsRequest, ResealSessionsRequest},
};

use crate::cli::{
    broker::Broker,
    failure::{Exit, Failure},
    print::{self, Output},
};

/// How many pools, and how many sessions, are asked for at once.
const PAGE: i32 = 1000;
/// Sessions are sealed on the way, so a page is no larger than a call may last.
const SEALED_AT_ONCE: i32 = 200;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this pool [default: all that the key may see].
    #[arg(long)]
    pool: Option<String>,
}

/// What a rotation did.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    resealed: u32,
    unchanged: u32,
    /// How many sessions need each store key now.
    needed: BTreeMap<String, u32>,
    /// The keys that the broker has and none of these sessions needs.
    unneeded: BTreeSet<String>,
    left: Vec<Left>,
}

#[derive(Serialize)]
struct Left {
    pool: String,
    session: String,
    detail: String,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    let client = broker.connect().await?;
    let every_pool = args.pool.is_none();
    let pools = match args.pool {
        Some(pool) => vec![pool],
        None => pools(&client).await?,
    };
    let mut report = Report::default();
    let mut held = Vec::new();
    for pool in pools {
        rotate(&client, pool, output, &mut report, &mut held).await?;
    }
    // The first seals what is to come, so it is needed in any case.
    report.unneeded = held.iter().skip(1).cloned().collect();
    report.unneeded.retain(|id| !report.needed.contains_key(id));
    match output {
        Output::Json => print::json(&report)?,
        Output::Human => tell(&report, every_pool)?,
    }
    Ok(if report.left.is_empty() { ExitCode::SUCCESS } else { Exit::Refused.into() })
}

async fn pools(client: &Client) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    let mut request = ListPoolsRequest { page_size: PAGE, page_token: String::new() };
    loop {
        let page = client.list_pools(request.clone()).await?;
        names.extend(page.pools.into_iter().filter_map(|row| Some(row.pool?.name)));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(names);
        }
    }
}

async fn rotate(
    client: &Client,
    pool: String,
    output: Output,
    report: &mut Report,
    held: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut request = ResealSessionsRequest { pool, page_size: SEALED_AT_ONCE, ..<_>::default() };
    let (mut resealed, mut unchanged) = (0, 0);
    loop {
        let page = client.reseal_sessions(request.clone()).await?;
        resealed += page.resealed;
        unchanged += page.unchanged;
        for (id, count) in page.needed {
            *report.needed.entry(id).or_default() += count;
        }
        report.left.extend(page.left.into_iter().map(|left| Left {
            pool: request.pool.clone(),
            session: left.session,
            detail: left.detail,
        }));
        *held = page.store_key_ids;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    report.resealed += resealed;
    report.unchanged += unchanged;
    if output == Output::Human {
        let pool = &request.pool;
        print::line(&format!("{pool}: {resealed} sealed anew, {unchanged} as they should be"))?;
    }
    Ok(())
}

fn tell(report: &Report, every_pool: bool) -> Result<(), Failure> {
    for Left { pool, session, detail } in &report.left {
        print::line(&format!("{pool}: {session} stays as it is: {detail}"))?;
    }
    for (id, count) in &report.needed {
        print::line(&format!("store key {id} is needed by {count}"))?;
    }
    for id in &report.unneeded {
        let what = if every_pool { "no longer needed: it can go" } else { "not needed by it" };
        print::line(&format!("store key {id} is {what}"))?;
    }
    Ok(())
}
