//! The common part of both producers' sends: read the arguments, find the topic, append, and wait for free buffer space.
//!
//! Stations: message → partition → accumulator. Threads: any; the GIL is held except while waiting.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ottla_core::failure::{Cause, Failure, Outcome};
use ottla_core::produce::append::charges::DELIVERY_BYTES;
use ottla_core::produce::completion::Completion;
use ottla_core::produce::message::{Message, Refused};
use ottla_core::produce::shared::ProduceShared;
use ottla_core::record::encode::HeaderRef;
use ottla_io::clock;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::callback::check_on_delivery;
use crate::delivery::object::{self, DeliveryObject, Parts};
use crate::errors;
use crate::fork;
use crate::outcomes::Outcomes;
use crate::own_thread;
use crate::send::field::{Field, Headers, null_for_none, optional_number};
use crate::send::message::{Given, Prepared, Stored};
use crate::send::queue_place::QueuePlace;
use crate::wait::park::park;

/// Topics whose index is found again by the identity of the name's object: programs send with the same few literals.
const CACHED: usize = 8;

/// Bytes of a topic's name at most.
const LONGEST_TOPIC: usize = 249;

pub struct Sender {
    this: Weak<Sender>,
    pub shared: Arc<ProduceShared>,
    pub outcomes: Arc<Outcomes>,
    pub max_block: Duration,
    generation: u32,
    /// Number of sends and readers that wait with it, in addition to its producer.
    uses: AtomicUsize,
    /// Names (each a reference of ours) and their indices. Touched with the GIL only, which makes the pair one.
    names: [AtomicPtr<ffi::PyObject>; CACHED],
    indices: [AtomicUsize; CACHED],
}

/// The producer's own reference. Everything else that outlives a call has a `SenderUse`.
pub struct SenderOwner(Arc<Sender>);

impl SenderOwner {
    /// `max_block`: seconds that a send waits for free buffer space; more than a clock can hold is no limit.
    pub fn new(
        shared: Arc<ProduceShared>,
        outcomes: Arc<Outcomes>,
        max_block: f64,
        generation: u32,
    ) -> Self {
        Self(Arc::new_cyclic(|this| Sender {
            this: this.clone(),
            shared,
            outcomes,
            max_block: Duration::try_from_secs_f64(max_block.max(0.0)).unwrap_or(Duration::MAX),
            generation,
            uses: AtomicUsize::new(0),
            names: Default::default(),
            indices: Default::default(),
        }))
    }

    pub fn downgrade(&self) -> Weak<Sender> {
        Arc::downgrade(&self.0)
    }
}

impl Deref for SenderOwner {
    type Target = Sender;

    #[inline(always)]
    fn deref(&self) -> &Sender {
        &self.0
    }
}

/// The reference of a send or a reader that waits: the producer is in use meanwhile, also if the application has dropped it.
pub struct SenderUse(Arc<Sender>);

impl Drop for SenderUse {
    fn drop(&mut self) {
        self.0.uses.fetch_sub(1, Ordering::Release);
    }
}

impl Deref for SenderUse {
    type Target = Sender;

    #[inline(always)]
    fn deref(&self) -> &Sender {
        &self.0
    }
}

