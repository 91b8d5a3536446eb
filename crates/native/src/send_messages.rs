//! `send_many` of messages that each have their own topic, key, headers: one call, one object with all outcomes.
//!
//! As `send_many.rs`, which is for the values of one topic, in what is accepted and what an early end tells. Stations:
//! message → partition → accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::flow::Wake;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyMemoryView, PyString};

use crate::deliveries::Deliveries;
use crate::many::Accepting;
use crate::sender::{Given, Prepared, Sender};
use crate::user_partitioner as user;
use crate::waiting::Awaited;

static MESSAGE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// What `send_many` was given: values of one topic, or messages.
pub enum Form<'a, 'py> {
    Values {
        topic: &'a Bound<'py, PyAny>,
        values: &'a Bound<'py, PyAny>,
        keys: Option<&'a Bound<'py, PyAny>>,
    },
    Messages(&'a Bound<'py, PyAny>),
}

impl<'a, 'py> Form<'a, 'py> {
    pub fn of(
        first: &'a Bound<'py, PyAny>,
        values: Option<&'a Bound<'py, PyAny>>,
        keys: Option<&'a Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        if let Some(values) = values {
            several("values", values)?;
            keys.map_or(Ok(()), |keys| several("keys", keys))?;
            return Ok(Self::Values {
                topic: first,
                values,
                keys,
            });
        }
        if is_one_value(first) {
            return Err(PyTypeError::new_err(
                "send_many() takes a topic and its values, or an iterable of ottla.Message alone",
            ));
        }
        if keys.is_some() {
            return Err(PyTypeError::new_err(
                "send_many() of messages takes no keys: each message has its own",
            ));
        }
        Ok(Self::Messages(first))
    }
}

fn is_one_value(given: &Bound<'_, PyAny>) -> bool {
    given.is_instance_of::<PyString>()
        || given.is_instance_of::<PyBytes>()
        || given.is_instance_of::<PyByteArray>()
        || given.is_instance_of::<PyMemoryView>()
}

/// One value is iterable too, letter by letter, which nobody ever means.
fn several(name: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
    if is_one_value(given) {
        let kind = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "{name} must be an iterable of values, not one {kind}: send() sends one message"
        )));
    }
    Ok(())
}

/// The fields of one message, held while it is sent.
struct Next<'py> {
    topic: Bound<'py, PyAny>,
    value: Bound<'py, PyAny>,
    key: Bound<'py, PyAny>,
    headers: Bound<'py, PyAny>,
    partition: Bound<'py, PyAny>,
    timestamp_ms: Bound<'py, PyAny>,
    metadata: Bound<'py, PyAny>,
}

impl<'py> Next<'py> {
    fn of(message: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = message.py();
        if !message.is_instance(MESSAGE.import(py, "ottla.message", "Message")?)? {
            let kind = message.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "send_many() without values takes ottla.Message, not {kind}"
            )));
        }
        Ok(Self {
            topic: message.getattr(pyo3::intern!(py, "topic"))?,
            value: message.getattr(pyo3::intern!(py, "value"))?,
            key: message.getattr(pyo3::intern!(py, "key"))?,
            headers: message.getattr(pyo3::intern!(py, "headers"))?,
            partition: message.getattr(pyo3::intern!(py, "partition"))?,
            timestamp_ms: message.getattr(pyo3::intern!(py, "timestamp_ms"))?,
            metadata: message.getattr(pyo3::intern!(py, "metadata"))?,
        })
    }

    fn given(&self) -> Given {
        Given {
            topic: self.topic.as_ptr(),
            value: self.value.as_ptr(),
            key: self.key.as_ptr(),
            headers: self.headers.as_ptr(),
            partition: self.partition.as_ptr(),
            timestamp_ms: self.timestamp_ms.as_ptr(),
            metadata: self.metadata.as_ptr(),
        }
    }
}

