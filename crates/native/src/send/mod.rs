//! Sending: from the arguments of a call to a record in the accumulator.
//!
//! One message takes these forms: the arguments of the call (`message::Given`, borrowed), read (`message::Prepared`), then a
//! record. Where it cannot be appended at once (no free buffer space, or a partitioner function that needs the topic first) a
//! thread waits within the call, and an event loop stores it (`message::Stored`) in an awaitable. `ways.rs` has the ways to send
//! one message, `many.rs` sends several in one call, `intercept.rs` passes each message through the interceptors.

pub mod and_wait;
pub mod base;
pub mod field;
pub mod function_partitioner;
pub mod intercept;
pub mod many;
pub mod message;
pub mod never_awaited;
pub mod plain;
pub mod producer;
pub mod queue_place;
pub mod queued;
pub mod sender;
pub mod source;
pub mod topic_queue;
pub mod unawaited;
pub mod ways;
