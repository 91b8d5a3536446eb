//! Messages that wait for metadata of their topic, in compact form.
//!
//! Stations: message → partition.

use std::sync::Arc;

use crate::bytes::varint::{Reader, write_varint};
use crate::ids::Micros;
use crate::produce::completion::{Completion, Place};
use crate::produce::message::Message;
use crate::record::encode::HeaderRef;

/// A message that waits for metadata: its topic, or the partition that it names, is not known.
pub(super) struct Stored {
    partition: Option<i32>,
    timestamp_ms: i64,
    /// Key, value, and the name and value of each header, each behind its length: one allocation, no larger than the record.
    fields: Box<[u8]>,
    headers: usize,
    extra: usize,
    /// Number of the message among those of its topic that were ever stored.
    pub(super) number: u64,
    /// Bytes charged for it.
    pub(super) bytes: usize,
}

impl Stored {
    pub(super) fn new(message: &Message<'_>, number: u64, bytes: usize) -> Self {
        let mut fields = Vec::new();
        put(&mut fields, message.key);
        put(&mut fields, message.value);
        for (name, value) in message.headers {
            put(&mut fields, Some(name));
            put(&mut fields, *value);
        }
        Self {
            partition: message.partition,
            timestamp_ms: message.timestamp_ms,
            fields: fields.into_boxed_slice(),
            headers: message.headers.len(),
            extra: message.extra,
            number,
            bytes,
        }
    }

    /// Whether it names a partition that a topic with this number of partitions does not have.
    pub(super) fn lacks_partition(&self, partitions: usize) -> bool {
        self.partition
            .is_some_and(|number| usize::try_from(number).is_ok_and(|number| number >= partitions))
    }

    /// Passes the original message to `work`.
    pub(super) fn with<R>(&self, work: impl FnOnce(&Message<'_>) -> R) -> R {
        let mut reader = Reader::new(&self.fields);
        let (key, value) = (get(&mut reader), get(&mut reader));
        let header = |_| (get(&mut reader).unwrap_or_default(), get(&mut reader));
        let headers: Vec<HeaderRef<'_>> = (0..self.headers).map(header).collect();
        work(&Message {
            partition: self.partition,
            timestamp_ms: self.timestamp_ms,
            key,
            value,
            headers: &headers,
            extra: self.extra,
        })
    }
}

/// `Accumulator::largest` keeps every length below 2 GiB.
fn put(fields: &mut Vec<u8>, field: Option<&[u8]>) {
    write_varint(fields, field.map_or(-1, |field| field.len() as i32));
    fields.extend_from_slice(field.unwrap_or_default());
}

fn get<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = usize::try_from(reader.varint().ok()?).ok()?;
    reader.bytes(len).ok()
}

/// A group of messages with one completion and one expiry.
pub(super) struct Waiting {
    pub completion: Arc<Completion>,
    pub messages: Vec<Stored>,
    pub created: Micros,
    /// `flush` was called meanwhile: their batches do not linger.
    pub flushed: bool,
}

impl Waiting {
    pub(super) fn new(completion: Arc<Completion>, created: Micros, flushed: bool) -> Self {
        Self {
            completion,
            messages: Vec::new(),
            created,
            flushed,
        }
    }

    /// Adds a message; returns its place.
    pub(super) fn add(&mut self, stored: Stored) -> Place {
        self.messages.push(stored);
        (self.completion.clone(), self.messages.len() as u32 - 1)
    }

    /// Whether any of its messages may get a partition of a topic with this number of partitions.
    pub(super) fn has_known(&self, partitions: usize) -> bool {
        self.messages
            .iter()
            .any(|stored| !stored.lacks_partition(partitions))
    }

    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(|stored| stored.bytes).sum()
    }

    /// Marks the group as flushed; returns its completion.
    pub fn flush(&mut self) -> Arc<Completion> {
        self.flushed = true;
        self.completion.clone()
    }
}
