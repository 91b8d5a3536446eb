//! The produce flow without holds: requests, sequences, answers, limits.

mod support;

use ottla_core::failure::Outcome;
use ottla_core::produce::batch::Proof;
use ottla_core::produce::event::{Decision, Event};
use support::frames::{self, Reply};
use support::{Producer, SECOND, closed, failure_of, is_pending, offset_of, settings};

#[test]
fn messages_of_several_partitions_are_delivered() {
    let producer = Producer::flowing(settings(), 3);
    let places: Vec<_> = (0..9)
        .map(|number| producer.send(number % 3, &format!("v{number}")))
        .collect();
    producer.tick();
    let sent = producer.next(1).expect("linger is 0");
    assert_eq!(sent.partitions(), [0, 1, 2]);
    assert_eq!(sent.sequences(), [0, 0, 0]);
    assert_eq!(
        sent.values(),
        ["v0", "v3", "v6", "v1", "v4", "v7", "v2", "v5", "v8"]
    );
    assert_eq!((sent.batches[0].producer_id, sent.batches[0].epoch), (9, 0));
    assert!(producer.next(1).is_none());
    assert!(places.iter().all(is_pending));

    let replies = [Reply::ok(10), Reply::ok(20), Reply::ok(30)];
    producer.respond(1, &sent, &replies).unwrap();
    let offsets: Vec<_> = places
        .iter()
        .map(|place| offset_of(place).unwrap())
        .collect();
    assert_eq!(offsets, [10, 20, 30, 11, 21, 31, 12, 22, 32]);
    assert_eq!(producer.resolved.0.lock().len(), 3);
    producer.assert_done();
}

#[test]
fn a_batch_waits_for_linger_unless_it_is_full() {
    let mut set = settings();
    set.linger = 5_000;
    set.batch_bytes = 1_000;
    let producer = Producer::flowing(set, 1);
    producer.tick();
    producer.waker.take();
    producer.send(0, "first");
    assert_eq!(producer.waker.take(), 1, "linger has to be timed");
    assert!(producer.next(1).is_none());
    assert_eq!(producer.tick(), Some(producer.now.get() + 5_000));
    producer.send(0, "second");
    assert_eq!(producer.waker.take(), 0, "it is timed already");
    producer.pass(5_000);
    producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["first", "second"]);

    let large = "x".repeat(600);
    producer.send(0, &large);
    assert!(producer.next(1).is_none());
    producer.send(0, &large);
    assert_eq!(producer.next(1).unwrap().values(), [&large]);
    assert!(producer.next(1).is_none(), "the second lingers");
}

#[test]
fn flush_overrides_linger() {
    let mut set = settings();
    set.linger = 60 * SECOND;
    let producer = Producer::flowing(set, 1);
    producer.tick();
    let place = producer.send(0, "v");
    producer.tick();
    producer.waker.take();
    let unresolved = producer.shared.with(|flow| flow.acc.flush());
    assert_eq!(unresolved.len(), 1);
    assert_eq!(producer.waker.take(), 1);
    producer.tick();
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    assert!(unresolved[0].is_settled());
    assert_eq!(offset_of(&place), Some(0));
    assert!(producer.shared.with(|flow| flow.acc.flush()).is_empty());
}

#[test]
fn at_most_five_requests_are_in_flight_and_sequences_continue() {
    let producer = Producer::flowing(settings(), 1);
    for number in 0..7 {
        producer.batch(0, &[&format!("a{number}"), &format!("b{number}")]);
    }
    let sent = producer.requests(1);
    assert_eq!(sent.len(), 5);
    let sequences: Vec<i32> = sent.iter().flat_map(|sent| sent.sequences()).collect();
    assert_eq!(sequences, [0, 2, 4, 6, 8]);
    producer.ack(1, &sent[0], 0);
    let more = producer.requests(1);
    assert_eq!(more.len(), 1);
    assert_eq!(more[0].sequences(), [10]);
    for (index, sent) in sent[1..].iter().chain(&more).enumerate() {
        producer.ack(1, sent, 2 + index as i64 * 2);
    }
    let last = producer.requests(1);
    assert_eq!(last[0].sequences(), [12]);
    producer.ack(1, &last[0], 12);
    producer.assert_done();
}

