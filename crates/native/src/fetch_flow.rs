//! `FetchFlow`: what the engine and the cursors talk to, and where callers take records. Tables in, events out; see
//! `_native.pyi`.
//!
//! Stations: inbox, cursor. Threads: tables are the engine's; `take`, `pause`, `positions` and the like are anybody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_core::fetch::shared::FetchShared;
use ottla_core::seam::Bell;
use ottla_io::{FlowId, Handle, clock};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::bell::Silent;
use crate::fetch_take::{Taker, Wish, given};
use crate::fork;
use crate::io::Io;
use crate::records::Records;
use crate::seam::fetching;
use crate::seam::settings::FetchSettings;
use crate::wait::time::duration;
use crate::wait::waiting::Waiting;

#[pyclass(frozen, module = "ottla._native")]
pub struct FetchFlow {
    inbox: Arc<FetchShared>,
    io: Option<(Handle, FlowId)>,
    /// Once set, the I/O thread has the command to forget the flow.
    left: AtomicBool,
    /// The client, for people.
    who: String,
    generation: u32,
}

impl FetchFlow {
    /// The inbox, unless a fork has made it the parent's: a thread that is not here may have held its lock.
    pub fn inbox(&self, py: Python<'_>) -> PyResult<&Arc<FetchShared>> {
        fork::check(py, self.generation, &self.who)?;
        Ok(&self.inbox)
    }

    fn wish(&self, py: Python<'_>, limit: i64, only: Option<(String, i32)>) -> PyResult<Wish> {
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let Some(limit) = limit else {
            return Err(PyValueError::new_err("limit must be 1 or more records"));
        };
        Ok(Wish {
            inbox: self.inbox(py)?.clone(),
            limit,
            only,
        })
    }

    /// Lets the I/O thread forget the flow. Its connections stay the engine's.
    fn leave(&self) {
        if let Some((handle, id)) = &self.io
            && !self.left.swap(true, Ordering::Relaxed)
        {
            handle.unregister_flow(*id);
        }
    }
}

#[pymethods]
impl FetchFlow {
    #[new]
    fn new(py: Python<'_>, io: Option<Py<Io>>, settings: FetchSettings) -> PyResult<Self> {
        let who = format!("consumer {}", settings.client_id);
        let settings = settings.core()?;
        let handle = io.map(|io| io.get().handle(py).cloned()).transpose()?;
        let bell: Arc<dyn Bell> = match &handle {
            Some(handle) => handle.bell(),
            None => Arc::new(Silent),
        };
        let inbox = Arc::new(FetchShared::new(settings, bell));
        let io = handle.map(|handle| {
            let (id, waker) = handle.register_flow(inbox.clone());
            inbox.set_waker(waker);
            (handle, id)
        });
        Ok(Self {
            inbox,
            io,
            left: AtomicBool::new(false),
            who,
            generation: fork::generation(),
        })
    }

    fn attach(
        &self,
        py: Python<'_>,
        conn: u64,
        api_version: i16,
        node: i32,
        address: &str,
    ) -> PyResult<()> {
        self.inbox(py)?.attach(conn, api_version, node, address);
        if let Some((handle, id)) = &self.io {
            handle.attach(*id, conn);
        }
        Ok(())
    }

    fn assign(
        &self,
        py: Python<'_>,
        topic: &str,
        topic_id: [u8; 16],
        partition: i32,
    ) -> PyResult<()> {
        self.inbox(py)?.assign(topic, topic_id, partition);
        Ok(())
    }

    fn unassign(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.unassign(topic, partition);
        Ok(())
    }

    fn withhold(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.withhold(topic, partition);
        Ok(())
    }

    fn position(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: i32,
        offset: i64,
        leader_epoch: i32,
    ) -> PyResult<()> {
        self.inbox(py)?
            .position(topic, partition, offset, leader_epoch);
        Ok(())
    }

    fn route(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: i32,
        conn: u64,
        current_leader_epoch: i32,
    ) -> PyResult<()> {
        self.inbox(py)?
            .route(topic, partition, conn, current_leader_epoch);
        Ok(())
    }

    fn hold(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.hold(topic, partition);
        Ok(())
    }

    fn pause(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.pause(topic, partition);
        Ok(())
    }

    fn resume(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.resume(topic, partition);
        Ok(())
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let drained = PyList::empty(py);
        for event in self.inbox(py)?.take_events() {
            drained.append(fetching::event(py, event)?)?;
        }
        Ok(drained)
    }

    fn fail(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: i32,
        error: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.inbox(py)?.fail(topic, partition, given(error)?);
        Ok(())
    }

    fn withdraw_error(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.withdraw_error(topic, partition);
        Ok(())
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.inbox(py)?.close();
        self.leave();
        Ok(())
    }

    #[pyo3(signature = (limit, timeout, only=None))]
    fn take(
        &self,
        py: Python<'_>,
        limit: i64,
        timeout: Option<f64>,
        only: Option<(String, i32)>,
    ) -> PyResult<Option<Records>> {
        self.wish(py, limit, only)?.wait(py, duration(timeout)?)
    }

    #[pyo3(signature = (limit, timeout, only=None))]
    fn take_async(
        &self,
        py: Python<'_>,
        limit: i64,
        timeout: Option<f64>,
        only: Option<(String, i32)>,
    ) -> PyResult<Waiting> {
        let wish = self.wish(py, limit, only)?;
        let awaited = Box::new(Taker::new(wish));
        Ok(Waiting::new(awaited, duration(timeout)?))
    }

    fn wakeup(&self, py: Python<'_>) -> PyResult<()> {
        self.inbox(py)?.wakeup();
        Ok(())
    }

    fn end(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<()> {
        self.inbox(py)?.end(topic, partition);
        Ok(())
    }

    fn positions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let positions = PyDict::new(py);
        for (topic, partition, offset, epoch) in self.inbox(py)?.positions() {
            positions.set_item((&*topic, partition), (offset, epoch))?;
        }
        Ok(positions)
    }

    fn partition_state<'py>(
        &self,
        py: Python<'py>,
        topic: &str,
        partition: i32,
    ) -> PyResult<Bound<'py, PyAny>> {
        fetching::partition_state(py, self.inbox(py)?.partition_state(topic, partition))
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        fetching::statistics(py, &self.inbox(py)?.picture(clock::now()))
    }
}

impl Drop for FetchFlow {
    fn drop(&mut self) {
        // In the child of a fork the I/O thread is not there, and its queue's lock may be held forever.
        if self.generation == fork::generation() {
            self.leave();
        }
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<FetchFlow>()
}
