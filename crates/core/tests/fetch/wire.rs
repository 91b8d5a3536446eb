//! Fetch requests and responses of every version, compared with those of the generated messages.

use bytes::Bytes;
use ottla_core::fetch::wire::{
    AbortedTransaction, Answer, FetchPartition, Head, TopicOf, decode_response, encode_request,
};

const VECTORS: &str = include_str!("vectors.txt");
const CLIENT: &str = "me";

fn vectors() -> Vec<(i16, Vec<u8>, Vec<u8>)> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split(' ');
            let version = words.next().unwrap().parse().unwrap();
            (
                version,
                bytes_of(words.next().unwrap()),
                bytes_of(words.next().unwrap()),
            )
        })
        .collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn id() -> [u8; 16] {
    std::array::from_fn(|index| index as u8)
}

/// The header in front of a body.
fn framed(version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 1];
    frame.extend(version.to_be_bytes());
    frame.extend(42i32.to_be_bytes());
    frame.extend((CLIENT.len() as i16).to_be_bytes());
    frame.extend(CLIENT.as_bytes());
    if version >= 12 {
        frame.push(0);
    }
    frame.extend(body);
    frame
}

#[test]
fn requests_are_those_of_the_schema() {
    for (version, request, _) in vectors() {
        let head = Head {
            version,
            correlation_id: 42,
            client_id: CLIENT,
            rack: "rack-a",
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 52_428_800,
            isolation: 1,
            session_id: 77,
            session_epoch: 3,
        };
        let partition = |partition, epoch, fetch_offset, fetched, max_bytes| FetchPartition {
            partition,
            current_leader_epoch: epoch,
            fetch_offset,
            last_fetched_epoch: fetched,
            max_bytes,
        };
        let topics = [TopicOf {
            name: "orders",
            id: id(),
            partitions: vec![
                partition(3, 5, 1_234_567_890_123, 4, 1_048_576),
                partition(4, -1, 0, -1, 1),
            ],
        }];
        let forgotten = [TopicOf {
            name: "gone",
            id: [0; 16],
            partitions: vec![7, 8],
        }];
        let frame = encode_request(head, &topics, &forgotten);
        assert_eq!(frame, framed(version, &request), "version {version}");
    }
}

/// The response header's tags come first.
fn response_frame(version: i16, body: &[u8]) -> Bytes {
    let mut frame = if version >= 12 { vec![0] } else { vec![] };
    frame.extend(body);
    Bytes::from(frame)
}

#[test]
fn responses_are_read_by_the_schema() {
    for (version, _, body) in vectors() {
        let frame = response_frame(version, &body);
        let response = decode_response(version, &frame).unwrap();
        assert_eq!(response.throttle_time_ms, 15);
        let session = if version >= 7 { 77 } else { 0 };
        assert_eq!((response.code, response.session_id), (0, session));
        let [first, second] = &response.partitions[..] else {
            panic!("{} partitions", response.partitions.len());
        };
        let names = version < 13;
        assert_eq!(&*first.name, if names { "orders" } else { "" });
        assert_eq!(first.id, if names { [0; 16] } else { id() });
        assert_eq!((first.partition, second.partition), (3, 4));
        let tagged = version >= 12;
        let expected = Answer {
            code: 6,
            high_watermark: 200,
            last_stable_offset: 190,
            log_start_offset: if version >= 5 { 10 } else { -1 },
            aborted: vec![AbortedTransaction {
                producer_id: 9,
                first_offset: 100,
            }],
            preferred_read_replica: if version >= 11 { 2 } else { -1 },
            records: Bytes::from_static(b"records"),
            diverging: tagged.then_some((2, 99)),
            leader: tagged.then_some((6, 8)),
            snapshot: tagged.then_some((11, 12)),
            node: (version >= 16).then(|| ("h6".into(), 9092)),
        };
        assert_eq!(first.answer, expected, "version {version}");
        assert!(second.answer.records.is_empty() && second.answer.aborted.is_empty());
        let records = first.answer.records.as_ptr() as usize;
        let start = frame.as_ptr() as usize;
        assert!((start..start + frame.len()).contains(&records), "copied");
    }
}

#[test]
fn frames_that_are_cut_or_too_long_are_refused_at_every_byte() {
    for (version, _, body) in vectors() {
        let frame = response_frame(version, &body);
        for len in 0..frame.len() {
            assert!(decode_response(version, &frame.slice(..len)).is_err());
        }
        let mut longer = frame.to_vec();
        longer.push(0);
        assert!(decode_response(version, &Bytes::from(longer)).is_err());
    }
}

#[test]
fn a_count_is_no_reason_to_allocate() {
    for version in [4, 11] {
        let mut frame = vec![0; if version >= 7 { 10 } else { 4 }];
        frame.extend(i32::MAX.to_be_bytes());
        assert!(decode_response(version, &Bytes::from(frame)).is_err());
    }
    let mut frame = vec![0; 11];
    frame.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(decode_response(12, &Bytes::from(frame)).is_err());
}
