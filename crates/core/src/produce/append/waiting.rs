//! Messages that wait for their topic's metadata, and how they are stored meanwhile.
//!
//! Stations: message → partition.

use std::sync::Arc;

use crate::bytes::varint::{Reader, write_varint};
use crate::ids::Micros;
use crate::produce::completion::Completion;
use crate::produce::message::Message;
use crate::record::encode::HeaderRef;

/// A message that waits for its topic's metadata.
pub(super) struct Stored {
    partition: Option<i32>,
    timestamp_ms: i64,
    /// Key, value, and the name and value of each header, each behind its length: one allocation, no larger than the record.
    fields: Box<[u8]>,
    headers: usize,
    extra: usize,
    /// What it weighs.
    pub(super) bytes: usize,
}

impl Stored {
    pub(super) fn new(message: &Message<'_>, bytes: usize) -> Self {
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
            bytes,
        }
    }

    /// The message as it came.
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

pub(super) struct Waiting {
    pub completion: Arc<Completion>,
    pub messages: Vec<Stored>,
    pub created: Micros,
    /// `flush` was called meanwhile: no lingering.
    pub flushed: bool,
}

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(|stored| stored.bytes).sum()
    }

    /// Returns the completion of all of them.
    pub fn flush(&mut self) -> Arc<Completion> {
        self.flushed = true;
        self.completion.clone()
    }
}
