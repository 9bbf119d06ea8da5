//! How a history thinks of its next deed, so that it meets what was done before.

use std::collections::BTreeMap;

use telegate::pool::{
    Ask, Assessment, Credential, Edit, Enqueued, Fingerprint, InvalidReason, Invalidation, LeaseId,
    LeaseMark, Mark, NewSession, Policy, PolicyChange, PoolMode, PoolName, Progress, RequestTag,
    Revocation, Selector, SessionChange, SessionName, Span, Target, Ticket, Time,
};

use super::{
    deeds::{Deed, Outcome},
    dice::Dice,
    mishaps,
    queue::Queue,
};
use crate::harness::stage::{holder, key, labelled, lease_id, name, pool_name, secret};

/// The pools that exist; a third is asked for and never there.
pub(super) const POOLS: [&str; 2] = ["p", "q"];
/// How many names of sessions a small history has. Few, so that they meet again.
pub(super) const FEW: u64 = 5;
/// How many a crowded one has: more than one call settles.
const CROWD: u64 = 150;
/// Few accounts, so that they meet.
const ACCOUNTS: [i64; 3] = [1, -1, 1_000_000_000_000];
/// How many leases are remembered to be renewed, released, forged.
const REMEMBERED: usize = 24;

/// Thinks of deeds.
#[derive(Debug)]
pub(super) struct Imagination {
    dice: Dice,
    /// Deeds that were thought of together, the last one first.
    planned: Vec<Deed>,
    sessions: u64,
    secrets: u64,
    leases: Vec<LeaseId>,
    asked: Option<(PoolName, Ask, Time)>,
    /// What the leases of a rush end with, and those that have not ended yet.
    rush: Option<(Assessment, Vec<LeaseId>)>,
    queue: Queue,
    /// Whether little goes wrong, so that more is handed over.
    is_calm: bool,
    last: Option<Deed>,
}

impl Imagination {
    /// A history of its own: its pools, its policies, its crowd.
    pub(super) fn new(mut dice: Dice) -> Self {
        let (crowded, is_calm) = (dice.once_in(6), dice.once_in(3));
        let sessions = if crowded { CROWD } else { FEW };
        let mut planned = Vec::new();
        for number in 0..if crowded { CROWD } else { 0 } {
            planned.push(Deed::Add(pool_name("p"), new_session(&mut dice, number)));
        }
        for pool in POOLS {
            planned.push(Deed::CreatePool(pool_name(pool), policy(&mut dice)));
        }
        let (leases, asked, rush, last) = (Vec::new(), None, None, None);
        let queue = Queue::default();
        Self { dice, planned, sessions, secrets: 0, leases, asked, rush, queue, is_calm, last }
    }

