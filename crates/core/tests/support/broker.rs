//! A partition leader's log under the rules of idempotence: expected sequence, epoch, the last five batches (KIP-98).
//!
//! In Kafka's order: errors of the records come before those of sequences, so that a batch may be refused that is in the log
//! already. A producer that the log does not know may begin with any sequence.

use std::collections::VecDeque;

use super::frames::{Reply, SentBatch};

const REMEMBERED: usize = 5;

/// A fault of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    NotLeader,
    /// Appended, but the answer is that the replicas were too slow.
    TimedOut,
    TooLarge,
    /// One record is refused.
    InvalidRecord,
    Invalid,
    /// A duplicate is answered by the error code instead of its offset.
    DuplicateCode,
}

struct Appended {
    sequence: i32,
    count: usize,
    offset: usize,
}

#[derive(Default)]
pub struct Log {
    pub values: Vec<String>,
    epoch: i16,
    next_sequence: i32,
    recent: VecDeque<Appended>,
}

impl Log {
    pub fn append(&mut self, batch: &SentBatch, fault: Fault) -> Reply {
        match fault {
            Fault::NotLeader => return Reply::error(6),
            Fault::TooLarge if batch.values.len() > 1 => return Reply::error(10),
            Fault::InvalidRecord if batch.values.len() > 1 => {
                let mut reply = Reply::error(87);
                reply.record_errors = vec![(batch.values.len() as i32 / 2, "bad".into())];
                return reply;
            }
            Fault::Invalid => return Reply::error(87),
            _ => {}
        }
        if batch.epoch < self.epoch {
            return Reply::error(47);
        }
        if let Some(offset) = self.find(batch.epoch, batch.base_sequence, batch.values.len()) {
            return match fault {
                Fault::DuplicateCode => Reply::error(46),
                _ => Reply::ok(offset as i64),
            };
        }
        let expected = if batch.epoch > self.epoch {
            0
        } else {
            self.next_sequence
        };
        let known = !self.recent.is_empty();
        if known && batch.base_sequence != expected {
            return Reply::error(45);
        }
        let offset = self.values.len();
        self.write(batch, offset);
        match fault {
            Fault::TimedOut => Reply::error(7),
            _ => Reply::ok(offset as i64),
        }
    }

    fn write(&mut self, batch: &SentBatch, offset: usize) {
        if batch.epoch > self.epoch {
            self.epoch = batch.epoch;
            self.recent.clear();
        }
        self.values.extend(batch.values.iter().cloned());
        self.next_sequence = batch.base_sequence + batch.values.len() as i32;
        self.recent.push_back(Appended {
            sequence: batch.base_sequence,
            count: batch.values.len(),
            offset,
        });
        if self.recent.len() > REMEMBERED {
            self.recent.pop_front();
        }
    }

    /// Position of a batch that is in the log already.
    pub fn find(&self, epoch: i16, sequence: i32, count: usize) -> Option<usize> {
        let same = |known: &&Appended| known.sequence == sequence && known.count == count;
        (epoch == self.epoch)
            .then(|| self.recent.iter().find(same))
            .flatten()
            .map(|known| known.offset)
    }
}
