//! `telegate release`.

use std::time::Duration;

use telegate::proto::v1::{ReleaseOutcome, ReleaseRequest};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    span,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The lease's id.
    lease: String,
    /// How long the session should rest, for example 30s.
    #[arg(long, value_parser = span::parse)]
    rest: Option<Duration>,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let rest = args.rest.map(span::to_wire);
    let request = ReleaseRequest { lease_id: args.lease, rest, error: None };
    let released = broker.connect().await?.release(request).await?;
    match output {
        Output::Json => print::json(&released),
        Output::Human => print::line(match released.outcome() {
            ReleaseOutcome::AlreadyEnded => "the lease had ended before; nothing changed",
            ReleaseOutcome::Released | ReleaseOutcome::Unspecified => "released",
        }),
    }
}
