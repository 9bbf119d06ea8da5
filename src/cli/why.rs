//! `telegate why`: what an acquire would get, and what stands in its way. Leases nothing.

use telegate::proto::v1::{AcquireRequest, ExplainRequest, ExplainResponse};

use super::{
    acquire::UseFor,
    broker::Broker,
    failure::Failure,
    print::{self, Output},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// Which sessions would do, for example `country=de,premium,tier in (a,b)`.
    #[arg(long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The only session that would do.
    #[arg(long, default_value = "", hide_default_value = true)]
    session: String,
    #[command(flatten)]
    use_for: UseFor,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let acquire = AcquireRequest {
        pool: args.pool,
        selector: args.selector,
        session: args.session,
        methods: args.use_for.methods,
        peer: args.use_for.peer,
        probe: args.use_for.probe,
        ..AcquireRequest::default()
    };
    let request = ExplainRequest { acquire: Some(acquire) };
    let explained = broker.connect().await?.explain(request).await?;
    match output {
        Output::Json => print::json(&explained),
        Output::Human => show(&explained),
    }
}

fn show(explained: &ExplainResponse) -> Result<(), Failure> {
    let ExplainResponse { session, reason, because, passed_over } = explained;
    let (what, which) =
        if session.is_empty() { ("refused", reason) } else { ("would get", session) };
    let mut fields = vec![(what, which.clone())];
    fields.extend(because.iter().map(|sentence| ("because", sentence.clone())));
    print::record(fields)?;
    if passed_over.is_empty() {
        return Ok(());
    }
    print::line("")?;
    let row =
        |over: &telegate::proto::v1::PassedOver| vec![over.session.clone(), over.because.clone()];
    print::table(&["PASSED OVER", "WHY"], passed_over.iter().map(row))
}
