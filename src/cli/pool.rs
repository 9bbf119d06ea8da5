//! `telegate pool`.

use std::time::Duration;

use telegate::proto::v1::{
    CreatePoolRequest, DeletePoolRequest, DrainPoolRequest, EscalationPolicy, GetPoolRequest,
    PausePoolRequest, Pool, PoolMode, PoolPolicy, ResumePoolRequest, UpdatePoolRequest,
};

use super::{
    broker::Broker,
    escalation,
    failure::Failure,
    print::{self, Output},
    span, status,
};

#[derive(clap::Subcommand)]
pub(crate) enum Word {
    /// Creates a pool.
    Create(PolicyArgs),
    /// Changes a pool's policy; running leases keep what they were granted.
    Update(PolicyArgs),
    /// Lists the pools with their state.
    List,
    /// Shows how a pool stands.
    Status(Name),
    /// Stops granting leases; running ones can be renewed.
    Pause(Deed),
    /// Grants leases again.
    Resume(Deed),
    /// Stops granting and renewing leases, so that the pool runs empty.
    Drain(Deed),
    /// Deletes a pool without sessions.
    Delete(Deed),
}

#[derive(clap::Args)]
pub(crate) struct Name {
    /// The pool.
    pool: String,
}

/// Something done to a pool.
#[derive(clap::Args)]
pub(crate) struct Deed {
    /// The pool.
    pool: String,
    #[command(flatten)]
    why: Why,
}

#[derive(clap::Args)]
pub(crate) struct Why {
    /// Why; `telegate history` tells it.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) detail: String,
}

#[derive(clap::Args)]
pub(crate) struct PolicyArgs {
    /// The pool: a-z, 0-9 and '-'.
    pool: String,
    /// The shortest TTL of a lease [of a new pool: 5s].
    #[arg(long, value_parser = span::parse)]
    min_ttl: Option<Duration>,
    /// The TTL of a lease that wishes none [of a new pool: 60s].
    #[arg(long, value_parser = span::parse)]
    default_ttl: Option<Duration>,
    /// The longest TTL of a lease [of a new pool: 1h].
    #[arg(long, value_parser = span::parse)]
    max_ttl: Option<Duration>,
    /// The longest a lease can live through renewals [of a new pool: 24h].
    #[arg(long, value_parser = span::parse)]
    max_lifetime: Option<Duration>,
    /// How long a session rests after a clean release [of a new pool: 0s].
    #[arg(long, value_parser = span::parse)]
    rest: Option<Duration>,
    /// How long a session rests after its lease expired, since the vanished holder may still be
    /// connected [of a new pool: 30s].
    #[arg(long, value_parser = span::parse)]
    drain: Option<Duration>,
    /// How many calls may wait at once [of a new pool: 1000].
    #[arg(long)]
    max_waiters: Option<u32>,
    #[command(flatten)]
    escalation: escalation::Args,
    #[command(flatten)]
    why: Why,
}

pub(crate) async fn run(word: Word, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    match word {
        Word::Create(args) => {
            let detail = args.why.detail.clone();
            let request = CreatePoolRequest { pool: Some(args.into_pool(None)), detail };
            let answer = client.create_pool(request).await?;
            say(output, &answer, answer.pool.as_ref())
        }
        Word::Update(args) => {
            let kept = if args.escalation.is_said() {
                // It changes as a whole, so what is not said is as it was.
                let pool = args.pool.clone();
                client.get_pool(GetPoolRequest { pool }).await?.pool
            } else {
                None
            };
            let kept = kept.and_then(|pool| pool.policy?.escalation);
            let detail = args.why.detail.clone();
            let pool = Some(args.into_pool(kept));
            let request = UpdatePoolRequest { pool, update_mask: None, detail };
            let answer = client.update_pool(request).await?;
            say(output, &answer, answer.pool.as_ref())
        }
        Word::List => status::all(&client, output).await,
        Word::Status(Name { pool }) => status::one(&client, pool, output).await,
        Word::Pause(Deed { pool, why: Why { detail } }) => {
            let answer = client.pause_pool(PausePoolRequest { pool, detail }).await?;
            say(output, &answer, answer.pool.as_ref())
        }
        Word::Resume(Deed { pool, why: Why { detail } }) => {
            let answer = client.resume_pool(ResumePoolRequest { pool, detail }).await?;
            say(output, &answer, answer.pool.as_ref())
        }
        Word::Drain(Deed { pool, why: Why { detail } }) => {
            let answer = client.drain_pool(DrainPoolRequest { pool, detail }).await?;
            say(output, &answer, answer.pool.as_ref())
        }
        Word::Delete(Deed { pool, why: Why { detail } }) => {
            let request = DeletePoolRequest { pool: pool.clone(), detail };
            let answer = client.delete_pool(request).await?;
            match output {
                Output::Json => print::json(&answer),
                Output::Human => print::line(&format!("pool {pool} is gone")),
            }
        }
    }
}

impl PolicyArgs {
    /// The pool that is wished; `escalation` is what is laid over by what is said of it.
    fn into_pool(self, escalation: Option<EscalationPolicy>) -> Pool {
        let said = self.escalation;
        let policy = PoolPolicy {
            min_ttl: self.min_ttl.map(span::to_wire),
            default_ttl: self.default_ttl.map(span::to_wire),
            max_ttl: self.max_ttl.map(span::to_wire),
            max_lifetime: self.max_lifetime.map(span::to_wire),
            rest: self.rest.map(span::to_wire),
            drain: self.drain.map(span::to_wire),
            max_waiters: self.max_waiters,
            escalation: said.is_said().then(|| said.over(escalation.unwrap_or_default())),
        };
        Pool { name: self.pool, policy: Some(policy), ..Pool::default() }
    }
}

fn say(output: Output, answer: &impl serde::Serialize, pool: Option<&Pool>) -> Result<(), Failure> {
    if output == Output::Json {
        return print::json(answer);
    }
    let pool = pool.cloned().unwrap_or_default();
    let policy = pool.policy.unwrap_or_default();
    let shown = |span: Option<&pbjson_types::Duration>| {
        span.map(span::of_wire).map(span::show).unwrap_or_default()
    };
    let (least, most) = (shown(policy.min_ttl.as_ref()), shown(policy.max_ttl.as_ref()));
    let lifetime = shown(policy.max_lifetime.as_ref());
    let mode = PoolMode::try_from(pool.mode).unwrap_or_default();
    print::record([
        ("pool", pool.name),
        ("mode", print::value(mode.as_str_name(), "POOL_MODE_").to_owned()),
        ("ttl", format!("{least} to {most}, default {}", shown(policy.default_ttl.as_ref()))),
        ("lifetime", format!("at most {lifetime}")),
        ("rest", shown(policy.rest.as_ref())),
        ("drain", shown(policy.drain.as_ref())),
        ("waiters", format!("at most {}", policy.max_waiters.unwrap_or_default())),
        ("escalation", policy.escalation.as_ref().map(escalation::shown).unwrap_or_default()),
        ("created", print::moment(pool.create_time.as_ref())),
    ])
}