    /// The next deed.
    pub(super) fn next(&mut self, now: Time) -> Deed {
        if let Some(deed) = self.planned.pop() {
            return deed;
        }
        if let Some((error, rushed)) = &mut self.rush {
            if let Some(lease) = rushed.pop() {
                return Deed::Release(lease, "ann", Span::ZERO, Some(error.clone()));
            }
            self.rush = None;
            return self.rush_is_over();
        }
        if self.sessions == CROWD && self.dice.once_in(40) {
            self.plan_a_rush();
        }
        if self.dice.once_in(300) {
            let lease = self.lease();
            let met = mishaps::slow_modes(&mut self.dice);
            self.planned = met.into_iter().map(|e| Deed::Report(lease.clone(), "ann", e)).collect();
        }
        // A lost reply: the caller cannot know, and says the same once more.
        if self.dice.once_in(12)
            && let Some(
                again @ (Deed::Renew(..)
                | Deed::Release(..)
                | Deed::Report(..)
                | Deed::Surrender(..)),
            ) = &self.last
        {
            return again.clone();
        }
        if self.is_calm && !self.dice.once_in(4) {
            return self.calm(now);
        }
        if self.dice.once_in(4) {
            return self.mishap(now);
        }
        if self.dice.once_in(3) {
            return self.wait(now);
        }
        match self.dice.below(100) {
            0..=31 => self.acquire(now),
            32..=51 => Deed::Tick(self.pause()),
            52..=63 => {
                let rest = *self.dice.pick(&[0, 0, 1, 10_000]);
                let error = self.dice.once_in(3).then(|| mishaps::error(&mut self.dice, now));
                Deed::Release(self.lease(), self.key(), Span(rest), error)
            }
            64..=68 => Deed::Renew(self.lease(), self.key(), ttl(&mut self.dice)),
            69..=71 => self.keep(),
            72..=75 => Deed::Undo(self.lease(), *self.dice.pick(&[1, 1, 2, 3])),
            76..=77 => Deed::Surrender(self.lease(), self.why()),
            78..=79 => Deed::Invalidate(self.pool(), self.session(), self.why()),
            80..=83 => Deed::Restore(self.pool(), self.session()),
            84..=88 => {
                let number = self.dice.below(self.sessions);
                Deed::Add(self.pool(), new_session(&mut self.dice, number))
            }
            89..=90 => Deed::Remove(self.pool(), self.session()),
            91 if self.dice.once_in(2) => Deed::RevokeLeases(self.pool(), self.revocation(now)),
            91 if self.dice.once_in(3) => {
                let before = self.dice.once_in(2).then(|| self.dice.below(60));
                let session = (!self.dice.once_in(3)).then(|| self.session());
                Deed::History(self.pool(), session, before, *self.dice.pick(&[0, 1, 100]))
            }
            91 => Deed::Get(self.pool(), self.session()),
            92 => {
                let (read, new) = (*self.dice.pick(&[0, 0, 1, 2]), *self.dice.pick(&[0, 1, 2]));
                Deed::Reseal(self.pool(), self.session(), read, new)
            }
            93 => Deed::Status(self.pool()),
            94 => Deed::UpdateSession(self.pool(), self.session(), edits(&mut self.dice)),
            95 if self.dice.once_in(2) => {
                let mark = LeaseMark {
                    expires_at: now + Span(*self.dice.pick(&[0, 1, 5_000, 10_000])),
                    session: self.session(),
                };
                let after = self.dice.once_in(2).then_some(mark);
                Deed::ListLeases(self.pool(), after, *self.dice.pick(&[0, 1, 2, 300]))
            }
            95 => {
                let after = self.dice.once_in(2).then(|| self.session());
                Deed::List(self.pool(), after, *self.dice.pick(&[0, 1, 2, 3]))
            }
            96..=98 => {
                // Mostly active: else little happens.
                let active = PoolMode::Active;
                let modes = [active, active, active, PoolMode::Paused, PoolMode::Draining];
                Deed::SetMode(self.pool(), *self.dice.pick(&modes))
            }
            _ if self.dice.once_in(4) => Deed::Reopen(self.queue.all_leave()),
            _ if self.dice.once_in(2) => Deed::UpdatePool(self.pool(), change(&mut self.dice)),
            _ if self.dice.once_in(3) => self.delete(),
            _ => Deed::CreatePool(self.pool_to_make(), policy(&mut self.dice)),
        }
    }

    /// Takes in what came of a deed, and who was handed something by it.
    pub(super) fn remember(&mut self, deed: &Deed, outcome: &Outcome, handed: &[Ticket]) {
        let granted = match (deed, outcome) {
            (Deed::Acquire(pool, _), Outcome::Granted(Ok(grant))) => Some((pool, grant)),
            (Deed::Enqueue(pool, ..), Outcome::Enqueued(Ok(Enqueued::Granted(grant)))) => {
                Some((pool, &**grant))
            }
            _ => None,
        };
        if let Some((pool, grant)) = granted {
            if self.leases.len() == REMEMBERED {
                self.leases.remove(0);
            }
            self.leases.push(lease_id(pool, grant));
            if let Some((_, rushed)) = &mut self.rush {
                rushed.push(lease_id(pool, grant));
            }
        }
        self.queue.remember(deed, outcome, handed);
        self.last = Some(deed.clone());
    }

    /// What happens while little goes wrong: sessions come back, and those who wait get them.
    fn calm(&mut self, now: Time) -> Deed {
        match self.dice.below(12) {
            0..=4 => self.wait(now),
            5..=7 => match self.leases.pop() {
                // Mostly by its holder.
                Some(lease) => Deed::Release(lease, self.key(), Span::ZERO, None),
                None => self.acquire(now),
            },
            8 => Deed::Tick(Span(*self.dice.pick(&[0, 1, 250, 1_999, 2_000, 5_000]))),
            9 => Deed::Restore(self.pool(), self.session()),
            10 => {
                let number = self.dice.below(self.sessions);
                Deed::Add(self.pool(), new_session(&mut self.dice, number))
            }
            _ => Deed::SetMode(self.pool(), PoolMode::Active),
        }
    }

