//! The byte path of Ottla without I/O: no socket, clock, thread or log in here.
#![forbid(unsafe_code)]

pub mod checksum;
pub mod compression;
pub mod error;
pub mod flow;
pub mod murmur2;
pub mod record;
pub mod varint;
