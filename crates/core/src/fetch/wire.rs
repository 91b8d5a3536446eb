//! Fetch requests and responses, versions 4 to 18, straight from the schema.
//!
//! Stations: request and fetch response. Records are not copied: they are slices of the response's frame.
//! References: Fetch (key 1), KIP-227, KIP-392, KIP-516, KIP-595, KIP-903, KIP-951.

use bytes::Bytes;

use crate::bytes::fields::{Fields, write_count, write_no_tags, write_string};
use crate::error::DecodeError;
use crate::ids::TopicId;

pub const API_KEY: i16 = 1;
pub const MIN_VERSION: i16 = 4;
pub const MAX_VERSION: i16 = 18;
const FLEXIBLE_FROM: i16 = 12;
const TOPIC_IDS_FROM: i16 = 13;
pub const SESSIONS_FROM: i16 = 7;

/// Whether requests and responses of this version name topics by their ids.
pub const fn uses_topic_ids(version: i16) -> bool {
    version >= TOPIC_IDS_FROM
}

/// Head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: &'a str,
    pub rack: &'a str,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation: i8,
    pub session_id: i32,
    pub session_epoch: i32,
}

/// Fields of one partition of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    pub max_bytes: i32,
}

/// A topic's partitions: those to fetch, or the numbers of those to forget.
#[derive(Debug, Clone)]
pub struct TopicOf<'a, T> {
    pub name: &'a str,
    pub id: TopicId,
    pub partitions: Vec<T>,
}

