//! `send_many` of messages that each have their own topic, key, headers.
//!
//! Stations: message → partition → accumulator. Threads: the caller's.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyIterator;

use crate::accepting::Accepting;
use crate::send_source::Source;
use crate::sender::Given;

static MESSAGE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

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

    fn given(&self, accepting: &Accepting) -> Given {
        Given {
            topic: self.topic.as_ptr(),
            value: self.value.as_ptr(),
            key: self.key.as_ptr(),
            headers: self.headers.as_ptr(),
            partition: self.partition.as_ptr(),
            timestamp_ms: self.timestamp_ms.as_ptr(),
            metadata: self.metadata.as_ptr(),
            on_delivery: accepting.callback(),
        }
    }
}

pub struct Messages {
    messages: Py<PyIterator>,
    /// Taken from the iterable, and not offered yet: it waits for its topic.
    taken: Option<Py<PyAny>>,
}

impl Messages {
    pub fn of(messages: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            messages: messages.try_iter()?.unbind(),
            taken: None,
        })
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.taken.take() {
            Some(message) => Ok(Some(message.into_bound(py))),
            None => self.messages.bind(py).clone().next().transpose(),
        }
    }

    /// Appends, or has it wait: for its topic or for room.
    fn offer(
        &mut self,
        py: Python<'_>,
        accepting: &mut Accepting,
        message: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let next = Next::of(&message)?;
        let given = next.given(accepting);
        // SAFETY: `next` holds the objects.
        let mut prepared = unsafe { accepting.sender.prepare(py, &given)? };
        if given.timestamp_ms == py.None().as_ptr() {
            prepared.timestamp_ms = accepting.timestamp_ms;
        }
        let (topic, chooses) = (prepared.topic, prepared.partition.is_none());
        if accepting.may_wait_for_topic() && accepting.waits_for_topic(topic, chooses) {
            self.taken = Some(message.unbind());
            return Ok(());
        }
        let own = Some(prepared.timestamp_ms);
        // SAFETY: `next` holds the objects; a message that was prepared has its topic.
        unsafe { accepting.append(py, &given, prepared, own) }
    }
}

impl Source for Messages {
    fn advance(&mut self, py: Python<'_>, accepting: &mut Accepting) -> PyResult<bool> {
        while !accepting.has_to_wait(py)? {
            let Some(message) = self.next(py)? else {
                return Ok(true);
            };
            self.offer(py, accepting, message)?;
        }
        Ok(false)
    }
}
