//! The Rust client: typed calls to a broker, its errors with all that they carry, and leases that
//! keep themselves ([`Client::lend`]).

mod guard;
mod lend;
mod upkeep;
mod watch;

use std::{
    collections::BTreeMap,
    error::Error as _,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::Stream;
use thiserror::Error;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{self, Certificate, Channel, ClientTlsConfig, Identity},
};
use tonic_types::{RetryInfo, StatusExt as _};

use self::upkeep::Upkeep;
use crate::proto::v1::{
    self, ErrorReason, session_admin_client::SessionAdminClient,
    session_pool_client::SessionPoolClient,
};

pub use self::{
    guard::{LeaseGuard, Loss},
    lend::{LendError, NoSessionAvailable},
    watch::PoolWatch,
};
pub use tonic::Code;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a broker may be silent during a call before it is pinged.
const PING_AFTER: Duration = Duration::from_secs(20);
/// How long its answer to the ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a broker is, and who asks. Its `Debug` hides the key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The address: `HOST:PORT` or `http://HOST:PORT`; `https://HOST:PORT` for TLS.
    pub address: String,
    /// The API key.
    pub key: Option<String>,
    /// A file with the authorities to trust, in PEM. Not set: those of the system.
    pub ca: Option<PathBuf>,
    /// The caller's own certificate, for brokers that want one (mTLS).
    pub identity: Option<IdentityFiles>,
}

/// The files of a caller's own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate chain, in PEM.
    pub cert: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why a call has no answer.
#[derive(Debug, Error)]
pub enum Error {
    /// What the caller said of the broker cannot be right.
    #[error("{0}")]
    Endpoint(String),
    /// There is no way to the broker, or none any more.
    #[error("the broker at {address} cannot be reached: {cause}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// The broker said no.
    #[error(transparent)]
    Refused(Box<Refused>),
}

/// A broker's no, with all that it carries.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refused {
    /// The kind of error.
    pub code: Code,
    /// The reason that programs branch on. Nothing when this client is older than the broker, or
    /// when what answered is no broker.
    pub reason: Option<ErrorReason>,
    /// The reason's name, also when this client does not know it; may be empty.
    pub reason_name: String,
    /// A sentence for people, with the next step.
    pub message: String,
    /// When to try again. Nothing when that would not help.
    pub retry_after: Option<Duration>,
    /// Whatever changes from one error of this reason to the next.
    pub metadata: BTreeMap<String, String>,
    /// What is wrong with the request, field by field, or what would have to be true first.
    pub violations: Vec<Violation>,
    /// The call's id in the broker's log; may be empty.
    pub request_id: String,
    /// Where to read more.
    pub help: Option<String>,
}

/// What a refusal means for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request is wrong.
    BadRequest,
    /// The key is missing, unknown, or not enough.
    Forbidden,
    /// Waiting helps.
    Temporary,
    /// The broker or its store is not there.
    Unavailable,
    /// A bug.
    Bug,
    /// A lawful no that waiting does not change.
    Final,
}

/// One thing that stands in the way of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, or the thing that is not as it must be.
    pub subject: String,
    /// What is wrong, or what would do.
    pub description: String,
}

/// A client of one broker. Cheap to clone: clones share a connection.
#[derive(Clone)]
pub struct Client {
    pool: SessionPoolClient<Keyed>,
    admin: SessionAdminClient<Keyed>,
    address: String,
    upkeep: Arc<Upkeep>,
}

type Keyed = InterceptedService<Channel, Key>;

#[derive(Clone)]
struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("x-api-key", key.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// Connects to a broker.
    ///
    /// # Errors
    ///
    /// When the endpoint cannot be right, or nobody answers there.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, Error> {
        let Endpoint { mut address, key, ca, identity } = endpoint;
        if !address.contains("://") {
            address.insert_str(0, "http://");
        }
        let key = key.as_deref().map(key_value).transpose()?;
        let transport = transport(&address, ca, identity)?;
        let channel = transport.connect().await.map_err(|error| Error::Unreachable {
            address: address.clone(),
            cause: innermost(&error),
        })?;
        Ok(Self {
            pool: SessionPoolClient::with_interceptor(channel.clone(), Key(key.clone())),
            admin: SessionAdminClient::with_interceptor(channel, Key(key)),
            address,
            upkeep: Arc::default(),
        })
    }

    fn error(&self, status: &Status) -> Error {
        let details = status.get_error_details();
        if details.error_info().is_none() && status.source().is_some() {
            let cause = status.source().map(innermost).unwrap_or_default();
            return Error::Unreachable { address: self.address.clone(), cause };
        }
        Error::Refused(Box::new(Refused::of(status)))
    }
}

