//! Acquire and Release at many calls under way: calls a second, latencies, and what each call costs
//! the broker and Redis.

use std::time::Duration;

use serde_json::Value;

use crate::{
    Cli, bare,
    cost::{self, RedisCost},
    figures::{Series, table},
    goals::{Goal, Goals},
    peer,
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
/// The broker as it was built, and what it is compared with besides.
const ON_REDIS: &str = "on Redis";
const APPENDING: &str = "on Redis, AOF everysec";
const EMBEDDED: &str = "embedded, survives kill -9";
const SCRIPTS: &str = "bare scripts, pipelined";
/// The nearest peer: as its server answers most calls, and with one script per call.
const PEER: &str = "limitador";
const PEER_COUNTING: &str = "limitador, one script";
/// How many calls are under way: where the ceiling is the measure, and where the plain broker is.
const IN_FLIGHT: usize = 256;
const IN_FLIGHT_BESIDE_PLAIN: usize = 64;

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
    /// Calls that were refused or failed: none, unless the machine is too busy to be measured.
    errors: u64,
}

/// Compares them, and prints tables.
pub(crate) fn compare(cli: &Cli, goals: &mut Goals) {
    let mut subjects = subjects(cli);
    run(cli, cli.in_flight.unwrap_or(IN_FLIGHT), &mut subjects);
    note_beside_echo(&subjects, goals);
    if cli.in_flight.is_none() && subjects.iter().any(|it| it.name == PLAIN) {
        subjects.retain(|it| [CEILING, PLAIN, ON_REDIS].contains(&it.name.as_str()));
        run(cli, IN_FLIGHT_BESIDE_PLAIN, &mut subjects);
        note_beside_plain(&subjects, goals);
    }
}

fn run(cli: &Cli, in_flight: usize, subjects: &mut [Subject]) {
    for subject in &mut *subjects {
        subject.figures = Figures::default();
    }
    for round in 0..=cli.rounds {
        for subject in &mut *subjects {
            subject.drive(cli, in_flight, round > 0);
        }
        eprintln!("load: {in_flight} in flight, round {round} of {}", cli.rounds);
    }
    print(cli, in_flight, subjects);
}

fn named<'a>(subjects: &'a [Subject], name: &str) -> Option<&'a Figures> {
    subjects.iter().find(|subject| subject.name == name).map(|subject| &subject.figures)
}

fn note_beside_echo(subjects: &[Subject], goals: &mut Goals) {
    let Some(echo) = named(subjects, CEILING) else { return };
    if let Some(it) = named(subjects, ON_REDIS) {
        let mut note = |measure, series: &Series, goal| goals.note(measure, series.median(), goal);
        let calls = it.calls.over(&echo.calls);
        note("calls/s over the echo's, on Redis", &calls, Goal::AtLeast(0.75));
        let cpu = it.broker_us.over(&echo.broker_us);
        note("broker CPU per call over the echo's, on Redis", &cpu, Goal::AtMost(1.4));
        note("Redis commands per call under load", &it.scripts, Goal::Below(1.0));
        if let Some(bare) = named(subjects, SCRIPTS) {
            let cpu = it.redis_us.over(&bare.redis_us);
            note("Redis CPU per call over the bare scripts'", &cpu, Goal::AtMost(1.0));
        }
        if let Some(appending) = named(subjects, APPENDING) {
            let calls = appending.calls.over(&it.calls);
            note("calls/s with AOF everysec over none", &calls, Goal::AtLeast(0.8));
        }
        for (peer, measure) in [
            (PEER, "calls/s over limitador's, on Redis"),
            (PEER_COUNTING, "calls/s over limitador's with one script per call"),
        ] {
            if let Some(its) = named(subjects, peer) {
                note(measure, &it.calls.over(&its.calls), Goal::AtLeast(3.0));
            }
        }
    }
    if let Some(it) = named(subjects, EMBEDDED) {
        let calls = it.calls.over(&echo.calls).median();
        goals.note("calls/s over the echo's, embedded", calls, Goal::AtLeast(0.8));
    }
}

fn note_beside_plain(subjects: &[Subject], goals: &mut Goals) {
    let (Some(it), Some(plain)) = (named(subjects, ON_REDIS), named(subjects, PLAIN)) else {
        return;
    };
    let (calls, p99) = (it.calls.over(&plain.calls), it.p99.over(&plain.p99));
    goals.note("pairs/s over the plain broker's, 64 in flight", calls.median(), Goal::AtLeast(1.8));
    goals.note("p99 over the plain broker's, 64 in flight", p99.median(), Goal::AtMost(0.6));
}

/// Starts what is wanted, and only that: each subject takes a while to fill.
fn subjects(cli: &Cli) -> Vec<Subject> {
    let model = Server::embedded(TELEGATE, &["--log", "warn"]);
    stage::fill(&model, 1);
    let replies = Replies::of(&model);
    drop(model);
    let rivals = cli.rival.iter().map(|rival| {
        let (name, program) = rival.split_once('=').expect("a rival is NAME=PROGRAM");
        (name, Kind::OnRedis(program, Appends::Never))
    });
    let own = [
        (CEILING, Kind::Echo("echo")),
        ("echo, one thread", Kind::Echo("echo-single")),
        (PLAIN, Kind::Plain),
        (ON_REDIS, Kind::OnRedis(TELEGATE, Appends::Never)),
        ("on Redis, keys, request ids", Kind::AsRun),
        (APPENDING, Kind::OnRedis(TELEGATE, Appends::EverySecond)),
        (EMBEDDED, Kind::Embedded("process")),
        ("embedded, survives power loss", Kind::Embedded("machine")),
        (SCRIPTS, Kind::Scripts),
        (PEER, Kind::Peer("check")),
        (PEER_COUNTING, Kind::Peer("count")),
    ];
    own.into_iter()
        .filter(|(name, _)| *name == CEILING || cli.wants_subject(name))
        // Who is named as a rival is wanted.
        .chain(rivals)
        .filter_map(|(name, kind)| kind.start(name, &replies))
        .collect()
}

