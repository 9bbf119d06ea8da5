//! `telegate leases`.

use telegate::proto::v1::{Lease, ListLeasesRequest, ListLeasesResponse};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    status::PAGE,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// Only those of this key, by its id.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    holder: String,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    let mut request = ListLeasesRequest {
        pool: args.pool,
        page_size: PAGE,
        page_token: String::new(),
        key_id: args.holder,
    };
    let mut all = ListLeasesResponse::default();
    loop {
        let page = client.list_leases(request.clone()).await?;
        all.leases.extend(page.leases);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    match output {
        Output::Json => print::json(&all),
        Output::Human => table(&all.leases),
    }
}

/// Prints leases.
pub(crate) fn table(leases: &[Lease]) -> Result<(), Failure> {
    print::table(
        &["SESSION", "HOLDER", "PURPOSE", "SINCE", "UNTIL", "EPOCH"],
        leases.iter().map(|lease| {
            let holder = lease.holder.clone().unwrap_or_default();
            vec![
                lease.session.clone(),
                holder.key_id,
                holder.purpose,
                print::moment(lease.grant_time.as_ref()),
                print::moment(lease.expire_time.as_ref()),
                lease.epoch.to_string(),
            ]
        }),
    )
}
