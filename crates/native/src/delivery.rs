//! `Delivery`: what became of one message. Hand-made, 56 bytes, not tracked by the collector.
//!
//! It is a batch's completion and an index, and the caller's own key and value. Only a message with headers or metadata,
//! through which a cycle could go, gets the subtype that the collector knows. Station: delivery. Threads: any.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::{Arc, OnceLock};

use ottla_core::completion::{Completion, Place, State};
use ottla_core::flow::Wake;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::docs;
use crate::errors;
use crate::flush::park_until_settled;
use crate::metadata::record_metadata;
use crate::outcomes::{Outcomes, check_fork};
use crate::raw::{
    Arguments, documented, fast_method, getter, guard, make_type, no_getter, no_method,
    plain_method, slot,
};
use crate::ready::ready;
use crate::wait::duration;
use crate::waiting::{Awaited, Waiting};

#[repr(C)]
pub struct DeliveryObject {
    base: ffi::PyObject,
    /// From `Arc::into_raw`; never null.
    completion: *const Completion,
    timestamp_ms: i64,
    index: u32,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
}

/// With headers and metadata.
#[repr(C)]
struct ExtendedObject {
    delivery: DeliveryObject,
    headers: *mut ffi::PyObject,
    metadata: *mut ffi::PyObject,
}

static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static EXTENDED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// What a new delivery refers to; borrowed pointers, null where absent.
pub struct Parts {
    pub timestamp_ms: i64,
    pub key: *mut ffi::PyObject,
    pub value: *mut ffi::PyObject,
    pub headers: *mut ffi::PyObject,
    pub metadata: *mut ffi::PyObject,
}

/// Makes a delivery before its message is accepted, with no place yet: `place` gives it one.
///
/// # Safety
/// The GIL is held; the parts are valid objects or null.
#[inline(always)]
pub unsafe fn new_delivery(py: Python<'_>, parts: &Parts) -> PyResult<*mut DeliveryObject> {
    // SAFETY: the types were made at import; the objects are filled before anything else can see them.
    unsafe {
        let extended = !parts.headers.is_null() || !parts.metadata.is_null();
        let object = if extended {
            let made =
                ffi::PyType_GenericAlloc(type_pointer(py, &EXTENDED), 0).cast::<ExtendedObject>();
            if made.is_null() {
                return Err(PyErr::fetch(py));
            }
            (*made).headers = xincref(parts.headers);
            (*made).metadata = xincref(parts.metadata);
            made.cast::<DeliveryObject>()
        } else {
            let memory = ffi::PyObject_Malloc(size_of::<DeliveryObject>()).cast::<ffi::PyObject>();
            if memory.is_null() {
                return Err(pyo3::exceptions::PyMemoryError::new_err(()));
            }
            ffi::PyObject_Init(memory, type_pointer(py, &TYPE)).cast::<DeliveryObject>()
        };
        (*object).completion = ptr::null();
        (*object).index = 0;
        (*object).timestamp_ms = parts.timestamp_ms;
        (*object).key = xincref(parts.key);
        (*object).value = xincref(parts.value);
        Ok(object)
    }
}

/// Gives a new delivery its place.
///
/// # Safety
/// `object` comes from `new_delivery` and has no place yet.
pub unsafe fn place(object: *mut DeliveryObject, completion: Arc<Completion>, index: u32) {
    // SAFETY: by contract.
    unsafe {
        (*object).completion = Arc::into_raw(completion);
        (*object).index = index;
    }
}

fn type_pointer(py: Python<'_>, made: &PyOnceLock<Py<PyAny>>) -> *mut ffi::PyTypeObject {
    made.get(py)
        .map_or(ptr::null_mut(), |made| made.as_ptr().cast())
}

unsafe fn xincref(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: valid or null, by contract of the callers.
    unsafe { ffi::Py_XINCREF(object) };
    object
}

// ---- looking --------------------------------------------------------------------------------------------------------

fn nowhere() -> Arc<Completion> {
    static NOWHERE: OnceLock<Arc<Completion>> = OnceLock::new();
    NOWHERE
        .get_or_init(|| Completion::new(Arc::from(""), -1))
        .clone()
}

