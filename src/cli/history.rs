//! `telegate history`.

use telegate::proto::v1::{ListSessionEventsRequest, ListSessionEventsResponse};

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
    /// The session [default: the pool itself].
    session: Option<String>,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    let mut request = ListSessionEventsRequest {
        pool: args.pool,
        session: args.session.unwrap_or_default(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut all = ListSessionEventsResponse::default();
    loop {
        let page = client.list_session_events(request.clone()).await?;
        all.events.extend(page.events);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    match output {
        Output::Json => print::json(&all),
        Output::Human => print::table(
            &["WHEN", "WHAT", "WHO", "WHY"],
            all.events.iter().map(|event| {
                vec![
                    print::moment(event.time.as_ref()),
                    event.verb.clone(),
                    if event.by_key_id.is_empty() { "a rule" } else { &event.by_key_id }.to_owned(),
                    event.detail.clone(),
                ]
            }),
        ),
    }
}