/// A broker that has no sequences of this producer accepts any first one: if the second batch were sent together with the first, a
/// leader that was not ready for the first would accept it, and the first could never be written.
#[test]
fn one_batch_is_sent_alone_until_the_broker_has_acknowledged() {
    let producer = Producer::beginning(settings(), 2);
    for number in 0..3 {
        producer.batch(0, &[&format!("v{number}")]);
    }
    let first = producer.requests(1);
    assert_eq!(first.len(), 1);
    producer.refuse(1, &first[0], 6);
    assert_eq!(producer.one_hold().batches.len(), 1);
    producer.release_to(0, vec![Decision::Retry], Some(1), None);
    let again = producer.requests(1);
    assert_eq!(again.len(), 1, "a new route begins with one batch too");
    assert_eq!(again[0].sequences(), [0]);
    producer.ack(1, &again[0], 0);
    let rest = producer.requests(1);
    assert_eq!(rest.len(), 2);
    producer.ack(1, &rest[0], 1);
    producer.ack(1, &rest[1], 2);
    producer.assert_done();

    producer.pass(120 * SECOND);
    producer.batch(0, &["a"]);
    producer.batch(0, &["b"]);
    assert_eq!(
        producer.requests(1).len(),
        1,
        "the broker may have forgotten an idle producer"
    );
}

#[test]
fn nothing_is_sent_without_an_identity() {
    let producer = Producer::new(settings());
    producer.attach(1);
    producer.topic("t", 1);
    producer.route("t", 0, 1);
    producer.send(0, "v");
    producer.tick();
    assert!(producer.next(1).is_none());
    producer.waker.take();
    producer.shared.change(|flow| flow.set_identity(4, 2));
    assert!(producer.waker.take() > 0);
    let sent = producer.next(1).unwrap();
    assert_eq!((sent.batches[0].producer_id, sent.batches[0].epoch), (4, 2));
}

#[test]
fn without_idempotence_there_are_no_sequences() {
    let mut set = settings();
    set.idempotent = false;
    let producer = Producer::flowing(set, 1);
    producer.send(0, "v");
    let sent = producer.next(1).unwrap();
    let batch = &sent.batches[0];
    assert_eq!(
        (batch.producer_id, batch.epoch, batch.base_sequence),
        (-1, -1, -1)
    );
}

#[test]
fn two_topics_share_a_request() {
    let producer = Producer::flowing(settings(), 1);
    producer.topic("u", 1);
    producer.route("u", 0, 1);
    let first = producer.send(0, "to t");
    let second = producer
        .try_send("u", Some(0), None, b"to u", None)
        .unwrap();
    let sent = producer.next(1).unwrap();
    let topics: Vec<_> = sent
        .batches
        .iter()
        .map(|batch| batch.topic.as_str())
        .collect();
    assert_eq!(topics, ["t", "u"]);
    producer
        .respond(1, &sent, &[Reply::ok(1), Reply::ok(2)])
        .unwrap();
    assert_eq!((offset_of(&first), offset_of(&second)), (Some(1), Some(2)));
    producer.assert_done();
}

#[test]
fn a_request_keeps_to_its_limit_and_no_partition_starves() {
    let mut set = settings();
    set.batch_bytes = 1_000;
    set.request_bytes = 2_500;
    let producer = Producer::flowing(set, 3);
    let value = "x".repeat(900);
    for partition in 0..3 {
        for _ in 0..2 {
            producer.batch(partition, &[&value]);
        }
    }
    let sent = producer.requests(1);
    assert!(sent.iter().all(|sent| sent.bytes <= 2_600), "{sent:?}");
    let partitions: Vec<_> = sent.iter().map(|sent| sent.partitions()).collect();
    assert_eq!(partitions, [[0, 1], [2, 0], [1, 2]]);
}

