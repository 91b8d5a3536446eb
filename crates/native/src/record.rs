//! `Record`: one record, read in place in its batch. Hand-made, 32 bytes, not tracked by the collector.
//!
//! It is its run's origin and an index; key, value and headers are made at each look. Station: record. Threads: any.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use ottla_core::record::decode::Record;
use ottla_core::record::header::TimestampType;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

use crate::content::Field;
use crate::docs;
use crate::origin::{Origin, Own, release};
use crate::raw::{
    class_getitem, documented, getter, guard, make_type, no_getter, no_method, plain_method, slot,
};
use crate::seam::records::Deserialized;
use crate::view::view_of;

/// How much of a key or value `repr` shows.
const SHOWN_BYTES: usize = 32;

#[repr(C)]
struct RecordObject {
    base: ffi::PyObject,
    /// From `Arc::into_raw`; never null. Changes only in `detach`, with the GIL.
    origin: *const Origin,
    index: u32,
}

static TYPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static MAKE_RECORD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A new record object.
#[inline]
pub fn new_record(py: Python<'_>, origin: Arc<Origin>, index: u32) -> PyResult<*mut ffi::PyObject> {
    let Some(class) = TYPE.get(py) else {
        return Err(PyRuntimeError::new_err("ottla._native is not loaded"));
    };
    // SAFETY: the GIL is held (`py`); the object is filled before anything else can see it.
    unsafe {
        let memory = ffi::PyObject_Malloc(size_of::<RecordObject>()).cast::<ffi::PyObject>();
        if memory.is_null() {
            return Err(PyMemoryError::new_err(()));
        }
        let object = ffi::PyObject_Init(memory, class.as_ptr().cast());
        let record = object.cast::<RecordObject>();
        (*record).origin = Arc::into_raw(origin);
        (*record).index = index;
        Ok(object)
    }
}

/// Whether the object is a record.
pub fn is_record(py: Python<'_>, object: &Bound<'_, PyAny>) -> bool {
    TYPE.get(py)
        .is_some_and(|class| object.get_type().is(class.bind(py)))
}

/// The origin of a record object and its index there. The origin is counted, since Python code that runs meanwhile may detach
/// the record.
pub fn origin_of(slf: *mut ffi::PyObject) -> (Arc<Origin>, usize) {
    let object = slf.cast::<RecordObject>();
    // SAFETY: only records get here, with the GIL; the pointer came from `Arc::into_raw` and the object has its count.
    unsafe {
        Arc::increment_strong_count((*object).origin);
        (Arc::from_raw((*object).origin), (*object).index as usize)
    }
}

/// Reads a record without counting. `read` must not run Python code.
#[inline]
fn peek<T>(slf: *mut ffi::PyObject, read: impl FnOnce(&Origin, Record<'_>) -> T) -> PyResult<T> {
    let object = slf.cast::<RecordObject>();
    // SAFETY: as in `origin_of`; nothing lets the origin go while no Python code runs and the GIL is held.
    let (origin, index) = unsafe { (&*(*object).origin, (*object).index as usize) };
    Ok(read(origin, origin.record(index)?))
}

// ---- attributes -------------------------------------------------------------------------------------------------------

fn bytes_or_none(py: Python<'_>, bytes: Option<&[u8]>) -> *mut ffi::PyObject {
    match bytes {
        Some(bytes) => PyBytes::new(py, bytes).into_ptr(),
        None => py.None().into_ptr(),
    }
}

unsafe extern "C" fn get_topic(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| peek(slf, |origin, _| origin.topic(py).clone().into_ptr()))
}

unsafe extern "C" fn get_partition(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        Ok(peek(slf, |origin, _| origin.partition)?
            .into_pyobject(py)?
            .into_ptr())
    })
}

unsafe extern "C" fn get_leader_epoch(
    slf: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    guard(|py| {
        Ok(peek(slf, |origin, _| origin.leader_epoch)?
            .into_pyobject(py)?
            .into_ptr())
    })
}

unsafe extern "C" fn get_offset(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        Ok(peek(slf, |_, record| record.offset)?
            .into_pyobject(py)?
            .into_ptr())
    })
}

