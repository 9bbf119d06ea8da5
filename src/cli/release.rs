//! `telegate release`.

use std::time::Duration;

use telegate::proto::v1::{ReleaseOutcome, ReleaseRequest};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    span,
    telegram_error::{self, Details},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The lease's id.
    lease: String,
    /// How long the session should rest, for example 30s.
    #[arg(long, value_parser = span::parse)]
    rest: Option<Duration>,
    /// The error of Telegram that ended the work, as for `telegate report`.
    #[arg(long, value_name = "ERROR", allow_negative_numbers = true)]
    error: Option<String>,
    #[command(flatten)]
    details: Details,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let rest = args.rest.map(span::to_wire);
    let error = args.error.map(|text| args.details.error(&text)).transpose()?;
    let request = ReleaseRequest { lease_id: args.lease, rest, error };
    let released = broker.connect().await?.release(request).await?;
    match output {
        Output::Json => print::json(&released),
        Output::Human => {
            let is_verdict = released.verdict.is_some();
            print::line(match released.outcome() {
                ReleaseOutcome::AlreadyEnded if is_verdict => "the lease is over",
                ReleaseOutcome::AlreadyEnded => "the lease had ended before; nothing changed",
                ReleaseOutcome::Released | ReleaseOutcome::Unspecified => "released",
            })?;
            released.verdict.map_or(Ok(()), |said| print::record(telegram_error::verdict(&said)))
        }
    }
}
