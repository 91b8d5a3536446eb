//! `ProducerBase` and `AsyncProducerBase`: the hot methods that the public producers inherit.
//!
//! Sends of one message are hand-made, in `sends.rs`; what is called more rarely is here.
//! Threads: any; each method holds the GIL except while it waits.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::{PyClass, PyTraverseError, PyVisit};

use crate::accepting::{Accepting, World};
use crate::deliveries::Deliveries;
use crate::docs;
use crate::flush::{AwaitedPending, Pending};
use crate::intercept;
use crate::outcome_take::{AwaitedOutcomes, take_waiting};
use crate::produce_flow::ProduceFlow;
use crate::raw::{add_method, fast_method};
use crate::send_many::{Form, SendMany};
use crate::sender::Sender;
use crate::sends::{InLoop, InLoopAndWait, InThread, InThreadAndWait, Nowait, inner, method};
use crate::wait::duration;
use crate::waiting::Waiting;

/// Where a producer keeps its sender: empty until its `__init__` has bound it.
pub type Slot = OnceLock<Arc<Sender>>;

/// The user's own partitioner, if there is one. It is kept here, where the collector sees it, and not in the sender.
pub type Function = OnceLock<Py<PyAny>>;

/// The interceptors, if there are any, kept here for the same reason.
pub type Chain = OnceLock<Py<PyAny>>;

/// The hot methods of `ottla.Producer`: hand-made, no Python frame in front.
#[pyclass(subclass, frozen, module = "ottla._native")]
pub struct ProducerBase {
    sender: Slot,
    partitioner: Function,
    interceptors: Chain,
}

/// The hot methods of `ottla.AsyncProducer`: what can wait returns an awaitable.
#[pyclass(subclass, frozen, module = "ottla._native")]
pub struct AsyncProducerBase {
    sender: Slot,
    partitioner: Function,
    interceptors: Chain,
}

/// A class whose instances send.
pub trait Base: PyClass<Frozen = True> + Sync {
    fn slot(&self) -> &Slot;
    fn partitioner(&self) -> &Function;
    fn interceptors(&self) -> &Chain;

    fn sender(&self) -> PyResult<&Arc<Sender>> {
        self.slot().get().ok_or_else(|| {
            PyRuntimeError::new_err("the producer was not set up: its __init__ has not run")
        })
    }

    fn function(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let function = self.partitioner().get();
        function.map(|function| function.clone_ref(py))
    }

    /// A call of `send_many` that has not sent anything yet.
    fn many(&self, py: Python<'_>, form: Form<'_, '_>, world: World) -> PyResult<SendMany> {
        let sender = self.own_sender(py)?.clone();
        SendMany::new(form, Accepting::new(sender, self.function(py), world))
    }

    /// As `sender`, in this process.
    fn own_sender(&self, py: Python<'_>) -> PyResult<&Arc<Sender>> {
        let sender = self.sender()?;
        sender.check(py)?;
        Ok(sender)
    }

    fn bind(
        &self,
        flow: &ProduceFlow,
        partitioner: Option<Py<PyAny>>,
        interceptors: Option<Py<PyAny>>,
    ) {
        if let Some(function) = partitioner {
            self.partitioner().get_or_init(|| function);
        }
        if let Some(chain) = interceptors {
            self.interceptors().get_or_init(|| chain);
        }
        self.slot().get_or_init(|| Arc::new(Sender::new(flow)));
    }
}

impl Base for ProducerBase {
    fn slot(&self) -> &Slot {
        &self.sender
    }

    fn partitioner(&self) -> &Function {
        &self.partitioner
    }

    fn interceptors(&self) -> &Chain {
        &self.interceptors
    }
}

impl Base for AsyncProducerBase {
    fn slot(&self) -> &Slot {
        &self.sender
    }

    fn partitioner(&self) -> &Function {
        &self.partitioner
    }

    fn interceptors(&self) -> &Chain {
        &self.interceptors
    }
}

#[pymethods]
impl ProducerBase {
    #[new]
    #[pyo3(signature = (*_args, **_config))]
    fn new(_args: &Bound<'_, PyAny>, _config: Option<&Bound<'_, PyAny>>) -> Self {
        Self {
            sender: OnceLock::new(),
            partitioner: OnceLock::new(),
            interceptors: OnceLock::new(),
        }
    }

