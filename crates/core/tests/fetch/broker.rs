//! A broker's fetch side for tests: logs, sessions, and answers as KIP-74 and KIP-227 want them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ottla_core::bytes::checksum::crc32c;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::bytes::varint::{Reader, write_uvarint};
use ottla_core::fetch::flow::{Event, Held, Settings};
use ottla_core::fetch::run::Run;
use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::take::Take;
use ottla_core::ids::ConnId;
use ottla_core::record::encode::{BatchBuilder, ProducerFields, seal};
use ottla_core::seam::{Bell, Flow, OutRequest, Wake, WakeIo};

pub const VERSION: i16 = 16;
pub const CONTROL: i16 = 0x20;

pub fn settings() -> Settings {
    Settings {
        client_id: "test".into(),
        rack: String::new(),
        isolation: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        partition_bytes: 1 << 18,
        max_wait: 500_000,
        request_timeout: 30_000_000,
        buffer_bytes: 1 << 20,
        decompressed_bytes: 1 << 24,
        check_crcs: true,
    }
}

pub fn topic_id(topic: &str) -> [u8; 16] {
    let mut id = [1; 16];
    id[..topic.len()].copy_from_slice(topic.as_bytes());
    id
}

/// Counts rings and wakes.
#[derive(Default)]
pub struct Counter(pub AtomicU64);

