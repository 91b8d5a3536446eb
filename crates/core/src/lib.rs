//! The byte path of Ottla without I/O: no socket, clock, thread or log in here.
#![forbid(unsafe_code)]

pub mod accumulator;
pub mod checksum;
pub mod completion;
pub mod compression;
pub mod error;
pub mod flow;
pub mod murmur2;
pub mod pool;
pub mod produce_flow;
pub mod produce_shared;
pub mod produce_wire;
pub mod record;
pub mod run;
pub mod varint;
