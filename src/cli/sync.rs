//! `telegate sync`: makes a pool equal to a folder.

use std::{path::PathBuf, process::ExitCode};

use telegate::{
    inventory::{New, Piece, Stock},
    proto::v1::{
        ImportOutcome, ImportRow, SyncEnd, SyncHeader, SyncSession, SyncSessionsRequest,
        SyncSessionsResponse, SyncUnreadable, sync_sessions_request::Part,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    broker::Broker,
    failure::{Exit, Failure},
    import::{Reading, rows},
    print::{self, Output},
};

/// How many pieces are read ahead of what the broker has taken.
const AHEAD: usize = 64;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that says which sessions the pool should have: all that `telegate import` finds
    /// in it. Nothing in it changes.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The pool that becomes equal to it.
    #[arg(long)]
    pool: String,
    /// Labels, proxies and device profiles by pattern [default: telegate.toml or telegate.json in
    /// the folder, if there is one].
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A name for the folder, so that several can fill one pool: a sync removes only what one with
    /// the same name added.
    #[arg(long, value_name = "NAME", default_value = "folder")]
    source: String,
    /// Tell only what would be done.
    #[arg(long)]
    dry_run: bool,
    /// The folder may be empty, and the pool lose all that a sync added.
    #[arg(long)]
    allow_empty: bool,
    /// Sessions of the folder that the pool has, but not from a sync, belong to this one from now
    /// on.
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    reading: Reading,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    let ways = args.reading.ways()?;
    let stock = Stock::open(&args.folder, args.manifest.as_deref(), ways).map_err(|why| {
        Failure::new(Exit::Data, why).next("mend that; nothing was changed in the pool")
    })?;
    let client = broker.connect().await?;
    let (sender, sent) = mpsc::channel(AHEAD);
    let is_dry = args.dry_run;
    let header = SyncHeader {
        pool: args.pool,
        source: args.source,
        dry_run: is_dry,
        allow_empty: args.allow_empty,
        adopt: args.adopt,
    };
    let reading = tokio::task::spawn_blocking(move || {
        let mut copies = Vec::new();
        let tell = |part| sender.blocking_send(SyncSessionsRequest { part: Some(part) }).is_ok();
        // When nobody takes it any more, the broker's answer tells why.
        tell(Part::Header(header));
        for piece in stock.pieces() {
            let part = match piece {
                Piece::Session { row, new } => Part::Session(wanted(row, new)),
                Piece::Unreadable { row: ImportRow { file_name, detail, .. }, name } => {
                    let name = name.unwrap_or_default();
                    Part::Unreadable(SyncUnreadable { file_name, name, detail })
                }
                Piece::Copy(row) => {
                    copies.push(row);
                    continue;
                }
            };
            if !tell(part) {
                return copies;
            }
        }
        tell(Part::End(SyncEnd {}));
        copies
    });
    let mut answer = client.sync_sessions(ReceiverStream::new(sent)).await?;
    let copies = reading.await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    answer.rows.extend(copies);
    let refused = match output {
        Output::Json => {
            print::json(&answer)?;
            answer.rows.iter().filter(|row| row.outcome() == ImportOutcome::Refused).count()
        }
        Output::Human => report(&answer, is_dry)?,
    };
    Ok(if refused == 0 { ExitCode::SUCCESS } else { Exit::Refused.into() })
}

fn wanted(row: ImportRow, new: New) -> SyncSession {
    let ImportRow { file_name, format, detail, .. } = row;
    let request = new.entry.request("", &new.name);
    let (session, credential) = (request.session, request.credential);
    SyncSession { file_name, format, session, credential, detail }
}

/// Prints what was done. Tells how many were refused.
fn report(answer: &SyncSessionsResponse, is_dry: bool) -> Result<usize, Failure> {
    if !answer.rows.is_empty() {
        print::line(&rows::header())?;
    }
    for row in &answer.rows {
        print::line(&rows::line(row))?;
    }
    let count = |outcome| answer.rows.iter().filter(|row| row.outcome() == outcome).count();
    let refused = count(ImportOutcome::Refused);
    let done = if is_dry { "would be " } else { "" };
    print::line(&format!(
        "{}{} {done}added, {} updated, {} removed, {} spared, {} unchanged, {refused} refused",
        if answer.rows.is_empty() { "" } else { "\n" },
        count(ImportOutcome::Added),
        count(ImportOutcome::Updated),
        count(ImportOutcome::Removed),
        count(ImportOutcome::Spared),
        answer.unchanged,
    ))?;
    Ok(refused)
}
