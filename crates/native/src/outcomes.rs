//! Resolved deliveries on their way to who asked for them: readers of outcomes, and callbacks.
//!
//! The I/O thread only moves completions here and wakes; Python objects are touched by whoever reads, with the GIL.
//! Station: delivery.
//!
//! Race: outcomes are queued for readers and callbacks under the producer's lock. The I/O thread and the engine both resolve batches, and
//! queued after the lock they could overtake each other. Waiting threads are woken after it. A batch that both a reader and a
//! callback receive leaves the budget with the later of the two.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use ottla_core::produce::completion::{Attached, Completion, State};
use ottla_core::produce::shared::{Listener, ProduceShared};
use ottla_core::seam::{Bell, Wake};
use ottla_io::clock;
use parking_lot::Mutex;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::delivery::object;
use crate::fork;
use crate::seam::budget;
use crate::send::never_awaited::NeverAwaited;
use crate::send::unawaited::UnawaitedSends;

type Sleeper = (Arc<dyn Wake>, u64);

/// Deliveries for the producer's callbacks, and calls of the messages' own: (callback, delivery).
pub type Report = (Vec<Py<PyAny>>, Vec<(Py<PyAny>, Py<PyAny>)>);

/// Who is to be told of every outcome, and who keeps which.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// For readers.
    pub written: bool,
    pub failed: bool,
    /// By callbacks of the whole producer.
    pub told: bool,
}

impl Wanted {
    pub fn any(self) -> bool {
        self.written || self.failed || self.told
    }
}

/// A resolved completion on its way to readers, to the producer's callbacks, or to both.
struct Settled {
    failed: bool,
    completion: Arc<Completion>,
    /// How many of them have not had its deliveries.
    left: AtomicUsize,
}

impl Settled {
    /// For one of those it is for; `had` has to follow.
    fn deliveries(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.completion
            .attached()
            .iter()
            .map(|each| borrowed(py, each))
            .collect()
    }

    /// The messages that have a callback of their own: (callback, delivery).
    fn calls(&self, py: Python<'_>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        let attached = self.completion.attached();
        let called = attached.iter().filter(|each| each.callback);
        called
            .filter_map(|each| {
                let delivery = borrowed(py, each);
                let callback = object::own_callback(delivery.bind(py))?.unbind();
                Some((callback, delivery))
            })
            .collect()
    }

    /// One of them has had the deliveries. The last one gets what they weighed on the producer's books.
    fn had(&self, py: Python<'_>) -> usize {
        if self.left.fetch_sub(1, Ordering::AcqRel) > 1 {
            return 0;
        }
        drop(taken(py, &self.completion));
        self.completion.take_charge()
    }

    /// Both in one.
    fn take(&self, py: Python<'_>) -> (Vec<Py<PyAny>>, usize) {
        if self.left.load(Ordering::Acquire) == 1 {
            return (taken(py, &self.completion), self.completion.take_charge());
        }
        (self.deliveries(py), self.had(py))
    }
}

/// A delivery that stays attached.
fn borrowed(py: Python<'_>, attached: &Attached) -> Py<PyAny> {
    // SAFETY: `attach` was given owned references, which stay until everybody has had them.
    unsafe { Bound::from_borrowed_ptr(py, attached.handle as *mut ffi::PyObject).unbind() }
}

fn taken(py: Python<'_>, completion: &Completion) -> Vec<Py<PyAny>> {
    let taken = completion.take_attached().into_iter();
    // SAFETY: owned references that `attach` was given.
    let own = |each: Attached| unsafe {
        Bound::from_owned_ptr(py, each.handle as *mut ffi::PyObject).unbind()
    };
    taken.map(own).collect()
}

#[derive(Default)]
struct Queues {
    /// For readers, in the order of their outcomes.
    ready: VecDeque<Arc<Settled>>,
    /// For the producer's callbacks, likewise.
    to_tell: VecDeque<Arc<Settled>>,
    sleepers: Vec<Sleeper>,
    ended: bool,
    abandoned: bool,
}

/// References that the I/O thread cannot let go of, and what they weigh until somebody has.
#[derive(Default)]
struct Unwanted {
    handles: Vec<Attached>,
    weight: usize,
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
    /// What completions wake for callbacks.
    callback_due: OnceLock<Arc<dyn Wake>>,
    wanted: Wanted,
    /// Some message was sent with a callback of its own.
    message_callbacks: AtomicBool,
    /// What the producer's callbacks are being told.
    telling: Mutex<Option<Arc<Settled>>>,
    bell: Arc<dyn Bell>,
    /// Of batches whose outcome nobody keeps, for whoever comes by with the GIL: the bell is rung for it.
    unwanted: Mutex<Unwanted>,
    /// For the engine's log: the bell is rung for it.
    never_awaited: NeverAwaited,
    pub unawaited: Arc<UnawaitedSends>,
    /// The producer, for people.
    pub who: String,
    /// Its fork generation.
    generation: u32,
    /// Where messages linger: the producer, to be told of who waits for them.
    lingers: OnceLock<Weak<ProduceShared>>,
}

