//! `telegate session`.

mod update;

use clap::ValueEnum;
use telegate::{
    client::Client,
    proto::v1::{
        GetSessionRequest, InvalidReason, ListSessionsRequest, ListSessionsResponse,
        RemoveSessionRequest, Session, SessionState, Suspicion,
    },
};

use super::{
    broker::Broker,
    failure::Failure,
    flood,
    pool::Why,
    print::{self, Output},
    status::PAGE,
};

#[derive(clap::Subcommand)]
pub(crate) enum Word {
    /// Lists a pool's sessions by name.
    List(ListArgs),
    /// Shows a session.
    Show(Name),
    /// Changes a session's labels, proxy, device profile or account, also while it is leased.
    Update(Box<update::Args>),
    /// Removes a session and its credential for good.
    Remove(Removal),
}

#[derive(clap::Args)]
pub(crate) struct Name {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// The session.
    session: String,
}

#[derive(clap::Args)]
pub(crate) struct Removal {
    #[command(flatten)]
    name: Name,
    #[command(flatten)]
    why: Why,
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// Only those with these labels, for example `country=de`.
    #[arg(long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Only those in one of these states.
    #[arg(long, value_enum, value_delimiter = ',')]
    state: Vec<State>,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Ready,
    Leased,
    Resting,
    FloodWait,
    Suspect,
    Invalid,
}

pub(crate) async fn run(word: Word, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    match word {
        Word::List(args) => {
            let sessions = list(&client, args).await?;
            match output {
                Output::Json => print::json(&sessions),
                Output::Human => table(&sessions.sessions),
            }
        }
        Word::Show(Name { pool, session }) => {
            let answer = client.get_session(GetSessionRequest { pool, session }).await?;
            match output {
                Output::Json => print::json(&answer),
                Output::Human => show(&answer.session.unwrap_or_default()),
            }
        }
        Word::Update(args) => {
            let answer = update::update(&client, *args).await?;
            match output {
                Output::Json => print::json(&answer),
                Output::Human => show(&answer.session.unwrap_or_default()),
            }
        }
        Word::Remove(Removal { name: Name { pool, session }, why: Why { detail } }) => {
            let request =
                RemoveSessionRequest { pool: pool.clone(), session: session.clone(), detail };
            let answer = client.remove_session(request).await?;
            match output {
                Output::Json => print::json(&answer),
                Output::Human => print::line(&format!("{session} is gone from pool {pool}")),
            }
        }
    }
}

/// All sessions of a pool, page by page.
pub(crate) async fn all(
    client: &Client,
    mut request: ListSessionsRequest,
) -> Result<ListSessionsResponse, Failure> {
    let mut all = ListSessionsResponse::default();
    request.page_size = PAGE;
    loop {
        let page = client.list_sessions(request.clone()).await?;
        all.sessions.extend(page.sessions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(all);
        }
    }
}

async fn list(client: &Client, args: ListArgs) -> Result<ListSessionsResponse, Failure> {
    let states = args.state.into_iter().map(|state| match state {
        State::Ready => SessionState::Ready,
        State::Leased => SessionState::Leased,
        State::Resting => SessionState::Resting,
        State::FloodWait => SessionState::FloodWait,
        State::Suspect => SessionState::Suspect,
        State::Invalid => SessionState::Invalid,
    });
    let request = ListSessionsRequest {
        pool: args.pool,
        selector: args.selector,
        states: states.map(Into::into).collect(),
        ..ListSessionsRequest::default()
    };
    all(client, request).await
}

fn table(sessions: &[Session]) -> Result<(), Failure> {
    let header = ["SESSION", "STATE", "UNTIL", "LABELS", "HOLDER", "FINGERPRINT"];
    print::table(
        &header,
        sessions.iter().map(|session| {
            vec![
                session.name.clone(),
                state(session),
                print::moment(session.state_until.as_ref()),
                labels(session),
                holder(session),
                session.fingerprint.clone(),
            ]
        }),
    )
}

/// Prints all that is known of a session.
pub(crate) fn show(session: &Session) -> Result<(), Failure> {
    let why = session.invalidation.as_ref().map(|why| {
        let reason = InvalidReason::try_from(why.reason).unwrap_or_default();
        let reason = print::value(reason.as_str_name(), "INVALID_REASON_");
        let detail = if why.detail.is_empty() { "" } else { ": " };
        let when = print::moment(why.time.as_ref());
        format!("{reason}{detail}{} (by {} at {when})", why.detail, why.by_key_id)
    });
    print::record([
        ("session", format!("{} of pool {}", session.name, session.pool)),
        ("state", state(session)),
        ("until", print::moment(session.state_until.as_ref())),
        ("why", why.unwrap_or_default()),
        ("suspicion", suspicion(session)),
        ("cools down", flood::cool_downs(&session.cool_downs)),
        ("holder", holder(session)),
        ("labels", labels(session)),
        ("epoch", session.epoch.to_string()),
        ("fingerprint", session.fingerprint.clone()),
        ("account", session.account_id.map(|id| id.to_string()).unwrap_or_default()),
        ("proxy", session.proxy.clone()),
        ("device", device(session)),
        ("added", print::moment(session.create_time.as_ref())),
        ("last used", print::moment(session.last_used_time.as_ref())),
    ])
}

/// The application and the device that its clients pretend to be.
fn device(session: &Session) -> String {
    let device = session.device.clone().unwrap_or_default();
    let api_id = device.api_id.map(|id| format!("api_id {id}")).unwrap_or_default();
    let system = [device.device_model, device.system_version, device.app_version];
    let parts = [api_id].into_iter().chain(system).chain([device.lang_code]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn state(session: &Session) -> String {
    print::value(session.state().as_str_name(), "SESSION_STATE_").to_owned()
}

fn suspicion(session: &Session) -> String {
    session.suspicion.as_ref().map_or(String::new(), |suspicion| {
        let when = print::moment(suspicion.time.as_ref());
        let Suspicion { rule, cause, by_key_id, .. } = suspicion;
        format!("{cause} (rule {rule}, by {by_key_id} at {when})")
    })
}

fn labels(session: &Session) -> String {
    let pairs: Vec<_> =
        session.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn holder(session: &Session) -> String {
    match &session.holder {
        Some(holder) if holder.purpose.is_empty() => holder.key_id.clone(),
        Some(holder) => format!("{} ({})", holder.key_id, holder.purpose),
        None => String::new(),
    }
}
