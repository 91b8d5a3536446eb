//! A batch that is sealed by whichever thread has time: it owns all that this needs.
//!
//! Station: batch. Made by a flow under its lock (`produce/drain/sealing.rs`), run without it. References: KIP-126; ADR 0014.

use std::sync::Arc;

use crate::bytes::compression::codec::Compression;
use crate::bytes::compression::compressor::Compressor;
use crate::bytes::pool::Pool;
use crate::error::EncodeError;
use crate::record::encode::{BatchBuilder, ProducerFields, SealedBatch, Tools, seal_with};

/// A batch to be sealed: owns all that it needs.
#[derive(Debug)]
pub struct SealJob {
    pub(crate) part: usize,
    pub(crate) id: u64,
    pub(crate) builder: BatchBuilder,
    pub(crate) compression: Compression,
    pub(crate) producer: ProducerFields,
    pub(crate) pool: Arc<Pool>,
}

/// What became of it, for `on_sealed`.
#[derive(Debug)]
pub struct Sealed {
    pub(crate) part: usize,
    pub(crate) id: u64,
    pub(crate) sealed: Result<SealedBatch, EncodeError>,
}

impl SealJob {
    /// Takes as long as compression takes; to be called without any lock.
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

    /// What to bring back where `run` met a bug: the batch fails, and its partition goes on.
    pub fn failed(&self) -> Sealed {
        Sealed {
            part: self.part,
            id: self.id,
            sealed: Err(EncodeError::TooLarge { bytes: 0 }),
        }
    }
}
