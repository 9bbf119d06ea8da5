//! An example of every situation, for the manual: a real status, as grpcurl prints it.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use tonic::Status;
use tonic_types::{ErrorDetail, StatusExt as _};

use super::{Answer, Detail, Fault, Violation, answer, build, reasons, reasons::Entry};
use crate::{
    config::Jitter,
    keys::Role,
    pool::{
        EndCause, Fingerprint, KeyId, NextRelease, PoolCounts, PoolName, Queue, Refusal,
        ReleaseCause, Selector, SessionName, SessionState, Span, Time,
    },
    server::call::{Call, REQUEST_ID},
    store,
};

/// A situation, and the status that the broker sends in it.
#[derive(Debug)]
pub struct Example {
    /// The situation.
    pub entry: &'static Entry,
    status: Status,
}

/// An example of every situation, in the table's order.
#[must_use]
pub fn examples() -> Vec<Example> {
    let mut headers = http::HeaderMap::new();
    headers.insert(REQUEST_ID, http::HeaderValue::from_static("2f60c1a8e4b7935d"));
    let call = Call::new(&headers, Jitter::Fixed(0));
    let answers: Vec<_> = faults().into_iter().map(answer).chain(to_come()).collect();
    let mut examples: Vec<_> = answers
        .into_iter()
        .map(|answer| Example { entry: answer.entry, status: build(answer, &call) })
        .collect();
    let place = |entry| reasons::ENTRIES.iter().position(|other| std::ptr::eq(*other, entry));
    examples.sort_by_key(|example| place(example.entry));
    examples
}

impl Example {
    /// The names of its details, as in `google.rpc`.
    #[must_use]
    pub fn details(&self) -> Vec<&'static str> {
        self.status.get_error_details_vec().iter().map(|detail| shown(detail).0).collect()
    }

    /// The keys of the metadata of its `ErrorInfo`.
    #[must_use]
    pub fn metadata(&self) -> Vec<String> {
        let details = self.status.get_error_details();
        let keys = details.error_info().map(|info| info.metadata.keys().cloned());
        let mut keys: Vec<_> = keys.into_iter().flatten().collect();
        keys.sort_unstable();
        keys
    }

    /// The page that it links to, if any.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(self.status.get_error_details().help()?.links.first()?.url.clone())
    }

    /// All of it, as grpcurl prints it.
    #[must_use]
    pub fn text(&self) -> String {
        let (code, message) = (self.status.code(), self.status.message());
        let mut text = format!("ERROR:\n  Code: {code:?}\n  Message: {message}\n  Details:\n");
        for (number, detail) in (1..).zip(self.status.get_error_details_vec()) {
            let (name, fields) = shown(&detail);
            let kind = Node::text(&format!("type.googleapis.com/google.rpc.{name}"));
            let record = Node::Record([("@type", kind)].into_iter().chain(fields).collect());
            let json = serde_json::to_string_pretty(&record).unwrap_or_default();
            let _ = writeln!(text, "  {number})\t{}", json.replace('\n', "\n    \t"));
        }
        text
    }
}

type Fields = Vec<(&'static str, Node)>;

/// JSON that keeps the order of its fields.
#[derive(Serialize)]
#[serde(untagged)]
enum Node {
    Text(String),
    Facts(BTreeMap<String, String>),
    List(Vec<Node>),
    #[serde(serialize_with = "in_order")]
    Record(Fields),
}

fn in_order<S: Serializer>(fields: &Fields, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

impl Node {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn list<'a, T: 'a>(items: &'a [T], fields: impl Fn(&'a T) -> Fields) -> Self {
        Self::List(items.iter().map(|item| Self::Record(fields(item))).collect())
    }

    /// Whether the JSON form of Protobuf leaves it out.
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Facts(facts) => facts.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Record(_) => false,
        }
    }
}

