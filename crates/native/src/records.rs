//! `Records`: the records of one poll. Holds batches; a `Record` is created when it is read.
//!
//! Station: record. Threads: any; it never changes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ottla_core::fetch::run::Run;
use ottla_core::record::decode::Record;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PySlice, PyType};

use crate::content::Field;
use crate::origin::Origin;
use crate::record::{is_record, new_record, origin_of};
use crate::seam::records::Deserialized;
use crate::walk::{Part, new_iterator};

/// How many partitions `repr` names.
const SHOWN_PARTITIONS: usize = 4;

static MAKE_RECORDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

#[doc = help!(Records)]
#[pyclass(frozen, sequence, module = "ottla._native")]
pub struct Records {
    parts: Arc<[Part]>,
    len: usize,
}

impl Records {
    pub fn of_runs(py: Python<'_>, runs: &[Run]) -> Self {
        let parts = runs.iter().filter(|run| !run.is_empty()).map(|run| Part {
            origin: Arc::new(Origin::of_run(py, run)),
            records: run.records.clone(),
            next_offset: run.next_offset,
        });
        Self::of_parts(parts.collect())
    }

    pub fn of_parts(parts: Vec<Part>) -> Self {
        let len = parts.iter().map(|part| part.records.len()).sum();
        Self {
            parts: parts.into(),
            len,
        }
    }

    pub fn parts(&self) -> &Arc<[Part]> {
        &self.parts
    }

    /// One list of what `make` gives for each record: a new reference, or null with an exception set.
    fn list<'py>(
        &self,
        py: Python<'py>,
        mut make: impl FnMut(&Record<'_>) -> *mut ffi::PyObject,
    ) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: a list of `len` empty places, each of which is filled once. It is released if that fails midway.
        let list = unsafe {
            let list = ffi::PyList_New(self.len as ffi::Py_ssize_t);
            Bound::from_owned_ptr_or_err(py, list)?.cast_into_unchecked::<PyList>()
        };
        let mut place = 0;
        for part in self.parts.iter() {
            for index in part.records.clone() {
                let item = make(&part.origin.record(index)?);
                if item.is_null() {
                    return Err(PyErr::fetch(py));
                }
                // SAFETY: `place` is below `len`; the list takes the reference over.
                unsafe { ffi::PyList_SetItem(list.as_ptr(), place, item) };
                place += 1;
            }
        }
        Ok(list)
    }

    /// The bytes of a field of each record, or the object that a deserializer made of them.
    fn column<'py>(&self, py: Python<'py>, field: Field) -> PyResult<Bound<'py, PyList>> {
        if self
            .parts
            .iter()
            .all(|part| part.origin.objects().is_none())
        {
            return self.list(py, |record| new_bytes(field.of(record)));
        }
        let mut objects = Vec::with_capacity(self.len);
        for (part, index) in self.places() {
            let object = match part.origin.objects() {
                Some(objects) => objects.object(py, field, index)?,
                None => None,
            };
            objects.push(match object {
                Some(object) => object,
                None => field
                    .of(&part.origin.record(index)?)
                    .into_bound_py_any(py)?,
            });
        }
        PyList::new(py, objects)
    }

    /// The part of a record and its index there.
    fn find(&self, mut place: usize) -> Option<(&Part, usize)> {
        for part in self.parts.iter() {
            if place < part.records.len() {
                return Some((part, part.records.start + place));
            }
            place -= part.records.len();
        }
        None
    }

    /// The records of a range of places.
    fn between(&self, wanted: Range<usize>) -> PyResult<Vec<Part>> {
        let mut parts = Vec::new();
        let mut first = 0;
        for part in self.parts.iter() {
            let after = first + part.records.len();
            let (start, end) = (wanted.start.max(first), wanted.end.min(after));
            if start < end {
                let origin = part.records.start;
                let records = origin + start - first..origin + end - first;
                parts.push(part.cut(records)?);
            }
            first = after;
        }
        Ok(parts)
    }
}

impl Part {
    /// Some of this part's records.
    fn cut(&self, records: Range<usize>) -> PyResult<Self> {
        let next_offset = match records.end.checked_sub(1) {
            Some(last) if records.end < self.records.end => self.origin.record(last)?.offset + 1,
            _ => self.next_offset,
        };
        Ok(Self {
            origin: self.origin.clone(),
            records,
            next_offset,
        })
    }
}

fn new_bytes(bytes: Option<&[u8]>) -> *mut ffi::PyObject {
    // SAFETY: the GIL is held by the callers; the bytes are valid for the call.
    unsafe {
        match bytes {
            Some(bytes) => ffi::PyBytes_FromStringAndSize(
                bytes.as_ptr().cast(),
                bytes.len() as ffi::Py_ssize_t,
            ),
            None => ffi::Py_NewRef(ffi::Py_None()),
        }
    }
}

