//! The pipe: all calls over one socket, answered in their order.
//!
//! A call adds its bytes to those that wait, and one task writes them all when it comes to run. So
//! calls that come together go out together, without anybody waiting for the others. Calls that can
//! share a run of a script line up (see `gather`), and that task sends them.

use std::{
    collections::VecDeque,
    future::Future,
    io, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, BytesMut};
use redis::{RedisError, RedisResult, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
};
use tokio_util::io::poll_read_buf;

use super::{
    argument::Call,
    gather::{Answer, Lanes, Run},
    resp,
};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;
/// How much memory a buffer keeps when it is empty.
const KEPT: usize = 256 * 1024;

/// Who is told that a connection has ended, and why.
pub(super) trait Mourner: Send + Unpin + 'static {
    fn ended(&self, why: &str);
}

/// One end of a connection. When it is dropped, the connection ends.
pub(super) struct Pipe(Arc<Shared>);

struct Shared(Mutex<Queue>);

struct Queue {
    /// What is to be written.
    out: Vec<u8>,
    /// Calls that are written together.
    lanes: Lanes,
    /// Who waits for an answer, in the order of the calls; as many as the edge lets in.
    waiting: VecDeque<Waiter>,
    /// How many answers have come.
    answers: u64,
    /// The task that writes, while it sleeps.
    driver: Option<Waker>,
    /// Why nothing is taken any more.
    ended: Option<String>,
}

/// Whom an answer is for.
enum Waiter {
    One(Answer),
    Many(Run),
}

impl Queue {
    /// Writes what can be sent together.
    fn gather(&mut self) {
        let Self { out, lanes, waiting, .. } = self;
        lanes.fill(out, |run| waiting.push_back(Waiter::Many(run)));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    /// Talks over a stream that nothing was said on yet.
    pub(super) fn over<S>(stream: S, mourner: impl Mourner, lanes: Lanes) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shared = Arc::new(Shared(Mutex::new(Queue {
            out: Vec::new(),
            lanes,
            waiting: VecDeque::new(),
            answers: 0,
            driver: None,
            ended: None,
        })));
        let driver = Driver {
            stream,
            mourner,
            shared: Arc::clone(&shared),
            writing: Vec::new(),
            written: 0,
            read: BytesMut::new(),
            why: None,
        };
        tokio::spawn(driver);
        Self(shared)
    }

    /// Writes a command and waits for its answer.
    pub(super) async fn ask(&self, write: impl FnOnce(&mut Vec<u8>)) -> RedisResult<Value> {
        self.told(|queue, answer| {
            write(&mut queue.out);
            queue.waiting.push_back(Waiter::One(answer));
        })
        .await
    }

    /// Runs a script together with others that come meanwhile, and waits for its answer.
    pub(super) async fn join(&self, call: &Call) -> RedisResult<Value> {
        self.told(|queue, answer| queue.lanes.push(call, answer)).await
    }

    /// How many answers have come.
    pub(super) fn answers(&self) -> u64 {
        self.0.queue().answers
    }

    async fn told(&self, enter: impl FnOnce(&mut Queue, Answer)) -> RedisResult<Value> {
        let (answer, told) = oneshot::channel();
        {
            let mut queue = self.0.queue();
            if let Some(why) = &queue.ended {
                return Err(ended(why).into());
            }
            enter(&mut queue, answer);
            if let Some(driver) = queue.driver.take() {
                driver.wake();
            }
        }
        // Whoever drops the sender has noted why before.
        told.await.unwrap_or_else(|_| Err(self.why_ended()))
    }

    fn why_ended(&self) -> RedisError {
        ended(self.0.queue().ended.as_deref().unwrap_or_default()).into()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.ended.get_or_insert_with(|| "nobody uses the connection".to_owned());
        if let Some(driver) = queue.driver.take() {
            drop(queue);
            driver.wake();
        }
    }
}

/// The task that writes what waits and reads what comes.
struct Driver<S, M: Mourner> {
    stream: S,
    mourner: M,
    shared: Arc<Shared>,
    /// What is being written, and how much of it is.
    writing: Vec<u8>,
    written: usize,
    /// What was read and not yet understood.
    read: BytesMut,
    /// Why it has ended.
    why: Option<String>,
}

impl<S, M> Future for Driver<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin,
    M: Mourner,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let error = ready!(self.poll_drive(cx));
        self.why = Some(error.to_string());
        Poll::Ready(())
    }
}

/// However it ends, nobody waits for an answer that does not come.
impl<S, M: Mourner> Drop for Driver<S, M> {
    fn drop(&mut self) {
        let why = self.why.take().unwrap_or_else(|| "the connection was let go".to_owned());
        let all = {
            let mut queue = self.shared.queue();
            queue.ended.get_or_insert_with(|| why.clone());
            (mem::take(&mut queue.waiting), queue.lanes.clear())
        };
        // Outside the lock: whoever waits asks why.
        drop(all);
        self.mourner.ended(&why);
    }
}

