//! Holds: the causes that stop a partition, the report to the engine, and every decision that ends the hold.

mod support;

use std::collections::BTreeMap;

use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::failure::{Failure, Outcome};
use ottla_core::ids::Identity;
use ottla_core::produce::batch::Proof;
use ottla_core::produce::completion::Place;
use ottla_core::produce::event::{BadRelease, Decision, Event, HoldCause};
use support::frames::{Reply, Sent};
use support::{Producer, SECOND, closed, failed, failure_of, is_pending, offset_of, settings};

/// Three requests of one partition in flight: two, one and three messages.
fn three_in_flight() -> (Producer, Vec<Sent>, Vec<Place>) {
    let producer = Producer::flowing(settings(), 1);
    let mut places = producer.batch(0, &["a0", "a1"]);
    places.extend(producer.batch(0, &["b0"]));
    places.extend(producer.batch(0, &["c0", "c1", "c2"]));
    let sent = producer.requests(1);
    assert_eq!(sent.len(), 3);
    (producer, sent, places)
}

#[test]
fn an_error_holds_the_partition_once_all_is_answered() {
    let (producer, sent, places) = three_in_flight();
    producer.refuse(1, &sent[0], 6);
    assert!(producer.held().is_empty(), "two are still in flight");
    producer.batch(0, &["d0"]);
    assert!(producer.next(1).is_none(), "nothing more is sent");
    producer.refuse(1, &sent[1], 45);
    producer.bell.take();
    producer.refuse(1, &sent[2], 45);
    assert_eq!(producer.bell.take(), 1);
    let held = producer.one_hold();
    assert_eq!(
        (held.topic.as_str(), &held.cause),
        ("t", &HoldCause::Answer)
    );
    assert_eq!(held.summary(), [(2, Some(6)), (1, Some(45)), (3, Some(45))]);
    assert!(
        held.batches
            .iter()
            .all(|batch| batch.attempts == 1 && !batch.expired && batch.proof == Proof::None)
    );
    assert!(producer.next(1).is_none());
    assert!(places.iter().all(is_pending));
}

#[test]
fn other_partitions_flow_on() {
    let producer = Producer::flowing(settings(), 2);
    producer.send(0, "a");
    producer.send(1, "b");
    let sent = producer.next(1).unwrap();
    producer
        .respond(1, &sent, &[Reply::error(6), Reply::ok(0)])
        .unwrap();
    assert_eq!(producer.one_hold().partition, 0);
    producer.send(1, "c");
    assert_eq!(producer.next(1).unwrap().values(), ["c"]);
}

#[test]
fn a_retry_has_the_same_bytes_and_sequence() {
    let (producer, sent, places) = three_in_flight();
    for sent in &sent {
        producer.refuse(1, sent, 6);
    }
    producer.one_hold();
    producer.release(0, vec![Decision::Retry; 3]);
    let again = producer.requests(1);
    assert_eq!(again.len(), 3);
    for (first, second) in sent.iter().zip(&again) {
        assert_eq!(first.batches[0].raw, second.batches[0].raw);
    }
    for (sent, offset) in again.iter().zip([0, 2, 3]) {
        producer.ack(1, sent, offset);
    }
    let offsets: Vec<_> = places
        .iter()
        .map(|place| offset_of(place).unwrap())
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    let counts = producer.shared.with(|flow| flow.acc.counts);
    assert_eq!(
        (counts.batches, counts.retries, counts.delivered),
        (3, 3, 6)
    );
    producer.assert_done();
}

#[test]
fn acknowledged_batches_are_not_part_of_the_hold() {
    let (producer, sent, places) = three_in_flight();
    producer.ack(1, &sent[0], 0);
    producer.refuse(1, &sent[1], 6);
    producer.refuse(1, &sent[2], 45);
    assert_eq!(offset_of(&places[1]), Some(1));
    assert_eq!(producer.one_hold().summary(), [(1, Some(6)), (3, Some(45))]);
}

#[test]
fn a_failed_batch_has_the_outcome_that_was_decided() {
    let (producer, sent, places) = three_in_flight();
    for sent in &sent {
        producer.refuse(1, sent, 87);
    }
    producer.one_hold();
    let failed = Failure::broker(87, "no", Outcome::NotWritten);
    producer.release_to(
        0,
        vec![Decision::Fail(failed), Decision::Retry, Decision::Retry],
        Some(1),
        Some((9, 1)),
    );
    assert_eq!(
        failure_of(&places[0]),
        Some(("broker", 87, Outcome::NotWritten))
    );
    assert!(matches!(
        &producer.events()[..],
        [
            Event::MessagesFailed {
                records: 2,
                partition: 0,
                ..
            },
            Event::RouteWanted(..)
        ]
    ));
    producer.assume_acknowledged(0);
    let again = producer.requests(1);
    let sequences: Vec<_> = again
        .iter()
        .flat_map(|sent| &sent.batches)
        .map(|batch| (batch.producer_id, batch.epoch, batch.base_sequence))
        .collect();
    assert_eq!(sequences, [(9, 1, 0), (9, 1, 1)], "sequences restart");
    assert_eq!(again[0].values(), ["b0"], "the bytes are the same");
    producer.ack(1, &again[0], 0);
    producer.ack(1, &again[1], 1);
    producer.batch(0, &["d"]);
    let next = producer.next(1).unwrap();
    assert_eq!((next.batches[0].epoch, next.sequences()), (1, vec![4]));
    producer.ack(1, &next, 4);
    producer.assert_done();
}

