//! The metrics as Prometheus scrapes them, from a broker that serves.

use telegate::{
    pool::Span,
    proto::v1,
    store::{self, Health},
    telemetry::METRICS,
};

use crate::broker::{Broker, eventually};

fn has(text: &str, row: &str) {
    assert!(text.contains(&format!("{row}\n")), "no {row} in\n{text}");
}

#[tokio::test]
async fn calls_and_acquires_are_counted_by_what_came_of_them() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    let request = v1::AcquireRequest {
        pool: "demo".into(),
        request_id: "job".into(),
        ..v1::AcquireRequest::default()
    };
    for _ in 0..2 {
        broker.pool().acquire(request.clone()).await.unwrap();
    }
    broker.acquire("demo").await.unwrap_err();
    broker.acquire("nowhere").await.unwrap_err();
    let text = broker.metrics().await;
    for row in [
        "telegate_acquires_total{pool=\"demo\",outcome=\"GRANTED\"} 1",
        "telegate_acquires_total{pool=\"demo\",outcome=\"REPLAYED\"} 1",
        "telegate_acquires_total{pool=\"demo\",outcome=\"POOL_BUSY\"} 1",
        "telegate_acquires_total{pool=\"\",outcome=\"POOL_NOT_FOUND\"} 1",
        "telegate_calls_total{method=\"Acquire\",code=\"OK\",reason=\"\"} 2",
        "telegate_calls_total{method=\"Acquire\",code=\"NOT_FOUND\",reason=\"POOL_NOT_FOUND\"} 1",
        "telegate_calls_total{method=\"AddSession\",code=\"OK\",reason=\"\"} 1",
        "telegate_call_duration_seconds_count{method=\"Acquire\"} 4",
        "telegate_store_up 1",
    ] {
        has(&text, row);
    }
}

#[tokio::test]
async fn sessions_are_counted_at_the_scrape() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice", "bob"]).await;
    broker.fill("empty", &[]).await;
    broker.acquire("demo").await.unwrap();
    let text = broker.metrics().await;
    has(&text, "telegate_sessions{pool=\"demo\",state=\"READY\"} 1");
    has(&text, "telegate_sessions{pool=\"demo\",state=\"LEASED\"} 1");
    has(&text, "telegate_sessions{pool=\"empty\",state=\"READY\"} 0");
    has(&text, "telegate_pools_unread 0");
    broker.clock.advance(Span::hours(1));
    let text = broker.metrics().await;
    has(&text, "telegate_sessions{pool=\"demo\",state=\"READY\"} 2");
}

#[tokio::test]
async fn a_store_that_does_not_serve_is_told_and_the_page_comes_all_the_same() {
    let broker = Broker::start().await;
    broker.fill("demo", &["alice"]).await;
    broker.store.set_health(Health::Down);
    eventually("the metric follows", async || {
        broker.metrics().await.contains("telegate_store_up 0\n")
    })
    .await;
    broker.store.fail_next(store::Error::Unavailable("away".into()));
    let text = broker.metrics().await;
    has(&text, "telegate_pools_unread 1");
    assert!(!text.contains("telegate_sessions{"), "{text}");
}

#[tokio::test]
async fn the_page_is_one_and_there_to_be_read() {
    let broker = Broker::start().await;
    let text = broker.metrics().await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    has(&text, "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r");
    assert!(broker.ask_page("GET /").await.starts_with("HTTP/1.1 404 "));
    assert!(broker.ask_page("POST /metrics").await.starts_with("HTTP/1.1 405 "));
}

/// Where operators look metrics up.
const TABLE: &str = include_str!("../../deploy/README.md");
/// What names metrics, and must name none that is not told.
const USERS: [(&str, &str); 3] = [
    ("deploy/README.md", TABLE),
    ("telegate.rules.yaml", include_str!("../../deploy/prometheus/telegate.rules.yaml")),
    ("telegate.json", include_str!("../../deploy/grafana/telegate.json")),
];

#[test]
fn every_metric_is_in_the_table_and_no_other_is_named_anywhere() {
    for metric in METRICS {
        let row = format!("| `{}` | {} |", metric.name, metric.labels.join(", "));
        assert!(TABLE.contains(&row.replace("|  |", "| |")), "the table has no {row}");
    }
    for (path, text) in USERS {
        let named = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in named.filter(|word| word.starts_with("telegate_")) {
            let name = name.trim_end_matches("_bucket");
            assert!(METRICS.iter().any(|metric| metric.name == name), "{path}: there is no {name}");
        }
    }
}
