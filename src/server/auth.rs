//! Who calls, and which method needs which role.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, header::AUTHORIZATION};

use super::{Error, status::Fault};
use crate::{
    clock::Clock,
    keys::{self, ALL_POOLS, Entry, Hash, KeyFile, Role},
    pool::{KeyId, PoolName, Time},
};

/// How often the key file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Principal {
    /// The id of the key.
    pub(super) key: KeyId,
    roles: Vec<Role>,
    pools: Pools,
}

/// The pools that a key may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pools {
    /// All of them.
    All,
    /// These, whether or not they exist.
    Named(BTreeSet<PoolName>),
}

impl Pools {
    fn are_within(&self, others: &Self) -> bool {
        match (self, others) {
            (_, Self::All) => true,
            (Self::All, Self::Named(_)) => false,
            (Self::Named(names), Self::Named(others)) => names.is_subset(others),
        }
    }
}

impl Principal {
    /// Everybody, when there are no keys.
    fn anonymous() -> Self {
        Self { key: KeyId::new("anonymous"), roles: vec![Role::Admin], pools: Pools::All }
    }

    fn of(entry: &Entry) -> Self {
        let pools = if entry.pools.iter().any(|pool| pool == ALL_POOLS) {
            Pools::All
        } else {
            Pools::Named(entry.pools.iter().filter_map(|pool| PoolName::parse(pool)).collect())
        };
        Self { key: entry.key_id(), roles: entry.roles.clone(), pools }
    }

    /// Whether the key has a role.
    pub(super) fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Refuses unless the key has one of the roles. The refusal names the first.
    pub(super) fn need(&self, roles: &[Role]) -> Result<(), Fault> {
        if roles.iter().any(|role| self.is(*role)) {
            return Ok(());
        }
        let role = roles.first().copied().unwrap_or(Role::Admin);
        Err(Fault::RoleMissing { key: self.key.clone(), role })
    }

    /// Whether the key may use a pool.
    pub(super) fn may_use(&self, pool: &PoolName) -> bool {
        match &self.pools {
            Pools::All => true,
            Pools::Named(names) => names.contains(pool),
        }
    }

    /// The pools that the key may use.
    pub(super) fn pools(&self) -> &Pools {
        &self.pools
    }
}

/// The keys that are known now.
#[derive(Debug)]
pub(super) enum Keys {
    /// None: everybody is an admin.
    Open(Arc<Principal>),
    /// Those of a file.
    File {
        /// The file.
        path: PathBuf,
        /// What it said when it was last in order.
        ring: RwLock<Ring>,
        /// By which keys expire.
        clock: Clock,
    },
}

impl Keys {
    /// Reads the key file, if there is one.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::Open(Arc::new(Principal::anonymous()))) };
        let file = KeyFile::load(&path)?;
        if file.entries().is_empty() {
            return Err(Error::NoKeys(path));
        }
        let ring = RwLock::new(Ring::new(file, &HashMap::new()));
        Ok(Self::File { path, ring, clock: Clock::system() })
    }

    /// Tells who calls.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Fault> {
        match self {
            Self::Open(anonymous) => Ok(anonymous.clone()),
            Self::File { ring, clock, .. } => {
                let key = presented(headers).ok_or(Fault::KeyMissing)?;
                let ring = ring.read().unwrap_or_else(PoisonError::into_inner);
                ring.find(key, clock.now()).ok_or(Fault::KeyInvalid)
            }
        }
    }

    /// Whether a key that was let in is still what it was: a stream outlives changes of the file.
    pub(super) fn still_admit(&self, principal: &Principal) -> bool {
        match self {
            Self::Open(_) => true,
            Self::File { ring, clock, .. } => {
                let ring = ring.read().unwrap_or_else(PoisonError::into_inner);
                ring.admits(principal, clock.now())
            }
        }
    }

    /// The keys that there are and that a caller may see, by id: those that may use no pool which
    /// it may not. With each, when it was used last, as far as this broker has seen.
    pub(super) fn seen_by(&self, caller: &Principal) -> Vec<(Entry, Option<Time>)> {
        let Self::File { ring, .. } = self else { return Vec::new() };
        let ring = ring.read().unwrap_or_else(PoisonError::into_inner);
        let mut seen: Vec<_> = ring
            .file
            .entries()
            .iter()
            .filter(|entry| Principal::of(entry).pools.are_within(&caller.pools))
            .map(|entry| (entry.clone(), ring.last_use(entry)))
            .collect();
        seen.sort_by(|(one, _), (other, _)| one.id.cmp(&other.id));
        seen
    }

    /// Takes changes of the file up, for ever. A file that is broken or gone keeps the old keys:
    /// a slip in an editor must not lock everybody out.
    pub(super) async fn follow(&self) {
        let Self::File { path, ring, .. } = self else { return };
        let mut seen = None;
        let mut tick = tokio::time::interval(POLL);
        loop {
            tick.tick().await;
            let now = Some(tokio::fs::read(path).await.ok());
            if now == seen {
                continue;
            }
            match KeyFile::load(path) {
                Ok(file) => {
                    let mut ring = ring.write().unwrap_or_else(PoisonError::into_inner);
                    if ring.file != file {
                        tracing::info!(keys = file.entries().len(), "keys re-read");
                        *ring = Ring::new(file, &ring.uses);
                    }
                }
                Err(error) => tracing::error!(%error, "keys not re-read; the old ones stay"),
            }
            seen = now;
        }
    }
}

