//! `SyncSessions`: makes a pool equal to what is streamed.

use std::{sync::Arc, time::Duration};

use tonic::Streaming;

use crate::{
    pool::{KeyId, LABEL_VALUE_RULE, Mandate, PoolName, is_label_value},
    proto::v1::{self, ImportRow, sync_sessions_request::Part},
    server::{
        call::Caller,
        convert, intake,
        status::{Fault, Violation, broken_stream},
        sync::{Effect, Emptying, Order, SOURCE, Strangers, Sync},
    },
    store::Store,
};

/// How long the caller may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest name of a file, in bytes; what is longer is cut.
const MAX_FILE_NAME: usize = 256;
/// The longest detail, in bytes; what is longer is cut.
const MAX_DETAIL: usize = 512;

/// Makes a pool equal to what is sent.
pub(super) async fn sync(
    store: &Arc<dyn Store>,
    caller: Caller,
    mut sent: Streaming<v1::SyncSessionsRequest>,
) -> Result<v1::SyncSessionsResponse, Fault> {
    let Some(Part::Header(header)) = next(&mut sent).await? else {
        return Err(invalid("header", "is required in the first message"));
    };
    let order = order(header, caller.key())?;
    caller.enter(&order.pool)?;
    let pool = order.pool.clone();
    let sees = |pool: &PoolName| caller.principal.may_use(pool);
    let mut sync = Sync::begin(store, &sees, order).await?;
    loop {
        match next(&mut sent).await? {
            Some(Part::Session(wanted)) => want(&mut sync, &pool, caller.key(), wanted).await?,
            Some(Part::Unreadable(missed)) => {
                let v1::SyncUnreadable { file_name, name, detail } = missed;
                sync.miss(row(file_name, detail), (!name.is_empty()).then_some(name));
            }
            Some(Part::End(v1::SyncEnd {})) => break,
            Some(Part::Header(_)) => return Err(invalid("header", "comes a second time")),
            None => return Err(invalid("end", "is required: without it nothing is removed")),
        }
    }
    let report = sync.end().await?;
    Ok(v1::SyncSessionsResponse { rows: report.rows, unchanged: report.unchanged })
}

fn order(header: v1::SyncHeader, by: KeyId) -> Result<Order, Fault> {
    let v1::SyncHeader { pool, source, dry_run, allow_empty, adopt } = header;
    let pool = convert::pool(&pool)?;
    if !is_label_value(&source) {
        let rule = format!("is not a label's value; write {LABEL_VALUE_RULE}");
        return Err(invalid("header.source", rule));
    }
    Ok(Order {
        pool,
        source: if source.is_empty() { SOURCE.to_owned() } else { source },
        effect: if dry_run { Effect::Told } else { Effect::Real },
        emptying: if allow_empty { Emptying::Allowed } else { Emptying::Refused },
        strangers: if adopt { Strangers::Adopted } else { Strangers::Left },
        on: Mandate { by, detail: String::new() },
    })
}

async fn want(
    sync: &mut Sync<'_>,
    pool: &PoolName,
    by: KeyId,
    wanted: v1::SyncSession,
) -> Result<(), Fault> {
    let v1::SyncSession { file_name, format, session, credential, detail } = wanted;
    let mut session = session.unwrap_or_default();
    pool.as_str().clone_into(&mut session.pool);
    let mut row = ImportRow { format: limited(format, 64), ..row(file_name, detail) };
    let name = session.name.clone();
    let request = v1::AddSessionRequest { session: Some(session), credential };
    match convert::add_session(&request, by) {
        Ok((_, new)) => sync.want(row, new).await,
        Err(fault) => {
            row.detail = intake::misshapen(fault)?;
            sync.miss(row, (!name.is_empty()).then_some(name));
            Ok(())
        }
    }
}

fn row(file_name: String, detail: String) -> ImportRow {
    ImportRow {
        file_name: limited(file_name, MAX_FILE_NAME),
        detail: limited(detail, MAX_DETAIL),
        ..ImportRow::default()
    }
}

fn limited(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

/// The next piece; nothing at the end.
async fn next(sent: &mut Streaming<v1::SyncSessionsRequest>) -> Result<Option<Part>, Fault> {
    let message = tokio::time::timeout(PATIENCE, sent.message()).await.map_err(|_| Fault::Late)?;
    match message.map_err(|status| broken_stream(&status))? {
        None => Ok(None),
        Some(v1::SyncSessionsRequest { part: Some(part) }) => Ok(Some(part)),
        Some(_) => Err(invalid("part", "is required: header, session, unreadable or end")),
    }
}

fn invalid(field: &str, description: impl Into<String>) -> Fault {
    let (field, description) = (field.to_owned(), description.into());
    Fault::Invalid(vec![Violation { field, description }])
}