impl Sender {
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        fork::check(py, self.generation, &self.outcomes.who)
    }

    /// Whether every message is refused from here on.
    pub fn is_closed(&self) -> bool {
        self.shared.with(|flow| flow.acc.is_closed())
    }

    /// Whether sends that nobody awaits hold as many bytes as the buffer: the next call without free space is refused.
    pub fn has_too_many_unawaited(&self) -> bool {
        self.outcomes.unawaited.bytes() >= self.shared.settings.buffer_bytes
    }

    pub fn new_use(&self) -> SenderUse {
        let Some(sender) = self.this.upgrade() else {
            unreachable!("a caller has a reference")
        };
        self.uses.fetch_add(1, Ordering::Relaxed);
        SenderUse(sender)
    }

    /// Whether a send or a reader waits with it.
    pub fn in_use(&self) -> bool {
        self.uses.load(Ordering::Acquire) > 0
    }

    /// The application has read outcomes: their bytes leave the budget.
    pub fn outcomes_read(&self, bytes: usize) {
        if bytes > 0 {
            self.shared.with(|flow| flow.acc.outcomes_read(bytes));
        }
    }

    // ---- arguments -------------------------------------------------------------------------------------------------

    #[inline(always)]
    pub fn topic(&self, py: Python<'_>, name: *mut ffi::PyObject) -> PyResult<usize> {
        match self.known_topic(name) {
            Some(index) => Ok(index),
            None => self.look_up(py, name),
        }
    }

    /// The index of a topic by whose name object it was found before.
    #[inline(always)]
    pub fn known_topic(&self, name: *mut ffi::PyObject) -> Option<usize> {
        let slot = slot_of(name);
        let known = !name.is_null() && self.names[slot].load(Ordering::Relaxed) == name;
        known.then(|| self.indices[slot].load(Ordering::Relaxed))
    }

    #[cold]
    fn look_up(&self, py: Python<'_>, name: *mut ffi::PyObject) -> PyResult<usize> {
        // SAFETY: a borrowed argument or null.
        let Some(topic) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, name) }) else {
            return Err(PyTypeError::new_err("send() needs a topic"));
        };
        let refused = || errors::argument(py, "topic_error", (&topic,));
        let text = topic.cast::<PyString>().map_err(|_| refused())?;
        let text = text
            .to_cow()
            .map_err(|raised| errors::argument_or(py, raised, "topic_error", (&topic,)))?;
        if !can_be_a_topic(&text) {
            return Err(refused());
        }
        let index = self.shared.with(|flow| flow.acc.topic(&text));
        // Only the exact type: a subclass may hold references that make a cycle through here.
        // SAFETY: a living object.
        if unsafe { ffi::PyUnicode_CheckExact(name) } != 0 {
            let slot = slot_of(name);
            self.indices[slot].store(index, Ordering::Relaxed);
            let old = self.names[slot].swap(topic.unbind().into_ptr(), Ordering::Relaxed);
            // SAFETY: a reference of ours, or null.
            drop(unsafe { Bound::from_owned_ptr_or_opt(py, old) });
        }
        Ok(index)
    }

    /// # Safety
    /// The GIL is held; the objects are valid or null and outlive the result.
    #[inline(always)]
    pub unsafe fn prepare(&self, py: Python<'_>, given: &Given) -> PyResult<Prepared> {
        // SAFETY: by contract.
        unsafe {
            let headers = match null_for_none(given.headers) {
                headers if headers.is_null() => None,
                headers => {
                    let headers = Bound::from_borrowed_ptr(py, headers);
                    Some(Box::new(Headers::of(&headers)?))
                }
            };
            let callback = null_for_none(given.on_delivery);
            if !callback.is_null() {
                check_on_delivery(&Bound::from_borrowed_ptr(py, callback))?;
                self.outcomes.expect_message_callbacks();
            }
            let partition = optional_number(py, given.partition, "partition_error")?;
            let timestamp_ms = optional_number(py, given.timestamp_ms, "timestamp_ms_error")?;
            Ok(Prepared {
                topic: self.topic(py, given.topic)?,
                partition,
                timestamp_ms: timestamp_ms.unwrap_or_else(now_ms),
                value: Field::of(py, given.value, "value")?,
                key: Field::of(py, given.key, "key")?,
                headers,
                callback: !callback.is_null(),
                extra: self.extra(!callback.is_null()),
            })
        }
    }

    /// Bytes that a message takes in addition to its record: of the delivery that waits for its callback. Where every delivery
    /// waits to be reported the accumulator counts them all.
    fn extra(&self, callback: bool) -> usize {
        if callback && !self.outcomes.stores_deliveries() {
            DELIVERY_BYTES
        } else {
            0
        }
    }

    /// The same of a message that waited.
    pub fn prepare_stored(&self, py: Python<'_>, stored: &Stored) -> PyResult<Prepared> {
        // SAFETY: `stored` holds the objects.
        let mut prepared = unsafe { self.prepare(py, &stored.given())? };
        prepared.callback = stored.has_callback();
        prepared.extra = self.extra(prepared.callback);
        prepared.partition = stored.partition;
        prepared.timestamp_ms = stored.timestamp_ms;
        Ok(prepared)
    }

    /// A delivery for the message, which refers to the caller's own objects.
    ///
    /// # Safety
    /// The contract of `prepare`.
    #[inline(always)]
    pub unsafe fn delivery(
        &self,
        py: Python<'_>,
        given: &Given,
        prepared: &Prepared,
    ) -> PyResult<*mut DeliveryObject> {
        let parts = Parts {
            timestamp_ms: prepared.timestamp_ms,
            key: null_for_none(given.key),
            value: null_for_none(given.value),
            headers: null_for_none(given.headers),
            metadata: null_for_none(given.metadata),
            on_delivery: null_for_none(given.on_delivery),
        };
        // SAFETY: by contract.
        unsafe { object::new_delivery(py, &parts) }
    }

    // ---- appending -------------------------------------------------------------------------------------------------

    /// Appends, or says why not. With a delivery, that gets its place, and is kept for readers of outcomes.
    #[inline(always)]
    pub fn append(
        &self,
        prepared: &Prepared,
        ticket: Option<u64>,
        delivery: Option<*mut DeliveryObject>,
    ) -> Result<(Arc<Completion>, u32), Refused> {
        let headers: Vec<HeaderRef<'_>> = match &prepared.headers {
            None => Vec::new(),
            Some(headers) => headers.refs(),
        };
        let message = Message {
            partition: prepared.partition,
            timestamp_ms: prepared.timestamp_ms,
            key: prepared.key.bytes(),
            value: prepared.value.bytes(),
            headers: &headers,
            extra: prepared.extra,
        };
        let mut place = None;
        self.shared.append(
            prepared.topic,
            &message,
            ticket,
            clock::now,
            |completion, index| {
                if let Some(delivery) = delivery {
                    self.keep(completion, index, delivery, prepared.callback);
                }
                place = Some((completion.clone(), index));
            },
        )?;
        match place {
            Some(place) => Ok(place),
            None => unreachable!("an accepted message has a place"),
        }
    }

    /// Stores the delivery until its outcome was reported, where that has to happen.
    #[inline(always)]
    pub fn keep(
        &self,
        completion: &Completion,
        index: u32,
        delivery: *mut DeliveryObject,
        callback: bool,
    ) {
        if callback || self.outcomes.stores_deliveries() {
            // SAFETY: a living object; the reference is the completion's from here.
            unsafe { ffi::Py_INCREF(delivery.cast()) };
            completion.attach(index, delivery as usize, callback);
        }
    }

    /// Waits in the queue for free buffer space, without the GIL; false where the time ran out. Signals end the wait.
    fn wait_for_space(
        &self,
        py: Python<'_>,
        place: &Cell<Option<QueuePlace>>,
        bytes: usize,
        until: Instant,
    ) -> PyResult<bool> {
        let left = until.saturating_duration_since(Instant::now());
        let has_turn = || {
            let current = place.take();
            let turn = current.as_ref().is_some_and(QueuePlace::has_turn);
            place.set(current);
            turn
        };
        park(py, Some(left), has_turn, |wake, token| {
            let current = place
                .take()
                .inspect(|current| current.wait_again(wake.clone(), token));
            let current =
                current.unwrap_or_else(|| QueuePlace::join(&self.shared, bytes, wake, token));
            place.set(Some(current));
        })
    }

    /// `send` of the synchronous producer: append, and wait for free buffer space at most `max_block`.
    pub fn append_waiting(
        &self,
        py: Python<'_>,
        prepared: &Prepared,
        delivery: Option<*mut DeliveryObject>,
    ) -> PyResult<(Arc<Completion>, u32)> {
        let refused = |refused| Err(self.refusal(py, &refused, prepared.place()));
        match self.append(prepared, None, delivery) {
            // On a thread of the client's own it would wait for space that only that thread can free.
            Err(Refused::Full) if !own_thread::is_own() => {}
            Err(why) => return refused(why),
            Ok(place) => return Ok(place),
        }
        let until = deadline(self.max_block);
        let place = Cell::new(None);
        loop {
            if !self.wait_for_space(py, &place, prepared.size(), until)? {
                return refused(Refused::Full);
            }
            self.check(py)?;
            let current = place.take();
            let ticket = current.as_ref().map(|current| current.ticket);
            match self.append(prepared, ticket, delivery) {
                Err(Refused::Full) => place.set(current),
                Err(why) => return refused(why),
                Ok(accepted) => return Ok(accepted),
            }
        }
    }

    /// The exception for a message that was not accepted; it was to go to this topic, and to the partition that was named.
    #[cold]
    pub fn refusal(
        &self,
        py: Python<'_>,
        refused: &Refused,
        (topic, partition): (usize, Option<i32>),
    ) -> PyErr {
        let topic = self.shared.with(|flow| flow.acc.topic_name(topic));
        let topic = &*topic;
        match refused {
            Refused::Full => match self.outcomes.budget(py, &self.shared, 0) {
                Ok(budget) => errors::made(py, "buffer_full", (budget, topic, partition)),
                Err(error) => error,
            },
            Refused::TooLarge {
                bytes,
                cap,
                setting,
            } => {
                let given = (*bytes, *cap, *setting, topic, partition);
                errors::made(py, "message_too_large", given)
            }
            Refused::NoSuchPartition { partitions } => {
                let cause = Cause::NoSuchPartition {
                    partition: partition.unwrap_or(-1),
                    partitions: *partitions,
                };
                let outcome = Outcome::NotWritten;
                errors::failed_send(py, &Failure { cause, outcome }, topic, partition)
            }
            Refused::Closed => errors::made(py, "producer_closed", (topic, partition)),
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // In the child of a fork the locks are as the parent's threads had them: nothing of it may be touched.
        if self.generation != fork::generation() {
            return;
        }
        // Outcomes that nobody will read refer to their batch, and the batch to them. While the interpreter ends there is
        // no attaching any more, and nothing to free.
        Python::try_attach(|py| {
            self.outcomes_read(self.outcomes.abandon(py));
            for name in &self.names {
                let name = name.swap(std::ptr::null_mut(), Ordering::Relaxed);
                // SAFETY: a reference of ours, or null.
                drop(unsafe { Bound::from_owned_ptr_or_opt(py, name) });
            }
        });
    }
}

/// Whether Kafka allows a topic of this name (Java: Topic.validate).
fn can_be_a_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST_TOPIC).contains(&name.len())
        && name.bytes().all(legal)
        && !matches!(name, "." | "..")
}

/// The slot of a name's object in the cache.
#[inline(always)]
fn slot_of(name: *mut ffi::PyObject) -> usize {
    (name as usize >> 5) % CACHED
}

/// Milliseconds since the epoch; what `SystemTime` does, without its arithmetic on nanoseconds.
#[inline]
pub fn now_ms() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid place for the result; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

/// When a wait of this length ends; what the clock cannot hold ends in a year, which is no limit either.
pub fn deadline(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait)
        .unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}
