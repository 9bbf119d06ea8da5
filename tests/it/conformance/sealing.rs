//! Sealing: what an engine keeps, what a holder gets, what does not open, and rotation.

use std::sync::Arc;

use telegate::{
    pool::{
        Credential, Edit, NewSession, Policy, Refusal, Secrets, SessionChange, SessionState, Span,
    },
    store::{
        self, Error, Resealed, Store,
        sealed::{OVERHEAD, SealedStore, Sealing, StoreKeys},
    },
};

use super::no_pool;
use crate::{
    harness::{
        OTHER_STORE_KEY, STORE_KEY, mandate, sealing,
        stage::{ANN, Stage, labelled, lawful, name, pool_name, session, want},
    },
    unruly::Unruly,
};

const CREDENTIAL: &[u8] = b"secret of rich";
const PROXY: &[u8] = b"socks5://ann:hunter2@h:1";
const DEVICE: &[u8] = b"\x08\x06\x12\x04hash";

/// A session with everything that is secret.
fn rich() -> NewSession {
    NewSession {
        account_id: Some(i64::MIN),
        proxy: Some(Credential(PROXY.to_vec())),
        device: Some(Credential(DEVICE.to_vec())),
        ..labelled("rich", &[("k", "v")])
    }
}

/// A store that seals with keys, around the stage's.
fn sealed(t: &Stage, keys: &[&str]) -> SealedStore {
    SealedStore::new(t.store.clone(), sealing(keys)).unwrap()
}

fn without(t: &Stage, sealing: Sealing) -> SealedStore {
    SealedStore::new(t.store.clone(), sealing).unwrap()
}

fn id(key: &str) -> store::sealed::StoreKeyId {
    StoreKeys::parse(key, "the tests").unwrap().ids().next().unwrap()
}

/// The secret parts of a session as the engine keeps them.
async fn kept(t: &Stage, session: &str) -> Secrets {
    t.get(session).await.unwrap().record.secrets()
}

async fn acquire(t: &Stage, store: &dyn Store, want: crate::harness::stage::Want) -> Acquired {
    let ask = want.ask(|| t.fresh_secret());
    match store.acquire(&pool_name("p"), ask).await {
        Ok(grant) => Ok(grant.record),
        Err(error) => Err(error.to_string()),
    }
}

type Acquired = Result<telegate::pool::SessionRecord, String>;

fn secrets(credential: &[u8]) -> Secrets {
    Secrets { credential: Credential(credential.to_vec()), proxy: None, device: None }
}

