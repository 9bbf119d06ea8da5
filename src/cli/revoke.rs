//! `telegate revoke`.

use telegate::proto::v1::{
    RevokeLeasesRequest, RevokeLeasesResponse, revoke_leases_request::Target,
};

use super::{
    broker::Broker,
    failure::Failure,
    leases,
    print::{self, Output},
};

#[derive(clap::Args)]
#[command(group(
    clap::ArgGroup::new("target").required(true).args(["session", "holder", "selector", "lease"])
))]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// The lease of this session.
    session: Option<String>,
    /// All leases of this key, by its id.
    #[arg(long, value_name = "ID")]
    holder: Option<String>,
    /// All leases of sessions with these labels, for example `country=de`.
    #[arg(long)]
    selector: Option<String>,
    /// The lease of this id.
    #[arg(long, value_name = "ID")]
    lease: Option<String>,
    /// Why; told to the holders.
    #[arg(long, default_value = "", hide_default_value = true)]
    detail: String,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let target = match (args.session, args.holder, args.selector, args.lease) {
        (Some(session), ..) => Target::Session(session),
        (_, Some(key), ..) => Target::KeyId(key),
        (_, _, Some(selector), _) => Target::Selector(selector),
        (.., lease) => Target::LeaseId(lease.unwrap_or_default()),
    };
    let client = broker.connect().await?;
    let mut request = RevokeLeasesRequest {
        pool: args.pool,
        detail: args.detail,
        page_token: String::new(),
        target: Some(target),
    };
    let mut all = RevokeLeasesResponse::default();
    loop {
        let some = client.revoke_leases(request.clone()).await?;
        all.leases.extend(some.leases);
        request.page_token = some.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    match output {
        Output::Json => print::json(&all),
        Output::Human if all.leases.is_empty() => print::line("no such lease runs"),
        Output::Human => leases::table(&all.leases),
    }
}
