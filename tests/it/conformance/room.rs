//! Plays tables of deeds of those who wait. After each deed the outcome is followed by what was
//! handed over: `handed a` says that the waiter `a` was told.

use std::{collections::HashMap, time::Duration};

use telegate::{
    pool::{
        Ask, Departure, Enqueued, Holder, LeaseId, Patience, Policy, PoolMode, Priority, Refusal,
        RequestTag, Revocation, Selector, SessionChange, Span, Target, Ticket, Time,
    },
    store::{Error, Notice, Notices},
};

use crate::harness::{
    eventually, mandate,
    stage::{
        Answer, BEGINNING, POOL, Stage, key, labelled, lawful, lease_id, name, pool_name, secret,
        want, why,
    },
};

/// The waiters of a table, by their names in it.
struct Room<'a> {
    stage: &'a Stage,
    notices: Notices,
    tickets: HashMap<String, (Ask, Patience)>,
    leases: HashMap<String, LeaseId>,
}

/// Plays a table of deeds.
pub(super) async fn play_table(stage: &Stage, table: &str) {
    let mut lines = table.lines().map(str::trim).filter(|line| !line.is_empty()).peekable();
    let mut policy = Policy::default();
    if let Some(words) = lines.next_if(|line| line.starts_with("policy")) {
        for (field, value) in words.split_whitespace().filter_map(|word| word.split_once(':')) {
            match field {
                "rest" => policy.rest = span(value),
                "drain" => policy.drain = span(value),
                "max_waiters" => policy.max_waiters = value.parse().unwrap(),
                other => panic!("unknown policy {other}"),
            }
        }
    }
    stage.pool(policy).await;
    let notices = stage.store.notices();
    let mut room = Room { stage, notices, tickets: HashMap::new(), leases: HashMap::new() };
    for line in lines {
        let (deed, wanted) = line.split_once("->").map_or((line, ""), |(d, w)| (d, w.trim()));
        let mut outcome = room.play(deed.trim()).await;
        for _ in 0..wanted.matches("handed").count() {
            outcome = format!("{outcome} handed {}", room.told().await);
        }
        assert_eq!(outcome.trim(), wanted, "{line}");
        assert_eq!(room.told_already(), None, "somebody was handed something: {line}");
    }
}

