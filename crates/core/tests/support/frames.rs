//! Produce frames read and written by the schema, a second and plain implementation: the broker's side of a test.

use bytes::Bytes;
use ottla_core::bytes::varint::{Reader, write_uvarint};
use ottla_core::ids::Micros;
use ottla_core::record::decode::iter_batches;
use ottla_core::seam::OutRequest;

/// A request as the broker reads it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub token: u64,
    pub version: i16,
    pub correlation_id: i32,
    pub acks: i16,
    pub deadline: Micros,
    pub expects_response: bool,
    pub bytes: usize,
    pub batches: Vec<SentBatch>,
}

#[derive(Debug, Clone)]
pub struct SentBatch {
    /// Empty where the version has ids.
    pub topic: String,
    pub topic_id: [u8; 16],
    pub partition: i32,
    pub producer_id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
    pub values: Vec<String>,
    pub raw: Bytes,
}

impl Sent {
    pub fn partitions(&self) -> Vec<i32> {
        self.batches.iter().map(|batch| batch.partition).collect()
    }

    pub fn sequences(&self) -> Vec<i32> {
        self.batches
            .iter()
            .map(|batch| batch.base_sequence)
            .collect()
    }

    pub fn values(&self) -> Vec<&str> {
        self.batches
            .iter()
            .flat_map(|batch| batch.values.iter().map(String::as_str))
            .collect()
    }
}

fn string(reader: &mut Reader<'_>, flexible: bool) -> Option<String> {
    let len = if flexible {
        i64::from(reader.uvarint().unwrap()) - 1
    } else {
        i64::from(reader.i16().unwrap())
    };
    let len = usize::try_from(len).ok()?;
    Some(String::from_utf8(reader.bytes(len).unwrap().to_vec()).unwrap())
}

fn count(reader: &mut Reader<'_>, flexible: bool) -> usize {
    if flexible {
        reader.uvarint().unwrap() as usize - 1
    } else {
        reader.i32().unwrap() as usize
    }
}

fn no_tags(reader: &mut Reader<'_>, flexible: bool) {
    if flexible {
        assert_eq!(reader.uvarint().unwrap(), 0, "tags");
    }
}

pub fn read_request(out: OutRequest) -> Sent {
    let frame: Vec<u8> = out.segments.iter().flatten().copied().collect();
    let mut reader = Reader::new(&frame);
    assert_eq!(reader.i16().unwrap(), 0, "api key");
    let version = reader.i16().unwrap();
    let flexible = version >= 9;
    let correlation_id = reader.i32().unwrap();
    assert_eq!(string(&mut reader, false).as_deref(), Some("bench"));
    no_tags(&mut reader, flexible);
    string(&mut reader, flexible);
    let acks = reader.i16().unwrap();
    reader.i32().unwrap();
    let mut batches = Vec::new();
    for _ in 0..count(&mut reader, flexible) {
        let mut topic = String::new();
        let mut topic_id = [0; 16];
        if version >= 13 {
            topic_id.copy_from_slice(reader.bytes(16).unwrap());
        } else {
            topic = string(&mut reader, flexible).unwrap();
        }
        for _ in 0..count(&mut reader, flexible) {
            let partition = reader.i32().unwrap();
            let len = count(&mut reader, flexible);
            let raw = Bytes::copy_from_slice(reader.bytes(len).unwrap());
            no_tags(&mut reader, flexible);
            batches.push(read_batch(&topic, topic_id, partition, raw));
        }
        no_tags(&mut reader, flexible);
    }
    no_tags(&mut reader, flexible);
    assert_eq!(reader.remaining(), 0, "the request ends");
    Sent {
        token: out.token,
        version,
        correlation_id,
        acks,
        deadline: out.deadline,
        expects_response: out.expects_response,
        bytes: frame.len(),
        batches,
    }
}

fn read_batch(topic: &str, topic_id: [u8; 16], partition: i32, raw: Bytes) -> SentBatch {
    let mut found = iter_batches(&raw);
    let batch = found.next().unwrap().unwrap();
    assert!(found.next().is_none(), "one batch of a partition");
    // Decoding checks the checksum.
    let decoded = batch.decode(usize::MAX).unwrap();
    let header = batch.header();
    let value = |index| {
        let value = decoded.record(index).unwrap().value.unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    SentBatch {
        topic: topic.into(),
        topic_id,
        partition,
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        values: (0..decoded.len()).map(value).collect(),
        raw,
    }
}

/// The broker's answer about a batch.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub code: i16,
    pub base_offset: i64,
    pub record_errors: Vec<(i32, String)>,
    pub message: Option<String>,
}

impl Reply {
    pub fn ok(base_offset: i64) -> Self {
        Self {
            base_offset,
            ..Self::default()
        }
    }

    pub fn error(code: i16) -> Self {
        Self {
            code,
            base_offset: -1,
            ..Self::default()
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: Option<&str>, flexible: bool) {
    match (text, flexible) {
        (None, true) => out.push(0),
        (None, false) => out.extend((-1i16).to_be_bytes()),
        (Some(text), true) => write_uvarint(out, text.len() as u32 + 1),
        (Some(text), false) => out.extend((text.len() as i16).to_be_bytes()),
    }
    out.extend(text.unwrap_or_default().as_bytes());
}

fn write_count(out: &mut Vec<u8>, count: usize, flexible: bool) {
    if flexible {
        write_uvarint(out, count as u32 + 1);
    } else {
        out.extend((count as i32).to_be_bytes());
    }
}

/// The response to a request, one reply for each of its batches; each in a topic entry of its own, which Kafka allows.
pub fn response(version: i16, sent: &Sent, replies: &[Reply], throttle_ms: i32) -> Bytes {
    let flexible = version >= 9;
    let mut out = Vec::new();
    let tags = |out: &mut Vec<u8>| {
        if flexible {
            out.push(0);
        }
    };
    tags(&mut out);
    write_count(&mut out, replies.len(), flexible);
    for (batch, reply) in sent.batches.iter().zip(replies) {
        if version >= 13 {
            out.extend(batch.topic_id);
        } else {
            write_string(&mut out, Some(&batch.topic), flexible);
        }
        write_count(&mut out, 1, flexible);
        out.extend(batch.partition.to_be_bytes());
        out.extend(reply.code.to_be_bytes());
        out.extend(reply.base_offset.to_be_bytes());
        out.extend((-1i64).to_be_bytes());
        if version >= 5 {
            out.extend(0i64.to_be_bytes());
        }
        if version >= 8 {
            write_count(&mut out, reply.record_errors.len(), flexible);
            for (index, message) in &reply.record_errors {
                out.extend(index.to_be_bytes());
                write_string(&mut out, Some(message), flexible);
                tags(&mut out);
            }
            write_string(&mut out, reply.message.as_deref(), flexible);
        }
        tags(&mut out);
        tags(&mut out);
    }
    out.extend(throttle_ms.to_be_bytes());
    tags(&mut out);
    Bytes::from(out)
}
