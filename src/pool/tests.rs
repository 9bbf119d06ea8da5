//! The rules as tables of deeds and outcomes. Time is a deed too.

use std::collections::HashMap;

use super::{
    verdict::{Capability, Scope},
    *,
};

mod trouble;

use trouble::ask;

const START: Time = Time(1_000_000_000);

/// Plays a table: each line is a deed, and after `->` its outcome. Times count from the start.
#[track_caller]
fn play(table: &str) {
    let mut stage = Stage::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (deed, wanted) = line.split_once("->").map_or((line, ""), |(d, w)| (d, w.trim()));
        let outcome = stage.play(deed.trim());
        assert_eq!(outcome, wanted, "{line}");
    }
}

struct Stage {
    realm: Realm,
    now: Time,
    leases: HashMap<String, LeaseId>,
    granted: u8,
}

impl Stage {
    fn new() -> Self {
        let mut realm = Realm::default();
        let policy = Policy { drain: Span::secs(30), ..Policy::default() };
        realm.create_pool(&name(), policy, &mandate(), START).unwrap();
        Self { realm, now: START, leases: HashMap::new(), granted: 0 }
    }

    fn play(&mut self, deed: &str) -> String {
        let words: Vec<&str> = deed.split_whitespace().collect();
        let options: HashMap<&str, &str> =
            words.iter().filter_map(|word| word.split_once(':')).collect();
        let now = self.now;
        match words[0] {
            "tick" => {
                self.now = now + span(words[1]);
                String::new()
            }
            "policy" => {
                let pool = self.pool();
                for (field, value) in options {
                    match field {
                        "rest" => pool.record.policy.rest = span(value),
                        "drain" => pool.record.policy.drain = span(value),
                        "max_lifetime" => pool.record.policy.max_lifetime = span(value),
                        other => panic!("unknown policy {other}"),
                    }
                }
                String::new()
            }
            "add" => {
                let fingerprint = options.get("key").copied().unwrap_or(words[1]);
                let new = NewSession {
                    name: session(words[1]),
                    labels: words[2..]
                        .iter()
                        .filter_map(|word| word.split_once('='))
                        .map(|(k, v)| (k.to_owned(), v.to_owned()))
                        .collect(),
                    fingerprint: Fingerprint::new(fingerprint),
                    account_id: options.get("account").map(|id| id.parse().unwrap()),
                    proxy: None,
                    device: None,
                    credential: Credential(words[1].into()),
                    by: KeyId::new("op"),
                };
                said(self.realm.add(&name(), new, now), |_| String::new())
            }
            "remove" => {
                said(self.realm.remove(&name(), &session(words[1]), &mandate(), now), |()| {
                    String::new()
                })
            }
            "acquire" => self.acquire(words[1], words[2], &options),
            "explain" => {
                let ask = ask(words[1], LeaseSecret::new([0; 16]), &options);
                said(self.pool().explain(&ask, now), |name| name.to_string())
            }
            "undo" => {
                let id = self.leases[words[1]].clone();
                let delivery = words[2].parse().unwrap();
                if self.pool().undo(&id, delivery, now) { "undone" } else { "kept" }.into()
            }
            "renew" => {
                let (id, key) = (self.leases[words[2]].clone(), KeyId::new(words[1]));
                let ttl = options.get("ttl").map(|ttl| span(ttl));
                said(self.pool().renew(&id, &key, ttl, now), |l| {
                    format!("until {}", at(l.expires_at))
                })
            }
            "release" => {
                let (id, key) = (self.leases[words[2]].clone(), KeyId::new(words[1]));
                let rest = options.get("rest").map_or(Span::ZERO, |rest| span(rest));
                said(self.pool().release(&id, &key, rest, None, now), |(o, _)| format!("{o:?}"))
            }
            "surrender" => {
                let id = self.leases[words[2]].clone();
                let why = why(words[1], words[3], now);
                said(self.pool().surrender(&id, why, now), |view| reason(&view))
            }
            "invalidate" => {
                let why = why("admin", words[2], now);
                said(self.pool().invalidate(&session(words[1]), why, now), |view| reason(&view))
            }
            "restore" => {
                said(self.pool().restore(&session(words[1]), &mandate(), now), |v| state(&v))
            }
            "session" => said(self.pool().get(&session(words[1]), now), |v| state(&v)),
            "pause" => self.mode(PoolMode::Paused),
            "drain" => self.mode(PoolMode::Draining),
            "resume" => self.mode(PoolMode::Active),
            "status" => {
                let status = self.pool().status(now);
                let c = status.counts;
                let next = status.next.map_or(String::new(), |next| {
                    format!(", next in {} by {:?}", next.after, next.cause)
                });
                format!(
                    "{:?}: {} free, {} leased, {} resting, {} invalid of {}{next}",
                    status.state, c.free, c.leased, c.resting, c.invalid, c.total
                )
            }
            _ => self.trouble(&words, &options),
        }
    }