    #[pyo3(signature = (flow, partitioner=None, interceptors=None))]
    fn _bind(
        &self,
        flow: &ProduceFlow,
        partitioner: Option<Py<PyAny>>,
        interceptors: Option<Py<PyAny>>,
    ) {
        self.bind(flow, partitioner, interceptors);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.partitioner.get())?;
        visit.call(self.interceptors.get())
    }

    /// Send every value of an iterable as a message of one topic, or every message of one; one object has all outcomes.
    ///
    /// Waits while `buffer_memory` is full, for each message at most `max_block_ms`. Otherwise as `send`.
    ///
    /// Args:
    ///     topic: Name of the topic; or, alone, any iterable of `ottla.Message`, each with a topic of its own.
    ///     values: Any iterable of bytes-like, str or None; each is copied when it is accepted.
    ///     keys: As many keys, or None: no keys.
    ///
    /// Returns:
    ///     Deliveries: len, `.result(timeout)`, `.offsets`, `.failed`, and a `Delivery` by index.
    ///
    /// Raises:
    ///     BufferFull: One message found no room within `max_block_ms`.
    ///     MessageTooLarge, Closed, ForkedClient, TypeError: As for `send`. TypeError too for one str or bytes as `values`,
    ///     whose letters nobody means to send.
    ///     ValueError: There are more keys than values, or the other way round.
    ///     Exception: What the iterable itself raised.
    ///     In each case `.accepted` of the exception has the Deliveries of the messages before that one, which were
    ///     accepted and are sent; that one and those behind it were not.
    ///
    /// Cancellation: Ctrl-C ends a wait for room; `.accepted` as above.
    /// Threads: Any.
    #[pyo3(signature = (topic, values=None, keys=None))]
    fn send_many(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (py, base) = (slf.py(), slf.get());
        base.own_sender(py)?;
        let form = Form::of(topic, values, keys)?;
        if let Some(chain) = base.interceptors.get() {
            return intercept::send_many(slf.as_any(), chain, form);
        }
        let deliveries = base.many(py, form, World::Thread)?.send_all(py)?;
        Ok(Py::new(py, deliveries)?.into_any())
    }

    fn _send_messages(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<Deliveries> {
        self.many(py, Form::Messages(messages), World::Thread)?
            .send_all(py)
    }

    #[pyo3(signature = (timeout))]
    fn _flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let sender = self.own_sender(py)?;
        Pending::flush(&sender.shared).wait(py, duration(timeout)?)
    }

    fn _stop_accepting(&self, py: Python<'_>) -> PyResult<()> {
        self.own_sender(py)?
            .shared
            .with(|flow| flow.acc.stop_accepting());
        Ok(())
    }

    fn _end_outcomes(&self, py: Python<'_>) -> PyResult<()> {
        self.own_sender(py)?.outcomes.end();
        Ok(())
    }

    #[pyo3(signature = (failed, limit, timeout))]
    fn _take_outcomes(
        &self,
        py: Python<'_>,
        failed: Option<bool>,
        limit: usize,
        timeout: Option<f64>,
    ) -> PyResult<Option<Vec<Py<PyAny>>>> {
        let sender = self.own_sender(py)?;
        take_waiting(py, sender, failed, limit, duration(timeout)?)
    }

    fn _counts(&self, py: Python<'_>) -> PyResult<(u64, u64, u64)> {
        Ok(counts(self.own_sender(py)?))
    }
}

#[pymethods]
impl AsyncProducerBase {
    #[new]
    #[pyo3(signature = (*_args, **_config))]
    fn new(_args: &Bound<'_, PyAny>, _config: Option<&Bound<'_, PyAny>>) -> Self {
        Self {
            sender: OnceLock::new(),
            partitioner: OnceLock::new(),
            interceptors: OnceLock::new(),
        }
    }

