//! Updates of topics: their partitions, leaders, and the obstacles to sending.
//!
//! Stations: message → partition; under the producer's lock. Metadata comes from the engine.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::failure::Trouble;
use crate::ids::Micros;
use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::batching::TopicBatching;
use crate::produce::append::topic::{Destinations, Topic};
use crate::produce::append::topic_wait::TopicWait;
use crate::produce::event::Event;
use crate::produce::partition::Partition;
use crate::produce::stats::{OutcomeCounts, Traffic};

impl Accumulator {
    /// The index of a topic, which stays the same; it may be used for `append` without another look-up.
    pub fn topic(&mut self, name: &str) -> usize {
        if let Some(index) = self.topics.find(name) {
            return index;
        }
        let name: Arc<str> = Arc::from(name);
        let batching = TopicBatching::new(self.settings.batching(&name));
        self.topics.add(Topic {
            name,
            id: [0; 16],
            former: Vec::new(),
            parts: Vec::new(),
            destinations: Destinations::default(),
            awaited_before: 0,
            batching,
            waiting: VecDeque::new(),
            stored: 0,
            used_at: 0,
            dropped: false,
            trouble: None,
            wait: TopicWait::default(),
            traffic: Traffic::default(),
            outcomes: OutcomeCounts::default(),
        })
    }

    /// Applies new metadata of a topic. The number of partitions never decreases, and an answer with none counts as no metadata.
    ///
    /// `available`: partitions with a leader. `near`: those of them to be preferred for messages without a key.
    pub fn set_topic(
        &mut self,
        name: &str,
        id: [u8; 16],
        partitions: usize,
        available: &[i32],
        near: &[i32],
    ) {
        let index = self.topic(name);
        for number in self.topics[index].parts.len()..partitions {
            let part = self.parts.len();
            self.parts.push(Partition::new(index, number as i32));
            self.topics[index].parts.push(part);
        }
        let topic = &mut self.topics[index];
        // The partitions of one topic never become fewer: an answer with fewer is an old one.
        if (topic.id != id && partitions > 0) || partitions > topic.destinations.count {
            topic.destinations.count = partitions;
        }
        topic.id = id;
        let parts_of = |numbers: &[i32]| -> Vec<usize> {
            let part = |number: &i32| topic.parts.get(usize::try_from(*number).ok()?).copied();
            numbers.iter().filter_map(part).collect()
        };
        let (available, near) = (parts_of(available), parts_of(near));
        topic.destinations.set(available, near);
        if topic.parts.is_empty() {
            return;
        }
        topic.wait.resolve(None);
        let partitions = topic.destinations.count;
        if topic.waiting.iter().any(|one| one.has_known(partitions)) {
            self.place_all_waiting(index, 0);
        }
    }

    fn place_all_waiting(&mut self, topic: usize, refuse_before: u64) {
        for waiting in std::mem::take(&mut self.topics[topic].waiting) {
            self.place_waiting(topic, waiting, refuse_before);
        }
        self.wake_senders();
    }

    /// Fails messages for partitions that the topic does not have. `before`: value of `stored_count` when the metadata was
    /// requested; messages stored after it wait for a younger answer.
    pub fn refuse_missing(&mut self, name: &str, before: u64) {
        let topic = self.topic(name);
        let entry = &self.topics[topic];
        if !entry.parts.is_empty() && !entry.waiting.is_empty() {
            self.place_all_waiting(topic, before);
        }
    }

    /// Notes that the topic is used; reports it to the engine if the engine no longer follows its metadata.
    pub(super) fn note_use(&mut self, topic: usize, now: Micros) {
        let topic = &mut self.topics[topic];
        topic.used_at = now;
        if std::mem::replace(&mut topic.dropped, false) {
            self.reports
                .events
                .push(Event::TopicWanted(topic.name.clone()));
        }
    }

    /// Drops the topics without a message for this time, and returns them. The engine need not follow their metadata until their
    /// next message is reported.
    pub fn drop_idle_topics(&mut self, now: Micros, idle: Micros) -> Vec<Arc<str>> {
        let mut dropped = Vec::new();
        for topic in self.topics.iter_mut() {
            let has_batches = |part: &usize| {
                let entry = &self.parts[*part];
                entry.has_work() || !entry.flight.is_empty()
            };
            if topic.dropped
                || now.saturating_sub(topic.used_at) < idle
                || !topic.waiting.is_empty()
                || topic.wait.is_awaited()
                || topic.parts.iter().any(has_batches)
            {
                continue;
            }
            topic.dropped = true;
            dropped.push(topic.name.clone());
        }
        dropped
    }

    /// Sets the obstacle to sending the messages of a topic, or of one partition of it; None: no obstacle is known.
    pub fn set_trouble(&mut self, name: &str, partition: Option<i32>, trouble: Option<Trouble>) {
        let index = self.topic(name);
        let Some(number) = partition else {
            self.topics[index].trouble = trouble;
            return;
        };
        let number = usize::try_from(number).ok();
        if let Some(part) = number.and_then(|number| self.topics[index].parts.get(number)) {
            self.parts[*part].trouble = trouble;
        }
    }

    pub fn trouble(&self, topic: usize) -> Option<Trouble> {
        self.topics[topic].trouble.clone()
    }
}