    fn acquire(&mut self, key: &str, tag: &str, options: &HashMap<&str, &str>) -> String {
        self.granted += 1;
        let bits = if options.contains_key("again") {
            self.leases[tag].secret
        } else {
            LeaseSecret::new([self.granted; 16])
        };
        let ask = ask(key, bits, options);
        let now = self.now;
        let outcome = self.pool().acquire(&ask, now);
        if let Ok(grant) = &outcome {
            let id = LeaseId {
                pool: name(),
                session: grant.record.name.clone(),
                secret: grant.lease.secret,
            };
            self.leases.insert(tag.to_owned(), id);
        }
        said(outcome, |grant| {
            let replayed = if grant.replayed { " again" } else { "" };
            format!("{} until {}{replayed}", grant.record.name, at(grant.lease.expires_at))
        })
    }

    fn mode(&mut self, mode: PoolMode) -> String {
        let now = self.now;
        self.pool().set_mode(mode, &mandate(), now);
        String::new()
    }

    fn pool(&mut self) -> &mut Pool {
        self.realm.pool(&name()).unwrap()
    }
}

fn mandate() -> Mandate {
    Mandate { by: KeyId::new("op"), detail: String::new() }
}

fn name() -> PoolName {
    PoolName::parse("demo").unwrap()
}

fn session(text: &str) -> SessionName {
    SessionName::parse(text).unwrap()
}

