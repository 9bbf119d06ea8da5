//! `telegate keys`.

mod new_store;
mod rotate_store;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use telegate::{
    clock::Clock,
    config::environment,
    keys::{ALL_POOLS, KeyFile, Role},
};

use super::{
    broker::Broker,
    failure::{Exit, Failure},
    print::{self, Output},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The key file [default: telegate/keys.toml in the user's configuration directory].
    #[arg(long, global = true, env = "TELEGATE_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    /// Makes a key and prints it, once.
    New(NewArgs),
    /// Lists what is kept of the keys.
    List,
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
    #[arg(long)]
    pool: Vec<String>,
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
        Word::Revoke(Id { id }) => revoke(&id, &path()?, output)?,
        Word::NewStore(new) => new_store::run(new, output)?,
        Word::RotateStore(rotate) => return rotate_store::run(rotate, broker, output).await,
    }
    Ok(ExitCode::SUCCESS)
}

fn revoke(id: &str, path: &Path, output: Output) -> Result<(), Failure> {
    let mut file = KeyFile::load(path)?;
    if !file.revoke(id) {
        let message = format!("key file {} has no key {id}", path.display());
        return Err(Failure::new(Exit::Refused, message)
            .next("`telegate keys list` shows those that there are"));
    }
    file.save(path)?;
    match output {
        Output::Json => print::json(&serde_json::json!({ "id": id, "revoked": true })),
        Output::Human => print::line(&format!("{id} is revoked")),
    }
}

fn make(new: NewArgs, path: &Path, output: Output) -> Result<(), Failure> {
    let mut file = KeyFile::load_or_empty(path)?;
    let pools = if new.pool.is_empty() { vec![ALL_POOLS.to_owned()] } else { new.pool };
    let now = Clock::system().now().0 / 1000;
    let (id, secret) = file.generate(&new.name, new.role.clone(), pools.clone(), now)?;
    file.save(path)?;
    if output == Output::Json {
        return print::json(&serde_json::json!({
            "id": id,
            "key": secret.reveal(),
            "name": new.name,
            "roles": new.role,
            "pools": pools,
            "file": path,
        }));
    }
    let roles: Vec<_> = new.role.iter().map(ToString::to_string).collect();
    print::record([
        ("id", id),
        ("roles", roles.join(", ")),
        ("pools", pools.join(", ")),
        ("file", path.display().to_string()),
        ("key", secret.reveal().to_owned()),
    ])?;
    eprintln!("The key is shown only now; the file keeps its hash.");
    Ok(())
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
            })
        });
        return print::json(&serde_json::json!({ "keys": keys.collect::<Vec<_>>() }));
    }
    print::table(
        &["ID", "NAME", "ROLES", "POOLS", "CREATED"],
        file.entries().iter().map(|key| {
            let roles: Vec<_> = key.roles.iter().map(ToString::to_string).collect();
            let (roles, pools) = (roles.join(","), key.pools.join(","));
            vec![key.id.clone(), key.name.clone(), roles, pools, key.created.clone()]
        }),
    )
}

fn default_path() -> Result<PathBuf, Failure> {
    let environment = environment();
    let folder = |name| environment.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
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
