//! The messages of one `send_many`, one after the other: values of one topic, with or without keys, or messages that each have
//! their own topic.
//!
//! Station: message. Threads: the caller's.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyIterator, PyList, PyMemoryView, PyString, PyTuple};

use crate::send::intercept::{Passed, fields_of, message_class, message_of};
use crate::send::message::Fields;

pub enum Source {
    Values {
        topic: Py<PyAny>,
        items: Items,
        keys: Option<Py<PyIterator>>,
    },
    Messages(Py<PyIterator>),
}

/// The source of the values.
pub enum Items {
    /// A list or a tuple, and how many were read. A list may change while the GIL is released.
    Sequence(Py<PyAny>, usize),
    Iterator(Py<PyIterator>),
}

/// The next message, held while it is sent.
pub struct Next<'py> {
    pub fields: Fields<'py>,
    /// Set if it passed through interceptors.
    pub passed: Option<Passed<'py>>,
}

impl Source {
    /// The arguments of the call: a topic, values and maybe keys, or messages alone.
    pub fn of(
        first: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        if let Some(values) = values {
            several("values", values)?;
            keys.map_or(Ok(()), |keys| several("keys", keys))?;
            return Ok(Self::Values {
                topic: first.clone().unbind(),
                items: Items::of(values)?,
                keys: keys
                    .map(|keys| Ok::<_, PyErr>(keys.try_iter()?.unbind()))
                    .transpose()?,
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
        Ok(Self::Messages(first.try_iter()?.unbind()))
    }

    /// The topic of all of them; None where each has its own.
    pub fn topic(&self, py: Python<'_>) -> Option<String> {
        match self {
            Self::Values { topic, .. } => topic.extract(py).ok(),
            Self::Messages(_) => None,
        }
    }

    /// The next message; through the interceptors where there are any.
    pub fn next<'py>(
        &mut self,
        py: Python<'py>,
        chain: Option<&Py<PyAny>>,
        on_delivery: Option<&Py<PyAny>>,
    ) -> PyResult<Option<Next<'py>>> {
        let on_delivery = on_delivery.map(|callback| callback.bind(py).clone());
        let plain = |fields| Next {
            fields,
            passed: None,
        };
        match self {
            Self::Values { topic, items, keys } => {
                let Some((value, key)) = next_value(py, items, keys)? else {
                    return Ok(None);
                };
                let topic = topic.bind(py).clone();
                let fields = |on_delivery| {
                    let (topic, value) = (topic.clone(), value.clone());
                    Fields([
                        Some(topic),
                        Some(value),
                        key.clone(),
                        None,
                        None,
                        None,
                        None,
                        on_delivery,
                    ])
                };
                match chain {
                    None => Ok(Some(plain(fields(on_delivery)))),
                    Some(chain) => {
                        // SAFETY: the fields outlive the call.
                        let message = unsafe { message_of(py, &fields(None).given())? };
                        passed(chain, message, on_delivery).map(Some)
                    }
                }
            }
            Self::Messages(messages) => {
                let Some(message) = messages.bind(py).clone().next().transpose()? else {
                    return Ok(None);
                };
                if !message.is_instance(message_class(py)?)? {
                    let kind = message.get_type().name()?;
                    return Err(PyTypeError::new_err(format!(
                        "send_many() without values takes ottla.Message, not {kind}"
                    )));
                }
                match chain {
                    None => Ok(Some(plain(fields_of(&message, on_delivery)?))),
                    Some(chain) => passed(chain, message, on_delivery).map(Some),
                }
            }
        }
    }
}

fn passed<'py>(
    chain: &Py<PyAny>,
    message: Bound<'py, PyAny>,
    on_delivery: Option<Bound<'py, PyAny>>,
) -> PyResult<Next<'py>> {
    let passed = Passed::through(chain, message)?;
    let fields = passed.fields(on_delivery)?;
    Ok(Next {
        fields,
        passed: Some(passed),
    })
}

type Pair<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// A value and its key.
fn next_value<'py>(
    py: Python<'py>,
    items: &mut Items,
    keys: &Option<Py<PyIterator>>,
) -> PyResult<Option<Pair<'py>>> {
    let value = items.next(py)?;
    let key = match keys {
        Some(keys) => keys.bind(py).clone().next().transpose()?,
        None => None,
    };
    match (value, key) {
        (None, Some(_)) => Err(PyValueError::new_err("there are more keys than values")),
        (Some(_), None) if keys.is_some() => {
            Err(PyValueError::new_err("there are more values than keys"))
        }
        (None, None) => Ok(None),
        (Some(value), key) => Ok(Some((value, key))),
    }
}

impl Items {
    fn of(values: &Bound<'_, PyAny>) -> PyResult<Self> {
        if is_sequence(values) {
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

fn is_sequence(given: &Bound<'_, PyAny>) -> bool {
    given.is_exact_instance_of::<PyList>() || given.is_exact_instance_of::<PyTuple>()
}

fn is_one_value(given: &Bound<'_, PyAny>) -> bool {
    given.is_instance_of::<PyString>()
        || given.is_instance_of::<PyBytes>()
        || given.is_instance_of::<PyByteArray>()
        || given.is_instance_of::<PyMemoryView>()
}

/// Refuses a single value: it is iterable too, letter by letter, which nobody means. A list or tuple is the usual argument.
fn several(name: &str, given: &Bound<'_, PyAny>) -> PyResult<()> {
    if is_sequence(given) {
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
