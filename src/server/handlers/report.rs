//! Errors of Telegram: taken note of, told to whom they concern, answered with a verdict.

use std::{future::Future, sync::Arc};

use futures_util::{StreamExt as _, stream};
use tracing::Instrument as _;

use crate::{
    pool::{
        Assessment, Effect, Holder, InvalidReason, KeyId, LeaseId, PoolName, Refusal, Report,
        assess, verdict::Action,
    },
    proto::v1,
    server::{call::Caller, convert, status::Fault},
    store::{self, Store},
    telemetry::Metrics,
};

/// How many pools are read at once to tell them what became of an account.
const PAGE: usize = 100;
/// How many pools are told at once.
const TOLD_AT_ONCE: usize = 8;

/// What reports need.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
}

impl Desk {
    /// Takes note of an error that was seen under a lease.
    pub(super) async fn reported(
        self,
        caller: Caller,
        request: v1::ReportRequest,
    ) -> Result<v1::ReportResponse, Fault> {
        let (lease, report) = convert::report(&request)?;
        caller.enter(&lease.pool)?;
        let verdict = finish(async move {
            let error = assess(&report);
            let noted = self.store.report(&lease, &caller.key(), &error).await;
            let case = Case { lease, report, error, caller };
            match noted {
                Ok(effect) => Ok(self.conclude(&case, &effect).await),
                Err(refused) => {
                    if is_lost(&refused) {
                        self.alarm_of_forgotten(&case);
                    }
                    Err(Fault::from(refused))
                }
            }
        });
        Ok(v1::ReportResponse { verdict: Some(verdict.await?) })
    }

    /// Gives a session back, with the error that ended the work if one did.
    pub(super) async fn released(
        self,
        caller: Caller,
        request: v1::ReleaseRequest,
    ) -> Result<v1::ReleaseResponse, Fault> {
        let convert::Release { lease, rest, error } = convert::release(&request)?;
        caller.enter(&lease.pool)?;
        let Some(report) = error else {
            let (outcome, _) = self.store.release(&lease, &caller.key(), rest, None).await?;
            let outcome = convert::release_outcome(outcome).into();
            return Ok(v1::ReleaseResponse { outcome, verdict: None });
        };
        finish(async move {
            let error = assess(&report);
            let released = self.store.release(&lease, &caller.key(), rest, Some(&error)).await;
            let case = Case { lease, report, error, caller };
            match released {
                Ok((outcome, effect)) => {
                    let verdict = if let Some(effect) = effect {
                        Some(self.conclude(&case, &effect).await)
                    } else {
                        self.alarm_of_forgotten(&case);
                        None
                    };
                    let outcome = convert::release_outcome(outcome).into();
                    Ok(v1::ReleaseResponse { outcome, verdict })
                }
                Err(refused) => {
                    self.conclude_lost(&case, &refused).await;
                    Err(Fault::from(refused))
                }
            }
        })
        .await
    }

    /// All that follows from a report beside its own session, and the verdict.
    async fn conclude(&self, case: &Case, effect: &Effect) -> v1::Verdict {
        self.count(case, effect);
        let mut detail = vec![case.error.why];
        detail.extend(effect.escalations.iter().map(|fired| fired.why()));
        if let Some(holders) = &effect.breach {
            self.alarm(case, holders);
            detail.push(BREACH);
        }
        if let Some(account) = effect.account
            && !self.tell_other_pools(case, account).await
        {
            detail.push(UNTOLD);
        }
        convert::verdict(&case.error, effect, detail.join(" "))
    }

    /// The lease was lost, so its holder hears nothing but that; what the error means for the
    /// account and for the operator stays true. Reporting the same again changes nothing.
    async fn conclude_lost(&self, case: &Case, refused: &store::Error) {
        if !is_lost(refused) {
            return;
        }
        match self.store.report(&case.lease, &case.caller.key(), &case.error).await {
            Ok(effect) => _ = self.conclude(case, &effect).await,
            Err(_) => self.alarm_of_forgotten(case),
        }
    }

    fn count(&self, case: &Case, effect: &Effect) {
        let Case { lease, report, error, caller } = case;
        let (pool, session, request_id) = (&lease.pool, &lease.session, &caller.call.id);
        let (rule, name, action) = (error.rule, &error.name, error.action.name());
        self.metrics.reported(rule, action);
        tracing::debug!(request_id, %pool, %session, rule, name, action, "an error was reported");
        for fired in &effect.escalations {
            self.metrics.escalated(fired.id());
            let (escalation, why) = (fired.id(), fired.why());
            tracing::info!(request_id, %pool, %session, escalation, rule, name, why, "escalated");
        }
        if matches!(error.action, Action::Verify | Action::Invalidated(_)) {
            let state = effect.state.name();
            tracing::info!(request_id, %pool, %session, rule, name, state, "a session may be dead");
        }
        if error.is_news() && self.metrics.unknown_error(rule, report.code, name) {
            let (code, library, method) = (report.code, &report.library, &report.method);
            tracing::warn!(
                request_id,
                rule,
                code,
                library,
                name,
                method,
                "Telegram answered an error that no rule knows; the default for its code decided"
            );
        }
    }