/// A detail's name and fields. grpcurl sorts those of the detail itself by name; those inside keep
/// the order of their numbers.
fn shown(detail: &ErrorDetail) -> (&'static str, Fields) {
    let text = |text: &String| Node::text(text);
    match detail {
        ErrorDetail::ErrorInfo(info) => {
            let facts = info.metadata.clone().into_iter().collect();
            let (domain, reason) = (text(&info.domain), text(&info.reason));
            let metadata = Node::Facts(facts);
            ("ErrorInfo", vec![("domain", domain), ("metadata", metadata), ("reason", reason)])
        }
        ErrorDetail::RetryInfo(info) => {
            let delay = info.retry_delay.unwrap_or_default();
            let (secs, millis) = (delay.as_secs(), delay.subsec_millis());
            let decimals = if millis == 0 { String::new() } else { format!(".{millis:03}") };
            ("RetryInfo", vec![("retryDelay", Node::Text(format!("{secs}{decimals}s")))])
        }
        ErrorDetail::RequestInfo(info) => {
            ("RequestInfo", vec![("requestId", text(&info.request_id))])
        }
        ErrorDetail::QuotaFailure(failure) => {
            let violations = Node::list(&failure.violations, |v| {
                vec![("subject", text(&v.subject)), ("description", text(&v.description))]
            });
            ("QuotaFailure", vec![("violations", violations)])
        }
        ErrorDetail::PreconditionFailure(failure) => {
            let violations = Node::list(&failure.violations, |v| {
                let (kind, subject) = (text(&v.r#type), text(&v.subject));
                vec![("type", kind), ("subject", subject), ("description", text(&v.description))]
            });
            ("PreconditionFailure", vec![("violations", violations)])
        }
        ErrorDetail::BadRequest(request) => {
            let violations = Node::list(&request.field_violations, |v| {
                vec![("field", text(&v.field)), ("description", text(&v.description))]
            });
            ("BadRequest", vec![("fieldViolations", violations)])
        }
        ErrorDetail::ResourceInfo(info) => {
            let (description, name) = (text(&info.description), text(&info.resource_name));
            let kind = text(&info.resource_type);
            let fields =
                [("description", description), ("resourceName", name), ("resourceType", kind)];
            ("ResourceInfo", fields.into())
        }
        ErrorDetail::Help(help) => {
            let links = Node::list(&help.links, |link| {
                vec![("description", text(&link.description)), ("url", text(&link.url))]
            });
            ("Help", vec![("links", links)])
        }
        ErrorDetail::LocalizedMessage(message) => {
            let fields = [("locale", text(&message.locale)), ("message", text(&message.message))];
            ("LocalizedMessage", fields.into())
        }
        // The broker tells nothing of its inside.
        _ => ("DebugInfo", Vec::new()),
    }
}

/// A fault for every situation that this version knows.
fn faults() -> Vec<Fault> {
    let (key, pool) = (KeyId::new("k-3f9a1c20"), PoolName::parse("demo"));
    let Some(pool) = pool else { return Vec::new() };
    let fingerprint = Fingerprint::new("9f0c4b7a1d25e683");
    let violation = |field: &str, description: &str| Violation {
        field: field.to_owned(),
        description: description.to_owned(),
    };
    let mut faults = vec![
        Fault::KeyMissing,
        Fault::KeyInvalid,
        Fault::RoleMissing { key: key.clone(), role: Role::Admin },
        Fault::PoolForbidden { key, pool: pool.clone() },
        Fault::Invalid(vec![
            violation("pool", &format!("'De mo' is not a pool name; write {}", PoolName::RULE)),
            violation("ttl", "is negative; it may be zero or more"),
        ]),
        Fault::Unreadable,
        Fault::TooLarge { most: 1 << 20 },
        Fault::CredentialElsewhere { fingerprint: fingerprint.clone() },
        Fault::Store(store::Error::Unavailable(String::new())),
        Fault::Store(store::Error::Recovering(String::new())),
        Fault::Store(store::Error::NoKey),
        Fault::ShuttingDown,
        Fault::NotImplemented { what: "WatchLeases" },
        Fault::TooManyStreams { most: 64 },
        Fault::UnknownMethod { what: "/telegate.v1.SessionPool/Steal".to_owned() },
        Fault::Internal { cause: String::new() },
    ];
    faults
        .extend(refusals(&pool, &fingerprint).into_iter().map(store::Error::from).map(Fault::from));
    faults
}

fn refusals(pool: &PoolName, fingerprint: &Fingerprint) -> Vec<Refusal> {
    let named = (SessionName::parse("alice"), Selector::parse("country=de"));
    let (Some(session), Ok(selector)) = named else { return Vec::new() };
    let none = PoolCounts::default();
    let next = |after, cause| NextRelease { after, cause };
    let pace = Some(Span(2_500));
    let queue = Queue { waiters: 7, oldest_wait: Some(Span(3_200)), pace };
    let pool = || pool.clone();
    let session = || session.clone();
    vec![
        Refusal::PoolBusy {
            pool: pool(),
            counts: PoolCounts { total: 3, leased: 3, ..none },
            next: next(Span(12_500), ReleaseCause::Lease),
            queue,
        },
        Refusal::PoolFloodWait {
            pool: pool(),
            counts: PoolCounts { total: 3, flood_wait: 3, ..none },
            next: next(Span::minutes(3), ReleaseCause::CoolDown),
            queue: Queue::default(),
        },
        Refusal::PoolDepleted {
            pool: pool(),
            counts: PoolCounts { total: 3, invalid: 2, suspect: 1, ..none },
        },
        Refusal::NoMatchingSession {
            pool: pool(),
            selector,
            counts: PoolCounts { total: 3, free: 3, ..none },
        },
        Refusal::PoolEmpty { pool: pool() },
        Refusal::PoolPaused { pool: pool() },
        Refusal::PoolDraining { pool: pool() },
        Refusal::WaitQueueFull {
            pool: pool(),
            waiters: 1000,
            most: 1000,
            counts: PoolCounts { total: 3, leased: 3, ..none },
            next: next(Span(12_500), ReleaseCause::Lease),
            queue: Queue { waiters: 1000, ..queue },
        },
        Refusal::LeaseLost {
            pool: pool(),
            session: session(),
            cause: EndCause::Expired,
            epoch: 1_763_749_940_000,
            at: Time(1_763_750_000_000),
            detail: String::new(),
        },
        Refusal::LeaseLost {
            pool: pool(),
            session: session(),
            cause: EndCause::Revoked,
            epoch: 1_763_749_940_000,
            at: Time(1_763_750_000_000),
            detail: "moving to another pool".to_owned(),
        },
        Refusal::NotHolder { pool: pool(), session: session() },
        Refusal::PoolNotFound { pool: pool() },
        Refusal::SessionNotFound { pool: pool(), session: session() },
        Refusal::LeaseNotFound,
        Refusal::PoolExists { pool: pool() },
        Refusal::SessionExists { pool: pool(), session: session() },
        Refusal::CredentialExists {
            pool: pool(),
            session: session(),
            fingerprint: fingerprint.clone(),
        },
        Refusal::RequestIdReused { pool: pool(), request_id: "job-17".to_owned() },
        Refusal::InappropriateState {
            pool: pool(),
            session: session(),
            state: SessionState::Ready,
            wanted: &[SessionState::Invalid],
        },
        Refusal::PoolNotEmpty { pool: pool(), total: 3 },
    ]
}

/// What the contract has and this version does not raise yet.
fn to_come() -> [Answer; 2] {
    let quota = |subject: &str| Detail::Quota { subject: subject.to_owned() };
    let fact = |key, value: &str| (key, value.to_owned());
    let key = "k-3f9a1c20";
    [
        Answer::new(&reasons::RATE_LIMITED, [fact("key", key), fact("limit", "100")])
            .with(quota(key)),
        Answer::new(&reasons::QUOTA_EXCEEDED, [fact("key", key), fact("limit", "10")])
            .with(quota(key)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_situation_has_one_example_in_the_tables_order() {
        let examples = examples();
        assert_eq!(examples.len(), reasons::ENTRIES.len());
        for (example, entry) in examples.iter().zip(reasons::ENTRIES) {
            assert!(std::ptr::eq(example.entry, *entry), "{}", entry.en);
            assert!(!example.details().contains(&"DebugInfo"));
        }
    }
}
