//! The size of batches, sealing ahead of the request, and the batches of a request.

mod support;

use std::collections::HashMap;

use ottla_core::bytes::compression::codec::{Codec, Compression, Cost};
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::failure::Outcome;
use ottla_core::produce::append::ratio::Ratio;
use ottla_core::produce::event::Decision;
use ottla_core::produce::settings::{Batching, Settings};
use ottla_core::produce::wire::overhead_bound;
use ottla_core::record::header::BatchHeader;
use ottla_core::record::sealing::SealJob;
use ottla_core::seam::Flow;
use proptest::prelude::*;
use support::frames::{Sent, SentBatch};
use support::{Producer, SECOND, failure_of, is_pending, offset_of, settings};

const BATCH: usize = 4_000;

fn compressing(codec: Codec) -> Settings {
    Settings {
        codec,
        batch_bytes: BATCH,
        linger: SECOND,
        ..settings()
    }
}

/// A producer whose batches are all sealed ahead, by the test.
fn by_hand(set: Settings, partitions: usize) -> Producer {
    let producer = Producer::flowing(set, partitions);
    producer.sealed_by_hand.set(true);
    producer.shared.change(|flow| flow.seal_ahead_from(0));
    producer
}

fn next_seal(producer: &Producer) -> Option<SealJob> {
    let shared = &producer.shared;
    shared
        .next_seal(Cost::Low)
        .or_else(|| shared.next_seal(Cost::High))
}

fn seal(producer: &Producer, job: SealJob) {
    producer
        .shared
        .on_sealed(job.run(&mut Compressor::default()));
}

/// 100 bytes that compress very well, or not at all.
fn value(number: usize, well: bool) -> String {
    if well {
        return format!("{number:06}{}", "a".repeat(94));
    }
    let mut mixed = number as u64 + 1;
    let noise = (0..94).map(|_| {
        mixed = mixed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(11);
        char::from(b'!' + (mixed >> 57) as u8 % 94)
    });
    format!("{number:06}{}", noise.collect::<String>())
}

/// Sends these messages to one partition and answers every request at once.
fn send_all(producer: &Producer, values: impl Iterator<Item = String>) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut offset = 0;
    let mut answer_all = |producer: &Producer| {
        for sent in producer.requests(1) {
            producer.ack(1, &sent, offset);
            offset += sent.values().len() as i64;
            all.push(sent);
        }
    };
    for value in values {
        producer.send(0, &value);
        answer_all(producer);
    }
    producer.shared.with(|flow| flow.acc.flush());
    answer_all(producer);
    all
}

fn batches(sent: &[Sent]) -> Vec<&SentBatch> {
    sent.iter().flat_map(|sent| &sent.batches).collect()
}

fn codec_of(batch: &SentBatch) -> Codec {
    BatchHeader::parse(&batch.raw).unwrap().codec().unwrap()
}

#[test]
fn batch_size_counts_compressed_bytes_once_the_ratio_is_known() {
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy] {
        let producer = Producer::flowing(compressing(codec), 1);
        let sent = send_all(&producer, (0..20_000).map(|number| value(number, true)));
        let counts: Vec<usize> = batches(&sent).iter().map(|b| b.values.len()).collect();
        let (first, most) = (counts[0], *counts.iter().max().unwrap());
        assert!(first < 40, "there is no estimate for the first: {first}");
        let least = 4 * BATCH / 120;
        assert!(
            (least..4 * 40).contains(&most),
            "{codec:?}: {most} of {first}"
        );
        for batch in batches(&sent) {
            assert!(batch.raw.len() <= BATCH, "{codec:?}: {}", batch.raw.len());
        }
        producer.assert_done();
    }
}