#[pymethods]
impl Records {
    #[new]
    #[pyo3(signature = (records=None, /))]
    fn new(py: Python<'_>, records: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(records) = records else {
            return Ok(Self::of_parts(Vec::new()));
        };
        if let Ok(records) = records.cast::<Self>() {
            return Ok(Self::of_parts(records.get().parts.to_vec()));
        }
        Self::of_iterable(py, records)
    }

    fn __len__(&self) -> usize {
        self.len
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        new_iterator(py, &self.parts)
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = index.cast::<PySlice>() {
            return Ok(Bound::new(py, self.slice(slice)?)?.into_any());
        }
        let Ok(given) = index.extract::<isize>() else {
            let kind = index.get_type().name()?;
            let message = format!("Records are looked up by int or slice, not {kind}");
            return Err(PyTypeError::new_err(message));
        };
        let place = match usize::try_from(given) {
            Ok(place) => Some(place),
            Err(_) => self.len.checked_sub(given.unsigned_abs()),
        };
        let Some((part, index)) = place.and_then(|place| self.find(place)) else {
            return Err(PyIndexError::new_err("Records index out of range"));
        };
        let record = new_record(py, part.origin.clone(), index as u32)?;
        // SAFETY: a new reference.
        Ok(unsafe { Bound::from_owned_ptr(py, record) })
    }

    /// Pickles and deep copies have bytes of their own, record by record.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let maker = MAKE_RECORDS.import(py, "ottla._native", "make_records")?;
        let this = slf.get();
        let records = PyList::new(py, slf.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
        let arguments = (records, this.next_offsets(py)?);
        (maker, arguments).into_bound_py_any(py)
    }

    fn __add__(&self, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        let both = self.parts.iter().chain(other.get().parts.iter());
        Ok(Py::new(py, Self::of_parts(both.cloned().collect()))?.into_any())
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, operation: CompareOp) -> PyResult<Py<PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Self>() else {
            return Ok(py.NotImplemented());
        };
        match operation {
            CompareOp::Eq => self.is_same(py, other.get())?.into_py_any(py),
            CompareOp::Ne => (!self.is_same(py, other.get())?).into_py_any(py),
            _ => Ok(py.NotImplemented()),
        }
    }

    /// Of the number of records, and of the places of the first and the last one.
    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        let place = |found: Option<(&Part, usize)>| match found {
            Some((part, index)) => {
                let origin = &part.origin;
                let offset = origin.record(index)?.offset;
                (origin.topic(py), origin.partition, offset).into_bound_py_any(py)
            }
            None => Ok(py.None().into_bound(py)),
        };
        let first = place(self.find(0))?;
        let last = place(self.find(self.len.saturating_sub(1)))?;
        (self.len, first, last).into_pyobject(py)?.hash()
    }

    #[classmethod]
    #[pyo3(signature = (types, /))]
    fn __class_getitem__(
        class: &Bound<'_, PyType>,
        types: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        // SAFETY: both are living objects.
        let alias = unsafe { ffi::Py_GenericAlias(class.as_ptr(), types.as_ptr()) };
        // SAFETY: a new reference, or null with an exception set.
        unsafe { Bound::from_owned_ptr_or_err(class.py(), alias) }.map(Bound::unbind)
    }

    /// The same records with the objects of deserializers, one per record.
    fn _deserialized(&self, py: Python<'_>, given: Deserialized<'_>) -> Self {
        let mut place = 0;
        let parts = self.parts.iter().map(|part| {
            let (first, origin) = (part.records.start, &part.origin);
            let origin = Arc::new(origin.with_objects(py, &given, place, first));
            place += part.records.len();
            Part {
                origin,
                ..part.clone()
            }
        });
        Self::of_parts(parts.collect())
    }

    /// The records without those at these indices, in ascending order; the positions after them are the same.
    fn _without(&self, py: Python<'_>, places: Vec<usize>) -> PyResult<Self> {
        let mut parts: Vec<Part> = Vec::new();
        let mut dropped = places.into_iter().peekable();
        let mut place = 0;
        for part in self.parts.iter() {
            let mut rest = part.clone();
            while let Some(next) = dropped.next_if(|next| *next < place + part.records.len()) {
                let index = part.records.start + next - place;
                let before = rest.cut(rest.records.start..index)?;
                rest = rest.cut(index + 1..rest.records.end)?;
                let after = part.cut(index..index + 1)?.next_offset;
                if !before.records.is_empty() {
                    parts.push(before);
                }
                if let Some(last) = parts.last_mut()
                    && last.origin.same_partition(py, &part.origin)
                {
                    last.next_offset = after;
                }
            }
            place += part.records.len();
            if !rest.records.is_empty() {
                parts.push(rest);
            }
        }
        Ok(Self::of_parts(parts))
    }

    #[doc = help!(Records.values)]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Field::Value)
    }

    #[doc = help!(Records.keys)]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Field::Key)
    }

    #[doc = help!(Records.offsets)]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: the GIL is held.
        self.list(py, |record| unsafe {
            ffi::PyLong_FromLongLong(record.offset)
        })
    }

    #[doc = help!(Records.timestamps)]
    fn timestamps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: the GIL is held.
        self.list(py, |record| unsafe {
            ffi::PyLong_FromLongLong(record.timestamp_ms)
        })
    }

    #[doc = help!(Records.headers)]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut lists = Vec::with_capacity(self.len);
        for (part, index) in self.places() {
            lists.push(part.origin.header_list(py, index)?);
        }
        PyList::new(py, lists)
    }

    #[doc = help!(Records.by_partition)]
    fn by_partition<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut groups: Vec<Vec<Part>> = Vec::new();
        for part in self.parts.iter() {
            let same = |group: &&mut Vec<Part>| {
                group
                    .first()
                    .is_some_and(|first| first.origin.same_partition(py, &part.origin))
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(part.clone()),
                None => groups.push(vec![part.clone()]),
            }
        }
        let result = PyDict::new(py);
        for group in groups {
            let Some(first) = group.first() else { continue };
            let key = first.origin.topic_partition(py)?;
            result.set_item(key, Self::of_parts(group))?;
        }
        Ok(result)
    }

    #[doc = help!(Records.next_offsets)]
    fn next_offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let result = PyDict::new(py);
        for part in self.parts.iter() {
            let key = part.origin.topic_partition(py)?;
            // A slice may stand in any order; the furthest offset counts.
            let known: Option<(i64, i32)> = match result.get_item(&key)? {
                Some(known) => Some(known.extract()?),
                None => None,
            };
            if known.is_none_or(|(offset, _)| offset < part.next_offset) {
                result.set_item(key, (part.next_offset, part.origin.leader_epoch))?;
            }
        }
        Ok(result)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let mut names: Vec<String> = Vec::new();
        for part in self.parts.iter() {
            let name = format!("{}-{}", part.origin.topic(py), part.origin.partition);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let more = names.len().saturating_sub(SHOWN_PARTITIONS);
        names.truncate(SHOWN_PARTITIONS);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        match self.len {
            0 => "<Records: none>".to_owned(),
            len => format!("<Records: {len} of {}>", names.join(", ")),
        }
    }
}

