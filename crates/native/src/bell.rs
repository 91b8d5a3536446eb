//! Bells and wakers that wake nobody.
//!
//! For a flow that no thread drives: tests and the bare-call benchmark pump it by hand. A driven flow gets its bell from
//! `Handle::bell` and its waker from `Handle::register_flow`.

use ottla_core::seam::{Bell, Wake};

/// The bell of a flow that no engine listens to.
#[derive(Debug, Default)]
pub struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

/// A sleeper before it sleeps.
#[derive(Debug, Default)]
pub struct Nobody;

impl Wake for Nobody {
    fn wake(&self, _token: u64) {}
}
