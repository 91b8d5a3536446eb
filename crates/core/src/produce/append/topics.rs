//! Topics as the accumulator knows them: their partitions, and what keeps them from being sent.
//!
//! Stations: message → partition; under the producer's lock. Metadata comes from the engine.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::failure::Trouble;
use crate::produce::append::accumulator::Accumulator;
use crate::produce::append::batching::TopicBatching;
use crate::produce::append::topic::{Destinations, Topic};
use crate::produce::append::topic_wait::TopicWait;
use crate::produce::partition::Partition;
use crate::produce::stats::{Ends, Traffic};

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
            hurried: 0,
            batching,
            waiting: VecDeque::new(),
            trouble: None,
            wait: TopicWait::default(),
            traffic: Traffic::default(),
            ends: Ends::default(),
        })
    }

    /// The topic's metadata came or changed; partitions never become fewer, and none at all is no metadata.
    ///
    /// `available`: those with a leader. `near`: those of them to be preferred for messages without a key.
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
        // Of one and the same topic they never become fewer: then the answer is an old one.
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
        topic.wait.answered(None);
        if !topic.waiting.is_empty() {
            for waiting in std::mem::take(&mut topic.waiting) {
                self.place_waiting(index, waiting);
            }
            self.wake_room();
        }
    }

    /// What keeps the messages of a topic, or of one partition of it, from being sent; None: nothing that is known.
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
