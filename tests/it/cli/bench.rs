//! `telegate bench` against a broker that it serves itself.

use std::process::Stdio;

use super::{Broker, PATIENCE, Said, telegate};
use crate::harness::{self, process::Guarded};

const BRIEF: &str = "--connections 2 --warm-up 0s --duration 300ms --json";

#[tokio::test]
async fn a_bench_counts_calls_and_gives_everything_back() {
    let broker = Broker::start().await;
    broker.pool("work", &["a", "b", "c", "d"]);
    for (scenario, calls) in [
        ("acquire-release --request-ids", ["Acquire", "Release"].as_slice()),
        ("hold --hold 5ms", &["Acquire", "Release"]),
        ("status", &["GetPoolStatus"]),
    ] {
        let line = format!("bench --pool work --in-flight 4 --scenario {scenario} {BRIEF}");
        let told = broker.call(&line).json();
        let counted = told["calls"].as_object().unwrap();
        assert_eq!(counted.keys().collect::<Vec<_>>(), calls, "{told}");
        let turns = told["turns"].as_u64().unwrap();
        assert!(turns > 0, "{told}");
        for calls in counted.values() {
            assert!(calls["count"].as_u64().unwrap() >= turns, "{told}");
            assert!(calls["p50Ms"].as_f64() <= calls["p99_9Ms"].as_f64(), "{told}");
            assert!(calls["p50Ms"].as_f64().unwrap() > 0.0, "{told}");
        }
        assert_eq!(told["doubleLeases"], 0);
        assert_eq!(told["errors"], serde_json::json!({}), "{told}");
        let counts = &broker.call("status work --json").json()["status"]["counts"];
        assert_eq!(counts["free"], 4, "{scenario}: {counts}");
    }
}

#[tokio::test]
async fn a_bench_tells_refusals_by_reason_and_fails_without_a_pool_or_a_success() {
    let broker = Broker::start().await;
    broker.pool("work", &["a"]);
    let line = format!("bench --pool work --in-flight 3 --scenario hold --hold 50ms {BRIEF}");
    let told = broker.call(&line).json();
    let errors = told["errors"].as_object().unwrap();
    assert_eq!(errors.keys().collect::<Vec<_>>(), ["POOL_BUSY"], "{told}");
    assert_eq!(told["doubleLeases"], 0);

    let nowhere = broker.call(&format!("bench --pool nowhere {BRIEF}"));
    assert!(nowhere.code == 1 && nowhere.err.contains("POOL_NOT_FOUND"), "{nowhere:?}");
    broker.call("pool pause work").done();
    let paused = broker.call(&format!("bench --pool work {BRIEF}"));
    assert_eq!(paused.code, 1, "{paused:?}");
    assert!(paused.out.contains("\"POOL_PAUSED\""), "{paused:?}");
    assert!(paused.err.contains("no turn was done"), "{paused:?}");
    assert_eq!(broker.call("bench").code, 64, "a pool must be named");
}

#[tokio::test]
async fn an_open_loop_counts_what_it_could_not_begin_and_what_that_cost() {
    let broker = Broker::start().await;
    broker.pool("work", &["a"]);
    // One under way, each held for 20 ms: at most 50 turns a second of the 1000 that are due.
    let line = "bench --pool work --in-flight 1 --rate 1000 --scenario hold --hold 20ms";
    let told = broker.call(&format!("{line} {BRIEF}")).json();
    assert!(told["turns"].as_u64().unwrap() <= 16, "{told}");
    assert!(told["turnsNeverBegun"].as_u64().unwrap() >= 280, "{told}");
    // The last ones were due long before they began.
    assert!(told["calls"]["Acquire"]["maxMs"].as_f64().unwrap() > 150.0, "{told}");
}

#[tokio::test]
async fn an_interrupted_bench_prints_what_it_has_and_leaves_nothing_leased() {
    let broker = Broker::start().await;
    broker.pool("work", &["a", "b"]);
    let mut command = telegate();
    command
        .env("TELEGATE_ADDRESS", &broker.address)
        .args("bench --pool work --in-flight 2 --scenario hold --hold 1m --warm-up 0s".split(' '))
        .args(["--duration", "1h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = Guarded::start(&mut command, broker.folder.path()).unwrap();
    harness::eventually("both are leased", PATIENCE, async || {
        let counts = &broker.call("status work --json").json()["status"]["counts"];
        (counts["leased"] == 2).then_some(())
    })
    .await;
    process.interrupt();
    let said = Said::of(&process.output());
    let printed = said.done();
    assert!(
        printed.contains("closed loop") && printed.contains("double leases     0"),
        "{printed}"
    );
    let acquires = printed.lines().find(|line| line.starts_with("Acquire")).unwrap();
    assert_eq!(acquires.split_whitespace().nth(1), Some("2"), "{printed}");
    let counts = &broker.call("status work --json").json()["status"]["counts"];
    assert_eq!(counts["free"], 2, "{counts}");
}