impl Counter {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Bell for Counter {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl WakeIo for Counter {
    fn wake_io(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Counter {
    fn wake(&self, _token: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn shared(settings: Settings) -> FetchShared {
    FetchShared::new(settings, Arc::new(Counter::default()))
}

/// The value of a record of the test logs.
pub fn value_of(partition: i32, offset: i64) -> String {
    format!("{partition}:{offset}")
}

/// A batch in a log.
#[derive(Debug, Clone)]
pub struct LogBatch {
    pub next: i64,
    pub bytes: Vec<u8>,
}

/// Properties in which a batch differs from an ordinary one.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub codec: Codec,
    pub producer: Option<i64>,
    /// 0: abort, 1: commit.
    pub control: Option<u8>,
    /// Number of offsets at its end whose records compaction has removed.
    pub gap: i32,
    pub padding: usize,
}

pub const PLAIN: Kind = Kind {
    codec: Codec::None,
    producer: None,
    control: None,
    gap: 0,
    padding: 0,
};

pub fn batch(partition: i32, base: i64, count: usize, epoch: i32, kind: Kind) -> LogBatch {
    let mut builder = BatchBuilder::with_buffer(Vec::new());
    for index in 0..count {
        let mut value = value_of(partition, base + index as i64);
        value.push_str(&" ".repeat(kind.padding));
        match kind.control {
            Some(control) => builder.append(7, Some(&[0, 0, 0, control]), Some(&[0; 6]), &[]),
            None => builder.append(7, Some(b"k"), Some(value.as_bytes()), &[]),
        };
    }
    let producer = ProducerFields {
        producer_id: kind.producer.unwrap_or(-1),
        epoch: 0,
        base_sequence: 0,
        transactional: kind.producer.is_some(),
    };
    let mut bytes = seal(builder, kind.codec, None, producer).unwrap().bytes;
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    if kind.control.is_some() {
        let attributes = i16::from_be_bytes([bytes[21], bytes[22]]) | CONTROL;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    }
    let last = (count as i32 + kind.gap - 1).max(0);
    bytes[23..27].copy_from_slice(&last.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    LogBatch {
        next: base + i64::from(last) + 1,
        bytes,
    }
}

/// A parsed request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub max_wait_ms: i32,
    pub max_bytes: i32,
    pub session: (i32, i32),
    /// (topic, partition, offset, max bytes)
    pub partitions: Vec<(String, i32, i64, i32)>,
    /// Leader epoch of the record before the offset, of each of these partitions.
    pub fetched_epochs: Vec<i32>,
    pub forgotten: Vec<(String, i32)>,
}

fn compact(reader: &mut Reader<'_>) -> usize {
    reader.uvarint().unwrap() as usize - 1
}

fn topic_of(reader: &mut Reader<'_>) -> String {
    let id = reader.bytes(16).unwrap();
    let end = id.iter().position(|byte| *byte == 1).unwrap_or(16);
    String::from_utf8(id[..end].to_vec()).unwrap()
}

/// Reads a request of `VERSION`.
pub fn parse(request: &OutRequest) -> Asked {
    let frame: Vec<u8> = request.segments.concat();
    let reader = &mut Reader::new(&frame);
    assert_eq!((reader.i16(), reader.i16()), (Ok(1), Ok(VERSION)));
    reader.i32().unwrap();
    let len = reader.i16().unwrap() as usize;
    reader.bytes(len + 1).unwrap();
    let mut asked = Asked {
        max_wait_ms: reader.i32().unwrap(),
        ..Asked::default()
    };
    reader.i32().unwrap();
    asked.max_bytes = reader.i32().unwrap();
    reader.i8().unwrap();
    asked.session = (reader.i32().unwrap(), reader.i32().unwrap());
    for _ in 0..compact(reader) {
        let topic = topic_of(reader);
        for _ in 0..compact(reader) {
            let partition = reader.i32().unwrap();
            reader.i32().unwrap();
            let offset = reader.i64().unwrap();
            asked.fetched_epochs.push(reader.i32().unwrap());
            reader.bytes(8).unwrap();
            let most = reader.i32().unwrap();
            reader.bytes(1).unwrap();
            let place = (topic.clone(), partition, offset, most);
            asked.partitions.push(place);
        }
        reader.bytes(1).unwrap();
    }
    for _ in 0..compact(reader) {
        let topic = topic_of(reader);
        for _ in 0..compact(reader) {
            asked.forgotten.push((topic.clone(), reader.i32().unwrap()));
        }
        reader.bytes(1).unwrap();
    }
    let rack = compact(reader);
    reader.bytes(rack + 1).unwrap();
    assert_eq!(reader.remaining(), 0);
    asked
}

/// One partition's answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub topic: String,
    pub partition: i32,
    pub code: i16,
    /// High watermark; the last stable offset is a tenth less.
    pub end: i64,
    pub aborted: Vec<(i64, i64)>,
    pub replica: i32,
    pub records: Vec<u8>,
    pub leader: Option<(i32, i32)>,
    pub diverging: Option<(i32, i64)>,
}

pub fn reply(topic: &str, partition: i32, records: Vec<u8>) -> Reply {
    Reply {
        topic: topic.into(),
        partition,
        code: 0,
        end: 1000,
        aborted: Vec::new(),
        replica: -1,
        records,
        leader: None,
        diverging: None,
    }
}

/// A response of `VERSION`; the address of a leader that it names is `h<leader>:9092`.
pub fn response(code: i16, session: i32, replies: &[Reply]) -> Bytes {
    throttled(0, code, session, replies)
}

pub fn throttled(throttle_ms: i32, code: i16, session: i32, replies: &[Reply]) -> Bytes {
    let mut out = vec![0];
    out.extend(throttle_ms.to_be_bytes());
    out.extend(code.to_be_bytes());
    out.extend(session.to_be_bytes());
    write_uvarint(&mut out, replies.len() as u32 + 1);
    for reply in replies {
        out.extend(topic_id(&reply.topic));
        out.push(2);
        write_reply(&mut out, reply);
        out.push(0);
    }
    let leaders: Vec<i32> = replies
        .iter()
        .filter_map(|reply| reply.leader.map(|leader| leader.0))
        .collect();
    let mut nodes = Vec::new();
    write_uvarint(&mut nodes, leaders.len() as u32 + 1);
    for leader in leaders {
        let host = format!("h{leader}");
        nodes.extend(leader.to_be_bytes());
        nodes.push(host.len() as u8 + 1);
        nodes.extend(host.as_bytes());
        nodes.extend(9092i32.to_be_bytes());
        nodes.extend([0, 0]);
    }
    out.extend([1, 0]);
    write_uvarint(&mut out, nodes.len() as u32);
    out.extend(nodes);
    Bytes::from(out)
}

fn write_reply(out: &mut Vec<u8>, reply: &Reply) {
    out.extend(reply.partition.to_be_bytes());
    out.extend(reply.code.to_be_bytes());
    for mark in [reply.end, reply.end - reply.end / 10, 1] {
        out.extend(mark.to_be_bytes());
    }
    write_uvarint(out, reply.aborted.len() as u32 + 1);
    for (producer, first) in &reply.aborted {
        out.extend(producer.to_be_bytes());
        out.extend(first.to_be_bytes());
        out.push(0);
    }
    out.extend(reply.replica.to_be_bytes());
    write_uvarint(out, reply.records.len() as u32 + 1);
    out.extend(&reply.records);
    let tags = usize::from(reply.diverging.is_some()) + usize::from(reply.leader.is_some());
    out.push(tags as u8);
    if let Some((epoch, end)) = reply.diverging {
        out.extend([0, 13]);
        out.extend(epoch.to_be_bytes());
        out.extend(end.to_be_bytes());
        out.push(0);
    }
    if let Some((node, epoch)) = reply.leader {
        out.extend([1, 9]);
        out.extend(node.to_be_bytes());
        out.extend(epoch.to_be_bytes());
        out.push(0);
    }
}

/// The partitions of a session: offset and maximum bytes of each.
type Fetched = BTreeMap<(String, i32), (i64, i32)>;

/// Logs and the sessions of its connections.
#[derive(Default)]
pub struct Broker {
    pub logs: HashMap<(String, i32), Vec<LogBatch>>,
    sessions: HashMap<ConnId, (i32, i32, Fetched)>,
    next_session: i32,
    rounds: usize,
    /// Its next answer refuses this partition with this code.
    pub refuse: Option<(i32, i16)>,
    /// Its next answer to a request inside a session is this code, and the session is gone.
    pub end_session: Option<i16>,
}

impl Broker {
    /// Takes the request into the connection's session and answers for all of it.
    pub fn answer(&mut self, conn: ConnId, asked: &Asked) -> Bytes {
        let (id, epoch) = asked.session;
        if epoch != 0
            && let Some(code) = self.end_session.take()
        {
            return response(code, 0, &[]);
        }
        if epoch == 0 {
            self.next_session += 1;
            let fresh = (self.next_session, 0, BTreeMap::new());
            self.sessions.insert(conn, fresh);
        } else {
            let known = &self.sessions[&conn];
            assert_eq!((known.0, known.1), (id, epoch), "session and epoch");
        }
        let session = self.sessions.get_mut(&conn).unwrap();
        session.1 += 1;
        for (topic, partition, offset, most) in &asked.partitions {
            session
                .2
                .insert((topic.clone(), *partition), (*offset, *most));
        }
        for place in &asked.forgotten {
            assert!(session.2.remove(place).is_some(), "forgets {place:?}");
        }
        let (id, places) = (session.0, session.2.clone());
        let mut replies = self.read(&places, asked.max_bytes as usize);
        if let Some((partition, code)) = self.refuse.take()
            && places.contains_key(&("t".into(), partition))
        {
            replies.retain(|reply| reply.partition != partition);
            replies.push(Reply {
                code,
                ..reply("t", partition, Vec::new())
            });
        }
        response(0, id, &replies)
    }

    /// The first batch comes whole; a later one may be cut in the middle.
    fn read(&mut self, places: &Fetched, max_bytes: usize) -> Vec<Reply> {
        self.rounds += 1;
        let start = self.rounds % places.len().max(1);
        let order = places.iter().cycle().skip(start).take(places.len());
        let mut left = max_bytes;
        let mut replies: Vec<Reply> = Vec::new();
        for ((topic, partition), (offset, most)) in order {
            let log = self.logs.get(&(topic.clone(), *partition));
            let mut bytes: Vec<u8> = Vec::new();
            let free = left.min(*most as usize);
            let wanted = log.into_iter().flatten();
            for batch in wanted.filter(|batch| batch.next > *offset) {
                if bytes.is_empty() && replies.is_empty() {
                    bytes.extend(&batch.bytes);
                } else if bytes.len() < free {
                    let end = batch.bytes.len().min(free - bytes.len());
                    bytes.extend(&batch.bytes[..end]);
                } else {
                    break;
                }
            }
            left = left.saturating_sub(bytes.len());
            if !bytes.is_empty() {
                replies.push(reply(topic, *partition, bytes));
            }
        }
        replies
    }
}

/// The next request, parsed.
pub fn next(flow: &FetchShared, conn: ConnId) -> Option<(u64, Asked)> {
    let request = flow.next_request(conn, 1, 0)?;
    Some((request.token, parse(&request)))
}

pub fn runs(take: Take) -> Vec<Run> {
    match take {
        Take::Runs(runs) => runs,
        other => panic!("no runs but {other:?}"),
    }
}

/// (partition, offset) of every record, each checked against its value.
pub fn offsets(runs: &[Run]) -> Vec<(i32, i64)> {
    let mut all = Vec::new();
    for run in runs {
        for index in run.records.clone() {
            let record = run.batch.record(index).unwrap();
            let value = std::str::from_utf8(record.value.unwrap()).unwrap();
            assert_eq!(value.trim_end(), value_of(run.partition, record.offset));
            all.push((run.partition, record.offset));
        }
        assert!(run.next_offset > all.last().unwrap().1);
    }
    all
}

pub const CONN: u64 = 5;
pub const NODE: i32 = 1;
pub const ADDRESS: &str = "b:9092";

/// A flow with partitions 0.. of "t", at offset 0, routed over `CONN`.
pub fn flowing(partitions: i32) -> FetchShared {
    let flow = shared(settings());
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    for partition in 0..partitions {
        flow.assign("t", topic_id("t"), partition);
        flow.position("t", partition, 0, -1);
        flow.route("t", partition, CONN, 3);
    }
    flow
}

/// Answers the request in flight.
pub fn answer(flow: &FetchShared, token: u64, replies: &[Reply]) {
    let frame = response(0, 1, replies);
    flow.on_response(CONN, token, frame, 0).unwrap();
}

pub fn records(partition: i32, base: i64, count: usize) -> Vec<u8> {
    batch(partition, base, count, 4, PLAIN).bytes
}

pub fn held(flow: &FetchShared) -> Vec<Held> {
    let events = flow.take_events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Held(held) => Some(held),
            Event::Throttled(..) | Event::LaneWanted(_) => None,
        })
        .collect()
}

pub fn position(flow: &FetchShared, partition: i32) -> i64 {
    flow.partition_state("t", partition).unwrap().position
}