fn span(text: &str) -> Span {
    match text.strip_suffix("ms") {
        Some(millis) => Span(millis.parse().unwrap()),
        None => Span::secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}

fn at(time: Time) -> String {
    time.since(START).to_string()
}

fn why(by: &str, detail: &str, at: Time) -> Invalidation {
    Invalidation { reason: InvalidReason::Other, detail: detail.into(), by: KeyId::new(by), at }
}

fn reason(view: &SessionView) -> String {
    view.standing.invalid.as_ref().map_or("valid".into(), |i| i.detail.clone())
}

fn state(view: &SessionView) -> String {
    let until = view.standing.state_until(view.at);
    let until = until.map_or(String::new(), |until| format!(" until {}", at(until)));
    format!("{}{until}", view.standing.state(view.at).name())
}

fn said<T>(outcome: Result<T, Refusal>, words: impl FnOnce(T) -> String) -> String {
    match outcome {
        Ok(answer) => words(answer),
        Err(Refusal::PoolBusy { next, .. }) => {
            format!("busy, next in {} by {:?}", next.after, next.cause)
        }
        Err(Refusal::PoolFloodWait { next, .. }) => {
            format!("flood wait, next in {} by {:?}", next.after, next.cause)
        }
        Err(Refusal::LeaseLost { cause, at: lost_at, .. }) => {
            format!("lost: {cause:?} at {}", at(lost_at))
        }
        Err(Refusal::InappropriateState { state, .. }) => format!("is {}", state.name()),
        Err(Refusal::CredentialExists { session, .. }) => format!("is {session}"),
        Err(other) => {
            let debug = format!("{other:?}");
            debug.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

#[test]
fn the_least_recently_used_session_goes_out_first() {
    play(
        "add bob
         add alice
         acquire k a -> alice until 60s
         acquire k b -> bob until 60s
         acquire k c -> busy, next in 60s by Lease
         tick 1s
         release k b -> Released
         tick 1s
         release k a -> Released
         add carol
         acquire k c -> carol until 62s
         acquire k d -> bob until 62s
         acquire k e -> alice until 62s",
    );
}

#[test]
fn a_lease_expires_and_its_session_drains_however_late_anybody_looks() {
    play(
        "add alice
         acquire k a -> alice until 60s
         tick 59999ms
         renew k a ttl:5s -> until 64.999s
         tick 4999ms
         session alice -> LEASED until 64.999s
         tick 1ms
         renew k a -> lost: Expired at 64.999s
         acquire k b -> busy, next in 30s by Rest
         tick 29999ms
         status -> Busy: 0 free, 0 leased, 1 resting, 0 invalid of 1, next in 0.001s by Rest
         tick 1ms
         acquire k b -> alice until 154.999s
         tick 3600s
         status -> Ready: 1 free, 0 leased, 0 resting, 0 invalid of 1",
    );
}

#[test]
fn renewing_never_shortens_and_stops_at_the_lifetime() {
    play(
        "policy max_lifetime:100s
         add alice
         acquire k a -> alice until 60s
         renew k a ttl:10s -> until 60s
         tick 30s
         renew k a ttl:60s -> until 90s
         tick 20s
         renew k a ttl:60s -> until 100s
         tick 49s
         renew k a ttl:60s -> until 100s
         tick 1s
         renew k a ttl:60s -> lost: Expired at 100s",
    );
}

#[test]
fn releasing_twice_is_in_order_and_a_late_release_harms_nobody() {
    play(
        "add alice
         acquire k a -> alice until 60s
         release other a -> NotHolder
         release k a -> Released
         release k a -> AlreadyEnded
         acquire k b -> alice until 60s
         release k a -> AlreadyEnded
         renew k a -> lost: Released at 0s
         tick 5s
         release k b -> Released
         release k a -> AlreadyEnded
         renew k a -> lost: Superseded at 5s
         acquire k c -> alice until 65s
         tick 60s
         release k c -> lost: Expired at 65s",
    );
}

#[test]
fn the_longer_of_two_rests_counts() {
    play(
        "policy rest:10s
         add alice
         acquire k a -> alice until 60s
         release k a rest:5s -> Released
         session alice -> RESTING until 10s
         acquire k b -> busy, next in 10s by Rest
         tick 10s
         acquire k b -> alice until 70s
         release k b rest:20s -> Released
         session alice -> RESTING until 30s",
    );
}

#[test]
fn the_same_request_gets_the_same_lease_while_it_lives() {
    play(
        "add alice
         add bob
         acquire k a request:r1 -> alice until 60s
         tick 1s
         acquire k b request:r1 -> alice until 60s again
         acquire k c request:r1 digest:other -> RequestIdReused
         acquire other d request:r1 -> bob until 61s
         pause
         acquire k b request:r1 -> alice until 60s again
         acquire k e -> PoolPaused
         resume
         release k a -> Released
         acquire k f request:r1 -> alice until 61s
         acquire other g -> busy, next in 60s by Lease",
    );
}

#[test]
fn an_undo_takes_back_only_what_no_other_call_was_given() {
    play(
        "add alice
         add bob
         acquire k a request:r1 -> alice until 60s
         undo a 2 -> kept
         acquire k b request:r1 -> alice until 60s again
         undo a 1 -> kept
         undo b 2 -> kept
         renew k a -> until 60s
         acquire k c -> bob until 60s
         undo c 1 -> undone
         renew k c -> lost: Undone at 0s
         release k c -> AlreadyEnded
         undo c 1 -> kept
         acquire k d -> bob until 60s",
    );
}

#[test]
fn an_ask_that_the_broker_repeats_gets_what_it_was_granted() {
    play(
        "add alice
         add bob
         acquire k a -> alice until 60s
         acquire k a again:1s -> alice until 60s
         status -> Ready: 1 free, 1 leased, 0 resting, 0 invalid of 2",
    );
}

#[test]
fn selectors_and_names_narrow_the_choice() {
    play(
        "acquire k a -> PoolEmpty
         add alice country=de
         add bob country=fr premium=
         acquire k a where:country=fr -> bob until 60s
         acquire k b where:country=fr -> busy, next in 60s by Lease
         acquire k b where:country=it -> NoMatchingSession
         acquire k b where:!premium session:bob -> NoMatchingSession
         acquire k b session:bob -> busy, next in 60s by Lease
         acquire k b session:carol -> SessionNotFound
         acquire k b session:alice where:country=de -> alice until 60s
         surrender k a dead -> dead
         acquire k c where:premium -> PoolDepleted
         acquire k c session:bob -> PoolDepleted",
    );
}

#[test]
fn an_invalid_session_stays_out_until_it_is_restored() {
    play(
        "add alice
         restore alice -> is READY
         acquire k a -> alice until 60s
         invalidate alice banned -> banned
         invalidate alice again -> banned
         renew k a -> lost: Invalidated at 0s
         release k a -> lost: Invalidated at 0s
         status -> Depleted: 0 free, 0 leased, 0 resting, 1 invalid of 1
         acquire k b -> PoolDepleted
         remove alice -> is RESTING
         tick 10s
         restore alice -> RESTING until 30s
         tick 20s
         acquire k b -> alice until 90s
         surrender k b dead -> dead
         surrender k b dead -> dead
         release k b -> AlreadyEnded
         restore alice -> READY",
    );
}

#[test]
fn sessions_come_and_go_without_being_lent_twice() {
    play(
        "add alice key:1
         add alice key:2 -> SessionExists
         add bob key:1 -> is alice
         acquire k a -> alice until 60s
         remove alice -> is LEASED
         tick 60s
         remove alice -> is RESTING
         tick 30s
         remove alice
         remove alice -> SessionNotFound
         renew k a -> LeaseNotFound
         add bob key:1
         acquire k b -> bob until 150s",
    );
}

#[test]
fn a_draining_pool_runs_empty_and_a_paused_one_keeps_its_leases() {
    play(
        "add alice
         acquire k a -> alice until 60s
         pause
         tick 10s
         renew k a -> until 70s
         status -> Paused: 0 free, 1 leased, 0 resting, 0 invalid of 1, next in 60s by Lease
         drain
         renew k a -> PoolDraining
         acquire k b -> PoolDraining
         release k a -> Released
         resume
         acquire k b -> alice until 70s",
    );
}

#[test]
fn a_backlog_beyond_the_settling_limit_is_counted_right() {
    let mut stage = Stage::new();
    let many = 3 * SETTLE_LIMIT;
    for i in 0..many {
        stage.play(&format!("add s{i}"));
        stage.play(&format!("acquire k l{i}"));
    }
    stage.now = START + Span::secs(60);
    let status =
        |free, resting| format!("{free} free, 0 leased, {resting} resting, 0 invalid of {many}");
    assert!(stage.play("status").contains(&status(0, many)));
    stage.now = START + Span::secs(90);
    assert!(stage.play("status").contains(&status(many, 0)));
}

#[test]
fn epochs_rise_strictly_and_follow_the_clock() {
    let mut stage = Stage::new();
    stage.play("add alice");
    let mut epochs = Vec::new();
    for _ in 0..3 {
        stage.play("acquire k a");
        epochs.push(stage.pool().sessions[&session("alice")].standing.epoch);
        stage.play("release k a");
    }
    assert_eq!(epochs, [START.0, START.0 + 1, START.0 + 2]);
    stage.play("tick 1s");
    stage.play("acquire k a");
    let epoch = stage.pool().sessions[&session("alice")].standing.epoch;
    assert_eq!(epoch, START.0 + 1000);
}
