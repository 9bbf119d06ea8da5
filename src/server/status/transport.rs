//! Errors that the transport made itself: what they stand for in the contract.

use http::HeaderMap;
use tonic::{Code, Status};

use super::{Fault, Violation};

/// The fault behind an error that stands in the headers of an answer, if there is one.
pub(in crate::server) fn made_by_transport(
    headers: &HeaderMap,
    path: &str,
    most: usize,
) -> Option<Fault> {
    let made = Status::from_header_map(headers)?;
    match made.code() {
        Code::Ok => None,
        // Routing says no more than the code.
        Code::Unimplemented if made.message().is_empty() => {
            Some(Fault::UnknownMethod { what: method(path) })
        }
        Code::Unimplemented => Some(Fault::NotImplemented { what: "this grpc-encoding" }),
        Code::OutOfRange => Some(Fault::TooLarge { most }),
        // Decoding is all that the transport does by itself with a message.
        Code::Internal | Code::InvalidArgument => Some(Fault::Unreadable),
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => {
            let cause = format!("the transport said {:?}: {}", made.code(), made.message());
            Some(Fault::Internal { cause })
        }
    }
}

/// The fault behind a stream of requests that broke off.
pub(in crate::server) fn broken_stream(status: &Status) -> Fault {
    match status.code() {
        Code::OutOfRange => Fault::Invalid(vec![Violation {
            field: "content".to_owned(),
            description: "comes in a message that is too large; send smaller pieces".to_owned(),
        }]),
        // Whatever it was, the rest cannot be read, and mostly nobody is there to hear it.
        _ => Fault::Unreadable,
    }
}

/// A method's name, as far as it can be shown.
fn method(path: &str) -> String {
    let name = path.trim_start_matches('/').replace('/', ".");
    name.chars().filter(char::is_ascii_graphic).take(128).collect()
}
