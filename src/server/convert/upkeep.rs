//! The messages of a `KeepAlive` stream.

use std::collections::HashSet;

use super::{Check, ask, reply};
use crate::{
    pool::{EndCause, Lease, LeaseId, Refusal, Span},
    proto::v1::{self, keep_alive_response::Event},
    server::status::{Fault, reason},
    store,
};

/// The most leases that one message names.
const MAX_NAMED: usize = 1000;
/// How long after the end of a stream its leases are released, unless it says otherwise.
const GRACE: Span = Span::secs(5);
/// The longest such time.
const MAX_GRACE: Span = Span::minutes(5);

/// What a message of a worker asks for.
#[derive(Debug)]
pub(in crate::server) struct KeepAlive {
    /// The leases to renew, each once.
    pub(in crate::server) leases: Vec<LeaseId>,
    /// The wished TTL.
    pub(in crate::server) ttl: Option<Span>,
    /// What becomes of the leases when the stream ends. Nothing: as said before.
    pub(in crate::server) departure: Option<Departure>,
}

/// What becomes of the leases of a stream when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::server) enum Departure {
    /// They live on until their TTL is over.
    #[default]
    Keep,
    /// They are released after a grace, unless they are taken up again.
    ReleaseAfter(Span),
}

/// Checks a message.
pub(in crate::server) fn keep_alive(request: &v1::KeepAliveRequest) -> Result<KeepAlive, Fault> {
    let mut check = Check::default();
    let many = request.lease_ids.len();
    if many > MAX_NAMED {
        check.fault("lease_ids", format!("are {many}; they may be at most {MAX_NAMED}"));
    }
    let mut named = HashSet::new();
    let mut leases = Vec::with_capacity(many.min(MAX_NAMED));
    for (i, id) in request.lease_ids.iter().enumerate().take(MAX_NAMED) {
        let id = check.lease(&format!("lease_ids[{i}]"), id);
        leases.extend(id.filter(|id| named.insert(id.clone())));
    }
    let ttl = ask::ttl(&mut check, request.ttl.as_ref());
    let grace = check.span("disconnect_grace", request.disconnect_grace.as_ref(), MAX_GRACE);
    let departure = match request.release_on_disconnect {
        Some(true) => Some(Departure::ReleaseAfter(grace.unwrap_or(GRACE))),
        said => {
            if request.disconnect_grace.is_some() {
                check.fault("disconnect_grace", "means nothing without release_on_disconnect");
            }
            said.map(|_| Departure::Keep)
        }
    };
    check.end(Some(KeepAlive { leases, ttl, departure }))
}

/// That a stream names more leases than it may.
pub(in crate::server) fn too_many_leases(most: usize) -> Fault {
    let mut check = Check::default();
    let next = "name the others on another stream";
    check.fault("lease_ids", format!("would be more than {most} on this stream; {next}"));
    Fault::Invalid(check.0)
}

/// That a lease was renewed.
pub(in crate::server) fn renewed(id: &LeaseId, lease: &Lease) -> v1::KeepAliveResponse {
    about(id, Event::Renewed(reply::lease(lease, &id.pool, &id.session)))
}

/// That a lease ends soon; why it was not renewed, if that was asked for.
pub(in crate::server) fn ending(
    id: &LeaseId,
    left: Option<Span>,
    why: Option<store::Error>,
) -> v1::KeepAliveResponse {
    let reason = why.map(|error| reason(Fault::Store(error)).to_owned()).unwrap_or_default();
    about(id, Event::Ending(v1::LeaseEnding { ttl: left.map(reply::duration), reason }))
}

/// That a lease is over.
pub(in crate::server) fn lost(id: &LeaseId, why: Fault) -> v1::KeepAliveResponse {
    let (cause, epoch, detail) = match &why {
        Fault::Store(store::Error::Refused(refusal)) => match &**refusal {
            Refusal::LeaseLost { cause, epoch, detail, .. } => {
                (loss_cause(*cause), *epoch, detail.clone())
            }
            _ => Default::default(),
        },
        _ => Default::default(),
    };
    let reason = reason(why).to_owned();
    about(id, Event::Lost(v1::LeaseLost { cause: cause.into(), epoch, reason, detail }))
}

fn about(id: &LeaseId, event: Event) -> v1::KeepAliveResponse {
    v1::KeepAliveResponse { lease_id: id.reveal(), event: Some(event) }
}

const fn loss_cause(cause: EndCause) -> v1::LossCause {
    match cause {
        EndCause::Released => v1::LossCause::Released,
        EndCause::Undone => v1::LossCause::Undone,
        EndCause::Surrendered | EndCause::Invalidated => v1::LossCause::Invalidated,
        EndCause::Expired => v1::LossCause::Expired,
        EndCause::Revoked => v1::LossCause::Revoked,
        EndCause::Superseded => v1::LossCause::Superseded,
    }
}

#[cfg(test)]
mod tests {
    use pbjson_types::Duration;

    use super::*;

    fn request(ids: &[String]) -> v1::KeepAliveRequest {
        v1::KeepAliveRequest { lease_ids: ids.to_vec(), ..v1::KeepAliveRequest::default() }
    }

    fn faults(request: &v1::KeepAliveRequest) -> Vec<String> {
        match keep_alive(request).unwrap_err() {
            Fault::Invalid(violations) => violations.into_iter().map(|v| v.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_lease_is_named_once_and_a_thousand_are_the_most() {
        let id = |n: usize| format!("demo/s{n}/{n:032x}");
        let thousand: Vec<_> = (0..MAX_NAMED).map(id).collect();
        assert_eq!(keep_alive(&request(&thousand)).unwrap().leases.len(), MAX_NAMED);
        let more: Vec<_> = (0..=MAX_NAMED).map(id).collect();
        assert_eq!(faults(&request(&more)), ["lease_ids"]);
        let twice = [id(1), id(2), id(1)];
        assert_eq!(keep_alive(&request(&twice)).unwrap().leases.len(), 2);
        assert_eq!(faults(&request(&[id(1), "x".into()])), ["lease_ids[1]"]);
    }

    #[test]
    fn the_grace_goes_with_the_release() {
        let said = |release, secs: Option<i64>| {
            let disconnect_grace = secs.map(|seconds| Duration { seconds, nanos: 0 });
            let release_on_disconnect = release;
            v1::KeepAliveRequest { release_on_disconnect, disconnect_grace, ..request(&[]) }
        };
        let departure = |release, secs| keep_alive(&said(release, secs)).unwrap().departure;
        assert_eq!(departure(None, None), None);
        assert_eq!(departure(Some(false), None), Some(Departure::Keep));
        assert_eq!(departure(Some(true), None), Some(Departure::ReleaseAfter(GRACE)));
        let most = Departure::ReleaseAfter(MAX_GRACE);
        assert_eq!(departure(Some(true), Some(300)), Some(most));
        for (release, secs) in [(Some(true), 301), (None, 5), (Some(false), 5)] {
            assert_eq!(faults(&said(release, Some(secs))), ["disconnect_grace"]);
        }
    }
}
