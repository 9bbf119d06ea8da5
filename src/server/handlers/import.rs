//! `ImportSessions`: reads files that were sent, in memory, and adds what is in them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tonic::Streaming;

use crate::{
    inventory::{Held, Item, Naming, New, Ways, from_memory},
    pool::PoolName,
    proto::v1::{self, ImportOutcome, ImportRow, import_sessions_request::Part},
    server::{
        call::Caller,
        convert, intake,
        status::{Fault, Violation, broken_stream},
    },
    store::Store,
};

/// The most files of a call.
const MAX_FILES: usize = 4096;
/// The largest file, in bytes.
const MAX_FILE: usize = 32 << 20;
/// The longest name of a file, in bytes.
const MAX_FILE_NAME: usize = 256;
/// The most rows of an answer: clients refuse messages of more than 4 MiB.
const MAX_ROWS: usize = 5000;
/// How many sessions of a file are added at once.
const IN_FLIGHT: usize = 16;
/// How many imports read files at once: each may hold one in memory.
const MAX_IMPORTS: usize = 4;
/// How long the caller may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest pool whose sessions are looked at first, to recognise accounts.
pub(super) const MAX_HELD: u32 = 100_000;
/// How many of them are read at once.
const PAGE: usize = 1000;

/// Where imports take turns.
pub(super) struct Turns(Semaphore);

impl Turns {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(MAX_IMPORTS))
    }
}

/// A file that is being sent.
struct File {
    name: String,
    labels: BTreeMap<String, String>,
    bytes: Vec<u8>,
    /// How long it is; it is not kept once it is too long.
    length: usize,
}

/// An import under way.
struct Import<'a> {
    store: &'a Arc<dyn Store>,
    caller: &'a Caller,
    pool: PoolName,
    is_dry: bool,
    naming: Naming,
    rows: Vec<ImportRow>,
}

/// Imports what is sent, file by file.
pub(super) async fn import(
    store: &Arc<dyn Store>,
    turns: &Turns,
    caller: Caller,
    mut sent: Streaming<v1::ImportSessionsRequest>,
) -> Result<v1::ImportSessionsResponse, Fault> {
    let Some(Part::Header(first)) = next(&mut sent).await? else {
        return Err(invalid("header", "is required in the first message"));
    };
    let pool = convert::pool(&first.pool)?;
    caller.enter(&pool)?;
    let _turn = turns.0.acquire().await;
    let mut import = Import {
        store,
        caller: &caller,
        pool,
        is_dry: first.dry_run,
        naming: Naming::default(),
        rows: Vec::new(),
    };
    hold(store, &import.pool, |held| import.naming.hold(held)).await?;
    let mut file = File::begun(first)?;
    let mut files = 1;
    loop {
        match next(&mut sent).await? {
            Some(Part::Content(bytes)) => file.add(&bytes),
            Some(Part::Header(header)) => {
                if header.pool != import.pool.as_str() {
                    return Err(invalid("header.pool", "is not that of the first file"));
                }
                files += 1;
                if files > MAX_FILES {
                    let rule = format!("comes more than {MAX_FILES} times; begin another call");
                    return Err(invalid("header", rule));
                }
                import.take(std::mem::replace(&mut file, File::begun(header)?)).await?;
            }
            None => {
                import.take(file).await?;
                return Ok(v1::ImportSessionsResponse { rows: import.rows });
            }
        }
    }
}

/// The next piece; nothing at the end.
async fn next(sent: &mut Streaming<v1::ImportSessionsRequest>) -> Result<Option<Part>, Fault> {
    let message = tokio::time::timeout(PATIENCE, sent.message()).await.map_err(|_| Fault::Late)?;
    match message.map_err(|status| broken_stream(&status))? {
        None => Ok(None),
        Some(v1::ImportSessionsRequest { part: Some(part) }) => Ok(Some(part)),
        Some(_) => Err(invalid("part", "is required: header or content")),
    }
}

