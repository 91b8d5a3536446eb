//! Resolved deliveries on their way to who asked for them: readers of outcomes, and callbacks.
//!
//! The I/O thread only moves completions here and wakes; Python objects are touched by whoever reads, with the GIL.
//! Station: delivery.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_core::completion::{Completion, State};
use ottla_core::flow::{Bell, Wake};
use ottla_core::produce_shared::Listener;
use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::delivery;
use crate::fork;

type Sleeper = (Arc<dyn Wake>, u64);

#[derive(Default)]
struct Queues {
    /// (it failed, completion), in the order of their outcomes.
    ready: VecDeque<(bool, Arc<Completion>)>,
    sleepers: Vec<Sleeper>,
    ended: bool,
    abandoned: bool,
}

struct Callback {
    callback: Py<PyAny>,
    delivery: Py<PyAny>,
}

pub struct Outcomes {
    queues: Mutex<Queues>,
    callbacks: Mutex<HashMap<u64, Callback>>,
    /// Callbacks whose completion has moved on.
    due: Mutex<Vec<u64>>,
    next_callback: AtomicU64,
    keep_written: bool,
    keep_failed: bool,
    bell: Arc<dyn Bell>,
    /// References to let go of when somebody with the GIL comes by.
    unwanted: Mutex<Vec<usize>>,
    /// The fork generation of the producer.
    generation: u32,
}

/// Raises `ForkedClient` where nobody in this process will ever settle the completion: its producer is the parent's.
pub fn check_fork(py: Python<'_>, completion: &Completion) -> PyResult<()> {
    match completion
        .owner()
        .and_then(|owner| owner.downcast_ref::<Outcomes>())
    {
        Some(outcomes) => fork::check(py, outcomes.generation),
        None => Ok(()),
    }
}

