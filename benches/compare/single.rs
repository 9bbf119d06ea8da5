//! One call at a time: what a worker waits that is alone.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Cli, bare,
    figures::{Series, table},
    goals::{Goal, Goals},
    stage::{self, Appends, Redis, Replies, Server, TELEGATE},
};

/// How many sessions the pool has.
const SESSIONS: u64 = 1_000;

/// Compares the p50 of Acquire with that of the echo and of the script, round by round.
pub(crate) fn compare(cli: &Cli, goals: &mut Goals) {
    let Some(redis) = Redis::start(Appends::Never) else { return };
    let broker = Server::broker(TELEGATE, &redis.url(), &["--log", "warn"]);
    stage::fill(&broker, SESSIONS);
    let scripts = bare::Scripts::of(&broker, &redis);
    let embedded = Server::embedded(TELEGATE, &["--log", "warn", "--durability", "process"]);
    stage::fill(&embedded, SESSIONS);
    let replies = Replies::of(&embedded);
    let echo = replies.echo("echo");
    let mut series: [Series; 4] = Default::default();
    for round in 0..=cli.rounds {
        let [of_echo, of_script, on_redis, in_file] = [
            p50(&echo, cli),
            script_p50(&scripts, &redis, cli.span()),
            p50(&broker, cli),
            p50(&embedded, cli),
        ];
        if round > 0 {
            series[0].note(of_echo);
            series[1].note(of_script);
            series[2].note(on_redis);
            series[3].note(in_file);
        }
        eprintln!("single: round {round} of {}", cli.rounds);
    }
    let [of_echo, of_script, on_redis, in_file] = series;
    let sum = of_echo.plus(&of_script);
    println!("One call at a time, one connection: p50 of Acquire in µs, median (least-most)\n");
    let over = on_redis.over(&sum).median();
    goals.note("p50 of Acquire over echo + script, 1 in flight", over, Goal::AtMost(1.2));
    let row = |name: &str, series: &Series, over: String| {
        vec![name.to_owned(), format!("{series:.0}"), over]
    };
    table(
        &["SUBJECT", "P50", "OVER ECHO + SCRIPT"],
        &[
            row("echo", &of_echo, String::new()),
            row("bare script round trip", &of_script, String::new()),
            row("on Redis", &on_redis, format!("{:.2}", on_redis.over(&sum))),
            row("embedded, survives kill -9", &in_file, format!("{:.2}", in_file.over(&sum))),
        ],
    );
}

fn p50(server: &Server, cli: &Cli) -> f64 {
    let flags = format!("--connections 1 --in-flight 1 --warm-up 0s --duration {}s", cli.seconds);
    let told: Value = server.drive(&flags.split(' ').map(str::to_owned).collect::<Vec<_>>());
    told["calls"]["Acquire"]["p50Ms"].as_f64().expect("a p50") * 1000.0
}

fn script_p50(scripts: &bare::Scripts, redis: &Redis, span: Duration) -> f64 {
    let mut took = scripts.one_by_one(redis, span);
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1e6
}
