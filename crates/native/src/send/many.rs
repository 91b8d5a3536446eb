//! `send_many`: every value of an iterable is a message of one topic, or every message has its own; one object has all outcomes.
//!
//! If it ends early (a wrong type, no free buffer space, a raising iterable) the exception's `accepted` has the outcomes of the
//! messages that were accepted before. In a thread a message that has to wait blocks the call; in an event loop the awaitable
//! stores it. Values of a list or a tuple are appended many at a time while they are plain. Stations: message → partition →
//! accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::produce::completion::Place;
use ottla_core::produce::message::Refused;
use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::callback::check_on_delivery;
use crate::deliveries::{Collected, Deliveries};
use crate::delivery::object;
use crate::send::field::null_for_none;
use crate::send::function_partitioner as partitioner;
use crate::send::intercept::StoredPassed;
use crate::send::message::{Given, Prepared, Stored};
use crate::send::never_awaited::warn;
use crate::send::queued::{QueuedMessage, owned};
use crate::send::sender::{SenderUse, deadline, now_ms};
use crate::send::source::{Items, Next, Source};
use crate::send::topic_queue::{self, TopicPlace};
use crate::wait::waiting::Awaited;

/// Whether a message that has to wait blocks the calling thread, or is awaited in an event loop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum World {
    Thread,
    Loop,
}

/// The parts of a producer that a call of `send_many` uses.
pub struct Options {
    pub sender: SenderUse,
    /// A function of the application that chooses the partitions.
    pub partitioner: Option<Py<PyAny>>,
    pub interceptors: Option<Py<PyAny>>,
    pub on_delivery: Option<Py<PyAny>>,
    pub world: World,
}

/// Checks `on_delivery` of a call.
pub fn callback_of(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
    given
        .map(|callback| check_on_delivery(callback).map(|()| callback.clone().unbind()))
        .transpose()
}

/// The parts of a message that `Collected` needs in addition to its place.
#[derive(Default)]
struct Extra {
    /// None: the time of the call.
    timestamp_ms: Option<i64>,
    metadata: Option<Py<PyAny>>,
}

/// One call.
pub struct SendMany {
    source: Source,
    options: Options,
    collected: Collected,
    /// Of messages that name none: the time of the call.
    timestamp_ms: i64,
    /// A message that has to wait, in an event loop.
    queued: Option<(QueuedMessage, Extra)>,
    /// The place at a topic, kept until a message goes to another topic or waits for buffer space: so the messages of one call
    /// stay together.
    place: Option<TopicPlace>,
    /// The message that passed the interceptors and is not accepted yet.
    passed: Option<StoredPassed>,
    /// Time at which the queued message is given up.
    until: Option<Instant>,
    waits: u32,
}

impl SendMany {
    pub fn new(source: Source, options: Options) -> Self {
        Self {
            source,
            options,
            collected: Collected::default(),
            timestamp_ms: now_ms(),
            queued: None,
            place: None,
            passed: None,
            until: None,
            waits: 0,
        }
    }

    /// All of them, in a thread: none is left that has to wait.
    pub fn send_all(mut self, py: Python<'_>) -> PyResult<Deliveries> {
        match self.advance(py) {
            Ok(_) => Ok(self.finish()),
            Err(error) => {
                let error = self.ended_early(py, error);
                self.given_up(py, &error);
                Err(error)
            }
        }
    }

    fn finish(&mut self) -> Deliveries {
        self.collected.finish(self.timestamp_ms)
    }

    /// The exception with the outcomes of the messages that were accepted before it.
    fn ended_early(&mut self, py: Python<'_>, error: PyErr) -> PyErr {
        let set = Py::new(py, self.finish())
            .and_then(|accepted| error.value(py).setattr("accepted", accepted));
        set.err().unwrap_or(error)
    }

    /// Sends until a message has to wait; true where all are accepted.
    fn advance(&mut self, py: Python<'_>) -> PyResult<bool> {
        while self.try_queued(py)? {
            self.send_plain(py)?;
            // A closed producer refuses every message before it reaches the interceptors.
            let chain = self.options.interceptors.as_ref();
            let chain = chain.filter(|_| !self.options.sender.is_closed());
            let callback = self.options.on_delivery.as_ref();
            let Some(next) = self.source.next(py, chain, callback)? else {
                return Ok(true);
            };
            self.passed = next.passed.as_ref().map(|passed| passed.store());
            self.offer(py, &next)?;
        }
        Ok(false)
    }