/// Raises `ForkedClient` where nobody in this process will ever settle the completion: its producer is the parent's.
pub fn check_fork(py: Python<'_>, completion: &Completion) -> PyResult<()> {
    match completion
        .owner()
        .and_then(|owner| owner.downcast_ref::<Outcomes>())
    {
        Some(outcomes) => fork::check(py, outcomes.generation, &outcomes.who),
        None => Ok(()),
    }
}

impl Outcomes {
    pub fn new(wanted: Wanted, bell: Arc<dyn Bell>, who: String) -> Arc<Self> {
        Arc::new(Self {
            queues: Mutex::default(),
            callbacks: Mutex::default(),
            due: Mutex::default(),
            next_callback: AtomicU64::new(1),
            callback_due: OnceLock::new(),
            wanted,
            message_callbacks: AtomicBool::new(false),
            telling: Mutex::default(),
            unawaited: UnawaitedSends::new(bell.clone()),
            bell,
            unwanted: Mutex::default(),
            never_awaited: NeverAwaited::default(),
            who,
            generation: fork::generation(),
            lingers: OnceLock::new(),
        })
    }

    /// Its producer, once; it keeps these alive, not they it.
    pub fn set_producer(&self, producer: &Arc<ProduceShared>) {
        if producer.settings.lingers() {
            let _ = self.lingers.set(Arc::downgrade(producer));
        }
    }

    pub fn producer_that_lingers(&self) -> Option<Arc<ProduceShared>> {
        self.lingers.get()?.upgrade()
    }

    /// Whether each message's delivery is kept until its outcome.
    pub fn keeps(&self) -> bool {
        self.wanted.any()
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// Whether a take of this kind would give something, or the end.
    pub fn is_ready(&self, failed: Option<bool>) -> bool {
        let queues = self.queues.lock();
        queues.ended
            || queues
                .ready
                .iter()
                .any(|settled| failed.is_none_or(|failed| failed == settled.failed))
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
            let settled = {
                let mut queues = self.queues.lock();
                let position = queues
                    .ready
                    .iter()
                    .position(|settled| failed.is_none_or(|failed| failed == settled.failed));
                match position {
                    Some(position) if taken.len() < limit => queues.ready.remove(position),
                    _ if taken.is_empty() && !queues.ended => return None,
                    _ => return Some((taken, weight)),
                }
            };
            if let Some(settled) = settled {
                let (deliveries, its) = settled.take(py);
                taken.extend(deliveries);
                weight += its;
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

    /// A message with a callback of its own is about to be sent.
    pub fn expect_message_callbacks(&self) {
        self.message_callbacks.store(true, Ordering::Relaxed);
    }

    /// Whether outcomes may have to be reported on the dispatcher thread.
    pub fn reports_outcomes(&self) -> bool {
        self.wanted.told || self.message_callbacks.load(Ordering::Relaxed)
    }

    // ---- the producer's callbacks ----------------------------------------------------------------------------------

    /// Whether there is anything to tell.
    pub fn has_to_tell(&self) -> bool {
        !self.queues.lock().to_tell.is_empty()
    }

    /// The next completion to report, None where there is none now; with what the one before weighed, which was reported by
    /// now. On the dispatcher thread only.
    pub fn next_report(&self, py: Python<'_>) -> (Option<Report>, usize) {
        let next = self.queues.lock().to_tell.pop_front();
        let told = std::mem::replace(&mut *self.telling.lock(), next.clone());
        let weight = told.map_or(0, |told| told.had(py));
        let report = next.map(|next| {
            let every = self.wanted.told.then(|| next.deliveries(py));
            (every.unwrap_or_default(), next.calls(py))
        });
        (report, weight)
    }

    /// The producer's budget and its largest holders. Outcomes that wait for callbacks are no reader's to take.
    pub fn budget<'py>(
        &self,
        py: Python<'py>,
        producer: &ProduceShared,
        holders: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let budget = producer.with(|flow| flow.budget(clock::now()));
        let callbacks_due = self.telling.lock().is_some() || self.has_to_tell();
        budget::budget(py, &budget, holders, callbacks_due)
    }

    // ---- callbacks of single deliveries -------------------------------------------------------------------------------------------------

    /// Has `callback(delivery)` called on the dispatcher thread once the message has its outcome; false where it has it
    /// already: then the caller has to see to the call.
    pub fn call_when_settled(
        self: &Arc<Self>,
        completion: &Arc<Completion>,
        callback: &Bound<'_, PyAny>,
        delivery: &Bound<'_, PyAny>,
    ) -> bool {
        let py = delivery.py();
        let number = self.next_callback.fetch_add(1, Ordering::Relaxed);
        let entry = Callback {
            callback: callback.clone().unbind(),
            delivery: delivery.clone().unbind(),
        };
        self.callbacks.lock().insert(number, entry);
        if self.watch(completion, number) {
            return true;
        }
        // Not pending: forwarded or resolved.
        match self.callbacks.lock().remove(&number) {
            // Taken meanwhile by who takes all that is settled.
            None => true,
            Some(Callback { callback, delivery }) => {
                callback.drop_ref(py);
                delivery.drop_ref(py);
                false
            }
        }
    }

    /// One wake for all callbacks: a completion wakes those of one in the order of their numbers, so in which they were asked for.
    fn watch(self: &Arc<Self>, completion: &Arc<Completion>, number: u64) -> bool {
        let due = || Arc::new(CallbackDue(Arc::downgrade(self))) as Arc<dyn Wake>;
        completion.add_waiter(self.callback_due.get_or_init(due).clone(), number)
    }

    fn callbacks_due(&self, numbers: &mut dyn Iterator<Item = u64>) {
        self.due.lock().extend(numbers);
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
            let place = object::where_is(entry.delivery.as_ptr()).0;
            if place.is_pending() {
                // Its message has moved to another batch: wait for that. Whatever happens between, it is looked at again.
                self.callbacks.lock().insert(number, entry);
                if !self.watch(&place, number) {
                    self.callbacks_due(&mut std::iter::once(number));
                }
                continue;
            }
            calls.push((entry.callback, entry.delivery));
        }
        calls
    }

    /// The same, and those whose message has its outcome, but whose wake-up is still on its way: who waits for the outcome may be
    /// ahead of it.
    pub fn take_settled_callbacks(self: &Arc<Self>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        let mut settled: Vec<u64> = {
            let callbacks = self.callbacks.lock();
            let settled = callbacks
                .iter()
                .filter(|(_, entry)| !object::where_is(entry.delivery.as_ptr()).0.is_pending());
            settled.map(|(number, _)| *number).collect()
        };
        settled.sort_unstable();
        self.due.lock().extend(settled);
        self.take_callbacks()
    }

    /// Whether a callback of a single delivery was ever asked for.
    pub fn has_callbacks(&self) -> bool {
        self.next_callback.load(Ordering::Relaxed) > 1
    }

    /// A delivery that has its outcome already was asked for a callback, which is queued.
    pub fn note_callback(&self) {
        self.next_callback.fetch_add(1, Ordering::Relaxed);
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
        weight + self.discard(py)
    }

    fn has_unwanted(&self) -> bool {
        !self.unwanted.lock().handles.is_empty()
    }

    /// Lets go of references that the I/O thread could not. Returns what they weighed.
    pub fn discard(&self, py: Python<'_>) -> usize {
        // The lock is let go first: a finalizer that runs here may give the GIL to somebody who needs it, or need it itself.
        let Unwanted { handles, weight } = std::mem::take(&mut *self.unwanted.lock());
        for each in handles {
            // SAFETY: an owned reference that `attach` was given.
            drop(unsafe { Bound::from_owned_ptr(py, each.handle as *mut ffi::PyObject) });
        }
        weight
    }
}

impl Outcomes {
    /// A `send_many` was dropped before any await. In a finalizer.
    pub fn never_awaited(&self, topic: String) {
        self.never_awaited.add(topic);
        self.bell.ring();
    }

