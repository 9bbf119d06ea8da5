//! The command line: the tree of words, each in a file of its own.

mod acquire;
mod bench;
mod broker;
mod completions;
mod demo;
mod escalation;
mod explain;
mod failure;
mod flood;
mod history;
mod import;
mod invalidate;
mod keys;
mod leases;
mod pool;
mod print;
mod release;
mod renew;
mod report;
mod restore;
mod revoke;
mod run;
mod serve;
mod session;
mod span;
mod status;
mod sync;
mod telegram_error;
mod top;
mod version;
mod waiters;
mod watch;
mod why;

use std::process::ExitCode;

use clap::{
    ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, parser::ValueSource,
};
use telegate::config::{environment, slips};
use tokio::runtime;

use self::{
    broker::Broker,
    failure::{Exit, Failure},
    print::Output,
};

const AFTER_HELP: &str = "\
Exit codes:
  0   done
  1   refused (exists already, not found, wrong state, some files not imported …)
  64  the command line, the configuration or the request is wrong
  65  what was given to read is not what it should be
  69  the broker or its store cannot be reached
  70  a bug
  74  a file cannot be read or written, or the store's file is damaged
  75  refused for now; the error tells when to try again
  77  the API key is missing, unknown, or not enough
  79  the lease of a command was lost; `telegate run --help` has more codes of its own

With --json, results go to stdout and errors of files and brokers to stderr, as JSON.";

/// Lends scarce, exclusive sessions to one worker at a time.
#[derive(Parser)]
#[command(name = "telegate", version, after_help = AFTER_HELP, infer_subcommands = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    broker: Broker,
    /// Print JSON: the messages of the contract, as grpcurl prints them.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Runs a broker.
    Serve(serve::Args),
    /// Leases a session and prints its credential.
    Acquire(acquire::Args),
    /// Runs a command under a lease, which is kept for as long as the command runs.
    Run(run::Args),
    /// Extends a lease, counted from now.
    Renew(renew::Args),
    /// Gives a session back.
    Release(release::Args),
    /// Tells what Telegram answered under a lease, and shows what to do.
    Report(report::Args),
    /// Takes a session out of its pool until it is restored.
    Invalidate(invalidate::Args),
    /// Brings INVALID and SUSPECT sessions back into their pool.
    Restore(restore::Args),
    /// Lists the running leases of a pool.
    Leases(leases::Args),
    /// Ends leases before their time; their sessions drain.
    Revoke(revoke::Args),
    /// Shows what was done to a session, by whom and why.
    History(history::Args),
    /// Shows pools, sessions, leases and waiters, live, on the whole screen.
    Top(top::Args),
    /// Shows how the pools stand.
    Status(status::Args),
    /// Shows how a pool stands whenever that changes.
    Watch(watch::Args),
    /// Lists the calls that wait for a pool.
    Waiters(waiters::Args),
    /// Adds sessions from the files and strings of Telegram's libraries.
    Import(import::Args),
    /// Makes a pool equal to a folder of sessions.
    Sync(sync::Args),
    /// Creates, changes, lists, pauses, resumes, drains and deletes pools.
    #[command(subcommand)]
    Pool(pool::Word),
    /// Lists, shows, changes and removes sessions.
    #[command(subcommand)]
    Session(session::Word),
    /// Lists what cools down, and ends it before its time.
    #[command(subcommand)]
    Flood(flood::Word),
    /// Tells which session an acquire would get or why none, and leases nothing.
    Why(why::Args),
    /// Explains a reason of the broker or an error of Telegram, without a broker.
    Explain(explain::Args),
    /// Makes, lists and revokes API keys in the broker's key file; makes and rotates store keys.
    Keys(keys::Args),
    /// Measures a broker under load, and watches for sessions that are lent twice.
    Bench(bench::Args),
    /// Prints the version.
    Version,
    /// Prints a completion script for a shell.
    Completions(completions::Args),
}

/// Reads the command line. On the way out it has said what was wrong, or shown the help.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        local_words_call_no_broker(&matches)?;
        Cli::from_arg_matches(&matches)
    });
    parsed.map_err(|error| {
        let _ = error.print();
        if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
    })
}

/// Refuses flags that a word would ignore.
fn local_words_call_no_broker(matches: &ArgMatches) -> Result<(), clap::Error> {
    const LOCAL: [&str; 5] = ["serve", "explain", "keys", "version", "completions"];
    let Some((word, matches)) = matches.subcommand() else { return Ok(()) };
    if word == "keys" && matches!(matches.subcommand_name(), Some("rotate-store" | "live")) {
        return Ok(());
    }
    let given = |flag: &&str| matches.value_source(flag) == Some(ValueSource::CommandLine);
    let flag = ["address", "key", "key_file", "ca", "cert", "cert_key"].into_iter().find(given);
    match flag.filter(|_| LOCAL.contains(&word)) {
        Some(flag) => Err(Cli::command().error(
            clap::error::ErrorKind::ArgumentConflict,
            format!("`{word}` calls no broker and has no use for --{}", flag.replace('_', "-")),
        )),
        None => Ok(()),
    }
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let Cli { broker, json, word } = cli;
    let output = if json { Output::Json } else { Output::Human };
    for (name, meant) in slips(&environment()) {
        eprintln!("warning: {name} is not read; did you mean {meant}?");
    }
    // One thread for everything: a call is so short that handing it to another thread would cost
    // more than the call; docs/performance.md has the figures.
    let done = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, format!("no runtime: {error}")))
        .and_then(|runtime| runtime.block_on(run_word(word, &broker, output)));
    match done {
        Ok(code) => code,
        Err(failure) => {
            failure.print(output);
            failure.exit().into()
        }
    }
}

async fn run_word(word: Word, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    match word {
        Word::Serve(args) => serve::run(args).await?,
        Word::Acquire(args) => acquire::run(args, broker, output).await?,
        Word::Run(args) => return run::run(args, broker).await,
        Word::Renew(args) => renew::run(args, broker, output).await?,
        Word::Release(args) => release::run(args, broker, output).await?,
        Word::Report(args) => report::run(args, broker, output).await?,
        Word::Invalidate(args) => invalidate::run(args, broker, output).await?,
        Word::Restore(args) => return restore::run(args, broker, output).await,
        Word::Leases(args) => leases::run(args, broker, output).await?,
        Word::Revoke(args) => revoke::run(args, broker, output).await?,
        Word::History(args) => history::run(args, broker, output).await?,
        Word::Top(args) => top::run(args, broker, output).await?,
        Word::Status(args) => status::run(args, broker, output).await?,
        Word::Watch(args) => watch::run(args, broker, output).await?,
        Word::Waiters(args) => waiters::run(args, broker, output).await?,
        Word::Import(args) => return import::run(args, broker, output).await,
        Word::Sync(args) => return sync::run(args, broker, output).await,
        Word::Pool(word) => pool::run(word, broker, output).await?,
        Word::Session(word) => session::run(word, broker, output).await?,
        Word::Flood(word) => flood::run(word, broker, output).await?,
        Word::Why(args) => why::run(args, broker, output).await?,
        Word::Explain(args) => explain::run(args, output)?,
        Word::Keys(args) => return keys::run(args, broker, output).await,
        Word::Bench(args) => bench::run(args, broker, output).await?,
        Word::Version => version::run(output)?,
        Word::Completions(args) => completions::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
