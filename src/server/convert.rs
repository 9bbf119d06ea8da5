//! Between the contract and the rules: shapes are checked here, every violation at once.

mod amend;
mod ask;
mod error;
mod escalation;
mod explain;
mod keys;
mod leases;
mod reply;
mod secret;
mod upkeep;

pub(super) use self::{
    amend::{UpdateSession, pool_deed, session_deed, update_pool, update_session},
    ask::{
        Acquire, Invalidate, ListEvents, Release, Target, acquire, add_session, create_pool,
        invalidate, list_events, list_pools, list_sessions, list_waiters, pool, release, renew,
        reseal_sessions, session_ref,
    },
    error::{ClearCoolDown, brakes, clear_cool_down, floods, report, verdict},
    explain::{because, braking, explain, passed_over},
    keys::{api_key, list_keys},
    leases::{lent, list_leases, mark, progress, revoke_leases},
    reply::{
        Audience, event, grant, lease, pool as pool_reply, pool_status, release_outcome, resealed,
        session, waiter,
    },
    secret::{Form, hand_out},
    upkeep::{Departure, KeepAlive, ending, keep_alive, lost, renewed, too_many_leases},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use pbjson_types::Duration;

use super::status::{Fault, Violation};
use crate::pool::{LeaseId, PoolName, Selector, SessionName, Span};

/// The longest piece of a caller's own text that a message repeats, in characters.
const MAX_QUOTE: usize = 40;
/// The most rows of a page.
const MAX_PAGE: usize = 1000;
/// The rows of a page when the caller does not say.
const PAGE: usize = 100;

/// Collects what is wrong with a request.
#[derive(Debug, Default)]
struct Check(Vec<Violation>);

impl Check {
    fn fault(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation { field: field.into(), description: description.into() });
    }

    /// The value, if nothing is wrong. What is missing was found wrong before.
    fn end<T>(self, value: Option<T>) -> Result<T, Fault> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Fault::Invalid(self.0)),
        }
    }

    fn pool(&mut self, field: &str, text: &str) -> Option<PoolName> {
        self.parsed(field, text, "pool name", PoolName::RULE, PoolName::parse)
    }

    fn session(&mut self, field: &str, text: &str) -> Option<SessionName> {
        self.parsed(field, text, "session name", SessionName::RULE, SessionName::parse)
    }

    fn parsed<T>(
        &mut self,
        field: &str,
        text: &str,
        what: &str,
        rule: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(text);
        if text.is_empty() {
            self.fault(field, format!("is required: a {what} of {rule}"));
            return None;
        }
        if parsed.is_none() {
            self.fault(field, format!("{} is not a {what}; write {rule}", quote(text)));
        }
        parsed
    }

    /// A lease id. Whatever it is, it may be somebody's secret, so it is not repeated.
    fn lease(&mut self, field: &str, text: &str) -> Option<LeaseId> {
        let id = (text.len() <= LeaseId::MAX_LEN).then(|| LeaseId::parse(text)).flatten();
        if id.is_none() {
            self.fault(field, "is not a lease id; send the one that Acquire returned, unchanged");
        }
        id
    }

    fn selector(&mut self, field: &str, text: &str) -> Selector {
        Selector::parse(text).unwrap_or_else(|fault| {
            self.fault(field, limited(&fault, 200));
            Selector::default()
        })
    }

    /// A span of whole milliseconds, at most so long.
    fn span(&mut self, field: &str, duration: Option<&Duration>, most: Span) -> Option<Span> {
        let duration = duration?;
        match whole_millis(duration) {
            Ok(span) if span <= most => Some(span),
            Ok(span) => {
                self.fault(field, format!("is {span}; it may be at most {most}"));
                None
            }
            Err(fault) => {
                self.fault(field, fault);
                None
            }
        }
    }

    fn at_most(&mut self, field: impl Into<String>, text: &str, most: usize) {
        if text.len() > most {
            self.fault(field, format!("is {} bytes long; it may be at most {most}", text.len()));
        }
    }

    /// The number of an enum of the contract.
    fn number<T: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<T> {
        let value = T::try_from(number).ok();
        if value.is_none() {
            self.fault(field, format!("{number} is not a value that the contract knows"));
        }
        value
    }

    /// A path of a mask that names nothing which can be changed.
    fn mask(&mut self, path: &str, fields: &str) {
        let path = quote(path);
        self.fault("update_mask", format!("{path} cannot be changed; name some of {fields}"));
    }

    fn page_size(&mut self, size: i32) -> usize {
        match usize::try_from(size) {
            Ok(0) => PAGE,
            Ok(size) if size <= MAX_PAGE => size,
            _ => {
                self.fault("page_size", format!("is {size}; it may be from 0 to {MAX_PAGE}"));
                PAGE
            }
        }
    }

    fn page_token<T>(&mut self, token: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if token.is_empty() {
            return None;
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
        let name = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let after = name.and_then(|name| parse(&name));
        if after.is_none() {
            self.fault("page_token", "is not a page token; send the last next_page_token, or none");
        }
        after
    }
}

/// Where the next page begins: after this name.
pub(super) fn page_token(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

fn whole_millis(duration: &Duration) -> Result<Span, String> {
    let (secs, nanos) = (u64::try_from(duration.seconds), u32::try_from(duration.nanos));
    match (secs, nanos) {
        (Ok(secs), Ok(nanos)) if nanos < 1_000_000_000 => {
            if nanos % 1_000_000 != 0 {
                return Err("has parts finer than a millisecond; round it".to_owned());
            }
            let millis =
                secs.checked_mul(1000).and_then(|ms| ms.checked_add(u64::from(nanos) / 1_000_000));
            millis.map(Span).ok_or_else(|| "is longer than any clock".to_owned())
        }
        (Ok(_), Ok(_)) => Err("has a second or more in its nanos".to_owned()),
        _ => Err("is negative; it may be zero or more".to_owned()),
    }
}

/// A caller's own text, in quotes and cut where it is long.
fn quote(text: &str) -> String {
    format!("'{}'", limited(&text.escape_debug().to_string(), MAX_QUOTE))
}

fn limited(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