impl Outcomes {
    pub fn new(keep_written: bool, keep_failed: bool, bell: Arc<dyn Bell>) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::default(),
            callbacks: Mutex::default(),
            due: Mutex::default(),
            next_callback: AtomicU64::new(1),
            keep_written,
            keep_failed,
            bell,
            unwanted: Mutex::default(),
            generation: fork::generation(),
        })
    }

    pub fn keeps(&self) -> bool {
        self.keep_written || self.keep_failed
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// Whether a take of this kind would give something, or the end.
    pub fn is_ready(&self, failed: Option<bool>) -> bool {
        let queues = self.queues.lock();
        queues.ended
            || queues
                .ready
                .iter()
                .any(|(other, _)| failed.is_none_or(|failed| failed == *other))
    }

    pub fn add_sleeper(&self, wake: Arc<dyn Wake>, token: u64) {
        let mut queues = self.queues.lock();
        let known = |(other, its): &Sleeper| {
            *its == token && std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(&wake))
        };
        if !queues.sleepers.iter().any(known) {
            queues.sleepers.push((wake, token));
        }
    }

    /// For who gave up waiting.
    pub fn remove_sleeper(&self, wake: &Arc<dyn Wake>, token: u64) {
        let mut queues = self.queues.lock();
        queues.sleepers.retain(|(other, its)| {
            *its != token || !std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(wake))
        });
    }

    /// Takes whole batches until there are `limit` deliveries: the deliveries, and what they weighed on the producer's
    /// books. None where there are none and more may come; an empty list is the end.
    pub fn take(
        &self,
        py: Python<'_>,
        failed: Option<bool>,
        limit: usize,
    ) -> Option<(Vec<Py<PyAny>>, usize)> {
        let mut taken = Vec::new();
        let mut weight = 0;
        loop {
            let completion = {
                let mut queues = self.queues.lock();
                let position = queues
                    .ready
                    .iter()
                    .position(|(other, _)| failed.is_none_or(|failed| failed == *other));
                match position {
                    Some(position) if taken.len() < limit => queues.ready.remove(position),
                    _ if taken.is_empty() && !queues.ended => return None,
                    _ => return Some((taken, weight)),
                }
            };
            if let Some((_, completion)) = completion {
                weight += completion.take_weight();
                for handle in completion.take_attached() {
                    // SAFETY: an owned reference that `attach` was given.
                    taken.push(unsafe {
                        Bound::from_owned_ptr(py, handle as *mut ffi::PyObject).unbind()
                    });
                }
            }
        }
    }

    /// No outcome comes any more: readers end once they have read what is there.
    pub fn end(&self) {
        let sleepers = {
            let mut queues = self.queues.lock();
            queues.ended = true;
            std::mem::take(&mut queues.sleepers)
        };
        for (wake, token) in sleepers {
            wake.wake(token);
        }
    }

    // ---- callbacks -------------------------------------------------------------------------------------------------

    /// Has `callback(delivery)` called on the dispatcher thread once the message has its outcome; false where it has it
    /// already: then the caller has to see to the call.
    pub fn call_when_settled(
        self: &Arc<Self>,
        completion: &Arc<Completion>,
        callback: Py<PyAny>,
        delivery: Py<PyAny>,
    ) -> bool {
        let number = self.next_callback.fetch_add(1, Ordering::Relaxed);
        let entry = Callback { callback, delivery };
        self.callbacks.lock().insert(number, entry);
        if self.watch(completion, number) {
            return true;
        }
        // Not pending: forwarded or resolved.
        self.callbacks.lock().remove(&number);
        false
    }

    fn watch(self: &Arc<Self>, completion: &Arc<Completion>, number: u64) -> bool {
        let wake: Arc<dyn Wake> = Arc::new(CallbackDue(Arc::downgrade(self)));
        completion.add_waiter(wake, number)
    }

    fn callback_due(&self, number: u64) {
        self.due.lock().push(number);
        self.bell.ring();
    }

    /// The callbacks to call now, each once: (callback, delivery).
    pub fn take_callbacks(self: &Arc<Self>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        let due = std::mem::take(&mut *self.due.lock());
        let mut calls = Vec::with_capacity(due.len());
        for number in due {
            let Some(entry) = self.callbacks.lock().remove(&number) else {
                continue;
            };
            let place = delivery::where_is(entry.delivery.as_ptr()).0;
            if place.is_pending() {
                // Its message has moved to another batch: wait for that. Whatever happens between, it is looked at again.
                self.callbacks.lock().insert(number, entry);
                if !self.watch(&place, number) {
                    self.callback_due(number);
                }
                continue;
            }
            calls.push((entry.callback, entry.delivery));
        }
        calls
    }

    /// Nobody reads any more: what waits to be read is let go. Returns what it weighed.
    pub fn abandon(&self, py: Python<'_>) -> usize {
        self.queues.lock().abandoned = true;
        self.end();
        let mut weight = 0;
        while let Some((taken, its)) = self.take(py, None, 1000) {
            weight += its;
            if taken.is_empty() {
                break;
            }
        }
        self.discard(py);
        weight
    }

    /// Lets go of references that the I/O thread could not.
    pub fn discard(&self, py: Python<'_>) {
        for handle in std::mem::take(&mut *self.unwanted.lock()) {
            // SAFETY: an owned reference that `attach` was given.
            drop(unsafe { Bound::from_owned_ptr(py, handle as *mut ffi::PyObject) });
        }
    }
}

struct CallbackDue(std::sync::Weak<Outcomes>);

impl Wake for CallbackDue {
    fn wake(&self, token: u64) {
        if let Some(outcomes) = self.0.upgrade() {
            outcomes.callback_due(token);
        }
    }
}

impl Listener for Outcomes {
    fn resolved(&self, completions: Vec<Arc<Completion>>) -> usize {
        if !self.keeps() {
            return 0;
        }
        let mut unread = 0;
        let mut unwanted = Vec::new();
        let sleepers = {
            let mut queues = self.queues.lock();
            for completion in completions {
                let failed = matches!(completion.state(), State::Failed(_));
                let kept = !queues.abandoned
                    && if failed {
                        self.keep_failed
                    } else {
                        self.keep_written
                    };
                if kept {
                    queues.ready.push_back((failed, completion));
                } else {
                    unread += completion.take_weight();
                    unwanted.extend(completion.take_attached());
                }
            }
            std::mem::take(&mut queues.sleepers)
        };
        self.unwanted.lock().extend(unwanted);
        for (wake, token) in sleepers {
            wake.wake(token);
        }
        unread
    }
}