    /// Sends plain values of a list or tuple while there is space, many at a time.
    fn send_plain(&mut self, py: Python<'_>) -> PyResult<()> {
        let options = &self.options;
        let general = options.partitioner.is_some()
            || options.interceptors.is_some()
            || options.on_delivery.is_some()
            || options.sender.outcomes.stores_deliveries();
        let Source::Values {
            topic,
            items: Items::Sequence(values, read),
            keys: None,
        } = &mut self.source
        else {
            return Ok(());
        };
        if general {
            return Ok(());
        }
        let topic = options.sender.topic(py, topic.as_ptr())?;
        loop {
            let before = self.collected.len();
            let accepted = |completion: &Arc<_>, index| self.collected.add(completion, index);
            // SAFETY: a list or a tuple.
            unsafe {
                options.sender.send_plain_run(
                    topic,
                    self.timestamp_ms,
                    values.as_ptr(),
                    *read,
                    accepted,
                );
            }
            let sent = self.collected.len() - before;
            *read += sent;
            if sent == 0 {
                return Ok(());
            }
            py.check_signals()?;
        }
    }

    /// Appends one message. In a loop it may be queued instead: for its topic or for buffer space.
    fn offer(&mut self, py: Python<'_>, next: &Next<'_>) -> PyResult<()> {
        let given = next.fields.given();
        // SAFETY: `next` holds the objects, in this call.
        unsafe {
            let mut prepared = self.options.sender.prepare(py, &given)?;
            let extra = self.extra(py, &given, &mut prepared);
            if self.waits_for_topic(&prepared) {
                return self.queue_for_topic(py, &given, &prepared, extra);
            }
            self.choose(py, &given, &mut prepared)?;
            self.append(py, &given, &prepared, extra)
        }
    }

    /// # Safety
    /// The objects of `given`, of which `prepared` was made, are valid or null.
    unsafe fn extra(&self, py: Python<'_>, given: &Given, prepared: &mut Prepared) -> Extra {
        let own = !null_for_none(given.timestamp_ms).is_null();
        if !own {
            prepared.timestamp_ms = self.timestamp_ms;
        }
        // SAFETY: by contract.
        let metadata =
            unsafe { Bound::from_borrowed_ptr_or_opt(py, null_for_none(given.metadata)) };
        Extra {
            timestamp_ms: own.then_some(prepared.timestamp_ms),
            metadata: metadata.map(Bound::unbind),
        }
    }

    /// Gives the message its partition, where a function chooses it.
    ///
    /// # Safety
    /// The contract of `extra`.
    unsafe fn choose(
        &self,
        py: Python<'_>,
        given: &Given,
        prepared: &mut Prepared,
    ) -> PyResult<()> {
        let Some(function) = &self.options.partitioner else {
            return Ok(());
        };
        let choose = match self.options.world {
            World::Thread => partitioner::choose_waiting,
            World::Loop => partitioner::choose_known,
        };
        // SAFETY: by contract.
        unsafe { choose(py, &self.options.sender, function, given, prepared) }
    }

    /// A delivery only where single outcomes are reported.
    ///
    /// # Safety
    /// The contract of `extra`.
    unsafe fn delivery(
        &self,
        py: Python<'_>,
        given: &Given,
        prepared: &Prepared,
    ) -> PyResult<Option<Py<PyAny>>> {
        if !prepared.callback && !self.options.sender.outcomes.stores_deliveries() {
            return Ok(None);
        }
        // SAFETY: by contract.
        let made = unsafe { self.options.sender.delivery(py, given, prepared)? };
        Ok(Some(owned(py, made).unbind()))
    }

    /// # Safety
    /// The contract of `extra`.
    unsafe fn append(
        &mut self,
        py: Python<'_>,
        given: &Given,
        prepared: &Prepared,
        extra: Extra,
    ) -> PyResult<()> {
        // SAFETY: by contract.
        let delivery = unsafe { self.delivery(py, given, prepared)? };
        let pointer = delivery.as_ref().map(|made| made.as_ptr().cast());
        let sender = &self.options.sender;
        let place = if self.options.world == World::Thread {
            sender.append_waiting(py, prepared, pointer)?
        } else {
            match sender.append(prepared, None, pointer) {
                Ok(place) => place,
                Err(Refused::Full) => {
                    // SAFETY: by contract.
                    let stored = unsafe { Stored::new(py, given, prepared)? };
                    let queued =
                        QueuedMessage::for_space(sender, stored, prepared.size(), delivery);
                    self.place = None;
                    self.queue(queued, extra);
                    return Ok(());
                }
                Err(refused) => return Err(sender.refusal(py, &refused, prepared.place())),
            }
        };
        if let Some(made) = &delivery {
            let (completion, index) = place.clone();
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { object::place(made.as_ptr().cast(), completion, index) };
        }
        self.accepted(place, extra);
        Ok(())
    }

