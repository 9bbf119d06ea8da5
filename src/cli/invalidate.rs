//! `telegate invalidate`.

use clap::ValueEnum;
use telegate::proto::v1::{
    InvalidReason, InvalidateRequest, SessionRef, invalidate_request::Target,
};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    session,
};

#[derive(clap::Args)]
#[command(override_usage = "telegate invalidate <LEASE> [OPTIONS]\n       \
                            telegate invalidate --pool <POOL> --session <SESSION> [OPTIONS]")]
pub(crate) struct Args {
    /// The lease whose session is dead, for its holder.
    #[arg(
        required_unless_present_all = ["pool", "session"],
        conflicts_with_all = ["pool", "session"]
    )]
    lease: Option<String>,
    /// The session's pool, for admins.
    #[arg(long, requires = "session")]
    pool: Option<String>,
    /// The session, for admins.
    #[arg(long, requires = "pool")]
    session: Option<String>,
    /// The kind of cause.
    #[arg(long, value_enum)]
    reason: Option<Reason>,
    /// What happened, in your words.
    #[arg(long, default_value = "", hide_default_value = true)]
    detail: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Reason {
    /// Telegram banned the account.
    Banned,
    /// The account was deleted.
    Deactivated,
    /// The owner ended the session.
    Revoked,
    /// The session expired.
    Expired,
    /// The session was used over two connections at once.
    KeyDuplicated,
    /// Telegram no longer knows the key.
    KeyUnregistered,
    /// An operator decided so.
    Operator,
    /// Something else.
    Other,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let target = match (args.lease, args.pool, args.session) {
        (None, Some(pool), Some(session)) => Target::Session(SessionRef { pool, session }),
        (lease, ..) => Target::LeaseId(lease.unwrap_or_default()),
    };
    let reason = match args.reason {
        None => InvalidReason::Unspecified,
        Some(Reason::Banned) => InvalidReason::Banned,
        Some(Reason::Deactivated) => InvalidReason::Deactivated,
        Some(Reason::Revoked) => InvalidReason::Revoked,
        Some(Reason::Expired) => InvalidReason::Expired,
        Some(Reason::KeyDuplicated) => InvalidReason::KeyDuplicated,
        Some(Reason::KeyUnregistered) => InvalidReason::KeyUnregistered,
        Some(Reason::Operator) => InvalidReason::Operator,
        Some(Reason::Other) => InvalidReason::Other,
    };
    let request =
        InvalidateRequest { reason: reason.into(), detail: args.detail, target: Some(target) };
    let invalidated = broker.connect().await?.invalidate(request).await?;
    match output {
        Output::Json => print::json(&invalidated),
        Output::Human => session::show(&invalidated.session.unwrap_or_default()),
    }
}
