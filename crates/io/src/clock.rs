//! The process's monotonic clock in microseconds, by which flows and callers compare deadlines. Tests let it jump ahead.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ottla_core::ids::Micros;

static START: OnceLock<Instant> = OnceLock::new();
static SKIPPED: AtomicU64 = AtomicU64::new(0);

/// Microseconds since the first call in this process, plus one: 0 is never now.
pub fn now() -> Micros {
    micros(START.get_or_init(Instant::now).elapsed()) + 1 + SKIPPED.load(Ordering::Relaxed)
}

/// Returns a duration in microseconds; one that does not fit becomes `Micros::MAX`.
pub fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX / 4)
}

/// Jumps ahead. The caller has to wake threads that sleep until a time.
pub(crate) fn skip(time: Duration) {
    SKIPPED.fetch_add(micros(time), Ordering::Relaxed);
}
