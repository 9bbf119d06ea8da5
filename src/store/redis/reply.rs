//! What the scripts answer: `{tag, field, ...}` becomes an answer or a refusal. Any other shape is
//! a broken store.

use redis::Value;
use sha1::{Digest as _, Sha1};

use super::{
    argument::hex,
    kept::{self, unpack},
};
use crate::{
    pool::{
        Ask, Effect, Enqueued, Event, Fingerprint, FloodSlot, Grant, Lease, LeaseMark, Lent,
        NextRelease, Place, PoolCounts, PoolName, PoolRecord, PoolStatus, PoolView, Progress,
        Queue, Refusal, ReleaseCause, Revoked, SessionName, SessionRecord, SessionState,
        SessionView, Span, Standing, Time, WaiterView, floods_of,
    },
    store::{Error, Result},
};

/// What a script answered.
#[derive(Debug)]
pub(super) struct Reply {
    tag: String,
    fields: std::vec::IntoIter<Value>,
}

/// What a call was about: the facts of a refusal that the script need not repeat.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) pool: &'a PoolName,
    pub(super) session: Option<&'a SessionName>,
    pub(super) ask: Option<&'a Ask>,
    /// The states that would do.
    pub(super) wanted: &'static [SessionState],
}

impl<'a> About<'a> {
    pub(super) const fn pool(pool: &'a PoolName) -> Self {
        Self { pool, session: None, ask: None, wanted: &[] }
    }

    pub(super) const fn session(pool: &'a PoolName, session: &'a SessionName) -> Self {
        Self { session: Some(session), ..Self::pool(pool) }
    }

    fn named(&self) -> Result<SessionName> {
        self.session.cloned().ok_or_else(|| broken("a session where none was named"))
    }

    fn asked(&self) -> Result<&'a Ask> {
        self.ask.ok_or_else(|| broken("an ask where there was none"))
    }
}

impl Reply {
    pub(super) fn read(value: Value) -> Result<Self> {
        let Value::Array(fields) = value else { return Err(broken("not a list")) };
        let mut fields = fields.into_iter();
        let tag = text(fields.next())?;
        Ok(Self { tag, fields })
    }

    /// Whether it is the answer of that name.
    pub(super) fn is(&self, tag: &str) -> bool {
        self.tag == tag
    }

    /// The answer of that name, or the refusal that came instead.
    pub(super) fn expect(self, tag: &str, about: About) -> Result<Self> {
        if self.is(tag) { Ok(self) } else { Err(self.refusal(about)) }
    }

    /// `{pool, now, record, counts, after, cause, who waits, floods, brake, ...}`
    pub(super) fn pool_view(self, about: About) -> Result<PoolView> {
        let mut fields = self.expect("pool", about)?;
        let at = fields.time()?;
        let record: PoolRecord = unpack(&fields.bytes()?)?;
        let counts = fields.counts()?;
        let next = fields.next_release()?;
        let queue = fields.queue()?;
        let floods = floods_of(fields.floods()?, at);
        let status = PoolStatus::derive(record.mode, counts, next, queue, at);
        let mut brakes = Vec::new();
        while fields.fields.len() > 0 {
            brakes.push(kept::brake(&fields.bytes()?)?);
        }
        brakes.retain(|brake| brake.until > at);
        brakes.sort_by_key(|brake| brake.scope.key());
        Ok(PoolView { record, status, brakes, floods })
    }

    /// `{session, now, its name, what is known of it, how it stands}`
    pub(super) fn session_view(self, about: About) -> Result<SessionView> {
        let mut fields = self.expect("session", about)?;
        let at = fields.time()?;
        fields.shown_session(at)
    }

    /// The same, as the bytes of what is known of it and as what they say.
    pub(super) fn kept_session(self, about: About) -> Result<(Vec<u8>, SessionRecord)> {
        let mut fields = self.expect("session", about)?;
        fields.time()?;
        let (known, record, _) = fields.session()?;
        Ok((known, record))
    }

    /// `{sessions, now, name of the first, what is known of it, how it stands, ...}`
    pub(super) fn session_views(self, about: About) -> Result<Vec<SessionView>> {
        let mut fields = self.expect("sessions", about)?;
        let at = fields.time()?;
        let mut views = Vec::with_capacity(fields.fields.len() / 3);
        while fields.fields.len() > 0 {
            views.push(fields.shown_session(at)?);
        }
        Ok(views)
    }

