//! The byte path of Ottla without I/O: no socket, clock, thread or log in here.
#![forbid(unsafe_code)]

pub mod accumulator;
pub mod checksum;
pub mod completion;
pub mod compression;
pub mod error;
pub mod error_names;
pub mod fetch_answer;
pub mod fetch_filter;
pub mod fetch_flow;
pub mod fetch_plan;
pub mod fetch_session;
pub mod fetch_shared;
pub mod fetch_wire;
pub mod fields;
pub mod flow;
pub mod inbox;
pub mod key_hash;
pub mod murmur2;
pub mod partitioner;
pub mod places;
pub mod pool;
pub mod produce_flow;
pub mod produce_shared;
pub mod produce_stats;
pub mod produce_wire;
pub mod ratio;
pub mod record;
pub mod run;
pub mod shelf;
pub mod topic_wait;
pub mod trouble;
pub mod varint;
pub mod waiters;
