//! How callers sleep until the native side is done: a parked thread, or futures of an event loop.
//!
//! Native threads wake them through file descriptors and never take the GIL. What wakes is only a hint: a sleeper looks
//! again at what it waits for. Owner: the thread that waits; the event loop's thread for a `LoopBridge`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ottla_core::completion::Completion;
use ottla_core::flow::Wake;
use ottla_io::Notify;
use parking_lot::Mutex;
use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyFloat, PyInt, PyWeakrefMethods, PyWeakrefReference};

use crate::errors;
use crate::fork;
use crate::hurry::Hurried;
use crate::own_thread;
use crate::sleep::{self, Sleep};

/// The longest sleep without a look at pending signals. A signal ends poll(2) at once; but one that another thread took,
/// or that came between Python's look and poll, leaves only a flag behind.
const SIGNAL_SLICE: Duration = Duration::from_millis(250);

/// The sleeping place of one thread.
struct Parker {
    notify: Notify,
}

impl Wake for Parker {
    fn wake(&self, _token: u64) {
        self.notify.notify();
    }
}

thread_local! {
    /// With the fork generation it was made in: the child of a fork must not share the parent's descriptor.
    static PARKER: RefCell<Option<(u32, Arc<Parker>)>> = const { RefCell::new(None) };
}

fn parker_of_this_thread() -> PyResult<Arc<Parker>> {
    PARKER.with(|slot| {
        let mut slot = slot.borrow_mut();
        if let Some((generation, parker)) = &*slot
            && *generation == fork::generation()
        {
            return Ok(parker.clone());
        }
        let parker = Arc::new(Parker {
            notify: Notify::new()?,
        });
        *slot = Some((fork::generation(), parker.clone()));
        Ok(parker)
    })
}

/// Waits without the GIL until `ready`, or until `timeout` has passed (None: no limit); returns whether it became ready.
///
/// `register` runs at most once and only if it was not ready: it hands out the thread's `Wake` (the same Arc at every call
/// in a thread) and a token (0). Whoever keeps it wakes after making `ready` true. `ready` runs with the GIL held and must
/// not wait. Signal handlers run within the wait; what one raises (KeyboardInterrupt) ends it with that error. On the engine
/// thread, which nothing would wake, it raises instead of waiting.
pub fn park(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut ready: impl FnMut() -> bool,
    register: impl FnOnce(Arc<dyn Wake>, u64),
) -> PyResult<bool> {
    if ready() {
        return Ok(true);
    }
    if timeout == Some(Duration::ZERO) {
        return Ok(false);
    }
    own_thread::check_may_wait()?;
    // A timeout too far for the clock is no limit.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let parker = parker_of_this_thread()?;
    parker.notify.clear();
    register(parker.clone(), 0);
    loop {
        if ready() {
            return Ok(true);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let slice = left.map_or(SIGNAL_SLICE, |left| left.min(SIGNAL_SLICE));
        py.detach(|| wait_readable(&parker.notify, slice))?;
        parker.notify.clear();
        py.check_signals()?;
    }
}

static SECONDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A timeout as the user gives it, which `ottla.arguments` reads where it is not a plain number; None: no limit.
pub fn seconds(given: &Bound<'_, PyAny>) -> PyResult<Option<f64>> {
    let plain = given.is_exact_instance_of::<PyFloat>() || given.is_exact_instance_of::<PyInt>();
    if plain {
        match given.extract::<f64>() {
            Ok(seconds) if !seconds.is_nan() => return Ok(Some(seconds)),
            Ok(_) => {}
            // An int that no float can be.
            Err(raised) => errors::let_go(given.py(), raised),
        }
    }
    SECONDS
        .import(given.py(), "ottla.arguments", "seconds")?
        .call1((given,))?
        .extract()
}

/// Seconds as Python gives them. None, infinity and what exceeds the clock mean: no limit; below 0 is 0.
pub fn duration(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    match seconds {
        Some(seconds) if seconds.is_nan() => Err(PyValueError::new_err(
            "timeout must be a number of seconds, not nan",
        )),
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
        None => Ok(None),
    }
}

/// Sleeps until the descriptor is readable, a signal came or the time ran out. Which of them does not matter.
fn wait_readable(notify: &Notify, timeout: Duration) -> std::io::Result<()> {
    let mut poll = libc::pollfd {
        fd: notify.fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // Rounded up: rounding down would spin through the last millisecond.
    let millis = i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    // SAFETY: one pollfd, valid for the call.
    if unsafe { libc::poll(&mut poll, 1, millis) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// What native threads hold of a bridge: nothing of Python.
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

/// What sleeps in an event loop.
enum Sleeper {
    /// For whoever wants a future.
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
    hurried: Hurried,
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
            hurried: Hurried::default(),
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
        // Nobody comes back for the others: whatever one of them raises, all are woken.
        let mut first = Ok(());
        for future in futures {
            first = first.and(resolve(future.bind(py)));
        }
        first.and(sleep::wake_all(py, tasks))
    }

    /// A turn of the loop is over: what its tasks wait for is not to linger.
    fn turn_ended(&self) {
        // The child of a fork in the middle of a turn has no business with the parent's producers and their locks.
        if self.generation == fork::generation() {
            self.hurried.tell();
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
    /// To be called in the loop's thread, on the bridge of that loop. Register the waker, then look once more at what is
    /// waited for: if it is ready by then, `forget` the future. A wake with a token that is not known does nothing.
    pub fn future<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Arc<dyn Wake>, u64)> {
        let future = running_loop(py)?.call_method0("create_future")?;
        let token = self.add(Sleeper::Future(future.clone().unbind()));
        Ok((future, self.wake.clone(), token))
    }

    /// The same for the task that runs: what it has to yield to sleep.
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
    pub fn hurry(slf: &Bound<'_, Self>, completion: &Arc<Completion>) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.get().event_loop.bind(py).upgrade();
        let Some(event_loop) = event_loop else {
            return Ok(());
        };
        let at_end_of_turn = || Ok(slf.getattr(pyo3::intern!(py, "turn_ended"))?.unbind());
        slf.get()
            .hurried
            .add(&event_loop, completion, at_end_of_turn)
    }

    fn add(&self, sleeper: Sleeper) -> u64 {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        self.sleepers.lock().insert(token, sleeper);
        token
    }

    /// Lets go of a sleeper that nobody waits for any more (cancelled, timed out, resolved otherwise).
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
#[pyfunction]
#[pyo3(signature = (r#loop))]
fn bridge_for_loop<'py>(
    py: Python<'py>,
    r#loop: Bound<'py, PyAny>,
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
    if let Some(bridge) = known_bridge(bridges, &r#loop)? {
        return Ok(bridge);
    }
    if r#loop.call_method0("is_closed")?.is_truthy()? {
        return Err(PyRuntimeError::new_err("Event loop is closed"));
    }
    let bridge = Bound::new(py, LoopBridge::new(&r#loop)?)?;
    r#loop.call_method1(
        "add_reader",
        (bridge.get().fileno(), bridge.getattr("dispatch")?),
    )?;
    bridges.set_item(&r#loop, PyWeakrefReference::new(bridge.as_any())?)?;
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
    module.add_class::<LoopBridge>()?;
    module.add_function(wrap_pyfunction!(bridge_for_loop, module)?)
}