#[test]
fn only_the_named_records_fail() {
    let producer = Producer::flowing(settings(), 1);
    let places = producer.batch(0, &["good", "bad", "fine"]);
    let sent = producer.next(1).unwrap();
    let mut reply = Reply::error(87);
    reply.record_errors = vec![(1, "no key".into())];
    reply.message = Some("one record is not valid".into());
    producer.respond(1, &sent, &[reply]).unwrap();
    let held = producer.one_hold();
    let answer = held.batches[0].answer.as_ref().unwrap();
    assert_eq!(answer.record_errors, [(1, Some("no key".into()))]);
    assert_eq!(
        answer.error_message.as_deref(),
        Some("one record is not valid")
    );
    let refused = Failure::broker(87, "no key", Outcome::NotWritten);
    let failed = BTreeMap::from([(1, refused)]);
    producer.release_to(
        0,
        vec![Decision::FailRecords(failed)],
        Some(1),
        Some((9, 1)),
    );
    assert_eq!(
        failure_of(&places[1]),
        Some(("broker", 87, Outcome::NotWritten))
    );
    assert!(matches!(
        &producer.events()[..],
        [
            Event::MessagesFailed { records: 1, .. },
            Event::RouteWanted(..)
        ]
    ));
    let again = producer.next(1).unwrap();
    assert_eq!(
        (again.values(), again.sequences()),
        (vec!["good", "fine"], vec![0])
    );
    producer.ack(1, &again, 40);
    assert_eq!(
        (offset_of(&places[0]), offset_of(&places[2])),
        (Some(40), Some(41))
    );
    producer.assert_done();
}

#[test]
fn a_split_batch_keeps_its_sequences() {
    let (producer, sent, places) = three_in_flight();
    producer.ack(1, &sent[0], 0);
    producer.ack(1, &sent[1], 2);
    producer.refuse(1, &sent[2], 10);
    producer.batch(0, &["d0"]);
    producer.one_hold();
    producer.release(0, vec![Decision::Split]);
    let again = producer.requests(1);
    let sent: Vec<_> = again
        .iter()
        .map(|sent| (sent.sequences(), sent.values()))
        .collect();
    assert_eq!(
        sent,
        [
            (vec![3], vec!["c0", "c1"]),
            (vec![5], vec!["c2"]),
            (vec![6], vec!["d0"])
        ]
    );
    producer.ack(1, &again[0], 3);
    producer.refuse(1, &again[1], 6);
    producer.refuse(1, &again[2], 45);
    assert_eq!(producer.one_hold().summary(), [(1, Some(6)), (1, Some(45))]);
    producer.release(0, vec![Decision::Retry; 2]);
    for (sent, offset) in producer.requests(1).iter().zip([5, 6]) {
        producer.ack(1, sent, offset);
    }
    assert_eq!(offset_of(&places[5]), Some(5));
    producer.assert_done();
}

#[test]
fn a_compressed_batch_can_be_split() {
    let mut set = settings();
    set.codec = ottla_core::bytes::compression::codec::Codec::Lz4;
    let producer = Producer::flowing(set, 1);
    let value = "x".repeat(3_000);
    let places = producer.batch(0, &[&value, &value, &value]);
    let sent = producer.next(1).unwrap();
    assert!(sent.bytes < 1_000);
    producer.refuse(1, &sent, 10);
    producer.one_hold();
    producer.release(0, vec![Decision::Split]);
    let again = producer.requests(1);
    assert_eq!(again.len(), 2);
    assert_eq!(again[0].values(), [&value, &value]);
    producer.ack(1, &again[0], 0);
    producer.ack(1, &again[1], 2);
    assert_eq!(offset_of(&places[2]), Some(2));
    producer.assert_done();
}