/// The largest answer of a call that reports on many sessions, in bytes.
const MAX_REPORT: usize = 64 << 20;

impl Client {
    /// Adds the sessions of the files that are sent.
    ///
    /// # Errors
    ///
    /// Those that the contract names for it.
    pub async fn import_sessions(
        &self,
        sent: impl Stream<Item = v1::ImportSessionsRequest> + Send + 'static,
    ) -> Result<v1::ImportSessionsResponse, Error> {
        let mut admin = self.admin.clone().max_decoding_message_size(MAX_REPORT);
        let answer = admin.import_sessions(sent).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
    }

    /// Makes a pool equal to what is sent.
    ///
    /// # Errors
    ///
    /// Those that the contract names for it.
    pub async fn sync_sessions(
        &self,
        sent: impl Stream<Item = v1::SyncSessionsRequest> + Send + 'static,
    ) -> Result<v1::SyncSessionsResponse, Error> {
        let mut admin = self.admin.clone().max_decoding_message_size(MAX_REPORT);
        let answer = admin.sync_sessions(sent).await;
        answer.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $service:ident.$method:ident: $request:ident => $response:ident;)+) => {
        impl Client {$(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Those that the contract names for it.
            pub async fn $method(&self, request: v1::$request) -> Result<v1::$response, Error> {
                let answer = self.$service.clone().$method(request).await;
                answer.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
            }
        )+}
    };
}

calls! {
    /// Leases a session.
    pool.acquire: AcquireRequest => AcquireResponse;
    /// Extends a lease.
    pool.renew: RenewRequest => RenewResponse;
    /// Gives a session back.
    pool.release: ReleaseRequest => ReleaseResponse;
    /// Tells what Telegram answered under a lease, and learns what to do.
    pool.report: ReportRequest => ReportResponse;
    /// Takes a session out of its pool.
    pool.invalidate: InvalidateRequest => InvalidateResponse;
    /// Counts a pool's sessions by state.
    pool.get_pool_status: GetPoolStatusRequest => GetPoolStatusResponse;
    /// Creates a pool.
    admin.create_pool: CreatePoolRequest => CreatePoolResponse;
    /// Reads a pool.
    admin.get_pool: GetPoolRequest => GetPoolResponse;
    /// Lists pools, each with its status.
    admin.list_pools: ListPoolsRequest => ListPoolsResponse;
    /// Changes a pool's policy.
    admin.update_pool: UpdatePoolRequest => UpdatePoolResponse;
    /// Deletes a pool without sessions.
    admin.delete_pool: DeletePoolRequest => DeletePoolResponse;
    /// Stops granting leases of a pool.
    admin.pause_pool: PausePoolRequest => PausePoolResponse;
    /// Grants leases of a pool again.
    admin.resume_pool: ResumePoolRequest => ResumePoolResponse;
    /// Stops granting and renewing leases of a pool.
    admin.drain_pool: DrainPoolRequest => DrainPoolResponse;
    /// Adds a session.
    admin.add_session: AddSessionRequest => AddSessionResponse;
    /// Reads a session.
    admin.get_session: GetSessionRequest => GetSessionResponse;
    /// Lists a pool's sessions.
    admin.list_sessions: ListSessionsRequest => ListSessionsResponse;
    /// Changes a session's labels, proxy, device profile or account.
    admin.update_session: UpdateSessionRequest => UpdateSessionResponse;
    /// Removes a session and its credential.
    admin.remove_session: RemoveSessionRequest => RemoveSessionResponse;
    /// Seals a page of sessions with the first store key.
    admin.reseal_sessions: ResealSessionsRequest => ResealSessionsResponse;
    /// Lists the calls that wait for a pool.
    admin.list_waiters: ListWaitersRequest => ListWaitersResponse;
    /// Lists the API keys that the broker knows.
    admin.list_keys: ListKeysRequest => ListKeysResponse;
    /// Reads what was done to a session.
    admin.list_session_events: ListSessionEventsRequest => ListSessionEventsResponse;
    /// Lists a pool's running leases.
    admin.list_leases: ListLeasesRequest => ListLeasesResponse;
    /// Ends leases before their time.
    admin.revoke_leases: RevokeLeasesRequest => RevokeLeasesResponse;
    /// Brings a session back into its pool.
    admin.restore_session: RestoreSessionRequest => RestoreSessionResponse;
    /// Ends one cool-down before its time.
    admin.clear_cool_down: ClearCoolDownRequest => ClearCoolDownResponse;
    /// Tells what an Acquire would get, and why.
    admin.explain: ExplainRequest => ExplainResponse;
}

