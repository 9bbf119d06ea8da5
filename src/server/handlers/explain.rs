//! Explain: what an Acquire would get, and what stands in the way of the others.

use super::AdminService;
use crate::{
    pool::{Ask, PoolName, Refusal, SessionView},
    proto::v1,
    server::{
        call::Caller,
        convert,
        status::{Fault, told},
    },
    store,
};

/// The most sessions of a pool that are looked at.
const MAX_LOOKED_AT: usize = 10_000;
/// How many of them are read at once.
const PAGE: usize = 500;
/// The most that are told of.
const MAX_TOLD: usize = 100;

impl AdminService {
    pub(super) async fn explained(
        &self,
        caller: Caller,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, Fault> {
        let (pool, ask) = convert::explain(&request, caller.key())?;
        caller.enter(&pool)?;
        let mut answer = v1::ExplainResponse::default();
        match self.store.explain(&pool, ask.clone()).await {
            Ok(session) => {
                let view = self.store.get_session(&pool, &session).await?;
                answer.because = convert::because(&view, &ask);
                answer.session = session.to_string();
            }
            Err(store::Error::Refused(refusal)) => {
                if matches!(*refusal, Refusal::PoolNotFound { .. }) {
                    return Err(store::Error::Refused(refusal).into());
                }
                let (reason, message) = told(*refusal);
                reason.clone_into(&mut answer.reason);
                answer.because.push(message);
                let view = self.store.get_pool(&pool).await?;
                answer.because.extend(convert::braking(&view.brakes, &ask));
            }
            Err(error) => return Err(error.into()),
        }
        answer.passed_over = self.passed_over(&pool, &ask, &mut answer.because).await?;
        Ok(answer)
    }

    async fn passed_over(
        &self,
        pool: &PoolName,
        ask: &Ask,
        because: &mut Vec<String>,
    ) -> Result<Vec<v1::PassedOver>, Fault> {
        if let Some(name) = &ask.session {
            // The others are not even looked at.
            return match self.store.get_session(pool, name).await {
                Ok(view) => Ok(convert::passed_over(&view, ask).into_iter().collect()),
                Err(store::Error::Refused(_)) => Ok(Vec::new()),
                Err(error) => Err(error.into()),
            };
        }
        let (mut told, mut looked_at, mut untold) = (Vec::new(), 0, 0);
        let mut after = None;
        while looked_at < MAX_LOOKED_AT {
            let page: Vec<SessionView> =
                self.store.list_sessions(pool, after.as_ref(), PAGE).await?;
            looked_at += page.len();
            let is_last = page.len() < PAGE;
            after = page.last().map(|view| view.record.name.clone());
            for row in page.iter().filter_map(|view| convert::passed_over(view, ask)) {
                if told.len() < MAX_TOLD {
                    told.push(row);
                } else {
                    untold += 1;
                }
            }
            if is_last {
                break;
            }
        }
        if untold > 0 {
            because.push(format!("{untold} more sessions would be passed over."));
        }
        Ok(told)
    }
}
