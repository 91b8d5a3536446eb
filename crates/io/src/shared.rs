//! What the I/O thread and everybody else share: commands to it, events from it, counters.

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
use crate::transport::Dial;

pub type FlowId = u64;
pub type BeatId = u64;

/// What the engine learns by draining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoEvent {
    Connected {
        conn: ConnId,
    },
    /// `frame` starts at the correlation id.
    Response {
        conn: ConnId,
        token: u64,
        frame: Bytes,
    },
    /// Once per connection, with the tokens of its unanswered control requests in order; once more for each request
    /// that was made when the connection had gone already.
    Lost {
        conn: ConnId,
        cause: LostCause,
        tokens: Vec<u64>,
    },
    /// An answer with an error code.
    Beat {
        beat: BeatId,
        frame: Bytes,
    },
    /// No answer in time; the connection is lost with it.
    BeatMissed {
        beat: BeatId,
        cause: LostCause,
    },
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
    /// Time has jumped; what is sent when the turn is over.
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
    /// The thread goes: nothing is queued any more, everything is refused.
    ended: bool,
    /// It has told everybody and let go of every socket.
    gone: bool,
}

pub(crate) struct Shared {
    waker: Waker,
    /// Somebody has woken the thread and it has not looked yet: more wakes cost no system call.
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

    /// The command back if the thread has gone.
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

    /// The thread looks: from here a wake counts again. Before the commands and the flows' flags are read.
    pub fn look(&self) -> Vec<Command> {
        self.woken.swap(false, Ordering::AcqRel);
        std::mem::take(&mut self.commands.lock().queue)
    }

    pub fn tell(&self, event: IoEvent) {
        self.events.lock().push(event);
        self.bell.ring();
    }

    pub fn drain(&self) -> Vec<IoEvent> {
        self.bell.clear();
        std::mem::take(&mut *self.events.lock())
    }

    /// The thread goes; what is still queued comes back to be refused.
    pub fn end(&self) -> Vec<Command> {
        let mut commands = self.commands.lock();
        commands.ended = true;
        std::mem::take(&mut commands.queue)
    }

    pub fn announce_end(&self) {
        self.commands.lock().gone = true;
        self.ended.notify_all();
    }

    pub fn wait_for_end(&self, timeout: Duration) -> bool {
        let mut commands = self.commands.lock();
        self.ended
            .wait_while_for(&mut commands, |commands| !commands.gone, timeout);
        commands.gone
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

    /// Whether somebody woke the flow since the last look.
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