pub struct Messages {
    accepting: Accepting,
    messages: Py<PyIterator>,
    /// The user's own function that chooses the partitions.
    partitioner: Option<Py<PyAny>>,
    /// Taken from the iterable, and not offered yet: it waits for its topic.
    taken: Option<Py<PyAny>>,
}

impl Messages {
    pub fn new(
        sender: Arc<Sender>,
        messages: &Bound<'_, PyAny>,
        partitioner: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            accepting: Accepting::new(sender),
            messages: messages.try_iter()?.unbind(),
            partitioner,
            taken: None,
        })
    }

    /// All of them, waiting for room at most `max_block` for each.
    pub fn send_all(mut self, py: Python<'_>) -> PyResult<Deliveries> {
        loop {
            match self.send_next(py) {
                Ok(true) => {}
                Ok(false) => return Ok(self.accepting.finish()),
                Err(error) => return Err(self.accepting.ended_early(py, error)),
            }
        }
    }

    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.messages.bind(py).clone().next().transpose()
    }

    fn prepare(&self, py: Python<'_>, given: &Given) -> PyResult<Prepared> {
        // SAFETY: the objects of `given` outlive the result: each caller holds them.
        let mut prepared = unsafe { self.accepting.sender.prepare(py, given)? };
        if given.timestamp_ms == py.None().as_ptr() {
            prepared.timestamp_ms = self.accepting.timestamp_ms;
        }
        Ok(prepared)
    }

    // ---- in a thread -----------------------------------------------------------------------------------------------

    /// Sends one; false where there is none any more.
    fn send_next(&mut self, py: Python<'_>) -> PyResult<bool> {
        let Some(message) = self.next(py)? else {
            return Ok(false);
        };
        let next = Next::of(&message)?;
        let given = next.given();
        let mut prepared = self.prepare(py, &given)?;
        // SAFETY: `next` holds the objects.
        unsafe {
            if let Some(function) = &self.partitioner {
                let sender = &self.accepting.sender;
                user::choose_waiting(py, sender, function, &given, &mut prepared)?;
            }
            let own = Some(prepared.timestamp_ms);
            self.accepting.append_waiting(py, &given, &prepared, own)?;
        }
        Ok(true)
    }

    // ---- in an event loop ------------------------------------------------------------------------------------------

    /// Sends until one has to wait; true where all are accepted.
    fn advance(&mut self, py: Python<'_>) -> PyResult<bool> {
        while !self.accepting.has_to_wait(py)? {
            let message = match self.taken.take() {
                Some(message) => message.into_bound(py),
                None => match self.next(py)? {
                    Some(message) => message,
                    None => return Ok(true),
                },
            };
            self.offer(py, message)?;
        }
        Ok(false)
    }

    /// Appends, or has it wait: for its topic or for room.
    fn offer(&mut self, py: Python<'_>, message: Bound<'_, PyAny>) -> PyResult<()> {
        let next = Next::of(&message)?;
        let given = next.given();
        let mut prepared = self.prepare(py, &given)?;
        // SAFETY: `next` holds the objects; the topic is there.
        unsafe {
            if let Some(function) = &self.partitioner {
                let (topic, chooses) = (prepared.topic, prepared.partition.is_none());
                if self.accepting.waits_for_topic(topic, chooses) {
                    self.taken = Some(message.unbind());
                    return Ok(());
                }
                let sender = &self.accepting.sender;
                user::choose_known(py, sender, function, &given, &mut prepared)?;
            }
            let own = Some(prepared.timestamp_ms);
            self.accepting.append(py, &given, &prepared, own)
        }
    }
}

impl Awaited for Messages {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let all = self.advance(py);
        self.accepting.looked(py, all)
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        self.accepting.register(wake, token);
    }

    fn stage(&self) -> u32 {
        self.accepting.stage()
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(self.accepting.time_is_up(py))
    }

    fn deadline(&self) -> Option<Instant> {
        self.accepting.deadline()
    }
}
