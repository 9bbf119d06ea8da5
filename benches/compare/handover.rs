//! How long a freed session takes to whoever waits for it, beside an Acquire that need not wait.

use serde_json::Value;

use crate::{
    Cli,
    figures::{Series, table},
    goals::{Goal, Goals},
    stage::{self, Appends, Redis, Server, TELEGATE},
};

/// How many calls are under way.
const IN_FLIGHT: u64 = 64;
/// How many sessions the pool of those who wait has: for half of them.
const SCARCE: u64 = IN_FLIGHT / 2;
/// How many the other has.
const PLENTY: u64 = 2_000;

/// One store, with a broker for those who wait and one for those who need not.
struct Subject {
    name: &'static str,
    scarce: Server,
    plenty: Server,
    _redis: Vec<Redis>,
    p99s: [Series; 2],
}

/// Compares them round by round, and prints a table.
pub(crate) fn compare(cli: &Cli, goals: &mut Goals) {
    let mut subjects: Vec<_> = ["on Redis", "embedded"].into_iter().filter_map(start).collect();
    for round in 0..=cli.rounds {
        for subject in &mut subjects {
            let plain = p99(&drive(&subject.plenty, "hold", cli)["calls"]["Acquire"]);
            let handed = p99(&drive(&subject.scarce, "wait", cli)["handOver"]);
            if round > 0 {
                subject.p99s[0].note(plain);
                subject.p99s[1].note(handed);
            }
        }
        eprintln!("wait: round {round} of {}", cli.rounds);
    }
    println!("{IN_FLIGHT} in flight, each lease held for 10 ms: p99 in ms, median (least-most)\n");
    let rows = subjects.iter().map(|subject| {
        let [plain, handed] = &subject.p99s;
        let over = handed.over(plain);
        goals.note(
            &format!("p99 of a hand-over over that of an Acquire, {}", subject.name),
            over.median(),
            Goal::AtMost(2.0),
        );
        let cells = [subject.name, &plain.to_string(), &handed.to_string(), &over.to_string()];
        cells.map(str::to_owned).to_vec()
    });
    let rows: Vec<_> = rows.collect();
    table(&["SUBJECT", "ACQUIRE", "HAND-OVER", "OVER"], &rows);
}

fn start(name: &'static str) -> Option<Subject> {
    let mut redis = Vec::new();
    let mut broker = |sessions| {
        let flags = ["--log", "warn"];
        let server = if name == "embedded" {
            Server::embedded(TELEGATE, &[&flags[..], &["--durability", "process"]].concat())
        } else {
            redis.push(Redis::start(Appends::Never)?);
            Server::broker(TELEGATE, &redis.last()?.url(), &flags)
        };
        stage::fill(&server, sessions);
        Some(server)
    };
    let (scarce, plenty) = (broker(SCARCE)?, broker(PLENTY)?);
    Some(Subject { name, scarce, plenty, _redis: redis, p99s: Default::default() })
}

fn drive(server: &Server, scenario: &str, cli: &Cli) -> Value {
    let flags = format!(
        "--scenario {scenario} --connections 8 --in-flight {IN_FLIGHT} --warm-up 0s \
         --duration {}s",
        cli.seconds
    );
    server.drive(&flags.split(' ').map(str::to_owned).collect::<Vec<_>>())
}

fn p99(calls: &Value) -> f64 {
    calls["p99Ms"].as_f64().unwrap_or(f64::NAN)
}