    /// What has to do with waiting.
    fn wait(&mut self, now: Time) -> Deed {
        if let Some(deed) = self.queue.next(&mut self.dice) {
            return deed;
        }
        match self.dice.below(20) {
            0..=13 => {
                let Deed::Acquire(pool, ask) = self.acquire(now) else { unreachable!() };
                let patience = self.queue.patience(&mut self.dice, &ask);
                Deed::Enqueue(pool, ask, patience)
            }
            14..=15 => Deed::Tend(self.pool()),
            _ => {
                let (after, most) = (*self.dice.pick(&[0, 0, 1, 3]), *self.dice.pick(&[1, 3, 100]));
                Deed::ListWaiters(self.pool(), after, most)
            }
        }
    }

    fn acquire(&mut self, now: Time) -> Deed {
        if self.dice.once_in(6)
            && let Some((pool, ask, since)) = self.asked.clone()
        {
            // The reply of the store was lost, and the broker asks once more.
            let retried_for = Some(now.since(since));
            return Deed::Acquire(pool, Ask { retried_for, ..ask });
        }
        self.secrets += 1;
        let selectors = ["c=1", "c in (1,2)", "c!=1", "c notin (1,2)", "c", "!c", "c=1,d", "c=4"];
        let selector = if self.dice.once_in(3) { *self.dice.pick(&selectors) } else { "" };
        let tag = |dice: &mut Dice| RequestTag {
            id: (*dice.pick(&["r1", "r2", "r3"])).to_owned(),
            digest: (*dice.pick(&["same", "same", "same", "other"])).to_owned(),
        };
        let ask = Ask {
            holder: holder(self.key()),
            ttl: ttl(&mut self.dice),
            selector: self::selector(selector),
            session: self.dice.once_in(8).then(|| self.session()),
            methods: mishaps::methods(&mut self.dice),
            peer: mishaps::peer(&mut self.dice),
            probe: self.dice.once_in(6),
            request: self.dice.once_in(3).then(|| tag(&mut self.dice)),
            secret: secret(self.secrets),
            // Rarely it is the first message that was lost, not its reply.
            retried_for: self.dice.once_in(20).then_some(Span(200)),
        };
        let pool = self.pool();
        self.asked = Some((pool.clone(), ask.clone(), now));
        Deed::Acquire(pool, ask)
    }

    /// What has to do with errors.
    fn mishap(&mut self, now: Time) -> Deed {
        match self.dice.below(20) {
            0..=9 => Deed::Report(self.lease(), self.key(), mishaps::error(&mut self.dice, now)),
            10..=14 => {
                let Deed::Acquire(pool, ask) = self.acquire(now) else { unreachable!() };
                Deed::Explain(pool, ask)
            }
            15..=16 => {
                let account = *self.dice.pick(&ACCOUNTS);
                let error = mishaps::error(&mut self.dice, now);
                Deed::Afflict(self.pool(), account, self.key(), error)
            }
            _ => {
                let session = (!self.dice.once_in(4)).then(|| self.session());
                Deed::ClearCoolDown(self.pool(), session, mishaps::scope(&mut self.dice))
            }
        }
    }

    /// Many leases at once, some of them twice.
    fn keep(&mut self) -> Deed {
        let leases: Vec<_> = (0..self.dice.below(6)).map(|_| self.lease()).collect();
        match self.dice.below(4) {
            0 | 1 => Deed::RenewAll(leases, self.key(), ttl(&mut self.dice)),
            2 => Deed::InspectAll(leases, self.key()),
            _ => {
                let mark = |lease| {
                    let renewals = *self.dice.pick(&[0, 0, 1, 2]);
                    (lease, Mark { renewals, deliveries: *self.dice.pick(&[1, 1, 1, 2]) })
                };
                Deed::AbandonAll(leases.into_iter().map(mark).collect(), self.key())
            }
        }
    }

