//! Messages that wait for metadata, of their topic or of the partition that they name: stored in order, until they get their
//! partitions or fail.
//!
//! Stations: message → partition; under the producer's lock.

use std::sync::Arc;

use crate::failure::{Cause, Failure, Outcome, Stage};
use crate::ids::Micros;
use crate::produce::append::accumulator::Accumulator;

use crate::produce::append::charges::record_overhead;
pub(super) use crate::produce::append::waiting::{Stored, Waiting};
use crate::produce::completion::{Completion, Place};
use crate::produce::event::Event;
use crate::produce::message::Message;
use crate::record::encode::record_size_upper_bound;

impl Accumulator {
    /// Stores a message of a topic, or for a partition, that is not known. Its charge is that of a batch with this message alone, so
    /// that no more memory is needed when it is placed later.
    pub(super) fn store(
        &mut self,
        topic: usize,
        message: &Message<'_>,
        size: usize,
        now: Micros,
    ) -> Place {
        let bytes = size + message.extra + record_overhead(self.memory.per_message());
        self.memory.take(bytes);
        let last = self.topics[topic].waiting.back();
        if last.is_none_or(|last| self.is_aged(last.created, now)) {
            if last.is_none() {
                let name = self.topics[topic].name.clone();
                self.reports.events.push(Event::TopicWanted(name));
            }
            self.wait_for_metadata(topic, now, false);
        }
        let entry = &mut self.topics[topic];
        (entry.used_at, entry.dropped) = (now, false);
        entry.stored += 1;
        let stored = Stored::new(message, entry.stored, bytes);
        let Some(waiting) = entry.waiting.back_mut() else {
            unreachable!("it was made just now");
        };
        waiting.add(stored)
    }

    /// Begins another group of messages (`Waiting`) for the topic's metadata.
    fn wait_for_metadata(&mut self, topic: usize, created: Micros, flushed: bool) {
        let completion = self.completion(self.topics[topic].name.clone(), -1);
        let waiting = Waiting::new(completion, created, flushed);
        self.topics[topic].waiting.push_back(waiting);
        let due = created.saturating_add(self.settings.delivery_timeout);
        self.attention.request_by(due);
    }

    /// Number of messages that have ever waited for the topic's metadata.
    pub fn stored_count(&mut self, name: &str) -> u64 {
        let topic = self.topic(name);
        self.topics[topic].stored
    }

    /// Whether messages wait for metadata of the topic.
    pub fn awaits_metadata(&mut self, name: &str) -> bool {
        let topic = self.topic(name);
        !self.topics[topic].waiting.is_empty()
    }

    /// Appends a group of messages to their partitions, in order. Their delivery timeout runs since the first of them was stored, and
    /// no batch contains messages of two groups. `refuse_before`: as for `refuse_missing`.
    pub(super) fn place_waiting(&mut self, topic: usize, waiting: Waiting, refuse_before: u64) {
        self.close_topic(topic);
        let mut places: Vec<Place> = Vec::with_capacity(waiting.messages.len());
        let mut refused = Vec::new();
        let partitions = self.topics[topic].destinations.count;
        let mut waits_on = false;
        for stored in waiting.messages {
            if stored.number > refuse_before && stored.lacks_partition(partitions) {
                if !std::mem::replace(&mut waits_on, true) {
                    self.wait_for_metadata(topic, waiting.created, waiting.flushed);
                }
                places.extend(
                    self.topics[topic]
                        .waiting
                        .back_mut()
                        .map(|on| on.add(stored)),
                );
                continue;
            }
            self.memory.give_back(stored.bytes);
            let place = stored.with(|message| self.place(topic, message, waiting.created));
            if !place.0.is_pending() {
                refused.push((place.0.clone(), stored.bytes));
            }
            places.push(place);
        }
        waiting.completion.forward_to(places);
        for (completion, bytes) in refused {
            if completion.charge_until_read(bytes) {
                self.memory.take(bytes);
            }
        }
        if waiting.flushed {
            self.close_topic(topic);
        }
    }

    fn place(&mut self, topic: usize, message: &Message<'_>, created: Micros) -> Place {
        let size = record_size_upper_bound(message.key, message.value, message.headers);
        let Ok(part) = self.choose(topic, message, size, || created) else {
            return (self.no_such_partition(topic, message.partition), 0);
        };
        self.charge_extra(message);
        let mut place = None;
        self.append_to(
            part,
            message,
            size,
            || created,
            |completion, index| place = Some((completion.clone(), index)),
        );
        place.unwrap_or_else(|| unreachable!("an appended message has a place"))
    }