impl Refused {
    /// What it means for the caller.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.code {
            Code::Unavailable | Code::DeadlineExceeded => Kind::Unavailable,
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Kind::BadRequest,
            Code::Unauthenticated | Code::PermissionDenied => Kind::Forbidden,
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Ok => Kind::Bug,
            Code::Cancelled
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted => {
                if self.retry_after.is_some() {
                    Kind::Temporary
                } else {
                    Kind::Final
                }
            }
        }
    }

    /// The code's name as gRPC's documents write it, for example `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn code_name(&self) -> String {
        crate::server::status::code_name(self.code)
    }

    fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().cloned();
        let (reason_name, metadata) =
            info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        let fields = details.bad_request().map(|bad| bad.field_violations.clone());
        let fields = fields.unwrap_or_default().into_iter();
        let needs = details.precondition_failure().map(|failure| failure.violations.clone());
        let needs = needs.unwrap_or_default().into_iter();
        Self {
            code: status.code(),
            reason: ErrorReason::from_str_name(&format!("ERROR_REASON_{reason_name}")),
            reason_name,
            message: status.message().to_owned(),
            retry_after: retry_after(details.retry_info(), pushback(status)),
            metadata: metadata.into_iter().collect(),
            violations: fields
                .map(|v| Violation { subject: v.field, description: v.description })
                .chain(needs.map(|v| Violation { subject: v.subject, description: v.description }))
                .collect(),
            request_id: details.request_info().map(|r| r.request_id.clone()).unwrap_or_default(),
            help: details.help().and_then(|help| help.links.first()).map(|link| link.url.clone()),
        }
    }
}

/// The trailer that tells when to retry: milliseconds, or negative for never.
fn pushback(status: &Status) -> Option<i64> {
    status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?.parse().ok()
}

/// When to try again: as `RetryInfo` says, or the trailer where something on the way has lost that.
/// A negative trailer means never, whatever else is said.
fn retry_after(info: Option<&RetryInfo>, pushback: Option<i64>) -> Option<Duration> {
    let pushback = pushback.map(u64::try_from);
    if matches!(pushback, Some(Err(_))) {
        return None;
    }
    let told = info.and_then(|info| info.retry_delay);
    told.or(pushback.and_then(Result::ok).map(Duration::from_millis))
}

fn key_value(key: &str) -> Result<MetadataValue<Ascii>, Error> {
    let wrong = |_| Error::Endpoint("the API key has characters that no key has".to_owned());
    let mut value = MetadataValue::try_from(key).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}

fn transport(
    address: &str,
    ca: Option<PathBuf>,
    identity: Option<IdentityFiles>,
) -> Result<transport::Endpoint, Error> {
    let form = || {
        let forms = "http://HOST:PORT or https://HOST:PORT";
        Error::Endpoint(format!("address \"{address}\" is not one; write {forms}"))
    };
    let tls = address.starts_with("https://");
    if !tls && !address.starts_with("http://") {
        return Err(form());
    }
    let endpoint = transport::Endpoint::from_shared(address.to_owned()).map_err(|_| form())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    if !tls {
        if ca.is_some() || identity.is_some() {
            return Err(Error::Endpoint(format!(
                "certificates are for TLS, and {address} is not; write https:// or leave them out"
            )));
        }
        return Ok(endpoint);
    }
    let mut config = ClientTlsConfig::new();
    config = match ca {
        Some(path) => config.ca_certificate(Certificate::from_pem(read("CA", &path)?)),
        None => config.with_native_roots(),
    };
    if let Some(IdentityFiles { cert, key }) = identity {
        let identity = Identity::from_pem(read("certificate", &cert)?, read("key", &key)?);
        config = config.identity(identity);
    }
    endpoint
        .tls_config(config)
        .map_err(|error| Error::Endpoint(format!("TLS cannot be set up: {}", innermost(&error))))
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |error| Error::Endpoint(format!("{what} file {}: {error}", path.display()));
    std::fs::read(path).map_err(wrong)
}

/// The first cause of an error: what the system said, without the layers above it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_taken_from_either_place_and_never_is_never() {
        let info = RetryInfo::new(Some(Duration::from_secs(2)));
        let two = Some(Duration::from_secs(2));
        assert_eq!(retry_after(Some(&info), Some(1500)), two);
        assert_eq!(retry_after(Some(&info), None), two);
        assert_eq!(retry_after(None, Some(1500)), Some(Duration::from_millis(1500)));
        assert_eq!(retry_after(Some(&info), Some(-1)), None);
        assert_eq!(retry_after(None, Some(-1)), None);
        assert_eq!(retry_after(None, None), None);
    }
}
