//! `Sleep`: what a task of an event loop sleeps on, as much of a future as `asyncio.Task` asks for.
//!
//! A future that is resolved puts each of its callbacks into the loop's queue, for its next turn. Thousands of tasks that wake
//! together pay for that more than for all else, so a `Sleep` runs them where it is woken, which is a turn of the loop
//! already (`LoopBridge.dispatch`). It belongs to one waiter, so that cancelling one cancels no other.
//! Owner: the event loop. Reference: asyncio's `Future` and `Task.__step`.
//!
//! Invariant: only the loop's own reader calls `LoopBridge.dispatch`, so no task runs at that moment. Each waiter has a `Sleep` of its
//! own, since a cancelled task cancels the object that it sleeps on.

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

type Callback = (Py<PyAny>, Option<Py<PyAny>>);

pub enum End {
    Woken,
    /// With the message that it was cancelled with.
    Cancelled(Option<Py<PyAny>>),
}

#[pyclass(module = "ottla._native")]
pub struct Sleep {
    event_loop: Py<PyAny>,
    #[pyo3(get, set)]
    _asyncio_future_blocking: bool,
    callbacks: Vec<Callback>,
    end: Option<End>,
}

impl Sleep {
    /// In a task, which hands it to its loop.
    pub fn new(event_loop: Py<PyAny>) -> Self {
        Self {
            event_loop,
            _asyncio_future_blocking: true,
            callbacks: Vec::new(),
            end: None,
        }
    }

    /// Ends it once; the first caller receives the callbacks to call.
    fn finish(&mut self, end: End) -> Vec<Callback> {
        if self.end.is_none() {
            self.end = Some(end);
        }
        std::mem::take(&mut self.callbacks)
    }

    /// Runs the sleeping task here and now: only where no task of the loop runs.
    pub fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let callbacks = slf.borrow_mut().finish(End::Woken);
        let mut first = Ok(());
        for (callback, context) in callbacks {
            let called = match context {
                Some(context) => {
                    context.call_method1(py, pyo3::intern!(py, "run"), (callback, slf))
                }
                None => callback.call1(py, (slf,)),
            };
            first = first.and(called.map(drop));
        }
        first
    }

    /// The same in the loop's next turn.
    pub fn wake_soon(slf: &Bound<'_, Self>, end: End) -> PyResult<()> {
        let callbacks = slf.borrow_mut().finish(end);
        let event_loop = slf.borrow().event_loop.clone_ref(slf.py());
        let mut first = Ok(());
        for callback in callbacks {
            first = first.and(call_soon(slf, event_loop.bind(slf.py()), callback));
        }
        first
    }
}

/// Wakes all of them, also if one of them raises.
pub fn wake_all(py: Python<'_>, sleeping: Vec<Py<Sleep>>) -> PyResult<()> {
    let mut sleeping = sleeping.into_iter();
    for one in sleeping.by_ref() {
        if let Err(error) = Sleep::wake(one.bind(py)) {
            // It ends the whole loop (KeyboardInterrupt): the others are there for the next run of the loop.
            let mut first = Err(error);
            for other in sleeping {
                first = first.and(Sleep::wake_soon(other.bind(py), End::Woken));
            }
            return first;
        }
    }
    Ok(())
}

fn call_soon(
    slf: &Bound<'_, Sleep>,
    event_loop: &Bound<'_, PyAny>,
    (callback, context): Callback,
) -> PyResult<()> {
    let keywords = PyDict::new(slf.py());
    if let Some(context) = context {
        keywords.set_item("context", context)?;
    }
    event_loop.call_method("call_soon", (callback, slf), Some(&keywords))?;
    Ok(())
}

#[pymethods]
impl Sleep {
    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[pyo3(signature = (callback, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        if slf.borrow().end.is_none() {
            slf.borrow_mut().callbacks.push((callback, context));
            return Ok(());
        }
        let event_loop = slf.borrow().event_loop.clone_ref(slf.py());
        call_soon(slf, event_loop.bind(slf.py()), (callback, context))
    }

    fn remove_done_callback(slf: &Bound<'_, Self>, callback: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = slf.py();
        let copy = |(its, _): &Callback| its.clone_ref(py);
        let all: Vec<_> = slf.borrow().callbacks.iter().map(copy).collect();
        // A comparison may raise, or come back here: none is taken out before all are compared.
        let mut equal = Vec::new();
        for its in all {
            if its.bind(py).eq(callback)? {
                equal.push(its);
            }
        }
        let is_equal = |(its, _): &Callback| equal.iter().any(|one| one.is(its));
        let (removed, kept): (Vec<_>, Vec<_>) = {
            let callbacks = &mut slf.borrow_mut().callbacks;
            std::mem::take(callbacks).into_iter().partition(is_equal)
        };
        slf.borrow_mut().callbacks = kept;
        Ok(removed.len())
    }

    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        if slf.borrow().end.is_some() {
            return Ok(false);
        }
        Self::wake_soon(slf, End::Cancelled(msg))?;
        Ok(true)
    }

    fn cancelled(&self) -> bool {
        matches!(self.end, Some(End::Cancelled(_)))
    }

    fn done(&self) -> bool {
        self.end.is_some()
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        match &self.end {
            Some(End::Woken) => Ok(()),
            Some(End::Cancelled(None)) => Err(CancelledError::new_err(())),
            Some(End::Cancelled(Some(message))) => {
                Err(CancelledError::new_err((message.clone_ref(py),)))
            }
            None => Err(pyo3::exceptions::asyncio::InvalidStateError::new_err(
                "Result is not set.",
            )),
        }
    }

    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.result(py).map(|()| None)
    }

    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.event_loop)?;
        for (callback, context) in &self.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        if let Some(End::Cancelled(message)) = &self.end {
            visit.call(message)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        self.callbacks.clear();
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Sleep>()
}
