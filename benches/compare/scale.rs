//! What a call costs as pools grow: in sessions, in what is asked of them, and in number.

use std::{collections::BTreeMap, time::Duration};

use telegate::proto::v1;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    Cli,
    canned::SESSION,
    cost,
    figures::{Series, table},
    goals::{Goal, Goals},
    stage::{self, Appends, POOL, Redis, Server, TELEGATE},
};

/// How many sessions a pool has, by turns.
const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
/// Of how many sessions a rare label or a method that does not cool down is that of one.
const RARE_IN: u64 = 100_000;
/// How many pools there are, by turns.
const POOLS: [u64; 3] = [1, 100, 10_000];
/// How many sessions each of them has.
const SESSIONS_EACH: u64 = 10;
/// The method for which all sessions but one cool down.
const FLOODED: &str = "messages.getHistory";
/// How many sessions are cooled at once.
const COOLED_AT_ONCE: u64 = 64;

/// One pool, or many, in a broker of their own.
struct Subject {
    name: String,
    server: Server,
    redis: Option<Redis>,
    flags: String,
    figures: Figures,
}

#[derive(Default)]
struct Figures {
    calls: Series,
    p50: Series,
    broker_us: Series,
    redis_us: Series,
}

/// Measures each, in rounds, and prints a table per kind of growth.
pub(crate) fn compare(cli: &Cli, goals: &mut Goals) {
    sizes(cli, goals);
    rare(cli, goals);
    many(cli);
}

fn sizes(cli: &Cli, goals: &mut Goals) {
    let mut subjects = Vec::new();
    for size in SIZES.into_iter().filter(|size| *size <= cli.largest) {
        for store in ["Redis", "embedded"] {
            let name = format!("{size} sessions, {store}");
            let Some((server, redis)) = broker(store) else { continue };
            eprintln!("scale: filling {name}");
            stage::fill(&server, size);
            if let Some(redis) = &redis {
                let bytes = memory(size, redis);
                println!("{name}: {bytes:.0} bytes of Redis per session");
                if size == SIZES[1] {
                    goals.note("bytes of Redis per session", bytes, Goal::AtMost(700.0));
                }
            }
            let flags = "--connections 8 --in-flight 64".to_owned();
            subjects.push(Subject { name, server, redis, flags, figures: Figures::default() });
        }
    }
    println!();
    run(cli, &mut subjects, "As a pool grows: 64 in flight", |name| {
        let store = name.rsplit(", ").next().unwrap_or_default();
        format!("{} sessions, {store}", SIZES[0])
    });
    let of = |size: u64| subjects.iter().find(|it| it.name == format!("{size} sessions, Redis"));
    if let (Some(least), Some(most)) = (of(SIZES[0]), of(SIZES[2])) {
        let cost = least.figures.calls.over(&most.figures.calls).median();
        goals.note("cost per Acquire, 1,000,000 sessions over 1,000", cost, Goal::AtMost(1.4));
    }
}

/// One session has the label `rare`, and one does not cool down for a method.
fn rare(cli: &Cli, goals: &mut Goals) {
    let mut subjects = Vec::new();
    for store in ["Redis", "embedded"] {
        for (kind, flags) in [
            ("plain", String::new()),
            ("label=value", " --selector rare=yes".to_owned()),
            ("label", " --selector rare".to_owned()),
            ("method", format!(" --method {FLOODED}")),
        ] {
            let Some((server, redis)) = broker(store) else { continue };
            let size = RARE_IN.min(cli.largest);
            let name = format!("{kind}, {store}");
            eprintln!("scale: filling {name}");
            stage::fill(&server, size);
            if kind == "method" {
                Runtime::new().expect("a runtime").block_on(cool_all_but_one(&server, size));
            }
            let flags = format!("--connections 1 --in-flight 1{flags}");
            subjects.push(Subject { name, server, redis, flags, figures: Figures::default() });
        }
    }
    let title = format!("What one session in {RARE_IN} matches: one call at a time");
    run(cli, &mut subjects, &title, |name| {
        format!("plain, {}", name.rsplit(", ").next().unwrap_or_default())
    });
    let of = |kind: &str| subjects.iter().find(|it| it.name == format!("{kind}, Redis"));
    for (kind, what) in [
        ("label=value", "a label=value of one in 100,000"),
        ("label", "a label of one in 100,000"),
        ("method", "a method for which 99,999 of 100,000 cool down"),
    ] {
        if let (Some(plain), Some(it)) = (of("plain"), of(kind)) {
            let over = it.figures.p50.over(&plain.figures.p50).median();
            goals.note(&format!("p50 of Acquire by {what}"), over, Goal::AtMost(3.0));
        }
    }
}

