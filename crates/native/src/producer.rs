//! `ProducerBase` and `AsyncProducerBase`: the hot methods that the public producers inherit.
//!
//! `send` and `send_nowait` are hand-made, so that no Python frame and no argument machinery stands in front of an append.
//! Threads: any; each method holds the GIL except while it waits.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ottla_core::accumulator::Refused;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::{PyClass, PyTraverseError, PyVisit};

use crate::deliveries::Deliveries;
use crate::delivery::{self, AwaitedDelivery, DeliveryObject};
use crate::docs;
use crate::flush::{AwaitedPending, Pending};
use crate::intercept::{self, Call};
use crate::outcome_take::{AwaitedOutcomes, take_waiting};
use crate::produce_flow::ProduceFlow;
use crate::raw::{add_method, fast_method, guard};
use crate::ready::ready;
use crate::send_and_wait::SentAndAwaited;
use crate::send_many::Many;
use crate::send_messages::{Form, Messages};
use crate::send_wait::{AwaitedSend, Kept, Waiter, owned};
use crate::sender::{Given, Prepared, Sender, given};
use crate::user_partitioner as user;
use crate::wait::duration;
use crate::waiting::{Awaited, Waiting};

/// Where a producer keeps its sender: empty until its `__init__` has bound it.
type Slot = OnceLock<Arc<Sender>>;

/// The user's own partitioner, if there is one. It is kept here, where the collector sees it, and not in the sender.
type Function = OnceLock<Py<PyAny>>;

/// The interceptors, if there are any, kept here for the same reason.
type Chain = OnceLock<Py<PyAny>>;

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
trait Base: PyClass<Frozen = True> + Sync {
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

// ---- the hot methods --------------------------------------------------------------------------------------------------

/// What every send begins with.
enum Begun<'a> {
    /// It was a usual message, and is accepted.
    Sent(*mut DeliveryObject),
    General(General<'a>),
}

/// The arguments read, and a delivery without a place.
struct General<'a> {
    sender: &'a Arc<Sender>,
    given: Given,
    prepared: Prepared,
    delivery: *mut DeliveryObject,
    /// To be asked for the partition.
    partitioner: Option<&'a Py<PyAny>>,
}

/// # Safety
/// As Python calls; `slf` is an instance of T.
#[inline(always)]
unsafe fn begin<'a, T: Base>(
    py: Python<'a>,
    function: &str,
    slf: *mut ffi::PyObject,
    (args, count, keywords): Call,
) -> PyResult<Begun<'a>> {
    // SAFETY: by contract; the object and the arguments outlive the call.
    unsafe {
        let base: &'a T = Borrowed::from_ptr(py, slf).cast_unchecked::<T>().get();
        let sender = base.sender()?;
        sender.check(py)?;
        let given = given(py, function, args, count, keywords)?;
        let partitioner = base.partitioner().get();
        if partitioner.is_none()
            && let Some(delivery) = sender.send_plain(py, &given)?
        {
            return Ok(Begun::Sent(delivery));
        }
        general(py, sender, given, partitioner).map(Begun::General)
    }
}

/// # Safety
/// As `begin`.
#[inline(never)]
unsafe fn general<'a>(
    py: Python<'a>,
    sender: &'a Arc<Sender>,
    given: Given,
    partitioner: Option<&'a Py<PyAny>>,
) -> PyResult<General<'a>> {
    // SAFETY: by contract.
    unsafe {
        let prepared = sender.prepare(py, &given)?;
        let delivery = sender.delivery(py, &given, &prepared)?;
        Ok(General {
            sender,
            given,
            prepared,
            delivery,
            partitioner,
        })
    }
}

impl General<'_> {
    /// Appends if there is room; the delivery has its place then.
    #[inline(always)]
    fn append(&self) -> Result<(), Refused> {
        let (completion, index) = self
            .sender
            .append(&self.prepared, None, Some(self.delivery))?;
        // SAFETY: made by `new_delivery`, and it has no place yet.
        unsafe { delivery::place(self.delivery, completion, index) };
        Ok(())
    }

    /// Asks the user's partitioner, where there is one and the call names no partition. `choose` may wait for the topic.
    #[inline(always)]
    fn ask(&mut self, py: Python<'_>, choose: user::Choose) -> PyResult<()> {
        match self.partitioner {
            None => Ok(()),
            Some(function) => self.ask_user(py, function, choose),
        }
    }

    #[cold]
    fn ask_user(
        &mut self,
        py: Python<'_>,
        function: &Py<PyAny>,
        choose: user::Choose,
    ) -> PyResult<()> {
        // SAFETY: the objects of the call.
        let chosen = unsafe { choose(py, self.sender, function, &self.given, &mut self.prepared) };
        chosen.inspect_err(|_| drop(owned(py, self.delivery)))
    }

    /// Nothing was accepted: the delivery goes.
    #[cold]
    fn refuse(&self, py: Python<'_>, refused: &Refused) -> PyErr {
        drop(owned(py, self.delivery));
        self.sender.refusal(py, refused)
    }
}

