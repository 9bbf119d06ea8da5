//! `telegate renew`.

use std::time::Duration;

use telegate::proto::v1::RenewRequest;

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
    /// The wished TTL, from now; clamped to the pool's range.
    #[arg(long, value_parser = span::parse)]
    ttl: Option<Duration>,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let request = RenewRequest { lease_id: args.lease, ttl: args.ttl.map(span::to_wire) };
    let renewed = broker.connect().await?.renew(request).await?;
    if output == Output::Json {
        return print::json(&renewed);
    }
    let lease = renewed.lease.unwrap_or_default();
    let ttl = lease.ttl.as_ref().map(span::of_wire).map(span::show).unwrap_or_default();
    print::record([
        ("session", format!("{} of pool {}", lease.session, lease.pool)),
        ("expires", format!("{}, in {ttl}", print::moment(lease.expire_time.as_ref()))),
        ("at most until", print::moment(lease.max_expire_time.as_ref())),
    ])
}
