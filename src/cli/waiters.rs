//! `telegate waiters`.

use telegate::proto::v1::{ListWaitersRequest, ListWaitersResponse, Waiter};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    span,
};

/// How many waiters are asked for at once.
const PAGE: i32 = 1000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
}

/// Shows who waits, the first in line first.
pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    let mut all = ListWaitersResponse::default();
    let mut page_token = String::new();
    loop {
        let pool = args.pool.clone();
        let request = ListWaitersRequest { pool, page_size: PAGE, page_token };
        let page = client.list_waiters(request).await?;
        all.waiters.extend(page.waiters);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    match output {
        Output::Json => print::json(&all),
        Output::Human => {
            let header = ["PLACE", "KEY", "PURPOSE", "WAITED", "GIVES UP IN", "CLASS", "WANTS"];
            print::table(&header, all.waiters.iter().map(row))
        }
    }
}

fn row(waiter: &Waiter) -> Vec<String> {
    let holder = waiter.holder.clone().unwrap_or_default();
    let show = |span: &Option<pbjson_types::Duration>| {
        span.as_ref().map(span::of_wire).map(span::show).unwrap_or_default()
    };
    let wants = match (waiter.session.as_str(), waiter.selector.as_str()) {
        ("", "") => "any",
        ("", selector) => selector,
        (session, _) => session,
    };
    vec![
        waiter.position.to_string(),
        holder.key_id,
        holder.purpose,
        show(&waiter.waited),
        show(&waiter.remaining),
        print::value(waiter.priority().as_str_name(), "WAIT_PRIORITY_").to_owned(),
        wants.to_owned(),
    ]
}
