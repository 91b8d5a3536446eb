//! `send_many`: every value of an iterable is a message of one topic, or every message has its own; one object has all outcomes.
//!
//! Where it ends early (a wrong type, no room, a raising iterable) the exception's `accepted` has the outcomes of what was
//! accepted before. Stations: message → partition → accumulator. Threads: the caller's.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::seam::Wake;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyString, PyTuple};

use crate::accepting::Accepting;
use crate::callback::check_on_delivery;
use crate::deliveries::Deliveries;
use crate::send_messages::Messages;
use crate::send_source::Source;
use crate::send_values::Values;
use crate::unawaited::Lost;
use crate::wait::waiting::Awaited;

/// What `send_many` was given: values of one topic, or messages.
pub enum Form<'a, 'py> {
    Values {
        topic: &'a Bound<'py, PyAny>,
        values: &'a Bound<'py, PyAny>,
        keys: Option<&'a Bound<'py, PyAny>>,
    },
    Messages(&'a Bound<'py, PyAny>),
}

/// Checks `on_delivery` of a call.
pub fn callback_of(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
    given
        .map(|callback| check_on_delivery(callback).map(|()| callback.clone().unbind()))
        .transpose()
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
        several("messages", first)?;
        Ok(Self::Messages(first))
    }
}

fn is_one_value(given: &Bound<'_, PyAny>) -> bool {
    given.is_instance_of::<PyString>()
        || given.is_instance_of::<PyBytes>()
        || given.is_instance_of::<PyByteArray>()
        || given.is_instance_of::<PyMemoryView>()
}

/// One value is iterable too, letter by letter, which nobody ever means. A list or tuple is what is usual.
fn several(name: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
    if given.is_exact_instance_of::<PyList>() || given.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    let many_error = given
        .py()
        .import("ottla.arguments")?
        .getattr("many_error")?;
    let error = many_error.call1((name, given))?;
    if error.is_none() {
        Ok(())
    } else {
        Err(PyErr::from_value(error))
    }
}

/// One call.
pub struct SendMany {
    source: Box<dyn Source>,
    accepting: Accepting,
}

impl SendMany {
    pub fn new(form: Form<'_, '_>, accepting: Accepting) -> PyResult<Self> {
        let source: Box<dyn Source> = match form {
            Form::Messages(messages) => Box::new(Messages::of(messages)?),
            Form::Values {
                topic,
                values,
                keys,
            } => Box::new(Values::of(topic, values, keys)?),
        };
        Ok(Self { source, accepting })
    }

    /// All of them, in a thread: nothing is left that has to wait.
    pub fn send_all(mut self, py: Python<'_>) -> PyResult<Deliveries> {
        match self.source.advance(py, &mut self.accepting) {
            Ok(_) => Ok(self.accepting.finish()),
            Err(error) => Err(self.accepting.ended_early(py, error)),
        }
    }
}

impl Awaited for SendMany {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.source.advance(py, &mut self.accepting) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(Py::new(py, self.accepting.finish())?.into_any())),
            Err(error) => Err(self.accepting.ended_early(py, error)),
        }
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

    fn describe(&self, _py: Python<'_>) -> String {
        let accepted = self.accepting.collected.len();
        format!("a send_many that has accepted {accepted} messages")
    }

    fn lost(&self, py: Python<'_>) -> Option<Lost> {
        Some(Lost {
            outcomes: self.accepting.sender.outcomes.clone(),
            method: "send_many",
            topic: self.source.topic(py),
            made: None,
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.accepting.deadline()
    }
}