law! {
    async fn secrets_are_replaced_only_if_they_are_those_that_were_read(t) {
        t.pool(Policy::default()).await;
        let added = t.add(rich()).await.unwrap().record;
        t.advance(Span::secs(1));
        let lease = t.lend(want()).await;
        let reseal = async |read: &Secrets, new: &Secrets| {
            let done = t.store.reseal(&pool_name("p"), &name("rich"), read, new.clone()).await;
            lawful(done).unwrap()
        };
        let (first, second, third) = (added.secrets(), secrets(&[0xc1, 0]), secrets(b"third"));
        assert!(reseal(&first, &second).await);
        assert!(reseal(&first, &second).await, "a repetition finds it done");
        assert!(!reseal(&first, &third).await);
        assert_eq!(kept(t, "rich").await, second);
        assert!(reseal(&second, &third).await);
        let after = t.get("rich").await.unwrap().record;
        assert_eq!(after, added.with_secrets(third), "nothing else changed");
        t.renew(&lease).await.unwrap();
    }

    async fn what_was_resealed_is_so_after_a_restart(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let read = kept(t, "a").await;
        let done = t.store.reseal(&pool_name("p"), &name("a"), &read, secrets(b"new")).await;
        assert!(done.unwrap());
        let before = t.get("a").await;
        t.reopen().await;
        assert_eq!(t.get("a").await, before);
        assert_eq!(kept(t, "a").await, secrets(b"new"));
        t.release(&lease).await.unwrap();
    }

    async fn what_is_not_there_is_not_resealed(t) {
        t.pool_of(&["a"]).await;
        let (x, y) = (secrets(b"x"), secrets(b"y"));
        let none = t.store.reseal(&pool_name("p"), &name("b"), &x, y.clone()).await;
        let missing = Refusal::SessionNotFound { pool: pool_name("p"), session: name("b") };
        assert_eq!(lawful(none), Err(missing));
        let none = t.store.reseal(&pool_name("q"), &name("a"), &x, y).await;
        assert_eq!(lawful(none), Err(no_pool("q")));
    }

    async fn an_engine_keeps_no_secret_and_the_holder_gets_each(t) {
        t.pool(Policy::default()).await;
        let store = sealed(t, &[STORE_KEY]);
        let added = store.add(&pool_name("p"), rich()).await.unwrap();
        assert_eq!(added.record.proxy, Some(Credential(PROXY.to_vec())));
        let Secrets { credential, proxy, device } = kept(t, "rich").await;
        let (proxy, device) = (proxy.unwrap(), device.unwrap());
        for (kept, plain) in [(credential, CREDENTIAL), (proxy, PROXY), (device, DEVICE)] {
            assert_eq!(kept.0.len(), plain.len() + OVERHEAD);
            assert_eq!(kept.0[0], 0xc1);
            assert!(!kept.0.windows(4).any(|some| plain.windows(4).any(|four| four == some)));
        }
        let granted = acquire(t, &store, want()).await.unwrap();
        let plain = rich().into_record(added.record.created_at);
        assert_eq!(granted, plain);
        let shown = store.get_session(&pool_name("p"), &name("rich")).await.unwrap().record;
        assert_eq!((shown.proxy, shown.device), (plain.proxy, plain.device));
        assert_ne!(shown.credential, plain.credential, "nobody looks at it, so it stays sealed");
        let listed = store.list_sessions(&pool_name("p"), None, 9).await.unwrap().remove(0).record;
        assert_eq!(listed.proxy, Some(Credential(PROXY.to_vec())));
    }

    async fn what_a_session_changes_to_is_sealed_too(t) {
        t.pool(Policy::default()).await;
        let store = sealed(t, &[STORE_KEY]);
        store.add(&pool_name("p"), rich()).await.unwrap();
        let proxy = Credential(b"http://new".to_vec());
        let device = Credential(b"\x08\x07".to_vec());
        let change = || SessionChange {
            proxy: Edit::Set(proxy.clone()),
            device: Edit::Set(device.clone()),
            ..SessionChange::default()
        };
        let update = async |store: &dyn Store, change| {
            store.update_session(&pool_name("p"), &name("rich"), change, &mandate()).await
        };
        let shown = update(&store, change()).await.unwrap().record;
        assert_eq!((shown.proxy, shown.device), (Some(proxy.clone()), Some(device.clone())));
        for sealed in [kept(t, "rich").await.proxy, kept(t, "rich").await.device] {
            assert_eq!(sealed.unwrap().0[0], 0xc1);
        }
        let granted = acquire(t, &store, want()).await.unwrap();
        assert_eq!((granted.proxy, granted.device), (Some(proxy.clone()), Some(device.clone())));
        let closed = without(t, Sealing::Without);
        let refused = update(&closed, change()).await.unwrap_err();
        assert!(matches!(refused, Error::NoKey), "{refused}");
        let none = SessionChange { proxy: Edit::Clear, ..SessionChange::default() };
        assert_eq!(update(&closed, none).await.unwrap().record.proxy, None);
    }

    async fn without_a_key_nothing_is_taken_in_unless_that_is_asked_for(t) {
        t.pool(Policy::default()).await;
        let closed = without(t, Sealing::Without);
        let refused = closed.add(&pool_name("p"), rich()).await.unwrap_err();
        assert!(matches!(refused, Error::NoKey), "{refused}");
        assert_eq!(t.status().await.counts.total, 0);
        let plain = without(t, Sealing::Unencrypted);
        plain.add(&pool_name("p"), rich()).await.unwrap();
        assert_eq!(kept(t, "rich").await.credential.0, CREDENTIAL);
        let granted = acquire(t, &closed, want()).await.unwrap();
        assert_eq!(granted.credential.0, CREDENTIAL, "what is there from before is lent");
        for store in [closed, plain] {
            let refused = store.reseal_sessions(&pool_name("p"), None, 9).await.unwrap_err();
            assert!(matches!(refused, Error::NoKey), "{refused}");
        }
    }

    async fn a_session_that_does_not_open_is_named_and_not_left_leased(t) {
        t.pool_of(&["b"]).await;
        sealed(t, &[STORE_KEY]).add(&pool_name("p"), session("a")).await.unwrap();
        for store in [sealed(t, &[OTHER_STORE_KEY]), without(t, Sealing::Without)] {
            let error = acquire(t, &store, want().named("a")).await.unwrap_err();
            let said = format!(
                "the store is broken: session a of pool p: its credential is sealed with store \
                 key {}, which this broker does not have; give it that key",
                id(STORE_KEY)
            );
            assert_eq!(error, said);
            assert_eq!(t.state("a").await, SessionState::Ready);
        }
        let good = sealed(t, &[OTHER_STORE_KEY, STORE_KEY]);
        assert_eq!(acquire(t, &good, want().named("a")).await.unwrap().name, name("a"));
    }

    async fn a_session_that_does_not_open_lets_the_others_go_first(t) {
        t.pool(Policy::default()).await;
        sealed(t, &[STORE_KEY]).add(&pool_name("p"), session("a")).await.unwrap();
        let store = sealed(t, &[OTHER_STORE_KEY]);
        for good in ["b", "c"] {
            store.add(&pool_name("p"), session(good)).await.unwrap();
        }
        t.advance(Span::secs(1));
        acquire(t, &store, want()).await.unwrap_err();
        for good in ["b", "c"] {
            assert_eq!(acquire(t, &store, want()).await.unwrap().name, name(good));
        }
        acquire(t, &store, want()).await.unwrap_err();
        assert_eq!(t.status().await.counts.free, 1);
    }

    async fn a_lease_that_its_holder_has_by_another_answer_is_not_taken_back(t) {
        t.pool(Policy::default()).await;
        let good = sealed(t, &[STORE_KEY]);
        good.add(&pool_name("p"), session("a")).await.unwrap();
        let grant = acquire(t, &good, want().request("r1")).await;
        assert!(grant.is_ok());
        let wrong = sealed(t, &[OTHER_STORE_KEY]);
        acquire(t, &wrong, want().request("r1")).await.unwrap_err();
        let standing = t.standing("a").await;
        assert_eq!(standing.lease.unwrap().holder.key.as_str(), ANN);
    }

    async fn a_value_that_is_moved_or_changed_does_not_open(t) {
        t.pool(Policy::default()).await;
        let store = sealed(t, &[STORE_KEY]);
        for name in ["a", "b"] {
            store.add(&pool_name("p"), session(name)).await.unwrap();
        }
        let (of_a, of_b) = (kept(t, "a").await, kept(t, "b").await);
        let put = async |name: &str, read: &Secrets, new: &Secrets| {
            let name = crate::harness::stage::name(name);
            assert!(t.store.reseal(&pool_name("p"), &name, read, new.clone()).await.unwrap());
        };
        put("b", &of_b, &of_a).await;
        let error = acquire(t, &store, want().named("b")).await.unwrap_err();
        let said = format!("its credential does not open with store key {}: ", id(STORE_KEY));
        assert!(error.contains("session b of pool p") && error.contains(&said), "{error}");
        put("b", &of_a, &of_b).await;
        acquire(t, &store, want().named("b")).await.unwrap();
        let swapped = Secrets { proxy: Some(of_a.credential.clone()), ..of_a.clone() };
        put("a", &of_a, &swapped).await;
        let error = acquire(t, &store, want().named("a")).await.unwrap_err();
        assert!(error.contains("its proxy does not open"), "{error}");
        let shown = store.get_session(&pool_name("p"), &name("a")).await.unwrap();
        assert_eq!(shown.record.proxy, None, "it can still be seen, and so be removed");
    }

    async fn rotation_seals_everything_with_the_first_key_and_tells_which_keys_can_go(t) {
        t.pool_of(&["plain"]).await;
        sealed(t, &[STORE_KEY]).add(&pool_name("p"), rich()).await.unwrap();
        let lease = t.lend(want().named("rich")).await;
        let store = sealed(t, &[OTHER_STORE_KEY, STORE_KEY]);
        store.add(&pool_name("p"), session("new")).await.unwrap();
        let page = |after: Option<&str>| {
            let (store, after) = (&store, after.map(name));
            async move { store.reseal_sessions(&pool_name("p"), after.as_ref(), 2).await.unwrap() }
        };
        let (new, old) = (id(OTHER_STORE_KEY), id(STORE_KEY));
        let first = page(None).await;
        let expected = Resealed {
            resealed: 1,
            unchanged: 1,
            needed: [(new, 2)].into(),
            held: vec![new, old],
            next: Some(name("plain")),
            ..Resealed::default()
        };
        assert_eq!(first, expected);
        let second = page(Some("plain")).await;
        assert_eq!((second.resealed, second.next), (1, None));
        assert_eq!(second.needed, [(new, 1)].into());
        assert_eq!(store.reseal_sessions(&pool_name("p"), None, 9).await.unwrap().unchanged, 3);
        t.renew(&lease).await.unwrap();
        t.release(&lease).await.unwrap();
        let alone = sealed(t, &[OTHER_STORE_KEY]);
        for one in ["plain", "rich", "new"] {
            let record = acquire(t, &alone, want().named(one)).await.unwrap();
            assert_eq!(record.credential.0, format!("secret of {one}").into_bytes());
        }
        let missing = store.reseal_sessions(&pool_name("q"), None, 9).await;
        assert_eq!(lawful(missing), Err(no_pool("q")));
    }

    async fn rotation_leaves_what_does_not_open_and_says_which_key_it_needs(t) {
        t.pool_of(&["b"]).await;
        sealed(t, &[STORE_KEY]).add(&pool_name("p"), session("a")).await.unwrap();
        let before = kept(t, "a").await;
        let store = sealed(t, &[OTHER_STORE_KEY]);
        let done = store.reseal_sessions(&pool_name("p"), None, 9).await.unwrap();
        let (new, old) = (id(OTHER_STORE_KEY), id(STORE_KEY));
        assert_eq!((done.resealed, done.unchanged), (1, 0));
        assert_eq!(done.needed, [(new, 1), (old, 1)].into());
        assert_eq!(done.left[0].0, name("a"));
        assert!(done.left[0].1.contains(&format!("store key {old}")), "{:?}", done.left);
        assert_eq!(kept(t, "a").await, before);
    }

    async fn a_change_between_reading_and_sealing_is_not_lost(t) {
        t.pool_of(&["a", "b"]).await;
        let unruly = Arc::new(Unruly::new(t.store.clone()));
        let store = SealedStore::new(unruly.clone(), sealing(&[STORE_KEY])).unwrap();
        unruly.meddle_next(secrets(b"changed"));
        let done = store.reseal_sessions(&pool_name("p"), None, 1).await.unwrap();
        assert_eq!((done.resealed, done.left), (1, vec![]));
        let record = acquire(t, &store, want().named("a")).await.unwrap();
        assert_eq!(record.credential.0, b"changed");
        for again in [&b"1"[..], b"2", b"3", b"4", b"5"] {
            unruly.meddle_next(secrets(again));
        }
        let done = store.reseal_sessions(&pool_name("p"), Some(&name("a")), 1).await.unwrap();
        assert_eq!((done.resealed, done.left.len()), (0, 1));
        assert!(done.left[0].1.contains("changed again and again"), "{:?}", done.left);
        assert_eq!(kept(t, "b").await.credential.0, b"5");
    }
}