#[test]
fn statistics_count_batches_sealed_ahead_before_and_after_compression() {
    let producer = by_hand(compressing(Codec::Lz4), 1);
    for number in 0..10 {
        producer.send(0, &value(number, true));
    }
    producer.shared.with(|flow| flow.acc.flush());
    let appended = producer.shared.with(|flow| flow.acc.used_bytes());
    seal(&producer, next_seal(&producer).unwrap());
    let sealed = producer.shared.with(|flow| flow.acc.used_bytes());
    assert!(
        sealed < appended,
        "{sealed} of {appended}: a smaller buffer, and the same batch"
    );
    let sent = producer.requests(1);
    let traffic = producer.shared.with(|flow| flow.snapshot(0)).traffic;
    assert_eq!((traffic.batches, traffic.records), (1, 10));
    assert!(traffic.raw_bytes > 10 * 100, "{}", traffic.raw_bytes);
    assert_eq!(traffic.sent_bytes, batches(&sent)[0].raw.len() as u64);
    assert_eq!(
        producer.shared.with(|flow| flow.acc.used_bytes()),
        sealed,
        "it is sent in the buffer that it was sealed into"
    );
    producer.ack(1, &sent[0], 0);
    producer.assert_done();
}

#[test]
fn an_unread_delivery_is_charged() {
    let weight = |keep| {
        let producer = Producer::flowing(
            Settings {
                keeps_outcomes: keep,
                ..settings()
            },
            1,
        );
        for number in 0..10 {
            producer.send(0, &value(number, true));
        }
        let used = producer.shared.with(|flow| flow.acc.used_bytes());
        let held = producer.shared.with(|flow| flow.snapshot(0)).topics[0].buffered_bytes;
        assert_eq!(used, held);
        used
    };
    assert_eq!(weight(true) - weight(false), 10 * 128);
}

#[test]
fn without_compression_batch_size_counts_appended_bytes() {
    let producer = Producer::flowing(compressing(Codec::None), 1);
    let sent = send_all(&producer, (0..1000).map(|number| value(number, true)));
    let largest = batches(&sent).iter().map(|b| b.raw.len()).max().unwrap();
    assert!((BATCH - 150..=BATCH).contains(&largest), "{largest}");
}

#[test]
fn a_wrong_estimate_makes_no_request_too_large() {
    let mut set = compressing(Codec::Lz4);
    (set.request_bytes, set.message_bytes) = (BATCH + 200, BATCH + 200);
    let producer = by_hand(set.clone(), 1);
    producer.sealed_by_hand.set(false);
    let values = |number| value(number, !(5_000..=5_400).contains(&number));
    let sent = send_all(&producer, (0..8_000).map(values));
    for sent in &sent {
        assert!(sent.bytes <= set.request_bytes, "{} bytes", sent.bytes);
    }
    let all: Vec<String> = (0..8_000).map(values).collect();
    let written: Vec<&str> = sent.iter().flat_map(Sent::values).collect();
    assert_eq!(written, all, "in order, each once");
    let mut expected = 0;
    for batch in batches(&sent) {
        assert_eq!(batch.base_sequence, expected);
        expected += batch.values.len() as i32;
    }
    producer.assert_done();
}

#[test]
fn batches_are_sealed_ahead_in_any_order_and_sent_in_theirs() {
    let producer = by_hand(compressing(Codec::Zstd), 1);
    let first = producer.batch(0, &["a0", "a1"]);
    let second = producer.batch(0, &["b0"]);
    assert!(producer.next(1).is_none(), "nothing is sealed");
    let (a, b) = (next_seal(&producer).unwrap(), next_seal(&producer).unwrap());
    assert!(next_seal(&producer).is_none());
    seal(&producer, b);
    assert!(producer.next(1).is_none(), "the first is being sealed");
    producer.tick();
    producer.waker.take();
    seal(&producer, a);
    assert_eq!(producer.waker.take(), 1, "the I/O thread has to be woken");
    let sent = producer.requests(1);
    let values: Vec<&str> = sent.iter().flat_map(Sent::values).collect();
    assert_eq!(values, ["a0", "a1", "b0"]);
    assert_eq!(sent[1].sequences(), [2]);
    producer.ack(1, &sent[0], 10);
    producer.ack(1, &sent[1], 12);
    assert_eq!(
        (offset_of(&first[1]), offset_of(&second[0])),
        (Some(11), Some(12))
    );
    producer.assert_done();
}