/// The completion and index of a delivery, wherever it was forwarded to.
pub fn where_is(object: *mut ffi::PyObject) -> Place {
    let delivery = object.cast::<DeliveryObject>();
    // SAFETY: only deliveries get here; the pointer came from `Arc::into_raw` and the object keeps its count.
    let completion = unsafe {
        let raw = (*delivery).completion;
        if raw.is_null() {
            // The collector can show a delivery that waits for room.
            return (nowhere(), 0);
        }
        Arc::increment_strong_count(raw);
        Arc::from_raw(raw)
    };
    // SAFETY: as above.
    completion.place(unsafe { (*delivery).index })
}

/// What a written or failed message gives: its metadata or the exception. None while pending.
fn settled(
    py: Python<'_>,
    object: *mut ffi::PyObject,
) -> PyResult<Option<Result<Py<PyAny>, PyErr>>> {
    let (completion, index) = where_is(object);
    let state = completion.state();
    match (&state, state.offset(index)) {
        (State::Failed(failure), _) => Ok(Some(Err(errors::failed(py, &completion, failure)))),
        (_, None) => Ok(None),
        (_, Some(offset)) => {
            // SAFETY: a delivery.
            let own = unsafe { (*object.cast::<DeliveryObject>()).timestamp_ms };
            let made = record_metadata(py, &completion, offset, state.timestamp(own))?;
            Ok(Some(Ok(made)))
        }
    }
}

/// Waits until the message has its outcome; false where the time ran out.
fn wait_settled(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    timeout: Option<f64>,
) -> PyResult<bool> {
    let timeout = duration(timeout)?;
    let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
    loop {
        let (completion, _) = where_is(object);
        if completion.state() != State::Pending {
            return Ok(true);
        }
        check_fork(py, &completion)?;
        let left =
            deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        // A completion that is forwarded is not pending either; the loop then looks at the next one.
        if !park_until_settled(py, &completion, left)? {
            return Ok(false);
        }
    }
}

fn timed_out(py: Python<'_>) -> PyErr {
    errors::raise(
        py,
        "timeout",
        0,
        "the outcome is not known yet",
        None,
        None,
        None,
    )
}

// ---- methods ----------------------------------------------------------------------------------------------------------

unsafe fn timeout_argument(
    function: &str,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> PyResult<Option<f64>> {
    // SAFETY: the GIL is held in methods.
    let py = unsafe { Python::assume_attached() };
    let arguments = Arguments {
        positional: args,
        count: count as usize,
        keywords,
    };
    // SAFETY: as Python calls.
    let [timeout] =
        unsafe { arguments.sort(function, || [pyo3::intern!(py, "timeout").as_ptr()])? };
    if timeout.is_null() {
        return Ok(None);
    }
    // SAFETY: a borrowed argument.
    unsafe { Bound::from_borrowed_ptr(py, timeout) }.extract()
}

unsafe extern "C" fn result(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: as Python calls.
        let timeout = unsafe { timeout_argument("result", args, count, keywords)? };
        wait_result(py, slf, timeout).map(Py::into_ptr)
    })
}

/// Waits for a delivery's outcome, at most so many seconds: its metadata, or the error that it failed with.
pub fn wait_result(
    py: Python<'_>,
    delivery: *mut ffi::PyObject,
    timeout: Option<f64>,
) -> PyResult<Py<PyAny>> {
    if !wait_settled(py, delivery, timeout)? {
        return Err(timed_out(py));
    }
    settled(py, delivery)?.unwrap_or_else(|| Err(timed_out(py)))
}

unsafe extern "C" fn exception(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: as Python calls.
        let timeout = unsafe { timeout_argument("exception", args, count, keywords)? };
        if !wait_settled(py, slf, timeout)? {
            return Err(timed_out(py));
        }
        error_of(py, slf)
    })
}

fn error_of(py: Python<'_>, slf: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
    match settled(py, slf)? {
        Some(Err(error)) => Ok(error.into_value(py).into_ptr()),
        _ => Ok(py.None().into_ptr()),
    }
}

