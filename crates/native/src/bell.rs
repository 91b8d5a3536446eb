//! Bells and wakers for a flow that no thread drives: tests and the bare-call benchmark pump it by hand.
//!
//! A driven flow gets its bell from `Handle::bell` and its waker from `Handle::register_flow`.

use ottla_core::flow::{Bell, WakeIo};

/// Wakes nobody.
#[derive(Debug, Default)]
pub struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

impl WakeIo for Silent {
    fn wake_io(&self) {}
}
