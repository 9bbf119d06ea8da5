//! Sends one session to the broker, and says in its row what came of it.

use std::{collections::BTreeMap, time::Duration};

use telegate::{
    client::{Client, Error, Refused},
    inventory::New,
    proto::v1::{AddSessionRequest, ErrorReason, GetSessionRequest, ImportOutcome, ImportRow},
};

use crate::cli::failure::Failure;

/// How often a session is sent again when the broker says that waiting helps.
const RETRIES: usize = 5;
/// The longest such wait.
const MAX_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn send(
    client: &Client,
    pool: &str,
    labels: &BTreeMap<String, String>,
    mut row: ImportRow,
    new: New,
) -> Result<ImportRow, Failure> {
    let New { name, mut entry } = new;
    let fingerprint = entry.fingerprint();
    // What the caller says of all wins over what a sidecar says of one.
    entry.labels.extend(labels.clone());
    let request = entry.request(pool, &name);
    let refused = match add(client, request).await {
        Ok(()) => {
            row.set_outcome(ImportOutcome::Added);
            return Ok(row);
        }
        Err(Error::Refused(refused)) => refused,
        Err(error) => return Err(error.into()),
    };
    match refused.reason {
        Some(ErrorReason::CredentialAlreadyExists) => held_already(&mut row, pool, &refused),
        Some(ErrorReason::SessionAlreadyExists) => {
            let request = GetSessionRequest { pool: pool.to_owned(), session: name };
            let held = client.get_session(request).await?.session.unwrap_or_default();
            if held.fingerprint == fingerprint.as_str() {
                row.set_outcome(ImportOutcome::Unchanged);
            } else {
                row.set_outcome(ImportOutcome::Refused);
                row.detail = format!(
                    "The pool has another session of that name ({}); use --name-prefix",
                    held.fingerprint
                );
            }
        }
        Some(ErrorReason::InvalidRequest) => {
            row.set_outcome(ImportOutcome::Refused);
            let said =
                refused.violations.iter().map(|v| format!("{}: {}", v.subject, v.description));
            row.detail = said.collect::<Vec<_>>().join("; ");
        }
        // All others would meet the same.
        _ => return Err(Error::Refused(refused).into()),
    }
    Ok(row)
}

/// Adds a session, patiently.
async fn add(client: &Client, request: AddSessionRequest) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        let refused = match client.add_session(request.clone()).await {
            Ok(_) => return Ok(()),
            Err(Error::Refused(refused)) => refused,
            Err(error) => return Err(error),
        };
        match refused.retry_after {
            Some(after) if tries < RETRIES => {
                tries += 1;
                tokio::time::sleep(after.min(MAX_WAIT)).await;
            }
            _ => return Err(Error::Refused(refused)),
        }
    }
}

fn held_already(row: &mut ImportRow, pool: &str, refused: &Refused) {
    let held = |key| refused.metadata.get(key).map(String::as_str);
    match (held("pool"), held("session")) {
        (Some(there), Some(session)) if there == pool => {
            row.set_outcome(ImportOutcome::Unchanged);
            if session != row.session {
                row.detail = format!("The pool has its key as {session}");
                session.clone_into(&mut row.session);
            }
        }
        _ => {
            row.set_outcome(ImportOutcome::Refused);
            row.detail.clone_from(&refused.message);
        }
    }
}
