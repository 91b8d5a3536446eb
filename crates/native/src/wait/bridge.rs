//! A bridge into an event loop: native threads wake its tasks by writing to one descriptor, and never take the GIL.
//!
//! Owner: the thread of the event loop.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_core::produce::completion::Completion;
use ottla_core::seam::Wake;
use ottla_io::Notify;
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use crate::fork;
use crate::wait::lingers::ExpectedBatches;
use crate::wait::sleep::{self, Sleep};

/// The part of a bridge that native threads hold: no Python objects.
struct LoopWake {
    woken: Mutex<Vec<u64>>,
    notify: Notify,
}

impl Wake for LoopWake {
    fn wake(&self, token: u64) {
        self.woken.lock().push(token);
        self.notify.notify();
    }

    fn wake_all(&self, tokens: &mut dyn Iterator<Item = u64>) {
        self.woken.lock().extend(tokens);
        self.notify.notify();
    }
}

/// A sleeper in an event loop.
enum Sleeper {
    /// For a caller that needs a future.
    Future(Py<PyAny>),
    Task(Py<Sleep>),
}

fn resolve(future: &Bound<'_, PyAny>) -> PyResult<()> {
    if !future.call_method0("done")?.is_truthy()? {
        future.call_method1("set_result", (future.py().None(),))?;
    }
    Ok(())
}

/// Wakes what sleeps in one asyncio loop from native threads without the GIL. One per event loop.
#[pyclass(frozen, weakref, module = "ottla._native")]
pub struct LoopBridge {
    /// A weak reference: the loop keeps the bridge.
    event_loop: Py<PyWeakrefReference>,
    wake: Arc<LoopWake>,
    /// By token. Touched with the GIL only, and never while Python code runs.
    sleepers: Mutex<HashMap<u64, Sleeper>>,
    next_token: AtomicU64,
    expected: ExpectedBatches,
    generation: u32,
}

#[pymethods]
impl LoopBridge {
    #[new]
    fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
            wake: Arc::new(LoopWake {
                woken: Mutex::new(Vec::new()),
                notify: Notify::new()?,
            }),
            sleepers: Mutex::default(),
            next_token: AtomicU64::new(1),
            expected: ExpectedBatches::default(),
            generation: fork::generation(),
        })
    }

    fn fileno(&self) -> i32 {
        self.wake.notify.fd()
    }

    fn dispatch(&self, py: Python<'_>) -> PyResult<()> {
        self.wake.notify.clear();
        let woken = std::mem::take(&mut *self.wake.woken.lock());
        let mut futures = Vec::new();
        let mut tasks = Vec::with_capacity(woken.len());
        {
            let mut sleepers = self.sleepers.lock();
            for token in woken {
                match sleepers.remove(&token) {
                    Some(Sleeper::Future(future)) => futures.push(future),
                    Some(Sleeper::Task(sleep)) => tasks.push(sleep),
                    None => {}
                }
            }
        }
        // Nothing wakes the others later: all are woken, also if one of them raises.
        let mut first = Ok(());
        for future in futures {
            first = first.and(resolve(future.bind(py)));
        }
        first.and(sleep::wake_all(py, tasks))
    }

    /// A turn of the loop has ended: the batches that its tasks wait for stop lingering.
    fn turn_ended(&self) {
        // The child of a fork in the middle of a turn has no business with the parent's producers and their locks.
        if self.generation == fork::generation() {
            self.expected.end_lingers();
        }
    }

    fn __len__(&self) -> usize {
        self.sleepers.lock().len()
    }

    /// Loop, its reader, this bridge, a sleeper and its loop again are a cycle for as long as somebody sleeps.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        if let Some(sleepers) = self.sleepers.try_lock() {
            for sleeper in sleepers.values() {
                match sleeper {
                    Sleeper::Future(future) => visit.call(future)?,
                    Sleeper::Task(sleep) => visit.call(sleep)?,
                }
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let sleepers = std::mem::take(&mut *self.sleepers.lock());
        drop(sleepers);
    }
}

