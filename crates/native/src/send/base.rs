//! `SendingBase`: the producer that both public ones inherit, without its ways to send.
//!
//! Threads: any, with the GIL.

use std::sync::OnceLock;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::produce_flow::ProduceFlow;
use crate::send::many::{Options, SendMany, World};
use crate::send::sender::SenderOwner;
use crate::send::source::Source;

/// The common part of both producers: their `Sender`, and the methods that never wait.
#[pyclass(subclass, frozen, module = "ottla._native")]
#[derive(Default)]
pub struct SendingBase {
    /// Empty until the `__init__` of the producer has bound it.
    sender: OnceLock<SenderOwner>,
    /// The user's own partitioner, if there is one. It is kept here, where the collector sees it, and not in the sender.
    partitioner: OnceLock<Py<PyAny>>,
    /// The interceptors, if there are any, kept here for the same reason.
    interceptors: OnceLock<Py<PyAny>>,
}

impl SendingBase {
    pub fn sender(&self) -> PyResult<&SenderOwner> {
        self.sender.get().ok_or_else(|| {
            PyRuntimeError::new_err("the producer was not set up: its __init__ has not run")
        })
    }

    pub fn partitioner(&self) -> Option<&Py<PyAny>> {
        self.partitioner.get()
    }

    pub fn interceptors(&self) -> Option<&Py<PyAny>> {
        self.interceptors.get()
    }

    /// The sender; raises `ForkedClient` in the child of a fork.
    pub fn own_sender(&self, py: Python<'_>) -> PyResult<&SenderOwner> {
        let sender = self.sender()?;
        sender.check(py)?;
        Ok(sender)
    }

    /// A call of `send_many` that has not sent anything yet.
    pub fn many(
        &self,
        py: Python<'_>,
        source: Source,
        on_delivery: Option<Py<PyAny>>,
        world: World,
    ) -> PyResult<SendMany> {
        let own = |object: Option<&Py<PyAny>>| object.map(|object| object.clone_ref(py));
        let options = Options {
            sender: self.own_sender(py)?.new_use(),
            partitioner: own(self.partitioner()),
            interceptors: own(self.interceptors()),
            on_delivery,
            world,
        };
        Ok(SendMany::new(source, options))
    }
}

#[pymethods]
impl SendingBase {
    #[pyo3(signature = (flow, partitioner=None, interceptors=None))]
    fn _bind(
        &self,
        flow: &ProduceFlow,
        partitioner: Option<Py<PyAny>>,
        interceptors: Option<Py<PyAny>>,
    ) {
        if let Some(function) = partitioner {
            self.partitioner.get_or_init(|| function);
        }
        if let Some(chain) = interceptors {
            self.interceptors.get_or_init(|| chain);
        }
        let sender = self.sender.get_or_init(|| flow.new_sender());
        flow.sender.get_or_init(|| sender.downgrade());
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.partitioner.get())?;
        visit.call(self.interceptors.get())
    }

    fn _stop_accepting(&self, py: Python<'_>) -> PyResult<()> {
        self.own_sender(py)?
            .shared
            .with(|flow| flow.acc.stop_accepting());
        Ok(())
    }

    fn _end_outcomes(&self, py: Python<'_>) -> PyResult<()> {
        self.own_sender(py)?.outcomes.readers.end();
        Ok(())
    }

    fn _counts(&self, py: Python<'_>) -> PyResult<(u64, u64, u64)> {
        let counts = self.own_sender(py)?.shared.with(|flow| flow.acc.counts);
        Ok((counts.delivered, counts.failed, counts.unknown))
    }
}
