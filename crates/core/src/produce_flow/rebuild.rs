//! New batches out of a sealed one, where it was too large or some of its records failed.
//!
//! Station: outbox. Engine thread. References: KIP-126, KIP-467.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Batch, Content, ProduceFlow, sequence_after};
use crate::accumulator::failure;
use crate::completion::{Completion, Place};
use crate::record::decode::{DecodedBatch, iter_batches};
use crate::record::encode::{BatchBuilder, HeaderRef};
use crate::record::header::HEADER_LEN;

type Made = (BatchBuilder, Arc<Completion>);

impl ProduceFlow {
    /// New batches out of a sealed one: without the records that failed, at most `most` records in each.
    ///
    /// A split keeps the sequences, each part its own range of them: the broker refused the whole, so it expects the first.
    /// Where records failed there would be a gap: the parts get theirs when they are sent, from the identity that the
    /// release gives.
    pub(super) fn rebuild(
        &mut self,
        part: usize,
        batch: Batch,
        failed: &BTreeMap<u32, String>,
        code: i16,
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
            .and_then(|decoded| self.take_apart(part, &batch, &decoded, failed, code, most));
        let Some((places, made)) = taken else {
            self.give_up(part, batch, code);
            return;
        };
        let mut sequence = batch.sequence.filter(|_| failed.is_empty());
        for (builder, completion) in made {
            let rebuilt = self.rebuilt(&batch, builder, completion, sequence);
            if let Some((_, _, first)) = &mut sequence {
                *first = sequence_after(*first, rebuilt.count);
            }
            again.push(rebuilt);
        }
        batch.completion.forward_to(places);
        self.acc.free(batch.accounted);
    }

    /// Each record's new place, and the batches that are made; None where a record cannot be read.
    fn take_apart(
        &mut self,
        part: usize,
        batch: &Batch,
        decoded: &DecodedBatch,
        failed: &BTreeMap<u32, String>,
        code: i16,
        most: usize,
    ) -> Option<(Vec<Place>, Vec<Made>)> {
        let (topic, number) = self.place_of(part);
        let mut places: Vec<Place> = Vec::with_capacity(decoded.len());
        let mut made: Vec<Made> = Vec::new();
        for index in 0..decoded.len() {
            if failed.contains_key(&(index as u32)) {
                places.push((self.acc.completion(topic.clone(), number), 0));
                continue;
            }
            if made
                .last()
                .is_none_or(|(builder, _)| builder.count() as usize >= most)
            {
                let buffer = self
                    .acc
                    .pool
                    .take(batch.content.len_bytes().max(HEADER_LEN));
                let completion = self.acc.completion(topic.clone(), number);
                made.push((BatchBuilder::with_buffer(buffer), completion));
            }
            let (builder, completion) = made.last_mut()?;
            let record = decoded.record(index)?;
            let headers = decoded.headers(index).ok()?;
            let headers: Vec<HeaderRef<'_>> = headers
                .iter()
                .map(|header| (header.name.as_bytes(), header.value))
                .collect();
            let at = builder.append(record.timestamp_ms, record.key, record.value, &headers);
            places.push((completion.clone(), at));
        }
        // Only now, when nothing can go wrong any more, the failed ones have their outcome.
        let outcome = batch.outcome();
        let mut told = 0;
        for (index, message) in failed {
            if let Some((completion, _)) = places.get(*index as usize) {
                let failed = failure("broker", code, message, outcome);
                self.acc.fail(&completion.clone(), 1, failed);
                told += 1;
            }
        }
        if let Some(message) = failed.values().next() {
            self.acc
                .tell_failed(&topic, number, told, "broker", code, message, outcome);
        }
        Some((places, made))
    }

    fn rebuilt(
        &mut self,
        batch: &Batch,
        builder: BatchBuilder,
        completion: Arc<Completion>,
        sequence: Option<(i64, i16, i32)>,
    ) -> Batch {
        let accounted = self.acc.open_bytes(&builder);
        self.acc.used += accounted;
        Batch {
            id: self.acc.batch_id(),
            count: builder.count(),
            raw: builder.len_bytes(),
            content: Content::Open(builder),
            completion,
            created: batch.created,
            accounted,
            sequence,
            attempts: batch.attempts,
            sent: batch.sent,
            unanswered: batch.may_be_written(),
            overtaken: batch.overtaken,
            expired: false,
            answered: batch.answered,
            answer: None,
            refused: batch.refused,
        }
    }

    fn give_up(&mut self, part: usize, batch: Batch, code: i16) {
        let message = "a batch could not be taken apart";
        let failed = failure("broker", code, message, batch.outcome());
        self.tell_and_fail(part, &batch, failed);
        self.let_go(batch);
    }
}
