//! `send_many`: every value of an iterable is one message; one object has all outcomes.
//!
//! Where it ends early (a wrong type, no room, a raising iterable) the exception's `accepted` has the outcomes of what was
//! accepted before. Stations: message → partition → accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::flow::Wake;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple};

use crate::deliveries::Deliveries;
use crate::many::Accepting;
use crate::sender::{Given, Prepared, Sender};
use crate::user_partitioner as user;
use crate::waiting::Awaited;

pub struct Many {
    accepting: Accepting,
    topic: Py<PyAny>,
    values: Values,
    keys: Option<Py<PyIterator>>,
    /// The user's own function that chooses the partitions.
    partitioner: Option<Py<PyAny>>,
}

/// Where the values come from.
enum Values {
    /// A list or a tuple, and how far it was read. A list may change while nobody holds the GIL.
    Sequence(Py<PyAny>, usize),
    Iterator(Py<PyIterator>),
}

impl Values {
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

impl Many {
    pub fn new(
        sender: Arc<Sender>,
        topic: Bound<'_, PyAny>,
        values: &Bound<'_, PyAny>,
        keys: Option<&Bound<'_, PyAny>>,
        partitioner: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        Ok(Self {
            accepting: Accepting::new(sender),
            topic: topic.unbind(),
            values: Values::of(values)?,
            keys: keys
                .map(|keys| Ok::<_, PyErr>(keys.try_iter()?.unbind()))
                .transpose()?,
            partitioner,
        })
    }

    /// All of them, waiting for room at most `max_block` for each.
    pub fn send_all(mut self, py: Python<'_>) -> PyResult<Deliveries> {
        match self.send_each(py) {
            Ok(()) => Ok(self.accepting.finish()),
            Err(error) => Err(self.accepting.ended_early(py, error)),
        }
    }

    fn send_each(&mut self, py: Python<'_>) -> PyResult<()> {
        loop {
            self.send_usual(py)?;
            let Some(next) = self.next(py)? else {
                return Ok(());
            };
            self.send_one(py, &next)?;
        }
    }

    /// Sends what comes next as long as it is usual and there is room, many at a time; what follows needs a closer look.
    fn send_usual(&mut self, py: Python<'_>) -> PyResult<()> {
        let Values::Sequence(values, read) = &mut self.values else {
            return Ok(());
        };
        let Accepting {
            sender,
            collected,
            timestamp_ms,
            ..
        } = &mut self.accepting;
        if self.keys.is_some() || self.partitioner.is_some() || sender.outcomes.keeps() {
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
        let value = self.values.next(py)?;
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

    fn given(&self, next: &Next<'_>) -> Given {
        let null = std::ptr::null_mut();
        Given {
            topic: self.topic.as_ptr(),
            value: next.value.as_ptr(),
            key: next.key.as_ref().map_or(null, Bound::as_ptr),
            headers: null,
            partition: null,
            timestamp_ms: null,
            metadata: null,
        }
    }

    fn prepare(&self, py: Python<'_>, given: &Given) -> PyResult<Prepared> {
        // SAFETY: the objects of `given` outlive the result: each caller holds them.
        unsafe { self.accepting.sender.prepare(py, given) }
    }

    fn send_one(&mut self, py: Python<'_>, next: &Next<'_>) -> PyResult<()> {
        let given = self.given(next);
        let mut prepared = self.prepare(py, &given)?;
        // SAFETY: the objects outlive the call.
        unsafe {
            if let Some(function) = &self.partitioner {
                let sender = &self.accepting.sender;
                user::choose_waiting(py, sender, function, &given, &mut prepared)?;
            }
            self.accepting.append_waiting(py, &given, &prepared, None)
        }
    }

    /// Sends until one has to wait; true where all are accepted.
    fn advance(&mut self, py: Python<'_>) -> PyResult<bool> {
        loop {
            if self.accepting.has_to_wait(py)? {
                return Ok(false);
            }
            self.send_usual(py)?;
            if self.waits_for_topic(py)? {
                continue;
            }
            let Some(next) = self.next(py)? else {
                return Ok(true);
            };
            self.offer(py, &next)?;
        }
    }

    /// Whether the user's function has to be asked, and the topic's partitions are not known yet.
    fn waits_for_topic(&mut self, py: Python<'_>) -> PyResult<bool> {
        if self.partitioner.is_none() {
            return Ok(false);
        }
        let topic = self.accepting.sender.topic(py, self.topic.as_ptr())?;
        Ok(self.accepting.waits_for_topic(topic, true))
    }

    /// Appends, or puts the message in line.
    fn offer(&mut self, py: Python<'_>, next: &Next<'_>) -> PyResult<()> {
        let given = self.given(next);
        let mut prepared = self.prepare(py, &given)?;
        // SAFETY: the objects outlive the call; the topic is there.
        unsafe {
            if let Some(function) = &self.partitioner {
                let sender = &self.accepting.sender;
                user::choose_known(py, sender, function, &given, &mut prepared)?;
            }
            self.accepting.append(py, &given, &prepared, None)
        }
    }
}

impl Awaited for Many {
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
