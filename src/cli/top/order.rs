//! What the keys let an operator do, after a question.

use telegate::{
    client::Client,
    proto::v1::{
        PausePoolRequest, RestoreSessionRequest, ResumePoolRequest, RevokeLeasesRequest,
        revoke_leases_request::Target,
    },
};

use crate::cli::failure::Failure;

/// What is told to the holder of a lease that is ended here.
const DETAIL: &str = "revoked by an operator at `telegate top`";

/// What the history of a pool or a session says of what is done here.
const AT_TOP: &str = "at `telegate top`";

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Pause { pool: String },
    Resume { pool: String },
    Restore { pool: String, session: String },
    Revoke { pool: String, session: String },
}

impl Order {
    /// What is asked before.
    pub(crate) fn question(&self) -> String {
        match self {
            Self::Pause { pool } => format!("Stop granting leases of pool {pool}?"),
            Self::Resume { pool } => format!("Grant leases of pool {pool} again?"),
            Self::Restore { session, .. } => format!("Bring {session} back?"),
            Self::Revoke { session, .. } => {
                format!("End the lease of {session}? Its holder is told, and it drains.")
            }
        }
    }

    /// Does it, and tells what came of it.
    pub(crate) async fn carry_out(self, client: &Client) -> String {
        let done = match self {
            Self::Pause { pool } => {
                let said = format!("pool {pool} is paused");
                client
                    .pause_pool(PausePoolRequest { pool, detail: AT_TOP.to_owned() })
                    .await
                    .map(|_| said)
            }
            Self::Resume { pool } => {
                let said = format!("pool {pool} grants leases again");
                client
                    .resume_pool(ResumePoolRequest { pool, detail: AT_TOP.to_owned() })
                    .await
                    .map(|_| said)
            }
            Self::Restore { pool, session } => {
                let said = format!("{session} is back");
                let detail = AT_TOP.to_owned();
                let request = RestoreSessionRequest { pool, session, detail };
                client.restore_session(request).await.map(|_| said)
            }
            Self::Revoke { pool, session } => {
                let request = RevokeLeasesRequest {
                    pool,
                    target: Some(Target::Session(session.clone())),
                    detail: DETAIL.to_owned(),
                    page_token: String::new(),
                };
                client.revoke_leases(request).await.map(|ended| match ended.leases.len() {
                    0 => format!("{session} was not leased any more"),
                    _ => format!("the lease of {session} is over"),
                })
            }
        };
        done.unwrap_or_else(|error| Failure::from(error).sentence())
    }
}
