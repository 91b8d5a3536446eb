//! A resolved batch until its readers and callbacks have received its deliveries. Touched with the GIL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_core::produce::completion::{Attached, Completion};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::delivery::object;

pub struct Settled {
    pub failed: bool,
    completion: Arc<Completion>,
    /// Number of receivers (readers, callbacks) that have not received the deliveries.
    receivers: AtomicUsize,
}

impl Settled {
    pub fn new(completion: Arc<Completion>, failed: bool, receivers: usize) -> Arc<Self> {
        Arc::new(Self {
            failed,
            completion,
            receivers: AtomicUsize::new(receivers),
        })
    }

    /// For one receiver; `received` has to follow.
    pub fn deliveries(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        let attached = self.completion.attached();
        attached.iter().map(|each| borrowed(py, each)).collect()
    }

    /// The messages that have a callback of their own: (callback, delivery).
    pub fn calls(&self, py: Python<'_>) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        let attached = self.completion.attached();
        let called = attached.iter().filter(|each| each.callback);
        called
            .filter_map(|each| {
                let delivery = borrowed(py, each);
                let callback = object::own_callback(delivery.bind(py))?.unbind();
                Some((callback, delivery))
            })
            .collect()
    }

    /// One receiver has the deliveries. Returns the bytes that leave the budget with the last one.
    pub fn received(&self, py: Python<'_>) -> usize {
        if self.receivers.fetch_sub(1, Ordering::AcqRel) > 1 {
            return 0;
        }
        drop(owned(py, self.completion.take_attached()));
        self.completion.take_charge()
    }

    /// Both in one.
    pub fn take(&self, py: Python<'_>) -> (Vec<Py<PyAny>>, usize) {
        if self.receivers.load(Ordering::Acquire) == 1 {
            let deliveries = owned(py, self.completion.take_attached());
            return (deliveries, self.completion.take_charge());
        }
        (self.deliveries(py), self.received(py))
    }
}

/// A delivery that stays attached.
fn borrowed(py: Python<'_>, attached: &Attached) -> Py<PyAny> {
    // SAFETY: `attach` got owned references, which stay until the last receiver has them.
    unsafe { Bound::from_borrowed_ptr(py, attached.handle as *mut ffi::PyObject).unbind() }
}

/// Deliveries that are attached no more.
pub fn owned(py: Python<'_>, attached: Vec<Attached>) -> Vec<Py<PyAny>> {
    // SAFETY: `attach` got owned references.
    let own = |each: Attached| unsafe {
        Bound::from_owned_ptr(py, each.handle as *mut ffi::PyObject).unbind()
    };
    attached.into_iter().map(own).collect()
}
