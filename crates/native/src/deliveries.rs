//! `Deliveries`: the outcomes of one `send_many`, one object for all. The values are not kept: the caller has them.
//!
//! Station: delivery. Threads: any.

use std::sync::Arc;

use ottla_core::produce::completion::{Completion, Place, State};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::blocked_loop::BlockingCall;
use crate::delivery::object::{self, Parts};
use crate::errors;
use crate::flush::{AwaitedPending, Pending};
use crate::wait::time::{duration, seconds};
use crate::wait::waiting::Waiting;

const RESULT: BlockingCall = BlockingCall {
    name: "Deliveries.result()",
    instead: "await deliveries",
};

/// Neighbours in one batch.
#[derive(Clone)]
struct Stretch {
    completion: Arc<Completion>,
    /// Index of its first message in the batch.
    index: u32,
    /// How many messages came before it.
    before: usize,
    count: usize,
    /// None where each message has its own.
    timestamp_ms: Option<i64>,
}

#[doc = help!(Deliveries)]
#[pyclass(frozen, module = "ottla._native")]
pub struct Deliveries {
    stretches: Vec<Stretch>,
    metadata: Vec<(usize, Py<PyAny>)>,
    timestamp_ms: i64,
    len: usize,
}

/// Collects places while messages are accepted.
#[derive(Default)]
pub struct Collected {
    stretches: Vec<Stretch>,
    /// Of the messages that have some: (index, object), in order.
    metadata: Vec<(usize, Py<PyAny>)>,
    len: usize,
}

impl Collected {
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn add(&mut self, completion: &Arc<Completion>, index: u32) {
        self.put(completion, index, None);
    }

    /// A message with a timestamp of its own.
    pub fn add_at(&mut self, completion: &Arc<Completion>, index: u32, timestamp_ms: i64) {
        self.put(completion, index, Some(timestamp_ms));
    }

    /// Of the message that was added last.
    pub fn add_metadata(&mut self, metadata: Py<PyAny>) {
        self.metadata.push((self.len - 1, metadata));
    }

    #[inline]
    fn put(&mut self, completion: &Arc<Completion>, index: u32, timestamp_ms: Option<i64>) {
        self.len += 1;
        if let Some(last) = self.stretches.last_mut()
            && Arc::ptr_eq(&last.completion, completion)
            && last.index + last.count as u32 == index
            && last.timestamp_ms == timestamp_ms
        {
            last.count += 1;
            return;
        }
        self.stretches.push(Stretch {
            completion: completion.clone(),
            index,
            before: self.len - 1,
            count: 1,
            timestamp_ms,
        });
    }

    pub fn finish(&mut self, timestamp_ms: i64) -> Deliveries {
        let collected = std::mem::take(self);
        Deliveries {
            stretches: collected.stretches,
            metadata: collected.metadata,
            timestamp_ms,
            len: collected.len,
        }
    }
}

impl Deliveries {
    fn pending(&self) -> Pending {
        // The last one is checked first: the order does not matter, because all are waited for.
        Pending::of(
            self.stretches
                .iter()
                .map(|stretch| stretch.completion.clone())
                .collect(),
        )
    }

    fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.stretches.iter().flat_map(|stretch| {
            (0..stretch.count).map(|step| stretch.completion.place(stretch.index + step as u32))
        })
    }

    fn first_failure(&self, py: Python<'_>) -> Option<PyErr> {
        // Whole batches that were written are skipped as a whole.
        self.stretches
            .iter()
            .filter(|stretch| !matches!(stretch.completion.state(), State::Written { .. }))
            .flat_map(|stretch| {
                (0..stretch.count).map(|step| stretch.completion.place(stretch.index + step as u32))
            })
            .find_map(|(completion, _)| failure_of(py, &completion))
    }

    fn delivery(
        &self,
        py: Python<'_>,
        at: usize,
        (completion, index): Place,
        timestamp_ms: Option<i64>,
    ) -> PyResult<Py<PyAny>> {
        let null = std::ptr::null_mut();
        let found = self.metadata.binary_search_by_key(&at, |(index, _)| *index);
        let parts = Parts {
            timestamp_ms: timestamp_ms.unwrap_or(self.timestamp_ms),
            key: null,
            value: null,
            headers: null,
            metadata: found.map_or(null, |found| self.metadata[found].1.as_ptr()),
            on_delivery: null,
        };
        // SAFETY: the GIL is held; the new object gets its place before anybody sees it.
        unsafe {
            let made = object::new_delivery(py, &parts)?;
            object::place(made, completion, index);
            Ok(Bound::from_owned_ptr(py, made.cast::<ffi::PyObject>()).unbind())
        }
    }
}

