//! The ways to send one message: in a thread or an event loop, with or without a wait for buffer space or for the outcome.
//!
//! Hand-made, so that no Python frame and no argument machinery stands in front of an append. Stations: message → partition →
//! accumulator. Threads: any; each holds the GIL except while it waits.

use std::time::{Duration, Instant};

use ottla_core::produce::message::Refused;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::blocked_loop::BlockingCall;
use crate::delivery::object::{self, DeliveryObject};
use crate::delivery::outcome::{AwaitedDelivery, wait_result};
use crate::own_thread;
use crate::raw::guard;
use crate::send::and_wait::SentAndAwaited;
use crate::send::base::SendingBase;
use crate::send::function_partitioner as partitioner;
use crate::send::intercept::{Passed, message_of};
use crate::send::message::{Given, Prepared, Stored};
use crate::send::queued::{QueuedMessage, QueuedSend, owned};
use crate::send::sender::Sender;
use crate::send::topic_queue;
use crate::wait::ready::ready;
use crate::wait::waiting::{Awaited, Waiting};

/// The producer of a call, its arguments, and the message that these were read from where it went through interceptors.
#[derive(Clone, Copy)]
pub struct Call<'a, 'py> {
    sender: &'a Sender,
    partitioner: Option<&'a Py<PyAny>>,
    given: &'a Given,
    passed: Option<&'a Passed<'py>>,
}

/// The beginning of every send.
enum Begun<'a, 'py> {
    /// It was a plain message, and is accepted.
    Sent(*mut DeliveryObject),
    General(General<'a, 'py>),
}

/// The arguments read, and a delivery without a completion.
struct General<'a, 'py> {
    call: Call<'a, 'py>,
    prepared: Prepared,
    delivery: *mut DeliveryObject,
}

impl<'a, 'py> Call<'a, 'py> {
    /// # Safety
    /// The objects of the call outlive it.
    #[inline(always)]
    unsafe fn begin(self, py: Python<'py>) -> PyResult<Begun<'a, 'py>> {
        // SAFETY: by contract.
        unsafe {
            if self.partitioner.is_none()
                && let Some(delivery) = self.sender.send_plain(py, self.given)?
            {
                return Ok(Begun::Sent(delivery));
            }
            self.general(py).map(Begun::General)
        }
    }

    /// # Safety
    /// The contract of `begin`.
    #[inline(never)]
    unsafe fn general(self, py: Python<'py>) -> PyResult<General<'a, 'py>> {
        // SAFETY: by contract.
        unsafe {
            let prepared = self.sender.prepare(py, self.given)?;
            let delivery = self.sender.delivery(py, self.given, &prepared)?;
            Ok(General {
                call: self,
                prepared,
                delivery,
            })
        }
    }
}

impl General<'_, '_> {
    /// Appends if there is space; the delivery has its completion then.
    #[inline(always)]
    fn append(&self) -> Result<(), Refused> {
        let (completion, index) =
            self.call
                .sender
                .append(&self.prepared, None, Some(self.delivery))?;
        // SAFETY: made by `new_delivery`, and it has no place yet.
        unsafe { object::place(self.delivery, completion, index) };
        Ok(())
    }

    /// Has the function choose the partition, where there is one and the call names none. `choose` may wait for the topic.
    #[inline(always)]
    fn choose(&mut self, py: Python<'_>, choose: partitioner::Choose) -> PyResult<()> {
        match self.call.partitioner {
            None => Ok(()),
            Some(function) => self.choose_by(py, function, choose),
        }
    }

    #[cold]
    fn choose_by(
        &mut self,
        py: Python<'_>,
        function: &Py<PyAny>,
        choose: partitioner::Choose,
    ) -> PyResult<()> {
        let call = self.call;
        // SAFETY: the objects of the call.
        let chosen = unsafe { choose(py, call.sender, function, call.given, &mut self.prepared) };
        chosen.inspect_err(|_| drop(owned(py, self.delivery)))
    }

    /// The message as it is stored beyond the call.
    #[cold]
    fn store(&self, py: Python<'_>) -> PyResult<Stored> {
        // SAFETY: the objects of the call.
        let stored = unsafe { Stored::new(py, self.call.given, &self.prepared) };
        stored.inspect_err(|_| drop(owned(py, self.delivery)))
    }

    /// Nothing was accepted: the delivery is dropped.
    #[cold]
    fn refuse(&self, py: Python<'_>, refused: &Refused) -> PyErr {
        drop(owned(py, self.delivery));
        self.call.sender.refusal(py, refused, self.prepared.place())
    }
}

