//! What the scripts keep and pack, as the rules know it.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IntoDeserializer as _};

use super::{argument::METHOD, reply::broken};
use crate::{
    pool::{
        CoolDown, Effect, EndCause, Ended, Escalation, Event, Fingerprint, Growth, Holder,
        Invalidation, KeyId, Labels, Lease, LeaseSecret, Priority, RequestTag, Selector,
        SessionName, SessionRecord, SessionState, Standing, Suspicion, Time, WaiterView,
        verdict::{Capability, Scope},
    },
    store::Result,
};

/// What few sessions have, as `lua/standing.lua` keeps it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KeptTrouble {
    invalid: Option<Invalidation>,
    suspect: Option<Suspicion>,
    cool_downs: Vec<KeptCoolDown>,
    floods: BTreeMap<String, Time>,
    growth: Vec<KeptGrowth>,
}

/// A cool-down or a brake. The subject stands there only where the key does not tell it.
#[derive(Deserialize)]
struct KeptCoolDown {
    key: String,
    subject: Option<String>,
    ends: Time,
    rule: String,
    cause: String,
}

#[derive(Deserialize)]
struct KeptGrowth {
    rule: String,
    times: u32,
    ends: Time,
}

/// What a report did, as `lua/effect.lua` tells it.
#[derive(Deserialize)]
struct KeptEffect {
    ends: Option<Time>,
    #[serde(default)]
    fired: Vec<String>,
    state: String,
    account: Option<String>,
    breach: Option<Vec<Holder>>,
}

/// A session: its labels, which stand with how it stands, and what else is known of it: a head in
/// text (`lua/add.lua`), a zero byte, and its secret parts.
pub(super) fn record(name: SessionName, labels: &str, known: &[u8]) -> Result<SessionRecord> {
    let malformed = || broken("a malformed session");
    let end = known.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
    let head = std::str::from_utf8(&known[..end]).map_err(|_| malformed())?;
    let mut words = head.split(' ');
    let mut word = || words.next().ok_or_else(malformed);
    let created_at = word()?.parse().map_err(|_| malformed())?;
    let (_claim, fingerprint) = (word()?, word()?);
    let account_id = word().ok().map(str::parse).transpose().map_err(|_| malformed())?;
    let mut secret_parts = Row::of(&known[end + 1..]);
    Ok(SessionRecord {
        name,
        labels: labels_of(labels).ok_or_else(malformed)?,
        fingerprint: Fingerprint::new(fingerprint),
        account_id,
        credential: secret_parts.next()?,
        proxy: secret_parts.next()?,
        device: secret_parts.next()?,
        created_at: Time(created_at),
    })
}

/// Labels, as `lua/standing.lua` keeps them.
fn labels_of(lines: &str) -> Option<Labels> {
    let label =
        |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    lines.split('\n').filter(|line| !line.is_empty()).map(label).collect()
}

/// How a session stands: a row, as `lua/standing.lua` packs it.
pub(super) fn standing(packed: &[u8]) -> Result<Standing> {
    Ok(labelled(packed)?.1)
}

/// The same, and the session's labels before it.
pub(super) fn labelled(packed: &[u8]) -> Result<(&str, Standing)> {
    let mut row = Row::of(packed);
    let labels = row.next::<Option<&str>>()?.unwrap_or_default();
    let (epoch, last_used, rest_until) = (row.next()?, row.next()?, row.next()?);
    let trouble: KeptTrouble = row.next::<Option<_>>()?.unwrap_or_default();
    let ended = row.ended()?;
    let lease = row.lease(epoch)?;
    let standing = Standing {
        epoch,
        last_used,
        lease,
        rest_until,
        invalid: trouble.invalid,
        ended,
        cool_downs: sorted(trouble.cool_downs)?,
        suspect: trouble.suspect,
        floods: trouble.floods.into_iter().collect(),
        growth: trouble.growth.into_iter().map(KeptGrowth::into_growth).collect(),
    };
    Ok((labels, standing))
}

/// Values that were packed one behind the other.
struct Row<'a>(rmp_serde::Deserializer<rmp_serde::decode::ReadRefReader<'a, [u8]>>);

impl<'a> Row<'a> {
    fn of(packed: &'a [u8]) -> Self {
        Self(rmp_serde::Deserializer::from_read_ref(packed))
    }

    fn next<T: Deserialize<'a>>(&mut self) -> Result<T> {
        // The decoder's own words could quote what must stay secret.
        T::deserialize(&mut self.0).map_err(|_| broken("a record that does not decode"))
    }

    /// How the last lease that ended did, if one has: a row in the row.
    fn ended(&mut self) -> Result<Option<Ended>> {
        let Some(packed) = self.next::<Option<&[u8]>>()? else { return Ok(None) };
        let mut row = Row::of(packed);
        Ok(Some(Ended {
            secret: secret(row.next()?)?,
            epoch: row.next()?,
            cause: row.next()?,
            at: row.next()?,
            holder: row.next()?,
            detail: row.next::<Option<_>>()?.unwrap_or_default(),
        }))
    }

    /// The lease, if it is leased.
    fn lease(&mut self, epoch: u64) -> Result<Option<Lease>> {
        let Some(hex) = self.next()? else { return Ok(None) };
        let secret = secret(hex)?;
        let holder = Holder { key: self.next()?, purpose: self.next()? };
        let (id, digest): (Option<_>, Option<_>) = (self.next()?, self.next()?);
        Ok(Some(Lease {
            secret,
            epoch,
            holder,
            request: id.zip(digest).map(|(id, digest)| RequestTag { id, digest }),
            granted_at: self.next()?,
            expires_at: self.next()?,
            max_expires_at: self.next()?,
            ttl: self.next()?,
            deliveries: self.next()?,
            renewals: self.next::<Option<_>>()?.unwrap_or_default(),
        }))
    }
}