#[test]
fn a_message_over_the_batch_size_is_sent_alone() {
    let mut set = settings();
    set.batch_bytes = 1_000;
    let producer = Producer::flowing(set, 1);
    producer.send(0, "small");
    let large = "x".repeat(5_000);
    producer.send(0, &large);
    let sent = producer.requests(1);
    assert_eq!(sent[0].values(), ["small"]);
    assert_eq!(sent[1].values(), [&large]);
}

fn without_answers() -> Producer {
    let mut set = settings();
    set.acks = 0;
    set.idempotent = false;
    Producer::flowing(set, 1)
}

#[test]
fn with_acks_0_a_request_taken_by_the_socket_is_written() {
    let producer = without_answers();
    let place = producer.send(0, "v");
    let sent = producer.next(1).unwrap();
    assert!(!sent.expects_response);
    assert!(is_pending(&place), "it may never be sent");
    assert!(producer.used() > 0);
    producer.take(1, &sent);
    assert_eq!(offset_of(&place), Some(-1));
    producer.assert_done();
    producer.hold(0);
    assert_eq!(producer.one_hold().batches.len(), 0);
}

#[test]
fn with_acks_0_a_request_not_taken_is_sent_again_or_was_not_written() {
    let producer = without_answers();
    let first = producer.send(0, "a");
    let taken = producer.next(1).unwrap();
    let second = producer.send(0, "b");
    producer.next(1).unwrap();
    producer.take(1, &taken);
    producer.lose(1);
    assert_eq!(offset_of(&first), Some(-1));
    let held = producer.one_hold();
    assert_eq!(held.summary(), [(1, None)]);
    assert!(
        held.batches[0].proof == Proof::None,
        "a broker reads whole requests"
    );
    producer.attach(2);
    producer.release_to(0, vec![Decision::Retry], Some(2), None);
    assert_eq!(producer.next(2).unwrap().values(), ["b"]);
    producer.lose(2);
    producer.shared.with(|flow| flow.abort_all(closed(), None));
    let failed = ("closed", 0, Outcome::NotWritten);
    assert_eq!(failure_of(&second), Some(failed));
    producer.one_hold();
    producer.release(0, vec![Decision::Retry]);
    producer.assert_done();
}

#[test]
fn a_duplicate_is_written_at_an_unknown_offset() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.send(0, "v");
    let sent = producer.next(1).unwrap();
    let mut reply = Reply::error(46);
    reply.base_offset = 77;
    producer.respond(1, &sent, &[reply]).unwrap();
    assert_eq!(offset_of(&place), Some(-1));
    producer.assert_done();
}

#[test]
fn throttling_mutes_the_connection() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    let frame = frames::response(sent.version, &sent, &[Reply::ok(0)], 250);
    producer.respond_raw(1, &sent, frame).unwrap();
    let events = producer.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Throttled(1, 250))),
        "{events:?}"
    );
    producer.send(0, "b");
    assert_eq!(producer.tick(), Some(producer.now.get() + 250_000));
    assert!(producer.next(1).is_none());
    producer.pass(250_000);
    producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
}

#[test]
fn a_broker_that_delays_its_answer_is_not_throttled_again() {
    let producer = Producer::new(settings());
    producer.shared.change(|flow| {
        flow.set_identity(9, 0);
        // Before version 6 it answers late (KIP-219).
        flow.attach(1, 5, 1, "broker:9092");
    });
    producer.topic("t", 1);
    producer.route("t", 0, 1);
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    let frame = frames::response(sent.version, &sent, &[Reply::ok(0)], 250);
    producer.respond_raw(1, &sent, frame).unwrap();
    producer.send(0, "b");
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
}

