//! The contract, as generated code: messages, clients, servers, JSON, and the descriptor set.
//!
//! The only lines by hand keep secrets out of `Debug`, and buffers small.

mod codec;

pub use self::codec::Codec;

/// `telegate.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated code")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/telegate.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/telegate.v1.serde.rs"));
}

/// The descriptors of all protos, encoded, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Writes a `Debug` that names the message and shows nothing of it.
macro_rules! hide {
    ($($message:path => $name:literal),+ $(,)?) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct($name).finish_non_exhaustive()
            }
        }
    )+};
}

hide! {
    v1::Credential => "Credential",
    v1::credential::Value => "Credential.value",
    v1::TelegramCredential => "TelegramCredential",
    v1::DeviceProfile => "DeviceProfile",
    v1::Session => "Session",
    v1::Lease => "Lease",
    v1::RenewRequest => "RenewRequest",
    v1::ReleaseRequest => "ReleaseRequest",
    v1::ReportRequest => "ReportRequest",
    v1::InvalidateRequest => "InvalidateRequest",
    v1::invalidate_request::Target => "InvalidateRequest.target",
    v1::KeepAliveRequest => "KeepAliveRequest",
    v1::KeepAliveResponse => "KeepAliveResponse",
    v1::RevokeLeasesRequest => "RevokeLeasesRequest",
    v1::revoke_leases_request::Target => "RevokeLeasesRequest.target",
    v1::ImportSessionsRequest => "ImportSessionsRequest",
    v1::import_sessions_request::Part => "ImportSessionsRequest.part",
}