fn failure_of(py: Python<'_>, completion: &Arc<Completion>) -> Option<PyErr> {
    let State::Failed(failure) = completion.state() else {
        return None;
    };
    Some(errors::failed(py, completion, &failure))
}

fn timed_out(py: Python<'_>) -> PyErr {
    errors::made(py, "outcomes_pending", ())
}

impl Deliveries {
    fn at(&self, py: Python<'_>, index: isize) -> PyResult<Py<PyAny>> {
        let at = if index < 0 {
            index + self.len as isize
        } else {
            index
        };
        let found = usize::try_from(at).ok().filter(|at| *at < self.len);
        let Some(at) = found else {
            return Err(PyIndexError::new_err(format!(
                "index {index} of {} deliveries",
                self.len
            )));
        };
        let stretch = &self.stretches[self
            .stretches
            .partition_point(|stretch| stretch.before <= at)
            - 1];
        let index = stretch.index + (at - stretch.before) as u32;
        let place = (stretch.completion.clone(), index);
        self.delivery(py, at, place, stretch.timestamp_ms)
    }
}

#[pymethods]
impl Deliveries {
    fn __len__(&self) -> usize {
        self.len
    }

    #[doc = help!(Deliveries.done)]
    fn done(&self) -> bool {
        self.stretches
            .iter()
            .all(|stretch| stretch.completion.is_settled())
    }

    #[doc = help!(Deliveries.result)]
    #[pyo3(signature = (timeout=None))]
    fn result<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = slf.py();
        let timeout = timeout.map_or(Ok(None), seconds)?;
        if timeout.is_none_or(|seconds| seconds > 0.0) && !slf.get().done() {
            RESULT.warn_in_event_loop(py)?;
        }
        if !slf.get().pending().wait(py, duration(timeout)?)? {
            return Err(timed_out(py));
        }
        match slf.get().first_failure(py) {
            Some(error) => Err(error),
            None => Ok(slf.clone()),
        }
    }

    fn __await__(slf: &Bound<'_, Self>) -> Waiting {
        let many = slf.clone().unbind();
        let awaited = AwaitedPending::new(
            slf.get().pending(),
            Box::new(move |py| match many.get().first_failure(py) {
                Some(error) => Err(error),
                None => Ok(many.clone_ref(py).into_any()),
            }),
            Box::new(|py| Err(timed_out(py))),
        );
        Waiting::new(Box::new(awaited), None)
    }

    #[doc = help!(Deliveries.offsets)]
    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let offsets = self
            .places()
            .map(|(completion, index)| completion.state().offset(index));
        PyList::new(py, offsets.collect::<Vec<_>>())
    }

    #[doc = help!(Deliveries.failed)]
    #[getter]
    fn failed(&self, py: Python<'_>) -> Vec<(usize, Py<PyAny>)> {
        let mut failed = Vec::new();
        for stretch in &self.stretches {
            if matches!(stretch.completion.state(), State::Written { .. }) {
                continue;
            }
            for step in 0..stretch.count {
                let (completion, _) = stretch.completion.place(stretch.index + step as u32);
                if let Some(error) = failure_of(py, &completion) {
                    failed.push((stretch.before + step, error.into_value(py).into_any()));
                }
            }
        }
        failed
    }

    /// One by its place, or a list of them by a slice.
    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let Ok(slice) = index.cast::<PySlice>() else {
            return self.at(py, index.extract()?);
        };
        let places = slice.indices(self.len as isize)?;
        let sliced = PyList::empty(py);
        let mut at = places.start;
        for _ in 0..places.slicelength {
            sliced.append(self.at(py, at)?)?;
            at += places.step;
        }
        Ok(sliced.into_any().unbind())
    }

    /// The metadata may lead back here, but only through an object that can be changed, where the collector breaks the cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for (_, metadata) in &self.metadata {
            visit.call(metadata)?;
        }
        Ok(())
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a living sequence; the iterator keeps it alive.
        unsafe { Bound::from_owned_ptr_or_err(slf.py(), ffi::PySeqIter_New(slf.as_ptr())) }
    }

    /// Refused: only this process receives the outcomes.
    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "Deliveries cannot be copied or pickled: only this process receives their outcomes. Their offsets can, and the \
             errors in failed",
        ))
    }

    fn __repr__(&self) -> String {
        let state = if self.done() { "done" } else { "pending" };
        format!("<Deliveries of {} messages, {state}>", self.len)
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Deliveries>()
}
