//! A map by topic and partition with look-up by borrowed names.

use std::collections::HashMap;
use std::sync::Arc;

/// A partition of a topic.
pub type Place = (Arc<str>, i32);

#[derive(Debug)]
pub struct Places<T> {
    topics: HashMap<Arc<str>, HashMap<i32, T>>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            topics: HashMap::new(),
        }
    }
}

impl<T> Places<T> {
    pub fn get(&self, topic: &str, partition: i32) -> Option<&T> {
        self.topics.get(topic)?.get(&partition)
    }

    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.get(topic, partition).is_some()
    }

    /// The shared name of the topic, if any partition of it is in the map.
    pub fn name(&self, topic: &str) -> Option<Arc<str>> {
        self.topics
            .get_key_value(topic)
            .map(|(name, _)| name.clone())
    }

    pub fn insert(&mut self, topic: Arc<str>, partition: i32, value: T) -> Option<T> {
        self.topics
            .entry(topic)
            .or_default()
            .insert(partition, value)
    }

    pub fn entry_or_default(&mut self, topic: &str, partition: i32) -> &mut T
    where
        T: Default,
    {
        let name = self.name(topic).unwrap_or_else(|| Arc::from(topic));
        let partitions = self.topics.entry(name).or_default();
        partitions.entry(partition).or_default()
    }

    pub fn remove(&mut self, topic: &str, partition: i32) -> Option<T> {
        let partitions = self.topics.get_mut(topic)?;
        let value = partitions.remove(&partition);
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
        value
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.topics.values_mut().flat_map(HashMap::values_mut)
    }

    pub fn into_values(self) -> impl Iterator<Item = T> {
        self.topics.into_values().flat_map(HashMap::into_values)
    }
}