    /// `{granted, now, 1 if an earlier call had it, session, what is known of it, how it stands}`
    pub(super) fn grant(self, about: About) -> Result<Grant> {
        let mut fields = self.expect("granted", about)?;
        let at = fields.time()?;
        let replayed = fields.flag()?;
        let view = fields.shown_session(at)?;
        let cool_downs = view.standing.running(at);
        let lease = view.standing.lease.ok_or_else(|| broken("a grant without a lease"))?;
        Ok(Grant { lease, record: view.record, cool_downs, replayed, at })
    }

    /// As [`Reply::grant`], or `{waiting, now, position, how many wait, due in or -1}`
    pub(super) fn enqueued(mut self, about: About) -> Result<Enqueued> {
        if !self.is("waiting") {
            return Ok(Enqueued::Granted(Box::new(self.grant(about)?)));
        }
        let _at = self.time()?;
        let (position, waiters) = (self.count()?, self.count()?);
        Ok(Enqueued::Waiting(Place { position, waiters, next_due: self.span()? }))
    }

    /// `{tended, due in or -1}`
    pub(super) fn due(self, about: About) -> Result<Option<Span>> {
        self.expect("tended", about)?.span()
    }

    /// `{waiters, now, position of the first, the first, ...}`
    pub(super) fn waiters(self, about: About) -> Result<Vec<WaiterView>> {
        let mut fields = self.expect("waiters", about)?;
        let at = fields.time()?;
        let mut views = Vec::with_capacity(fields.fields.len() / 2);
        while fields.fields.len() > 0 {
            let position = fields.count()?;
            views.push(kept::waiter(&fields.bytes()?, position, at)?);
        }
        Ok(views)
    }

    /// `{lease, how the session stands}`
    pub(super) fn lease(self, about: About) -> Result<Lease> {
        let mut fields = self.expect("lease", about)?;
        kept::standing(&fields.bytes()?)?.lease.ok_or_else(|| broken("no lease where one was kept"))
    }

    /// `{explained, session}`
    pub(super) fn chosen(self, about: About) -> Result<SessionName> {
        self.expect("explained", about)?.session_name()
    }

    /// What is left of an answer: `now, what a report did`, or nothing.
    pub(super) fn effect(&mut self) -> Result<Option<Effect>> {
        if self.fields.len() == 0 {
            return Ok(None);
        }
        let at = self.time()?;
        kept::effect(&self.bytes()?, at).map(Some)
    }

    /// `{each, answer, ...}`
    pub(super) fn each(self, about: About) -> Result<Vec<Self>> {
        self.expect("each", about)?.fields.map(Self::read).collect()
    }

    /// `{leases, session of the first, how it stands, ...}`
    pub(super) fn leases(self, about: About) -> Result<Vec<Lent>> {
        self.expect("leases", about)?.lent()
    }

    /// `{revoked, since, expiry of the last or -1, its session, session of the first, how it
    /// stood, ...}`
    pub(super) fn revoked(self, about: About) -> Result<Revoked> {
        let mut fields = self.expect("revoked", about)?;
        let since = fields.time()?;
        let last = fields.fields.next();
        let session = SessionName::parse(&fields.text()?);
        let next = match session {
            None => None,
            Some(session) => {
                let expires_at = Time(number(last.as_ref())?);
                Some(Progress { since, after: LeaseMark { expires_at, session } })
            }
        };
        Ok(Revoked { ended: fields.lent()?, next })
    }

    /// `session, how it stands, ...`
    fn lent(&mut self) -> Result<Vec<Lent>> {
        let mut found = Vec::with_capacity(self.fields.len() / 2);
        while self.fields.len() > 0 {
            let session = self.session_name()?;
            let lease = kept::standing(&self.bytes()?)?.lease;
            let lease = lease.ok_or_else(|| broken("no lease where one was kept"))?;
            found.push(Lent { session, lease });
        }
        Ok(found)
    }

    /// `{events, event, ...}`
    pub(super) fn events(self, about: About) -> Result<Vec<Event>> {
        self.expect("events", about)?.fields.map(|row| kept::event(&bytes(Some(row))?)).collect()
    }

