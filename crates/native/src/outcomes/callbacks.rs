//! Callbacks that were added to single deliveries, until the message has its outcome and the engine takes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_core::produce::completion::Completion;
use ottla_core::seam::{Bell, Wake};
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::delivery::object;

struct Callback {
    callback: Py<PyAny>,
    delivery: Py<PyAny>,
}

/// It waits at the completions itself, so a completion wakes the callbacks in the order of their numbers: as they were added.
pub struct Callbacks {
    waiting: Mutex<HashMap<u64, Callback>>,
    /// Numbers of callbacks whose completion resolved or was forwarded.
    due: Mutex<Vec<u64>>,
    next_number: AtomicU64,
    bell: Arc<dyn Bell>,
}

impl Callbacks {
    pub fn new(bell: Arc<dyn Bell>) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            due: Mutex::default(),
            next_number: AtomicU64::new(1),
            bell,
        })
    }

    /// Has `callback(delivery)` called on the dispatcher thread once the message has its outcome. False where the completion
    /// does not wait any more: the caller then sees to the call.
    pub fn add(
        self: &Arc<Self>,
        completion: &Arc<Completion>,
        callback: &Bound<'_, PyAny>,
        delivery: &Bound<'_, PyAny>,
    ) -> bool {
        let py = delivery.py();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let entry = Callback {
            callback: callback.clone().unbind(),
            delivery: delivery.clone().unbind(),
        };
        self.waiting.lock().insert(number, entry);
        if completion.add_waiter(self.clone(), number) {
            return true;
        }
        match self.waiting.lock().remove(&number) {
            // `take_settled` was faster.
            None => true,
            Some(Callback { callback, delivery }) => {
                callback.drop_ref(py);
                delivery.drop_ref(py);
                false
            }
        }
    }

    /// A callback is called without waiting here: its delivery had its outcome.
    pub fn note_call(&self) {
        self.next_number.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a callback was ever added.
    pub fn were_added(&self) -> bool {
        self.next_number.load(Ordering::Relaxed) > 1
    }

    /// The callbacks to call now, each once: (callback, delivery).
    pub fn take_due(self: &Arc<Self>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        let due = std::mem::take(&mut *self.due.lock());
        let mut calls = Vec::with_capacity(due.len());
        for number in due {
            let Some(entry) = self.waiting.lock().remove(&number) else {
                continue;
            };
            let (place, _) = object::where_is(entry.delivery.as_ptr());
            if !place.is_pending() {
                calls.push((entry.callback, entry.delivery));
                continue;
            }
            // The message was forwarded to another batch: wait there. If that resolves first, the callback is due again.
            self.waiting.lock().insert(number, entry);
            if !place.add_waiter(self.clone(), number) {
                self.wake(number);
            }
        }
        calls
    }

    /// The same, and those whose message has its outcome but whose wake-up is still in flight.
    pub fn take_settled(self: &Arc<Self>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        let is_settled =
            |entry: &Callback| !object::where_is(entry.delivery.as_ptr()).0.is_pending();
        let mut settled: Vec<u64> = {
            let waiting = self.waiting.lock();
            let settled = waiting.iter().filter(|(_, entry)| is_settled(entry));
            settled.map(|(number, _)| *number).collect()
        };
        settled.sort_unstable();
        self.due.lock().extend(settled);
        self.take_due()
    }
}

impl Wake for Callbacks {
    fn wake(&self, token: u64) {
        self.wake_all(&mut std::iter::once(token));
    }

    fn wake_all(&self, tokens: &mut dyn Iterator<Item = u64>) {
        self.due.lock().extend(tokens);
        self.bell.ring();
    }
}
