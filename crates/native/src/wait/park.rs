//! A thread that sleeps until the native side is done.
//!
//! Owner: the thread that sleeps.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_core::seam::Wake;
use ottla_io::Notify;
use pyo3::prelude::*;

use crate::fork;
use crate::own_thread;

/// The longest sleep without a check of pending signals. A signal ends poll(2) at once; but one that another thread took,
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
/// in a thread) and a token (0). The holder wakes it after making `ready` true. `ready` runs with the GIL held and must
/// not wait. Signal handlers run within the wait; an exception of one (KeyboardInterrupt) ends it with that error. On the engine
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
