//! Gathering: calls of one pool that come together share one run of a script.
//!
//! Nobody is made to wait for company. While runs of a pool are under way, those that come line up
//! in its lane, and when one is answered all of them go together. Each part is as a call alone: it
//! is refused alone, fails alone, and whoever hangs up takes back nothing but its own.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::Arc,
};

use redis::{RedisError, RedisResult, Value};
use tokio::sync::oneshot;

use super::{
    argument::Call,
    keys::Names,
    resp,
    scripts::{Scripts, Verb},
};

/// The most calls that share a run: how long a script keeps others from the server is bounded.
const MOST: usize = 32;
/// How many runs of one pool are under way at once: the server has the next one at hand.
const RUNS: usize = 2;

/// Who is told what the server answered.
pub(super) type Answer = oneshot::Sender<RedisResult<Value>>;

/// The calls that wait to be sent together, by pool.
pub(super) struct Lanes {
    scripts: Arc<Scripts>,
    by_pool: HashMap<Id, Lane>,
    /// The lanes from which something can be sent.
    ready: VecDeque<Id>,
}

/// A pool, by where its names are kept: each pool's are made once (see `keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id(usize);

struct Lane {
    names: Names,
    waiting: VecDeque<Part>,
    under_way: usize,
    is_ready: bool,
}

/// One call.
struct Part {
    verb: Verb,
    /// Its arguments, as words of a command.
    count: usize,
    words: Vec<u8>,
    answer: Answer,
}

/// A run that was sent, and whom its answer is for.
pub(super) struct Run {
    lane: Id,
    answers: Vec<Answer>,
}

impl Lanes {
    pub(super) fn new(scripts: Arc<Scripts>) -> Self {
        Self { scripts, by_pool: HashMap::new(), ready: VecDeque::new() }
    }

    /// Lets go of everything that was not sent.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.ready.clear();
        mem::take(&mut self.by_pool)
    }

    /// Lines a call up.
    pub(super) fn push(&mut self, call: &Call, answer: Answer) {
        let id = Id(call.keys.words.as_ptr().addr());
        let lane = self.by_pool.entry(id).or_insert_with(|| Lane {
            names: call.keys.clone(),
            waiting: VecDeque::new(),
            under_way: 0,
            is_ready: false,
        });
        let (verb, count, words) = (call.verb, call.count, call.words.clone());
        lane.waiting.push_back(Part { verb, count, words, answer });
        lane.ready(id, &mut self.ready);
    }

    /// Writes what can be sent, and gives the runs in their order.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, mut sent: impl FnMut(Run)) {
        while let Some(id) = self.ready.pop_front() {
            let Some(lane) = self.by_pool.get_mut(&id) else { continue };
            lane.is_ready = false;
            while lane.under_way < RUNS {
                let Some(run) = lane.send(id, &self.scripts, out) else { break };
                lane.under_way += 1;
                sent(run);
            }
            if lane.is_idle() {
                self.by_pool.remove(&id);
            }
        }
    }

    /// Tells those whose run was answered, and lets the next ones go.
    pub(super) fn answered(&mut self, run: Run, answer: RedisResult<Value>) {
        if let Some(lane) = self.by_pool.get_mut(&run.lane) {
            lane.under_way -= 1;
            lane.ready(run.lane, &mut self.ready);
            if lane.is_idle() {
                self.by_pool.remove(&run.lane);
            }
        }
        run.tell(answer);
    }
}

impl Lane {
    fn ready(&mut self, id: Id, list: &mut VecDeque<Id>) {
        if !self.is_ready && !self.waiting.is_empty() && self.under_way < RUNS {
            self.is_ready = true;
            list.push_back(id);
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way == 0
    }

    /// Writes one run of the calls that came first, leaving out those whose callers hung up before
    /// anything was sent.
    fn send(&mut self, lane: Id, scripts: &Scripts, out: &mut Vec<u8>) -> Option<Run> {
        let mut parts = Vec::with_capacity(self.waiting.len().min(MOST));
        while parts.len() < MOST
            && let Some(part) = self.waiting.pop_front()
        {
            if !part.answer.is_closed() {
                parts.push(part);
            }
        }
        if parts.is_empty() {
            return None;
        }
        let words = parts.iter().map(|part| 2 + part.count).sum();
        begin(out, scripts.sha(Verb::Many), &self.names, words);
        for part in &parts {
            resp::word(out, part.verb.gathered().unwrap_or_default());
            resp::number(out, part.count);
            out.extend_from_slice(&part.words);
        }
        Some(Run { lane, answers: parts.into_iter().map(|part| part.answer).collect() })
    }
}

impl Run {
    fn tell(self, answer: RedisResult<Value>) {
        // Whoever hung up does not hear it.
        let tell = |to: Answer, answer| drop(to.send(answer));
        match answer {
            Ok(Value::Array(values)) if values.len() == self.answers.len() => {
                let told = self.answers.into_iter().zip(values);
                told.for_each(|(to, value)| tell(to, part_of(value)));
            }
            answer => {
                let nonsense = (redis::ErrorKind::Parse, "Redis answered another run");
                let error = answer.err().unwrap_or_else(|| RedisError::from(nonsense));
                self.answers.into_iter().for_each(|to| tell(to, Err(error.clone())));
            }
        }
    }
}

/// Begins the run of a script on a pool's keys.
pub(super) fn begin(out: &mut Vec<u8>, sha: &str, names: &Names, arguments: usize) {
    resp::command(out, 3 + names.count + arguments);
    resp::word(out, "EVALSHA");
    resp::word(out, sha);
    resp::number(out, names.count);
    out.extend_from_slice(&names.words);
}

/// What one part answered: `{failed, what the server said}` is the error that the call alone would
/// have been answered.
fn part_of(mut value: Value) -> RedisResult<Value> {
    let Value::Array(fields) = &mut value else { return Ok(value) };
    let [Value::BulkString(tag), Value::BulkString(said)] = fields.as_mut_slice() else {
        return Ok(value);
    };
    if tag != b"failed" {
        return Ok(value);
    }
    let mut line = vec![b'-'];
    line.extend(mem::take(said).into_iter().filter(|byte| !b"\r\n".contains(byte)));
    line.extend_from_slice(b"\r\n");
    resp::read(&line)
}