impl From<keys::Error> for Error {
    fn from(error: keys::Error) -> Self {
        Self::Keys(error)
    }
}

/// Keys by the first half of their hashes. The half finds; the whole, compared in constant time,
/// decides.
#[derive(Debug)]
pub(super) struct Ring {
    file: KeyFile,
    index: HashMap<[u8; 16], Known>,
    uses: Uses,
}

/// When each key was used last, by its id; zero for not yet.
type Uses = HashMap<String, Arc<AtomicU64>>;

/// A key, as it is asked for in every call.
#[derive(Debug)]
struct Known {
    hash: Hash,
    principal: Arc<Principal>,
    expires: Option<Time>,
    used: Arc<AtomicU64>,
}

impl Known {
    /// Whether it has expired.
    fn is_over(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

impl Ring {
    /// The keys of a file; what is known of their use goes on.
    fn new(file: KeyFile, before: &Uses) -> Self {
        let (mut index, mut uses) = (HashMap::new(), HashMap::new());
        for entry in file.entries() {
            let last = before.get(&entry.id).cloned().unwrap_or_default();
            uses.insert(entry.id.clone(), last.clone());
            let principal = Arc::new(Principal::of(entry));
            let known = Known { hash: entry.hash, principal, expires: entry.expires, used: last };
            index.insert(entry.hash.prefix(), known);
        }
        Self { file, index, uses }
    }

    fn find(&self, key: &str, now: Time) -> Option<Arc<Principal>> {
        let hash = Hash::of(key);
        let known = self.index.get(&hash.prefix())?;
        if known.hash != hash || known.is_over(now) {
            return None;
        }
        known.used.store(now.0, Ordering::Relaxed);
        Some(known.principal.clone())
    }

    fn admits(&self, principal: &Principal, now: Time) -> bool {
        let is_it = |known: &Known| *known.principal == *principal && !known.is_over(now);
        self.index.values().any(is_it)
    }

    fn last_use(&self, entry: &Entry) -> Option<Time> {
        let used = self.uses.get(&entry.id)?.load(Ordering::Relaxed);
        (used > 0).then_some(Time(used))
    }
}

/// The key that the call carries, if any.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let bearer = || {
        let (scheme, key) = text(AUTHORIZATION.as_str())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key)
    };
    text("x-api-key").or_else(bearer).map(str::trim).filter(|key| !key.is_empty())
}

/// The roles of which a method needs one, the least first; nothing when there is no such method.
pub(super) fn roles_for(path: &str) -> Option<&'static [Role]> {
    use Role::{Admin, Observer, Worker};
    if let Some(method) = path.strip_prefix("/telegate.v1.SessionPool/") {
        return match method {
            "Acquire" | "Renew" | "KeepAlive" | "Release" | "Report" | "Invalidate" => {
                Some(&[Worker, Admin])
            }
            "GetPoolStatus" | "WatchPool" => Some(&[Observer, Worker, Admin]),
            _ => None,
        };
    }
    match path.strip_prefix("/telegate.v1.SessionAdmin/")? {
        "GetPool" | "ListPools" | "GetSession" | "ListSessions" | "ListSessionEvents"
        | "ListLeases" | "ListWaiters" | "Explain" => Some(&[Observer, Admin]),
        "CreatePool" | "UpdatePool" | "DeletePool" | "PausePool" | "ResumePool" | "DrainPool"
        | "AddSession" | "ImportSessions" | "SyncSessions" | "UpdateSession" | "RemoveSession"
        | "RestoreSession" | "ResealSessions" | "ClearCoolDown" | "RevokeLeases" | "ListKeys" => {
            Some(&[Admin])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_method_of_the_contract_needs_a_role() {
        let files = prost_types::FileDescriptorSet::decode(crate::proto::DESCRIPTORS).unwrap();
        let mut methods = 0;
        for service in files.file.iter().flat_map(|file| &file.service) {
            for method in &service.method {
                let path = format!("/telegate.v1.{}/{}", service.name(), method.name());
                let roles = roles_for(&path).unwrap_or_else(|| panic!("{path} is not listed"));
                assert_eq!(roles.last(), Some(&Role::Admin), "{path}: admins may do everything");
                methods += 1;
            }
        }
        assert_eq!(methods, 32);
        assert_eq!(roles_for("/telegate.v1.SessionPool/Steal"), None);
    }

    #[test]
    fn the_key_is_taken_from_either_header() {
        let find = |pairs: &[(&'static str, &'static str)]| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), http::HeaderValue::from_static(value)))
                .collect();
            presented(&headers).map(str::to_owned)
        };
        assert_eq!(find(&[("x-api-key", "tg_a")]).as_deref(), Some("tg_a"));
        assert_eq!(find(&[("authorization", "bearer tg_a")]).as_deref(), Some("tg_a"));
        assert_eq!(find(&[("authorization", "Basic tg_a")]), None);
        assert_eq!(find(&[("x-api-key", " ")]), None);
        assert_eq!(find(&[]), None);
    }
}