unsafe extern "C" fn get_timestamp(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        Ok(peek(slf, |_, record| record.timestamp_ms)?
            .into_pyobject(py)?
            .into_ptr())
    })
}

unsafe extern "C" fn get_key(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| content(py, slf, Field::Key))
}

unsafe extern "C" fn get_value(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| content(py, slf, Field::Value))
}

/// The bytes of a field, or the object that a deserializer made of them.
#[inline]
fn content(py: Python<'_>, slf: *mut ffi::PyObject, field: Field) -> PyResult<*mut ffi::PyObject> {
    let object = slf.cast::<RecordObject>();
    // SAFETY: as in `peek`; a list is read without running Python code.
    let (origin, index) = unsafe { (&*(*object).origin, (*object).index as usize) };
    if let Some(objects) = origin.objects()
        && let Some(object) = objects.object(py, field, index)?
    {
        return Ok(object.into_ptr());
    }
    Ok(bytes_or_none(py, field.of(&origin.record(index)?)))
}

unsafe extern "C" fn get_error(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let (origin, index) = origin_of(slf);
        let error = match origin.objects() {
            Some(objects) => objects.error(py, index)?,
            None => None,
        };
        Ok(error.map_or_else(|| py.None().into_ptr(), Bound::into_ptr))
    })
}

unsafe extern "C" fn get_topic_partition(
    slf: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    guard(|py| Ok(origin_of(slf).0.topic_partition(py)?.into_ptr()))
}

/// The names are those of Kafka's topic option `message.timestamp.type`.
const CREATE_TIME: &str = "CreateTime";
const LOG_APPEND_TIME: &str = "LogAppendTime";

fn name_of(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::Create => CREATE_TIME,
        TimestampType::LogAppend => LOG_APPEND_TIME,
    }
}

unsafe extern "C" fn get_timestamp_type(
    slf: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    guard(|py| {
        let kind = peek(slf, |origin, _| origin.timestamp_type())?;
        Ok(match kind.map(name_of) {
            Some(name) => PyString::intern(py, name).into_ptr(),
            None => py.None().into_ptr(),
        })
    })
}