fn invalid(field: &str, description: impl Into<String>) -> Fault {
    let (field, description) = (field.to_owned(), description.into());
    Fault::Invalid(vec![Violation { field, description }])
}

impl File {
    fn begun(header: v1::ImportHeader) -> Result<Self, Fault> {
        let v1::ImportHeader { file_name: name, labels, .. } = header;
        if name.len() > MAX_FILE_NAME {
            let rule = format!("is {} bytes long; it may be at most {MAX_FILE_NAME}", name.len());
            return Err(invalid("header.file_name", rule));
        }
        Ok(Self { name, labels, bytes: Vec::new(), length: 0 })
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        if self.length > MAX_FILE {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend(bytes);
        }
    }
}

impl Import<'_> {
    /// Reads a file, and adds what is in it.
    async fn take(&mut self, file: File) -> Result<(), Fault> {
        let File { name, labels, bytes, length } = file;
        if length > MAX_FILE {
            let detail = format!("It has {length} bytes, and at most {MAX_FILE} are taken");
            let mut row = ImportRow { file_name: name, detail, ..ImportRow::default() };
            row.set_outcome(ImportOutcome::Refused);
            self.rows.push(row);
            return Ok(());
        }
        let read = move || from_memory(&name, bytes, &Ways::default());
        let lost = |error| Fault::Internal { cause: format!("reading a file panicked: {error}") };
        let items = tokio::task::spawn_blocking(read).await.map_err(lost)?;
        let room = MAX_ROWS.saturating_sub(self.rows.len() + 1);
        let is_full = items.len() > room;
        let placed: Vec<_> =
            items.into_iter().take(room).map(|item| self.place(item, &labels)).collect();
        let (store, caller, pool, is_dry) = (self.store, self.caller, &self.pool, self.is_dry);
        let mut done = stream::iter(placed)
            .map(async |(row, new)| match new {
                Some(new) if !is_dry => add(store, caller, pool, row, new).await,
                _ => Ok(row),
            })
            .buffered(IN_FLIGHT);
        while let Some(row) = done.next().await {
            self.rows.push(row?);
        }
        if is_full {
            let detail = format!("An answer has at most {MAX_ROWS} rows; send the rest anew");
            let mut row = ImportRow { detail, ..ImportRow::default() };
            row.set_outcome(ImportOutcome::Refused);
            self.rows.push(row);
        }
        Ok(())
    }

    fn place(&mut self, item: Item, labels: &BTreeMap<String, String>) -> (ImportRow, Option<New>) {
        let (row, mut new) = self.naming.place(item);
        if let Some(new) = &mut new {
            new.entry.labels.extend(labels.clone());
        }
        (row, new)
    }
}

/// Adds a session, and says in its row what came of it.
async fn add(
    store: &Arc<dyn Store>,
    caller: &Caller,
    pool: &PoolName,
    mut row: ImportRow,
    new: New,
) -> Result<ImportRow, Fault> {
    match convert::add_session(&new.entry.request(pool.as_str(), &new.name), caller.key()) {
        Ok((_, session)) => {
            let sees = |pool: &PoolName| caller.principal.may_use(pool);
            intake::add(store, &sees, pool, row, session).await
        }
        Err(fault) => {
            intake::refuse(&mut row, intake::misshapen(fault)?);
            Ok(row)
        }
    }
}

/// Tells all sessions of a pool, if it is not too large for that.
async fn hold(
    store: &Arc<dyn Store>,
    pool: &PoolName,
    mut tell: impl FnMut(Held),
) -> Result<(), Fault> {
    if store.status(pool).await?.counts.total > MAX_HELD {
        return Ok(());
    }
    let mut after = None;
    loop {
        let page = store.list_sessions(pool, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|view| view.record.name.clone());
        for view in page {
            tell(Held {
                name: view.record.name.to_string(),
                fingerprint: view.record.fingerprint,
                account_id: view.record.account_id,
            });
        }
        if is_last {
            return Ok(());
        }
    }
}
