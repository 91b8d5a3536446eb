//! An awaitable over something native: checks, sleeps in the running loop, and checks again.
//!
//! A result that is ready at the first check costs no sleep. It has the methods of a coroutine, so that `asyncio.create_task` takes
//! it. Owner: the event loop in which it is awaited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::produce::completion::Completion;
use ottla_core::seam::Wake;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::fork;
use crate::send::intercept::cancelled;
use crate::send::never_awaited::is_finalizing;
use crate::wait::bridge::{LoopBridge, bridge_in, running_loop};

/// The native side of an await.
pub trait Awaited: Send + Sync {
    /// The result, or None where it is not there yet. Runs with the GIL and must not wait.
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;
    /// Asks to be woken when a check may give more. A wake too many does no harm.
    fn register(&mut self, wake: Arc<dyn Wake>, token: u64);
    /// Is not to be woken any more: the wait has ended, or begins again.
    fn unregister(&mut self, _wake: &Arc<dyn Wake>, _token: u64) {}
    /// If it waits for a message's outcome: the completion it was registered with.
    fn sleeps_on(&self) -> Option<&Arc<Completion>> {
        None
    }
    /// The result when the time is up.
    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>>;
    /// Number of the step it waits for: a registration belongs to one step.
    fn stage(&self) -> u32 {
        0
    }
    /// When the time is up, where that moves while it is waited for.
    fn deadline(&self) -> Option<Instant> {
        None
    }
    /// For `repr`: the operation, as a noun phrase.
    fn describe(&self, _py: Python<'_>) -> String {
        "an operation of the client".to_owned()
    }
    /// It has ended without a result: by this error of its own, or by a cancellation.
    fn given_up(&mut self, _py: Python<'_>, _error: &PyErr) {}
    /// Its awaitable was dropped before its end, in a finalizer. `awaited`: an await had begun. `until`: the end of its time.
    fn dropped(self: Box<Self>, _py: Python<'_>, _awaited: bool, _until: Option<Instant>) {}
}

/// A step of an awaitable.
enum Step<'py> {
    Sleeps(Bound<'py, PyAny>),
    Ended(Py<PyAny>),
}

#[pyclass(module = "ottla._native")]
pub struct Waiting {
    /// None once it has ended.
    awaited: Option<Box<dyn Awaited>>,
    deadline: Option<Instant>,
    /// The bridge as a weak reference: the loop keeps it, and it keeps the task that sleeps, which keeps this.
    sleeping: Option<(Py<PyWeakrefReference>, Arc<dyn Wake>, u64)>,
    timer: Option<Py<PyAny>>,
    /// Somebody has begun to await it, or has given it up.
    begun: bool,
    /// Of the fork: what a parent process waited for is not to be touched.
    generation: u32,
}

impl Waiting {
    pub fn new(awaited: Box<dyn Awaited>, timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self {
            awaited: Some(awaited),
            deadline,
            sleeping: None,
            timer: None,
            begun: false,
            generation: fork::generation(),
        }
    }

    /// One step: what to sleep on, or the end.
    fn step<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.begun = true;
        self.rest(py);
        let Some(mut awaited) = self.awaited.take() else {
            return Err(PyRuntimeError::new_err(
                "cannot reuse an already awaited call",
            ));
        };
        // A look takes locks, which in the child of a fork may be held by threads that are not there.
        fork::check(py, self.generation, fork::SOMEBODY)?;
        let stepped = self.advance(py, awaited.as_mut());
        self.awaited = Some(awaited);
        match stepped {
            Ok(Step::Sleeps(sleep)) => Ok(sleep),
            Ok(Step::Ended(result)) => {
                self.end(py);
                done(result)
            }
            Err(error) => {
                self.give_up(py, &error);
                Err(error)
            }
        }
    }

    fn advance<'py>(&mut self, py: Python<'py>, awaited: &mut dyn Awaited) -> PyResult<Step<'py>> {
        if let Some(result) = awaited.check(py)? {
            return Ok(Step::Ended(result));
        }
        let deadline = awaited.deadline().or(self.deadline);
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return awaited.time_is_up(py).map(Step::Ended);
        }
        let (sleep, wake, token) = self.sleep(py, awaited, deadline)?;
        // It may have become ready between the look and the registration, or begun to wait for something else.
        let looked = loop {
            let stage = awaited.stage();
            match awaited.check(py) {
                Ok(None) if awaited.stage() != stage => awaited.register(wake.clone(), token),
                looked => break looked,
            }
        };
        if let Some(completion) = awaited.sleeps_on() {
            self.end_linger(py, completion)?;
        }
        Ok(looked?.map_or(Step::Sleeps(sleep), Step::Ended))
    }

    fn sleep<'py>(
        &mut self,
        py: Python<'py>,
        awaited: &mut dyn Awaited,
        deadline: Option<Instant>,
    ) -> PyResult<(Bound<'py, PyAny>, Arc<dyn Wake>, u64)> {
        let event_loop = running_loop(py)?;
        let bridge = bridge_in(&event_loop)?;
        let (sleep, wake, token) = bridge.get().sleep(py, &event_loop)?;
        let weak = PyWeakrefReference::new(bridge.as_any())?.unbind();
        self.sleeping = Some((weak, wake.clone(), token));
        awaited.register(wake.clone(), token);
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            let wake = wake.clone();
            let timer = Py::new(py, Timer { wake, token })?;
            let handle = event_loop.call_method1("call_later", (left.as_secs_f64(), timer))?;
            self.timer = Some(handle.unbind());
        }
        Ok((sleep.into_any(), wake, token))
    }

    /// The batch it sleeps for stops lingering.
    fn end_linger(&self, py: Python<'_>, completion: &Arc<Completion>) -> PyResult<()> {
        if completion.is_waited_for() {
            return Ok(());
        }
        let Some((bridge, _, _)) = &self.sleeping else {
            return Ok(());
        };
        match bridge.bind(py).upgrade_as::<LoopBridge>()? {
            Some(bridge) => LoopBridge::end_linger(&bridge, completion),
            None => Ok(()),
        }
    }

    /// The awaitable is dropped before its end.
    fn dropped(&mut self, py: Python<'_>) {
        // It may be dropped while an exception is raised, which the code that runs here must not see.
        let raised = PyErr::take(py);
        let begun = self.begun;
        let is_here = self.generation == fork::generation();
        if let Some(awaited) = self.end(py)
            && is_here
            && !is_finalizing(py)
        {
            let until = awaited.deadline().or(self.deadline);
            awaited.dropped(py, begun, until);
        }
        if let Some(raised) = raised {
            raised.restore(py);
        }
    }

    /// Ends it, with a result or without.
    fn end(&mut self, py: Python<'_>) -> Option<Box<dyn Awaited>> {
        self.begun = true;
        self.rest(py);
        self.awaited.take()
    }

    /// It has ended without a result.
    fn give_up(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some(mut awaited) = self.end(py)
            && self.generation == fork::generation()
        {
            awaited.given_up(py, error);
        }
    }

    /// Sleeps no more.
    fn rest(&mut self, py: Python<'_>) {
        if let Some((bridge, wake, token)) = self.sleeping.take() {
            if let Some(awaited) = &mut self.awaited
                && self.generation == fork::generation()
            {
                awaited.unregister(&wake, token);
            }
            // A bridge that is gone has no sleepers.
            if let Ok(Some(bridge)) = bridge.bind(py).upgrade_as::<LoopBridge>() {
                bridge.get().forget(token);
            }
        }
        if let Some(timer) = self.timer.take() {
            // A timer that has fired already cancels to nothing, and there is nobody to report anything else to.
            let _ = timer.call_method0(py, "cancel");
        }
    }
}