/// One way to send a message.
pub trait Sends {
    /// Name of its method.
    const NAME: &'static str;
    /// For a call that blocks the thread until the outcome is there: its name, for the warning in an event loop.
    const WAITS: Option<BlockingCall> = None;

    /// # Safety
    /// The objects of the call outlive it.
    unsafe fn send(py: Python<'_>, call: Call<'_, '_>) -> PyResult<*mut ffi::PyObject>;
}

/// The method that the user calls.
pub unsafe extern "C" fn method<S: Sends>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        if let Some(call) = &S::WAITS {
            // Before the message is accepted: a caller that gets the error may send it again.
            own_thread::check_may_wait()?;
            call.warn_in_event_loop(py)?;
        }
        // SAFETY: as Python calls a method of the class, whose instances outlive their calls.
        unsafe {
            let base = Borrowed::from_ptr(py, slf);
            let base = base.cast_unchecked::<SendingBase>().get();
            let sender = base.sender()?;
            sender.check(py)?;
            let given = Given::of_call(py, S::NAME, args, count, keywords)?;
            let call = Call {
                sender,
                partitioner: base.partitioner(),
                given: &given,
                passed: None,
            };
            match base.interceptors() {
                None => S::send(py, call),
                Some(chain) => intercepted::<S>(py, call, chain),
            }
        }
    })
}

/// The same where the message goes through interceptors first. A closed producer refuses it before.
///
/// # Safety
/// The contract of `Sends::send`.
#[cold]
unsafe fn intercepted<S: Sends>(
    py: Python<'_>,
    call: Call<'_, '_>,
    chain: &Py<PyAny>,
) -> PyResult<*mut ffi::PyObject> {
    // SAFETY: by contract; `fields` holds the objects of the second call.
    unsafe {
        if call.sender.is_closed() {
            return S::send(py, call);
        }
        let passed = Passed::through(chain, message_of(py, call.given)?)?;
        let on_delivery = Bound::from_borrowed_ptr_or_opt(py, call.given.on_delivery);
        let fields = passed.fields(on_delivery)?;
        let sent = S::send(
            py,
            Call {
                given: &fields.given(),
                passed: Some(&passed),
                ..call
            },
        );
        sent.inspect_err(|error| passed.refused(error))
    }
}

pub struct Nowait;

impl Sends for Nowait {
    const NAME: &'static str = "send_nowait";

    #[inline(always)]
    unsafe fn send(py: Python<'_>, call: Call<'_, '_>) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        let mut begun = match unsafe { call.begin(py)? } {
            Begun::Sent(delivery) => return Ok(delivery.cast()),
            Begun::General(begun) => begun,
        };
        begun.choose(py, partitioner::choose_at_once)?;
        match begun.append() {
            Ok(()) => Ok(begun.delivery.cast()),
            Err(refused) => Err(begun.refuse(py, &refused)),
        }
    }
}

pub struct InThread;

impl Sends for InThread {
    const NAME: &'static str = "send";

    #[inline(always)]
    unsafe fn send(py: Python<'_>, call: Call<'_, '_>) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        match unsafe { call.begin(py)? } {
            Begun::Sent(delivery) => Ok(delivery.cast()),
            Begun::General(mut begun) => send_general(py, &mut begun),
        }
    }
}

#[inline(never)]
fn send_general(py: Python<'_>, begun: &mut General<'_, '_>) -> PyResult<*mut ffi::PyObject> {
    begun.choose(py, partitioner::choose_waiting)?;
    match begun.append() {
        Ok(()) => Ok(begun.delivery.cast()),
        Err(Refused::Full) => send_waiting(py, begun),
        Err(refused) => Err(begun.refuse(py, &refused)),
    }
}

#[cold]
fn send_waiting(py: Python<'_>, begun: &General<'_, '_>) -> PyResult<*mut ffi::PyObject> {
    let delivery = Some(begun.delivery);
    let accepted = begun
        .call
        .sender
        .append_waiting(py, &begun.prepared, delivery);
    match accepted {
        Ok((completion, index)) => {
            // SAFETY: made by `new_delivery`, and it has no place yet.
            unsafe { object::place(begun.delivery, completion, index) };
            Ok(begun.delivery.cast())
        }
        Err(error) => {
            drop(owned(py, begun.delivery));
            Err(error)
        }
    }
}

pub struct InThreadAndWait;

impl Sends for InThreadAndWait {
    const NAME: &'static str = "send_and_wait";
    const WAITS: Option<BlockingCall> = Some(BlockingCall {
        name: "Producer.send_and_wait()",
        instead: "await producer.send_and_wait(...)` with an `ottla.AsyncProducer",
    });

