//! `telegate keys`.

mod live;
mod new_store;
mod rotate_store;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use telegate::{
    clock::Clock,
    config::environment,
    keys::{ALL_POOLS, KeyFile, Role},
    pool::{PoolName, Span, Time},
};

use super::{
    broker::Broker,
    failure::{Exit, Failure},
    print::{self, Output},
    span,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The key file [env: `TELEGATE_KEYS`] [default: telegate/keys.toml in the user's configuration
    /// directory].
    #[arg(long, global = true, value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    /// Makes a key and prints it, once.
    New(NewArgs),
    /// Lists what the file keeps of the keys.
    List,
    /// Lists the keys as a running broker knows them, with their last use.
    Live,
    /// Forgets a key; a running broker refuses it within seconds.
    Revoke(Id),
    /// Makes a store key, with which a broker encrypts credentials.
    NewStore(new_store::Args),
    /// Has a running broker encrypt all its sessions with its first store key.
    RotateStore(rotate_store::Args),
}

#[derive(clap::Args)]
struct NewArgs {
    /// What people call it.
    #[arg(long)]
    name: String,
    /// What it may do: worker, observer or admin; may be given several times.
    #[arg(long, required = true, value_parser = |text: &str| text.parse::<Role>())]
    role: Vec<Role>,
    /// A pool that it may use; may be given several times [default: all].
    #[arg(long, value_parser = pool)]
    pool: Vec<String>,
    /// After how long it is refused, for example 12h or 30d [default: never].
    #[arg(long, value_name = "SPAN", value_parser = span::parse_with_days)]
    expires: Option<Duration>,
}

/// Reads a pool's name, or the word for all, for clap.
fn pool(text: &str) -> Result<String, String> {
    if text == ALL_POOLS || PoolName::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(format!("a pool's name is {}; '{ALL_POOLS}' means all pools", PoolName::RULE))
}

#[derive(clap::Args)]
struct Id {
    /// The key's id, for example k-3f9a1c2d.
    id: String,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    let path = || args.keys.map_or_else(default_path, Ok);
    match args.word {
        Word::New(new) => make(new, &path()?, output)?,
        Word::List => list(&KeyFile::load(&path()?)?, output)?,
        Word::Live => live::run(broker, output).await?,
        Word::Revoke(Id { id }) => revoke(&id, &path()?, output)?,
        Word::NewStore(new) => new_store::run(new, output)?,
        Word::RotateStore(rotate) => return rotate_store::run(rotate, broker, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn revoke(id: &str, path: &Path, output: Output) -> Result<(), Failure> {
    // A missing file is told as such, and not made.
    KeyFile::load(path)?;
    if !KeyFile::edit(path, |file| Ok(file.revoke(id)))? {
        let message = format!("key file {} has no key {id}", path.display());
        return Err(Failure::new(Exit::Refused, message)
            .next("`telegate keys list` shows those that there are"));
    }
    match output {
        Output::Json => print::json(&serde_json::json!({ "id": id, "revoked": true })),
        Output::Human => print::line(&format!("{id} is revoked")),
    }
}

fn make(new: NewArgs, path: &Path, output: Output) -> Result<(), Failure> {
    let pools = if new.pool.is_empty() { vec![ALL_POOLS.to_owned()] } else { new.pool };
    let now = Clock::system().now();
    let expires =
        new.expires.map(|span| now + Span(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
    let (id, secret) = KeyFile::edit(path, |file| {
        let made = file.generate(&new.name, new.role.clone(), pools.clone(), now.0 / 1000)?;
        if let Some(at) = expires {
            file.expire(&made.0, at);
        }
        Ok(made)
    })?;
    if output == Output::Json {
        return print::json(&serde_json::json!({
            "id": id,
            "key": secret.reveal(),
            "name": new.name,
            "roles": new.role,
            "pools": pools,
            "expires": expires.map(shown),
            "file": path,
        }));
    }
    let roles: Vec<_> = new.role.iter().map(ToString::to_string).collect();
    print::record([
        ("id", id),
        ("roles", roles.join(", ")),
        ("pools", pools.join(", ")),
        ("expires", expires.map(shown).unwrap_or_default()),
        ("file", path.display().to_string()),
        ("key", secret.reveal().to_owned()),
    ])?;
    eprintln!("The key is shown only now; the file keeps its hash.");
    Ok(())
}

/// A moment as the file has it, to the second.
fn shown(at: Time) -> String {
    Time(at.0 / 1000 * 1000).to_string()
}

fn list(file: &KeyFile, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        let keys = file.entries().iter().map(|key| {
            serde_json::json!({
                "id": key.id,
                "name": key.name,
                "roles": key.roles,
                "pools": key.pools,
                "created": key.created,
                "expires": key.expires.map(shown),
            })
        });
        return print::json(&serde_json::json!({ "keys": keys.collect::<Vec<_>>() }));
    }
    let now = Clock::system().now();
    print::table(
        &["ID", "NAME", "ROLES", "POOLS", "CREATED", "EXPIRES"],
        file.entries().iter().map(|key| {
            let roles: Vec<_> = key.roles.iter().map(ToString::to_string).collect();
            let over = if key.is_over(now) { " (expired)" } else { "" };
            let expires = key.expires.map_or_else(|| "never".to_owned(), shown) + over;
            let (id, name, created) = (key.id.clone(), key.name.clone(), key.created.clone());
            vec![id, name, roles.join(","), key.pools.join(","), created, expires]
        }),
    )
}

fn default_path() -> Result<PathBuf, Failure> {
    let environment = environment();
    let folder = |name| environment.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = folder("TELEGATE_KEYS") {
        return Ok(path);
    }
    let config = folder("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = config.or_else(|| Some(folder("HOME")?.join(".config")));
    let config = config.ok_or_else(|| {
        Failure::new(Exit::Usage, "there is no home directory to keep the key file in")
            .next("name the file with --keys")
    })?;
    Ok(config.join("telegate/keys.toml"))
}

impl From<telegate::keys::Error> for Failure {
    fn from(error: telegate::keys::Error) -> Self {
        use telegate::keys::Error;
        let exit = match error {
            Error::Missing(_) | Error::Malformed { .. } => Exit::Usage,
            Error::Io { .. } => Exit::Io,
            Error::Random(_) => Exit::Internal,
        };
        Self::new(exit, error.to_string())
    }
}