/// Size of a key or value; -1 for None, as Java has it.
fn size_of_field(slf: *mut ffi::PyObject, field: Field) -> *mut ffi::PyObject {
    guard(|py| {
        let len = peek(slf, |_, record| field.of(&record).map(<[u8]>::len))?;
        let size = len.map_or(-1, |len| len as i64);
        Ok(size.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn get_key_size(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    size_of_field(slf, Field::Key)
}

unsafe extern "C" fn get_value_size(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    size_of_field(slf, Field::Value)
}

fn view_of_field(slf: *mut ffi::PyObject, field: Field) -> *mut ffi::PyObject {
    guard(|py| {
        let (origin, index) = origin_of(slf);
        Ok(view_of(py, origin, index, field)?.into_ptr())
    })
}

unsafe extern "C" fn get_key_view(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    view_of_field(slf, Field::Key)
}

unsafe extern "C" fn get_value_view(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    view_of_field(slf, Field::Value)
}

unsafe extern "C" fn get_headers(slf: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard(|py| {
        let (origin, index) = origin_of(slf);
        Ok(origin.header_list(py, index)?.into_ptr())
    })
}

// ---- methods ----------------------------------------------------------------------------------------------------------

unsafe extern "C" fn detach(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        let (origin, index) = origin_of(slf);
        if let Some(own) = origin.detached(py, index)? {
            let object = slf.cast::<RecordObject>();
            // SAFETY: a record, with the GIL; the old pointer's count goes over to `drop_origin`.
            let old = unsafe {
                (*object).index = 0;
                std::mem::replace(&mut (*object).origin, Arc::into_raw(Arc::new(own)))
            };
            drop(origin);
            drop_origin(old);
        }
        // SAFETY: a living object; the caller gets its own reference.
        unsafe { ffi::Py_INCREF(slf) };
        Ok(slf)
    })
}

/// Pickles, and copies, as a record with bytes of its own.
unsafe extern "C" fn reduce(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        let (origin, index) = origin_of(slf);
        let record = origin.record(index)?;
        let arguments = (
            origin.topic(py),
            origin.partition,
            record.offset,
            record.timestamp_ms,
            record.key.map(|key| PyBytes::new(py, key)),
            record.value.map(|value| PyBytes::new(py, value)),
            origin.header_list(py, index)?,
            origin.leader_epoch,
            origin.timestamp_type().map(name_of),
            match origin.objects() {
                Some(objects) => Some(objects.single(py, index)?.into_python(py)?),
                None => None,
            },
        );
        let maker = MAKE_RECORD.import(py, "ottla._native", "make_record")?;
        Ok((maker, arguments).into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn repr(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard(|py| {
        let (origin, index) = origin_of(slf);
        let record = origin.record(index)?;
        let (key, value) = (shown(py, record.key)?, shown(py, record.value)?);
        let text = format!(
            "<Record {}-{}@{} key={key} value={value}>",
            origin.topic(py),
            origin.partition,
            record.offset,
        );
        Ok(text.into_pyobject(py)?.into_ptr())
    })
}

fn shown(py: Python<'_>, bytes: Option<&[u8]>) -> PyResult<String> {
    let Some(bytes) = bytes else {
        return Ok("None".to_owned());
    };
    let start = PyBytes::new(py, &bytes[..bytes.len().min(SHOWN_BYTES)]).repr()?;
    let cut = if bytes.len() > SHOWN_BYTES { "..." } else { "" };
    Ok(format!("{start}{cut}"))
}

unsafe extern "C" fn compare(
    slf: *mut ffi::PyObject,
    other: *mut ffi::PyObject,
    operation: c_int,
) -> *mut ffi::PyObject {
    guard(|py| {
        // SAFETY: living objects of the call.
        let same_type = unsafe { ffi::Py_TYPE(slf) == ffi::Py_TYPE(other) };
        if !same_type || !matches!(operation, ffi::Py_EQ | ffi::Py_NE) {
            return Ok(py.NotImplemented().into_ptr());
        }
        let equal = slf == other || equal(py, slf, other)?;
        let answer = equal == (operation == ffi::Py_EQ);
        Ok(answer.into_pyobject(py)?.to_owned().into_ptr())
    })
}

fn equal(py: Python<'_>, left: *mut ffi::PyObject, right: *mut ffi::PyObject) -> PyResult<bool> {
    let ((left, left_index), (right, right_index)) = (origin_of(left), origin_of(right));
    left.is_same(py, left_index, &right, right_index)
}

unsafe extern "C" fn hash(slf: *mut ffi::PyObject) -> ffi::Py_hash_t {
    let mut hash = 0;
    // The guard is for functions that return objects; None stands for "done" here.
    let done = guard(|py| {
        let (origin, index) = origin_of(slf);
        let place = (
            origin.topic(py),
            origin.partition,
            origin.record(index)?.offset,
        );
        hash = place.into_pyobject(py)?.hash()?;
        Ok(py.None().into_ptr())
    });
    if done.is_null() {
        return -1;
    }
    // SAFETY: the reference that the guard returned.
    unsafe { ffi::Py_DECREF(done) };
    hash
}

// ---- life -------------------------------------------------------------------------------------------------------------

/// Drops a pointer that came from `Arc::into_raw`.
fn drop_origin(origin: *const Origin) {
    // SAFETY: by contract; its count is given up here.
    let origin = unsafe { Arc::from_raw(origin) };
    if let Some(last) = Arc::into_inner(origin) {
        release(last);
    }
}

unsafe extern "C" fn dealloc(slf: *mut ffi::PyObject) {
    // SAFETY: Python frees a record that nothing refers to; a heap type is released with each of its objects.
    unsafe {
        let class = ffi::Py_TYPE(slf);
        drop_origin((*slf.cast::<RecordObject>()).origin);
        ffi::PyObject_Free(slf.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// A record with bytes of its own, from a pickle or for a test.
#[pyfunction]
#[pyo3(signature = (topic, partition, offset, timestamp_ms, key, value, headers, leader_epoch, timestamp_type=None, deserialized=None))]
#[expect(clippy::too_many_arguments, reason = "the fields of a record")]
fn make_record(
    py: Python<'_>,
    topic: &Bound<'_, PyString>,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: Vec<(String, Option<Bound<'_, PyBytes>>)>,
    leader_epoch: i32,
    timestamp_type: Option<&str>,
    deserialized: Option<Deserialized<'_>>,
) -> PyResult<Py<PyAny>> {
    let headers = headers.into_iter().map(|(name, value)| {
        let value = value.map(|value| value.as_bytes().into());
        (name.into_boxed_str(), value)
    });
    let own = Own {
        offset,
        timestamp_ms,
        timestamp_type: timestamp_type.map(type_named).transpose()?,
        key: key.map(Into::into),
        value: value.map(Into::into),
        headers: headers.collect(),
    };
    let mut origin = Origin::of_own(topic, partition, leader_epoch, own);
    if let Some(deserialized) = deserialized {
        origin = origin.with_objects(py, &deserialized, 0, 0);
    }
    let record = new_record(py, Arc::new(origin), 0)?;
    // SAFETY: a new reference.
    Ok(unsafe { Bound::from_owned_ptr(py, record) }.unbind())
}

fn type_named(name: &str) -> PyResult<TimestampType> {
    match name {
        CREATE_TIME => Ok(TimestampType::Create),
        LOG_APPEND_TIME => Ok(TimestampType::LogAppend),
        _ => Err(PyValueError::new_err(format!(
            "timestamp_type must be {CREATE_TIME:?}, {LOG_APPEND_TIME:?} or None, not {name:?}"
        ))),
    }
}

const NAME: &CStr = c"ottla._native.Record";
static mut GETTERS: [ffi::PyGetSetDef; 16] = [
    getter(c"topic", docs::RECORD_TOPIC, get_topic),
    getter(c"partition", docs::RECORD_PARTITION, get_partition),
    getter(
        c"topic_partition",
        docs::RECORD_TOPIC_PARTITION,
        get_topic_partition,
    ),
    getter(c"offset", docs::RECORD_OFFSET, get_offset),
    getter(c"timestamp_ms", docs::RECORD_TIMESTAMP_MS, get_timestamp),
    getter(
        c"timestamp_type",
        docs::RECORD_TIMESTAMP_TYPE,
        get_timestamp_type,
    ),
    getter(c"key", docs::RECORD_KEY, get_key),
    getter(c"value", docs::RECORD_VALUE, get_value),
    getter(
        c"serialized_key_size",
        docs::RECORD_SERIALIZED_KEY_SIZE,
        get_key_size,
    ),
    getter(
        c"serialized_value_size",
        docs::RECORD_SERIALIZED_VALUE_SIZE,
        get_value_size,
    ),
    getter(c"key_view", docs::RECORD_KEY_VIEW, get_key_view),
    getter(c"value_view", docs::RECORD_VALUE_VIEW, get_value_view),
    getter(c"headers", docs::RECORD_HEADERS, get_headers),
    getter(c"error", docs::RECORD_ERROR, get_error),
    getter(c"leader_epoch", docs::RECORD_LEADER_EPOCH, get_leader_epoch),
    no_getter(),
];

static mut METHODS: [ffi::PyMethodDef; 4] = [
    class_getitem(),
    documented(plain_method(c"detach", detach), docs::RECORD_DETACH),
    plain_method(c"__reduce__", reduce),
    no_method(),
];

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION;
    let mut slots = [
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_doc, docs::RECORD.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_getset, (&raw mut GETTERS).cast()),
        slot(ffi::Py_tp_methods, (&raw mut METHODS).cast()),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_richcompare, compare as *mut c_void),
        slot(ffi::Py_tp_hash, hash as *mut c_void),
        slot(0, ptr::null_mut()),
    ];
    let class = make_type(py, NAME, size_of::<RecordObject>(), flags, &mut slots)?;
    module.add("Record", TYPE.get_or_init(py, || class))?;
    module.add_function(wrap_pyfunction!(make_record, module)?)
}
