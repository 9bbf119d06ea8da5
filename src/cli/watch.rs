//! `telegate watch`.

use std::io::{self, IsTerminal as _};

use telegate::{
    client::PoolWatch,
    proto::v1::{PoolState, WatchPoolRequest, WatchPoolResponse},
};

use super::{
    broker::Broker,
    failure::Failure,
    print::{self, Output},
    status::{HEADER, row},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
}

/// Shows a pool's status as it changes, until the watch ends or the reader goes.
pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    let client = broker.connect().await?;
    let watch = client.watch_pool(WatchPoolRequest { pool: args.pool }).await?;
    match output {
        Output::Json => lines(watch, |shown| print::json_line(&shown)).await,
        Output::Human if io::stdout().is_terminal() => table(watch).await,
        Output::Human => lines(watch, |shown| Ok(line(&shown))).await,
    }
}

async fn lines(
    mut watch: PoolWatch,
    text: impl Fn(WatchPoolResponse) -> Result<String, Failure>,
) -> Result<(), Failure> {
    while let Some(shown) = watch.next().await? {
        if !print::line_if_read(&text(shown)?)? {
            break;
        }
    }
    Ok(())
}

/// A table that changes in its place.
async fn table(mut watch: PoolWatch) -> Result<(), Failure> {
    let mut before = 0;
    while let Some(shown) = watch.next().await? {
        let status = shown.status.unwrap_or_default();
        let at = print::moment(status.read_time.as_ref());
        let text = format!("{}\n{at}", print::table_text(&HEADER, [row(&status)]));
        print::over(before, &text)?;
        before = text.lines().count();
    }
    Ok(())
}

/// A status in one line: when, the state, and each count that is not zero.
fn line(shown: &WatchPoolResponse) -> String {
    let status = shown.status.clone().unwrap_or_default();
    let state = PoolState::try_from(status.state).unwrap_or_default();
    let state = print::value(state.as_str_name(), "POOL_STATE_").to_owned();
    let mut words = vec![print::moment(status.read_time.as_ref()), state];
    let counts = status.counts.unwrap_or_default();
    for (name, count) in [
        ("total", counts.total),
        ("free", counts.free),
        ("leased", counts.leased),
        ("resting", counts.resting),
        ("flood_wait", counts.flood_wait),
        ("suspect", counts.suspect),
        ("invalid", counts.invalid),
    ] {
        if count > 0 {
            words.push(format!("{name}={count}"));
        }
    }
    if status.waiters > 0 {
        words.push(format!("waiting={}", status.waiters));
    }
    if shown.missed > 0 {
        words.push(format!("missed={}", shown.missed));
    }
    words.join(" ")
}
