//! Deliveries of batches whose outcome nobody receives: the I/O thread has no GIL to drop them.

use ottla_core::produce::completion::{Attached, Completion};
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::outcomes::settled::owned;

#[derive(Default)]
pub struct Garbage(Mutex<(Vec<Attached>, usize)>);

impl Garbage {
    pub fn add(&self, completion: &Completion) {
        let (attached, bytes) = (completion.take_attached(), completion.take_charge());
        let mut all = self.0.lock();
        all.0.extend(attached);
        all.1 += bytes;
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().0.is_empty()
    }

    /// Returns the bytes that leave the budget.
    pub fn drop_all(&self, py: Python<'_>) -> usize {
        // The lock is released first: a finalizer that runs here may release the GIL to a thread that needs it, or need it itself.
        let (attached, bytes) = std::mem::take(&mut *self.0.lock());
        drop(owned(py, attached));
        bytes
    }
}
