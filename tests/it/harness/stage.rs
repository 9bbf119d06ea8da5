//! A store on a stage: one engine, a clock that the case moves, and the verbs in short.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use telegate::{
    clock::Clock,
    pool::{
        Ask, Credential, Fingerprint, Grant, Holder, InvalidReason, Invalidation, KeyId, Labels,
        Lease, LeaseId, LeaseSecret, NewSession, Policy, PoolMode, PoolName, PoolStatus, PoolView,
        Refusal, ReleaseOutcome, RequestTag, Selector, SessionName, SessionState, SessionView,
        Span, Standing, Time,
    },
    store::{self, Error, Store},
};

use super::place::Place;

/// The pool that a case uses unless it says otherwise.
pub(crate) const POOL: &str = "p";
/// The key that a case uses unless it says otherwise.
pub(crate) const ANN: &str = "ann";
/// When every stage begins.
pub(crate) const BEGINNING: Time = Time(1_750_000_000_000);

/// The engines that the law binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// The bare rules, which the engines are compared with.
    Rulebook,
    /// One file of this machine.
    Embedded,
    /// A real Redis.
    Redis,
    /// A real Redis, and a broker that lets no call take the short way.
    Ruled,
}

/// A store, its clock, and what is needed to open it again.
pub(crate) struct Stage {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    place: Place,
    now: AtomicU64,
    secrets: AtomicU64,
}

impl Stage {
    /// An empty store. `None` when the machine lacks what the engine needs.
    pub(crate) async fn open(engine: Engine) -> Option<Self> {
        let place = Place::of(engine, Clock::manual(BEGINNING))?;
        place.set_clock(BEGINNING);
        let store = place.connect().await;
        let now = AtomicU64::new(BEGINNING.0);
        Some(Self { store, place, now, secrets: AtomicU64::new(1) })
    }

    /// Opens the store again, as a restart of the broker does, by turns after it was killed and
    /// after it ended in peace. The bare rules stay as they are.
    pub(crate) async fn reopen(&mut self) {
        if self.place.end(&*self.store).await {
            self.store = self.place.connect().await;
        }
    }

    /// What time it is on this stage.
    pub(crate) fn now(&self) -> Time {
        Time(self.now.load(Ordering::Relaxed))
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, span: Span) {
        let now = self.now.fetch_add(span.0, Ordering::Relaxed) + span.0;
        self.place.set_clock(Time(now));
    }

