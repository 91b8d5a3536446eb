//! New batches out of a sealed one, where it was too large or some of its records failed.
//!
//! Station: outbox. Engine thread. References: KIP-126, KIP-467.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Batch, Content, ProduceFlow, sequence_after};
use crate::accumulator::failure;
use crate::completion::{Completion, Outcome, Place};
use crate::record::decode::iter_batches;
use crate::record::encode::{BatchBuilder, HeaderRef};
use crate::record::header::HEADER_LEN;

impl ProduceFlow {
    /// New batches out of a sealed one: without the records that failed, at most `most` records in each.
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
        let Some(decoded) = opened.and_then(|raw| raw.decode(usize::MAX).ok()) else {
            let message = "a batch could not be taken apart";
            let outcome = if batch.unanswered {
                Outcome::Unknown
            } else {
                Outcome::NotWritten
            };
            self.acc.fail(
                &batch.completion,
                u64::from(batch.count),
                failure("broker", code, message, outcome),
            );
            self.let_go(batch);
            return;
        };
        let (topic, number) = self.place_of(part);
        let mut places: Vec<Place> = Vec::new();
        let mut current: Option<(BatchBuilder, Arc<Completion>)> = None;
        let mut made: Vec<(BatchBuilder, Arc<Completion>)> = Vec::new();
        for index in 0..decoded.len() {
            if let Some(message) = failed.get(&(index as u32)) {
                let completion = self.acc.completion(topic.clone(), number);
                let outcome = if batch.unanswered {
                    Outcome::Unknown
                } else {
                    Outcome::NotWritten
                };
                self.acc
                    .fail(&completion, 1, failure("broker", code, message, outcome));
                places.push((completion, 0));
                continue;
            }
            if current
                .as_ref()
                .is_some_and(|(builder, _)| builder.count() as usize >= most)
            {
                made.extend(current.take());
            }
            let (builder, completion) = current.get_or_insert_with(|| {
                let buffer = self.acc.pool.take(bytes.len().max(HEADER_LEN));
                (
                    BatchBuilder::with_buffer(buffer),
                    self.acc.completion(topic.clone(), number),
                )
            });
            let Some(record) = decoded.record(index) else {
                continue;
            };
            let headers = decoded.headers(index).unwrap_or_default();
            let headers: Vec<HeaderRef<'_>> = headers
                .iter()
                .map(|header| (header.name.as_bytes(), header.value))
                .collect();
            let at = builder.append(record.timestamp_ms, record.key, record.value, &headers);
            places.push((completion.clone(), at));
        }
        made.extend(current);
        let mut sequence = batch.sequence;
        for (builder, completion) in made {
            let count = builder.count();
            let accounted = builder.capacity_bytes();
            self.acc.used += accounted;
            let mine = sequence.filter(|_| failed.is_empty());
            if let Some((_, _, first)) = &mut sequence {
                *first = sequence_after(*first, count);
            }
            again.push(Batch {
                id: self.acc.batch_id(),
                content: Content::Open(builder),
                completion,
                count,
                created: batch.created,
                accounted,
                sequence: mine,
                attempts: batch.attempts,
                sent: batch.sent,
                unanswered: batch.unanswered,
                expired: false,
                answered: false,
                answer: None,
            });
        }
        batch.completion.forward_to(places);
        self.acc.free(batch.accounted);
    }
}
