//! Produce on the wire, compared with bytes of Kafka's own classes, and invalid bytes.
//!
//! The vectors are made by `tools/produce_vectors.py`.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::Bytes;
use ottla_core::produce::wire::{
    Answer, Head, MAX_VERSION, MIN_VERSION, Response, TopicBatches, decode_response, encode_request,
};
use proptest::prelude::*;

const VECTORS: &str = include_str!("data/produce_vectors.txt");

struct Vector {
    version: i16,
    described: &'static str,
    body: Vec<u8>,
}

fn vectors(kind: &str) -> Vec<Vector> {
    let found: Vec<Vector> = VECTORS
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[0] == kind).then(|| Vector {
                version: fields[1].parse().unwrap(),
                described: fields[2],
                body: unhex(fields[3]),
            })
        })
        .collect();
    let versions: BTreeSet<i16> = found.iter().map(|vector| vector.version).collect();
    assert!(versions.into_iter().eq(MIN_VERSION..=MAX_VERSION));
    found
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn untext(text: &str) -> Option<String> {
    let hex = text.strip_prefix('x')?;
    Some(String::from_utf8(unhex(hex)).unwrap())
}

fn text(value: Option<&str>) -> String {
    value.map_or("-".into(), |value| format!("x{}", hex(value.as_bytes())))
}

#[test]
fn requests_are_kafkas_bytes() {
    for vector in vectors("request") {
        let mut parts = vector.described.split('/');
        let head: Vec<&str> = parts.next().unwrap().split(',').collect();
        let transactional_id = untext(head[0]);
        let parsed: Vec<Described> = parts.map(topic).collect();
        let topics: Vec<TopicBatches<'_>> = parsed
            .iter()
            .map(|(name, id, batches)| TopicBatches {
                name,
                id: *id,
                batches: batches.clone(),
            })
            .collect();
        let head = Head {
            version: vector.version,
            correlation_id: 0x0102_0304,
            client_id: "me",
            transactional_id: transactional_id.as_deref(),
            acks: head[1].parse().unwrap(),
            timeout_ms: head[2].parse().unwrap(),
        };
        let frame: Vec<u8> = encode_request(head, &topics).concat();
        let mut expected = vec![0, 0, 0, vector.version as u8, 1, 2, 3, 4, 0, 2, b'm', b'e'];
        if vector.version >= 9 {
            expected.push(0);
        }
        expected.extend(&vector.body);
        assert_eq!(hex(&frame), hex(&expected), "version {}", vector.version);
    }
}

/// A topic's name, id and batches.
type Described = (String, [u8; 16], Vec<(i32, Bytes)>);

fn topic(described: &str) -> Described {
    let mut parts = described.split(';');
    let (name, id) = parts.next().unwrap().split_once(',').unwrap();
    let batches = parts
        .map(|batch| {
            let (index, records) = batch.split_once(",x").unwrap();
            (index.parse().unwrap(), Bytes::from(unhex(records)))
        })
        .collect();
    (
        untext(name).unwrap(),
        unhex(id).try_into().unwrap(),
        batches,
    )
}

fn describe(response: &Response) -> String {
    let mut parts = vec![response.throttle_time_ms.to_string()];
    for partition in &response.partitions {
        let answer = &partition.answer;
        let errors: Vec<String> = answer
            .record_errors
            .iter()
            .map(|(index, message)| format!("{index}={}", text(message.as_deref())))
            .collect();
        parts.push(format!(
            "{},{};{};{};{};{};{};{};{};{};{}",
            text(Some(&partition.name)),
            hex(&partition.id),
            partition.partition,
            answer.code,
            answer.base_offset,
            answer.log_append_time,
            answer.log_start_offset,
            errors.join(","),
            text(answer.error_message.as_deref()),
            leader(answer),
            node(answer),
        ));
    }
    parts.join("/")
}

fn leader(answer: &Answer) -> String {
    answer
        .leader
        .map_or("-".into(), |(id, epoch)| format!("{id},{epoch}"))
}

fn node(answer: &Answer) -> String {
    answer.node.as_ref().map_or("-".into(), |(host, port)| {
        format!("{},{port}", text(Some(host)))
    })
}

/// A response as the connection passes it on: the response header's tags, if any, in front.
fn framed(vector: &Vector) -> Vec<u8> {
    let mut frame = Vec::new();
    if vector.version >= 9 {
        frame.push(0);
    }
    frame.extend(&vector.body);
    frame
}

#[test]
fn responses_are_read_as_kafkas() {
    for vector in vectors("response") {
        let response = decode_response(vector.version, &framed(&vector)).unwrap();
        assert_eq!(
            describe(&response),
            vector.described,
            "version {}",
            vector.version
        );
    }
}

#[test]
fn a_cut_response_is_an_error() {
    for vector in vectors("response") {
        let frame = framed(&vector);
        for end in 0..frame.len() {
            assert!(
                decode_response(vector.version, &frame[..end]).is_err(),
                "version {} cut at {end} of {}",
                vector.version,
                frame.len()
            );
        }
        let mut longer = frame;
        longer.push(0);
        assert!(decode_response(vector.version, &longer).is_err());
    }
}

#[test]
fn empty_topics_are_three_bytes_each() {
    let mut frame = vec![0, 21];
    frame.extend([1, 1, 0].repeat(20));
    frame.extend([0, 0, 0, 0, 0]);
    assert_eq!(decode_response(9, &frame), Ok(Response::default()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_bytes_are_read_or_refused(
        version in MIN_VERSION..=MAX_VERSION,
        frame in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = decode_response(version, &frame);
    }

    #[test]
    fn a_changed_response_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let vectors = vectors("response");
        let vector = which.get(&vectors);
        let mut frame = framed(vector);
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = decode_response(vector.version, &frame);
    }
}