    /// A secret that no grant of this stage has.
    pub(crate) fn fresh_secret(&self) -> LeaseSecret {
        secret(self.secrets.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes the case's pool.
    pub(crate) async fn pool(&self, policy: Policy) -> PoolView {
        self.pool_named(POOL, policy).await.expect("the pool is new")
    }

    /// Makes a pool.
    pub(crate) async fn pool_named(&self, name: &str, policy: Policy) -> Answer<PoolView> {
        lawful(self.store.create_pool(&pool_name(name), policy, &super::mandate()).await)
    }

    /// Adds plain sessions to the case's pool.
    pub(crate) async fn sessions(&self, names: &[&str]) {
        for name in names {
            self.add(session(name)).await.expect("the session is new");
        }
    }

    /// Makes the case's pool with the default policy and plain sessions.
    pub(crate) async fn pool_of(&self, names: &[&str]) {
        self.pool(Policy::default()).await;
        self.sessions(names).await;
    }

    /// Adds a session to the case's pool.
    pub(crate) async fn add(&self, session: NewSession) -> Answer<SessionView> {
        lawful(self.store.add(&pool_name(POOL), session).await)
    }

    /// Removes a session of the case's pool.
    pub(crate) async fn remove(&self, session: &str) -> Answer<()> {
        lawful(self.store.remove(&pool_name(POOL), &name(session), &super::mandate()).await)
    }

    /// Acquires.
    pub(crate) async fn acquire(&self, want: Want) -> Answer<Grant> {
        let pool = pool_name(want.pool);
        let ask = want.ask(|| self.fresh_secret());
        lawful(self.store.acquire(&pool, ask).await)
    }

    /// Acquires, and names the lease.
    pub(crate) async fn lend(&self, want: Want) -> LeaseId {
        let pool = pool_name(want.pool);
        lease_id(&pool, &self.acquire(want).await.expect("a session is free"))
    }

    /// Acquires whatever is next, and tells the session.
    pub(crate) async fn next(&self) -> String {
        self.lend(want()).await.session.to_string()
    }

    /// Acquires until nothing that would do is free, and tells the sessions in their order.
    pub(crate) async fn all_that(&self, want: &Want) -> Vec<String> {
        let mut names = Vec::new();
        while let Ok(grant) = self.acquire(want.clone()).await {
            names.push(grant.record.name.to_string());
        }
        names
    }

    /// Takes a grant back.
    pub(crate) async fn undo(&self, lease: &LeaseId, delivery: u32) -> bool {
        self.store.undo(lease, delivery).await.expect("an undo is never refused")
    }

    /// Renews by the default TTL.
    pub(crate) async fn renew(&self, lease: &LeaseId) -> Answer<Lease> {
        lawful(self.store.renew(lease, &key(ANN), None).await)
    }

    /// Renews by a TTL.
    pub(crate) async fn renew_for(&self, lease: &LeaseId, ttl: Span) -> Answer<Lease> {
        lawful(self.store.renew(lease, &key(ANN), Some(ttl)).await)
    }

    /// Renews with somebody's key.
    pub(crate) async fn renew_as(&self, lease: &LeaseId, by: &str) -> Answer<Lease> {
        lawful(self.store.renew(lease, &key(by), None).await)
    }

    /// Gives back.
    pub(crate) async fn release(&self, lease: &LeaseId) -> Answer<ReleaseOutcome> {
        self.release_to_rest(lease, Span::ZERO).await
    }

    /// Gives back with a rest.
    pub(crate) async fn release_to_rest(
        &self,
        lease: &LeaseId,
        rest: Span,
    ) -> Answer<ReleaseOutcome> {
        lawful(self.store.release(lease, &key(ANN), rest, None).await).map(|(outcome, _)| outcome)
    }

    /// Gives back with somebody's key.
    pub(crate) async fn release_as(&self, lease: &LeaseId, by: &str) -> Answer<ReleaseOutcome> {
        let released = self.store.release(lease, &key(by), Span::ZERO, None).await;
        lawful(released).map(|(outcome, _)| outcome)
    }

    /// Takes a lease's session out of the pool.
    pub(crate) async fn surrender(
        &self,
        lease: &LeaseId,
        why: Invalidation,
    ) -> Answer<SessionView> {
        lawful(self.store.surrender(lease, why).await)
    }

    /// Takes a session out of the case's pool by name.
    pub(crate) async fn invalidate(&self, session: &str, why: Invalidation) -> Answer<SessionView> {
        lawful(self.store.invalidate(&pool_name(POOL), &name(session), why).await)
    }

    /// Brings a session back.
    pub(crate) async fn restore(&self, session: &str) -> Answer<SessionView> {
        lawful(self.store.restore(&pool_name(POOL), &name(session), &super::mandate()).await)
    }

    /// Pauses, drains or resumes the case's pool.
    pub(crate) async fn set_mode(&self, mode: PoolMode) -> PoolView {
        lawful(self.store.set_mode(&pool_name(POOL), mode, &super::mandate()).await).expect("it is")
    }

    /// How the case's pool stands.
    pub(crate) async fn status(&self) -> PoolStatus {
        lawful(self.store.status(&pool_name(POOL)).await).expect("the pool is there")
    }

    /// A session of the case's pool.
    pub(crate) async fn get(&self, session: &str) -> Answer<SessionView> {
        lawful(self.store.get_session(&pool_name(POOL), &name(session)).await)
    }

    /// How a session stands.
    pub(crate) async fn standing(&self, session: &str) -> Standing {
        self.get(session).await.expect("the session is there").standing
    }

    /// The state of a session now.
    pub(crate) async fn state(&self, session: &str) -> SessionState {
        let view = self.get(session).await.expect("the session is there");
        assert_eq!(view.at, self.now(), "a view tells the moment of the store's clock");
        view.standing.state(view.at)
    }
}

/// What a verb answers when the world is whole.
pub(crate) type Answer<T> = Result<T, Refusal>;

/// The lawful answer. A broken world fails the test.
pub(crate) fn lawful<T>(answer: store::Result<T>) -> Answer<T> {
    answer.map_err(|error| match error {
        Error::Refused(refusal) => *refusal,
        broken => panic!("the store broke: {broken}"),
    })
}

/// What an Acquire asks for, in short.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pool: &'static str,
    key: &'static str,
    ttl: Option<Span>,
    selector: &'static str,
    session: Option<&'static str>,
    methods: Vec<&'static str>,
    peer: Option<&'static str>,
    probe: bool,
    request: Option<(&'static str, &'static str)>,
    again: Option<(LeaseSecret, Span)>,
}

/// Any session of the case's pool, for Ann.
pub(crate) fn want() -> Want {
    Want {
        pool: POOL,
        key: ANN,
        ttl: None,
        selector: "",
        session: None,
        methods: Vec::new(),
        peer: None,
        probe: false,
        request: None,
        again: None,
    }
}

impl Want {
    /// From another pool.
    pub(crate) fn from(self, pool: &'static str) -> Self {
        Self { pool, ..self }
    }

