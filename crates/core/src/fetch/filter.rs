//! Selects the batches of an answer that the user may see, by batch headers alone.
//!
//! Stations: fetch response → inbox. Runs on the I/O thread. Batches before the position, control batches and, under
//! read_committed, batches of aborted transactions never enter the inbox; the position moves past them. Only the tiny
//! control batches are read. References: KIP-98; Java: `CompletedFetch.nextFetchedRecord`.

use std::collections::HashSet;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::fetch::shelf::Entry;
use crate::fetch::wire::AbortedTransaction;
use crate::record::decode::{RawBatch, iter_batches};

/// Version and type.
const CONTROL_KEY_LEN: usize = 4;
const ABORT: [u8; 2] = [0, 0];
/// Maximum size of a decoded control batch: more than any of them needs.
const CONTROL_BATCH_CAP: usize = 1 << 16;

/// The result for one answer.
#[derive(Debug, Default)]
pub struct Sifted {
    /// Offsets before this one that precede the first entry have no record for the user; with the leader epoch of its batch.
    pub lead: Option<(i64, i32)>,
    pub entries: Vec<Entry>,
    /// The next offset to fetch.
    pub next_offset: i64,
    /// Leader epoch of the last batch before `next_offset`; None: the answer has no batch for it.
    pub epoch: Option<i32>,
    pub batches: u64,
    /// Nothing more can be fetched from here: the last entry has the error.
    pub stuck: bool,
    /// The answer had bytes, and their first batch was cut.
    pub cut: bool,
}

/// Sifts the records of an answer to a fetch from `offset`. `aborted` is `None` under read_uncommitted.
pub fn sift(records: &Bytes, offset: i64, aborted: Option<Vec<AbortedTransaction>>) -> Sifted {
    let mut out = Sifted {
        next_offset: offset,
        ..Sifted::default()
    };
    let mut transactions = aborted.map(Aborted::new);
    for batch in iter_batches(records) {
        match batch {
            Ok(batch) => {
                out.batches += 1;
                out.put(batch, transactions.as_mut());
            }
            Err(error) => out.stop(error),
        }
        if out.stuck {
            break;
        }
    }
    if out.batches == 0 {
        out.cut = !records.is_empty() && !out.stuck;
    } else if out.next_offset <= offset && !out.stuck {
        out.stop(DecodeError::corrupt(
            "offset of fetched batches",
            format!("{offset} or more"),
            "less",
        ));
    }
    out
}

impl Sifted {
    fn put(&mut self, batch: RawBatch, transactions: Option<&mut Aborted>) {
        let header = *batch.header();
        let hidden = match transactions.map(|aborted| aborted.hides(&batch)) {
            Some(Err(error)) => return self.stop(error),
            Some(Ok(hidden)) => hidden,
            None => false,
        };
        if header.next_offset() <= self.next_offset {
            return;
        }
        self.next_offset = header.next_offset();
        self.epoch = Some(header.partition_leader_epoch);
        if !hidden && !header.is_control() {
            self.entries.push(Entry::raw(batch));
            return;
        }
        let skipped = (self.next_offset, header.partition_leader_epoch);
        match self.entries.last_mut() {
            Some(last) => last.skip_to(skipped),
            None => self.lead = Some(skipped),
        }
    }

    fn stop(&mut self, error: DecodeError) {
        self.stuck = true;
        self.entries
            .push(Entry::corrupt(error, self.next_offset, 0));
    }
}

/// The producers whose transactions are aborted at the current offset.
struct Aborted {
    /// Aborted transactions that begin later, by first offset, the next one last.
    ahead: Vec<AbortedTransaction>,
    open: HashSet<i64>,
}

impl Aborted {
    fn new(mut ahead: Vec<AbortedTransaction>) -> Self {
        ahead.sort_unstable_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self {
            ahead,
            open: HashSet::new(),
        }
    }

    /// Whether the batch belongs to an aborted transaction. Batches have to be passed in order.
    fn hides(&mut self, batch: &RawBatch) -> Result<bool, DecodeError> {
        let header = batch.header();
        while let Some(next) = self.ahead.last()
            && next.first_offset < header.next_offset()
        {
            self.open.insert(next.producer_id);
            self.ahead.pop();
        }
        if header.is_control() {
            if ends_in_abort(batch)? {
                self.open.remove(&header.producer_id);
            }
            return Ok(false);
        }
        Ok(header.is_transactional() && self.open.contains(&header.producer_id))
    }
}

fn ends_in_abort(batch: &RawBatch) -> Result<bool, DecodeError> {
    let decoded = batch.decode(CONTROL_BATCH_CAP)?;
    let key = decoded.record(0).and_then(|record| record.key);
    Ok(key.is_some_and(|key| key.len() >= CONTROL_KEY_LEN && key[2..4] == ABORT))
}
