//! `telegate acquire`.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::ValueEnum;
use telegate::proto::v1::{
    AcquireRequest, AcquireResponse, Credential, CredentialForm, WaitPriority, credential::Value,
};

use super::{
    broker::Broker,
    failure::{Exit, Failure},
    flood,
    print::{self, Output},
    span,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// The wished TTL, for example 60s; clamped to the pool's range.
    #[arg(long, value_parser = span::parse)]
    ttl: Option<Duration>,
    /// Which sessions would do, for example `country=de,premium,tier in (a,b)`.
    #[arg(long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The only session that would do.
    #[arg(long, default_value = "", hide_default_value = true)]
    session: String,
    #[command(flatten)]
    use_for: UseFor,
    /// How long the broker may hold the call until a session is free, for example 5m.
    #[arg(long, value_parser = span::parse, default_value = "0s", value_name = "SPAN")]
    wait: Duration,
    /// Where in the line it stands meanwhile.
    #[arg(long, value_enum, default_value_t = Class::Normal)]
    class: Class,
    /// What the lease is for, for people who look at leases.
    #[arg(long, default_value = "", hide_default_value = true)]
    purpose: String,
    /// The form of the credential.
    #[arg(long, value_enum, default_value_t = Form::Raw)]
    form: Form,
    /// Makes the call safe to repeat: the same id gets the same lease while it lives.
    #[arg(long, default_value = "", hide_default_value = true)]
    request_id: String,
    /// Print nothing but this, for scripts.
    #[arg(long, value_enum, conflicts_with = "json")]
    only: Option<Only>,
}

/// What the session will be used for: one that cools down for it is passed over.
#[derive(clap::Args)]
pub(crate) struct UseFor {
    /// A method that it will call, for example `messages.getHistory`; may be given several times.
    #[arg(long = "method", value_name = "METHOD")]
    pub(crate) methods: Vec<String>,
    /// The chat or user that it will be about.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) peer: String,
    /// Take a SUSPECT session, too, in order to find out whether it is alive.
    #[arg(long)]
    pub(crate) probe: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Form {
    /// The plain fields.
    Raw,
    /// Telethon's `StringSession`.
    TelethonString,
    /// Pyrogram's session string, also for Kurigram and hydrogram; needs `api_id`, `user_id` and
    /// `is_bot`.
    PyrogramString,
    /// GramJS's `StringSession`.
    GramjsString,
    /// gotd's session file.
    GotdJson,
    /// mtcute's session string, version 3.
    MtcuteString,
}

impl Form {
    pub(crate) const fn on_the_wire(self) -> CredentialForm {
        match self {
            Self::Raw => CredentialForm::Unspecified,
            Self::TelethonString => CredentialForm::TelethonString,
            Self::PyrogramString => CredentialForm::PyrogramString,
            Self::GramjsString => CredentialForm::GramjsString,
            Self::GotdJson => CredentialForm::GotdJson,
            Self::MtcuteString => CredentialForm::MtcuteString,
        }
    }
}

/// Where in the line a call stands that waits.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Class {
    /// Before the others.
    High,
    /// In order of arrival.
    Normal,
    /// Behind the others.
    Low,
}

impl Class {
    pub(crate) const fn on_the_wire(self) -> WaitPriority {
        match self {
            Self::High => WaitPriority::High,
            // What is not said makes the same request as one that says nothing.
            Self::Normal => WaitPriority::Unspecified,
            Self::Low => WaitPriority::Low,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Only {
    /// The lease id.
    Lease,
    /// The credential.
    Credential,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let request = AcquireRequest {
        pool: args.pool,
        ttl: args.ttl.map(span::to_wire),
        request_id: args.request_id,
        selector: args.selector,
        session: args.session,
        methods: args.use_for.methods,
        peer: args.use_for.peer,
        wait: Some(args.wait).filter(|wait| !wait.is_zero()).map(span::to_wire),
        priority: args.class.on_the_wire().into(),
        probe: args.use_for.probe,
        purpose: args.purpose,
        form: args.form.on_the_wire().into(),
    };
    let granted = broker.connect().await?.acquire(request).await?;
    match (output, args.only) {
        (Output::Json, _) => print::json(&granted),
        (Output::Human, None) => show(&granted),
        (Output::Human, Some(Only::Lease)) => {
            print::line(&granted.lease.unwrap_or_default().lease_id)
        }
        (Output::Human, Some(Only::Credential)) => {
            print::line(&credential(granted.credential.as_ref())?)
        }
    }
}

fn show(granted: &AcquireResponse) -> Result<(), Failure> {
    let lease = granted.lease.clone().unwrap_or_default();
    let session = granted.session.clone().unwrap_or_default();
    let ttl = lease.ttl.as_ref().map(span::of_wire).map(span::show).unwrap_or_default();
    let expires = print::moment(lease.expire_time.as_ref());
    let labels: Vec<_> = session.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let replayed = if granted.replayed { "this lease was granted before" } else { "" };
    print::record([
        ("lease", lease.lease_id),
        ("replayed", replayed.to_owned()),
        ("epoch", lease.epoch.to_string()),
        ("session", format!("{} of pool {}", lease.session, lease.pool)),
        ("labels", labels.join(",")),
        ("expires", format!("{expires}, in {ttl}")),
        ("cools down", flood::cool_downs(&session.cool_downs)),
        ("proxy", session.proxy),
        ("data centre", place(granted.credential.as_ref())),
        ("credential", credential(granted.credential.as_ref())?),
    ])
}

/// Where a raw Telegram key is known; the other forms say it themselves.
fn place(credential: Option<&Credential>) -> String {
    match credential.and_then(|credential| credential.value.as_ref()) {
        Some(Value::Telegram(telegram)) => {
            let test = if telegram.test { "test, " } else { "" };
            let (address, port) = (&telegram.address, telegram.port);
            let address =
                if address.is_empty() { String::new() } else { format!(" at {address}:{port}") };
            format!("{test}{}{address}", telegram.dc_id)
        }
        _ => String::new(),
    }
}

/// The secret as text: a string as it is, bytes in base64.
pub(crate) fn credential(credential: Option<&Credential>) -> Result<String, Failure> {
    match credential.and_then(|credential| credential.value.as_ref()) {
        Some(Value::Text(text)) => Ok(text.clone()),
        Some(Value::Telegram(telegram)) => Ok(BASE64_STANDARD.encode(&telegram.auth_key)),
        Some(Value::Opaque(bytes)) => Ok(BASE64_STANDARD.encode(bytes)),
        None => Err(Failure::new(Exit::Internal, "the broker granted a lease without credential")),
    }
}
