//! Produce requests and responses, versions 3 to 13, written by hand after the schema.
//!
//! Station: request. The batch buffers are not copied: a request is a list of segments, batches and the bytes between them.
//! References: Produce (key 0), KIP-467, KIP-516, KIP-951.

use bytes::Bytes;

use crate::bytes::fields::{Fields, write_count, write_string};
use crate::bytes::varint::write_uvarint;
use crate::error::DecodeError;

pub const API_KEY: i16 = 0;
pub const MIN_VERSION: i16 = 3;
pub const MAX_VERSION: i16 = 13;
const FLEXIBLE_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 13;

/// Fields of a request before its topics.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: &'a str,
    pub transactional_id: Option<&'a str>,
    pub acks: i16,
    pub timeout_ms: i32,
}

/// One topic's batches, one for each of its partitions that is in the request.
#[derive(Debug)]
pub struct TopicBatches<'a> {
    pub name: &'a str,
    pub id: [u8; 16],
    pub batches: Vec<(i32, Bytes)>,
}

/// A frame without its size, in segments.
pub fn encode_request(head: Head<'_>, topics: &[TopicBatches<'_>]) -> Vec<Bytes> {
    let flexible = head.version >= FLEXIBLE_FROM;
    let mut segments = Vec::new();
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&API_KEY.to_be_bytes());
    out.extend_from_slice(&head.version.to_be_bytes());
    out.extend_from_slice(&head.correlation_id.to_be_bytes());
    // The client id is an int16 string even in the flexible header.
    out.extend_from_slice(&(head.client_id.len() as i16).to_be_bytes());
    out.extend_from_slice(head.client_id.as_bytes());
    if flexible {
        out.push(0);
    }
    write_string(&mut out, head.transactional_id, flexible);
    out.extend_from_slice(&head.acks.to_be_bytes());
    out.extend_from_slice(&head.timeout_ms.to_be_bytes());
    write_count(&mut out, topics.len(), flexible);
    for topic in topics {
        if head.version >= TOPIC_IDS_FROM {
            out.extend_from_slice(&topic.id);
        } else {
            write_string(&mut out, Some(topic.name), flexible);
        }
        write_count(&mut out, topic.batches.len(), flexible);
        for (partition, batch) in &topic.batches {
            out.extend_from_slice(&partition.to_be_bytes());
            if flexible {
                write_uvarint(&mut out, batch.len() as u32 + 1);
            } else {
                out.extend_from_slice(&(batch.len() as i32).to_be_bytes());
            }
            segments.push(Bytes::from(std::mem::take(&mut out)));
            segments.push(batch.clone());
            if flexible {
                out.push(0);
            }
        }
        if flexible {
            out.push(0);
        }
    }
    if flexible {
        out.push(0);
    }
    if !out.is_empty() {
        segments.push(Bytes::from(out));
    }
    segments
}

/// Maximum size of the length field of compact arrays and bytes. The computed size may exceed the written one by some bytes.
const COMPACT_LEN: usize = 5;

/// Maximum size of a request without its topics.
pub fn head_bytes(version: i16, client_id: &str, transactional_id: Option<&str>) -> usize {
    let names = client_id.len() + transactional_id.map_or(0, str::len);
    let header = 2 + 2 + 4 + 2 + usize::from(version >= FLEXIBLE_FROM);
    header + names + COMPACT_LEN + 2 + 4 + COMPACT_LEN + usize::from(version >= FLEXIBLE_FROM)
}

/// Maximum size of a topic without its partitions.
pub fn topic_bytes(version: i16, name: &str) -> usize {
    let named = if version >= TOPIC_IDS_FROM {
        16
    } else {
        COMPACT_LEN + name.len()
    };
    named + COMPACT_LEN + usize::from(version >= FLEXIBLE_FROM)
}

/// Maximum size of a partition without its batch.
pub fn partition_bytes(version: i16) -> usize {
    4 + COMPACT_LEN + usize::from(version >= FLEXIBLE_FROM)
}

/// Maximum overhead of a request with one batch, in any version.
pub fn overhead_bound(client_id: &str, transactional_id: Option<&str>, topic: &str) -> usize {
    let named = topic_bytes(FLEXIBLE_FROM, topic).max(topic_bytes(MAX_VERSION, topic));
    head_bytes(MAX_VERSION, client_id, transactional_id) + named + partition_bytes(MAX_VERSION)
}

/// Answer of the broker about one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub code: i16,
    pub base_offset: i64,
    pub log_append_time: i64,
    pub log_start_offset: i64,
    pub record_errors: Vec<(i32, Option<String>)>,
    pub error_message: Option<String>,
    /// Current leader, if it is another node: node id and leader epoch.
    pub leader: Option<(i32, i32)>,
    /// Host and port of that node.
    pub node: Option<(String, i32)>,
}

/// A partition of a response, with the topic by name or by id, depending on the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionAnswer {
    pub name: String,
    pub id: [u8; 16],
    pub partition: i32,
    pub answer: Answer,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub partitions: Vec<PartitionAnswer>,
    pub throttle_time_ms: i32,
}

/// Reads a response, from the response header's tags on.
pub fn decode_response(version: i16, frame: &[u8]) -> Result<Response, DecodeError> {
    let mut reader = Fields::new(frame, version >= FLEXIBLE_FROM, "Produce");
    reader.skip_tags()?;
    let mut response = Response::default();
    for _ in 0..reader.count(3)? {
        let mut name = String::new();
        let mut id = [0; 16];
        if version >= TOPIC_IDS_FROM {
            id.copy_from_slice(reader.reader.bytes(16)?);
        } else {
            name = reader.string()?.unwrap_or_default();
        }
        for _ in 0..reader.count(14)? {
            let (partition, answer) = partition_answer(version, &mut reader)?;
            response.partitions.push(PartitionAnswer {
                name: name.clone(),
                id,
                partition,
                answer,
            });
        }
        reader.skip_tags()?;
    }
    response.throttle_time_ms = reader.reader.i32()?;
    let nodes = reader.node_endpoints()?;
    for partition in &mut response.partitions {
        if let Some((leader, _)) = partition.answer.leader {
            let node = nodes.iter().find(|(id, _, _)| *id == leader);
            partition.answer.node = node.map(|(_, host, port)| (host.clone(), *port));
        }
    }
    if reader.reader.remaining() > 0 {
        return Err(DecodeError::corrupt(
            "end of a Produce response",
            "no bytes left",
            reader.reader.remaining().to_string(),
        ));
    }
    Ok(response)
}

fn partition_answer(version: i16, reader: &mut Fields<'_>) -> Result<(i32, Answer), DecodeError> {
    let partition = reader.reader.i32()?;
    let mut answer = Answer {
        code: reader.reader.i16()?,
        base_offset: reader.reader.i64()?,
        log_append_time: reader.reader.i64()?,
        log_start_offset: -1,
        ..Answer::default()
    };
    if version >= 5 {
        answer.log_start_offset = reader.reader.i64()?;
    }
    if version >= 8 {
        for _ in 0..reader.count(5)? {
            let index = reader.reader.i32()?;
            let message = reader.string()?;
            reader.skip_tags()?;
            answer.record_errors.push((index, message));
        }
        answer.error_message = reader.string()?;
    }
    let mut leader = None;
    reader.tags(|tag, field| {
        if tag == 0 {
            leader = Some((field.reader.i32()?, field.reader.i32()?));
        }
        Ok(())
    })?;
    answer.leader = leader.filter(|(node, _)| *node >= 0);
    Ok((partition, answer))
}
