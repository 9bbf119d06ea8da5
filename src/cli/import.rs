//! `telegate import`: reads sessions, sends those that are new, and says what became of each.

mod rows;
mod send;
mod source;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    process::ExitCode,
};

use futures_util::{StreamExt as _, future, stream};
use telegate::{
    credential::{Credential, Telegram},
    pool::{
        Fingerprint, LABEL_KEY_RULE, LABEL_VALUE_RULE, PoolName, SessionName, is_label_key,
        is_label_value,
    },
    proto::v1::{GetPoolRequest, ImportOutcome, ImportRow},
};

use self::{
    rows::Rows,
    send::send,
    source::{Found, Sources},
};
use super::{
    broker::Broker,
    failure::{Exit, Failure},
    print::Output,
};

/// How many files are read, and how many sessions sent, at once.
const IN_FLIGHT: usize = 16;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Session files of Telethon, Pyrogram, Kurigram, hydrogram, gotd or grammers, .txt files with
    /// a session string per line (also of GramJS and mtcute), folders with session files at any
    /// depth, or - for strings from stdin. Content tells what a file is. Nothing in them changes.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The pool that gets the sessions.
    #[arg(long)]
    pool: String,
    /// A label for all of them; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// What their names begin with, before the file's name.
    #[arg(long, default_value = "", hide_default_value = true)]
    name_prefix: String,
    /// Read and report only; no broker is called.
    #[arg(long)]
    dry_run: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if !is_label_key(key) {
        return Err(format!("'{key}' is not a label key; a key is {LABEL_KEY_RULE}"));
    }
    if !is_label_value(value) {
        return Err(format!("'{value}' is not a label value; a value is {LABEL_VALUE_RULE}"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// A session that is new in this run.
struct New {
    name: String,
    telegram: Telegram,
    fingerprint: Fingerprint,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    if !args.name_prefix.is_empty() && SessionName::parse(&args.name_prefix).is_none() {
        let message = format!("--name-prefix {:?} is not how a name begins", args.name_prefix);
        return Err(
            Failure::new(Exit::Usage, message).next(format!("a name is {}", SessionName::RULE))
        );
    }
    if PoolName::parse(&args.pool).is_none() {
        let message = format!("{:?} is not a pool's name", args.pool);
        return Err(Failure::new(Exit::Usage, message).next(format!("it is {}", PoolName::RULE)));
    }
    let client = if args.dry_run { None } else { Some(broker.connect().await?) };
    if let Some(client) = &client {
        // Better one error here than one for each file.
        client.get_pool(GetPoolRequest { pool: args.pool.clone() }).await?;
    }
    let labels: BTreeMap<_, _> = args.label.iter().cloned().collect();
    let mut rows = Rows::new(output, &args.paths)?;
    let mut plan = Plan::new(&args.name_prefix);
    let done = {
        let (client, pool, labels) = (client.as_ref(), args.pool.as_str(), &labels);
        let mut sent = stream::iter(Sources::new(&args.paths))
            .map(async |source| {
                tokio::task::spawn_blocking(move || source.read())
                    .await
                    .map_err(|error| Failure::new(Exit::Internal, error.to_string()))
            })
            .buffered(IN_FLIGHT)
            .filter_map(|found| future::ready(found.transpose()))
            .map(|found| found.map(|found| plan.place(found)))
            .map(async |planned| {
                let (row, new) = planned?;
                match (new, client) {
                    (Some(new), Some(client)) => send(client, pool, labels, row, new).await,
                    _ => Ok(row),
                }
            })
            .buffered(IN_FLIGHT);
        loop {
            match sent.next().await {
                Some(Ok(row)) => rows.add(&row)?,
                Some(Err(failure)) => break Err(failure),
                None => break Ok(()),
            }
        }
    };
    let refused = rows.finish(args.dry_run)?;
    done?;
    Ok(if refused == 0 { ExitCode::SUCCESS } else { Exit::Refused.into() })
}

/// Decides, in the order of the sources, which sessions are new in this run and how they are named.
struct Plan<'a> {
    prefix: &'a str,
    /// Where each key was found first.
    keys: HashMap<Fingerprint, String>,
    names: HashSet<String>,
}

impl<'a> Plan<'a> {
    fn new(prefix: &'a str) -> Self {
        Self { prefix, keys: HashMap::new(), names: HashSet::new() }
    }

    fn place(&mut self, found: Found) -> (ImportRow, Option<New>) {
        let Found { file_name, stem, format, read } = found;
        let mut row = ImportRow { file_name, format, ..ImportRow::default() };
        let telegram = match read {
            Ok(telegram) => telegram,
            Err(fault) => {
                row.set_outcome(ImportOutcome::Refused);
                row.detail = fault.to_string();
                return (row, None);
            }
        };
        let fingerprint = Credential::Telegram(telegram.clone()).fingerprint();
        row.fingerprint = fingerprint.to_string();
        if let Some(first) = self.keys.get(&fingerprint) {
            row.set_outcome(ImportOutcome::Unchanged);
            row.detail = format!("It has the same key as {first}");
            return (row, None);
        }
        self.keys.insert(fingerprint.clone(), row.file_name.clone());
        let name = self.name(stem.as_deref(), &fingerprint);
        // Said for a dry run; sending says it anew.
        row.set_outcome(ImportOutcome::Added);
        row.session.clone_from(&name);
        (row, Some(New { name, telegram, fingerprint }))
    }

    /// A valid name that is new in this run.
    fn name(&mut self, stem: Option<&str>, fingerprint: &Fingerprint) -> String {
        let text = match stem {
            Some(stem) => format!("{}{stem}", self.prefix),
            None => format!("{}session-{fingerprint}", self.prefix),
        };
        let name = valid_name(&text).unwrap_or_else(|| format!("session-{fingerprint}"));
        let name = if self.names.contains(&name) {
            // Two folders may each have an "account.session".
            let room = MAX_NAME - fingerprint.as_str().len() - 1;
            format!("{}-{fingerprint}", &name[..name.len().min(room)])
        } else {
            name
        };
        self.names.insert(name.clone());
        name
    }
}

const MAX_NAME: usize = 64;

/// Makes a session's name of any text: what a name cannot have becomes `-`.
fn valid_name(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    let name: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '+');
    let name = &name[..name.len().min(MAX_NAME)];
    SessionName::parse(name).map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_valid_name_or_none() {
        for (text, name) in [
            ("alice", Some("alice")),
            ("+49 151/000", Some("+49-151-000")),
            ("__bob", Some("bob")),
            ("Ünal", Some("nal")),
            ("日本", None),
            ("", None),
            (&"x".repeat(80), Some(&*"x".repeat(64))),
        ] {
            assert_eq!(valid_name(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn two_files_of_one_name_get_two_names() {
        let fingerprint = Fingerprint::new("0123456789abcdef");
        let mut plan = Plan::new("eu-");
        assert_eq!(plan.name(Some("account"), &fingerprint), "eu-account");
        assert_eq!(plan.name(Some("account"), &fingerprint), "eu-account-0123456789abcdef");
        assert_eq!(plan.name(None, &fingerprint), "eu-session-0123456789abcdef");
        let long = "x".repeat(64);
        assert_eq!(plan.name(Some(&long), &fingerprint).len(), 64);
        assert_eq!(plan.name(Some(&long), &fingerprint).len(), 64);
    }
}
