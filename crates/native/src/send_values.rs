//! `send_many` of the values of one topic, with or without keys.
//!
//! Values of a list or a tuple are appended many at a time as long as they are usual. Stations: message → partition →
//! accumulator. Threads: the caller's.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};

use crate::accepting::Accepting;
use crate::send_source::Source;
use crate::sender::Given;

pub struct Values {
    topic: Py<PyAny>,
    items: Items,
    keys: Option<Py<PyIterator>>,
}

/// Where the values come from.
enum Items {
    /// A list or a tuple, and how far it was read. A list may change while nobody holds the GIL.
    Sequence(Py<PyAny>, usize),
    Iterator(Py<PyIterator>),
}

impl Items {
    fn of(values: &Bound<'_, PyAny>) -> PyResult<Self> {
        if values.is_exact_instance_of::<PyList>() || values.is_exact_instance_of::<PyTuple>() {
            return Ok(Self::Sequence(values.clone().unbind(), 0));
        }
        Ok(Self::Iterator(values.try_iter()?.unbind()))
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Iterator(iterator) => iterator.bind(py).clone().next().transpose(),
            Self::Sequence(values, read) => {
                let values = values.bind(py);
                if *read >= values.len()? {
                    return Ok(None);
                }
                *read += 1;
                values.get_item(*read - 1).map(Some)
            }
        }
    }
}

/// One message's own objects.
struct Next<'py> {
    value: Bound<'py, PyAny>,
    key: Option<Bound<'py, PyAny>>,
}

impl Values {
    pub fn of(
        topic: &Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            topic: topic.clone().unbind(),
            items: Items::of(values)?,
            keys: keys
                .map(|keys| Ok::<_, PyErr>(keys.try_iter()?.unbind()))
                .transpose()?,
        })
    }

    /// Sends what comes next as long as it is usual and there is room, many at a time; what follows needs a closer look.
    fn send_usual(&mut self, py: Python<'_>, accepting: &mut Accepting) -> PyResult<()> {
        let Items::Sequence(values, read) = &mut self.items else {
            return Ok(());
        };
        let Accepting {
            sender,
            collected,
            timestamp_ms,
            partitioner,
            on_delivery,
            ..
        } = accepting;
        let general = self.keys.is_some() || partitioner.is_some() || on_delivery.is_some();
        if general || sender.outcomes.keeps() {
            return Ok(());
        }
        let topic = sender.topic(py, self.topic.as_ptr())?;
        loop {
            let before = collected.len();
            let accepted = |completion: &Arc<_>, index| collected.add(completion, index);
            // SAFETY: a list or a tuple.
            unsafe {
                sender.send_plain_run(topic, *timestamp_ms, values.as_ptr(), *read, accepted);
            }
            let sent = collected.len() - before;
            *read += sent;
            if sent == 0 {
                return Ok(());
            }
            py.check_signals()?;
        }
    }

    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Next<'py>>> {
        let value = self.items.next(py)?;
        let key = match &self.keys {
            Some(keys) => keys.bind(py).clone().next().transpose()?,
            None => None,
        };
        match (value, key) {
            (None, Some(_)) => Err(PyValueError::new_err("there are more keys than values")),
            (Some(_), None) if self.keys.is_some() => {
                Err(PyValueError::new_err("there are more values than keys"))
            }
            (None, None) => Ok(None),
            (Some(value), key) => Ok(Some(Next { value, key })),
        }
    }

    fn given(&self, next: &Next<'_>, accepting: &Accepting) -> Given {
        let null = std::ptr::null_mut();
        Given {
            topic: self.topic.as_ptr(),
            value: next.value.as_ptr(),
            key: next.key.as_ref().map_or(null, Bound::as_ptr),
            headers: null,
            partition: null,
            timestamp_ms: null,
            metadata: null,
            on_delivery: accepting.callback(),
        }
    }

    /// Whether the user's function has to be asked, and the topic's partitions are not known yet.
    fn waits_for_topic(&self, py: Python<'_>, accepting: &mut Accepting) -> PyResult<bool> {
        if !accepting.may_wait_for_topic() {
            return Ok(false);
        }
        let topic = accepting.sender.topic(py, self.topic.as_ptr())?;
        Ok(accepting.waits_for_topic(topic, true))
    }
}

impl Source for Values {
    fn topic(&self, py: Python<'_>) -> Option<String> {
        self.topic.extract(py).ok()
    }

    fn advance(&mut self, py: Python<'_>, accepting: &mut Accepting) -> PyResult<bool> {
        while !accepting.has_to_wait(py)? {
            self.send_usual(py, accepting)?;
            if self.waits_for_topic(py, accepting)? {
                continue;
            }
            let Some(next) = self.next(py)? else {
                return Ok(true);
            };
            let given = self.given(&next, accepting);
            // SAFETY: `next` and `self` hold the objects; a message that was prepared has its topic.
            unsafe {
                let prepared = accepting.sender.prepare(py, &given)?;
                accepting.append(py, &given, prepared, None)?;
            }
        }
        Ok(false)
    }
}
