//! `telegate flood`: what cools down, and its end before the time.

use serde_json::{Value, json};
use telegate::{
    client::Client,
    proto::v1::{
        ClearCoolDownRequest, CoolDown, CoolDownScope, GetPoolRequest, GetSessionRequest,
        ListSessionsRequest,
    },
};

use super::{
    broker::Broker,
    failure::Failure,
    pool::Why,
    print::{self, Output},
    session, status,
    telegram_error::scope,
};

#[derive(clap::Subcommand)]
pub(crate) enum Word {
    /// Lists what cools down: session, scope, until when, by which rule and error.
    List(ListArgs),
    /// Counts the floods of the last hour by method; waits that libraries made up are not counted.
    Count(CountArgs),
    /// Ends cool-downs before their time, or the brake on a method of a whole pool.
    Clear(ClearArgs),
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// The pool. Left out: all that the key may see.
    #[arg(long)]
    pool: Option<String>,
    /// Only of this session.
    #[arg(long, requires = "pool")]
    session: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct CountArgs {
    /// The pool. Left out: all that the key may see.
    #[arg(long)]
    pool: Option<String>,
}

#[derive(clap::Args)]
#[command(override_usage = "telegate flood clear --pool <POOL> --session <SESSION> \
                            <--all|--whole|--method <METHOD>|--peer <PEER>|\
                            --capability <NAME>|--egress>\n       \
                            telegate flood clear --pool <POOL> --method <METHOD>")]
pub(crate) struct ClearArgs {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// The session. Left out: the brake on --method in the whole pool.
    #[arg(long, required_unless_present = "method")]
    session: Option<String>,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    why: Why,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// Everything of the session that cools down.
    #[arg(long)]
    all: bool,
    /// The cool-down of the whole session.
    #[arg(long)]
    whole: bool,
    /// That of a method.
    #[arg(long)]
    method: Option<String>,
    /// That of a chat or user.
    #[arg(long)]
    peer: Option<String>,
    /// That of a capability, for example `strangers`.
    #[arg(long, value_name = "NAME")]
    capability: Option<String>,
    /// That of the way out to Telegram.
    #[arg(long)]
    egress: bool,
}

/// A cool-down, and whose it is; a brake on a method of a whole pool has no session.
struct Row {
    pool: String,
    session: Option<String>,
    entry: CoolDown,
}

pub(crate) async fn run(word: Word, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    match word {
        Word::List(args) => {
            let rows = rows(&client, args).await?;
            match output {
                Output::Json => {
                    let rows = rows.iter().map(Row::json).collect::<Result<Vec<_>, _>>()?;
                    print::json(&json!({ "coolDowns": rows }))
                }
                Output::Human => table(&rows),
            }
        }
        Word::Count(args) => count(&client, args, output).await,
        Word::Clear(args) => clear(&client, args, output).await,
    }
}

/// The cool-downs of a session in one line.
pub(crate) fn cool_downs(entries: &[CoolDown]) -> String {
    let shown = entries.iter().map(|entry| {
        let until = print::moment(entry.until.as_ref());
        let CoolDown { subject, rule, cause, .. } = entry;
        format!("{} until {until} ({rule}, {cause})", scope(entry.scope, subject))
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// A flooded method, as it is shown.
pub(crate) fn method(method: &str) -> &str {
    if method.is_empty() { "(no method)" } else { method }
}

async fn count(client: &Client, args: CountArgs, output: Output) -> Result<(), Failure> {
    let pools: Vec<_> = if let Some(pool) = args.pool {
        let floods = client.get_pool(GetPoolRequest { pool: pool.clone() }).await?.floods;
        vec![(pool, floods)]
    } else {
        let pools = status::list(client).await?.pools.into_iter();
        pools.map(|pool| (pool.pool.unwrap_or_default().name, pool.floods)).collect()
    };
    let rows = pools.iter().flat_map(|(pool, floods)| floods.iter().map(move |row| (pool, row)));
    match output {
        Output::Json => {
            let row = |(pool, floods)| {
                let mut row = print::value_of(floods)?;
                row["pool"] = json!(pool);
                Ok(row)
            };
            let rows = rows.map(row).collect::<Result<Vec<_>, Failure>>()?;
            print::json(&json!({ "floods": rows }))
        }
        Output::Human => print::table(
            &["POOL", "FLOODED METHOD", "LAST HOUR"],
            rows.map(|(pool, floods)| {
                vec![pool.clone(), method(&floods.method).to_owned(), floods.count.to_string()]
            }),
        ),
    }
}

async fn rows(client: &Client, args: ListArgs) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    match (args.pool, args.session) {
        (Some(pool), Some(session)) => {
            let request = GetSessionRequest { pool: pool.clone(), session };
            let session = client.get_session(request).await?.session.unwrap_or_default();
            rows.extend(of_session(&pool, &session.name, session.cool_downs));
        }
        (Some(pool), None) => {
            let brakes = client.get_pool(GetPoolRequest { pool: pool.clone() }).await?.brakes;
            rows.extend(of_pool(client, &pool, brakes).await?);
        }
        (None, _) => {
            for overview in status::list(client).await?.pools {
                let pool = overview.pool.unwrap_or_default().name;
                rows.extend(of_pool(client, &pool, overview.brakes).await?);
            }
        }
    }
    Ok(rows)
}

async fn of_pool(client: &Client, pool: &str, brakes: Vec<CoolDown>) -> Result<Vec<Row>, Failure> {
    let row = |entry| Row { pool: pool.to_owned(), session: None, entry };
    let mut rows: Vec<_> = brakes.into_iter().map(row).collect();
    let request = ListSessionsRequest { pool: pool.to_owned(), ..ListSessionsRequest::default() };
    for session in session::all(client, request).await?.sessions {
        rows.extend(of_session(pool, &session.name, session.cool_downs));
    }
    Ok(rows)
}

fn of_session(pool: &str, session: &str, entries: Vec<CoolDown>) -> impl Iterator<Item = Row> {
    let (pool, session) = (pool.to_owned(), session.to_owned());
    entries.into_iter().map(move |entry| Row {
        pool: pool.clone(),
        session: Some(session.clone()),
        entry,
    })
}

impl Row {
    fn json(&self) -> Result<Value, Failure> {
        let mut row = print::value_of(&self.entry)?;
        row["pool"] = json!(self.pool);
        if let Some(session) = &self.session {
            row["session"] = json!(session);
        }
        Ok(row)
    }
}

fn table(rows: &[Row]) -> Result<(), Failure> {
    let header = ["POOL", "SESSION", "SCOPE", "SUBJECT", "UNTIL", "RULE", "CAUSE"];
    print::table(
        &header,
        rows.iter().map(|Row { pool, session, entry }| {
            vec![
                pool.clone(),
                session.clone().unwrap_or_else(|| "(all)".to_owned()),
                scope(entry.scope, ""),
                entry.subject.clone(),
                print::moment(entry.until.as_ref()),
                entry.rule.clone(),
                entry.cause.clone(),
            ]
        }),
    )
}

async fn clear(client: &Client, args: ClearArgs, output: Output) -> Result<(), Failure> {
    let ClearArgs { pool, session, what, why: Why { detail } } = args;
    let wanted = match (what, &session) {
        (What { all: true, .. }, Some(session)) => {
            let request = GetSessionRequest { pool: pool.clone(), session: session.clone() };
            let entries = client.get_session(request).await?.session.unwrap_or_default();
            entries.cool_downs.into_iter().map(|entry| (entry.scope(), entry.subject)).collect()
        }
        (What { method: Some(method), .. }, None) => vec![(CoolDownScope::PoolMethod, method)],
        (What { method: Some(method), .. }, _) => vec![(CoolDownScope::Method, method)],
        (What { peer: Some(peer), .. }, _) => vec![(CoolDownScope::Peer, peer)],
        (What { capability: Some(name), .. }, _) => vec![(CoolDownScope::Capability, name)],
        (What { egress: true, .. }, _) => vec![(CoolDownScope::Egress, String::new())],
        _ => vec![(CoolDownScope::Session, String::new())],
    };
    if wanted.is_empty() && output == Output::Human {
        return print::line("nothing cools down");
    }
    for (what, subject) in wanted {
        let request = ClearCoolDownRequest {
            pool: pool.clone(),
            session: session.clone().unwrap_or_default(),
            scope: what.into(),
            subject: subject.clone(),
            detail: detail.clone(),
        };
        let cleared = client.clear_cool_down(request).await?;
        match output {
            Output::Json => print::json(&cleared)?,
            Output::Human => print::line(&format!("{} is open", scope(what.into(), &subject)))?,
        }
    }
    Ok(())
}