unsafe extern "C" fn done(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        Ok((where_is(slf).0.state() != State::Pending)
            .into_pyobject(py)?
            .to_owned()
            .into_ptr())
    })
}

unsafe extern "C" fn add_done_callback(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard(|py| {
        let arguments = Arguments {
            positional: args,
            count: count as usize,
            keywords,
        };
        // SAFETY: as Python calls.
        let [callback] = unsafe {
            arguments.sort("add_done_callback", || {
                [pyo3::intern!(py, "callback").as_ptr()]
            })?
        };
        if callback.is_null() {
            return Err(pyo3::exceptions::PyTypeError::new_err(
                "add_done_callback() needs a callback",
            ));
        }
        // SAFETY: borrowed objects of the call.
        let (callback, delivery) = unsafe {
            (
                Bound::from_borrowed_ptr(py, callback).unbind(),
                Bound::from_borrowed_ptr(py, slf).unbind(),
            )
        };
        loop {
            let (completion, _) = where_is(slf);
            if !completion.is_pending() {
                dispatch(py, &callback, &delivery)?;
                break;
            }
            check_fork(py, &completion)?;
            let owner = completion.owner().cloned();
            let Some(outcomes) = owner.and_then(|owner| owner.downcast::<Outcomes>().ok()) else {
                return Err(PyRuntimeError::new_err(
                    "a bug in ottla: a delivery without a producer",
                ));
            };
            if outcomes.call_when_settled(
                &completion,
                callback.clone_ref(py),
                delivery.clone_ref(py),
            ) {
                break;
            }
        }
        Ok(py.None().into_ptr())
    })
}

static DISPATCH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn dispatch(py: Python<'_>, callback: &Py<PyAny>, delivery: &Py<PyAny>) -> PyResult<()> {
    let dispatch = DISPATCH.import(py, "ottla.engine.dispatcher", "dispatch")?;
    dispatch.call1((callback, delivery)).map(drop)
}

/// A message's outcome, for an event loop.
pub struct AwaitedDelivery {
    delivery: Py<PyAny>,
    /// Where it was registered last.
    completion: Option<Arc<Completion>>,
}

impl AwaitedDelivery {
    pub fn new(delivery: Py<PyAny>) -> Self {
        Self {
            delivery,
            completion: None,
        }
    }
}

impl Awaited for AwaitedDelivery {
    fn look(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let found = settled(py, self.delivery.as_ptr())?;
        if found.is_none() {
            check_fork(py, &where_is(self.delivery.as_ptr()).0)?;
        }
        found.transpose()
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        // Refused where it has moved on meanwhile: the look that follows sees it, or the next place is registered with.
        loop {
            let (completion, _) = where_is(self.delivery.as_ptr());
            if completion.state() != State::Pending {
                return;
            }
            if completion.add_waiter(wake.clone(), token) {
                self.completion = Some(completion);
                return;
            }
        }
    }

    fn unregister(&mut self, wake: &Arc<dyn Wake>, token: u64) {
        if let Some(completion) = self.completion.take() {
            completion.remove_waiter(wake, token);
        }
    }

    fn sleeps_on(&self) -> Option<&Arc<Completion>> {
        self.completion.as_ref()
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(timed_out(py))
    }
}

/// What is written already costs no more than its metadata.
unsafe extern "C" fn await_(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        if let Some(settled) = settled(py, slf)? {
            // SAFETY: an owned reference that is given away.
            return unsafe { ready(py, settled?.into_ptr()) };
        }
        // SAFETY: a borrowed object of the call.
        let delivery = unsafe { Bound::from_borrowed_ptr(py, slf).unbind() };
        let waiting = Waiting::new(Box::new(AwaitedDelivery::new(delivery)), None);
        Ok(Py::new(py, waiting)?.into_ptr())
    })
}

