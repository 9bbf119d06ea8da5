//! `telegate report`.

use telegate::proto::v1::ReportRequest;

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    telegram_error::{self, Details},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The lease under which it was seen.
    lease: String,
    /// The error as Telegram or a library tells it: `FLOOD_WAIT_17`, `"[420 FLOOD_WAIT_X]"`,
    /// `AuthKeyUnregisteredError`, `-404`.
    #[arg(required = true, value_name = "ERROR", allow_negative_numbers = true)]
    words: Vec<String>,
    #[command(flatten)]
    details: Details,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let error = args.details.error(&args.words.join(" "))?;
    let request = ReportRequest { lease_id: args.lease, error: Some(error) };
    let reported = broker.connect().await?.report(request).await?;
    match output {
        Output::Json => print::json(&reported),
        Output::Human => {
            print::record(telegram_error::verdict(&reported.verdict.unwrap_or_default()))
        }
    }
}