/// Encodes a request: a frame without its size.
pub fn encode_request(
    head: Head<'_>,
    topics: &[TopicOf<'_, FetchPartition>],
    forgotten: &[TopicOf<'_, i32>],
) -> Bytes {
    let version = head.version;
    let flexible = version >= FLEXIBLE_FROM;
    let mut out = Vec::with_capacity(128 + 48 * topics.len());
    out.extend_from_slice(&API_KEY.to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&head.correlation_id.to_be_bytes());
    // The client id is an int16 string even in the flexible header.
    write_string(&mut out, Some(head.client_id), false);
    write_no_tags(&mut out, flexible);
    // From 15 on the replica is a tag, which a consumer leaves out.
    if version <= 14 {
        out.extend_from_slice(&(-1i32).to_be_bytes());
    }
    out.extend_from_slice(&head.max_wait_ms.to_be_bytes());
    out.extend_from_slice(&head.min_bytes.to_be_bytes());
    out.extend_from_slice(&head.max_bytes.to_be_bytes());
    out.extend_from_slice(&head.isolation.to_be_bytes());
    if version >= SESSIONS_FROM {
        out.extend_from_slice(&head.session_id.to_be_bytes());
        out.extend_from_slice(&head.session_epoch.to_be_bytes());
    }
    write_topics(&mut out, version, topics, |out, partition| {
        write_partition(out, version, partition);
    });
    if version >= SESSIONS_FROM {
        write_topics(&mut out, version, forgotten, |out, partition| {
            out.extend_from_slice(&partition.to_be_bytes());
        });
    }
    if version >= 11 {
        write_string(&mut out, Some(head.rack), flexible);
    }
    write_no_tags(&mut out, flexible);
    Bytes::from(out)
}

fn write_topics<T>(
    out: &mut Vec<u8>,
    version: i16,
    topics: &[TopicOf<'_, T>],
    mut write: impl FnMut(&mut Vec<u8>, &T),
) {
    let flexible = version >= FLEXIBLE_FROM;
    write_count(out, topics.len(), flexible);
    for topic in topics {
        if uses_topic_ids(version) {
            out.extend_from_slice(&topic.id);
        } else {
            write_string(out, Some(topic.name), flexible);
        }
        write_count(out, topic.partitions.len(), flexible);
        for partition in &topic.partitions {
            write(out, partition);
        }
        write_no_tags(out, flexible);
    }
}

fn write_partition(out: &mut Vec<u8>, version: i16, of: &FetchPartition) {
    out.extend_from_slice(&of.partition.to_be_bytes());
    if version >= 9 {
        out.extend_from_slice(&of.current_leader_epoch.to_be_bytes());
    }
    out.extend_from_slice(&of.fetch_offset.to_be_bytes());
    if version >= 12 {
        out.extend_from_slice(&of.last_fetched_epoch.to_be_bytes());
    }
    // Start of a follower's log: a consumer has none.
    if version >= 5 {
        out.extend_from_slice(&(-1i64).to_be_bytes());
    }
    out.extend_from_slice(&of.max_bytes.to_be_bytes());
    write_no_tags(out, version >= FLEXIBLE_FROM);
}

/// A transaction whose records are hidden under read_committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// The answer about one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub aborted: Vec<AbortedTransaction>,
    /// Another replica to fetch from; -1 for none.
    pub preferred_read_replica: i32,
    /// Batches, the last one perhaps cut; a slice of the frame.
    pub records: Bytes,
    /// (epoch, end offset) at which the logs diverge.
    pub diverging: Option<(i32, i64)>,
    /// (node id, leader epoch) of the leader that it names instead of itself.
    pub leader: Option<(i32, i32)>,
    /// (end offset, epoch) of a snapshot: only for replicas of the metadata log.
    pub snapshot: Option<(i64, i32)>,
    /// Address of the leader that it names.
    pub node: Option<(String, i32)>,
}

/// A partition of a response, by name or by id as the version has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionAnswer {
    pub name: std::sync::Arc<str>,
    pub id: TopicId,
    pub partition: i32,
    pub answer: Answer,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub throttle_time_ms: i32,
    pub code: i16,
    pub session_id: i32,
    pub partitions: Vec<PartitionAnswer>,
}

/// Decodes a response, from the response header's tags on.
pub fn decode_response(version: i16, frame: &Bytes) -> Result<Response, DecodeError> {
    let mut fields = Fields::new(frame, version >= FLEXIBLE_FROM, "Fetch");
    fields.skip_tags()?;
    let mut response = Response {
        throttle_time_ms: fields.reader.i32()?,
        ..Response::default()
    };
    if version >= SESSIONS_FROM {
        response.code = fields.reader.i16()?;
        response.session_id = fields.reader.i32()?;
    }
    for _ in 0..fields.count(3)? {
        let mut name = std::sync::Arc::from("");
        let mut id = [0; 16];
        if uses_topic_ids(version) {
            id.copy_from_slice(fields.reader.bytes(16)?);
        } else {
            name = std::sync::Arc::from(fields.string()?.unwrap_or_default());
        }
        for _ in 0..fields.count(24)? {
            let (partition, answer) = partition_answer(version, &mut fields, frame)?;
            response.partitions.push(PartitionAnswer {
                name: std::sync::Arc::clone(&name),
                id,
                partition,
                answer,
            });
        }
        fields.skip_tags()?;
    }
    let nodes = fields.node_endpoints()?;
    for partition in &mut response.partitions {
        if let Some((leader, _)) = partition.answer.leader {
            let node = nodes.iter().find(|(id, _, _)| *id == leader);
            partition.answer.node = node.map(|(_, host, port)| (host.clone(), *port));
        }
    }
    match fields.reader.remaining() {
        0 => Ok(response),
        more => Err(DecodeError::corrupt(
            "end of a Fetch response",
            "no bytes left",
            more,
        )),
    }
}

fn partition_answer(
    version: i16,
    fields: &mut Fields<'_>,
    frame: &Bytes,
) -> Result<(i32, Answer), DecodeError> {
    let partition = fields.reader.i32()?;
    let mut answer = Answer {
        code: fields.reader.i16()?,
        high_watermark: fields.reader.i64()?,
        last_stable_offset: fields.reader.i64()?,
        log_start_offset: -1,
        aborted: Vec::new(),
        preferred_read_replica: -1,
        records: Bytes::new(),
        diverging: None,
        leader: None,
        snapshot: None,
        node: None,
    };
    if version >= 5 {
        answer.log_start_offset = fields.reader.i64()?;
    }
    for _ in 0..fields.count(16)? {
        answer.aborted.push(AbortedTransaction {
            producer_id: fields.reader.i64()?,
            first_offset: fields.reader.i64()?,
        });
        fields.skip_tags()?;
    }
    if version >= 11 {
        answer.preferred_read_replica = fields.reader.i32()?;
    }
    answer.records = fields.records(frame)?;
    fields.tags(|tag, field| {
        match tag {
            0 => answer.diverging = Some((field.reader.i32()?, field.reader.i64()?)),
            1 => answer.leader = Some((field.reader.i32()?, field.reader.i32()?)),
            2 => answer.snapshot = Some((field.reader.i64()?, field.reader.i32()?)),
            _ => {}
        }
        Ok(())
    })?;
    answer.diverging = answer.diverging.filter(|(_, end)| *end >= 0);
    answer.leader = answer.leader.filter(|(node, _)| *node >= 0);
    Ok((partition, answer))
}
