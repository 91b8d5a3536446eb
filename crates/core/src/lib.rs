//! The byte path of Ottla without I/O: no socket, clock, thread or log in here.
#![forbid(unsafe_code)]

pub mod flow;