impl LoopBridge {
    /// A future of the running loop, with the `Wake` and the token that resolve it (to None, in the loop's thread).
    ///
    /// To be called in the loop's thread, on the bridge of that loop. Register the waker, then check the result
    /// once more: if it is ready by then, `forget` the future. A wake with a token that is not known does nothing.
    pub fn future<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Arc<dyn Wake>, u64)> {
        let future = running_loop(py)?.call_method0("create_future")?;
        let token = self.add(Sleeper::Future(future.clone().unbind()));
        Ok((future, self.wake.clone(), token))
    }

    /// The same for the task that runs: the object that it has to yield to sleep.
    pub fn sleep<'py>(
        &self,
        py: Python<'py>,
        event_loop: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, Sleep>, Arc<dyn Wake>, u64)> {
        let sleep = Bound::new(py, Sleep::new(event_loop.clone().unbind()))?;
        let token = self.add(Sleeper::Task(sleep.clone().unbind()));
        Ok((sleep, self.wake.clone(), token))
    }

    /// The task that runs sleeps until the completion resolves.
    pub fn end_linger(slf: &Bound<'_, Self>, completion: &Arc<Completion>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.get().event_loop.bind(py).upgrade();
        let Some(event_loop) = event_loop else {
            return Ok(());
        };
        let at_end_of_turn = || Ok(slf.getattr(pyo3::intern!(py, "turn_ended"))?.unbind());
        slf.get()
            .expected
            .add(&event_loop, completion, at_end_of_turn)
    }

    fn add(&self, sleeper: Sleeper) -> u64 {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        self.sleepers.lock().insert(token, sleeper);
        token
    }

    /// Drops a sleeper that nobody waits for any more (cancelled, timed out, resolved otherwise).
    pub fn forget(&self, token: u64) {
        let sleeper = self.sleepers.lock().remove(&token);
        drop(sleeper);
    }

    fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.generation == fork::generation()
            && self
                .event_loop
                .bind(event_loop.py())
                .upgrade()
                .is_some_and(|own| own.is(event_loop))
    }
}

thread_local! {
    /// The bridge that this thread asked for last; weak, so that it keeps nothing alive.
    static LAST: RefCell<Option<Py<PyWeakrefReference>>> = const { RefCell::new(None) };
}

static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static BRIDGES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The loop that runs in this thread; RuntimeError when there is none.
pub fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    GET_RUNNING_LOOP
        .import(py, "asyncio", "get_running_loop")?
        .call0()
}

/// The bridge of the loop that runs in this thread.
pub fn bridge_for_running_loop(py: Python<'_>) -> PyResult<Bound<'_, LoopBridge>> {
    bridge_in(&running_loop(py)?)
}

/// The bridge of this loop, which runs in this thread.
pub fn bridge_in<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, LoopBridge>> {
    let py = event_loop.py();
    let last = LAST.with(|last| {
        let last = last.borrow();
        let bridge = last.as_ref()?.bind(py).upgrade_as::<LoopBridge>().ok()??;
        bridge.get().is_of(event_loop).then_some(bridge)
    });
    if let Some(bridge) = last {
        return Ok(bridge);
    }
    let bridge = bridge_for_loop(py, event_loop.clone())?;
    let weak = PyWeakrefReference::new(bridge.as_any())?.unbind();
    let before = LAST.with(|last| last.borrow_mut().replace(weak));
    drop(before);
    Ok(bridge)
}

/// The bridge of this loop, made and registered on first use, in the loop's own thread.
///
/// The loop keeps the bridge alive as one of its readers, until it is closed. The map is weak on both sides: a bridge
/// holds futures that hold the loop, so a strong value would keep its own weak key alive.
pub fn bridge_for_loop<'py>(
    py: Python<'py>,
    event_loop: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, LoopBridge>> {
    let bridges = BRIDGES
        .get_or_try_init(py, || {
            let made = py
                .import("weakref")?
                .getattr("WeakKeyDictionary")?
                .call0()?;
            Ok::<_, PyErr>(made.unbind())
        })?
        .bind(py);
    if let Some(bridge) = known_bridge(bridges, &event_loop)? {
        return Ok(bridge);
    }
    if event_loop.call_method0("is_closed")?.is_truthy()? {
        return Err(PyRuntimeError::new_err("Event loop is closed"));
    }
    let bridge = Bound::new(py, LoopBridge::new(&event_loop)?)?;
    event_loop.call_method1(
        "add_reader",
        (bridge.get().fileno(), bridge.getattr("dispatch")?),
    )?;
    bridges.set_item(&event_loop, PyWeakrefReference::new(bridge.as_any())?)?;
    Ok(bridge)
}

fn known_bridge<'py>(
    bridges: &Bound<'py, PyAny>,
    event_loop: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, LoopBridge>>> {
    let reference = bridges.call_method1("get", (event_loop,))?;
    if reference.is_none() {
        return Ok(None);
    }
    let bridge = reference.call0()?.cast_into::<LoopBridge>().ok();
    Ok(bridge.filter(|bridge| bridge.get().is_of(event_loop)))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LoopBridge>()
}
