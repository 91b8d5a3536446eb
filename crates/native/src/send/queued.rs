//! A message of an event loop that waits before it is accepted: for its topic, or for free buffer space.
//!
//! The call takes the place in the queue, so messages are accepted in the order of the calls; a cancelled send gives its place
//! up and is not accepted. Only a partitioner function waits for the topic: it chooses among the partitions. Stations: partition,
//! accumulator. Owner: the event loop that awaits it.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::produce::completion::Place;
use ottla_core::produce::message::Refused;
use ottla_core::seam::Wake;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bell::Nobody;
use crate::delivery::object::{self, DeliveryObject};
use crate::errors;
use crate::send::function_partitioner::choose_known;
use crate::send::intercept::StoredPassed;
use crate::send::message::Stored;
use crate::send::queue_place::QueuePlace;
use crate::send::sender::{Sender, SenderUse};
use crate::send::topic_queue::TopicPlace;
use crate::send::unawaited::UnawaitedMessage;
use crate::wait::waiting::Awaited;

pub struct QueuedMessage {
    sender: SenderUse,
    stored: Stored,
    /// Receives its outcome. It has no completion until the message is accepted.
    delivery: Option<Py<PyAny>>,
    /// Chooses the partition.
    function: Option<Py<PyAny>>,
    /// While it waits for the topic.
    pub topic_place: Option<TopicPlace>,
    /// While it waits for free buffer space.
    space: Option<QueuePlace>,
    /// Bytes that the append needs.
    bytes: usize,
}

impl QueuedMessage {
    /// Takes a place in the queue for free buffer space.
    pub fn for_space(
        sender: &Sender,
        stored: Stored,
        bytes: usize,
        delivery: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            sender: sender.new_use(),
            stored,
            delivery,
            function: None,
            topic_place: None,
            space: Some(join(sender, bytes)),
            bytes,
        }
    }

    /// Waits at this place for its topic; the function chooses the partition then.
    pub fn for_topic(
        place: TopicPlace,
        stored: Stored,
        function: Py<PyAny>,
        bytes: usize,
        delivery: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            sender: place.sender.new_use(),
            stored,
            delivery,
            function: Some(function),
            topic_place: Some(place),
            space: None,
            bytes,
        }
    }

    /// Appends if it has its turn and there is space.
    pub fn try_accept(&mut self, py: Python<'_>) -> PyResult<Option<Place>> {
        self.sender.check(py)?;
        if self.space.is_none() {
            if self
                .topic_place
                .as_ref()
                .is_some_and(TopicPlace::has_to_wait)
            {
                return Ok(None);
            }
            self.choose(py)?;
            if let Some(place) = self.append(py)? {
                return Ok(Some(place));
            }
            // The place at the topic is given up only now: later sends to the topic come behind this one in the next queue.
            self.topic_place = None;
        }
        if !self.space.as_ref().is_some_and(QueuePlace::has_turn) {
            return Ok(None);
        }
        self.append(py)
    }

    fn choose(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(function) = &self.function else {
            return Ok(());
        };
        let mut prepared = self.sender.prepare_stored(py, &self.stored)?;
        // SAFETY: `stored` holds the objects that `prepared` was made of.
        unsafe {
            let given = self.stored.given();
            choose_known(py, &self.sender, function, &given, &mut prepared)?;
        }
        self.stored.partition = prepared.partition;
        Ok(())
    }

    /// None where there is no space: it has a place in the queue for it then.
    fn append(&mut self, py: Python<'_>) -> PyResult<Option<Place>> {
        let prepared = self.sender.prepare_stored(py, &self.stored)?;
        let ticket = self.space.as_ref().map(|space| space.ticket);
        match self.sender.append(&prepared, ticket, self.pointer()) {
            Ok((completion, index)) => {
                self.space = None;
                if let Some(made) = self.pointer() {
                    // SAFETY: made by `new_delivery`, and it has no place yet.
                    unsafe { object::place(made, completion.clone(), index) };
                }
                Ok(Some((completion, index)))
            }
            Err(Refused::Full) => {
                self.space
                    .get_or_insert_with(|| join(&self.sender, prepared.size()));
                Ok(None)
            }
            Err(refused) => Err(self.refusal(py, &refused)),
        }
    }

    fn pointer(&self) -> Option<*mut DeliveryObject> {
        self.delivery.as_ref().map(|made| made.as_ptr().cast())
    }

    fn refusal(&self, py: Python<'_>, refused: &Refused) -> PyErr {
        self.sender.refusal(py, refused, self.stored.place())
    }

    /// Counts its queues: a wake-up that was registered belongs to one of them.
    pub fn stage(&self) -> u32 {
        u32::from(self.space.is_some())
    }

    pub fn register(&self, wake: Arc<dyn Wake>, token: u64) {
        match (&self.space, &self.topic_place) {
            (Some(space), _) => space.wait_again(wake, token),
            (None, Some(place)) => place.sleep(wake, token),
            (None, None) => {}
        }
    }

    /// The error where it was not accepted in time.
    pub fn too_late(&self, py: Python<'_>) -> PyErr {
        match (&self.space, &self.topic_place) {
            (None, Some(place)) => place.too_late(py),
            _ => self.refusal(py, &Refused::Full),
        }
    }
}

