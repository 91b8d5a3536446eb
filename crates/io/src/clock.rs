//! The process's monotonic clock in microseconds: what flows and callers compare deadlines by.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ottla_core::flow::Micros;

static START: OnceLock<Instant> = OnceLock::new();

/// Microseconds since the first call in this process, plus one: 0 is never now.
pub fn now() -> Micros {
    micros(START.get_or_init(Instant::now).elapsed()) + 1
}

/// A duration in microseconds; what does not fit is forever.
pub fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX / 4)
}
