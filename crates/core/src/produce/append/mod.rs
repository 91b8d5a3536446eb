//! The accumulator: messages become records of open batches, one per partition, in wire format.
//!
//! Stations: message → partition → accumulator. `accumulator` has the state and `append`; each other file has one of its parts.

pub mod accumulator;
pub mod active;
pub mod attention;
pub mod batching;
pub mod charges;
pub mod choice;
pub mod complete;
pub mod linger;
pub mod memory;
pub mod open;
pub mod open_batches;
pub mod ratio;
pub mod reports;
pub mod resolve;
pub mod seal_queue;
pub mod space;
pub mod space_queue;
pub mod stored;
pub mod topic;
pub mod topic_wait;
pub mod topics;
pub mod waiting;