unsafe extern "C" fn repr(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        let (completion, index) = where_is(slf);
        let state = match completion.state() {
            State::Pending => "pending".to_owned(),
            State::Written { base_offset, .. } if base_offset >= 0 => {
                format!("written at offset {}", base_offset + i64::from(index))
            }
            State::Written { .. } => "written".to_owned(),
            State::Failed(failure) => format!(
                "{}: {} {}",
                failure.outcome.name(),
                failure.kind,
                failure.message
            ),
        };
        let text = format!(
            "<Delivery {}-{} {state}>",
            completion.topic,
            completion.partition()
        );
        Ok(text.into_pyobject(py)?.into_ptr())
    })
}

// ---- attributes -------------------------------------------------------------------------------------------------------

fn or_none(py: Python<'_>, object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    if object.is_null() {
        return py.None().into_ptr();
    }
    // SAFETY: a field of a living delivery.
    unsafe { xincref(object) }
}

unsafe extern "C" fn get_topic(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| Ok(where_is(slf).0.topic.into_pyobject(py)?.into_ptr()))
}

unsafe extern "C" fn get_key(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a delivery.
        let key = unsafe { (*slf.cast::<DeliveryObject>()).key };
        Ok(or_none(py, key))
    })
}

unsafe extern "C" fn get_value(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a delivery.
        let value = unsafe { (*slf.cast::<DeliveryObject>()).value };
        Ok(or_none(py, value))
    })
}

/// Headers and metadata of a delivery; null where it has none.
fn extension(py: Python<'_>, slf: *mut ffi::PyObject) -> (*mut ffi::PyObject, *mut ffi::PyObject) {
    // SAFETY: a living object, which has the fields of the extended type if it is of that type.
    unsafe {
        if ffi::Py_TYPE(slf) != type_pointer(py, &EXTENDED) {
            return (ptr::null_mut(), ptr::null_mut());
        }
        let object = slf.cast::<ExtendedObject>();
        ((*object).headers, (*object).metadata)
    }
}

unsafe extern "C" fn get_headers(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| Ok(or_none(py, extension(py, slf).0)))
}

unsafe extern "C" fn get_metadata(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| Ok(or_none(py, extension(py, slf).1)))
}

unsafe extern "C" fn get_partition(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let partition = where_is(slf).0.partition();
        Ok((partition >= 0)
            .then_some(partition)
            .into_pyobject(py)?
            .into_ptr())
    })
}