/// What a subject is.
enum Kind<'a> {
    Echo(&'static str),
    Plain,
    OnRedis(&'a str, Appends),
    /// On Redis with API keys, request ids and a log, as users run it.
    AsRun,
    Embedded(&'static str),
    Scripts,
    /// Limitador, and what it does for a call.
    Peer(&'static str),
}

impl Kind<'_> {
    /// Nothing when the machine has no Redis.
    fn start(self, name: &str, replies: &Replies) -> Option<Subject> {
        let redis = || Redis::start(Appends::Never);
        Some(match self {
            Self::Echo(part) => Subject::server(name, replies.echo(part), None),
            Self::Plain => {
                let redis = redis()?;
                Subject::server(name, replies.plain(&redis, SESSIONS), Some(redis))
            }
            Self::OnRedis(program, appends) => {
                let redis = Redis::start(appends)?;
                Subject::server(name, on(program, &redis), Some(redis))
            }
            Self::AsRun => {
                let redis = redis()?;
                let dir = tempfile::tempdir().expect("a temporary directory");
                let (file, key) = stage::keys(dir.path());
                let flags = ["--log", "info", "--keys", &file];
                let server = Server::broker(TELEGATE, &redis.url(), &flags).with_key(&key, dir);
                stage::fill(&server, SESSIONS);
                let mut subject = Subject::server(name, server, Some(redis));
                subject.flag("--request-ids");
                subject
            }
            Self::Embedded(durability) => {
                let flags = ["--log", "warn", "--durability", durability];
                let server = Server::embedded(TELEGATE, &flags);
                stage::fill(&server, SESSIONS);
                Subject::server(name, server, None)
            }
            Self::Scripts => {
                let redis = redis()?;
                let broker = on(TELEGATE, &redis);
                let scripts = bare::Scripts::of(&broker, &redis);
                let sent = scripts.commands;
                println!("Commands sent for one Acquire and one Release: {sent}\n");
                let drives = Drives::Scripts { broker: Box::new(broker), scripts };
                let figures = Figures::default();
                Subject { name: name.to_owned(), drives, redis: Some(redis), figures }
            }
            Self::Peer(call) => {
                let redis = redis()?;
                Subject::server(name, peer::start(call, &redis, replies)?, Some(redis))
            }
        })
    }
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

    fn drive(&mut self, cli: &Cli, in_flight: usize, counts: bool) {
        let redis_pid = self.redis.as_mut().map(Redis::pid);
        let mut talk = self.redis.as_ref().map(Redis::talk);
        let server_pid = match &mut self.drives {
            Drives::Server { server, .. } | Drives::Scripts { broker: server, .. } => server.pid(),
        };
        let redis_before = talk.as_mut().map(RedisCost::read);
        let before = (cost::cpu(server_pid), redis_pid.map(cost::cpu));
        let (calls, took, latencies) = match &self.drives {
            Drives::Server { server, flags } => {
                let told = server.drive(&[load_flags(cli, in_flight), flags.clone()].concat());
                self.figures.errors += errors(&told);
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

fn load_flags(cli: &Cli, in_flight: usize) -> Vec<String> {
    let flags = format!(
        "--connections {CONNECTIONS} --in-flight {in_flight} --warm-up 0s --duration {}s",
        cli.seconds
    );
    flags.split(' ').map(str::to_owned).collect()
}

/// Calls, seconds, and the percentiles of Acquire.
fn measured(told: &Value) -> (f64, f64, Option<(f64, f64)>) {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    let seconds = number(&told["seconds"]);
    let acquire = &told["calls"]["Acquire"];
    let latencies = (number(&acquire["p50Ms"]), number(&acquire["p99Ms"]));
    (number(&told["callsPerSecond"]) * seconds, seconds, Some(latencies))
}

fn errors(told: &Value) -> u64 {
    let errors = told["errors"].as_object().into_iter().flatten();
    errors.filter_map(|(_, count)| count.as_u64()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

fn print(cli: &Cli, in_flight: usize, subjects: &[Subject]) {
    println!(
        "Acquire + Release, closed loop, {in_flight} in flight, {CONNECTIONS} connections; {} \
         rounds of {}s",
        cli.rounds, cli.seconds
    );
    println!(
        "median (least-most) of the ratios within a round; times of Acquire in ms, costs in µs\n"
    );
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
        "ERRORS",
    ];
    let rows = subjects.iter().map(|subject| {
        let it = &subject.figures;
        let (echo, plain) = (named(subjects, CEILING), named(subjects, PLAIN));
        vec![
            subject.name.clone(),
            format!("{:.0}", it.calls.median()),
            over(&it.calls, echo.map(|echo| &echo.calls)),
            over(&it.calls, plain.map(|plain| &plain.calls)),
            format!("{:.2}", it.p50),
            format!("{:.2}", it.p99),
            over(&it.p99, plain.map(|plain| &plain.p99)),
            format!("{:.1}", it.broker_us),
            over(&it.broker_us, echo.map(|echo| &echo.broker_us)),
            format!("{:.1}", it.redis_us),
            format!("{:.1}", it.script_us),
            format!("{:.2}", it.scripts),
            it.errors.to_string(),
        ]
    });
    table(&header, &rows.collect::<Vec<_>>());
}
