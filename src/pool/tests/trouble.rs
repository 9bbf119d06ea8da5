//! Errors met under a lease, as tables of deeds and outcomes.

use super::*;

/// A scope in short.
fn scope(text: &str) -> Scope {
    match text.split_once(':') {
        Some(("method", name)) => Scope::Method(name.to_owned()),
        Some(("peer", name)) => Scope::Peer(name.to_owned()),
        Some(("can", name)) => Scope::Capability(Capability::parse(name).unwrap()),
        _ => Scope::Session,
    }
}

/// An error by its name, with the method and the peer that it was about.
fn error(name: &str, options: &HashMap<&str, &str>) -> Assessment {
    let option = |key| (*options.get(key).unwrap_or(&"")).to_owned();
    assess(&Report {
        code: if name.starts_with("AUTH_KEY") { 401 } else { 0 },
        message: name.to_owned(),
        method: option("method"),
        peer: option("peer"),
        occurred_at: options.get("at").map(|at| START + span(at)),
        ..Report::default()
    })
}

/// An ask, in full.
pub(super) fn ask(key: &str, secret: LeaseSecret, options: &HashMap<&str, &str>) -> Ask {
    Ask {
        holder: Holder { key: KeyId::new(key), purpose: String::new() },
        ttl: options.get("ttl").map(|ttl| span(ttl)),
        selector: Selector::parse(options.get("where").unwrap_or(&"")).unwrap(),
        session: options.get("session").map(|name| session(name)),
        methods: ["for", "for2"]
            .iter()
            .filter_map(|key| options.get(key))
            .map(|m| (*m).into())
            .collect(),
        peer: options.get("about").map(|peer| (*peer).to_owned()),
        probe: options.contains_key("probe"),
        request: options.get("request").map(|id| RequestTag {
            id: (*id).to_owned(),
            digest: options.get("digest").unwrap_or(&"same").to_string(),
        }),
        secret,
        retried_for: options.get("again").map(|span_| span(span_)),
    }
}

impl Stage {
    /// Plays a deed that has to do with errors.
    pub(super) fn trouble(&mut self, words: &[&str], options: &HashMap<&str, &str>) -> String {
        let now = self.now;
        match words[0] {
            "report" => {
                let (id, key) = (self.leases[words[2]].clone(), KeyId::new(words[1]));
                let error = error(words[3], options);
                said(self.pool().report(&id, &key, &error, now), |effect| told(&effect))
            }
            "end" => {
                let (id, key) = (self.leases[words[2]].clone(), KeyId::new(words[1]));
                let error = error(words[3], options);
                let released = self.pool().release(&id, &key, Span::ZERO, Some(&error), now);
                said(released, |(outcome, effect)| {
                    format!("{outcome:?}: {}", effect.map_or("nothing".to_owned(), |e| told(&e)))
                })
            }
            "afflict" => {
                let error = error(words[2], options);
                let by = KeyId::new("k");
                self.pool().afflict(words[1].parse().unwrap(), &by, &error, now).to_string()
            }
            "clear" => {
                let name = Some(words[1]).filter(|name| *name != "pool").map(session);
                let cleared =
                    self.pool().clear_cool_down(name.as_ref(), &scope(words[2]), &mandate(), now);
                said(cleared, |view| view.map_or(String::new(), |view| cools(&view)))
            }
            "cools" => said(self.pool().get(&session(words[1]), now), |view| cools(&view)),
            "brakes" => {
                let brakes = &self.realm.view(&name(), now).unwrap().brakes;
                entries(brakes)
            }
            other => panic!("unknown deed {other}"),
        }
    }
}

fn told(effect: &Effect) -> String {
    let until = effect.until.map_or(String::new(), |until| format!(" until {}", at(until)));
    let fired = effect.escalations.iter().fold(String::new(), |told, e| told + " " + e.id());
    format!("{}{until}{fired}", effect.state.name())
}

fn cools(view: &SessionView) -> String {
    entries(&view.standing.cool_downs)
}