    /// All the crowd is leased, and its leases end together: by expiry, or over the same error.
    fn plan_a_rush(&mut self) {
        if self.dice.once_in(3) {
            self.rush = Some((mishaps::flood(&mut self.dice), Vec::new()));
        } else {
            // Somebody asks at once, while more is due than one call settles.
            let next = self.acquire(Time::default());
            let over = self.rush_is_over();
            self.planned.extend([next, over]);
        }
        // Now and then with as many behind it, so that more is handed over than one call does.
        let also_waits = self.dice.once_in(3);
        for number in 0..if also_waits { 2 * CROWD } else { CROWD } {
            self.secrets += 1;
            let ask = Ask {
                holder: holder("ann"),
                ttl: Some(Span::secs(10)),
                selector: Selector::default(),
                session: None,
                methods: Vec::new(),
                peer: None,
                probe: false,
                request: None,
                secret: secret(self.secrets),
                retried_for: None,
            };
            // The last that is planned comes first.
            self.planned.push(if also_waits && number < CROWD {
                let patience = self.queue.patience(&mut self.dice, &ask);
                Deed::Enqueue(pool_name("p"), ask, patience)
            } else {
                Deed::Acquire(pool_name("p"), ask)
            });
        }
        self.planned.push(Deed::SetMode(pool_name("p"), PoolMode::Active));
    }

    /// So much time that much is due at once.
    fn rush_is_over(&mut self) -> Deed {
        Deed::Tick(Span::secs(*self.dice.pick(&[10, 15, 30, 31, 60, 3_600, 86_400])))
    }

    /// A pool is deleted, mostly after all its sessions were tried to be removed, and made again.
    fn delete(&mut self) -> Deed {
        let pool = self.pool_to_make();
        self.planned.push(Deed::CreatePool(pool.clone(), policy(&mut self.dice)));
        if !self.dice.once_in(3) {
            self.planned.push(Deed::DeletePool(pool.clone()));
            for number in 0..self.sessions {
                self.planned.push(Deed::Remove(pool.clone(), name(&format!("s{number}"))));
            }
            self.planned.push(Deed::Tick(Span::hours(24)));
        }
        Deed::DeletePool(pool)
    }

    /// How long nothing happens: mostly until something is just about to, or just did.
    fn pause(&mut self) -> Span {
        Span(*self.dice.pick(&[
            0, 0, 1, 1, 1, 250, 4_999, 5_000, 5_001, 9_999, 10_000, 19_999, 20_000, 29_999, 30_000,
            59_999, 60_000, 3_600_000, 86_400_000,
        ]))
    }

    fn pool(&mut self) -> PoolName {
        pool_name(self.dice.pick::<&str>(&["p", "p", "p", "p", "p", "p", "q", "q", "q", "nowhere"]))
    }

    fn pool_to_make(&mut self) -> PoolName {
        pool_name(self.dice.pick::<&str>(&POOLS))
    }

    fn session(&mut self) -> SessionName {
        if self.dice.once_in(30) {
            return name("nobody");
        }
        name(&format!("s{}", self.dice.below(self.sessions)))
    }

    fn key(&mut self) -> &'static str {
        self.dice.pick::<&str>(&["ann", "ann", "ann", "bob"])
    }

    fn why(&mut self) -> Invalidation {
        let reason = *self.dice.pick(&[InvalidReason::Banned, InvalidReason::Operator]);
        let detail = (*self.dice.pick(&["", "first", "ä \"quoted\"\n"])).to_owned();
        Invalidation { reason, detail, by: key(self.key()), at: Time(self.dice.below(9)) }
    }

    fn revocation(&mut self, now: Time) -> Revocation {
        let target = match self.dice.below(4) {
            0 => Target::Session(self.session()),
            1 => Target::Lease(self.lease()),
            2 => Target::Key(key(self.key())),
            _ => Target::Selector(selector(self.dice.pick::<&str>(&["c=1", "!d"]))),
        };
        let detail = (*self.dice.pick(&["", "moved"])).to_owned();
        let after = LeaseMark { expires_at: now + Span::secs(10), session: self.session() };
        let since = Time(now.0 - self.dice.below(2));
        let from = self.dice.once_in(4).then_some(Progress { since, after });
        Revocation { target, detail, by: key(self.key()), from }
    }

    /// A lease that was granted, mostly a young one; sometimes one with a wrong part.
    fn lease(&mut self) -> LeaseId {
        let lease = match self.leases.last() {
            None => {
                let (pool, session) = (pool_name("p"), name("s0"));
                LeaseId { pool, session, secret: secret(u64::MAX) }
            }
            Some(young) if self.dice.once_in(2) => young.clone(),
            Some(_) => self.dice.pick(&self.leases).clone(),
        };
        match self.dice.below(20) {
            0 => LeaseId { secret: secret(u64::MAX), ..lease },
            1 => LeaseId { session: self.session(), ..lease },
            2 => LeaseId { pool: self.pool(), ..lease },
            _ => lease,
        }
    }
}

