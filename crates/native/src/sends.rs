//! The ways to send one message: in a thread or an event loop, with or without a wait for room or for the outcome.
//!
//! Hand-made, so that no Python frame and no argument machinery stands in front of an append. Stations: message → partition →
//! accumulator. Threads: any; each holds the GIL except while it waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::produce::message::Refused;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::blocked_loop::BlockingCall;
use crate::delivery::object::{self, DeliveryObject};
use crate::delivery::outcome::{AwaitedDelivery, wait_result};
use crate::intercept::{self, Call};
use crate::own_thread;
use crate::raw::guard;
use crate::send_and_wait::SentAndAwaited;
use crate::send_wait::{AwaitedSend, Kept, Waiter, owned};
use crate::sender::{Given, Prepared, Sender, given};
use crate::sending_base::SendingBase;
use crate::topic_line;
use crate::user_partitioner as user;
use crate::wait::ready::ready;
use crate::wait::waiting::{Awaited, Waiting};

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
/// `slf` is an instance of `SendingBase`, and outlives the result.
#[inline(always)]
unsafe fn base<'a>(py: Python<'a>, slf: *mut ffi::PyObject) -> &'a SendingBase {
    // SAFETY: by contract.
    unsafe {
        let slf = Borrowed::from_ptr(py, slf);
        slf.cast_unchecked::<SendingBase>().get()
    }
}

/// # Safety
/// As Python calls; `slf` is an instance of `SendingBase`.
#[inline(always)]
unsafe fn begin<'a>(
    py: Python<'a>,
    function: &str,
    slf: *mut ffi::PyObject,
    (args, count, keywords): Call,
) -> PyResult<Begun<'a>> {
    // SAFETY: by contract; the object and the arguments outlive the call.
    unsafe {
        let base = base(py, slf);
        let sender = base.sender()?;
        sender.check(py)?;
        let given = given(py, function, args, count, keywords)?;
        let partitioner = base.partitioner();
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
        unsafe { object::place(self.delivery, completion, index) };
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

    /// What the call was made with, for a message that waits.
    #[cold]
    fn keep(&self, py: Python<'_>) -> PyResult<Kept> {
        // SAFETY: the objects of the call; a message was prepared, so there is a topic.
        let kept = unsafe { Kept::new(py, &self.given, &self.prepared) };
        kept.inspect_err(|_| drop(owned(py, self.delivery)))
    }

    /// Nothing was accepted: the delivery goes.
    #[cold]
    fn refuse(&self, py: Python<'_>, refused: &Refused) -> PyErr {
        drop(owned(py, self.delivery));
        self.sender.refusal(py, refused, self.prepared.place())
    }
}

/// One way to send a message: what its method does, and the method of the same that passes the interceptors by.
pub trait Sends {
    const INNER: &'static str;
    /// The interceptors' own method for it.
    const THROUGH: &'static str = "send";
    /// Where it blocks the thread until the outcome is there: the call, for the warning in an event loop.
    const WAITS: Option<BlockingCall> = None;

    /// # Safety
    /// As Python calls a method of a producer.
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject>;
}

/// What the user calls.
pub unsafe extern "C" fn method<S: Sends>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        let call = (args, count, keywords);
        if let Some(call) = &S::WAITS {
            // Before the message is accepted: a caller that gets the error may send it again.
            own_thread::check_may_wait()?;
            call.warn_in_event_loop(py)?;
        }
        // SAFETY: as Python calls a method of the class, whose instances outlive their calls.
        unsafe {
            match base(py, slf).interceptors() {
                None => S::send(py, slf, call),
                Some(chain) => intercept::send(py, (chain, S::THROUGH), S::INNER, slf, call),
            }
        }
    })
}

/// What the interceptors call.
pub unsafe extern "C" fn inner<S: Sends>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as Python calls a method of the class.
    guard(|py| unsafe { S::send(py, slf, (args, count, keywords)) })
}