impl Room<'_> {
    async fn play(&mut self, deed: &str) -> String {
        let words: Vec<&str> = deed.split_whitespace().collect();
        let options: HashMap<&str, &str> =
            words.iter().filter_map(|word| word.split_once(':')).collect();
        let (stage, pool) = (self.stage, pool_name(POOL));
        match words[0] {
            "tick" => {
                stage.advance(span(words[1]));
                String::new()
            }
            "add" => {
                let labels: Vec<_> =
                    words[2..].iter().filter_map(|word| word.split_once('=')).collect();
                said(stage.add(labelled(words[1], &labels)).await, |_| String::new())
            }
            "acquire" => {
                let (ask, _) = self.ask(words[1], words[2], &options);
                self.acquire(words[2], ask).await
            }
            "collect" => {
                let (ask, _) = self.tickets[words[1]].clone();
                self.acquire(words[1], Ask { retried_for: Some(Span::ZERO), ..ask }).await
            }
            "wait" => {
                let (ask, patience) = self.ask(words[1], words[2], &options);
                let enqueued = stage.store.enqueue(&pool, ask.clone(), patience.clone()).await;
                self.tickets.insert(words[2].to_owned(), (ask, patience));
                said(lawful(enqueued), |enqueued| match enqueued {
                    Enqueued::Granted(grant) => {
                        format!("{} until {}", grant.record.name, at(grant.lease.expires_at))
                    }
                    Enqueued::Waiting(place) => {
                        let due = place.next_due.map_or("nothing".into(), |due| due.to_string());
                        format!("place {} of {}, due {due}", place.position, place.waiters)
                    }
                })
            }
            "leave" => {
                let (ask, patience) = &self.tickets[words[1]];
                let grace = options.get("grace").map_or(Span::ZERO, |grace| span(grace));
                let gone = Departure { ticket: patience.ticket, secret: ask.secret, grace };
                stage.store.leave(&pool, &gone).await.expect("nobody is kept");
                String::new()
            }
            "tend" => {
                let due = stage.store.tend(&pool).await.expect("the pool is there");
                due.map_or("nothing is due".into(), |due| format!("due {due}"))
            }
            "line" => {
                let waiters = stage.store.list_waiters(&pool, 0, 100).await;
                let told = |w: &telegate::pool::WaiterView| {
                    format!("{} {} {} {}", w.position, w.holder.key, w.waited, w.remaining)
                };
                waiters.expect("it is there").iter().map(told).collect::<Vec<_>>().join(", ")
            }
            "status" => {
                let queue = stage.status().await.queue;
                let oldest = queue.oldest_wait.map_or("nobody".into(), |wait| wait.to_string());
                format!("{} wait, {oldest}", queue.waiters)
            }
            "estimate" => self.estimate().await,
            "renew" => {
                let lease = &self.leases[words[2]];
                let renewed = lawful(stage.store.renew(lease, &key(words[1]), None).await);
                said(renewed, |lease| format!("until {}", at(lease.expires_at)))
            }
            "release" => {
                let lease = &self.leases[words[2]];
                let released = stage.store.release(lease, &key(words[1]), Span::ZERO, None).await;
                said(lawful(released), |(outcome, _)| format!("{outcome:?}"))
            }
            "invalidate" => {
                said(stage.invalidate(words[1], why("ops", "dead")).await, |_| "dead".into())
            }
            "remove" => said(stage.remove(words[1]).await, |()| "removed".into()),
            "restore" => said(stage.restore(words[1]).await, |view| {
                view.standing.state(view.at).name().to_owned()
            }),
            "relabel" => {
                let labels: Vec<_> =
                    words[2..].iter().filter_map(|word| word.split_once('=')).collect();
                let labels = Some(labelled(words[1], &labels).labels);
                let change = SessionChange { labels, ..SessionChange::default() };
                let (session, on) = (name(words[1]), mandate());
                let changed = stage.store.update_session(&pool, &session, change, &on).await;
                said(lawful(changed), |view| view.standing.state(view.at).name().to_owned())
            }
            "revoke" => self.revoke(words[1]).await,
            "session" => said(stage.get(words[1]).await, |view| {
                let until = view.standing.state_until(view.at).map_or(String::new(), at);
                format!("{} until {until}", view.standing.state(view.at).name())
            }),
            "pause" => self.mode(PoolMode::Paused).await,
            "resume" => self.mode(PoolMode::Active).await,
            other => panic!("unknown deed {other}"),
        }
    }

    async fn revoke(&self, session: &str) -> String {
        let (target, detail, by) = (Target::Session(name(session)), String::new(), key("ops"));
        let which = Revocation { target, detail, by, from: None };
        let revoked = self.stage.store.revoke_leases(&pool_name(POOL), &which).await;
        said(lawful(revoked), |revoked| format!("{} revoked", revoked.ended.len()))
    }

    async fn acquire(&mut self, tag: &str, ask: Ask) -> String {
        let pool = pool_name(POOL);
        let outcome = lawful(self.stage.store.acquire(&pool, ask).await);
        if let Ok(grant) = &outcome {
            self.leases.insert(tag.to_owned(), lease_id(&pool, grant));
        }
        said(outcome, |grant| format!("{} until {}", grant.record.name, at(grant.lease.expires_at)))
    }

    async fn mode(&self, mode: PoolMode) -> String {
        self.stage.set_mode(mode).await;
        String::new()
    }

    fn ask(&mut self, by: &str, tag: &str, options: &HashMap<&str, &str>) -> (Ask, Patience) {
        if options.contains_key("again") {
            let (ask, patience) = self.tickets[tag].clone();
            return (Ask { retried_for: Some(Span::ZERO), ..ask }, patience);
        }
        let number = 1000 + self.tickets.len() as u64 + 100 * self.leases.len() as u64;
        let ask = Ask {
            holder: Holder { key: key(by), purpose: String::new() },
            ttl: options.get("ttl").map(|ttl| span(ttl)),
            selector: Selector::parse(options.get("where").unwrap_or(&"")).unwrap(),
            session: options.get("session").map(|session| name(session)),
            methods: Vec::new(),
            peer: None,
            probe: false,
            request: options.get("request").map(|id| RequestTag {
                id: (*id).to_owned(),
                digest: options.get("digest").unwrap_or(&"same").to_string(),
            }),
            secret: secret(number),
            retried_for: None,
        };
        let patience = Patience {
            ticket: Ticket(number),
            wait: options.get("for").map_or(Span::secs(60), |wait| span(wait)),
            priority: match options.get("class") {
                Some(&"high") => Priority::High,
                Some(&"low") => Priority::Low,
                _ => Priority::Normal,
            },
        };
        (ask, patience)
    }

    /// How long a newcomer would wait, which a refusal must tell like the status.
    async fn estimate(&self) -> String {
        let status = self.stage.status().await;
        let pace = status.queue.pace.map_or("none".into(), |pace| pace.to_string());
        let wait = status.estimated_wait().map_or("unknown".into(), |it| it.to_string());
        let asked = self.stage.store.explain(&pool_name(POOL), want().ask(|| secret(0))).await;
        if let Err(Error::Refused(refusal)) = asked
            && let Refusal::PoolBusy { queue, .. } = *refusal
        {
            assert_eq!(queue, status.queue, "a refusal tells the same");
        }
        format!("pace {pace}, {wait}")
    }

    /// Who is told next that something was handed to it.
    async fn told(&mut self) -> String {
        let soon = Duration::from_secs(5);
        eventually("somebody is told", soon, async || self.told_already()).await
    }

    /// Who was told and not asked for yet.
    fn told_already(&mut self) -> Option<String> {
        while let Some(notice) = self.notices.try_next() {
            let Notice::Handed(ticket) = notice else { continue };
            let told = self.tickets.iter().find(|(_, waiter)| waiter.1.ticket == ticket);
            return Some(told.expect("a ticket of this table").0.clone());
        }
        None
    }
}

fn span(text: &str) -> Span {
    match text.strip_suffix("ms") {
        Some(millis) => Span(millis.parse().unwrap()),
        None => Span::secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}

fn at(time: Time) -> String {
    time.since(BEGINNING).to_string()
}

fn said<T>(outcome: Answer<T>, words: impl FnOnce(T) -> String) -> String {
    match outcome {
        Ok(answer) => words(answer),
        Err(Refusal::PoolBusy { next, .. }) => {
            format!("busy, next in {} by {:?}", next.after, next.cause)
        }
        Err(other) => {
            let debug = format!("{other:?}");
            debug.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
        }
    }
}
