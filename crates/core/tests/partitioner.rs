//! Choices that depend on randomness, queue lengths and time, with seeded randomness and time that is passed in.

mod support;

use ottla_core::partitioning::partitioner::{Load, Random, Sticky, VISIT_BYTES, adaptive};
use ottla_core::record::header::HEADER_LEN;
use support::{Producer, settings};

const DRAWS: usize = 20_000;

fn waiting(batches: usize, leader: u64, ready: Option<u64>) -> Load {
    Load {
        batches,
        leader: Some(leader),
        ready,
        near: false,
    }
}

/// How often each partition was chosen.
fn drawn(loads: &[Load], overdue: Option<u64>) -> Vec<usize> {
    let mut random = Random::new(794);
    let mut counts = vec![0; loads.len()];
    for _ in 0..DRAWS {
        counts[adaptive(loads, overdue, &mut random)] += 1;
    }
    counts
}

fn near(count: usize, share: f64) -> bool {
    (count as f64 - DRAWS as f64 * share).abs() < DRAWS as f64 * 0.015
}

/// The example of Java's `BuiltInPartitioner`: queues 0, 3, 1 have weights 4, 1, 3.
#[test]
fn shorter_queues_are_likelier_by_javas_weights() {
    let loads = [0, 3, 1].map(|batches| waiting(batches, 1, None));
    let counts = drawn(&loads, None);
    assert!(near(counts[0], 4.0 / 8.0), "{counts:?}");
    assert!(near(counts[1], 1.0 / 8.0), "{counts:?}");
    assert!(near(counts[2], 3.0 / 8.0), "{counts:?}");
}

#[test]
fn equal_queues_are_equally_likely() {
    let counts = drawn(&[waiting(7, 1, None); 4], None);
    assert!(counts.iter().all(|count| near(*count, 0.25)), "{counts:?}");
}

#[test]
fn a_stalled_leader_is_left_out_with_all_its_partitions() {
    let loads = [
        waiting(2, 1, Some(500)),
        waiting(0, 1, None),
        waiting(2, 2, Some(1_500)),
        waiting(1, 3, None),
    ];
    let counts = drawn(&loads, Some(1_000));
    assert_eq!(counts[..2], [0, 0]);
    // Of the rest, queues 2 and 1 have weights 1 and 2.
    assert!(near(counts[2], 1.0 / 3.0), "{counts:?}");
    assert!(drawn(&loads, None).iter().all(|count| *count > 0));
}

#[test]
fn a_partition_without_a_connection_is_left_out_alone() {
    let lost = |ready| Load {
        batches: 1,
        leader: None,
        ready,
        near: false,
    };
    let counts = drawn(&[lost(Some(500)), lost(None)], Some(1_000));
    assert_eq!(counts, [0, DRAWS]);
}

#[test]
fn if_all_leaders_stall_none_is_left_out() {
    let counts = drawn(&[waiting(1, 1, Some(1)), waiting(1, 2, Some(2))], Some(9));
    assert!(counts.iter().all(|count| near(*count, 0.5)), "{counts:?}");
}

fn in_rack(load: Load) -> Load {
    Load { near: true, ..load }
}

#[test]
fn partitions_in_the_rack_come_first_by_their_own_queues() {
    let loads = [
        waiting(0, 1, None),
        in_rack(waiting(3, 2, None)),
        in_rack(waiting(2, 3, None)),
    ];
    let counts = drawn(&loads, None);
    assert_eq!(counts[0], 0);
    // Their longest queue counts, not that of others: queues 3 and 2 have weights 1 and 2.
    assert!(near(counts[1], 1.0 / 3.0), "{counts:?}");
}

#[test]
fn a_rack_whose_leaders_stall_is_left() {
    let loads = [
        in_rack(waiting(1, 1, Some(500))),
        waiting(0, 2, None),
        waiting(0, 3, None),
    ];
    let counts = drawn(&loads, Some(1_000));
    assert_eq!(counts[0], 0);
    assert!(counts[1] > 0 && counts[2] > 0, "{counts:?}");
    assert_eq!(
        drawn(&loads, None),
        [DRAWS, 0, 0],
        "no leader counts as late"
    );
    let all_late = loads.map(|load| Load {
        ready: Some(1),
        ..load
    });
    assert_eq!(drawn(&all_late, Some(9)), [DRAWS, 0, 0]);
}