    #[inline(always)]
    unsafe fn send(py: Python<'_>, call: Call<'_, '_>) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract; then an owned reference.
        let delivery = unsafe {
            let delivery = match call.begin(py)? {
                Begun::Sent(delivery) => delivery.cast(),
                Begun::General(mut begun) => send_general(py, &mut begun)?,
            };
            Bound::from_owned_ptr(py, delivery)
        };
        wait_result(py, delivery.as_ptr(), None, None).map(Py::into_ptr)
    }
}

/// An asynchronous send that was begun.
enum Sending {
    Accepted(Py<PyAny>),
    /// It waits for its topic or for buffer space; accepted or refused within `max_block`.
    Queued(Box<QueuedSend>, Duration),
}

/// # Safety
/// The contract of `Sends::send`.
#[inline(always)]
unsafe fn begin_async(py: Python<'_>, call: Call<'_, '_>) -> PyResult<Sending> {
    // SAFETY: by contract.
    match unsafe { call.begin(py)? } {
        Begun::Sent(delivery) => Ok(Sending::Accepted(owned(py, delivery).unbind())),
        Begun::General(begun) => begin_general_async(py, begun),
    }
}

#[inline(never)]
fn begin_general_async(py: Python<'_>, mut begun: General<'_, '_>) -> PyResult<Sending> {
    if let Some(function) = begun.call.partitioner
        && let Some(queued) = queue_for_topic(py, &begun, function)?
    {
        return Ok(begun.queued(queued));
    }
    begun.choose(py, partitioner::choose_known)?;
    match begun.append() {
        Ok(()) => Ok(Sending::Accepted(owned(py, begun.delivery).unbind())),
        Err(Refused::Full) if !begun.call.sender.has_too_many_unawaited() => {
            let stored = begun.store(py)?;
            let delivery = owned(py, begun.delivery).unbind();
            let bytes = begun.prepared.size();
            let queued = QueuedMessage::for_space(begun.call.sender, stored, bytes, Some(delivery));
            Ok(begun.queued(queued))
        }
        Err(refused) => Err(begun.refuse(py, &refused)),
    }
}

/// The function chooses the partition once the topic is known and earlier sends to it were accepted; None: now.
fn queue_for_topic(
    py: Python<'_>,
    begun: &General<'_, '_>,
    function: &Py<PyAny>,
) -> PyResult<Option<QueuedMessage>> {
    let mut place = None;
    let chooses = begun.prepared.partition.is_none();
    let sender = begun.call.sender;
    topic_queue::has_to_wait(sender, begun.prepared.topic, chooses, &mut place);
    let Some(place) = place else {
        return Ok(None);
    };
    if begun.call.sender.has_too_many_unawaited() {
        drop(owned(py, begun.delivery));
        return Err(place.too_late(py));
    }
    let stored = begun.store(py)?;
    let function = function.clone_ref(py);
    let delivery = owned(py, begun.delivery).unbind();
    Ok(Some(QueuedMessage::for_topic(
        place,
        stored,
        function,
        begun.prepared.size(),
        Some(delivery),
    )))
}

impl General<'_, '_> {
    #[cold]
    fn queued(&self, message: QueuedMessage) -> Sending {
        let passed = self.call.passed.map(Passed::store);
        let send = Box::new(QueuedSend::new(message, passed));
        Sending::Queued(send, self.call.sender.max_block)
    }
}

pub struct InLoop;

impl Sends for InLoop {
    const NAME: &'static str = "send";

    #[inline(always)]
    unsafe fn send(py: Python<'_>, call: Call<'_, '_>) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        match unsafe { begin_async(py, call)? } {
            // SAFETY: an owned reference that is given away.
            Sending::Accepted(delivery) => unsafe { ready(py, delivery.into_ptr()) },
            Sending::Queued(send, max_block) => {
                let waiting = Waiting::new(send, Some(max_block));
                Ok(Py::new(py, waiting)?.into_ptr())
            }
        }
    }
}

pub struct InLoopAndWait;

impl Sends for InLoopAndWait {
    const NAME: &'static str = "send_and_wait";

    #[inline(always)]
    unsafe fn send(py: Python<'_>, call: Call<'_, '_>) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        let awaited: Box<dyn Awaited> = match unsafe { begin_async(py, call)? } {
            Sending::Accepted(delivery) => Box::new(AwaitedDelivery::new(delivery)),
            Sending::Queued(send, max_block) => {
                let until = Instant::now().checked_add(max_block);
                Box::new(SentAndAwaited::new(send, until))
            }
        };
        Ok(Py::new(py, Waiting::new(awaited, None))?.into_ptr())
    }
}
