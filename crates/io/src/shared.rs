//! State shared by the I/O thread and all others: commands to it, events from it, counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use bytes::Bytes;
use mio::Waker;
use ottla_core::ids::{ConnId, Micros};
use ottla_core::seam::{Bell, Flow, LostCause, WakeIo};
use parking_lot::{Condvar, Mutex};

use crate::notify::Notify;
use crate::pool::Pool;
use crate::tls::{TlsFailure, TlsPeer};
use crate::transport::Dial;

pub type FlowId = u64;
pub type BeatId = u64;

/// Events for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoEvent {
    /// `tls`: facts of the peer, where the connection has TLS.
    Connected { conn: ConnId, tls: Option<TlsPeer> },
    /// TLS has failed; `Lost` follows.
    TlsFailed {
        conn: ConnId,
        failure: Box<TlsFailure>,
    },
    /// `frame` starts at the correlation id.
    Response {
        conn: ConnId,
        token: u64,
        frame: Bytes,
    },
    /// Emitted once per connection, with the tokens of its unanswered control requests in order; and once for each later request
    /// on it.
    Lost {
        conn: ConnId,
        cause: LostCause,
        tokens: Vec<u64>,
    },
    /// A beat was answered with an error code.
    Beat { beat: BeatId, frame: Bytes },
    /// A beat was not answered in time; the connection is lost with it.
    BeatMissed { beat: BeatId, cause: LostCause },
}

pub(crate) enum Command {
    Connect {
        conn: ConnId,
        dial: Dial,
        deadline: Micros,
        timeout: Micros,
        frame_cap_bytes: usize,
    },
    Request {
        conn: ConnId,
        token: u64,
        frame: Vec<u8>,
        deadline: Micros,
        expects_response: bool,
    },
    Beat {
        beat: BeatId,
        conn: ConnId,
        frame: Vec<u8>,
        interval: Micros,
        timeout: Micros,
        error_offset: usize,
    },
    BeatStop {
        beat: BeatId,
    },
    Close {
        conn: ConnId,
    },
    Register {
        flow: FlowId,
        machine: Arc<dyn Flow>,
        waker: Arc<FlowWaker>,
    },
    Unregister {
        flow: FlowId,
    },
    Attach {
        flow: FlowId,
        conn: ConnId,
    },
    /// Time has jumped; the thread sends `()` at the end of the turn.
    Turn(SyncSender<()>),
    Shutdown,
}

/// Counters; each is exact, together they are no snapshot.
#[derive(Debug, Default)]
pub struct Counters {
    pub turns: AtomicU64,
    pub connections: AtomicU64,
    pub requests: AtomicU64,
    pub responses: AtomicU64,
    pub bytes_written: AtomicU64,
    pub bytes_read: AtomicU64,
    pub lost: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

#[derive(Default)]
struct Commands {
    queue: Vec<Command>,
    /// The thread is ending: commands are refused.
    ended: bool,
    /// The thread has failed all requests and dropped every socket.
    finished: bool,
}

pub(crate) struct Shared {
    waker: Waker,
    /// The thread was woken and has not taken its commands yet: more wakes cost no system call.
    woken: AtomicBool,
    commands: Mutex<Commands>,
    ended: Condvar,
    events: Mutex<Vec<IoEvent>>,
    pub bell: Arc<Notify>,
    pub next_id: AtomicU64,
    pub pool: Arc<Pool>,
    pub counters: Counters,
}

impl Shared {
    pub fn new(waker: Waker, bell: Arc<Notify>) -> Self {
        Self {
            waker,
            woken: AtomicBool::new(false),
            commands: Mutex::default(),
            ended: Condvar::new(),
            events: Mutex::default(),
            bell,
            next_id: AtomicU64::new(1),
            pool: Arc::default(),
            counters: Counters::default(),
        }
    }

    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Fails only when the descriptor is bad or full; full means that the thread wakes anyway.
            let _ = self.waker.wake();
        }
    }

    /// Queues a command; returns it as an error if the thread is ending.
    pub fn submit(&self, command: Command) -> Result<(), Command> {
        {
            let mut commands = self.commands.lock();
            if commands.ended {
                return Err(command);
            }
            commands.queue.push(command);
        }
        self.wake();
        Ok(())
    }

    /// Takes the queued commands. Wakes from here on cause another turn, so it is called before the flags of the flows are read.
    pub fn take_commands(&self) -> Vec<Command> {
        self.woken.swap(false, Ordering::AcqRel);
        std::mem::take(&mut self.commands.lock().queue)
    }

    pub fn emit(&self, event: IoEvent) {
        self.events.lock().push(event);
        self.bell.ring();
    }

    pub fn drain(&self) -> Vec<IoEvent> {
        self.bell.clear();
        std::mem::take(&mut *self.events.lock())
    }

    /// Refuses commands from now on; returns the queued ones.
    pub fn end(&self) -> Vec<Command> {
        let mut commands = self.commands.lock();
        commands.ended = true;
        std::mem::take(&mut commands.queue)
    }

    pub fn announce_end(&self) {
        self.commands.lock().finished = true;
        self.ended.notify_all();
    }

    pub fn wait_for_end(&self, timeout: Duration) -> bool {
        let mut commands = self.commands.lock();
        self.ended
            .wait_while_for(&mut commands, |commands| !commands.finished, timeout);
        commands.finished
    }
}

impl Bell for Notify {
    fn ring(&self) {
        self.notify();
    }
}

/// Wakes the thread for one flow.
pub(crate) struct FlowWaker {
    shared: Arc<Shared>,
    woken: AtomicBool,
}

impl FlowWaker {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            woken: AtomicBool::new(false),
        }
    }

    /// Whether the flow was woken since the last call.
    pub fn take(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl WakeIo for FlowWaker {
    fn wake_io(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.shared.wake();
        }
    }
}
