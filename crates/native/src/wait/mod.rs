//! How callers sleep until the native side is done, and how it wakes them. Native threads never take the GIL for it.
//!
//! A wake is a hint only: each sleeper checks again whether its result is there. Six files:
//! - `park`: a thread sleeps in poll(2) on a descriptor of its own, and checks pending signals four times a second.
//! - `bridge`: one per event loop (`LoopBridge`): native threads put tokens into it and write to one descriptor; the loop's
//!   reader wakes the tasks of all of them at once.
//! - `sleep`: the object that a single task awaits (`Sleep`), in place of an `asyncio.Future`, so that the task runs in the
//!   same turn of the loop and not in the next one.
//! - `waiting`: the awaitable that a call returns (`Waiting`): checks, sleeps, checks again, ends at a deadline. The
//!   subject is a trait (`Awaited`).
//! - `ready`: the awaitable of a call whose result is there already (`Ready`); it never reaches the loop.
//! - `latch`: set once, waited for by threads and loops alike (`Latch`); tickets of the engine rest on it.
//!
//! In addition: `lingers` ends the linger of batches for whose outcome somebody sleeps; `time` converts time-outs.

pub mod bridge;
pub mod latch;
pub mod lingers;
pub mod park;
pub mod ready;
pub mod sleep;
pub mod time;
pub mod waiting;
