//! Resolves completions, counts outcomes, and reports failures to the engine.
//!
//! Station: delivery; under the producer's lock. A completion has one outcome, and only the first one is counted.

use std::sync::Arc;

use crate::failure::{Failure, Outcome};
use crate::produce::append::accumulator::Accumulator;
use crate::produce::completion::Completion;
use crate::produce::event::Event;
use crate::produce::stats::OutcomeCounts;

impl Accumulator {
    /// Messages accepted and not resolved.
    pub fn undelivered(&self) -> u64 {
        self.counts.accepted - self.counts.delivered - self.counts.failed - self.counts.unknown
    }

    pub(crate) fn written(
        &mut self,
        completion: &Arc<Completion>,
        count: u64,
        base_offset: i64,
        append_time: i64,
    ) -> bool {
        let first = completion.resolve_written(base_offset, append_time);
        if first {
            self.counts.delivered += count;
            if let Some(counts) = self.outcomes_of(&completion.topic) {
                counts.delivered += count;
            }
            self.reports.resolved.push(completion.clone());
        }
        first
    }

    pub(crate) fn fail(&mut self, completion: &Arc<Completion>, count: u64, failed: Failure) {
        let outcome = failed.outcome;
        if completion.resolve_failed(failed) {
            let (failed, unknown) = match outcome {
                Outcome::NotWritten => (count, 0),
                Outcome::Unknown | Outcome::Written => (0, count),
            };
            self.counts.failed += failed;
            self.counts.unknown += unknown;
            if let Some(counts) = self.outcomes_of(&completion.topic) {
                counts.failed += failed;
                counts.unknown += unknown;
            }
            self.reports.resolved.push(completion.clone());
        }
    }

    /// A message that was accepted by its call and will not be appended: it fails in a completion of its own, which `attach`
    /// receives before it resolves.
    pub fn fail_unappended(
        &mut self,
        topic: usize,
        partition: Option<i32>,
        failed: Failure,
        attach: impl FnOnce(&Arc<Completion>),
    ) {
        let (name, partition) = (self.topic_name(topic), partition.unwrap_or(-1));
        let completion = self.completion(name.clone(), partition);
        attach(&completion);
        self.counts.accepted += 1;
        self.report_failure(&name, partition, 1, failed.clone());
        self.fail(&completion, 1, failed);
    }

    fn outcomes_of(&mut self, topic: &str) -> Option<&mut OutcomeCounts> {
        let index = self.topics.find(topic)?;
        Some(&mut self.topics[index].outcomes)
    }

    pub(crate) fn report_failure(
        &mut self,
        topic: &Arc<str>,
        partition: i32,
        records: u64,
        failure: Failure,
    ) {
        self.reports.events.push(Event::MessagesFailed {
            topic: topic.clone(),
            partition,
            records,
            failure,
        });
    }
}
