//! A simulated day: workers share two hundred sessions, Telegram floods them, and an onlooker who
//! keeps a ledger of his own sees that no session is lent inside a cool-down, that no cool-down
//! shrinks, and that a refusal names the true soonest time.
//!
//! `TELEGATE_SEED=<seed>` plays that day again.

mod ledger;
mod telegram;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use telegate::pool::{
    Effect, Escalation, Escalations, LeaseId, NewSession, Policy, Refusal, ReleaseCause,
    ReleaseOutcome, SessionState, Span, Time,
};

use self::{
    ledger::{Ledger, scopes},
    telegram::{Telegram, Trouble},
};
use crate::{
    harness::{
        stage::{BEGINNING, Engine, POOL, Stage, lawful, pool_name, session, want},
        trouble::of_account,
    },
    model::dice::{Dice, first_seed},
};

/// How many sessions there are; every tenth shares its account with the one before.
const SESSIONS: usize = 200;
/// How many workers there are. The first only probes.
const WORKERS: usize = 20;
/// How long the day is.
const DAY: Span = Span::hours(24);
/// How long a session rests whose holder vanished.
const DRAIN: Span = Span::secs(30);
/// How often an operator restores what is out or suspect, and the broker is restarted.
const SHIFT: Span = Span::hours(5);
/// The chats that are written to.
const CHATS: [&str; 4] = ["chat 1", "chat 2", "chat 3", "chat 4"];
/// What workers call, the more often the more often it stands here.
const JOBS: [&[&str]; 8] = [
    &["messages.search"],
    &["messages.search"],
    &["messages.search", "messages.getHistory", "channels.getFullChannel"],
    &["messages.search", "messages.getHistory", "channels.getFullChannel"],
    &["contacts.resolveUsername"],
    &["messages.sendMessage"],
    &["upload.getFile"],
    PROBE,
];
/// What a probe calls.
const PROBE: &[&str] = &["messages.getHistory"];

#[tokio::test]
async fn no_session_is_lent_inside_a_cool_down_in_the_embedded_store() {
    Day::play(Engine::Embedded).await;
}

#[tokio::test]
async fn no_session_is_lent_inside_a_cool_down_in_redis() {
    Day::play(Engine::Redis).await;
}

/// What a worker is at.
struct Work {
    lease: LeaseId,
    session: String,
    methods: &'static [&'static str],
    chat: &'static str,
    calls_left: u64,
    expires_at: Time,
    probes: bool,
}

struct Day {
    stage: Stage,
    dice: Dice,
    telegram: Telegram,
    ledger: Ledger,
    workers: Vec<Option<Work>>,
    agenda: BinaryHeap<Reverse<(Time, usize)>>,
    seen: BTreeMap<String, u32>,
}

