//! `ProducerBase` and `AsyncProducerBase`: the hot methods that the public producers inherit, and what both have in common.
//!
//! Sends of one message are hand-made, in `ways.rs`; the methods that are called more rarely are here.
//! Threads: any; each method holds the GIL except while it waits.

use pyo3::prelude::*;
use pyo3::{PyClass, ffi};

use crate::deliveries::Deliveries;
use crate::docs;
use crate::flush::{AwaitedPending, Pending};
use crate::outcome_take::{Ask, AwaitedOutcomes, take_waiting};
use crate::own_thread;
use crate::raw::{add_method, fast_method};
use crate::send::base::SendingBase;
use crate::send::many::{World, callback_of};
use crate::send::source::Source;
use crate::send::ways::{InLoop, InLoopAndWait, InThread, InThreadAndWait, Nowait, method};
use crate::wait::time::duration;
use crate::wait::waiting::Waiting;

/// The hot methods of `ottla.Producer`: hand-made, no Python frame in front.
#[pyclass(subclass, frozen, extends = SendingBase, module = "ottla._native")]
pub struct ProducerBase;

/// The hot methods of `ottla.AsyncProducer`: a method that can wait returns an awaitable.
#[pyclass(subclass, frozen, extends = SendingBase, module = "ottla._native")]
pub struct AsyncProducerBase;

#[pymethods]
impl ProducerBase {
    #[new]
    #[pyo3(signature = (*_args, **_config))]
    fn new(
        _args: &Bound<'_, PyAny>,
        _config: Option<&Bound<'_, PyAny>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(SendingBase::default()).add_subclass(Self)
    }

    #[doc = help!(ProducerBase.send_many)]
    #[pyo3(signature = (topic, values=None, keys=None, on_delivery=None))]
    fn send_many(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        keys: Option<&Bound<'_, PyAny>>,
        on_delivery: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Deliveries> {
        let (py, base) = (slf.py(), slf.as_super().get());
        base.own_sender(py)?;
        let source = Source::of(topic, values, keys)?;
        let on_delivery = callback_of(on_delivery)?;
        base.many(py, source, on_delivery, World::Thread)?
            .send_all(py)
    }

    /// Flushing and closing wait for more than the outcomes, so also where all are there the engine thread cannot.
    #[pyo3(signature = (timeout))]
    fn _flush(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<bool> {
        own_thread::check_may_wait()?;
        let sender = slf.as_super().get().own_sender(slf.py())?;
        Pending::flush(&sender.shared).wait(slf.py(), duration(timeout)?)
    }

    #[pyo3(signature = (failed, limit, timeout, into=None))]
    fn _take_outcomes(
        slf: &Bound<'_, Self>,
        failed: Option<bool>,
        limit: usize,
        timeout: Option<f64>,
        into: Option<Py<PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let sender = slf.as_super().get().own_sender(slf.py())?;
        let ask = Ask {
            failed,
            limit,
            into,
        };
        take_waiting(slf.py(), sender, &ask, duration(timeout)?)
    }
}

#[pymethods]
impl AsyncProducerBase {
    #[new]
    #[pyo3(signature = (*_args, **_config))]
    fn new(
        _args: &Bound<'_, PyAny>,
        _config: Option<&Bound<'_, PyAny>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(SendingBase::default()).add_subclass(Self)
    }

    #[doc = help!(AsyncProducerBase.send_many)]
    #[pyo3(signature = (topic, values=None, keys=None, on_delivery=None))]
    fn send_many(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        keys: Option<&Bound<'_, PyAny>>,
        on_delivery: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Waiting> {
        let (py, base) = (slf.py(), slf.as_super().get());
        base.own_sender(py)?;
        let source = Source::of(topic, values, keys)?;
        let on_delivery = callback_of(on_delivery)?;
        let many = base.many(py, source, on_delivery, World::Loop)?;
        Ok(Waiting::new(Box::new(many), None))
    }

    #[pyo3(signature = (timeout))]
    fn _flush(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Waiting> {
        let sender = slf.as_super().get().own_sender(slf.py())?;
        let awaited = AwaitedPending::new(
            Pending::flush(&sender.shared),
            Box::new(|py| to_object(py, true)),
            Box::new(|py| to_object(py, false)),
        );
        Ok(Waiting::new(Box::new(awaited), duration(timeout)?))
    }

    #[pyo3(signature = (failed, limit, timeout, into=None))]
    fn _take_outcomes(
        slf: &Bound<'_, Self>,
        failed: Option<bool>,
        limit: usize,
        timeout: Option<f64>,
        into: Option<Py<PyAny>>,
    ) -> PyResult<Waiting> {
        let sender = slf.as_super().get().own_sender(slf.py())?;
        let ask = Ask {
            failed,
            limit,
            into,
        };
        let awaited = AwaitedOutcomes {
            sender: sender.new_use(),
            ask,
        };
        Ok(Waiting::new(Box::new(awaited), duration(timeout)?))
    }
}

fn to_object(py: Python<'_>, value: bool) -> PyResult<Py<PyAny>> {
    Ok(value.into_pyobject(py)?.to_owned().into_any().unbind())
}

static mut METHODS: [ffi::PyMethodDef; 1] = [fast_method(
    c"send_nowait",
    docs::SENDING_BASE_SEND_NOWAIT,
    method::<Nowait>,
)];

static mut SYNC_METHODS: [ffi::PyMethodDef; 2] = [
    fast_method(c"send", docs::PRODUCER_BASE_SEND, method::<InThread>),
    fast_method(
        c"send_and_wait",
        docs::PRODUCER_BASE_SEND_AND_WAIT,
        method::<InThreadAndWait>,
    ),
];

static mut ASYNC_METHODS: [ffi::PyMethodDef; 2] = [
    fast_method(c"send", docs::ASYNC_PRODUCER_BASE_SEND, method::<InLoop>),
    fast_method(
        c"send_and_wait",
        docs::ASYNC_PRODUCER_BASE_SEND_AND_WAIT,
        method::<InLoopAndWait>,
    ),
];

/// Adds the class, with hand-made methods in addition to those that PyO3 knows.
///
/// # Safety
/// The methods are static, and their functions take instances of the class.
unsafe fn add<T: PyClass>(
    module: &Bound<'_, PyModule>,
    methods: *mut [ffi::PyMethodDef],
) -> PyResult<()> {
    module.add_class::<T>()?;
    let class = module.py().get_type::<T>();
    for index in 0..methods.len() {
        // SAFETY: by contract; there are so many.
        unsafe { add_method(&class, methods.cast::<ffi::PyMethodDef>().add(index))? };
    }
    Ok(())
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // SAFETY: the functions of a table take instances of its class.
    unsafe {
        add::<SendingBase>(module, &raw mut METHODS)?;
        add::<ProducerBase>(module, &raw mut SYNC_METHODS)?;
        add::<AsyncProducerBase>(module, &raw mut ASYNC_METHODS)
    }
}