    /// (topic, number) of them since the last time.
    pub fn take_never_awaited(&self) -> Vec<(String, u64)> {
        self.never_awaited.take()
    }
}

struct CallbackDue(Weak<Outcomes>);

impl Wake for CallbackDue {
    fn wake(&self, token: u64) {
        self.wake_all(&mut std::iter::once(token));
    }

    fn wake_all(&self, tokens: &mut dyn Iterator<Item = u64>) {
        if let Some(outcomes) = self.0.upgrade() {
            outcomes.callbacks_due(tokens);
        }
    }
}

impl Listener for Outcomes {
    fn resolved(&self, completions: Vec<Arc<Completion>>) {
        if !self.keeps() && !self.reports_outcomes() {
            return;
        }
        let mut unwanted = Unwanted::default();
        let mut queues = self.queues.lock();
        for completion in completions {
            let failed = matches!(completion.state(), State::Failed(_));
            let read = if failed {
                self.wanted.failed
            } else {
                self.wanted.written
            };
            let read = read && !queues.abandoned;
            let told = self.wanted.told || self.reports_outcomes() && completion.has_callbacks();
            let left = usize::from(read) + usize::from(told);
            if left == 0 {
                unwanted.handles.extend(completion.take_attached());
                unwanted.weight += completion.take_charge();
                continue;
            }
            let settled = Arc::new(Settled {
                failed,
                completion,
                left: AtomicUsize::new(left),
            });
            if told {
                queues.to_tell.push_back(settled.clone());
            }
            if read {
                queues.ready.push_back(settled);
            }
        }
        drop(queues);
        if !unwanted.handles.is_empty() {
            let mut all = self.unwanted.lock();
            all.handles.extend(unwanted.handles);
            all.weight += unwanted.weight;
        }
    }

    fn wake(&self) {
        if !self.keeps() && !self.reports_outcomes() {
            return;
        }
        let sleepers = std::mem::take(&mut self.queues.lock().sleepers);
        for (wake, token) in sleepers {
            wake.wake(token);
        }
        if self.has_to_tell() || self.has_unwanted() {
            self.bell.ring();
        }
    }
}
