//! Handle of other threads to the I/O thread: commands, start and end.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use std::{io, thread};

use mio::{Poll, Waker};
use ottla_core::ids::ConnId;
use ottla_core::seam::{Bell, Flow, LostCause, LostKind, WakeIo};

use crate::clock;
use crate::driver::{Driver, WAKE, refuse};
use crate::notify::Notify;
use crate::shared::{BeatId, Command, FlowId, FlowWaker, IoEvent, Shared};
use crate::sys;
use crate::transport::{Dial, DialTls};

/// Handle of the I/O thread. Cheap to clone; every method may be called from any thread and none waits, except
/// `shutdown`. After the end, connects and requests are answered with a `Lost` event of kind `Closed`.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// Options of a new connection.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub address: SocketAddr,
    /// Maximum time until the connection is established, with its TLS.
    pub timeout: Duration,
    /// 0: the system's default.
    pub send_buffer_bytes: usize,
    pub receive_buffer_bytes: usize,
    /// None: plain TCP.
    pub tls: Option<Box<DialTls>>,
    /// Maximum size of a response.
    pub frame_cap_bytes: usize,
}

/// Counters since the start, and the bytes in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    pub turns: u64,
    pub connections: u64,
    pub lost: u64,
    pub requests: u64,
    pub responses: u64,
    pub bytes_written: u64,
    pub bytes_read: u64,
    pub pooled_bytes: u64,
}

impl Handle {
    /// Starts the thread, named `ottla-io`, with all signals blocked.
    pub fn start() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let shared = Arc::new(Shared::new(waker, Arc::new(Notify::new()?)));
        let driver = Driver::new(poll, shared.clone());
        spawn_without_signals(driver, shared.clone())?;
        Ok(Self { shared })
    }

    /// Begins a connection; `Connected` or `Lost` follows.
    pub fn connect(&self, options: &ConnectOptions) -> ConnId {
        let conn = self.next_id();
        let timeout = clock::micros(options.timeout);
        self.submit(Command::Connect {
            conn,
            dial: Dial {
                address: options.address,
                send_buffer_bytes: options.send_buffer_bytes,
                receive_buffer_bytes: options.receive_buffer_bytes,
                tls: options.tls.clone(),
            },
            deadline: clock::now() + timeout,
            timeout,
            frame_cap_bytes: options.frame_cap_bytes,
        });
        conn
    }

    /// Writes a request whose header v1 or v2 starts `frame` (without size; the I/O thread sets the correlation id).
    pub fn request(
        &self,
        conn: ConnId,
        token: u64,
        frame: Vec<u8>,
        timeout: Duration,
        expects_response: bool,
    ) {
        let deadline = clock::now() + clock::micros(timeout);
        self.submit(Command::Request {
            conn,
            token,
            frame,
            deadline,
            expects_response,
        });
    }

    /// Repeats a request until `beat_stop` or the end of the connection, the first time an interval from now.
    pub fn beat(
        &self,
        conn: ConnId,
        frame: Vec<u8>,
        interval: Duration,
        timeout: Duration,
        error_offset: usize,
    ) -> BeatId {
        let beat = self.next_id();
        self.submit(Command::Beat {
            beat,
            conn,
            frame,
            interval: clock::micros(interval),
            timeout: clock::micros(timeout),
            error_offset,
        });
        beat
    }

    pub fn beat_stop(&self, beat: BeatId) {
        self.submit(Command::BeatStop { beat });
    }

    pub fn close(&self, conn: ConnId) {
        self.submit(Command::Close { conn });
    }

    /// Registers a flow with the thread. `on_tick` is called after every `wake_io`, after every response and loss on its
    /// connections, and at the time that it returned last; then `next_request` for each attached connection.
    pub fn register_flow(&self, machine: Arc<dyn Flow>) -> (FlowId, Arc<dyn WakeIo>) {
        let flow = self.next_id();
        let waker = Arc::new(FlowWaker::new(self.shared.clone()));
        self.submit(Command::Register {
            flow,
            machine,
            waker: waker.clone(),
        });
        (flow, waker)
    }

    /// Removes a flow. Its connections stay open; answers that still arrive for it are dropped.
    pub fn unregister_flow(&self, flow: FlowId) {
        self.submit(Command::Unregister { flow });
    }

    /// Attaches a connection to the flow, which may send on it. If the connection has ended, `on_lost` follows at once.
    pub fn attach(&self, flow: FlowId, conn: ConnId) {
        self.submit(Command::Attach { flow, conn });
    }

    /// Takes the connection events since the last call; resets the bell.
    pub fn drain_events(&self) -> Vec<IoEvent> {
        self.shared.drain()
    }

    /// The bell that the engine listens to. A flow rings it after queueing events of its own.
    pub fn bell(&self) -> Arc<dyn Bell> {
        self.shared.bell.clone()
    }

    /// Descriptor that is readable while the bell has been rung and not reset.
    pub fn bell_fd(&self) -> RawFd {
        self.shared.bell.fd()
    }

    pub fn statistics(&self) -> Statistics {
        let counters = &self.shared.counters;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            turns: get(&counters.turns),
            connections: get(&counters.connections),
            lost: get(&counters.lost),
            requests: get(&counters.requests),
            responses: get(&counters.responses),
            bytes_written: get(&counters.bytes_written),
            bytes_read: get(&counters.bytes_read),
            pooled_bytes: self.shared.pool.retained_bytes() as u64,
        }
    }

    /// Lets the clock of this process jump ahead; true once the thread has had a turn in the new time. For tests.
    pub fn skip(&self, time: Duration, patience: Duration) -> bool {
        clock::skip(time);
        let (done, had_a_turn) = sync_channel(1);
        self.submit(Command::Turn(done));
        had_a_turn.recv_timeout(patience).is_ok()
    }

    /// Closes all connections and ends the thread; false if it has not ended in time. A second call only waits.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.submit(Command::Shutdown);
        self.shared.wait_for_end(timeout)
    }

    fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn submit(&self, command: Command) {
        if let Err(command) = self.shared.submit(command) {
            refuse(command, &self.shared, &ended());
        }
    }
}

fn ended() -> LostCause {
    LostCause {
        kind: LostKind::Closed,
        message: "the I/O thread has ended".into(),
    }
}

/// Runs the thread. At its end, by any cause, every waiting request fails: a panic here is a bug, but causes no hang.
fn live(mut driver: Driver, shared: &Shared) {
    let outcome = catch_unwind(AssertUnwindSafe(|| driver.run()));
    let cause = match outcome {
        Ok(Ok(())) => ended(),
        Ok(Err(error)) => internal(format!("the I/O thread cannot poll: {error}")),
        Err(_) => internal("the I/O thread met a bug and ended".into()),
    };
    if catch_unwind(AssertUnwindSafe(|| driver.end(&cause))).is_err() {
        shared.end();
    }
    drop(driver);
    shared.announce_end();
}

fn internal(message: String) -> LostCause {
    LostCause {
        kind: LostKind::Io,
        message,
    }
}

fn spawn_without_signals(driver: Driver, shared: Arc<Shared>) -> io::Result<()> {
    let start = || {
        thread::Builder::new()
            .name("ottla-io".into())
            .spawn(move || live(driver, &shared))
    };
    sys::without_signals(start).map(drop)
}
