//! The metrics: counted where things happen, written out when somebody scrapes.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{self, Registry, Unit},
};

use super::{
    ACQUIRES, BRAKES, CALL_DURATION, CALLS, ESCALATIONS, GRANTS_UNDONE, LEASE_BREACHES, Metric,
    POOLS_UNREAD, REPORTS, SECONDS, SESSIONS, STORE_UP, TOTAL, UNKNOWN_ERRORS,
};
use crate::{
    pool::{PoolCounts, PoolName},
    store::Health,
};

/// The most pools that have series of their own; the others share one.
const MAX_POOLS: usize = 1000;
/// What stands for the pools beyond that. No pool has such a name.
const OTHER_POOLS: &str = "*";
/// The most unknown names that are told of.
const MAX_NAMES: usize = 1000;
/// The codes of errors that have series of their own.
const CODES: [i32; 12] = [0, 303, 400, 401, 403, 404, 406, 420, 429, 500, 503, -503];
/// The upper ends of the classes into which the durations of calls are put, in seconds.
const BUCKETS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

type Labels<const N: usize> = [(&'static str, Cow<'static, str>); N];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    calls: Counters<3>,
    call_duration: Family<Labels<1>, Histogram, Buckets>,
    acquires: Counters<2>,
    grants_undone: Counters<1>,
    reports: Counters<2>,
    escalations: Counters<1>,
    unknown_errors: Counters<2>,
    lease_breaches: Counters<1>,
    store_up: Gauge,
    sessions: Gauges<2>,
    brakes: Gauges<1>,
    pools_unread: Gauge,
    /// Held while what was read is written out: two scrapes must not mix their readings.
    scrape: Mutex<()>,
    pools: Mutex<BTreeSet<PoolName>>,
    names: Mutex<HashSet<String>>,
}

type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges<const N: usize> = Family<Labels<N>, Gauge>;

/// How the pools stand at a scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Each pool.
    pub pools: Vec<PoolReading>,
    /// Whether some were left out.
    pub is_partial: bool,
}