/// One way to send a message: what its method does, and the method of the same that passes the interceptors by.
trait Sends {
    type Base: Base;
    const INNER: &'static str;
    /// The interceptors' own method for it.
    const THROUGH: &'static str = "send";

    /// # Safety
    /// As Python calls a method of `Base`.
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject>;
}

/// What the user calls.
unsafe extern "C" fn method<S: Sends>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        let call = (args, count, keywords);
        // SAFETY: as Python calls a method of the class, whose instances outlive their calls.
        unsafe {
            let base = Borrowed::from_ptr(py, slf).cast_unchecked::<S::Base>();
            match base.get().interceptors().get() {
                None => S::send(py, slf, call),
                Some(chain) => intercept::send(py, (chain, S::THROUGH), S::INNER, slf, call),
            }
        }
    })
}

/// What the interceptors call.
unsafe extern "C" fn inner<S: Sends>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as Python calls a method of the class.
    guard(|py| unsafe { S::send(py, slf, (args, count, keywords)) })
}

struct Nowait<T>(PhantomData<T>);

impl<T: Base> Sends for Nowait<T> {
    type Base = T;
    const INNER: &'static str = "_send_nowait";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        let begun = unsafe { begin::<T>(py, "send_nowait", slf, call)? };
        let mut begun = match begun {
            Begun::Sent(delivery) => return Ok(delivery.cast()),
            Begun::General(begun) => begun,
        };
        begun.ask(py, user::choose_nowait)?;
        match begun.append() {
            Ok(()) => Ok(begun.delivery.cast()),
            Err(refused) => Err(begun.refuse(py, &refused)),
        }
    }
}

struct InThread;

impl Sends for InThread {
    type Base = ProducerBase;
    const INNER: &'static str = "_send";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        match unsafe { begin::<ProducerBase>(py, "send", slf, call)? } {
            Begun::Sent(delivery) => Ok(delivery.cast()),
            Begun::General(mut begun) => send_general(py, &mut begun),
        }
    }
}

#[inline(never)]
fn send_general(py: Python<'_>, begun: &mut General<'_>) -> PyResult<*mut ffi::PyObject> {
    begun.ask(py, user::choose_waiting)?;
    match begun.append() {
        Ok(()) => Ok(begun.delivery.cast()),
        Err(Refused::Full) => send_in_line(py, begun),
        Err(refused) => Err(begun.refuse(py, &refused)),
    }
}

#[cold]
fn send_in_line(py: Python<'_>, begun: &General<'_>) -> PyResult<*mut ffi::PyObject> {
    let accepted = begun
        .sender
        .append_waiting(py, &begun.prepared, Some(begun.delivery));
    match accepted {
        Ok((completion, index)) => {
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { delivery::place(begun.delivery, completion, index) };
            Ok(begun.delivery.cast())
        }
        Err(error) => {
            drop(owned(py, begun.delivery));
            Err(error)
        }
    }
}

struct InThreadAndWait;

impl Sends for InThreadAndWait {
    type Base = ProducerBase;
    const INNER: &'static str = "_send";
    const THROUGH: &'static str = "send_and_wait";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract; then an owned reference.
        let delivery = unsafe {
            let begun = begin::<ProducerBase>(py, "send_and_wait", slf, call)?;
            let delivery = match begun {
                Begun::Sent(delivery) => delivery.cast(),
                Begun::General(mut begun) => send_general(py, &mut begun)?,
            };
            Bound::from_owned_ptr(py, delivery)
        };
        delivery::wait_result(py, delivery.as_ptr(), None).map(Py::into_ptr)
    }
}

/// An asynchronous send that was begun.
enum Sending {
    Accepted(Py<PyAny>),
    /// Whatever it waits for, it is accepted or refused within `max_block`.
    Waits(Box<dyn Awaited>, Duration),
}

/// # Safety
/// As Python calls; `slf` is an AsyncProducerBase.
#[inline(always)]
unsafe fn begin_async(
    py: Python<'_>,
    function: &str,
    slf: *mut ffi::PyObject,
    call: Call,
) -> PyResult<Sending> {
    // SAFETY: by contract.
    match unsafe { begin::<AsyncProducerBase>(py, function, slf, call)? } {
        Begun::Sent(delivery) => Ok(Sending::Accepted(owned(py, delivery))),
        Begun::General(begun) => begin_general_async(py, begun),
    }
}

