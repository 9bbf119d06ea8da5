//! What breaks: brokers are killed, Redis is stopped or stands still, wires misbehave.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::Duration,
};

use telegate::client::Client;

use super::{World, watcher::Addresses};
use crate::{
    harness::{
        broker::{Broker, connect_as},
        proxy::{Blow, Direction, Mood, Proxy},
        redis::RedisServer,
    },
    model::dice::Dice,
};

/// For how long at most nothing breaks between two blows.
const QUIET_MS: u64 = 3_000;

/// Brokers behind wires, on a Redis behind wires or on a file.
pub(super) struct Site {
    redis: Option<RedisServer>,
    posts: Vec<Post>,
    straight: Addresses,
    dir: PathBuf,
}

/// A broker and its wires.
struct Post {
    store: String,
    broker: Option<Broker>,
    /// Before the broker.
    front: Proxy,
    /// Between the broker and Redis.
    back: Option<Proxy>,
}

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    KillBroker,
    StopRedis,
    FreezeRedis,
    Cut(Side),
    HalfClose(Side, Direction),
    Slow(Side),
    Deaf(Side),
}

/// Which wire of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Front,
    Back,
}

/// A blow, and when.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "what a failure shows")]
pub(super) struct Wielded {
    deed: Deed,
    post: usize,
    from: Duration,
    until: Duration,
}

impl Site {
    /// Everything whole.
    pub(super) async fn open(redis: Option<RedisServer>, brokers: usize, dir: &Path) -> Self {
        let mut posts = Vec::new();
        for _ in 0..brokers {
            let (store, back) = match &redis {
                Some(redis) => {
                    let back = Proxy::start(redis.url().trim_start_matches("redis://")).await;
                    (format!("redis://{}", back.address()), Some(back))
                }
                None => (format!("embedded:{}", dir.join("store").display()), None),
            };
            let front = Proxy::start("127.0.0.1:1").await;
            posts.push(Post { store, broker: None, front, back });
        }
        let straight = Addresses::default();
        let mut site = Self { redis, posts, straight, dir: dir.to_owned() };
        for post in 0..brokers {
            site.start(post);
        }
        site
    }

    /// Where callers find the brokers.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.posts.iter().map(|post| post.front.address()).collect()
    }

    /// Where the brokers are, past the wires.
    pub(super) fn straight_addresses(&self) -> Addresses {
        Arc::clone(&self.straight)
    }

    /// A client of a broker, past the wires.
    pub(super) async fn connect(&self, key: &str) -> Client {
        let broker = self.posts[0].broker.as_ref().expect("it runs");
        connect_as(&broker.address, Some(key)).await
    }

    fn start(&mut self, number: usize) {
        let keys = self.dir.join("keys.toml").display().to_string();
        let post = &mut self.posts[number];
        let broker = Broker::start_with(&post.store, &self.dir, &["--keys", &keys]);
        post.front.lead_to(&broker.address);
        let mut straight = self.straight.lock().unwrap_or_else(PoisonError::into_inner);
        match straight.get_mut(number) {
            Some(address) => address.clone_from(&broker.address),
            None => straight.push(broker.address.clone()),
        }
        post.broker = Some(broker);
    }

    /// Breaks things for so long, with quiet between, and leaves everything whole.
    pub(super) async fn break_things(
        &mut self,
        world: &World,
        total: Duration,
        mut dice: Dice,
    ) -> Vec<Wielded> {
        let mut wielded = Vec::new();
        loop {
            pause(1_000 + dice.below(QUIET_MS)).await;
            if world.now() >= total {
                return wielded;
            }
            let (deed, post) = self.think(&mut dice);
            let from = world.now();
            self.wield(deed, post, &mut dice).await;
            let until = world.now();
            let mut history = world.history();
            history.blows.push((from, until));
            if deed == Deed::KillBroker {
                history.kills.push(from);
            }
            drop(history);
            wielded.push(Wielded { deed, post, from, until });
        }
    }

    fn think(&self, dice: &mut Dice) -> (Deed, usize) {
        let posts = u64::try_from(self.posts.len()).expect("few");
        let post = usize::try_from(dice.below(posts)).expect("few");
        let side = match self.redis {
            Some(_) => *dice.pick(&[Side::Front, Side::Back, Side::Back]),
            None => Side::Front,
        };
        let direction = *dice.pick(&[Direction::ToServer, Direction::ToClient]);
        let deed = match (dice.below(8), &self.redis) {
            (0, Some(_)) => Deed::StopRedis,
            (1, Some(_)) => Deed::FreezeRedis,
            (0..=3, _) => Deed::KillBroker,
            (4, _) => Deed::Cut(side),
            (5, _) => Deed::HalfClose(side, direction),
            (6, _) => Deed::Slow(side),
            _ => Deed::Deaf(side),
        };
        (deed, post)
    }

    /// Does it, for a while where it takes a while, and mends it.
    async fn wield(&mut self, deed: Deed, number: usize, dice: &mut Dice) {
        let while_ms = 50 + dice.below(2_500);
        match deed {
            Deed::KillBroker => {
                if let Some(broker) = self.posts[number].broker.take() {
                    broker.kill();
                }
                pause(while_ms).await;
                // It waits for the new one to listen, and callers must not.
                tokio::task::block_in_place(|| self.start(number));
            }
            Deed::StopRedis => {
                let redis = self.redis.as_mut().expect("it is on Redis");
                redis.stop();
                pause(while_ms).await;
                let starts = tokio::task::block_in_place(|| redis.start_again());
                assert!(starts, "redis-server does not start again");
            }
            Deed::FreezeRedis => {
                let redis = self.redis.as_ref().expect("it is on Redis");
                redis.freeze();
                pause(while_ms).await;
                redis.thaw();
            }
            Deed::Cut(side) => self.wire(number, side).strike(Blow::Cut),
            Deed::HalfClose(side, direction) => {
                self.wire(number, side).strike(Blow::HalfClose(direction));
                pause(while_ms).await;
                self.wire(number, side).strike(Blow::Cut);
            }
            Deed::Slow(side) => {
                self.wire(number, side).be(Mood::Slow(Duration::from_millis(dice.below(300))));
                pause(while_ms).await;
                self.wire(number, side).be(Mood::Good);
            }
            Deed::Deaf(side) => {
                self.wire(number, side).be(Mood::Deaf);
                pause(while_ms).await;
                self.wire(number, side).be(Mood::Good);
            }
        }
    }

    fn wire(&self, number: usize, side: Side) -> &Proxy {
        let post = &self.posts[number];
        match side {
            Side::Front => &post.front,
            Side::Back => post.back.as_ref().unwrap_or(&post.front),
        }
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