    /// `{names, name, ...}`
    pub(super) fn pool_names(self) -> Result<Vec<PoolName>> {
        let name = |value| {
            PoolName::parse(&text(Some(value))?).ok_or_else(|| broken("a malformed pool name"))
        };
        if !self.is("names") {
            return Err(broken("no names where some were asked for"));
        }
        self.fields.map(name).collect()
    }

    /// `{stale, record}`: the record of a pool, and the digest by which it is known.
    pub(super) fn told_pool(&mut self) -> Result<(PoolRecord, String)> {
        let packed = self.bytes()?;
        Ok((unpack(&packed)?, hex(&Sha1::digest(&packed))))
    }

    /// `{stale, its labels, what is known of it}`: the record of a session, and the digest by which
    /// it is known.
    pub(super) fn told_session(&mut self, name: &SessionName) -> Result<(SessionRecord, String)> {
        let (labels, known) = (self.text()?, self.bytes()?);
        let record = kept::record(name.clone(), &labels, &known)?;
        Ok((record, hex(&Sha1::digest([labels.as_bytes(), &known].concat()))))
    }

    /// The refusal that this is.
    pub(super) fn refusal(mut self, about: About) -> Error {
        match self.as_refusal(about) {
            Ok(refusal) => refusal.into(),
            Err(error) => error,
        }
    }

    fn as_refusal(&mut self, about: About) -> Result<Refusal> {
        let pool = about.pool.clone();
        Ok(match self.tag.as_str() {
            "pool_not_found" => Refusal::PoolNotFound { pool },
            "pool_exists" => Refusal::PoolExists { pool },
            "pool_not_empty" => {
                let total = u32::try_from(self.number()?);
                let total = total.map_err(|_| broken("a count beyond all bounds"))?;
                Refusal::PoolNotEmpty { pool, total }
            }
            "pool_empty" => Refusal::PoolEmpty { pool },
            "pool_paused" => Refusal::PoolPaused { pool },
            "wait_queue_full" => {
                let (waiters, most) = (self.count()?, self.count()?);
                let (counts, next, queue) = self.busy()?;
                Refusal::WaitQueueFull { pool, waiters, most, counts, next, queue }
            }
            "pool_draining" => Refusal::PoolDraining { pool },
            "pool_busy" => {
                let (counts, next, queue) = self.busy()?;
                Refusal::PoolBusy { pool, counts, next, queue }
            }
            "pool_flood_wait" => {
                let (counts, next, queue) = self.busy()?;
                Refusal::PoolFloodWait { pool, counts, next, queue }
            }
            "pool_depleted" => Refusal::PoolDepleted { pool, counts: self.counts()? },
            "no_matching_session" => {
                let selector = about.asked()?.selector.clone();
                Refusal::NoMatchingSession { pool, selector, counts: self.counts()? }
            }
            "session_not_found" => Refusal::SessionNotFound { pool, session: about.named()? },
            "session_exists" => Refusal::SessionExists { pool, session: about.named()? },
            "request_id_reused" => {
                let tag = about.asked()?.request.as_ref();
                let request_id =
                    tag.ok_or_else(|| broken("a request id where none was"))?.id.clone();
                Refusal::RequestIdReused { pool, request_id }
            }
            "lease_not_found" => Refusal::LeaseNotFound,
            "lease_lost" => Refusal::LeaseLost {
                pool,
                session: about.named()?,
                cause: kept::end_cause(&self.text()?)?,
                epoch: self.number()?,
                at: self.time()?,
                detail: self.text()?,
            },
            "not_holder" => Refusal::NotHolder { pool, session: about.named()? },
            "inappropriate_state" => Refusal::InappropriateState {
                pool,
                session: about.named()?,
                state: kept::state(&self.text()?)?,
                wanted: about.wanted,
            },
            "recovering" => {
                let why = "it has lost leases that it had acknowledged; they must be over first";
                return Err(Error::Recovering(why.to_owned()));
            }
            _ => return Err(broken("an unknown tag")),
        })
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        number(self.fields.next().as_ref())
    }

    pub(super) fn time(&mut self) -> Result<Time> {
        self.number().map(Time)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        text(self.fields.next())
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        self.number().map(|number| number == 1)
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        bytes(self.fields.next())
    }