#[test]
fn a_visit_ends_with_a_batch_and_not_before_its_minimum() {
    let (open, closed) = (|_| true, |_| false);
    let mut sticky = Sticky::default();
    assert_eq!(sticky.stays(10, 1_000_000, open), None);
    sticky.visit(3);
    sticky.appended(3, VISIT_BYTES - HEADER_LEN - 11);
    sticky.appended(4, VISIT_BYTES);
    assert_eq!(sticky.stays(10, 1_000_000, closed), Some(3));
    assert_eq!(sticky.stays(11, 1_000_000, closed), None);
    sticky.appended(3, 1);
    assert_eq!(sticky.stays(10, 1_000_000, open), Some(3));
    assert_eq!(sticky.stays(10, 1_000_000, closed), None);
    sticky.visit(5);
    sticky.appended(5, 100);
    assert_eq!(sticky.stays(10, 170, closed), None, "batches are smaller");
}

#[test]
fn a_visit_ends_with_its_leader() {
    let mut sticky = Sticky::default();
    sticky.visit(3);
    sticky.keep_to(&[1, 3]);
    assert_eq!(sticky.visited(), Some(3));
    sticky.keep_to(&[1, 2]);
    assert_eq!(sticky.visited(), None);
}

/// Partitions of messages without a key, for four partitions of which these are near.
fn partitions_used(producer: &Producer, near: &[i32]) -> Vec<i32> {
    let all = [0, 1, 2, 3];
    producer
        .shared
        .change(|flow| flow.acc.set_topic("t", [1; 16], 4, &all, near));
    let mut got: Vec<i32> = (0..400)
        .map(|_| {
            let place = producer.try_send("t", None, None, &[b'x'; 150], None);
            place.unwrap().0.partition()
        })
        .collect();
    got.sort_unstable();
    got.dedup();
    got
}

#[test]
fn messages_stay_in_the_rack_while_it_has_leaders() {
    for adaptive in [true, false] {
        let mut set = settings();
        set.batch_bytes = 200;
        set.adaptive = adaptive;
        let producer = Producer::flowing(set, 4);
        assert_eq!(partitions_used(&producer, &[1, 2]), [1, 2]);
        assert_eq!(
            partitions_used(&producer, &[3]),
            [3],
            "the open visit ends too"
        );
        assert_eq!(partitions_used(&producer, &[]), [0, 1, 2, 3]);
        assert_eq!(partitions_used(&producer, &[0]), [0]);
        let by_key = |key: u8| {
            let place = producer.try_send("t", None, Some(&[key]), b"v", None);
            place.unwrap().0.partition()
        };
        let keyed: Vec<i32> = (0..20).map(by_key).collect();
        for number in 0..4 {
            assert!(keyed.contains(&number), "a key stays at its partition");
        }
    }
}

/// Partitions 0 and 1 are on connection 1, which takes no request; 2 and 3 on connection 2, which takes all.
fn stalled_for(waited: u64, timeout: u64) -> Vec<i32> {
    let mut set = settings();
    set.batch_bytes = 200;
    set.adaptive = true;
    set.availability_timeout = timeout;
    let producer = Producer::flowing(set, 2);
    producer.attach(2);
    producer.topic("t", 4);
    producer.route("t", 2, 2);
    producer.route("t", 3, 2);
    producer.send(0, "waits");
    producer.pass(waited);
    let mut got: Vec<i32> = (0..400)
        .map(|_| {
            let value = [b'x'; 150];
            let place = producer.try_send("t", None, None, &value, None).unwrap();
            for sent in producer.requests(2) {
                producer.ack(2, &sent, 0);
            }
            place.0.partition()
        })
        .collect();
    got.sort_unstable();
    got.dedup();
    got
}

#[test]
fn messages_without_a_key_avoid_a_stalled_broker() {
    assert_eq!(stalled_for(1_000_000, 500_000), [2, 3]);
    assert_eq!(stalled_for(400_000, 500_000), [0, 1, 2, 3]);
    assert_eq!(stalled_for(1_000_000, 0), [0, 1, 2, 3], "it is off");
}
