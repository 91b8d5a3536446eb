//! Asynchronous sends that were dropped before any await, while their message waits for buffer space or for its topic.
//!
//! The call has accepted the message, as it does where there is space: the message keeps its place in the queue and is appended
//! in its turn. Nobody awaits it, so the engine does that, and a message that is not accepted within `max_block_ms` fails like
//! one whose batch failed. Why: `docs/adr/0032-an-unawaited-send-is-sent.md`. Station: accumulator. Threads: added
//! by finalizers, woken by any thread, completed on the engine thread and, where a function is called, the dispatcher thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use ottla_core::seam::{Bell, Wake};
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::send::intercept::StoredPassed;

/// The message of such a send.
pub trait UnawaitedMessage: Send + Sync {
    /// Appends if it has its turn and there is space; true where it is accepted.
    fn try_accept(&mut self, py: Python<'_>) -> PyResult<bool>;
    /// Counts the queues it has waited in: a registration belongs to one of them.
    fn stage(&self) -> u32;
    /// Has it woken when `try_accept` may give more.
    fn register(&self, wake: Arc<dyn Wake>, token: u64);
    /// The error where it was not accepted in time.
    fn too_late(&self, py: Python<'_>) -> PyErr;
    /// Gives the message, which was not accepted, its outcome.
    fn fail(&self, py: Python<'_>, error: PyErr);
    /// Bytes that the append needs.
    fn bytes(&self) -> usize;
    /// Whether `try_accept` would call a function of the application now.
    fn needs_function(&self) -> bool;
}

struct Entry {
    message: Box<dyn UnawaitedMessage>,
    /// None: no limit.
    until: Option<Instant>,
    bytes: usize,
}

pub struct UnawaitedSends {
    /// By token, which is their order. Python code never runs while the lock is held.
    entries: Mutex<BTreeMap<u64, Entry>>,
    /// Tokens of messages that may have their turn.
    woken: Mutex<Vec<u64>>,
    /// Messages that went through interceptors and are not accepted: their awaitable was dropped within an await.
    refused: Mutex<Vec<StoredPassed>>,
    next_token: AtomicUsize,
    /// `advance` has run on the dispatcher thread, and the engine has not seen the rest.
    advanced: AtomicBool,
    /// Messages that were added and have no end yet, and their bytes.
    count: AtomicUsize,
    bytes: AtomicUsize,
    bell: Arc<dyn Bell>,
}

impl Wake for UnawaitedSends {
    fn wake(&self, token: u64) {
        self.woken.lock().push(token);
        self.bell.ring();
    }
}

impl UnawaitedSends {
    pub fn new(bell: Arc<dyn Bell>) -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            woken: Mutex::default(),
            refused: Mutex::default(),
            next_token: AtomicUsize::new(1),
            advanced: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            bell,
        })
    }

    /// In a finalizer.
    pub fn add(&self, message: Box<dyn UnawaitedMessage>, until: Option<Instant>) {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed) as u64;
        let bytes = message.bytes();
        self.count.fetch_add(1, Ordering::Release);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let entry = Entry {
            message,
            until,
            bytes,
        };
        self.entries.lock().insert(token, entry);
        self.wake(token);
    }

    /// In a finalizer.
    pub fn add_refused(&self, passed: StoredPassed) {
        self.refused.lock().push(passed);
        self.bell.ring();
    }

    /// Number of messages that have neither been accepted nor failed.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Bytes of these messages.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the engine has to call `advance`.
    pub fn is_due(&self) -> bool {
        self.advanced.swap(false, Ordering::AcqRel)
            || !self.woken.lock().is_empty()
            || !self.refused.lock().is_empty()
    }

    /// Accepts the messages that have their turn, and fails those whose time ran out. With `functions`, on the dispatcher thread,
    /// also those for which a function of the application is called; else whether there are any. And the time at which the
    /// next message's time runs out.
    pub fn advance(self: &Arc<Self>, py: Python<'_>, functions: bool) -> (Option<Instant>, bool) {
        for passed in std::mem::take(&mut *self.refused.lock()) {
            passed.dropped(py);
        }
        let now = Instant::now();
        let mut left = Vec::new();
        for token in self.take_due(now) {
            let Some(entry) = self.entries.lock().remove(&token) else {
                continue;
            };
            if functions || !entry.message.needs_function() {
                self.advance_one(py, token, entry, now);
            } else {
                self.entries.lock().insert(token, entry);
                left.push(token);
            }
        }
        let needs_function = !left.is_empty();
        self.woken.lock().extend(left);
        if functions {
            self.advanced.store(true, Ordering::Release);
            self.bell.ring();
        }
        let entries = self.entries.lock();
        let next = entries.values().filter_map(|entry| entry.until).min();
        (next, needs_function)
    }

    /// Tokens of messages that were woken or whose time ran out, in order.
    fn take_due(&self, now: Instant) -> Vec<u64> {
        let mut due = std::mem::take(&mut *self.woken.lock());
        let is_late = |entry: &Entry| entry.until.is_some_and(|until| until <= now);
        let entries = self.entries.lock();
        let late = entries.iter().filter(|(_, entry)| is_late(entry));
        due.extend(late.map(|(token, _)| *token));
        due.sort_unstable();
        due.dedup();
        due
    }

    fn advance_one(self: &Arc<Self>, py: Python<'_>, token: u64, mut entry: Entry, now: Instant) {
        let wake: Arc<dyn Wake> = self.clone();
        let accepted = loop {
            // First: it may get its turn between the attempt and the registration.
            entry.message.register(wake.clone(), token);
            let stage = entry.message.stage();
            match entry.message.try_accept(py) {
                Ok(false) if entry.message.stage() != stage => {}
                Ok(false) if entry.until.is_some_and(|until| until <= now) => {
                    break Err(entry.message.too_late(py));
                }
                tried => break tried,
            }
        };
        match accepted {
            Ok(false) => {
                self.entries.lock().insert(token, entry);
                return;
            }
            Ok(true) => {}
            Err(error) => entry.message.fail(py, error),
        }
        self.bytes.fetch_sub(entry.bytes, Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Release);
    }
}
