//! Whose turn it is, worked out anew from what was done: a list of all who wait, looked through
//! from end to end. The rulebook must hand over as this says, and leave nobody waiting in vain.

use std::collections::BTreeMap;

use telegate::pool::{
    AGEING, Ask, Enqueued, KeyId, Patience, PoolName, Priority, SERVE_LIMIT, SessionState,
    SessionView, Span, Ticket, Time,
};

use super::{
    STEPS, Told,
    deeds::{Deed, Outcome, play},
    dice::{Dice, first_seed},
    imagination::Imagination,
};
use crate::harness::stage::{Engine, Stage, lawful, pool_name};

/// How many histories are played.
const HISTORIES: u64 = 12;

/// One that waits.
#[derive(Clone, Debug)]
struct Waiter {
    ticket: Ticket,
    ask: Ask,
    priority: Priority,
    /// The how manieth arrival.
    seq: u64,
    since: Time,
    deadline: Time,
    absent: bool,
}

/// The line of a pool.
#[derive(Debug, Default)]
struct Line {
    waiters: Vec<Waiter>,
    /// Each key, and the hand-over at which it was served last.
    turns: BTreeMap<KeyId, u64>,
    hand_overs: u64,
}

/// The lines of all pools.
#[derive(Debug, Default)]
struct Lines {
    pools: BTreeMap<PoolName, Line>,
    arrivals: u64,
}

impl Waiter {
    fn request(&self) -> Option<(&KeyId, &str)> {
        Some((&self.ask.holder.key, self.ask.request.as_ref()?.id.as_str()))
    }

    fn can_be_served(&self, now: Time) -> bool {
        !self.absent && self.deadline > now
    }

    /// Its place: less goes first.
    fn rank(&self, turns: &BTreeMap<KeyId, u64>, now: Time) -> (u64, u64, u64) {
        let class = match self.priority {
            Priority::High => 0_u64,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        let level = class.saturating_sub(now.since(self.since).0 / AGEING.0);
        let turn = turns.get(&self.ask.holder.key).copied().unwrap_or_default();
        (level, turn, self.seq)
    }
}

impl Line {
    fn forget(&mut self, gone: impl Fn(&Waiter) -> bool) {
        self.waiters.retain(|waiter| !gone(waiter));
        if self.waiters.is_empty() {
            self.turns.clear();
        }
    }
}

impl Lines {
    /// Takes in who has come and gone by a deed. Who was handed something is told apart.
    fn note(&mut self, deed: &Deed, outcome: &Outcome, now: Time) {
        match (deed, outcome) {
            (Deed::Enqueue(pool, ask, patience), Outcome::Enqueued(Ok(Enqueued::Waiting(_)))) => {
                self.joins(pool, ask, patience, now);
            }
            (Deed::Acquire(pool, ask), Outcome::Granted(_)) if ask.retried_for.is_some() => {
                self.line(pool).forget(|waiter| waiter.ask.secret == ask.secret);
            }
            (Deed::Enqueue(pool, ask, _), Outcome::Enqueued(Ok(Enqueued::Granted(_))))
            | (Deed::Acquire(pool, ask), Outcome::Granted(Ok(_))) => {
                self.line(pool).forget(|waiter| waiter.ask.secret == ask.secret);
            }
            (Deed::Leave(pool, departure), _) => {
                let kept = departure.grace > Span::ZERO;
                let line = self.line(pool);
                for waiter in &mut line.waiters {
                    if waiter.ticket == departure.ticket && kept && waiter.ask.request.is_some() {
                        waiter.absent = true;
                        waiter.deadline = waiter.deadline.min(now + departure.grace);
                    }
                }
                line.forget(|waiter| waiter.ticket == departure.ticket && !waiter.absent);
            }
            (Deed::Reopen(gone), _) => {
                for (pool, departure) in gone {
                    self.line(pool).forget(|waiter| waiter.ticket == departure.ticket);
                }
            }
            (Deed::DeletePool(pool), Outcome::Removed(Ok(()))) => {
                self.pools.remove(pool);
            }
            _ => {}
        }
    }

    fn joins(&mut self, pool: &PoolName, ask: &Ask, patience: &Patience, now: Time) {
        self.arrivals += 1;
        let seq = self.arrivals;
        let line = self.line(pool);
        let mut waiter = Waiter {
            ticket: patience.ticket,
            ask: ask.clone(),
            priority: patience.priority,
            seq,
            since: now,
            deadline: now + patience.wait,
            absent: false,
        };
        let known = line.waiters.iter().position(|known| {
            known.ticket == patience.ticket
                || known.request().is_some() && known.request() == waiter.request()
        });
        if let Some(known) = known {
            let before = line.waiters.remove(known);
            (waiter.seq, waiter.since) = (before.seq, before.since);
        }
        line.waiters.push(waiter);
    }

    /// Those whose time is over have gone.
    fn time_passes(&mut self, now: Time) {
        for line in self.pools.values_mut() {
            line.forget(|waiter| waiter.deadline <= now);
        }
    }

    fn line(&mut self, pool: &PoolName) -> &mut Line {
        self.pools.entry(pool.clone()).or_default()
    }

