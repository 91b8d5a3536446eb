//! A place in the queue for free buffer space.
//!
//! First come, first served: only the head of the queue may append. Station: accumulator. Threads: any.

use std::sync::Arc;

use ottla_core::produce::shared::ProduceShared;
use ottla_core::seam::Wake;

use crate::fork;

/// Dropping it gives the place up.
pub struct QueuePlace {
    shared: Arc<ProduceShared>,
    pub ticket: u64,
    /// Bytes that the append needs.
    bytes: usize,
    /// Of the fork: the queue of a parent process is not to be touched.
    generation: u32,
}

impl QueuePlace {
    pub fn join(
        shared: &Arc<ProduceShared>,
        bytes: usize,
        wake: Arc<dyn Wake>,
        token: u64,
    ) -> Self {
        let ticket = shared.with(|flow| flow.acc.wait_for_space(bytes, wake, token));
        Self {
            shared: shared.clone(),
            ticket,
            bytes,
            generation: fork::generation(),
        }
    }

    /// Whether the append may be tried now. A place without its turn is woken when it has it.
    pub fn has_turn(&self) -> bool {
        self.shared
            .with(|flow| flow.acc.has_turn(self.ticket, self.bytes))
    }

    /// Another sleeper in the same place.
    pub fn wait_again(&self, wake: Arc<dyn Wake>, token: u64) {
        self.shared
            .with(|flow| flow.acc.wait_again(self.ticket, wake, token));
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        self.shared
            .with(|flow| flow.acc.leave_space_queue(self.ticket));
    }
}