    /// A session was used over two connections at once: a person must find out who did.
    fn alarm(&self, case: &Case, holders: &[Holder]) {
        let Case { lease, report: _, error, caller } = case;
        self.metrics.breached(&lease.pool);
        let holders: Vec<_> = holders.iter().map(shown).collect();
        tracing::error!(
            request_id = caller.call.id, pool = %lease.pool, session = %lease.session,
            reporter = %caller.key(), last_holders = holders.join(", "), name = error.name,
            "lease breach: the session was used over two connections at once and is destroyed; \
             somebody used it without its lease, or after it"
        );
    }

    /// Raises the alarm of a breach also for a reporter whose lease is forgotten: it may be the
    /// very one that went on.
    fn alarm_of_forgotten(&self, case: &Case) {
        if case.error.action == Action::Invalidated(InvalidReason::KeyDuplicated) {
            self.alarm(case, &[]);
        }
    }

    /// Does to the account's sessions in the other pools what the error means for them. Tells
    /// whether all could be told.
    async fn tell_other_pools(&self, case: &Case, account: i64) -> bool {
        let Case { lease, error, caller, .. } = case;
        let key = caller.key();
        let mut after: Option<PoolName> = None;
        let mut all_told = true;
        loop {
            let page = match self.store.list_pools(after.as_ref(), PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    case.untold(None, &error);
                    return false;
                }
            };
            let is_last = page.len() < PAGE;
            after = page.last().map(|view| view.record.name.clone());
            let names = page.into_iter().map(|view| view.record.name);
            let others = names.filter(|name| *name != lease.pool);
            let told = stream::iter(others)
                .map(|pool| self.tell(case, pool, account, &key, error))
                .buffer_unordered(TOLD_AT_ONCE)
                .fold(true, async |all, told| all && told);
            all_told &= told.await;
            if is_last {
                return all_told;
            }
        }
    }

    async fn tell(
        &self,
        case: &Case,
        pool: PoolName,
        account: i64,
        key: &KeyId,
        error: &Assessment,
    ) -> bool {
        match self.store.afflict(&pool, account, key, error).await {
            Ok(0) => true,
            Ok(sessions) => {
                let (request_id, rule) = (&case.caller.call.id, error.rule);
                tracing::info!(
                    request_id, %pool, sessions, rule, name = error.name,
                    "an error of the account reached its sessions in another pool"
                );
                true
            }
            // It was deleted meanwhile, and its sessions with it.
            Err(store::Error::Refused(refusal))
                if matches!(*refusal, Refusal::PoolNotFound { .. }) =>
            {
                true
            }
            Err(error) => {
                case.untold(Some(&pool), &error);
                false
            }
        }
    }
}

/// An error, where it was seen, and who reports it.
struct Case {
    lease: LeaseId,
    report: Report,
    error: Assessment,
    caller: Caller,
}

impl Case {
    /// Another pool, or all others, could not be told.
    fn untold(&self, pool: Option<&PoolName>, error: &store::Error) {
        let pool = pool.map_or("", PoolName::as_str);
        let (request_id, rule) = (&self.caller.call.id, self.error.rule);
        tracing::warn!(
            request_id, pool, %error, rule, name = self.error.name,
            "an error of the account did not reach its sessions in another pool"
        );
    }
}

/// What a verdict says besides when a session was used twice at once.
const BREACH: &str = "Lease breach: somebody used it without its lease, or after it; the broker's \
                      log names the last holders.";
/// What a verdict says besides when the account's other sessions were not all reached.
const UNTOLD: &str = "The account's sessions in some other pools could not be told; report it \
                      again.";

fn is_lost(refused: &store::Error) -> bool {
    let store::Error::Refused(refusal) = refused else { return false };
    matches!(**refusal, Refusal::LeaseLost { .. })
}

fn shown(holder: &Holder) -> String {
    if holder.purpose.is_empty() {
        return holder.key.to_string();
    }
    format!("{} ({:?})", holder.key, holder.purpose)
}

/// Does something to its end, also when the caller hangs up meanwhile: what concerns an account
/// must reach all its sessions.
fn finish<T: Send + 'static>(
    deed: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> impl Future<Output = Result<T, Fault>> + Send {
    // Begun at once, so that whoever waits for it does not carry the room for it, too.
    let task = tokio::spawn(deed.in_current_span());
    let panicked = |_| Fault::Internal { cause: "the task of a report panicked".to_owned() };
    async move { task.await.map_err(panicked)? }
}