#[inline(never)]
fn begin_general_async(py: Python<'_>, mut begun: General<'_>) -> PyResult<Sending> {
    let max_block = begun.sender.max_block;
    if let Some(function) = begun.partitioner
        && user::has_to_wait(begun.sender, &begun.prepared)
    {
        let awaited = send_when_known(py, &begun, function);
        return Ok(Sending::Waits(Box::new(awaited), max_block));
    }
    begun.ask(py, user::choose_nowait)?;
    match begun.append() {
        Ok(()) => Ok(Sending::Accepted(owned(py, begun.delivery))),
        Err(Refused::Full) => {
            // SAFETY: the objects of the call; a message was prepared, so there is a topic.
            let kept = unsafe { Kept::new(py, &begun.given, &begun.prepared) };
            let waiter = Waiter::join(begun.sender, kept, begun.prepared.size());
            let delivery = owned(py, begun.delivery);
            let awaited = AwaitedSend::new(begun.sender.clone(), waiter, delivery);
            Ok(Sending::Waits(Box::new(awaited), max_block))
        }
        Err(refused) => Err(begun.refuse(py, &refused)),
    }
}

struct InLoop;

impl Sends for InLoop {
    type Base = AsyncProducerBase;
    const INNER: &'static str = "_send";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        match unsafe { begin_async(py, "send", slf, call)? } {
            // SAFETY: an owned reference that is given away.
            Sending::Accepted(delivery) => unsafe { ready(py, delivery.into_ptr()) },
            Sending::Waits(awaited, max_block) => {
                let waiting = Waiting::new(awaited, Some(max_block));
                Ok(Py::new(py, waiting)?.into_ptr())
            }
        }
    }
}

struct InLoopAndWait;

impl Sends for InLoopAndWait {
    type Base = AsyncProducerBase;
    const INNER: &'static str = "_send";
    const THROUGH: &'static str = "send_and_wait_async";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        let awaited: Box<dyn Awaited> =
            match unsafe { begin_async(py, "send_and_wait", slf, call)? } {
                Sending::Accepted(delivery) => Box::new(AwaitedDelivery::new(delivery)),
                Sending::Waits(sending, max_block) => {
                    let until = Instant::now().checked_add(max_block);
                    Box::new(SentAndAwaited::new(sending, until))
                }
            };
        Ok(Py::new(py, Waiting::new(awaited, None))?.into_ptr())
    }
}

/// The user's partitioner is asked once the topic is known.
#[cold]
fn send_when_known(
    py: Python<'_>,
    begun: &General<'_>,
    function: &Py<PyAny>,
) -> user::AwaitedTopic {
    // SAFETY: the objects of the call; a message was prepared, so there is a topic.
    let kept = unsafe { Kept::new(py, &begun.given, &begun.prepared) };
    let delivery = owned(py, begun.delivery);
    user::AwaitedTopic::new(
        begun.sender.clone(),
        function.clone_ref(py),
        begun.prepared.topic,
        kept,
        delivery,
    )
}

// ---- the others -------------------------------------------------------------------------------------------------------

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
        let sender = base.own_sender(py)?;
        let form = Form::of(topic, values, keys)?;
        if let Some(chain) = base.interceptors.get() {
            return intercept::send_many(slf.as_any(), chain, form);
        }
        let (sender, function) = (sender.clone(), base.function(py));
        let deliveries = match form {
            Form::Messages(messages) => Messages::new(sender, messages, function)?.send_all(py)?,
            Form::Values {
                topic,
                values,
                keys,
            } => Many::new(sender, topic.clone(), values, keys, function)?.send_all(py)?,
        };
        Ok(Py::new(py, deliveries)?.into_any())
    }

    fn _send_messages(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<Deliveries> {
        let sender = self.own_sender(py)?.clone();
        Messages::new(sender, messages, self.function(py))?.send_all(py)
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
        let sender = base.own_sender(py)?;
        let form = Form::of(topic, values, keys)?;
        if let Some(chain) = base.interceptors.get() {
            return intercept::send_many(slf.as_any(), chain, form);
        }
        let (sender, function) = (sender.clone(), base.function(py));
        let awaited: Box<dyn Awaited> = match form {
            Form::Messages(messages) => Box::new(Messages::new(sender, messages, function)?),
            Form::Values {
                topic,
                values,
                keys,
            } => Box::new(Many::new(sender, topic.clone(), values, keys, function)?),
        };
        Ok(Py::new(py, Waiting::new(awaited, None))?.into_any())
    }

    fn _send_messages(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<Waiting> {
        let sender = self.own_sender(py)?.clone();
        let many = Messages::new(sender, messages, self.function(py))?;
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