pub struct Nowait;

impl Sends for Nowait {
    const INNER: &'static str = "_send_nowait";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        let begun = unsafe { begin(py, "send_nowait", slf, call)? };
        let mut begun = match begun {
            Begun::Sent(delivery) => return Ok(delivery.cast()),
            Begun::General(begun) => begun,
        };
        begun.ask(py, user::choose_at_once)?;
        match begun.append() {
            Ok(()) => Ok(begun.delivery.cast()),
            Err(refused) => Err(begun.refuse(py, &refused)),
        }
    }
}

pub struct InThread;

impl Sends for InThread {
    const INNER: &'static str = "_send";

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract.
        match unsafe { begin(py, "send", slf, call)? } {
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
    const INNER: &'static str = "_send";
    const THROUGH: &'static str = "send_and_wait";
    const WAITS: Option<BlockingCall> = Some(BlockingCall {
        name: "Producer.send_and_wait()",
        instead: "await producer.send_and_wait(...)` with an `ottla.AsyncProducer",
    });

    #[inline(always)]
    unsafe fn send(
        py: Python<'_>,
        slf: *mut ffi::PyObject,
        call: Call,
    ) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: by contract; then an owned reference.
        let delivery = unsafe {
            let begun = begin(py, "send_and_wait", slf, call)?;
            let delivery = match begun {
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
    /// Whatever it waits for, it is accepted or refused within `max_block`.
    Waits(Box<dyn Awaited>, Duration),
}

/// # Safety
/// As Python calls; `slf` is an instance of `SendingBase`.
#[inline(always)]
unsafe fn begin_async(
    py: Python<'_>,
    function: &str,
    slf: *mut ffi::PyObject,
    call: Call,
) -> PyResult<Sending> {
    // SAFETY: by contract.
    match unsafe { begin(py, function, slf, call)? } {
        Begun::Sent(delivery) => Ok(Sending::Accepted(owned(py, delivery).unbind())),
        Begun::General(begun) => begin_general_async(py, begun),
    }
}

#[inline(never)]
fn begin_general_async(py: Python<'_>, mut begun: General<'_>) -> PyResult<Sending> {
    let max_block = begun.sender.max_block;
    if let Some(function) = begun.partitioner
        && let Some(awaited) = send_when_known(py, &begun, function)?
    {
        return Ok(Sending::Waits(Box::new(awaited), max_block));
    }
    begun.ask(py, user::choose_known)?;
    match begun.append() {
        Ok(()) => Ok(Sending::Accepted(owned(py, begun.delivery).unbind())),
        Err(Refused::Full) => {
            let kept = begun.keep(py)?;
            let waiter = Waiter::join(begun.sender, kept, begun.prepared.size());
            let delivery = owned(py, begun.delivery).unbind();
            let awaited = AwaitedSend::new(begun.sender.clone(), waiter, delivery);
            Ok(Sending::Waits(Box::new(awaited), max_block))
        }
        Err(refused) => Err(begun.refuse(py, &refused)),
    }
}

pub struct InLoop;

impl Sends for InLoop {
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

pub struct InLoopAndWait;

impl Sends for InLoopAndWait {
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

/// The user's partitioner is asked once the topic is known and those before it were accepted; None: now.
fn send_when_known(
    py: Python<'_>,
    begun: &General<'_>,
    function: &Py<PyAny>,
) -> PyResult<Option<user::AwaitedTopic>> {
    let mut place = None;
    let chooses = begun.prepared.partition.is_none();
    topic_line::has_to_wait(begun.sender, begun.prepared.topic, chooses, &mut place);
    let Some(place) = place else {
        return Ok(None);
    };
    let kept = begun.keep(py)?;
    let function = function.clone_ref(py);
    let delivery = owned(py, begun.delivery).unbind();
    let awaited = user::AwaitedTopic::new(function, place, kept, delivery);
    Ok(Some(awaited))
}