    /// Takes out one that was handed a session, after seeing that it was its turn.
    async fn served(&mut self, stage: &Stage, ticket: Ticket) -> Result<(), String> {
        let now = stage.now();
        let of = |line: &Line| line.waiters.iter().position(|waiter| waiter.ticket == ticket);
        let found = self.pools.iter().find_map(|(pool, line)| Some((pool.clone(), of(line)?)));
        let Some((pool, at)) = found else {
            return Err(format!("{ticket:?} was handed a session, and does not wait"));
        };
        let line = self.line(&pool);
        let served = line.waiters[at].clone();
        if !served.can_be_served(now) {
            return Err(format!("handed to one that has gone: {served:?}"));
        }
        let sessions = lawful(stage.store.list_sessions(&pool, None, 1000).await);
        let sessions = sessions.map_err(|refusal| format!("{refusal:?}"))?;
        let has = |view: &&SessionView| {
            let lease = view.standing.lease.as_ref();
            lease.is_some_and(|lease| lease.secret == served.ask.secret)
        };
        let handed = sessions.iter().find(has);
        if let Some(session) = handed {
            let rank = served.rank(&line.turns, now);
            let earlier = line.waiters.iter().find(|waiter| {
                waiter.can_be_served(now)
                    && waiter.rank(&line.turns, now) < rank
                    && would_suit(session, &waiter.ask)
            });
            if let Some(earlier) = earlier {
                return Err(format!("{served:?} was served before {earlier:?} with {session:?}"));
            }
        }
        line.waiters.remove(at);
        if line.waiters.is_empty() {
            line.turns.clear();
        } else {
            line.hand_overs += 1;
            line.turns.insert(served.ask.holder.key.clone(), line.hand_overs);
        }
        Ok(())
    }

    /// Somebody who waits though an Acquire for the same would be granted.
    async fn waits_in_vain(&self, stage: &Stage) -> Option<String> {
        for (pool, line) in &self.pools {
            for waiter in &line.waiters {
                let found = stage.store.explain(pool, waiter.ask.clone()).await;
                if let (true, Ok(name)) = (waiter.can_be_served(stage.now()), lawful(found)) {
                    return Some(format!("{name} is free, and there waits {waiter:?}"));
                }
            }
        }
        None
    }
}

/// Whether a session that is leased now would have done for an ask when nobody had it.
fn would_suit(session: &SessionView, ask: &Ask) -> bool {
    let scopes: Vec<_> = ask.scopes().iter().map(telegate::pool::verdict::Scope::key).collect();
    let running = session.standing.running(session.at);
    ask.session.as_ref().is_none_or(|name| *name == session.record.name)
        && ask.selector.matches(&session.record.labels)
        && (ask.probe || session.standing.suspect.is_none())
        && session.standing.state(session.at) == SessionState::Leased
        && !running.iter().any(|entry| scopes.contains(&entry.scope.key()))
}

/// Plays a history into the bare rules, and sees after each deed that it was right.
async fn history(seed: u64) -> Result<usize, String> {
    let mut stage = Stage::open(Engine::Rulebook).await.expect("the rulebook needs nothing");
    let mut told = Told::by(&stage);
    let mut imagination = Imagination::new(Dice::new(seed));
    let (mut lines, mut hand_overs) = (Lines::default(), 0);
    for step in 0..STEPS {
        let deed = imagination.next(stage.now());
        // Whatever is handed over before a deed that lets somebody in or out is told by it too,
        // so it is done before.
        let mut handed = Vec::new();
        for pool in super::imagination::POOLS {
            while stage.store.tend(&pool_name(pool)).await.is_ok_and(|due| due == Some(Span::ZERO))
            {
            }
        }
        handed.extend(told.already());
        lines.time_passes(stage.now());
        for ticket in &handed {
            lines.served(&stage, *ticket).await.map_err(|why| format!("{step}: {why}"))?;
        }
        let outcome = play(&mut stage, &deed).await;
        let by_deed = told.already();
        lines.note(&deed, &outcome, stage.now());
        lines.time_passes(stage.now());
        // When all leave, what one gives back is handed to the next, which then gives it back too.
        let all_leave = matches!(deed, Deed::Reopen(_));
        for ticket in by_deed.iter().filter(|_| !all_leave) {
            let served = lines.served(&stage, *ticket).await;
            served.map_err(|why| format!("{step}: {deed:?} -> {outcome:?}: {why}"))?;
        }
        handed.extend(by_deed);
        hand_overs += handed.len();
        imagination.remember(&deed, &outcome, &handed);
        // What ends by itself is the timer's to notice, and so is what one deed left over; all else
        // is served in the deed.
        let is_all = !matches!(deed, Deed::Tick(_)) && handed.len() < SERVE_LIMIT;
        if is_all && let Some(who) = lines.waits_in_vain(&stage).await {
            return Err(format!("{step}: {deed:?} -> {outcome:?}: {who}"));
        }
    }
    Ok(hand_overs)
}

#[tokio::test]
async fn the_rulebook_hands_over_to_whose_turn_it_is_and_leaves_nobody_waiting_in_vain() {
    let first = super::variable("TELEGATE_SEED").unwrap_or_else(first_seed);
    let mut hand_overs = 0;
    for seed in first..first + HISTORIES {
        match history(seed).await {
            Ok(count) => hand_overs += count,
            Err(why) => panic!("TELEGATE_SEED={seed}\n{why}"),
        }
    }
    eprintln!("{hand_overs} hand-overs");
    assert!(hand_overs > 100, "only {hand_overs} hand-overs");
}