#[test]
fn pieces_of_a_refused_batch_are_sealed_ahead_also_while_they_are_held() {
    let producer = by_hand(compressing(Codec::Zstd), 1);
    let places = producer.batch(0, &["a", "b"]);
    let job = next_seal(&producer).unwrap();
    seal(&producer, job);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 10);
    producer.one_hold();
    producer.release(0, vec![Decision::Split]);
    assert!(producer.next(1).is_none(), "no request seals them");
    let first = next_seal(&producer).expect("a");
    producer.hold(0);
    assert_eq!(producer.one_hold().batches.len(), 2);
    seal(&producer, first);
    let second = next_seal(&producer).expect("b");
    producer.release(0, vec![Decision::Retry; 2]);
    let sent = producer.next(1).expect("a");
    assert_eq!((sent.values(), sent.sequences()), (vec!["a"], vec![0]));
    assert!(producer.next(1).is_none(), "b is being sealed");
    producer.ack(1, &sent, 0);
    seal(&producer, second);
    let sent = producer.next(1).expect("b");
    assert_eq!((sent.values(), sent.sequences()), (vec!["b"], vec![1]));
    producer.ack(1, &sent, 1);
    assert_eq!(offset_of(&places[1]), Some(1));
    producer.assert_done();
}

#[test]
fn batches_that_cannot_be_sent_yet_are_sealed_ahead() {
    let mut set = compressing(Codec::Zstd);
    set.in_flight = 1;
    let producer = by_hand(set, 1);
    producer.batch(0, &["a"]);
    let job = next_seal(&producer).unwrap();
    seal(&producer, job);
    let sent = producer.requests(1);
    producer.batch(0, &["b"]);
    let job = next_seal(&producer).expect("though a is in flight");
    seal(&producer, job);
    producer.ack(1, &sent[0], 0);
    let sent = producer.next(1).expect("nothing more is due for it");
    producer.ack(1, &sent, 1);
    producer.assert_done();
}

#[test]
fn compression_frees_memory_at_once() {
    let mut set = compressing(Codec::Zstd);
    set.batch_bytes = 100_000;
    let producer = by_hand(set, 1);
    let values: Vec<String> = (0..500).map(|number| value(number, true)).collect();
    producer.batch(0, &values.iter().map(String::as_str).collect::<Vec<_>>());
    let before = producer.used();
    let job = next_seal(&producer).unwrap();
    seal(&producer, job);
    assert!(
        producer.used() < before / 4,
        "{} of {before}",
        producer.used()
    );
}

#[test]
fn a_batch_that_expires_while_it_is_sealed_is_dropped() {
    let producer = by_hand(compressing(Codec::Zstd), 1);
    let places = producer.batch(0, &["a"]);
    let job = next_seal(&producer).unwrap();
    let later = producer.batch(0, &["b"]);
    producer.pass(121 * SECOND);
    producer.tick();
    let (_, _, outcome) = failure_of(&places[0]).expect("it expires");
    assert_eq!(outcome, Outcome::NotWritten);
    assert!(!is_pending(&later[0]));
    seal(&producer, job);
    assert!(
        next_seal(&producer).is_none(),
        "the other is in the queue only by its number"
    );
    assert!(producer.next(1).is_none());
    producer.assert_done();
}

#[test]
fn a_bug_in_a_codec_fails_only_its_batch() {
    let producer = by_hand(compressing(Codec::Zstd), 1);
    producer.batch(0, &["a"]);
    let job = next_seal(&producer).unwrap();
    producer.shared.on_sealed(job.failed());
    let request = producer.shared.next_request(1, 1, producer.now.get());
    assert!(request.is_some(), "the broker refuses an empty batch");
}

#[test]
fn a_topic_has_its_own_batching() {
    let own = Batching {
        compression: Compression {
            codec: Codec::Zstd,
            level: Some(1),
        },
        batch_bytes: 1_000,
        linger: 0,
    };
    let mut set = compressing(Codec::None);
    set.topics = HashMap::from([("fast".to_owned(), own)]);
    let producer = Producer::flowing(set, 1);
    producer.topic("fast", 1);
    producer.route("fast", 0, 1);
    producer
        .shared
        .with(|flow| flow.assume_acknowledged("fast", 0, SECOND));
    producer.send(0, &value(1, true));
    let send = |number| {
        let value = value(number, true);
        producer.try_send("fast", Some(0), None, value.as_bytes(), None)
    };
    for number in 0..12 {
        send(number).unwrap();
    }
    let sent = producer.requests(1);
    assert!(
        sent.iter()
            .flat_map(|s| &s.batches)
            .all(|b| b.topic == "fast"),
        "the other lingers"
    );
    assert_eq!(codec_of(&sent[0].batches[0]), Codec::Zstd);
    assert_eq!(
        sent[0].batches[0].values.len(),
        8,
        "as many as 1000 bytes hold"
    );
}