#[test]
fn a_throttle_time_pauses_a_connection_for_the_request_timeout_at_most() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    let frame = frames::response(sent.version, &sent, &[Reply::ok(0)], i32::MAX);
    producer.respond_raw(1, &sent, frame).unwrap();
    producer.batch(0, &["b"]);
    let timeout = settings().request_timeout;
    assert_eq!(producer.tick(), Some(producer.now.get() + timeout));
    producer.pass(timeout);
    producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
}

#[test]
fn a_response_that_leaves_out_a_partition_is_bad() {
    let producer = Producer::flowing(settings(), 2);
    producer.send(0, "a");
    producer.send(1, "b");
    let sent = producer.next(1).unwrap();
    let bad = producer.respond(1, &sent, &[Reply::ok(0)]).unwrap_err();
    assert!(bad.0.contains("leaves out t-1"), "{bad}");
    producer.lose(1);
    let held = producer.one_hold();
    assert_eq!((held.partition, held.summary()), (1, vec![(1, None)]));
}

#[test]
fn a_response_that_was_not_asked_for_is_bad() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    let mut sent = producer.next(1).unwrap();
    sent.token += 1;
    assert!(producer.respond(1, &sent, &[Reply::ok(0)]).is_err());
    assert!(
        producer
            .respond_raw(1, &sent, bytes::Bytes::from_static(b"\0\xff"))
            .is_err()
    );
}

#[test]
fn a_topic_recreated_meanwhile_keeps_its_answers() {
    let producer = Producer::new(settings());
    producer.shared.change(|flow| {
        flow.set_identity(9, 0);
        flow.attach(1, 13, 1, "broker:9092");
    });
    producer.topic("t", 1);
    producer.route("t", 0, 1);
    let place = producer.send(0, "v");
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.batches[0].topic_id, support::topic_id("t"));
    producer
        .shared
        .change(|flow| flow.acc.set_topic("t", [7; 16], 1, &[0], &[]));
    producer.respond(1, &sent, &[Reply::ok(3)]).unwrap();
    assert_eq!(offset_of(&place), Some(3));
}

#[test]
fn a_route_over_an_ended_connection_is_requested_again() {
    let producer = Producer::flowing(settings(), 1);
    producer.lose(1);
    assert!(producer.events().is_empty(), "an idle partition needs none");
    producer.send(0, "v");
    let wanted = |producer: &Producer| {
        let events = producer.events();
        matches!(&events[..], [Event::RouteWanted(topic, 0)] if &**topic == "t")
    };
    assert!(wanted(&producer));
    producer.send(0, "w");
    assert!(producer.events().is_empty(), "reported once");
    producer.route("t", 0, 1);
    assert!(wanted(&producer));
    producer.attach(2);
    producer.route("t", 0, 2);
    assert_eq!(producer.next(2).unwrap().values(), ["v", "w"]);
}

#[test]
fn abort_gives_every_message_its_outcome() {
    let producer = Producer::flowing(settings(), 2);
    let sent_one = producer.send(0, "in flight");
    let sent = producer.next(1).unwrap();
    let queued = producer.batch(1, &["queued"]).remove(0);
    let open = producer.send(1, "open");
    let waiting = producer
        .try_send("unknown", None, None, b"v", None)
        .unwrap();
    let aborted = producer.shared.with(|flow| flow.abort_all(closed(), None));
    assert_eq!(aborted, 4);
    assert_eq!(failure_of(&sent_one), Some(("closed", 0, Outcome::Unknown)));
    for place in [&queued, &open, &waiting] {
        assert_eq!(failure_of(place), Some(("closed", 0, Outcome::NotWritten)));
    }
    producer.ack(1, &sent, 0);
    assert!(failure_of(&sent_one).is_some(), "an outcome never changes");
    producer.assert_done();
}

#[test]
fn dropping_the_producer_resolves_all_messages() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.send(0, "v");
    let resolved = producer.resolved.clone();
    drop(producer);
    assert_eq!(failure_of(&place), Some(("closed", 0, Outcome::NotWritten)));
    assert_eq!(resolved.0.lock().len(), 1);
}
