//! Acquire and Release at many calls under way: calls a second, latencies, and what each call costs
//! the broker and Redis.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Cli, bare,
    cost::{self, RedisCost},
    figures::{Series, table},
    stage::{self, Appends, Redis, Replies, Server, TELEGATE},
};

/// How many sessions the pool has: more than calls can be under way.
const SESSIONS: u64 = 2_000;
/// How many connections the generator opens.
const CONNECTIONS: usize = 8;
/// The ceiling that all are compared with: what one writes first.
const CEILING: &str = "echo";
/// The broker that all are compared with.
const PLAIN: &str = "plain broker";

/// What is driven.
struct Subject {
    name: String,
    drives: Drives,
    redis: Option<Redis>,
    figures: Figures,
}

enum Drives {
    Server { server: Box<Server>, flags: Vec<String> },
    Scripts { broker: Box<Server>, scripts: bare::Scripts },
}

#[derive(Default)]
struct Figures {
    calls: Series,
    p50: Series,
    p99: Series,
    broker_us: Series,
    redis_us: Series,
    script_us: Series,
    scripts: Series,
}

/// Compares them, and prints a table.
pub(crate) fn compare(cli: &Cli) {
    let mut subjects = subjects(cli);
    for round in 0..=cli.rounds {
        for subject in &mut subjects {
            subject.drive(cli, round > 0);
        }
        eprintln!("load: round {round} of {}", cli.rounds);
    }
    print(cli, &subjects);
}

fn subjects(cli: &Cli) -> Vec<Subject> {
    let model = Server::embedded(TELEGATE, &["--log", "warn"]);
    stage::fill(&model, 1);
    let replies = Replies::of(&model);
    drop(model);
    let mut subjects = vec![
        Subject::server(CEILING, replies.echo("echo"), None),
        Subject::server("echo, one thread", replies.echo("echo-single"), None),
    ];
    let redis = || Redis::start(Appends::Never);
    if let Some(redis) = redis() {
        let plain = replies.plain(&redis, SESSIONS);
        subjects.push(Subject::server(PLAIN, plain, Some(redis)));
    }
    if let Some(redis) = redis() {
        subjects.push(Subject::server("on Redis", on(TELEGATE, &redis), Some(redis)));
    }
    if let Some(redis) = redis() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, key) = stage::keys(dir.path());
        let flags = ["--log", "info", "--keys", &file];
        let server = Server::broker(TELEGATE, &redis.url(), &flags).with_key(&key);
        stage::fill(&server, SESSIONS);
        let mut subject = Subject::server("on Redis, keys, request ids", server, Some(redis));
        subject.flag("--request-ids");
        subjects.push(subject);
    }
    if let Some(redis) = Redis::start(Appends::EverySecond) {
        let server = on(TELEGATE, &redis);
        subjects.push(Subject::server("on Redis, AOF everysec", server, Some(redis)));
    }
    for rival in &cli.rival {
        let (name, program) = rival.split_once('=').expect("a rival is NAME=PROGRAM");
        if let Some(redis) = redis() {
            subjects.push(Subject::server(name, on(program, &redis), Some(redis)));
        }
    }
    for (name, durability) in
        [("embedded, survives kill -9", "process"), ("embedded, survives power loss", "machine")]
    {
        let flags = ["--log", "warn", "--durability", durability];
        let server = Server::embedded(TELEGATE, &flags);
        stage::fill(&server, SESSIONS);
        subjects.push(Subject::server(name, server, None));
    }
    if let Some(redis) = redis() {
        let broker = on(TELEGATE, &redis);
        let scripts = bare::Scripts::of(&broker, &redis);
        println!(
            "Commands that the broker sends for an Acquire and a Release: {}\n",
            scripts.commands
        );
        let drives = Drives::Scripts { broker: Box::new(broker), scripts };
        let name = "bare scripts, pipelined".to_owned();
        let figures = Figures::default();
        subjects.push(Subject { name, drives, redis: Some(redis), figures });
    }
    subjects.retain(|it| it.name == CEILING || it.name.contains(&cli.only));
    subjects
}

fn on(program: &str, redis: &Redis) -> Server {
    let server = Server::broker(program, &redis.url(), &["--log", "warn"]);
    stage::fill(&server, SESSIONS);
    server
}

impl Subject {
    fn server(name: &str, server: Server, redis: Option<Redis>) -> Self {
        let drives = Drives::Server { server: Box::new(server), flags: Vec::new() };
        Self { name: name.to_owned(), drives, redis, figures: Figures::default() }
    }