    /// For another key.
    pub(crate) fn by(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// With a TTL.
    pub(crate) fn ttl(self, ttl: Span) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// One that a selector matches.
    pub(crate) fn matching(self, selector: &'static str) -> Self {
        Self { selector, ..self }
    }

    /// Only this one.
    pub(crate) fn named(self, session: &'static str) -> Self {
        Self { session: Some(session), ..self }
    }

    /// For calling a method.
    pub(crate) fn calling(mut self, method: &'static str) -> Self {
        self.methods.push(method);
        self
    }

    /// About a chat or user.
    pub(crate) fn about(self, peer: &'static str) -> Self {
        Self { peer: Some(peer), ..self }
    }

    /// To find out whether a suspect one is alive.
    pub(crate) fn probing(self) -> Self {
        Self { probe: true, ..self }
    }

    /// Safe to repeat.
    pub(crate) fn request(self, id: &'static str) -> Self {
        Self { request: Some((id, "digest")), ..self }
    }

    /// The same request id with other parameters.
    pub(crate) fn digest(self, digest: &'static str) -> Self {
        Self { request: self.request.map(|(id, _)| (id, digest)), ..self }
    }

    /// Repeated by the broker itself with this secret, for so long.
    pub(crate) fn retried(self, secret: LeaseSecret, since: Span) -> Self {
        Self { again: Some((secret, since)), ..self }
    }

    /// In full.
    pub(crate) fn ask(self, fresh: impl FnOnce() -> LeaseSecret) -> Ask {
        let tag = |(id, digest): (&str, &str)| RequestTag { id: id.into(), digest: digest.into() };
        Ask {
            holder: holder(self.key),
            ttl: self.ttl,
            selector: Selector::parse(self.selector).expect("the case's selector is right"),
            session: self.session.map(name),
            methods: self.methods.into_iter().map(str::to_owned).collect(),
            peer: self.peer.map(str::to_owned),
            probe: self.probe,
            request: self.request.map(tag),
            secret: self.again.map_or_else(fresh, |(secret, _)| secret),
            retried_for: self.again.map(|(_, since)| since),
        }
    }
}

/// A holder.
pub(crate) fn holder(by: &str) -> Holder {
    Holder { key: key(by), purpose: format!("{by}'s work") }
}

/// A session to add, its credential named after it.
pub(crate) fn session(name: &str) -> NewSession {
    labelled(name, &[])
}

/// A session to add, with labels.
pub(crate) fn labelled(session: &str, labels: &[(&str, &str)]) -> NewSession {
    NewSession {
        name: name(session),
        labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Labels>(),
        fingerprint: Fingerprint::new(&format!("fp-{session}")),
        account_id: None,
        proxy: None,
        device: None,
        credential: Credential(format!("secret of {session}").into_bytes()),
        by: key("op"),
    }
}

/// A reason to take a session out. `at` is the store's to say.
pub(crate) fn why(by: &str, detail: &str) -> Invalidation {
    let (reason, by, at) = (InvalidReason::Operator, key(by), Time::default());
    Invalidation { reason, detail: detail.into(), by, at }
}

/// A secret that is made up from a number.
pub(crate) fn secret(number: u64) -> LeaseSecret {
    LeaseSecret::new(u128::from(number).to_be_bytes())
}

/// The name of a granted lease.
pub(crate) fn lease_id(pool: &PoolName, grant: &Grant) -> LeaseId {
    let (session, secret) = (grant.record.name.clone(), grant.lease.secret);
    LeaseId { pool: pool.clone(), session, secret }
}

/// A pool's name.
pub(crate) fn pool_name(name: &str) -> PoolName {
    PoolName::parse(name).expect("a pool name")
}

/// A session's name.
pub(crate) fn name(name: &str) -> SessionName {
    SessionName::parse(name).expect("a session name")
}

/// A key's id.
pub(crate) fn key(id: &str) -> KeyId {
    KeyId::new(id)
}

/// Lease ids that are almost right.
pub(crate) trait LeaseIdExt {
    /// The same place, another secret.
    fn with(&self, secret: LeaseSecret) -> Self;
    /// The same secret, another session.
    fn of_session(&self, session: &str) -> Self;
    /// The same session and secret, another pool.
    fn of_pool(&self, pool: &str) -> Self;
}

impl LeaseIdExt for LeaseId {
    fn with(&self, secret: LeaseSecret) -> Self {
        Self { secret, ..self.clone() }
    }

    fn of_session(&self, session: &str) -> Self {
        Self { session: name(session), ..self.clone() }
    }

    fn of_pool(&self, pool: &str) -> Self {
        Self { pool: pool_name(pool), ..self.clone() }
    }
}