/// `repr` of an awaitable that has ended.
pub const ENDED: &str = "<Awaitable, already awaited>";

/// Names that the awaited object has: a caller that looks them up in the awaitable has forgotten to await.
const BEHIND_THE_AWAIT: [&str; 16] = [
    "add_done_callback",
    "done",
    "error",
    "exception",
    "failed",
    "headers",
    "key",
    "metadata",
    "offset",
    "offsets",
    "outcome",
    "partition",
    "result",
    "timestamp_ms",
    "topic",
    "value",
];

/// The exception for an attribute that is only there after the await; None for any other.
pub fn not_awaited(name: &Bound<'_, PyAny>) -> Option<PyErr> {
    let name: String = name.extract().ok()?;
    BEHIND_THE_AWAIT.contains(&name.as_str()).then(|| {
        PyAttributeError::new_err(format!(
            "no {name:?} before the await: what an asynchronous send returns is awaited first, \
             as in `delivery = await producer.send(...)`"
        ))
    })
}

fn done<T>(result: Py<PyAny>) -> PyResult<T> {
    // In a tuple: raising with a bare tuple would unpack it into the exception's arguments.
    Err(PyStopIteration::new_err((result,)))
}

#[pymethods]
impl Waiting {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    fn send<'py>(
        &mut self,
        py: Python<'py>,
        _value: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.step(py)
    }

    /// A cancelled wait gives up its native side.
    #[pyo3(signature = (kind, value=None, trace=None))]
    fn throw(
        &mut self,
        py: Python<'_>,
        kind: Bound<'_, PyAny>,
        value: Option<Bound<'_, PyAny>>,
        trace: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        // The trace is part of the exception wherever anybody still gives three arguments.
        drop(trace);
        let error = PyErr::from_value(value.unwrap_or(kind));
        self.give_up(py, &error);
        Err(error)
    }

    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        self.begun = true;
        if self.awaited.is_some() {
            let error = cancelled(py, "the send was closed while it waited")?;
            self.give_up(py, &error);
        }
        Ok(())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let Some(awaited) = &self.awaited else {
            return ENDED.to_owned();
        };
        let state = if self.begun {
            "being awaited"
        } else {
            "not awaited yet"
        };
        format!("<Awaitable, {state}: {}>", awaited.describe(py))
    }

    fn __getattr__(&self, name: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        Err(not_awaited(name).unwrap_or_else(|| {
            PyAttributeError::new_err(format!("the awaitable has no attribute '{name}'"))
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // While the interpreter ends there is no attaching any more, and no loop that could be woken.
        Python::try_attach(|py| {
            self.dropped(py);
        });
    }
}

/// Wakes a sleeper when its time is up.
#[pyclass(frozen, module = "ottla._native")]
struct Timer {
    wake: Arc<dyn Wake>,
    token: u64,
}

#[pymethods]
impl Timer {
    fn __call__(&self) {
        self.wake.wake(self.token);
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Waiting>()
}
