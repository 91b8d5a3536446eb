//! `ottla.seam.settings`: the options of a flow, read once when it is made.

use std::collections::HashMap;

use ottla_core::bytes::compression::codec::{Codec, Compression};
use ottla_core::fetch;
use ottla_core::ids::Micros;
use ottla_core::partitioning::partitioner::Partitioner;
use ottla_core::produce::settings::{Batching, Settings};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use super::failures::unknown;
use crate::outcomes::Wanted;

#[derive(FromPyObject)]
pub struct BatchSettings {
    codec: String,
    level: Option<i32>,
    batch_bytes: usize,
    linger: f64,
}

impl BatchSettings {
    fn core(self) -> PyResult<Batching> {
        let codec = Codec::from_name(&self.codec);
        let codec = codec.ok_or_else(|| unknown("codec", &self.codec))?;
        Ok(Batching {
            compression: Compression {
                codec,
                level: self.level,
            },
            batch_bytes: self.batch_bytes,
            linger: micros("linger", self.linger)?,
        })
    }
}

#[derive(FromPyObject)]
pub struct ProduceSettings {
    pub client_id: String,
    acks: i16,
    idempotent: bool,
    transactional_id: Option<String>,
    gapless: bool,
    batches: BatchSettings,
    topics: HashMap<String, BatchSettings>,
    request_bytes: usize,
    message_bytes: usize,
    buffer_bytes: usize,
    in_flight: usize,
    request_timeout: f64,
    delivery_timeout: f64,
    pub max_block: f64,
    partitioner: String,
    adaptive: bool,
    availability_timeout: f64,
    return_successes: bool,
    return_errors: bool,
    report_outcomes: bool,
}

impl ProduceSettings {
    pub fn wanted(&self) -> Wanted {
        Wanted {
            written: self.return_successes,
            failed: self.return_errors,
            reported: self.report_outcomes,
        }
    }

    pub fn core(self) -> PyResult<Settings> {
        // Every message has a delivery then, however its batch ends; it takes memory until it was read.
        let keeps_outcomes = self.wanted().any();
        let partitioner = Partitioner::from_name(&self.partitioner);
        let batches = self.batches.core()?;
        let topics = self.topics.into_iter();
        Ok(Settings {
            client_id: self.client_id,
            acks: self.acks,
            idempotent: self.idempotent,
            gapless: self.gapless,
            transactional_id: self.transactional_id,
            codec: batches.compression.codec,
            level: batches.compression.level,
            linger: batches.linger,
            batch_bytes: batches.batch_bytes,
            request_bytes: self.request_bytes,
            message_bytes: self.message_bytes,
            buffer_bytes: self.buffer_bytes,
            in_flight: self.in_flight,
            request_timeout: micros("request_timeout", self.request_timeout)?,
            delivery_timeout: micros("delivery_timeout", self.delivery_timeout)?,
            partitioner: partitioner.ok_or_else(|| unknown("partitioner", &self.partitioner))?,
            adaptive: self.adaptive,
            availability_timeout: micros("availability_timeout", self.availability_timeout)?,
            keeps_outcomes,
            topics: topics
                .map(|(topic, batches)| Ok((topic, batches.core()?)))
                .collect::<PyResult<_>>()?,
        })
    }
}

#[derive(FromPyObject)]
pub struct FetchSettings {
    pub client_id: String,
    rack: String,
    read_committed: bool,
    min_bytes: i32,
    max_bytes: i32,
    partition_bytes: i32,
    max_wait: f64,
    request_timeout: f64,
    buffer_bytes: usize,
    decompressed_bytes: usize,
    check_crcs: bool,
}

impl FetchSettings {
    pub fn core(self) -> PyResult<fetch::flow::Settings> {
        Ok(fetch::flow::Settings {
            client_id: self.client_id,
            rack: self.rack,
            isolation: i8::from(self.read_committed),
            min_bytes: self.min_bytes,
            max_bytes: self.max_bytes,
            partition_bytes: self.partition_bytes,
            max_wait: micros("max_wait", self.max_wait)?,
            request_timeout: micros("request_timeout", self.request_timeout)?,
            buffer_bytes: self.buffer_bytes,
            decompressed_bytes: self.decompressed_bytes,
            check_crcs: self.check_crcs,
        })
    }
}

/// Seconds, as flows count them.
fn micros(name: &str, seconds: f64) -> PyResult<Micros> {
    if !seconds.is_finite() || seconds < 0.0 {
        let message = format!("{name} must be 0 or more seconds, not {seconds}");
        return Err(PyOverflowError::new_err(message));
    }
    Ok((seconds * 1e6) as Micros)
}