impl Records {
    /// Every record: its part and its index there.
    fn places(&self) -> impl Iterator<Item = (&Part, usize)> {
        let parts = self.parts.iter();
        parts.flat_map(|part| part.records.clone().map(move |index| (part, index)))
    }

    fn is_same(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        if self.len != other.len {
            return Ok(false);
        }
        for ((left, left_index), (right, right_index)) in self.places().zip(other.places()) {
            let same_object = Arc::ptr_eq(&left.origin, &right.origin) && left_index == right_index;
            if !same_object
                && !left
                    .origin
                    .is_same(py, left_index, &right.origin, right_index)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Neighbours of one batch become one part.
    fn of_iterable(py: Python<'_>, records: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut parts: Vec<Part> = Vec::new();
        for record in records.try_iter()? {
            let record = record?;
            if !is_record(py, &record) {
                let kind = record.get_type().name()?;
                let message = format!("Records are made of Record objects, not {kind}");
                return Err(PyTypeError::new_err(message));
            }
            let (origin, index) = origin_of(record.as_ptr());
            let next_offset = origin.record(index)?.offset + 1;
            match parts.last_mut() {
                Some(last) if Arc::ptr_eq(&last.origin, &origin) && last.records.end == index => {
                    last.records.end += 1;
                    last.next_offset = next_offset;
                }
                _ => parts.push(Part {
                    origin,
                    records: index..index + 1,
                    next_offset,
                }),
            }
        }
        Ok(Self::of_parts(parts))
    }

    fn slice(&self, slice: &Bound<'_, PySlice>) -> PyResult<Self> {
        let wanted = slice.indices(self.len as isize)?;
        let start = wanted.start as usize;
        if wanted.step == 1 {
            return Ok(Self::of_parts(
                self.between(start..start + wanted.slicelength)?,
            ));
        }
        let mut parts = Vec::with_capacity(wanted.slicelength);
        for turn in 0..wanted.slicelength as isize {
            let place = (wanted.start + turn * wanted.step) as usize;
            if let Some((part, index)) = self.find(place) {
                parts.push(part.cut(index..index + 1)?);
            }
        }
        Ok(Self::of_parts(parts))
    }
}

/// Records from a pickle.
///
/// Args:
///     records: Each with bytes of its own.
///     next_offsets: Of `Records.next_offsets`: the position after the last record of each partition.
#[pyfunction]
fn make_records(
    py: Python<'_>,
    records: &Bound<'_, PyAny>,
    next_offsets: HashMap<(String, i32), (i64, i32)>,
) -> PyResult<Records> {
    let mut parts = Records::of_iterable(py, records)?.parts.to_vec();
    for ((topic, partition), (next_offset, _)) in next_offsets {
        let last = parts
            .iter_mut()
            .rfind(|part| part.origin.is_of(py, &topic, partition));
        if let Some(last) = last {
            last.next_offset = last.next_offset.max(next_offset);
        }
    }
    Ok(Records::of_parts(parts))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(make_records, module)?)?;
    module.add_class::<Records>()
}