    #[pyo3(signature = (flow, partitioner=None, interceptors=None))]
    fn _bind(
        &self,
        flow: &ProduceFlow,
        partitioner: Option<Py<PyAny>>,
        interceptors: Option<Py<PyAny>>,
    ) {
        self.bind(flow, partitioner, interceptors);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.partitioner.get())?;
        visit.call(self.interceptors.get())
    }

    /// Send every value of an iterable as a message of one topic, or every message of one; one object has all outcomes.
    ///
    /// Nothing is sent before the await, which waits while `buffer_memory` is full, for each message at most
    /// `max_block_ms`. It does not give way to other tasks while there is room. Otherwise as `send`.
    ///
    /// Args:
    ///     topic: Name of the topic; or, alone, any iterable of `ottla.Message`, each with a topic of its own.
    ///     values: Any iterable of bytes-like, str or None; each is copied when it is accepted.
    ///     keys: As many keys, or None: no keys.
    ///
    /// Returns:
    ///     Deliveries: len, `.result(timeout)`, `.offsets`, `.failed`, and a `Delivery` by index.
    ///
    /// Raises:
    ///     BufferFull: One message found no room within `max_block_ms`.
    ///     MessageTooLarge, Closed, ForkedClient, TypeError: As for `send`. TypeError too for one str or bytes as `values`,
    ///     whose letters nobody means to send.
    ///     ValueError: There are more keys than values, or the other way round.
    ///     Exception: What the iterable itself raised.
    ///     In each case `.accepted` of the exception has the Deliveries of the messages before that one, which were
    ///     accepted and are sent; that one and those behind it were not.
    ///
    /// Cancellation: What was accepted is sent; the rest is not.
    /// Threads: Any thread with a running event loop.
    #[pyo3(signature = (topic, values=None, keys=None))]
    fn send_many(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyAny>,
        values: Option<&Bound<'_, PyAny>>,
        keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (py, base) = (slf.py(), slf.get());
        base.own_sender(py)?;
        let form = Form::of(topic, values, keys)?;
        if let Some(chain) = base.interceptors.get() {
            return intercept::send_many(slf.as_any(), chain, form);
        }
        let many = base.many(py, form, World::Loop)?;
        Ok(Py::new(py, Waiting::new(Box::new(many), None))?.into_any())
    }

    fn _send_messages(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<Waiting> {
        let many = self.many(py, Form::Messages(messages), World::Loop)?;
        Ok(Waiting::new(Box::new(many), None))
    }

    #[pyo3(signature = (timeout))]
    fn _flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Waiting> {
        let sender = self.own_sender(py)?;
        let awaited = AwaitedPending::new(
            Pending::flush(&sender.shared),
            Box::new(|py| to_object(py, true)),
            Box::new(|py| to_object(py, false)),
        );
        Ok(Waiting::new(Box::new(awaited), duration(timeout)?))
    }

    fn _stop_accepting(&self, py: Python<'_>) -> PyResult<()> {
        self.own_sender(py)?
            .shared
            .with(|flow| flow.acc.stop_accepting());
        Ok(())
    }

    fn _end_outcomes(&self, py: Python<'_>) -> PyResult<()> {
        self.own_sender(py)?.outcomes.end();
        Ok(())
    }

    #[pyo3(signature = (failed, limit, timeout))]
    fn _take_outcomes(
        &self,
        py: Python<'_>,
        failed: Option<bool>,
        limit: usize,
        timeout: Option<f64>,
    ) -> PyResult<Waiting> {
        let sender = self.own_sender(py)?;
        let awaited = AwaitedOutcomes::new(sender.clone(), failed, limit);
        Ok(Waiting::new(Box::new(awaited), duration(timeout)?))
    }

    fn _counts(&self, py: Python<'_>) -> PyResult<(u64, u64, u64)> {
        Ok(counts(self.own_sender(py)?))
    }
}

fn counts(sender: &Sender) -> (u64, u64, u64) {
    let counts = sender.shared.with(|flow| flow.acc.counts);
    (counts.delivered, counts.failed, counts.unknown)
}

fn to_object(py: Python<'_>, value: bool) -> PyResult<Py<PyAny>> {
    Ok(value.into_pyobject(py)?.to_owned().into_any().unbind())
}

/// How many of each there are.
const METHODS: usize = 5;

static mut SYNC_METHODS: [ffi::PyMethodDef; METHODS] = [
    fast_method(c"send", docs::SEND, method::<InThread>),
    fast_method(c"_send", docs::INNER, inner::<InThread>),
    fast_method(
        c"send_and_wait",
        docs::SEND_AND_WAIT,
        method::<InThreadAndWait>,
    ),
    fast_method(
        c"send_nowait",
        docs::SEND_NOWAIT,
        method::<Nowait<ProducerBase>>,
    ),
    fast_method(c"_send_nowait", docs::INNER, inner::<Nowait<ProducerBase>>),
];

static mut ASYNC_METHODS: [ffi::PyMethodDef; METHODS] = [
    fast_method(c"send", docs::SEND_ASYNC, method::<InLoop>),
    fast_method(c"_send", docs::INNER, inner::<InLoop>),
    fast_method(
        c"send_and_wait",
        docs::SEND_AND_WAIT_ASYNC,
        method::<InLoopAndWait>,
    ),
    fast_method(
        c"send_nowait",
        docs::SEND_NOWAIT,
        method::<Nowait<AsyncProducerBase>>,
    ),
    fast_method(
        c"_send_nowait",
        docs::INNER,
        inner::<Nowait<AsyncProducerBase>>,
    ),
];

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ProducerBase>()?;
    module.add_class::<AsyncProducerBase>()?;
    let py = module.py();
    let pairs = [
        (
            py.get_type::<ProducerBase>(),
            (&raw mut SYNC_METHODS).cast(),
        ),
        (
            py.get_type::<AsyncProducerBase>(),
            (&raw mut ASYNC_METHODS).cast(),
        ),
    ];
    for (class, methods) in pairs {
        for index in 0..METHODS {
            let methods: *mut ffi::PyMethodDef = methods;
            // SAFETY: as many static definitions each, of functions that take instances of their class.
            unsafe { add_method(&class, methods.add(index))? };
        }
    }
    Ok(())
}