impl Day {
    async fn play(engine: Engine) {
        let Some(stage) = Stage::open(engine).await else { return };
        let seed = std::env::var("TELEGATE_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(first_seed);
        eprintln!("{engine:?}: TELEGATE_SEED={seed}");
        let mut day = Self {
            stage,
            dice: Dice::new(seed),
            telegram: Telegram::default(),
            ledger: Ledger::default(),
            workers: (0..WORKERS).map(|_| None).collect(),
            agenda: (0..WORKERS).map(|worker| Reverse((BEGINNING, worker))).collect(),
            seen: BTreeMap::new(),
        };
        day.open().await;
        let mut shift = BEGINNING + SHIFT;
        while let Some(Reverse((at, worker))) = day.agenda.pop().filter(|turn| turn.0.0 < end()) {
            if at > shift {
                day.pass_to(shift);
                day.change_shift().await;
                shift = shift + SHIFT;
            }
            day.pass_to(at);
            let next = match day.workers[worker].take() {
                None => day.begin(worker).await,
                Some(work) => day.go_on(worker, work).await,
            };
            day.agenda.push(Reverse((at + next, worker)));
        }
        eprintln!("{engine:?}: {:?}", day.seen);
        for what in ["lent", "flood wait", "busy", "E1", "E2", "E3", "out", "cleared", "late"] {
            assert!(day.seen.contains_key(what), "the day had no '{what}'");
        }
    }

    async fn open(&mut self) {
        let escalation = Escalations {
            session_methods: 2,
            method_sessions: 4,
            method_window: Span::secs(120),
            method_brake: Span::secs(90),
            ..Escalations::default()
        };
        self.stage.pool(Policy { escalation, drain: DRAIN, ..Policy::default() }).await;
        for number in 0..SESSIONS {
            let name = format!("s{number:03}");
            let account = i64::try_from(if number % 10 == 9 { number - 1 } else { number });
            let new: NewSession = match number % 10 {
                8 | 9 => of_account(&name, account.expect("few sessions")),
                _ => session(&name),
            };
            self.ledger.opened(&name, new.account_id);
            self.stage.add(new).await.expect("it is new");
        }
    }

    fn pass_to(&mut self, at: Time) {
        self.stage.advance(at.since(self.stage.now()));
        self.ledger.pass(at, DRAIN);
    }

    fn note(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }

    fn secs(&mut self, least: u64, most: u64) -> Span {
        Span(1000 * least + self.dice.below(1000 * (most - least)))
    }

    /// A worker asks for a session. Tells when it goes on.
    async fn begin(&mut self, worker: usize) -> Span {
        let probes = worker == 0;
        let methods = if probes { PROBE } else { *self.dice.pick(&JOBS) };
        let chat = *self.dice.pick(&CHATS);
        let about = methods.contains(&"messages.sendMessage").then_some(chat);
        let mut asked = methods.iter().fold(want(), |asked, method| asked.calling(method));
        asked = if probes { asked.probing() } else { asked };
        asked = about.map_or(asked.clone(), |chat| asked.about(chat));
        let scopes = scopes(methods, about);
        let now = self.stage.now();
        let open = self.ledger.open(&scopes, probes, now).join(" ");
        match self.stage.acquire(asked).await {
            Ok(grant) => {
                let session = grant.record.name.to_string();
                let is_right = open.split(' ').any(|name| name == session);
                assert!(is_right, "{session} was lent for {methods:?} at {now}, not {open}");
                for method in methods {
                    let closed = self.telegram.is_closed(&session, method, chat, now);
                    assert!(!closed, "{session} was lent for {method} inside its wait");
                }
                let listed = grant.cool_downs.iter().map(|entry| (entry.scope.key(), entry.until));
                assert_eq!(&listed.collect::<BTreeMap<_, _>>(), self.ledger.of(&session));
                self.ledger.lent(&grant);
                self.note("lent");
                let calls_left = if probes { 1 } else { 1 + self.dice.below(5) };
                let expires_at = grant.lease.expires_at;
                let lease = crate::harness::stage::lease_id(&pool_name(POOL), &grant);
                let work = Work { lease, session, methods, chat, calls_left, expires_at, probes };
                self.workers[worker] = Some(work);
                self.secs(1, 10)
            }
            Err(refusal) => {
                assert_eq!(open, "", "{refusal}");
                self.refused(&refusal, &scopes, probes)
            }
        }
    }

    /// Checks a refusal. Tells when the worker asks again.
    fn refused(&mut self, refusal: &Refusal, scopes: &[String], probes: bool) -> Span {
        let now = self.stage.now();
        let soonest = self.ledger.soonest(scopes, probes);
        let next = match refusal {
            Refusal::PoolFloodWait { next, .. } => {
                assert_eq!(next.cause, ReleaseCause::CoolDown);
                self.note("flood wait");
                *next
            }
            Refusal::PoolBusy { next, .. } => {
                assert_ne!(next.cause, ReleaseCause::CoolDown);
                self.note("busy");
                *next
            }
            Refusal::PoolDepleted { .. } => {
                assert_eq!(soonest, None);
                self.note("depleted");
                return self.secs(60, 600);
            }
            other => panic!("{other}"),
        };
        let (at, causes) = soonest.expect("the ledger knows of one");
        assert_eq!(next.after, at.since(now), "{refusal}");
        assert!(causes.contains(&next.cause), "{next:?}: {causes:?}");
        // Half of them come back at the very moment, the others when they please.
        if self.dice.once_in(2) { next.after } else { self.secs(20, 400) }
    }

    /// A worker calls Telegram under its lease. Tells when it goes on.
    async fn go_on(&mut self, worker: usize, mut work: Work) -> Span {
        let now = self.stage.now();
        if self.dice.once_in(150) {
            self.note("vanished");
            return self.secs(30, 300);
        }
        if work.expires_at.since(now) < Span::secs(30) {
            let Ok(lease) = self.stage.renew(&work.lease).await else {
                self.note("lost");
                return self.secs(1, 60);
            };
            work.expires_at = lease.expires_at;
            self.ledger.renewed(&work.session, lease.expires_at);
        }
        let method = *self.dice.pick(work.methods);
        let called = self.telegram.call(&mut self.dice, &work.session, method, work.chat, now);
        let Some(trouble) = called else {
            work.calls_left -= 1;
            if work.calls_left > 0 {
                let pause =
                    if self.dice.once_in(50) { self.secs(50, 90) } else { self.secs(2, 20) };
                self.workers[worker] = Some(work);
                return pause;
            }
            self.release(&work).await;
            return self.idle(worker);
        };
        self.note("error");
        match self.dice.below(3) {
            0 if !work.probes => {
                // The report comes after the release, and counts all the same.
                self.release(&work).await;
                let effect = self.stage.report(&work.lease, &trouble.error).await;
                self.take_in(&work.session, &trouble, &effect.expect("its last lease")).await;
                self.note("late");
                self.idle(worker)
            }
            1 if !work.probes => {
                let effect = self.stage.report(&work.lease, &trouble.error).await;
                let effect = effect.expect("it holds the lease");
                self.take_in(&work.session, &trouble, &effect).await;
                if effect.state == SessionState::Leased && work.calls_left > 1 {
                    // There may be other methods to call.
                    work.calls_left -= 1;
                    self.workers[worker] = Some(work);
                    return self.secs(1, 5);
                } else if effect.state == SessionState::Leased {
                    self.release(&work).await;
                }
                self.idle(worker)
            }
            _ => {
                let released = self.stage.release_over(&work.lease, &trouble.error).await;
                let (outcome, effect) = released.expect("it holds the lease");
                if outcome == ReleaseOutcome::Released {
                    self.ledger.released(&work.session, now, false);
                }
                self.take_in(&work.session, &trouble, &effect.expect("an effect")).await;
                self.idle(worker)
            }
        }
    }

    async fn release(&mut self, work: &Work) {
        let outcome = self.stage.release(&work.lease).await;
        assert_eq!(outcome, Ok(ReleaseOutcome::Released), "{}", work.session);
        if work.probes {
            self.note("cleared");
        }
        self.ledger.released(&work.session, self.stage.now(), work.probes);
    }

    /// By day they are in more of a hurry than by night.
    fn idle(&mut self, worker: usize) -> Span {
        let hour = self.stage.now().since(BEGINNING).0 / 3_600_000;
        match (worker, hour) {
            (0, _) => self.secs(200, 600),
            (_, 8..=20) => self.secs(20, 300),
            _ => self.secs(60, 900),
        }
    }

    /// Enters what an error did into the ledger, and compares with the store.
    async fn take_in(&mut self, session: &str, trouble: &Trouble, effect: &Effect) {
        let now = self.stage.now();
        if let Some((scope, until)) = &trouble.closes {
            let known = self.ledger.of(session).get(scope).copied().unwrap_or_default();
            assert_eq!(effect.until, Some(known.max(*until)), "{session} {scope}");
            self.ledger.closed(session, scope, *until, now);
        }
        if effect.state == SessionState::Invalid {
            self.note("out");
        }
        for escalation in &effect.escalations {
            self.note(escalation.id());
        }
        let kin = self.ledger.kin(session);
        let reached = kin.iter().map(String::as_str).filter(|_| effect.account.is_some());
        for name in reached.chain([session]) {
            let standing = self.stage.standing(name).await;
            if effect.account.is_some() {
                let closed = standing.running(now).into_iter().map(|entry| entry.scope.key());
                assert!(closed.into_iter().any(|key| key == "capability:strangers"), "{name}");
            }
            self.ledger.compare(name, &standing, now);
        }
        if effect.escalations.contains(&Escalation::E3) {
            self.compare_brakes().await;
        }
    }

    async fn compare_brakes(&mut self) {
        let view = lawful(self.stage.store.get_pool(&pool_name(POOL)).await);
        self.ledger.brakes(&view.expect("the pool is there"));
    }

    /// The broker is restarted, all is as it was, and an operator restores what is out.
    async fn change_shift(&mut self) {
        self.stage.reopen().await;
        self.compare_brakes().await;
        let now = self.stage.now();
        for name in self.ledger.names() {
            let standing = self.stage.standing(&name).await;
            self.ledger.compare(&name, &standing, now);
            if matches!(standing.state(now), SessionState::Invalid | SessionState::Suspect) {
                self.stage.restore(&name).await.expect("it is out or suspect");
                self.telegram.revive(&name);
                self.ledger.restored(&name);
                self.note("restored");
            }
        }
    }
}

fn end() -> Time {
    BEGINNING + DAY
}
