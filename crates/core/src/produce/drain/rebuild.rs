//! Splits a sealed batch into new ones, where it was too large or some of its records failed.
//!
//! Station: outbox. Engine thread. References: KIP-126, KIP-467.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bytes::compression::codec::Compression;
use crate::bytes::compression::compressor::Compressor;
use crate::bytes::pool::Fit;
use crate::failure::{Cause, Failure};
use crate::produce::append::charges::sealed_bytes;
use crate::produce::batch::{Attempt, Batch, Content, Sequence, sequence_after};
use crate::produce::completion::{Completion, Place};
use crate::produce::drain::flow::ProduceFlow;
use crate::record::decode::{DecodedBatch, iter_batches};
use crate::record::encode::{BatchBuilder, HeaderRef, ProducerFields, Tools, seal_with};
use crate::record::header::HEADER_LEN;

/// A piece of the batch that is split.
struct Piece {
    content: Content,
    completion: Arc<Completion>,
    count: u32,
    /// Its size before compression.
    raw: usize,
}

impl Piece {
    /// Capacity of its buffer.
    fn held(&self) -> usize {
        match &self.content {
            Content::Open(builder) => builder.capacity_bytes(),
            Content::Ready(bytes) => bytes.capacity(),
            _ => 0,
        }
    }
}

impl ProduceFlow {
    /// Builds new batches from a sealed one: without the records that failed, at most `most` records in each.
    ///
    /// The pieces of a split have the sequences of the whole, each its own range: the broker refused the whole, so it expects the
    /// first of them. Where records failed there would be a gap, so the pieces get new sequences when they are sent, under the
    /// identity of the release.
    pub(super) fn rebuild(
        &mut self,
        part: usize,
        batch: Batch,
        failed: &BTreeMap<u32, Failure>,
        most: usize,
        again: &mut Vec<Batch>,
    ) {
        let Content::Sealed(bytes) = &batch.content else {
            again.push(batch);
            return;
        };
        let opened = iter_batches(bytes).next().and_then(Result::ok);
        let taken = opened
            .and_then(|raw| raw.decode(usize::MAX).ok())
            .and_then(|decoded| self.take_apart(part, &decoded, failed, most));
        let Some((places, made)) = taken else {
            self.give_up(part, batch);
            return;
        };
        let share = batch.accounted / places.len().max(1);
        let place = |index: &u32| Some(places.get(*index as usize)?.0.clone());
        let refused: Vec<_> = failed.keys().filter_map(place).collect();
        // Before the pieces are created: their charges include their deliveries.
        batch.completion.forward_to(places);
        let mut sequence = batch.sequence.filter(|_| failed.is_empty());
        for piece in made {
            let rebuilt = self.rebuilt(&batch, piece, sequence);
            if let Some(sequence) = &mut sequence {
                sequence.first = sequence_after(sequence.first, rebuilt.count);
            }
            again.push(rebuilt);
        }
        let kept = |completion: &&Arc<Completion>| completion.charge_until_read(share);
        let kept = share * refused.iter().filter(kept).count();
        self.acc.free(batch.accounted - kept);
    }