fn entries(entries: &[CoolDown]) -> String {
    let entry = |e: &CoolDown| format!("{} until {} by {}", e.scope.key(), at(e.until), e.rule);
    entries.iter().map(entry).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_flood_closes_its_method_until_its_end_and_never_sooner() {
    play(
        "add alice
         acquire k a -> alice until 60s
         report k a FLOOD_WAIT_29 method:messages.search -> LEASED until 30s
         report k a FLOOD_WAIT_9 method:SearchRequest -> LEASED until 30s
         release k a -> Released
         cools alice -> method:search until 30s by W1
         acquire k b for:search -> flood wait, next in 30s by CoolDown
         acquire k b for:getHistory -> alice until 60s
         release k b -> Released
         tick 29999ms
         acquire k c for:search -> flood wait, next in 0.001s by CoolDown
         tick 1ms
         acquire k c for:search -> alice until 90s
         cools alice",
    );
}

#[test]
fn the_least_recently_used_that_is_open_in_all_scopes_goes_out() {
    play(
        "add a
         add b
         add c
         acquire k 1 -> a until 60s
         end k 1 FLOOD_WAIT_29 method:one -> Released: LEASED until 30s
         acquire k 2 -> b until 60s
         end k 2 SLOWMODE_WAIT_20 peer:chat -> Released: LEASED until 20s
         acquire k 3 -> c until 60s
         end k 3 FLOOD_PREMIUM_WAIT_40 -> Released: LEASED until 40s
         explain k for:one -> b
         explain k for:one about:chat -> c
         explain k for:upload.getFile about:chat -> a
         explain k for:upload.getFile about:chat session:a -> a
         add d
         explain k for:one about:chat for2:upload.getFile -> d
         acquire k 4 -> d until 60s
         explain k for:one about:chat for2:upload.getFile -> flood wait, next in 20s by CoolDown
         explain k for:one for2:upload.getFile -> b",
    );
}

#[test]
fn the_whole_session_rests_and_cools_down_by_what_lasts_longer() {
    play(
        "add alice
         acquire k a -> alice until 60s
         report k a FLOOD_WAIT_99 -> LEASED until 100s
         tick 60s
         session alice -> FLOOD_WAIT until 100s
         status -> FloodWait: 0 free, 0 leased, 0 resting, 0 invalid of 1, next in 40s by CoolDown
         acquire k b -> flood wait, next in 40s by CoolDown
         remove alice -> is RESTING
         clear alice session
         session alice -> RESTING until 90s
         tick 30s
         acquire k b -> alice until 150s",
    );
}

#[test]
fn only_a_probe_decides_about_a_suspect_session() {
    play(
        "add alice
         acquire k a -> alice until 60s
         end k a AUTH_KEY_UNREGISTERED -> Released: LEASED until 60s
         session alice -> SUSPECT
         acquire k b -> PoolDepleted
         acquire k b probe:yes -> alice until 60s
         end k b MESSAGE_EMPTY -> Released: LEASED
         session alice -> READY
         acquire k c -> alice until 60s
         end k c AUTH_KEY_UNREGISTERED -> Released: LEASED until 60s
         tick 1s
         acquire k d probe:yes -> alice until 61s
         report k d AUTH_KEY_UNREGISTERED -> INVALID until 61s
         release k d -> AlreadyEnded
         restore alice -> READY",
    );
}

#[test]
fn many_floods_become_one() {
    play(
        "add alice
         add bob
         acquire k a session:alice -> alice until 60s
         report k a FLOOD_WAIT_9 method:one -> LEASED until 10s
         report k a FLOOD_WAIT_19 method:two -> LEASED until 20s
         report k a FLOOD_WAIT_4 method:three -> LEASED until 5s E1
         cools alice -> method:one until 10s by W1, method:three until 5s by W1, \
                        method:two until 20s by W1, session until 20s by E1
         acquire k b session:bob -> bob until 60s
         report k b FLOOD_WAIT_7199 method:four -> LEASED until 7200s E2
         report k a FLOOD_WAIT_359 method:four -> LEASED until 360s E3
         brakes -> method:four until 360s by E3
         add carol
         acquire k c for:four -> flood wait, next in 360s by CoolDown
         clear pool method:four
         acquire k c for:four -> carol until 60s",
    );
}

#[test]
fn a_report_counts_for_the_last_lease_and_for_no_other() {
    play(
        "add alice
         acquire k a -> alice until 60s
         report other a FLOOD_WAIT_9 -> NotHolder
         release k a -> Released
         report other a FLOOD_WAIT_9 -> NotHolder
         report k a FLOOD_WAIT_9 at:0s -> FLOOD_WAIT until 10s
         tick 10s
         acquire k b -> alice until 70s
         tick 60s
         end k b FLOOD_WAIT_99 -> lost: Expired at 70s
         session alice -> FLOOD_WAIT until 170s
         report k a FLOOD_WAIT_999 -> lost: Superseded at 70s",
    );
}

#[test]
fn an_accounts_trouble_is_that_of_its_sessions() {
    play(
        "add a1 account:1
         add a2 account:1
         add b1 account:2
         acquire k a -> a1 until 60s
         report k a PEER_FLOOD -> LEASED until 86400s
         cools a2 -> capability:strangers until 86400s by R1
         explain k for:messages.sendMessage -> b1
         afflict 2 PEER_FLOOD -> 1
         afflict 3 PEER_FLOOD -> 0
         explain k for:messages.sendMessage -> flood wait, next in 86400s by CoolDown
         report k a USER_DEACTIVATED_BAN -> INVALID
         session a2 -> INVALID
         afflict 1 USER_DEACTIVATED_BAN -> 0
         explain k -> b1",
    );
}
