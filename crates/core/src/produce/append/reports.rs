//! Events and resolved completions, collected under the producer's lock and reported after it is released.
//!
//! Station: delivery.

use std::sync::Arc;

use crate::produce::completion::Completion;
use crate::produce::event::Event;

#[derive(Default)]
pub(in crate::produce) struct Reports {
    /// For the engine, in order.
    pub events: Vec<Event>,
    /// Resolved completions for the listener, in order.
    pub resolved: Vec<Arc<Completion>>,
    /// A listener wants the events of single batches and of the buffer.
    pub watched: bool,
}