#[test]
fn a_batch_can_be_declared_written() {
    let (producer, sent, places) = three_in_flight();
    for sent in &sent {
        producer.refuse(1, sent, 6);
    }
    producer.one_hold();
    let decisions = vec![Decision::Written; 3];
    producer.shared.with(|flow| flow.watch(true));
    producer.release(0, decisions);
    let offset = |event: &Event| match event {
        Event::BatchAcked { base_offset, .. } => Some(*base_offset),
        _ => None,
    };
    let offsets: Vec<i64> = producer.events().iter().filter_map(offset).collect();
    assert_eq!(offsets, [-1; 3], "each is reported as any other");
    assert!(places.iter().all(|place| !is_pending(place)));
    assert!(producer.next(1).is_none());
    producer.assert_done();
}

#[test]
fn a_lost_connection_leaves_batches_unanswered() {
    let (producer, sent, places) = three_in_flight();
    producer.ack(1, &sent[0], 0);
    producer.lose(1);
    let held = producer.one_hold();
    let HoldCause::Lost(cause) = &held.cause else {
        panic!("{:?}", held.cause);
    };
    assert_eq!(cause.message, "the broker closed");
    assert_eq!(held.summary(), [(1, None), (3, None)]);
    assert!(held.batches.iter().all(|batch| batch.proof == Proof::Maybe));
    producer.ack(1, &sent[1], 9);
    assert!(
        is_pending(&places[2]),
        "nothing of a dead connection counts"
    );
    producer.attach(2);
    producer.release_to(0, vec![Decision::Retry; 2], Some(2), None);
    let again = producer.requests(2);
    assert_eq!(again.len(), 1, "a new connection begins with one batch");
    assert_eq!(again[0].batches[0].raw, sent[1].batches[0].raw);
    producer.refuse(2, &again[0], 46);
    let rest = producer.requests(2);
    producer.ack(2, &rest[0], 3);
    assert_eq!(
        (offset_of(&places[2]), offset_of(&places[3])),
        (Some(-1), Some(3))
    );
    producer.assert_done();
}

#[test]
fn an_error_before_the_loss_is_reported_with_it() {
    let (producer, sent, _) = three_in_flight();
    producer.refuse(1, &sent[0], 6);
    producer.lose(1);
    let held = producer.one_hold();
    assert_eq!(held.cause, HoldCause::Answer);
    assert_eq!(held.summary(), [(2, Some(6)), (1, None), (3, None)]);
}

#[test]
fn a_requested_hold_waits_for_the_answers() {
    let (producer, sent, _) = three_in_flight();
    producer.hold(0);
    assert!(producer.held().is_empty());
    producer.batch(0, &["d0"]);
    assert!(producer.next(1).is_none());
    for (sent, offset) in sent.iter().zip([0, 2, 3]) {
        producer.ack(1, sent, offset);
    }
    let held = producer.one_hold();
    assert_eq!((held.cause, held.batches.len()), (HoldCause::Asked, 0));
    producer.attach(2);
    producer.release_to(0, vec![], Some(2), None);
    assert_eq!(producer.next(2).unwrap().sequences(), [6]);
}

#[test]
fn a_hold_with_acks_0_is_reported_after_the_request() {
    let mut set = settings();
    set.acks = 0;
    set.idempotent = false;
    let producer = Producer::flowing(set.clone(), 1);
    producer.send(0, "v");
    let now = producer.now.get();
    // 1. the I/O thread chooses batches; 2. the engine requests a hold; 3. the I/O thread builds the request.
    let mut plan = producer.shared.with(|flow| flow.plan(1, now)).unwrap();
    producer.hold(0);
    assert!(producer.held().is_empty());
    plan.seal(&mut Compressor::default(), &std::sync::Arc::default());
    let request = producer.shared.with(|flow| flow.finish(plan, 1, now));
    assert!(producer.held().is_empty(), "the request is being written");
    use ottla_core::seam::Flow;
    producer.shared.on_taken(1, request.token, now);
    assert_eq!(producer.one_hold().cause, HoldCause::Asked);
    producer.assert_done();
}

#[test]
fn a_release_without_a_route_requests_one() {
    let (producer, sent, _) = three_in_flight();
    for sent in &sent {
        producer.refuse(1, sent, 6);
    }
    producer.one_hold();
    producer.release_to(0, vec![Decision::Retry; 3], None, None);
    assert!(producer.next(1).is_none());
    assert!(matches!(&producer.events()[..], [Event::RouteWanted(_, 0)]));
    producer.waker.take();
    producer.route("t", 0, 1);
    assert!(producer.waker.take() > 0);
    producer.assume_acknowledged(0);
    assert_eq!(producer.requests(1).len(), 3);
}

#[test]
fn a_release_of_a_partition_that_is_not_held_does_nothing() {
    let (producer, sent, places) = three_in_flight();
    let failed = Failure::broker(1, "no", Outcome::NotWritten);
    producer.release(0, vec![Decision::Fail(failed)]);
    producer.release(7, vec![]);
    assert!(places.iter().all(is_pending));
    producer.ack(1, &sent[0], 0);
    assert_eq!(offset_of(&places[0]), Some(0));
}

