//! `telegate run`: a command under a lease, which never outlives it.

mod group;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::{ExitCode, ExitStatus},
    thread,
    time::Duration,
};

use command_fds::{CommandFdExt as _, FdMapping};
use telegate::{
    client::{LeaseGuard, LendError, Loss},
    proto::v1::{AcquireRequest, credential::Value},
};
use tokio::process::Command;

use self::group::{Group, Signals};
use super::{
    acquire::{Class, Form, UseFor, credential},
    broker::Broker,
    failure::{Exit, Failure},
    span,
};

/// The file descriptor of the credential, unless another is chosen.
const CREDENTIAL_FD: i32 = 3;

const AFTER_HELP: &str = "\
The command finds TELEGATE_POOL, TELEGATE_SESSION and TELEGATE_EPOCH in its environment, and
TELEGATE_DC and TELEGATE_ACCOUNT_ID where they are known; the lease and the API key are not there.
The credential, in the chosen form and without a line's end, is read from file descriptor 3, for
example in a shell with `read -r credential <&3`. A descriptor is read once and shown nowhere; with
--credential-env every process that the command starts inherits the secret, and this user's
processes can read it in /proc.

SIGINT, SIGTERM, SIGHUP and SIGQUIT go on to the command's process group, and what the command
leaves behind there is ended too. When the lease is lost the group gets SIGTERM at once and SIGKILL
after --kill-after. Do not end `telegate run` itself with SIGKILL: the command would go on without
a keeper, and the session be lent again when the lease has run out.

Exit codes: that of the command, or 128 and the number of the signal that ended it. Of its own:
  79   the lease was lost, and the command ended for it
  126  the command cannot be run
  127  the command is not there
and before the command is started those of `telegate --help`: 75 means that no session came free.";

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// How long to wait for a session, for example 5m.
    #[arg(long, value_parser = span::parse, default_value = "0s", value_name = "SPAN")]
    wait: Duration,
    /// Where in the line it stands meanwhile.
    #[arg(long, value_enum, default_value_t = Class::Normal)]
    class: Class,
    /// The wished TTL of the lease, which is renewed; clamped to the pool's range. It bounds how
    /// long a broken line to the broker goes unnoticed.
    #[arg(long, value_parser = span::parse)]
    ttl: Option<Duration>,
    /// Which sessions would do, for example `country=de,premium,tier in (a,b)`.
    #[arg(long, default_value = "", hide_default_value = true)]
    selector: String,
    #[command(flatten)]
    use_for: UseFor,
    /// The only session that would do.
    #[arg(long, default_value = "", hide_default_value = true)]
    session: String,
    /// What the lease is for, for people who look at leases.
    #[arg(long, default_value = "", hide_default_value = true)]
    purpose: String,
    /// The form of the credential.
    #[arg(long, value_enum, default_value_t = Form::Raw)]
    form: Form,
    /// The file descriptor from which the command reads the credential.
    #[arg(long, value_name = "N", default_value_t = CREDENTIAL_FD,
          value_parser = clap::value_parser!(i32).range(3..=255))]
    credential_fd: i32,
    /// The environment variable that has the credential, instead of a file descriptor. Less safe.
    #[arg(long, value_name = "NAME", value_parser = variable, conflicts_with = "credential_fd")]
    credential_env: Option<String>,
    /// The environment variable that has the URL of the session's proxy, which may hold a password.
    #[arg(long, value_name = "NAME", value_parser = variable)]
    proxy_env: Option<String>,
    /// How long the command may take to end after SIGTERM.
    #[arg(long, value_parser = span::parse, default_value = "5s", value_name = "SPAN")]
    kill_after: Duration,
    /// The command and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How a command ended.
enum Ended {
    ByItself(ExitStatus),
    Lost(Loss),
}

pub(crate) async fn run(args: Args, broker: &Broker) -> Result<ExitCode, Failure> {
    let failed = |error| Failure::new(Exit::Internal, format!("no signals: {error}"));
    let mut signals = Signals::listen().map_err(failed)?;
    let lent = tokio::select! {
        lent = lend(&args, broker) => lent,
        signal = signals.next() => return Ok(group::exit_code_of(signal)),
    };
    let lease = lent?;
    let ended = under(&lease, &args, &mut signals).await;
    if let Ok(Ended::Lost(loss)) = &ended {
        return Err(lost(loss));
    }
    // The command's own end counts, whatever becomes of the lease now.
    if let Err(error) = lease.release().await {
        eprintln!("warning: the lease is not given back and ends with its TTL: {error}");
    }
    match ended? {
        Ended::ByItself(status) => Ok(group::exit_code(status)),
        Ended::Lost(loss) => Err(lost(&loss)),
    }
}