/// Something that was done: a row, as `lua/settle.lua` packs it.
pub(super) fn event(packed: &[u8]) -> Result<Event> {
    let mut row = Row::of(packed);
    Ok(Event {
        number: row.next()?,
        at: row.next()?,
        verb: row.next()?,
        by: row.next()?,
        detail: row.next()?,
    })
}

/// A brake.
pub(super) fn brake(packed: &[u8]) -> Result<CoolDown> {
    unpack::<KeptCoolDown>(packed)?.into_cool_down()
}

/// A waiter, as `lua/queue.lua` keeps it.
#[derive(Deserialize)]
struct KeptWaiter {
    key: KeyId,
    purpose: String,
    selector: String,
    session: Option<String>,
    class: u8,
    seq: u64,
    since: Time,
    deadline: Time,
}

/// A waiter as people see it.
pub(super) fn waiter(packed: &[u8], position: u32, at: Time) -> Result<WaiterView> {
    let kept: KeptWaiter = unpack(packed)?;
    let malformed = || broken("a malformed waiter");
    let session = kept.session.map(|name| SessionName::parse(&name).ok_or_else(malformed));
    Ok(WaiterView {
        seq: kept.seq,
        position,
        holder: Holder { key: kept.key, purpose: kept.purpose },
        waited: at.since(kept.since),
        remaining: kept.deadline.since(at),
        selector: Selector::parse(&kept.selector).map_err(|_| malformed())?,
        session: session.transpose()?,
        priority: match kept.class {
            0 => Priority::High,
            1 => Priority::Normal,
            2 => Priority::Low,
            _ => return Err(malformed()),
        },
    })
}

/// What a report did at a moment.
pub(super) fn effect(packed: &[u8], at: Time) -> Result<Effect> {
    let kept: KeptEffect = unpack(packed)?;
    let escalation = |id: &String| {
        let found = Escalation::ALL.into_iter().find(|escalation| escalation.id() == id);
        found.ok_or_else(|| broken("an unknown escalation"))
    };
    let account = |text: String| text.parse().map_err(|_| broken("a malformed account"));
    Ok(Effect {
        until: kept.ends,
        escalations: kept.fired.iter().map(escalation).collect::<Result<_>>()?,
        state: state(&kept.state)?,
        at,
        account: kept.account.map(account).transpose()?,
        breach: kept.breach,
    })
}

/// The scripts keep cool-downs as they come; Lua does not sort by bytes.
fn sorted(kept: Vec<KeptCoolDown>) -> Result<Vec<CoolDown>> {
    let mut kept = kept;
    kept.sort_by(|one, other| one.key.cmp(&other.key));
    kept.into_iter().map(KeptCoolDown::into_cool_down).collect()
}

impl KeptCoolDown {
    fn into_cool_down(self) -> Result<CoolDown> {
        let Self { key, subject, ends, rule, cause } = self;
        let scope = scope(&key, subject).ok_or_else(|| broken("an unknown scope"))?;
        Ok(CoolDown { scope, until: ends, rule, cause })
    }
}

/// The scope of a key.
fn scope(key: &str, subject: Option<String>) -> Option<Scope> {
    if let Some(method) = key.strip_prefix(METHOD) {
        return Some(Scope::Method(subject.unwrap_or_else(|| method.to_owned())));
    }
    match key.split_once(':') {
        None if key == Scope::Session.key() => Some(Scope::Session),
        None if key == Scope::Egress.key() => Some(Scope::Egress),
        Some(("peer", peer)) => Some(Scope::Peer(peer.to_owned())),
        Some(("capability", name)) => Capability::parse(name).map(Scope::Capability),
        _ => None,
    }
}

impl KeptGrowth {
    fn into_growth(self) -> Growth {
        Growth { rule: self.rule, times: self.times, until: self.ends }
    }
}

/// How a lease ended, by its name.
pub(super) fn end_cause(name: &str) -> Result<EndCause> {
    let name: serde::de::value::StrDeserializer<serde::de::value::Error> = name.into_deserializer();
    EndCause::deserialize(name).map_err(|_| broken("an unknown end of a lease"))
}

/// The state of that name.
pub(super) fn state(name: &str) -> Result<SessionState> {
    Ok(match name {
        "Ready" => SessionState::Ready,
        "Leased" => SessionState::Leased,
        "Resting" => SessionState::Resting,
        "FloodWait" => SessionState::FloodWait,
        "Suspect" => SessionState::Suspect,
        "Invalid" => SessionState::Invalid,
        _ => return Err(broken("an unknown state")),
    })
}

fn secret(hex: &str) -> Result<LeaseSecret> {
    LeaseSecret::from_hex(hex).ok_or_else(|| broken("a malformed lease"))
}

/// What a script or the broker itself packed.
pub(super) fn unpack<'a, T: Deserialize<'a>>(packed: &'a [u8]) -> Result<T> {
    // The decoder's own words could quote what must stay secret.
    rmp_serde::from_slice(packed).map_err(|_| broken("a record that does not decode"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_that_is_kept_reads_back_from_its_key() {
        let capabilities = Capability::all().map(Scope::Capability);
        let others = [Scope::Session, Scope::Egress, Scope::Peer("-100:7".to_owned())];
        for kept in capabilities.chain(others) {
            assert_eq!(scope(&kept.key(), None), Some(kept));
        }
        let method = Scope::Method("messages.GetHistoryRequest".to_owned());
        assert_eq!(scope(&method.key(), Some(method.subject().to_owned())), Some(method));
        for unknown in ["request", "capability:flying", "", "sessions"] {
            assert_eq!(scope(unknown, None), None, "{unknown}");
        }
    }
}