    /// Fails a message whose partition turned out not to exist; returns its completion.
    fn no_such_partition(&mut self, topic: usize, partition: Option<i32>) -> Arc<Completion> {
        let entry = &self.topics[topic];
        let (name, known) = (entry.name.clone(), entry.destinations.count);
        let partition = partition.unwrap_or(-1);
        let completion = self.completion(name.clone(), partition);
        let failed = Failure {
            cause: Cause::NoSuchPartition {
                partition,
                partitions: known,
            },
            outcome: Outcome::NotWritten,
        };
        self.report_failure(&name, partition, 1, failed.clone());
        self.fail(&completion, 1, failed);
        completion
    }

    fn close_topic(&mut self, topic: usize) {
        for part in self.topics[topic].parts.clone() {
            self.close_open(part);
        }
    }

    /// Fails the messages that wait for the topic's metadata, and reports it; returns their number.
    pub fn fail_topic(&mut self, name: &str, failed: Failure) -> usize {
        let index = self.topic(name);
        self.topics[index].wait.resolve(Some(failed.clone()));
        let waiting = std::mem::take(&mut self.topics[index].waiting);
        self.fail_waiting(index, waiting, failed)
    }

    fn fail_waiting(
        &mut self,
        topic: usize,
        waiting: impl IntoIterator<Item = Waiting>,
        failed: Failure,
    ) -> usize {
        let mut count = 0;
        for waiting in waiting {
            let messages = waiting.messages.len();
            let bytes = waiting.bytes();
            self.fail(&waiting.completion, messages as u64, failed.clone());
            if !waiting.completion.charge_until_read(bytes) {
                self.free(bytes);
            }
            count += messages;
        }
        if count > 0 {
            let topic = self.topics[topic].name.clone();
            self.report_failure(&topic, -1, count as u64, failed);
        }
        count
    }

    /// Fails messages that have waited too long for metadata, with `gapless` also all behind them; returns when the next one expires.
    pub(crate) fn expire_waiting(&mut self, now: Micros) -> Option<Micros> {
        let (limit, gapless) = (self.settings.delivery_timeout, self.settings.gapless);
        let mut next: Option<Micros> = None;
        for index in 0..self.topics.len() {
            let waiting = &mut self.topics[index].waiting;
            let late = |waiting: &Waiting| waiting.created.saturating_add(limit) <= now;
            let count = waiting.iter().take_while(|waiting| late(waiting)).count();
            let gone: Vec<Waiting> = waiting.drain(..count).collect();
            // The messages have no partition yet, so any of them may be behind a failed one.
            let remaining = if gapless && count > 0 {
                0
            } else {
                waiting.len()
            };
            let behind = waiting.split_off(remaining);
            if let Some(left) = waiting.front() {
                let due = left.created.saturating_add(limit);
                next = Some(next.map_or(due, |other| other.min(due)));
            }
            if gone.is_empty() {
                continue;
            }
            let failed = Failure {
                cause: Cause::TimedOut {
                    stage: Stage::Metadata,
                    trouble: self.trouble(index),
                },
                outcome: Outcome::NotWritten,
            };
            if self.topics[index].waiting.is_empty() {
                self.topics[index].wait.resolve(Some(failed.clone()));
            }
            let with_it = failed.behind(Outcome::NotWritten);
            self.fail_waiting(index, gone, failed);
            self.fail_waiting(index, behind, with_it);
        }
        next
    }

    /// Bytes and messages that wait for a topic's metadata.
    pub(crate) fn stored(&self, topic: usize) -> (usize, u64) {
        let waiting = self.topics[topic].waiting.iter();
        waiting.fold((0, 0), |(bytes, messages), waiting| {
            (
                bytes + waiting.bytes(),
                messages + waiting.messages.len() as u64,
            )
        })
    }

    /// Time at which the oldest of them was stored.
    pub(crate) fn stored_since(&self, topic: usize) -> Option<Micros> {
        Some(self.topics[topic].waiting.front()?.created)
    }

    /// The topics that wait for metadata.
    pub(crate) fn waiting_topics(&self) -> Vec<Arc<str>> {
        self.topics
            .iter()
            .filter(|topic| !topic.waiting.is_empty())
            .map(|topic| topic.name.clone())
            .collect()
    }
}
