//! Takes what an inventory found into a pool, and says of each what came of it.

use std::sync::Arc;

use crate::{
    pool::{NewSession, PoolName, Refusal},
    proto::v1::{ImportOutcome, ImportRow},
    server::status::{Fault, Violation},
    store::{self, Store},
};

/// Which pools the one who reads a report may see.
pub(super) type Sees<'a> = &'a (dyn Fn(&PoolName) -> bool + Send + Sync);

/// Adds a session, and says in its row what came of it.
pub(super) async fn add(
    store: &Arc<dyn Store>,
    sees: Sees<'_>,
    pool: &PoolName,
    mut row: ImportRow,
    session: NewSession,
) -> Result<ImportRow, Fault> {
    let refused = match store.add(pool, session).await {
        Ok(_) => return Ok(row),
        Err(store::Error::Refused(refusal)) => *refusal,
        Err(error) => return Err(error.into()),
    };
    match refused {
        Refusal::CredentialExists { pool: there, session, .. } if there == *pool => {
            row.set_outcome(ImportOutcome::Unchanged);
            if session.as_str() != row.session {
                row.detail = format!("The pool has its key as {session}");
                row.session = session.to_string();
            }
        }
        Refusal::CredentialExists { pool: there, session, .. } if sees(&there) => {
            refuse(&mut row, format!("Its key is session {session} of pool {there} already"));
        }
        Refusal::CredentialExists { .. } => {
            refuse(&mut row, "Its key is in another pool already".to_owned());
        }
        Refusal::SessionExists { .. } => {
            refuse(&mut row, "The pool has another session of that name".to_owned());
        }
        other => return Err(store::Error::from(other).into()),
    }
    Ok(row)
}

/// What is wrong with a session's shape, as a row tells it; another fault is the call's.
pub(super) fn misshapen(fault: Fault) -> Result<String, Fault> {
    match fault {
        Fault::Invalid(violations) => {
            let told = |v: &Violation| format!("{}: {}", v.field, v.description);
            Ok(violations.iter().map(told).collect::<Vec<_>>().join("; "))
        }
        fault => Err(fault),
    }
}

/// Makes a row say that something is not taken, and why.
pub(super) fn refuse(row: &mut ImportRow, detail: String) {
    row.set_outcome(ImportOutcome::Refused);
    row.detail = detail;
}