#[test]
fn a_request_is_filled_to_its_last_byte_and_not_beyond() {
    let whole = |request_bytes: usize| {
        let mut set = settings();
        set.request_bytes = request_bytes;
        let producer = Producer::flowing(set, 3);
        for partition in 0..3 {
            producer.batch(partition, &[&"x".repeat(500)]);
        }
        let sent = producer.requests(1);
        let sizes: Vec<usize> = sent.iter().map(|sent| sent.bytes).collect();
        (sent[0].batches.len(), sizes)
    };
    let (together, sizes) = whole(100_000);
    assert_eq!((together, sizes.len()), (3, 1));
    let exact = sizes[0];
    let least = (exact..exact + 60)
        .find(|bytes| whole(*bytes).0 == 3)
        .expect("close to its size");
    // A batch that does not fit waits for the next request, and no request exceeds the limit.
    let (fewer, sizes) = whole(least - 1);
    assert_eq!(fewer, 2);
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size < least), "{sizes:?}");
}

#[test]
fn a_batch_too_large_for_any_request_is_sent_alone() {
    let mut set = settings();
    (set.request_bytes, set.message_bytes) = (700, 700);
    let producer = Producer::flowing(set, 2);
    producer.batch(0, &[&"x".repeat(600)]);
    producer.batch(1, &["y"]);
    let sent = producer.requests(1);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.batches.len() == 1));
    assert!(sent[0].bytes > 700, "{}", sent[0].bytes);
}

#[test]
fn the_largest_message_makes_a_request_that_is_larger_by_the_overhead() {
    let mut set = settings();
    (set.request_bytes, set.message_bytes) = (700, 700);
    let producer = Producer::flowing(set, 1);
    let send = |bytes| producer.try_send("t", Some(0), None, &vec![b'x'; bytes], None);
    let largest = (1..700).rev().find(|bytes| send(*bytes).is_ok()).unwrap();
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.values()[0].len(), largest);
    assert!(sent.batches[0].raw.len() <= 700);
    let overhead = overhead_bound("bench", None, "t");
    assert!(
        (701..=700 + overhead).contains(&sent.bytes),
        "{}",
        sent.bytes
    );
}

#[test]
fn a_batch_that_does_not_fit_stays_open() {
    let mut set = settings();
    set.request_bytes = 1_000;
    let producer = Producer::flowing(set, 2);
    producer.send(0, &"x".repeat(600));
    producer.send(1, &"y".repeat(600));
    let first = producer.next(1).unwrap();
    assert_eq!(first.batches.len(), 1);
    producer.send(1 - first.partitions()[0], "one more");
    let second = producer.next(1).unwrap();
    assert_eq!(second.values().len(), 2, "it was sent with the other");
}

proptest! {
    /// A batch like the last one fits, and no batch exceeds the bounds, after any observations.
    #[test]
    fn estimates_stay_within_their_bounds(
        seen in proptest::collection::vec((1usize..10_000_000, 0.0f64..1.3), 0..200),
        batch_bytes in 1usize..5_000_000,
        buffer_bytes in 1usize..100_000_000,
    ) {
        let mut ratio = Ratio::default();
        prop_assert_eq!(ratio.limit(batch_bytes, buffer_bytes), batch_bytes);
        for (before, part) in seen {
            let last = ratio.get();
            let after = (before as f64 * part) as usize;
            ratio.observe(before, after);
            let actual = (after as f64 / before as f64).min(1.0);
            prop_assert!(ratio.get() >= actual && ratio.get() <= 1.0);
            prop_assert!(ratio.get() >= last - (0.005f64).max((last - actual) / 16.0) - 1e-9);
            let limit = ratio.limit(batch_bytes, buffer_bytes);
            prop_assert!(limit >= batch_bytes && limit <= 4 * batch_bytes);
            prop_assert!(limit == batch_bytes || limit <= buffer_bytes / 8);
            prop_assert!(limit == batch_bytes || limit as f64 * actual <= batch_bytes as f64);
        }
    }
}