    fn flag(&mut self, flag: &str) {
        if let Drives::Server { flags, .. } = &mut self.drives {
            flags.push(flag.to_owned());
        }
    }

    fn drive(&mut self, cli: &Cli, counts: bool) {
        let redis_pid = self.redis.as_mut().map(Redis::pid);
        let mut talk = self.redis.as_ref().map(Redis::talk);
        let server_pid = match &mut self.drives {
            Drives::Server { server, .. } | Drives::Scripts { broker: server, .. } => server.pid(),
        };
        let redis_before = talk.as_mut().map(RedisCost::read);
        let before = (cost::cpu(server_pid), redis_pid.map(cost::cpu));
        let (calls, took, latencies) = match &self.drives {
            Drives::Server { server, flags } => {
                let told = server.drive(&[load_flags(cli), flags.clone()].concat());
                measured(&told)
            }
            Drives::Scripts { scripts, .. } => {
                let redis = self.redis.as_ref().expect("scripts run in Redis");
                let did = scripts.drive(redis, cli.span());
                (2.0 * count(did.pairs), did.took.as_secs_f64(), None)
            }
        };
        let after = (cost::cpu(server_pid), redis_pid.map(cost::cpu));
        let redis_after = talk.as_mut().map(RedisCost::read);
        if !counts {
            return;
        }
        let each = |span: Duration| span.as_secs_f64() * 1e6 / calls;
        let figures = &mut self.figures;
        figures.calls.note(calls / took);
        if let Some((p50, p99)) = latencies {
            figures.p50.note(p50);
            figures.p99.note(p99);
            figures.broker_us.note(each(after.0.saturating_sub(before.0)));
        }
        if let (Some(after), Some(before)) = (after.1, before.1) {
            figures.redis_us.note(each(after.saturating_sub(before)));
        }
        if let (Some(after), Some(before)) = (redis_after, redis_before) {
            let cost = after.since(before);
            figures.scripts.note(count(cost.scripts) / calls);
            figures.script_us.note(each(cost.in_scripts));
        }
    }
}

fn load_flags(cli: &Cli) -> Vec<String> {
    let flags = format!(
        "--connections {CONNECTIONS} --in-flight {} --warm-up 0s --duration {}s",
        cli.in_flight, cli.seconds
    );
    flags.split(' ').map(str::to_owned).collect()
}

/// Calls, seconds, and the percentiles of Acquire.
fn measured(told: &Value) -> (f64, f64, Option<(f64, f64)>) {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let seconds = number(&told["seconds"]);
    assert_eq!(told["errors"], serde_json::json!({}), "{told}");
    let acquire = &told["calls"]["Acquire"];
    let latencies = (number(&acquire["p50Ms"]), number(&acquire["p99Ms"]));
    (number(&told["callsPerSecond"]) * seconds, seconds, Some(latencies))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

fn print(cli: &Cli, subjects: &[Subject]) {
    println!(
        "Acquire + Release, closed loop, {} in flight, {CONNECTIONS} connections; {} rounds of {}s",
        cli.in_flight, cli.rounds, cli.seconds
    );
    println!(
        "median (least-most) of the ratios within a round; times of Acquire in ms, costs in µs\n"
    );
    let of = |name: &str| subjects.iter().find(|subject| subject.name == name);
    let over = |series: &Series, base: Option<&Series>| {
        base.map_or_else(|| "-".to_owned(), |base| format!("{:.2}", series.over(base)))
    };
    let header = [
        "SUBJECT",
        "CALLS/S",
        "OVER ECHO",
        "OVER PLAIN",
        "P50",
        "P99",
        "P99/PLAIN",
        "BROKER µs/CALL",
        "OVER ECHO",
        "REDIS µs/CALL",
        "IN SCRIPT",
        "SCRIPTS/CALL",
    ];
    let rows = subjects.iter().map(|subject| {
        let it = &subject.figures;
        let (echo, plain) = (of(CEILING), of(PLAIN));
        vec![
            subject.name.clone(),
            format!("{:.0}", it.calls.median()),
            over(&it.calls, echo.map(|echo| &echo.figures.calls)),
            over(&it.calls, plain.map(|plain| &plain.figures.calls)),
            format!("{:.2}", it.p50),
            format!("{:.2}", it.p99),
            over(&it.p99, plain.map(|plain| &plain.figures.p99)),
            format!("{:.1}", it.broker_us),
            over(&it.broker_us, echo.map(|echo| &echo.figures.broker_us)),
            format!("{:.1}", it.redis_us),
            format!("{:.1}", it.script_us),
            format!("{:.2}", it.scripts),
        ]
    });
    table(&header, &rows.collect::<Vec<_>>());
}