impl<S, M> Driver<S, M>
where
    S: AsyncRead + AsyncWrite + Unpin,
    M: Mourner,
{
    /// Reads and writes until neither goes on. Ready when the connection has ended.
    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        // What came is answered first: it frees those who will write more.
        loop {
            self.read.reserve(CHUNK);
            let read = match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.read) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => Err(ended("the connection ended")),
                Poll::Ready(Ok(_)) => self.answer(),
                Poll::Ready(Err(error)) => Err(error),
            };
            if let Err(error) = read {
                return Poll::Ready(error);
            }
        }
        self.poll_write(cx)
    }

    /// Gives each answer that is all there to whoever waits for it.
    fn answer(&mut self) -> io::Result<()> {
        let nonsense = || ended("Redis talks nonsense");
        while let Some(len) = resp::length(&self.read).map_err(|_| nonsense())? {
            let value = resp::read(&self.read[..len]);
            self.read.advance(len);
            if matches!(value, Ok(Value::Push { .. })) {
                // Nothing that was asked for.
                continue;
            }
            let mut queue = self.shared.queue();
            queue.answers += 1;
            match queue.waiting.pop_front().ok_or_else(nonsense)? {
                // Whoever hung up does not hear it.
                Waiter::One(waiter) => drop(waiter.send(value)),
                Waiter::Many(run) => queue.lanes.answered(run, value),
            }
        }
        Ok(())
    }

    /// Writes until nothing waits. Ready when that can no longer be.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.written == self.writing.len() {
                self.writing.clear();
                shrink(&mut self.writing);
                self.written = 0;
                let mut queue = self.shared.queue();
                if let Some(why) = &queue.ended {
                    return Poll::Ready(ended(why));
                }
                queue.gather();
                mem::swap(&mut queue.out, &mut self.writing);
                if self.writing.is_empty() {
                    queue.driver = Some(cx.waker().clone());
                    drop(queue);
                    // TLS may still hold something back.
                    return match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
                        Ok(()) => Poll::Pending,
                        Err(error) => Poll::Ready(error),
                    };
                }
            }
            let rest = &self.writing[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) => return Poll::Ready(error),
            }
        }
    }
}

fn ended(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, why)
}

/// Gives memory back that a large call or answer took.
fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT && buffer.len() < KEPT {
        buffer.shrink_to(KEPT);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::store::redis::{
        options::{ClockSource, Shortcut},
        scripts::Scripts,
    };

    struct Heard(mpsc::Sender<String>);

    impl Mourner for Heard {
        fn ended(&self, why: &str) {
            let _ = self.0.send(why.to_owned());
        }
    }

    fn lanes() -> Lanes {
        Lanes::new(Arc::new(Scripts::new(ClockSource::Server, Shortcut::Taken)))
    }

    fn pipe() -> (Arc<Pipe>, DuplexStream, mpsc::Receiver<String>) {
        let (mine, server) = duplex(1 << 20);
        let (tell, told) = mpsc::channel();
        (Arc::new(Pipe::over(mine, Heard(tell), lanes())), server, told)
    }

    fn ping(into: &mut Vec<u8>) {
        resp::command(into, 1);
        resp::word(into, "PING");
    }

    /// Asks in a task of its own, so that many can wait at once.
    async fn ask(pipe: &Arc<Pipe>) -> tokio::task::JoinHandle<RedisResult<Value>> {
        let pipe = Arc::clone(pipe);
        let asking = tokio::spawn(async move { pipe.ask(ping).await });
        tokio::task::yield_now().await;
        asking
    }

    async fn heard(server: &mut DuplexStream, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        server.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[tokio::test]
    async fn answers_go_to_who_asked_in_the_order_of_the_calls() {
        let (pipe, mut server, _told) = pipe();
        let asked = [ask(&pipe).await, ask(&pipe).await, ask(&pipe).await];
        // All that came together went out together.
        assert_eq!(heard(&mut server, 3 * PING.len()).await, PING.repeat(3));
        // In pieces, and with one who hung up in the middle.
        let [first, second, third] = asked;
        second.abort();
        for piece in [&b":1\r\n:"[..], b"2\r", b"\n$5\r\nthr", b"ee\r\n"] {
            server.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(first.await.unwrap().unwrap(), Value::Int(1));
        assert_eq!(third.await.unwrap().unwrap(), Value::BulkString(b"three".to_vec()));
    }

    #[tokio::test]
    async fn an_error_is_its_own_callers_and_a_push_is_nobodys() {
        let (pipe, mut server, _told) = pipe();
        let asked = [ask(&pipe).await, ask(&pipe).await];
        let answers = b"-NOSCRIPT no\r\n>2\r\n$7\r\nmessage\r\n$1\r\nx\r\n:2\r\n";
        server.write_all(answers).await.unwrap();
        let [refused, answered] = asked;
        assert_eq!(refused.await.unwrap().unwrap_err().code(), Some("NOSCRIPT"));
        assert_eq!(answered.await.unwrap().unwrap(), Value::Int(2));
    }

    #[tokio::test]
    async fn the_end_is_told_to_all_who_wait_and_to_all_who_come_later() {
        for (last, why) in [(&b""[..], "the connection ended"), (b"HTTP", "Redis talks nonsense")] {
            let (pipe, mut server, told) = pipe();
            let asked = [ask(&pipe).await, ask(&pipe).await];
            server.write_all(last).await.unwrap();
            if !last.is_empty() {
                server.write_all(b"\r\n").await.unwrap();
            }
            drop(server);
            for asked in asked {
                let error = asked.await.unwrap().unwrap_err();
                assert!(error.to_string().contains(why), "{error}");
            }
            assert!(pipe.ask(ping).await.unwrap_err().to_string().contains(why));
            assert_eq!(told.try_recv().unwrap(), why);
        }
    }

    #[tokio::test]
    async fn an_answer_that_nobody_asked_for_ends_the_connection() {
        let (pipe, mut server, _told) = pipe();
        server.write_all(b":1\r\n").await.unwrap();
        tokio::task::yield_now().await;
        assert!(pipe.ask(ping).await.unwrap_err().to_string().contains("nonsense"));
    }

    #[tokio::test]
    async fn the_connection_ends_with_its_pipe() {
        let (pipe, mut server, told) = pipe();
        drop(pipe);
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(told.try_recv().unwrap(), "nobody uses the connection");
    }
}