fn join(sender: &Sender, bytes: usize) -> QueuePlace {
    // Nobody sleeps yet: an await tries to append first.
    QueuePlace::join(&sender.shared, bytes, Arc::new(Nobody), 0)
}

/// An asynchronous `send` of such a message.
pub struct QueuedSend {
    message: QueuedMessage,
    passed: Option<StoredPassed>,
}

impl QueuedSend {
    pub fn new(message: QueuedMessage, passed: Option<StoredPassed>) -> Self {
        Self { message, passed }
    }
}

impl Awaited for QueuedSend {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.message.try_accept(py)? {
            Some(_) => Ok(self.message.delivery.take()),
            None => Ok(None),
        }
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        self.message.register(wake, token);
    }

    fn stage(&self) -> u32 {
        self.message.stage()
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(self.message.too_late(py))
    }

    fn given_up(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(passed) = self.passed.take() {
            passed.refused(py, error);
        }
    }

    fn describe(&self, py: Python<'_>) -> String {
        let waits_for = match self.message.space {
            Some(_) => "free buffer space",
            None => "the partitions of its topic",
        };
        let topic = self.message.stored.topic(py).unwrap_or_default();
        format!("a send to topic {topic}, waiting for {waits_for}")
    }

    fn dropped(mut self: Box<Self>, _py: Python<'_>, awaited: bool, until: Option<Instant>) {
        let outcomes = self.message.sender.outcomes.clone();
        if !awaited {
            outcomes.unawaited.add(Box::new(self.message), until);
        } else if let Some(passed) = self.passed.take() {
            outcomes.unawaited.add_refused(passed);
        }
    }
}

impl UnawaitedMessage for QueuedMessage {
    fn try_accept(&mut self, py: Python<'_>) -> PyResult<bool> {
        Ok(Self::try_accept(self, py)?.is_some())
    }

    fn stage(&self) -> u32 {
        Self::stage(self)
    }

    fn register(&self, wake: Arc<dyn Wake>, token: u64) {
        Self::register(self, wake, token);
    }

    fn too_late(&self, py: Python<'_>) -> PyErr {
        Self::too_late(self, py)
    }

    fn fail(&self, py: Python<'_>, error: PyErr) {
        let failed = errors::failure_of(py, error);
        let (topic, partition) = self.stored.place();
        let sender = &self.sender;
        let mut place = None;
        sender.shared.with(|flow| {
            flow.acc
                .fail_unappended(topic, partition, failed, |completion| {
                    if let Some(made) = self.pointer() {
                        sender.keep(completion, 0, made, self.stored.has_callback());
                    }
                    place = Some(completion.clone());
                });
        });
        if let (Some(made), Some(completion)) = (self.pointer(), place) {
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { object::place(made, completion, 0) };
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn needs_function(&self) -> bool {
        let chooses =
            self.space.is_none() && self.function.is_some() && self.stored.partition.is_none();
        let waits = self
            .topic_place
            .as_ref()
            .is_some_and(TopicPlace::has_to_wait);
        chooses && !waits && !self.sender.is_closed()
    }
}

/// Owned pointer to a Python object of ours.
pub fn owned<'py>(py: Python<'py>, delivery: *mut DeliveryObject) -> Bound<'py, PyAny> {
    // SAFETY: an owned reference that the caller gives away.
    unsafe { Bound::from_owned_ptr(py, delivery.cast::<ffi::PyObject>()) }
}
