//! The open batches of all partitions together.
//!
//! Station: accumulator; under the producer's lock.

#[derive(Debug)]
pub(super) struct OpenBatches {
    /// Number of open batches.
    pub count: usize,
    /// Whether any was opened since all were closed.
    pub opened: bool,
    /// Number of the next batch of the producer, higher than all earlier ones.
    pub next_id: u64,
}

impl Default for OpenBatches {
    fn default() -> Self {
        Self {
            count: 0,
            opened: false,
            next_id: 1,
        }
    }
}