    /// `{total, free, leased, resting, flood_wait, suspect, invalid}`
    fn counts(&mut self) -> Result<PoolCounts> {
        let Some(Value::Array(counts)) = self.fields.next() else {
            return Err(broken("no counts"));
        };
        let mut counts = counts.into_iter();
        let mut count = || {
            u32::try_from(number(counts.next().as_ref())?)
                .map_err(|_| broken("a count beyond all bounds"))
        };
        Ok(PoolCounts {
            total: count()?,
            free: count()?,
            leased: count()?,
            resting: count()?,
            flood_wait: count()?,
            suspect: count()?,
            invalid: count()?,
        })
    }

    /// `after, cause`
    fn next_release(&mut self) -> Result<Option<NextRelease>> {
        let after = self.fields.next();
        let cause = match self.text()?.as_str() {
            "" => return Ok(None),
            "lease" => ReleaseCause::Lease,
            "rest" => ReleaseCause::Rest,
            "cool_down" => ReleaseCause::CoolDown,
            _ => return Err(broken("an unknown cause of release")),
        };
        Ok(Some(NextRelease { after: Span(number(after.as_ref())?), cause }))
    }

    /// `counts, after, cause` and who waits.
    fn busy(&mut self) -> Result<(PoolCounts, NextRelease, Queue)> {
        let counts = self.counts()?;
        let next = self.next_release()?.ok_or_else(|| broken("busy without an end"))?;
        Ok((counts, next, self.queue()?))
    }

    /// `how many wait, for how long the first or -1, in what time one is served or -1`
    fn queue(&mut self) -> Result<Queue> {
        Ok(Queue { waiters: self.count()?, oldest_wait: self.span()?, pace: self.span()? })
    }

    /// `{the floods of five minutes, ...}`
    fn floods(&mut self) -> Result<Vec<FloodSlot>> {
        let Some(Value::Array(slots)) = self.fields.next() else {
            return Err(broken("no floods"));
        };
        slots.into_iter().map(|slot| unpack(&bytes(Some(slot))?)).collect()
    }

    /// A span, or none where it is -1.
    fn span(&mut self) -> Result<Option<Span>> {
        match self.fields.next() {
            Some(Value::Int(-1)) => Ok(None),
            other => Ok(Some(Span(number(other.as_ref())?))),
        }
    }

    fn count(&mut self) -> Result<u32> {
        u32::try_from(self.number()?).map_err(|_| broken("a count beyond all bounds"))
    }

    fn shown_session(&mut self, at: Time) -> Result<SessionView> {
        let (_, record, standing) = self.session()?;
        Ok(SessionView { record, standing, at })
    }

    /// `name, what is known of it, how it stands`, the second as it is, too.
    fn session(&mut self) -> Result<(Vec<u8>, SessionRecord, Standing)> {
        let (name, known, packed) = (self.session_name()?, self.bytes()?, self.bytes()?);
        let (labels, standing) = kept::labelled(&packed)?;
        let record = kept::record(name, labels, &known)?;
        Ok((known, record, standing))
    }

    fn session_name(&mut self) -> Result<SessionName> {
        SessionName::parse(&self.text()?).ok_or_else(|| broken("a malformed session name"))
    }
}

/// Which session a claim on a fingerprint names: `pool/session`.
pub(super) fn claimant(text: &str) -> Result<(PoolName, SessionName)> {
    let (pool, session) = text.split_once('/').unwrap_or_default();
    let names = PoolName::parse(pool).zip(SessionName::parse(session));
    names.ok_or_else(|| broken("a malformed claim"))
}

/// That a fingerprint is another session's.
pub(super) fn credential_exists(
    (pool, session): (PoolName, SessionName),
    fingerprint: &Fingerprint,
) -> Error {
    Refusal::CredentialExists { pool, session, fingerprint: fingerprint.clone() }.into()
}

fn number(value: Option<&Value>) -> Result<u64> {
    match value {
        Some(Value::Int(number)) => u64::try_from(*number).map_err(|_| broken("a negative number")),
        _ => Err(broken("no number where one belongs")),
    }
}

fn bytes(value: Option<Value>) -> Result<Vec<u8>> {
    match value {
        Some(Value::BulkString(bytes)) => Ok(bytes),
        _ => Err(broken("no bytes where they belong")),
    }
}

fn text(value: Option<Value>) -> Result<String> {
    String::from_utf8(bytes(value)?).map_err(|_| broken("no text where it belongs"))
}

/// An answer of another shape than the scripts give.
pub(super) fn broken(what: &str) -> Error {
    Error::Broken(format!("Redis answered {what}"))
}

#[cfg(test)]
mod tests;