    fn accepted(&mut self, (completion, index): Place, extra: Extra) {
        self.passed = None;
        match extra.timestamp_ms {
            Some(own) => self.collected.add_at(&completion, index, own),
            None => self.collected.add(&completion, index),
        }
        if let Some(metadata) = extra.metadata {
            self.collected.add_metadata(metadata);
        }
    }

    // ---- waiting ---------------------------------------------------------------------------------------------------

    /// Whether the message has to wait for its topic: a function chooses the partition. In a thread `choose` waits.
    fn waits_for_topic(&mut self, prepared: &Prepared) -> bool {
        if self.options.partitioner.is_none() || self.options.world == World::Thread {
            return false;
        }
        let (topic, chooses) = (prepared.topic, prepared.partition.is_none());
        topic_queue::has_to_wait(&self.options.sender, topic, chooses, &mut self.place)
    }

    /// # Safety
    /// The contract of `extra`.
    unsafe fn queue_for_topic(
        &mut self,
        py: Python<'_>,
        given: &Given,
        prepared: &Prepared,
        extra: Extra,
    ) -> PyResult<()> {
        let (Some(place), Some(function)) = (self.place.take(), &self.options.partitioner) else {
            unreachable!("a message that waits for its topic has a place there");
        };
        let function = function.clone_ref(py);
        // SAFETY: by contract.
        let (stored, delivery) = unsafe {
            (
                Stored::new(py, given, prepared)?,
                self.delivery(py, given, prepared)?,
            )
        };
        self.queue(
            QueuedMessage::for_topic(place, stored, function, prepared.size(), delivery),
            extra,
        );
        Ok(())
    }

    fn queue(&mut self, message: QueuedMessage, extra: Extra) {
        self.queued = Some((message, extra));
        self.waits = self.waits.wrapping_add(1);
        self.until = Some(deadline(self.options.sender.max_block));
    }

    /// Tries the queued message; true where none is left.
    fn try_queued(&mut self, py: Python<'_>) -> PyResult<bool> {
        let Some((mut message, extra)) = self.queued.take() else {
            return Ok(true);
        };
        let stage = message.stage();
        match message.try_accept(py)? {
            Some(place) => {
                self.place = message.topic_place.take();
                self.accepted(place, extra);
            }
            None => {
                if message.stage() != stage {
                    self.until = Some(deadline(self.options.sender.max_block));
                }
                self.queued = Some((message, extra));
            }
        }
        Ok(self.queued.is_none())
    }
}

impl Awaited for SendMany {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.advance(py) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Py::new(py, self.finish())?.into_any())),
            Err(error) => Err(self.ended_early(py, error)),
        }
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        if let Some((message, _)) = &self.queued {
            message.register(wake, token);
        }
    }

    fn stage(&self) -> u32 {
        // A message has two queues at most.
        let queue = self
            .queued
            .as_ref()
            .map_or(0, |(message, _)| message.stage());
        self.waits.wrapping_mul(2).wrapping_add(queue)
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let error = self
            .queued
            .as_ref()
            .map(|(message, _)| message.too_late(py));
        match error {
            Some(error) => Err(self.ended_early(py, error)),
            None => Ok(py.None()),
        }
    }

    fn given_up(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(passed) = self.passed.take() {
            passed.refused(py, error);
        }
    }

    fn describe(&self, _py: Python<'_>) -> String {
        let accepted = self.collected.len();
        format!("a send_many that has accepted {accepted} messages")
    }

    fn dropped(mut self: Box<Self>, py: Python<'_>, awaited: bool, _until: Option<Instant>) {
        let outcomes = &self.options.sender.outcomes;
        if let Some(passed) = self.passed.take() {
            outcomes.unawaited.add_refused(passed);
        }
        if !awaited {
            let topic = self.source.topic(py);
            warn(py, topic.as_deref());
            outcomes.never_awaited.add(topic.unwrap_or_default());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.until
    }
}
