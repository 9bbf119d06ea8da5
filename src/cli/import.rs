//! `telegate import`: reads sessions, sends those that are new, and says what became of each.

pub(super) mod rows;
mod send;

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, sync::Arc};

use futures_util::{StreamExt as _, stream};
use telegate::{
    client::Client,
    credential::Passcode,
    inventory::{Held, Naming, Phones, Sidecars, Sources, Ways},
    keys::Role,
    pool::{
        Fingerprint, LABEL_KEY_RULE, LABEL_VALUE_RULE, PoolName, SessionName, is_label_key,
        is_label_value,
    },
    proto::v1::{GetPoolRequest, ImportOutcome, ListSessionsRequest},
};

use self::{rows::Rows, send::send};
use super::{
    broker::Broker,
    failure::{Exit, Failure},
    print::Output,
    status::PAGE,
};

/// How many files are read, and how many sessions sent, at once.
const IN_FLIGHT: usize = 16;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Session files of Telethon, Pyrogram, Kurigram, hydrogram, gotd or grammers, tdata folders of
    /// Telegram Desktop, .txt files with a session string per line (also of GramJS and mtcute), zip
    /// archives or folders with all of these at any depth, or - for strings from stdin. Content
    /// tells what a file is. Nothing in them changes.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The pool that gets the sessions.
    #[arg(long)]
    pool: String,
    /// A label for all of them; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// What their names begin with, before the file's name.
    #[arg(long, default_value = "", hide_default_value = true)]
    name_prefix: String,
    #[command(flatten)]
    reading: Reading,
    /// Read and report only; no broker is called.
    #[arg(long)]
    dry_run: bool,
}

/// How files are read.
#[derive(clap::Args)]
pub(crate) struct Reading {
    /// A file with the passcode that locks a tdata folder.
    #[arg(long, value_name = "FILE")]
    passcode_file: Option<PathBuf>,
    /// Leave aside what lies beside a session as NAME.json: application, device, proxy, account,
    /// second factor.
    #[arg(long)]
    no_sidecars: bool,
    /// Take the phone number of a sidecar as the label `phone`. It is personal.
    #[arg(long)]
    phone_label: bool,
}

impl Reading {
    pub(crate) fn ways(&self) -> Result<Ways, Failure> {
        let passcode = match &self.passcode_file {
            Some(path) => fs::read_to_string(path).map_err(|error| {
                Failure::new(Exit::Io, format!("passcode file {}: {error}", path.display()))
                    .next("name a file with the passcode in its first line")
            })?,
            None => String::new(),
        };
        let first = passcode.lines().next().unwrap_or_default();
        Ok(Ways {
            passcode: Passcode::new(first.to_owned()),
            sidecars: if self.no_sidecars { Sidecars::Ignore } else { Sidecars::Read },
            phones: if self.phone_label { Phones::Label } else { Phones::Leave },
        })
    }
}

/// Reads a label, for clap.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if !is_label_key(key) {
        return Err(format!("'{key}' is not a label key; a key is {LABEL_KEY_RULE}"));
    }
    if !is_label_value(value) {
        return Err(format!("'{value}' is not a label value; a value is {LABEL_VALUE_RULE}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    if !args.name_prefix.is_empty() && SessionName::parse(&args.name_prefix).is_none() {
        let message = format!("--name-prefix {:?} is not how a name begins", args.name_prefix);
        return Err(
            Failure::new(Exit::Usage, message).next(format!("a name is {}", SessionName::RULE))
        );
    }
    if PoolName::parse(&args.pool).is_none() {
        let message = format!("{:?} is not a pool's name", args.pool);
        return Err(Failure::new(Exit::Usage, message).next(format!("it is {}", PoolName::RULE)));
    }
    let ways = Arc::new(args.reading.ways()?);
    let client = if args.dry_run { None } else { Some(broker.connect().await?) };
    let mut naming = Naming::new(&args.name_prefix);
    if let Some(client) = &client {
        // Better one error here than one for each file.
        let looked = client.get_pool(GetPoolRequest { pool: args.pool.clone() }).await;
        looked.map_err(|error| Failure::from(error).needing(Role::Admin))?;
        hold_all(&mut naming, client, &args.pool).await?;
    }
    let labels: BTreeMap<_, _> = args.label.iter().cloned().collect();
    let mut rows = Rows::new(output, &args.paths)?;
    let done: Result<(), Failure> = {
        let (client, pool, labels) = (client.as_ref(), args.pool.as_str(), &labels);
        let mut sent = stream::iter(Sources::new(&args.paths))
            .map(|source| {
                let ways = Arc::clone(&ways);
                async move {
                    tokio::task::spawn_blocking(move || source.read(&ways))
                        .await
                        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))
                }
            })
            .buffered(IN_FLIGHT)
            .flat_map(|read| match read {
                Ok(items) => stream::iter(items).map(Ok).left_stream(),
                Err(failure) => stream::iter([Err(failure)]).right_stream(),
            })
            .map(|item| item.map(|item| naming.place(item)))
            .map(async |placed| {
                let (mut row, new) = placed?;
                if let (Some(new), Some(client)) = (new, client) {
                    row = send(client, pool, labels, row, new).await?;
                }
                let held = row.outcome() == ImportOutcome::Unchanged && !row.session.is_empty();
                if held && row.detail.is_empty() && !labels.is_empty() {
                    "Its labels stay as they were".clone_into(&mut row.detail);
                }
                Ok(row)
            })
            .buffered(IN_FLIGHT);
        loop {
            match sent.next().await {
                Some(Ok(row)) => rows.add(&row)?,
                Some(Err(failure)) => break Err(failure),
                None => break Ok(()),
            }
        }
    };
    let refused = rows.finish(args.dry_run);
    // What stopped the import goes before what the rows lack for it.
    done?;
    let refused = refused?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { Exit::Refused.into() })
}

/// Learns what the pool has, so that a second run is quick and accounts are recognised.
async fn hold_all(naming: &mut Naming, client: &Client, pool: &str) -> Result<(), Failure> {
    let mut request = ListSessionsRequest {
        pool: pool.to_owned(),
        page_size: PAGE,
        ..ListSessionsRequest::default()
    };
    loop {
        let page = client.list_sessions(request.clone()).await?;
        for session in page.sessions {
            naming.hold(Held {
                name: session.name,
                fingerprint: Fingerprint::new(&session.fingerprint),
                account_id: session.account_id,
            });
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(());
        }
    }
}