/// As many pools as there are, in turn.
fn many(cli: &Cli) {
    let mut subjects = Vec::new();
    for pools in POOLS.into_iter().filter(|pools| *pools <= cli.largest / SESSIONS_EACH) {
        for store in ["Redis", "embedded"] {
            let Some((server, redis)) = broker(store) else { continue };
            let name = format!("{pools} pools, {store}");
            eprintln!("scale: filling {name}");
            // One pool alone has as many sessions as calls can be under way.
            let each = if pools == 1 { 64 * SESSIONS_EACH } else { SESSIONS_EACH };
            stage::fill_pools(&server, pools, each);
            let names: Vec<_> = (0..pools).skip(1).map(stage::pool_name).collect();
            let more = match names.as_slice() {
                [] => String::new(),
                names => format!(" --pool {}", names.join(",")),
            };
            let flags = format!("--connections 8 --in-flight 64{more}");
            subjects.push(Subject { name, server, redis, flags, figures: Figures::default() });
        }
    }
    run(cli, &mut subjects, "As pools grow in number: 64 in flight, the pools by turns", |name| {
        format!("1 pools, {}", name.rsplit(", ").next().unwrap_or_default())
    });
}

fn broker(store: &str) -> Option<(Server, Option<Redis>)> {
    let flags = ["--log", "warn"];
    if store == "embedded" {
        let flags = [flags.as_slice(), &["--durability", "process"]].concat();
        return Some((Server::embedded(TELEGATE, &flags), None));
    }
    let redis = Redis::start(Appends::Never)?;
    Some((Server::broker(TELEGATE, &redis.url(), &flags), Some(redis)))
}

/// How many bytes each session takes in Redis.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn memory(sessions: u64, redis: &Redis) -> f64 {
    let info = redis.talk().text(&["INFO", "memory"]);
    let field = |name: &str| -> u64 {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
    };
    let used = field("used_memory:").saturating_sub(field("used_memory_startup:"));
    used as f64 / sessions as f64
}

/// Reports a long flood of a method under a lease of each session but the first.
async fn cool_all_but_one(server: &Server, sessions: u64) {
    let client = server.client().await;
    let mut cooling = JoinSet::new();
    for worker in 0..COOLED_AT_ONCE {
        let client = client.clone();
        let mine = (1 + worker..sessions).step_by(usize::try_from(COOLED_AT_ONCE).unwrap_or(1));
        cooling.spawn(async move {
            for number in mine {
                let ask = v1::AcquireRequest {
                    pool: POOL.to_owned(),
                    session: SESSION.name(number),
                    ..v1::AcquireRequest::default()
                };
                let lease = client.acquire(ask).await.expect("it is free").lease;
                let error = v1::TelegramError {
                    code: 420,
                    message: "FLOOD_WAIT_80000".to_owned(),
                    method: FLOODED.to_owned(),
                    ..v1::TelegramError::default()
                };
                let lease_id = lease.unwrap_or_default().lease_id;
                let request = v1::ReleaseRequest { lease_id, error: Some(error), rest: None };
                client.release(request).await.expect("it is released");
            }
        });
    }
    while let Some(cooled) = cooling.join_next().await {
        cooled.expect("all sessions are cooled");
    }
}

fn run(cli: &Cli, subjects: &mut [Subject], title: &str, base: impl Fn(&str) -> String) {
    for round in 0..=cli.rounds {
        for subject in &mut *subjects {
            subject.drive(cli, round > 0);
        }
        eprintln!("scale: round {round} of {}", cli.rounds);
    }
    println!("{title}; times of Acquire in ms, costs in µs; each over the first of its store\n");
    let figures: BTreeMap<_, _> =
        subjects.iter().map(|it| (it.name.clone(), &it.figures)).collect();
    let rows = subjects.iter().map(|subject| {
        let it = &subject.figures;
        let base = figures[&base(&subject.name)];
        let over = |mine: &Series, its: &Series| format!("{:.2}", mine.over(its));
        vec![
            subject.name.clone(),
            format!("{:.0}", it.calls.median()),
            over(&it.calls, &base.calls),
            format!("{:.3}", it.p50.median()),
            over(&it.p50, &base.p50),
            format!("{:.1}", it.broker_us.median()),
            over(&it.broker_us, &base.broker_us),
            format!("{:.1}", it.redis_us.median()),
            over(&it.redis_us, &base.redis_us),
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(&["SUBJECT", "CALLS/S", "OVER", "P50", "OVER", "BROKER", "OVER", "REDIS", "OVER"], &rows);
}

impl Subject {
    fn drive(&mut self, cli: &Cli, counts: bool) {
        let redis = self.redis.as_mut().map(Redis::pid);
        let broker = self.server.pid();
        let flags = format!("{} --warm-up 0s --duration {}s", self.flags, cli.seconds);
        let before = (cost::cpu(broker), redis.map(cost::cpu));
        let told = self.server.drive(&flags.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let after = (cost::cpu(broker), redis.map(cost::cpu));
        if !counts {
            return;
        }
        let number = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
        let calls = number("callsPerSecond") * number("seconds");
        let each = |span: Duration| span.as_secs_f64() * 1e6 / calls;
        let figures = &mut self.figures;
        figures.calls.note(number("callsPerSecond"));
        figures.p50.note(told["calls"]["Acquire"]["p50Ms"].as_f64().unwrap_or(f64::NAN));
        figures.broker_us.note(each(after.0.saturating_sub(before.0)));
        if let (Some(after), Some(before)) = (after.1, before.1) {
            figures.redis_us.note(each(after.saturating_sub(before)));
        }
    }
}