async fn lend(args: &Args, broker: &Broker) -> Result<LeaseGuard, Failure> {
    let request = AcquireRequest {
        pool: args.pool.clone(),
        ttl: args.ttl.map(span::to_wire),
        selector: args.selector.clone(),
        session: args.session.clone(),
        methods: args.use_for.methods.clone(),
        peer: args.use_for.peer.clone(),
        probe: args.use_for.probe,
        priority: args.class.on_the_wire().into(),
        purpose: args.purpose.clone(),
        form: args.form.on_the_wire().into(),
        ..AcquireRequest::default()
    };
    let client = broker.connect().await?;
    client.lend(request, args.wait).await.map_err(|error| match error {
        LendError::NoSessionAvailable(none) => {
            telegate::client::Error::Refused(Box::new(none.refused)).into()
        }
        LendError::Other(error) => error.into(),
    })
}

/// Runs the command until it ends, or the lease does.
async fn under(lease: &LeaseGuard, args: &Args, signals: &mut Signals) -> Result<Ended, Failure> {
    let mut group = start(lease, args)?;
    let loss = tokio::select! {
        status = group.supervise(signals) => {
            let status = status.map_err(|error| cannot("be waited for", &error))?;
            group.sweep(args.kill_after).await;
            return Ok(Ended::ByItself(status));
        }
        loss = lease.lost() => loss,
    };
    group.end(args.kill_after).await;
    Ok(Ended::Lost(loss))
}

fn start(lease: &LeaseGuard, args: &Args) -> Result<Group, Failure> {
    let (program, arguments) = args.command.split_first().expect("clap wants one");
    let secret = credential(Some(lease.credential()))?;
    let mut command = Command::new(program);
    command.args(arguments).env_remove("TELEGATE_KEY");
    let granted = lease.lease();
    command
        .env("TELEGATE_POOL", &granted.pool)
        .env("TELEGATE_SESSION", &granted.session)
        .env("TELEGATE_EPOCH", granted.epoch.to_string());
    if let Some(Value::Telegram(telegram)) = &lease.credential().value {
        command.env("TELEGATE_DC", telegram.dc_id.to_string());
    }
    if let Some(account) = lease.session().account_id {
        command.env("TELEGATE_ACCOUNT_ID", account.to_string());
    }
    if let Some(name) = &args.proxy_env {
        command.env(name, &lease.session().proxy);
    }
    let writer = match &args.credential_env {
        Some(name) => {
            command.env(name, &secret);
            None
        }
        None => Some(hand_over(&mut command, args.credential_fd)?),
    };
    let group = Group::start(&mut command).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NoCommand,
            _ => Exit::CannotRun,
        };
        let name = program.display();
        Failure::new(exit, format!("{name} cannot be run: {error}"))
            .next("name a program, or a file in your PATH, after `--`")
    })?;
    if let Some(mut writer) = writer {
        // In a thread, because a pipe holds only so much; one that nobody reads breaks in the end.
        thread::spawn(move || {
            let _ = writer.write_all(secret.as_bytes());
        });
    }
    Ok(group)
}

/// Gives the command the reading end of a pipe.
fn hand_over(command: &mut Command, child_fd: i32) -> Result<io::PipeWriter, Failure> {
    let (reader, writer) = io::pipe().map_err(|error| cannot("be given a pipe", &error))?;
    let mapping = FdMapping { parent_fd: reader.into(), child_fd };
    command.env("TELEGATE_CREDENTIAL_FD", child_fd.to_string());
    let mapped = command.fd_mappings(vec![mapping]);
    mapped.map_err(|error| Failure::new(Exit::Internal, format!("no descriptor: {error}")))?;
    Ok(writer)
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("the command cannot {what}: {error}"))
}

fn lost(loss: &Loss) -> Failure {
    let next = "acquire another session; `telegate session show` tells what became of this one";
    Failure::new(Exit::Lost, format!("{loss}; the command was ended")).next(next)
}

/// The name of an environment variable, for clap.
fn variable(name: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() || !name.chars().all(inner)
    {
        return Err("write letters, digits and _, not starting with a digit".to_owned());
    }
    Ok(name.to_owned())
}
