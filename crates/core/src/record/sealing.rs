//! A job for any thread: sealing one batch.
//!
//! Station: batch. A flow makes the job under its lock (`produce/drain/sealing.rs`); it runs without it. References: KIP-126; ADR 0014.

use std::sync::Arc;

use crate::bytes::compression::codec::Compression;
use crate::bytes::compression::compressor::Compressor;
use crate::bytes::pool::Pool;
use crate::error::EncodeError;
use crate::record::encode::{BatchBuilder, ProducerFields, SealedBatch, Tools, seal_with};

/// A batch to be sealed. It owns all that sealing needs.
#[derive(Debug)]
pub struct SealJob {
    pub(crate) part: usize,
    pub(crate) id: u64,
    pub(crate) builder: BatchBuilder,
    pub(crate) compression: Compression,
    pub(crate) producer: ProducerFields,
    pub(crate) pool: Arc<Pool>,
}

/// The result of a job, for `on_sealed`.
#[derive(Debug)]
pub struct Sealed {
    pub(crate) part: usize,
    pub(crate) id: u64,
    pub(crate) sealed: Result<SealedBatch, EncodeError>,
}

impl SealJob {
    /// Seals the batch. It takes as long as compression does; call it without any lock.
    pub fn run(self, compressor: &mut Compressor) -> Sealed {
        let tools = Tools {
            compressor,
            pool: &self.pool,
        };
        Sealed {
            part: self.part,
            id: self.id,
            sealed: seal_with(tools, self.builder, self.compression, self.producer),
        }
    }

    /// The result if `run` panicked: the batch fails, and its partition continues.
    pub fn failed(&self) -> Sealed {
        Sealed {
            part: self.part,
            id: self.id,
            sealed: Err(EncodeError::TooLarge { bytes: 0 }),
        }
    }
}