/// How a pool stands at a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolReading {
    /// Its name.
    pub pool: PoolName,
    /// Its sessions by state.
    pub counts: PoolCounts,
    /// How many of its methods are braked.
    pub brakes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        Self {
            calls: register(&mut registry, &CALLS, Family::default()),
            call_duration: register(
                &mut registry,
                &CALL_DURATION,
                Family::new_with_constructor(Buckets),
            ),
            acquires: register(&mut registry, &ACQUIRES, Family::default()),
            grants_undone: register(&mut registry, &GRANTS_UNDONE, Family::default()),
            reports: register(&mut registry, &REPORTS, Family::default()),
            escalations: register(&mut registry, &ESCALATIONS, Family::default()),
            unknown_errors: register(&mut registry, &UNKNOWN_ERRORS, Family::default()),
            lease_breaches: register(&mut registry, &LEASE_BREACHES, Family::default()),
            store_up: register(&mut registry, &STORE_UP, Gauge::default()),
            sessions: register(&mut registry, &SESSIONS, Family::default()),
            brakes: register(&mut registry, &BRAKES, Family::default()),
            pools_unread: register(&mut registry, &POOLS_UNREAD, Gauge::default()),
            scrape: Mutex::default(),
            pools: Mutex::default(),
            names: Mutex::default(),
            registry,
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// A call was answered.
    pub fn called(
        &self,
        method: &str,
        code: impl Into<Cow<'static, str>>,
        reason: &'static str,
        took: Duration,
    ) {
        let method = owned(method);
        let duration = self.call_duration.get_or_create(&labels(&CALL_DURATION, [method.clone()]));
        duration.observe(took.as_secs_f64());
        let values = [method, code.into(), Cow::Borrowed(reason)];
        self.calls.get_or_create(&labels(&CALLS, values)).inc();
    }

    /// An Acquire was answered. A pool that may not exist is not named.
    pub fn acquired(&self, pool: Option<&PoolName>, outcome: &'static str) {
        let pool = pool.map_or(Cow::Borrowed(""), |pool| self.pool(pool));
        self.acquires.get_or_create(&labels(&ACQUIRES, [pool, Cow::Borrowed(outcome)])).inc();
    }

    /// A grant did not reach its caller.
    pub fn undone(&self, outcome: &'static str) {
        self.grants_undone.get_or_create(&labels(&GRANTS_UNDONE, [Cow::Borrowed(outcome)])).inc();
    }

    /// An error was reported.
    pub fn reported(&self, rule: &'static str, action: &'static str) {
        let values = [Cow::Borrowed(rule), Cow::Borrowed(action)];
        self.reports.get_or_create(&labels(&REPORTS, values)).inc();
    }

    /// A report brought an escalation about.
    pub fn escalated(&self, rule: &'static str) {
        self.escalations.get_or_create(&labels(&ESCALATIONS, [Cow::Borrowed(rule)])).inc();
    }

    /// An error was reported that no rule knows. Tells whether its name is new, and so worth a line
    /// in the log.
    pub fn unknown_error(&self, rule: &'static str, code: i32, name: &str) -> bool {
        let code = if CODES.contains(&code) { owned(&code.to_string()) } else { "other".into() };
        let values = [Cow::Borrowed(rule), code];
        self.unknown_errors.get_or_create(&labels(&UNKNOWN_ERRORS, values)).inc();
        let mut names = lock(&self.names);
        names.len() < MAX_NAMES && !names.contains(name) && names.insert(name.to_owned())
    }

    /// A session was used over two connections at once.
    pub fn breached(&self, pool: &PoolName) {
        self.lease_breaches.get_or_create(&labels(&LEASE_BREACHES, [self.pool(pool)])).inc();
    }

    /// The store serves, or does not.
    pub fn store_is(&self, health: Health) {
        self.store_up.set(i64::from(health == Health::Up));
    }

    /// Everything, in the text form of `OpenMetrics`, with how the pools stand now.
    #[must_use]
    pub fn text(&self, reading: &Reading) -> String {
        let _scrape = lock(&self.scrape);
        self.sessions.clear();
        self.brakes.clear();
        for PoolReading { pool, counts, brakes } in &reading.pools {
            let name = owned(pool.as_str());
            for (state, count) in [
                ("READY", counts.free),
                ("LEASED", counts.leased),
                ("RESTING", counts.resting),
                ("FLOOD_WAIT", counts.flood_wait),
                ("SUSPECT", counts.suspect),
                ("INVALID", counts.invalid),
            ] {
                let values = [name.clone(), Cow::Borrowed(state)];
                self.sessions.get_or_create(&labels(&SESSIONS, values)).set(count.into());
            }
            let braked = i64::try_from(*brakes).unwrap_or(i64::MAX);
            self.brakes.get_or_create(&labels(&BRAKES, [name])).set(braked);
        }
        self.pools_unread.set(i64::from(reading.is_partial));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The label of a pool.
    fn pool(&self, pool: &PoolName) -> Cow<'static, str> {
        let mut pools = lock(&self.pools);
        if pools.contains(pool) || pools.len() < MAX_POOLS && pools.insert(pool.clone()) {
            return owned(pool.as_str());
        }
        Cow::Borrowed(OTHER_POOLS)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

/// A value for each label of a metric.
fn labels<const N: usize>(metric: &Metric, values: [Cow<'static, str>; N]) -> Labels<N> {
    debug_assert_eq!(metric.labels.len(), N, "{} has other labels", metric.name);
    let mut names = metric.labels.iter();
    values.map(|value| (names.next().copied().unwrap_or_default(), value))
}

/// Registers a metric by its name, from which the registry makes the endings again.
fn register<M: registry::Metric + Clone>(
    registry: &mut Registry,
    metric: &Metric,
    counted: M,
) -> M {
    let name = metric.name.strip_suffix(TOTAL).unwrap_or(metric.name);
    match name.strip_suffix(SECONDS) {
        Some(name) => {
            registry.register_with_unit(name, metric.help, Unit::Seconds, counted.clone());
        }
        None => registry.register(name, metric.help, counted.clone()),
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::METRICS;

    fn touched() -> Metrics {
        let metrics = Metrics::default();
        let pool = PoolName::parse("demo").unwrap();
        metrics.called("Acquire", "OK", "", Duration::from_millis(3));
        metrics.acquired(Some(&pool), "GRANTED");
        metrics.undone("UNDONE");
        metrics.reported("W1", "COOL_DOWN");
        metrics.escalated("E1");
        assert!(metrics.unknown_error("Z420", 420, "NEW_THING"));
        assert!(!metrics.unknown_error("Z420", 777, "NEW_THING"), "it was told of before");
        metrics.breached(&pool);
        metrics.store_is(Health::Up);
        metrics
    }

    fn reading() -> Reading {
        let counts = PoolCounts { total: 3, free: 2, leased: 1, ..PoolCounts::default() };
        let pool = PoolName::parse("demo").unwrap();
        Reading { pools: vec![PoolReading { pool, counts, brakes: 1 }], is_partial: false }
    }

    #[test]
    fn every_metric_is_scraped_under_its_name_and_labels() {
        let text = touched().text(&reading());
        for Metric { name, help, labels } in METRICS {
            let line = |line: &&str| {
                let bucket = format!("{name}_bucket{{");
                line.starts_with(&format!("{name}{{"))
                    || line.starts_with(&format!("{name} "))
                    || line.starts_with(&bucket)
            };
            let row = text.lines().find(line).unwrap_or_else(|| panic!("no {name} in\n{text}"));
            for label in *labels {
                assert!(row.contains(&format!("{label}=\"")), "{row} has no {label}");
            }
            assert!(text.contains(&format!("{help}.\n")), "{name} is not explained");
        }
        for row in [
            "telegate_calls_total{method=\"Acquire\",code=\"OK\",reason=\"\"} 1\n",
            "telegate_call_duration_seconds_bucket{le=\"0.005\",method=\"Acquire\"} 1\n",
            "telegate_unknown_errors_total{rule=\"Z420\",code=\"420\"} 1\n",
            "telegate_unknown_errors_total{rule=\"Z420\",code=\"other\"} 1\n",
            "telegate_sessions{pool=\"demo\",state=\"READY\"} 2\n",
            "telegate_braked_methods{pool=\"demo\"} 1\n",
        ] {
            assert!(text.contains(row), "no {row} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_scrape_forgets_the_pools_of_the_one_before() {
        let metrics = touched();
        assert!(metrics.text(&reading()).contains("telegate_sessions{"));
        let text = metrics.text(&Reading { is_partial: true, ..Reading::default() });
        assert!(!text.contains("telegate_sessions{"), "{text}");
        assert!(text.contains("telegate_pools_unread 1\n"), "{text}");
    }

    #[test]
    fn pools_and_names_are_bounded() {
        let metrics = Metrics::default();
        for n in 0..MAX_POOLS + 10 {
            metrics.acquired(PoolName::parse(&format!("p{n}")).as_ref(), "GRANTED");
        }
        let text = metrics.text(&Reading::default());
        assert_eq!(text.matches("telegate_acquires_total{").count(), MAX_POOLS + 1);
        assert!(text.contains("telegate_acquires_total{pool=\"*\",outcome=\"GRANTED\"} 10\n"));
        let new = (0..MAX_NAMES + 10).filter(|n| metrics.unknown_error("Z0", 0, &n.to_string()));
        assert_eq!(new.count(), MAX_NAMES);
    }
}
