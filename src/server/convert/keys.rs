//! API keys, as operators see them.

use super::{Check, reply::timestamp};
use crate::{
    keys::{Entry, Role},
    pool::Time,
    proto::v1,
    server::status::Fault,
};

/// Checks a `ListKeys`: after which id to go on, and how many.
pub(in crate::server) fn list_keys(
    request: &v1::ListKeysRequest,
) -> Result<(Option<String>, usize), Fault> {
    let mut check = Check::default();
    let size = check.page_size(request.page_size);
    let after = check.page_token(&request.page_token, |id| Some(id.to_owned()));
    check.end(Some((after, size)))
}

/// A key, and when it was used last.
pub(in crate::server) fn api_key(entry: &Entry, used: Option<Time>) -> v1::ApiKey {
    let role = |role: &Role| match role {
        Role::Worker => v1::KeyRole::Worker,
        Role::Observer => v1::KeyRole::Observer,
        Role::Admin => v1::KeyRole::Admin,
    };
    v1::ApiKey {
        id: entry.id.clone(),
        name: entry.name.clone(),
        roles: entry.roles.iter().map(|one| role(one).into()).collect(),
        pools: entry.pools.clone(),
        create_time: Time::parse(&entry.created).map(timestamp),
        expire_time: entry.expires.map(timestamp),
        last_used_time: used.map(timestamp),
    }
}