    /// Returns the new place of each record, and the pieces; None where a record is not readable.
    fn take_apart(
        &mut self,
        part: usize,
        decoded: &DecodedBatch,
        failed: &BTreeMap<u32, Failure>,
        most: usize,
    ) -> Option<(Vec<Place>, Vec<Piece>)> {
        let (topic, number) = self.place_of(part);
        let mut places: Vec<Place> = Vec::with_capacity(decoded.len());
        let mut made: Vec<Piece> = Vec::new();
        let mut open: Option<(BatchBuilder, Arc<Completion>)> = None;
        let about = HEADER_LEN + decoded.data().len() / decoded.len().div_ceil(most).max(1);
        for index in 0..decoded.len() {
            if failed.contains_key(&(index as u32)) {
                places.push((self.acc.completion(topic.clone(), number), 0));
                continue;
            }
            if let Some(full) = open.take_if(|(builder, _)| builder.count() as usize >= most) {
                made.push(self.piece(part, full, &made));
            }
            let (builder, completion) = open.get_or_insert_with(|| {
                let buffer = self.acc.memory.pool.take(Fit::about(about));
                let completion = self.acc.completion(topic.clone(), number);
                (BatchBuilder::with_buffer(buffer), completion)
            });
            let record = decoded.record(index)?;
            let headers = decoded.headers(index).ok()?;
            let headers: Vec<HeaderRef<'_>> = headers
                .iter()
                .map(|header| (header.name.as_bytes(), header.value))
                .collect();
            let at = builder.append(record.timestamp_ms, record.key, record.value, &headers);
            places.push((completion.clone(), at));
        }
        if let Some(last) = open {
            made.push(self.piece(part, last, &made));
        }
        // The failed records get their outcome last, when no error can happen any more.
        let mut failures: Vec<(&Failure, u64)> = Vec::new();
        for (index, failure) in failed {
            let Some((completion, _)) = places.get(*index as usize) else {
                continue;
            };
            self.acc.fail(&completion.clone(), 1, failure.clone());
            // Records that the broker refused are reported apart from those that fail behind them.
            let kind = |failure: &Failure| std::mem::discriminant(&failure.cause);
            match failures
                .iter_mut()
                .find(|(known, _)| kind(known) == kind(failure))
            {
                Some((_, count)) => *count += 1,
                None => failures.push((failure, 1)),
            }
        }
        for (failure, count) in failures {
            self.acc
                .report_failure(&topic, number, count, failure.clone());
        }
        Some((places, made))
    }

    /// Completes a piece, in a buffer of its size. If it does not fit into the budget unpacked, it is compressed here, so that all
    /// pieces together take little more than the whole did.
    fn piece(
        &mut self,
        part: usize,
        (mut builder, completion): (BatchBuilder, Arc<Completion>),
        before: &[Piece],
    ) -> Piece {
        builder.shrink();
        let (count, raw) = (builder.count(), builder.len_bytes());
        let compression = self.acc.compression(part);
        let held: usize = before.iter().map(Piece::held).sum();
        let content = if compression == Compression::default()
            || held + self.acc.memory.of_open(&builder) <= self.acc.memory.left()
        {
            Content::Open(builder)
        } else {
            Content::Ready(self.packed(builder, compression))
        };
        Piece {
            content,
            completion,
            count,
            raw,
        }
    }

    /// Seals a piece. The result is empty on an error: the broker refuses that, and no message is lost silently.
    fn packed(&self, builder: BatchBuilder, compression: Compression) -> Vec<u8> {
        let tools = Tools {
            compressor: &mut Compressor::default(),
            pool: &self.acc.memory.pool,
        };
        let producer = ProducerFields {
            transactional: self.acc.settings.transactional_id.is_some(),
            ..ProducerFields::NONE
        };
        seal_with(tools, builder, compression, producer).map_or_else(
            |_| Vec::new(),
            |mut sealed| {
                if let Some(spare) = sealed.spare.take() {
                    self.acc.memory.pool.give(spare);
                }
                sealed.bytes
            },
        )
    }

    fn rebuilt(&mut self, batch: &Batch, made: Piece, sequence: Option<Sequence>) -> Batch {
        let held = made.held();
        let mut rebuilt = Batch {
            id: self.acc.batch_id(),
            count: made.count,
            raw: made.raw,
            content: made.content,
            completion: made.completion,
            created: batch.created,
            accounted: 0,
            sequence,
            attempts: batch.attempts,
            attempt: Attempt::None,
            proof: batch.proof_so_far(),
            refused: batch.refused,
        };
        rebuilt.accounted = sealed_bytes(&rebuilt, held, self.acc.memory.per_message());
        self.acc.memory.take(rebuilt.accounted);
        rebuilt
    }

    fn give_up(&mut self, part: usize, batch: Batch) {
        let code = batch.refused;
        let failed = Failure {
            cause: Cause::Unreadable { code },
            outcome: batch.outcome(),
        };
        self.report_and_fail(part, &batch, failed);
        self.release_batch(batch);
    }
}