#[test]
fn messages_sent_during_a_hold_follow_the_retried_ones() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["a"]);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 6);
    producer.one_hold();
    producer.batch(0, &["b"]);
    producer.pass(SECOND);
    producer.release(0, vec![Decision::Retry]);
    let values: Vec<String> = producer
        .requests(1)
        .iter()
        .flat_map(|sent| {
            sent.values()
                .into_iter()
                .map(String::from)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(values, ["a", "b"]);
}

/// The first batch was appended, but answered with an error; five behind it were acknowledged.
fn overtaken() -> (Producer, Place) {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.batch(0, &["first"]).remove(0);
    for _ in 0..4 {
        producer.batch(0, &["behind"]);
    }
    let sent = producer.requests(1);
    producer.refuse(1, &sent[0], 7);
    for (sent, offset) in sent[1..].iter().zip(1..) {
        producer.ack(1, sent, offset);
    }
    assert_eq!(producer.one_hold().batches[0].proof, Proof::Appended);
    (producer, place)
}

#[test]
fn out_of_order_is_a_duplicate_where_later_batches_are_in_the_log() {
    let (producer, place) = overtaken();
    producer.release(0, vec![Decision::Retry]);
    let again = producer.next(1).unwrap();
    producer.refuse(1, &again, 45);
    assert_eq!(offset_of(&place), Some(-1));
    assert!(producer.held().is_empty());
    producer.assert_done();
}

#[test]
fn an_appended_batch_is_not_sent_under_another_identity() {
    let (producer, place) = overtaken();
    let release = |decision, identity| {
        let shared = &producer.shared;
        shared.release("t", 0, vec![decision], None, identity)
    };
    let identity = Some(Identity {
        producer_id: 9,
        epoch: 1,
    });
    assert_eq!(
        release(Decision::Retry, identity),
        Err(BadRelease::Overtaken(0))
    );
    assert_eq!(release(Decision::Written, identity), Ok(()));
    assert_eq!(offset_of(&place), Some(-1));
    assert!(producer.next(1).is_none());
    producer.assert_done();
}

#[test]
fn decisions_that_contradict_the_facts_change_nothing() {
    let (producer, place) = overtaken();
    let refused = || Failure::broker(-1, "no", Outcome::Unknown);
    let failing = Decision::FailRecords(BTreeMap::from([(0, refused())]));
    for (decisions, error) in [
        (
            vec![],
            BadRelease::Count {
                decisions: 0,
                batches: 1,
            },
        ),
        (
            vec![Decision::Retry; 2],
            BadRelease::Count {
                decisions: 2,
                batches: 1,
            },
        ),
        (vec![Decision::Fail(refused())], BadRelease::Overtaken(0)),
        (vec![failing], BadRelease::Overtaken(0)),
        (vec![Decision::Drop], BadRelease::Dropped(0)),
    ] {
        let released = producer.shared.release("t", 0, decisions, None, None);
        assert_eq!(released, Err(error));
        assert!(is_pending(&place));
    }
    assert!(producer.events().is_empty());
    producer.release(0, vec![Decision::Written]);
    producer.assert_done();
}

#[test]
fn an_appended_batch_is_not_aborted() {
    let (producer, place) = overtaken();
    producer.shared.change(|flow| {
        flow.abort_all(closed(), None);
        flow.end();
    });
    assert_eq!(offset_of(&place), Some(-1));
    producer.assert_done();
}

#[test]
fn without_idempotence_an_acknowledgement_proves_nothing_about_earlier_batches() {
    let mut set = settings();
    set.idempotent = false;
    let producer = Producer::flowing(set, 1);
    let first = producer.batch(0, &["a"]).remove(0);
    producer.batch(0, &["b"]);
    let sent = producer.requests(1);
    producer.ack(1, &sent[1], 0);
    producer.refuse(1, &sent[0], 29);
    assert!(!producer.one_hold().batches[0].may_be_written);
    let refused = Failure::broker(29, "no", Outcome::NotWritten);
    producer.release(0, vec![Decision::Fail(refused)]);
    assert_eq!(failure_of(&first).unwrap().2, Outcome::NotWritten);
    producer.assert_done();
}

#[test]
fn a_batch_whose_records_all_fail_has_a_failure_for_each() {
    let producer = Producer::flowing(settings(), 1);
    let places = producer.batch(0, &["a", "b"]);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 32);
    producer.one_hold();
    let refused = |text: &str| Failure::broker(32, text, Outcome::NotWritten);
    let named = [refused("too old"), refused("too new")];
    let by_index = (0..).zip(named.clone()).collect();
    producer.release(0, vec![Decision::FailRecords(by_index)]);
    let failures: Vec<Failure> = places.iter().filter_map(failed).collect();
    assert_eq!(failures, named);
    producer.assert_done();
    assert!(producer.next(1).is_none());
}
