//! Waiting: who stands in line, who leaves it, and to whom a session is handed.
//!
//! Tables of deeds. After each deed the outcome is followed by what was handed over: `handed a`
//! says that the waiter `a` was told.

use std::{collections::HashMap, time::Duration};

use telegate::{
    pool::{
        Ask, Departure, Enqueued, Holder, LeaseId, Patience, Policy, PoolMode, Priority, Refusal,
        RequestTag, Revocation, Selector, SessionChange, Span, Target, Ticket, Time,
    },
    store::{Error, Notice, Notices},
};

use crate::harness::{
    eventually,
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
async fn play_table(stage: &Stage, table: &str) {
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
            "estimate" => {
                let status = stage.status().await;
                let pace = status.queue.pace.map_or("none".into(), |pace| pace.to_string());
                let wait = status.estimated_wait().map_or("unknown".into(), |it| it.to_string());
                if let Err(Error::Refused(refusal)) =
                    stage.store.explain(&pool, want().ask(|| secret(0))).await
                    && let Refusal::PoolBusy { queue, .. } = *refusal
                {
                    assert_eq!(queue, status.queue, "a refusal tells the same");
                }
                format!("pace {pace}, {wait}")
            }
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
            "restore" => said(stage.restore(words[1]).await, |view| {
                view.standing.state(view.at).name().to_owned()
            }),
            "relabel" => {
                let labels: Vec<_> =
                    words[2..].iter().filter_map(|word| word.split_once('=')).collect();
                let labels = Some(labelled(words[1], &labels).labels);
                let change = SessionChange { labels, ..SessionChange::default() };
                let (session, by) = (name(words[1]), key("ops"));
                let changed = stage.store.update_session(&pool, &session, change, &by).await;
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

law! {
    async fn a_release_hands_the_session_to_the_first_in_line(t) {
        play_table(t, "add alice
         wait k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         tick 1s
         wait k c for:100s -> place 2 of 2, due 59s
         collect a -> alice until 60s
         release k a -> Released handed b
         acquire k x -> busy, next in 2s by Lease
         collect b -> alice until 61s
         collect b -> alice until 61s
         tick 1s
         release k b -> Released handed c
         collect c -> alice until 62s").await;
    }

    async fn an_expiry_and_the_end_of_a_rest_hand_the_session_on(t) {
        play_table(t, "policy rest:10s
         add alice
         acquire k a ttl:5s -> alice until 5s
         wait k b for:100s -> place 1 of 1, due 5s
         tick 5s
         tend -> due 30s
         tick 29999ms
         tend -> due 0.001s
         tick 1ms
         tend -> nothing is due handed b
         collect b -> alice until 95s
         wait k c for:100s -> place 1 of 1, due 60s
         release k b -> Released
         tend -> due 10s
         tick 10s
         tend -> nothing is due handed c").await;
    }

    async fn a_waiter_for_what_is_not_free_blocks_nobody_and_keeps_its_place(t) {
        play_table(t, "add alice tier=a
         add bob tier=b
         acquire k a where:tier=a -> alice until 60s
         acquire k b where:tier=b -> bob until 60s
         wait k first where:tier=b for:100s -> place 1 of 1, due 60s
         wait k second for:100s -> place 2 of 2, due 60s
         wait k third session:bob for:100s -> place 3 of 3, due 60s
         release k a -> Released handed second
         release k b -> Released handed first
         collect first -> bob until 60s
         release k first -> Released handed third").await;
    }

    async fn classes_go_before_each_other_and_age(t) {
        play_table(t, "add alice
         acquire k a ttl:3600s -> alice until 3600s
         wait k low class:low for:1000s -> place 1 of 1, due 3600s
         wait k normal for:1000s -> place 2 of 2, due 3600s
         wait k high class:high for:1000s -> place 3 of 3, due 3600s
         release k a -> Released handed high
         collect high -> alice until 60s
         release k high -> Released handed normal
         collect normal -> alice until 60s
         tick 59s
         wait k later class:high for:1000s -> place 2 of 2, due 1s
         renew k normal -> until 119s
         tick 1s
         release k normal -> Released handed low").await;
    }

    async fn keys_are_served_in_turn(t) {
        play_table(t, "add alice
         acquire x a -> alice until 60s
         wait greedy g1 for:100s -> place 1 of 1, due 60s
         wait greedy g2 for:100s -> place 2 of 2, due 60s
         wait greedy g3 for:100s -> place 3 of 3, due 60s
         wait modest m1 for:100s -> place 4 of 4, due 60s
         wait modest m2 for:100s -> place 5 of 5, due 60s
         release x a -> Released handed g1
         collect g1 -> alice until 60s
         release greedy g1 -> Released handed m1
         collect m1 -> alice until 60s
         release modest m1 -> Released handed g2
         collect g2 -> alice until 60s
         release greedy g2 -> Released handed m2
         collect m2 -> alice until 60s
         release modest m2 -> Released handed g3").await;
    }

    async fn what_is_not_collected_goes_to_the_next_without_a_drain(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k gone for:100s -> place 1 of 1, due 60s
         wait k next for:100s -> place 2 of 2, due 60s
         release k a -> Released handed gone
         tick 1999ms
         tend -> due 0.001s
         tick 1ms
         tend -> nothing is due handed next
         collect next -> alice until 62s
         collect gone -> busy, next in 60s by Lease").await;
    }

    async fn who_leaves_is_handed_nothing_and_gives_back_what_it_was_handed(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         wait k d for:100s -> place 3 of 3, due 60s
         leave b
         leave b
         release k a -> Released handed c
         leave c -> handed d
         collect d -> alice until 60s
         leave d
         session alice -> LEASED until 60s
         tend -> nothing is due").await;
    }

    async fn a_place_is_kept_for_a_caller_that_comes_back_with_its_request(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b request:r for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         tick 1s
         leave b grace:5s
         line -> 1 k 1s 99s
         wait k b2 request:r digest:other for:100s -> RequestIdReused
         wait k b2 request:r for:100s -> place 1 of 2, due 59s
         line -> 1 k 1s 100s, 2 k 1s 99s
         release k a -> Released handed b2
         collect b2 -> alice until 61s
         wait k e request:s for:100s -> place 2 of 2, due 60s
         leave c
         leave e grace:5s
         tick 5s
         wait k f for:100s -> place 1 of 1, due 55s
         wait k e2 request:s for:100s -> place 2 of 2, due 55s").await;
    }

    async fn a_wait_that_cannot_succeed_is_refused_at_once(t) {
        play_table(t, "policy rest:50s
         wait k a -> PoolEmpty
         add alice
         wait k a where:tier=gold -> NoMatchingSession
         acquire k a -> alice until 60s
         wait k b for:1s -> place 1 of 1, due 60s
         leave b
         release k a -> Released
         wait k c for:49s -> busy, next in 50s by Rest
         wait k c for:50s -> place 1 of 1, due 50s
         invalidate alice dead -> dead
         wait k d for:100s -> PoolDepleted").await;
    }

    async fn nothing_is_handed_while_the_pool_is_paused_and_resume_serves_the_line(t) {
        play_table(t, "add alice
         add bob
         acquire k a -> alice until 60s
         acquire k b -> bob until 60s
         wait k c for:100s -> place 1 of 1, due 60s
         wait k d for:100s -> place 2 of 2, due 60s
         wait k e for:100s -> place 3 of 3, due 60s
         pause
         release k a -> Released
         release k b -> Released
         wait k f for:100s -> PoolPaused
         tend -> nothing is due
         resume -> handed c handed d
         add carol -> handed e").await;
    }

    async fn whose_time_is_over_is_handed_nothing(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b for:1s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         tick 1s
         release k a -> Released handed c").await;
    }

    async fn the_waiting_room_is_bounded(t) {
        play_table(t, "policy max_waiters:2
         add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         wait k d for:100s -> WaitQueueFull
         wait k b again:0s for:100s -> place 1 of 2, due 60s
         leave c
         wait k d for:100s -> place 2 of 2, due 60s").await;
    }

    async fn a_session_whose_labels_change_goes_to_whom_it_suits_now(t) {
        play_table(t, "add alice tier=a
         add bob tier=b
         acquire k b where:tier=b -> bob until 60s
         wait k c where:tier=b for:100s -> place 1 of 1, due 60s
         wait k d where:tier=a,new=yes for:100s -> NoMatchingSession
         relabel bob tier=a -> LEASED
         relabel alice tier=c -> READY
         relabel alice tier=b -> READY handed c
         collect c -> alice until 60s
         acquire k e where:tier=a -> busy, next in 60s by Lease").await;
    }

    async fn a_revoked_session_goes_to_the_line_when_it_has_drained(t) {
        play_table(t, "add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         revoke alice -> 1 revoked
         tick 29999ms
         tend -> due 0.001s
         tick 1ms
         tend -> nothing is due handed b
         collect b -> alice until 90s").await;
    }

    async fn a_revoked_session_that_need_not_drain_goes_to_the_line_at_once(t) {
        play_table(t, "policy drain:0s
         add alice
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         wait k c for:100s -> place 2 of 2, due 60s
         revoke alice -> 1 revoked handed b
         revoke alice -> 1 revoked handed c
         collect b -> busy, next in 2s by Lease
         collect c -> alice until 60s").await;
    }

    async fn a_restored_session_goes_to_the_line_and_a_newcomer_does_not_overtake(t) {
        play_table(t, "add alice
         add bob
         invalidate bob dead -> dead
         acquire k a -> alice until 60s
         wait k b for:100s -> place 1 of 1, due 60s
         restore bob -> READY handed b
         collect b -> bob until 60s
         tick 60s
         wait k c for:100s -> place 1 of 1, due 30s
         wait k d for:100s -> place 2 of 2, due 30s
         tick 30s
         acquire k e -> busy, next in 2s by Lease handed c handed d").await;
    }

    async fn a_newcomer_is_told_how_long_it_would_wait_by_the_pace_of_late(t) {
        play_table(t, "add alice
         estimate -> pace none, 0s
         acquire k a -> alice until 60s
         tick 10s
         estimate -> pace none, 50s
         wait k b for:100s -> place 1 of 1, due 50s
         wait k c for:100s -> place 2 of 2, due 50s
         estimate -> pace none, 150s
         tick 6s
         release k a -> Released handed b
         collect b -> alice until 76s
         estimate -> pace 6s, 12s
         tick 14s
         estimate -> pace 14s, 28s
         release k b -> Released handed c
         estimate -> pace none, 2s
         collect c -> alice until 90s
         tick 20s
         estimate -> pace none, 40s
         wait k d for:100s -> place 1 of 1, due 40s
         wait k e for:100s -> place 2 of 2, due 40s
         wait k f for:100s -> place 3 of 3, due 40s
         tick 8s
         release k c -> Released handed d
         collect d -> alice until 118s
         tick 16s
         release k d -> Released handed e
         estimate -> pace 9s, 18s
         leave f
         leave e
         invalidate alice -> dead
         estimate -> pace none, unknown").await;
    }
}
