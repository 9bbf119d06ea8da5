//! Health: what probes are told, per service.

use std::sync::Arc;

use tokio::sync::watch;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    proto::v1::{session_admin_server, session_pool_server},
    store::Health,
    telemetry::Metrics,
};

/// The server as a whole, and each service of the contract.
const SERVICES: [&str; 3] =
    ["", session_pool_server::SERVICE_NAME, session_admin_server::SERVICE_NAME];

/// Served for as long as the process runs, whatever the store does: restarting a broker mends
/// nothing of a Redis that is away, so a liveness probe asks this.
const LIVE: &str = "telegate.live";

/// Tells that the process runs.
pub(super) async fn live(reporter: &HealthReporter) {
    reporter.set_service_status(LIVE, ServingStatus::Serving).await;
}

/// Tells the same of every service.
pub(super) async fn tell(reporter: &HealthReporter, health: Health) {
    let status = match health {
        Health::Up => ServingStatus::Serving,
        Health::Down => ServingStatus::NotServing,
    };
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

/// Tells what the store's health is, until the store is gone.
pub(super) async fn follow(
    reporter: HealthReporter,
    mut store: watch::Receiver<Health>,
    metrics: Arc<Metrics>,
) {
    loop {
        let health = *store.borrow_and_update();
        metrics.store_is(health);
        tell(&reporter, health).await;
        if store.changed().await.is_err() {
            metrics.store_is(Health::Down);
            tell(&reporter, Health::Down).await;
            return;
        }
        match *store.borrow() {
            Health::Up => tracing::info!("the store serves"),
            Health::Down => tracing::warn!("the store does not serve"),
        }
    }
}

/// Forgets every service, which ends the streams of those who watch.
pub(super) async fn forget(reporter: &mut HealthReporter) {
    for service in SERVICES.into_iter().chain([LIVE]) {
        reporter.clear_service_status(service).await;
    }
}