fn ttl(dice: &mut Dice) -> Option<Span> {
    let wishes = [None, Some(1), Some(5_000), Some(10_000), Some(30_000), Some(7_200_000)];
    dice.pick(&wishes).map(Span)
}

fn policy(dice: &mut Dice) -> Policy {
    let policy = Policy {
        default_ttl: Span::secs(*dice.pick(&[10, 20, 60])),
        max_ttl: Span::secs(60),
        max_lifetime: Span::secs(*dice.pick(&[60, 70, 86_400])),
        rest: Span(*dice.pick(&[0, 0, 1, 10_000])),
        drain: Span(*dice.pick(&[0, 5_000, 30_000])),
        max_waiters: *dice.pick(&[3, 1000]),
        escalation: mishaps::escalations(dice),
        ..Policy::default()
    };
    assert_eq!(policy.faults(), []);
    policy
}

/// A change of policy, rarely one that may not be.
fn change(dice: &mut Dice) -> PolicyChange {
    PolicyChange {
        default_ttl: dice.once_in(2).then(|| Span::secs(*dice.pick(&[10, 20, 60, 61]))),
        max_ttl: dice.once_in(4).then(|| Span::secs(*dice.pick(&[30, 60, 90]))),
        rest: dice.once_in(2).then(|| Span(*dice.pick(&[0, 1, 10_000]))),
        drain: dice.once_in(2).then(|| Span(*dice.pick(&[0, 5_000, 30_000]))),
        ..PolicyChange::default()
    }
}

/// A change of what is known of a session.
fn edits(dice: &mut Dice) -> SessionChange {
    let secret = |dice: &mut Dice| match dice.below(3) {
        0 => Edit::Keep,
        1 => Edit::Clear,
        _ => Edit::Set(Credential(vec![0, 200, 7])),
    };
    let mut edits = BTreeMap::new();
    if dice.once_in(2) {
        let value = dice.pick(&[None, Some("1"), Some("2")]).map(str::to_owned);
        edits.insert((*dice.pick(&["c", "d"])).to_owned(), value);
    }
    SessionChange {
        labels: dice.once_in(4).then(|| labelled("x", &[("c", "3")]).labels),
        edits,
        proxy: secret(dice),
        device: secret(dice),
        account_id: match dice.below(4) {
            0 => Edit::Set(*dice.pick(&ACCOUNTS)),
            1 => Edit::Clear,
            _ => Edit::Keep,
        },
        fingerprint: dice.once_in(4).then(|| Fingerprint::new("fp-s1")),
    }
}

/// A session whose credential may be another's already.
fn new_session(dice: &mut Dice, number: u64) -> NewSession {
    let mut labels = Vec::new();
    if !dice.once_in(3) {
        labels.push(("c", *dice.pick(&["1", "2", "3"])));
    }
    if dice.once_in(3) {
        labels.push(("d", ""));
    }
    // Few of a crowd, or an account's trouble would take all of it out.
    let account_id = (number < FEW && dice.once_in(2)).then(|| *dice.pick(&ACCOUNTS));
    let session = NewSession { account_id, ..labelled(&format!("s{number}"), &labels) };
    if dice.once_in(3) {
        let fingerprint = Fingerprint::new(&format!("fp-s{}", dice.below(FEW)));
        return NewSession { fingerprint, ..session };
    }
    session
}

fn selector(text: &str) -> Selector {
    Selector::parse(text).expect("a selector")
}