unsafe extern "C" fn get_offset(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let (completion, index) = where_is(slf);
        let offset = completion.state().offset(index);
        Ok(offset.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_timestamp(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: a delivery.
        let own = unsafe { (*slf.cast::<DeliveryObject>()).timestamp_ms };
        let timestamp = where_is(slf).0.state().timestamp(own);
        Ok(timestamp.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_outcome(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let outcome = match where_is(slf).0.state() {
            State::Pending => None,
            State::Written { .. } => Some("written"),
            State::Failed(failure) => Some(failure.outcome.name()),
        };
        Ok(outcome.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_error(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| error_of(py, slf))
}

// ---- life -------------------------------------------------------------------------------------------------------------

unsafe fn clear_delivery(object: *mut DeliveryObject) {
    // SAFETY: the object is being freed: nobody else sees it.
    unsafe {
        if !(*object).completion.is_null() {
            drop(Arc::from_raw((*object).completion));
        }
        ffi::Py_XDECREF((*object).key);
        ffi::Py_XDECREF((*object).value);
    }
}

unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: Python frees a delivery that nothing refers to; a heap type is let go with each of its objects.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        clear_delivery(slf.cast());
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn dealloc_extended(slf: *mut ffi::PyObject) {
    // SAFETY: as `dealloc`; the collector forgets the object first.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        ffi::PyObject_GC_UnTrack(slf.cast());
        clear_extended(slf);
        clear_delivery(slf.cast());
        ffi::PyObject_GC_Del(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn clear_extended(slf: *mut ffi::PyObject) -> c_int {
    let object = slf.cast::<ExtendedObject>();
    // SAFETY: of the extended type; each field is taken out before it is let go.
    unsafe {
        let headers = std::mem::replace(&mut (*object).headers, ptr::null_mut());
        let metadata = std::mem::replace(&mut (*object).metadata, ptr::null_mut());
        ffi::Py_XDECREF(headers);
        ffi::Py_XDECREF(metadata);
    }
    0
}

unsafe extern "C" fn traverse_extended(
    slf: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    let object = slf.cast::<ExtendedObject>();
    // SAFETY: of the extended type; visiting changes no count.
    unsafe {
        let fields = [
            ffi::Py_TYPE(slf).cast(),
            (*object).headers,
            (*object).metadata,
            (*object).delivery.key,
            (*object).delivery.value,
        ];
        for field in fields {
            if !field.is_null() {
                let stop = visit(field, arg);
                if stop != 0 {
                    return stop;
                }
            }
        }
    }
    0
}

const NAME: &CStr = c"ottla._native.Delivery";
const NAME_EXTENDED: &CStr = c"ottla._native.DeliveryWithMetadata";

const DOC: &CStr = c"What becomes of one message: what `send` returns.

It is pending until the message has its outcome, at the latest `delivery_timeout_ms` plus a second after it was accepted,
and never changes afterwards. Wait with `result` or `exception`, `await` it in an event loop, be called by
`add_done_callback`, or look at `outcome` and `error`. Cancelling an await ends that wait only; any number may wait.
Threads: any.";
const DOC_EXTENDED: &CStr = c"A `Delivery` with headers or metadata.";

static mut GETTERS: [ffi::PyGetSetDef; 11] = [
    getter(
        c"topic",
        c"Name of the topic.",
        get_topic,
    ),
    getter(
        c"key",
        c"The key as it was given, the same object; None without one, and for deliveries out of `send_many`.",
        get_key,
    ),
    getter(
        c"value",
        c"The value as it was given, the same object; None without one, and for deliveries out of `send_many`.",
        get_value,
    ),
    getter(
        c"headers",
        c"The headers as they were given, the same object, or None.",
        get_headers,
    ),
    getter(
        c"metadata",
        c"The `metadata` of the send, the same object, or None. It never leaves this process.",
        get_metadata,
    ),
    getter(
        c"partition",
        c"Number of the partition; None until it is chosen.",
        get_partition,
    ),
    getter(
        c"offset",
        c"Offset of the record; None until it is written, -1 where the broker does not tell (acks=0, or a retry that found it there).",
        get_offset,
    ),
    getter(
        c"timestamp_ms",
        c"Milliseconds since the epoch, UTC: of the message, or of the append where the topic says LogAppendTime.",
        get_timestamp,
    ),
    getter(
        c"outcome",
        c"None while pending, then \"written\", \"not_written\" or \"unknown\"; it never changes afterwards.",
        get_outcome,
    ),
    getter(
        c"error",
        c"Why it failed, without waiting; None while pending and where it is written. `.outcome` of it says whether it may be written.",
        get_error,
    ),
    no_getter(),
];

static mut METHODS: [ffi::PyMethodDef; 5] = [
    documented(plain_method(c"done", done), docs::DONE),
    fast_method(c"result", docs::RESULT, result),
    fast_method(c"exception", docs::EXCEPTION, exception),
    fast_method(
        c"add_done_callback",
        docs::ADD_DONE_CALLBACK,
        add_done_callback,
    ),
    no_method(),
];

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_getset, (&raw mut GETTERS).cast()),
        slot(ffi::Py_tp_methods, (&raw mut METHODS).cast()),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_am_await, await_ as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let base = make_type(py, NAME, size_of::<DeliveryObject>(), flags, &mut slots)?;
    let base = TYPE.get_or_init(py, || base);
    let flags =
        ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_doc, DOC_EXTENDED.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_base, base.as_ptr().cast()),
        slot(ffi::Py_tp_dealloc, dealloc_extended as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse_extended as *mut c_void),
        slot(ffi::Py_tp_clear, clear_extended as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let extended = make_type(
        py,
        NAME_EXTENDED,
        size_of::<ExtendedObject>(),
        flags,
        &mut slots,
    )?;
    let extended = EXTENDED.get_or_init(py, || extended);
    module.add("Delivery", base)?;
    module.add("DeliveryWithMetadata", extended)
}
