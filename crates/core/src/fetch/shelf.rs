//! One partition in the inbox: its batches in order, and the batches that a taker claims.
//!
//! Station: inbox → batch. References: KIP-74.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::DecodeError;
use crate::fetch::places::Place;
use crate::fetch::take::TakeError;
use crate::ids::PartId;
use crate::record::decode::{DecodedBatch, RawBatch};

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Raw(RawBatch),
    Decoded(Arc<DecodedBatch>),
    Corrupt(DecodeError),
}

/// A waiting batch.
#[derive(Debug)]
pub struct Entry {
    pub(crate) content: Content,
    /// The position after it and after the offsets that follow it without a record for the user.
    pub next_offset: i64,
    /// Leader epoch of the batch before `next_offset`; -1: unknown.
    pub epoch: i32,
    pub(crate) bytes: usize,
}

impl Entry {
    pub fn raw(batch: RawBatch) -> Self {
        Self {
            next_offset: batch.header().next_offset(),
            epoch: batch.header().partition_leader_epoch,
            bytes: batch.data().len(),
            content: Content::Raw(batch),
        }
    }

    /// Bytes at `offset` that are not a batch.
    pub fn corrupt(error: DecodeError, offset: i64, bytes: usize) -> Self {
        Self {
            content: Content::Corrupt(error),
            next_offset: offset,
            epoch: -1,
            bytes,
        }
    }

    /// The offsets up to this one have no record for the user; the epoch is that of the batch before it.
    pub(crate) fn skip_to(&mut self, (offset, epoch): (i64, i32)) {
        if offset > self.next_offset {
            self.next_offset = offset;
            self.epoch = epoch;
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.bytes as u64
    }

    pub(crate) fn records(&self, position: i64) -> usize {
        match &self.content {
            Content::Raw(batch) => batch.header().records_count.unsigned_abs() as usize,
            Content::Decoded(batch) => batch.len() - batch.first_index_at(position),
            Content::Corrupt(_) => 0,
        }
    }
}

/// A batch that cannot be read. It is fetched once more at once; after that it is an error, and it is fetched again after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub offset: i64,
    /// Number of times that it was fetched and not readable.
    pub attempts: u32,
}

pub(crate) struct Shelf {
    pub place: Place,
    /// Counts the positions that were set: a claim from before the last one is void.
    pub seek: u64,
    pub position: Option<i64>,
    pub epoch: i32,
    pub entries: VecDeque<Entry>,
    pub bytes: usize,
    /// Records handed over.
    pub handed: u64,
    /// Entries at the front that a taker is decoding.
    pub claimed: usize,
    pub paused: bool,
    /// A taker of it has found nothing.
    pub hungry: bool,
    /// Its hand-over has ended; only its position is still read and set.
    pub withheld: bool,
    /// It is in the rotation.
    pub listed: bool,
    /// The next take of it fails with this.
    pub error: Option<TakeError>,
    /// The batch at the position that could not be read.
    pub fault: Option<Fault>,
}

impl Shelf {
    pub fn new(place: Place) -> Self {
        Self {
            place,
            seek: 0,
            position: None,
            epoch: -1,
            entries: VecDeque::new(),
            bytes: 0,
            handed: 0,
            claimed: 0,
            paused: false,
            hungry: false,
            withheld: false,
            listed: false,
            error: None,
            fault: None,
        }
    }

    /// The batch at the position cannot be read. From its second attempt on, the next take fails with the error.
    pub fn found_fault(&mut self, offset: i64, next_offset: i64, error: DecodeError) -> Fault {
        let known = self.fault.filter(|fault| fault.offset == offset);
        let attempts = known.map_or(0, |fault| fault.attempts) + 1;
        if attempts > 1 {
            self.error.get_or_insert(TakeError::Decode {
                topic: self.place.0.clone(),
                partition: self.place.1,
                offset,
                next_offset,
                error: Box::new(error),
            });
        }
        *self.fault.insert(Fault { offset, attempts })
    }

    pub fn has_records(&self) -> bool {
        !self.paused && self.claimed == 0 && !self.entries.is_empty()
    }

    pub fn is_takeable(&self) -> bool {
        self.error.is_some() || self.has_records()
    }
}

/// Batches that belong to a taker until it settles them.
#[derive(Debug)]
pub struct Job {
    pub(crate) id: PartId,
    pub(crate) seek: u64,
    pub(crate) work: Vec<Content>,
}

impl Job {
    /// Checks and decompresses the batches and locates their records; ends at the first batch that cannot be read. Without the lock.
    pub fn decode(&mut self, max_bytes: usize, check_crc: bool) {
        for content in &mut self.work {
            if let Content::Raw(batch) = content {
                *content = match batch.decode_with(max_bytes, check_crc) {
                    Ok(decoded) => Content::Decoded(Arc::new(decoded)),
                    Err(error) => Content::Corrupt(error),
                };
            }
            if matches!(content, Content::Corrupt(_)) {
                return;
            }
        }
    }

    pub fn id(&self) -> PartId {
        self.id
    }
}
