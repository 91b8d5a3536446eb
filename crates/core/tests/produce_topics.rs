//! Topics and partitions whose metadata is not known, not followed any more, or refused.

mod support;

use ottla_core::failure::Outcome;
use ottla_core::produce::event::Event;
use support::{Producer, SECOND, closed, failure_of, is_pending, offset_of, settings};

/// Reports metadata with all partitions, requested when `stored` messages had waited for it.
fn refuse_missing(producer: &Producer, stored: u64) {
    producer
        .shared
        .change(|flow| flow.acc.refuse_missing("t", stored));
}

fn stored_count(producer: &Producer) -> u64 {
    producer.shared.with(|flow| flow.acc.stored_count("t"))
}

#[test]
fn an_unknown_partition_is_requested() {
    let producer = Producer::flowing(settings(), 2);
    producer.events();
    let first = producer.try_send("t", Some(2), None, b"a", None).unwrap();
    let other = producer.try_send("t", Some(0), None, b"b", None).unwrap();
    let second = producer.try_send("t", Some(2), None, b"c", None).unwrap();
    assert!(matches!(&producer.events()[..], [Event::TopicWanted(name)] if &**name == "t"));
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
    producer.topic("t", 2);
    assert!(is_pending(&first), "that answer may be older than the call");
    producer.topic("t", 3);
    producer.route("t", 2, 1);
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.values(), ["a", "c"]);
    producer.ack(1, &sent, 7);
    assert_eq!([offset_of(&first), offset_of(&second)], [Some(7), Some(8)]);
    assert!(is_pending(&other));
}

#[test]
fn a_partition_that_a_younger_answer_lacks_is_refused() {
    let producer = Producer::flowing(settings(), 2);
    let early = producer.try_send("t", Some(2), None, b"a", None).unwrap();
    let asked = stored_count(&producer);
    let late = producer.try_send("t", Some(2), None, b"b", None).unwrap();
    producer.topic("t", 2);
    refuse_missing(&producer, asked);
    assert_eq!(failure_of(&early), Some(("topic", 3, Outcome::NotWritten)));
    assert!(is_pending(&late), "the answer is older than its call");
    assert!(producer.shared.with(|flow| flow.acc.awaits_metadata("t")));
    refuse_missing(&producer, stored_count(&producer));
    assert_eq!(failure_of(&late), Some(("topic", 3, Outcome::NotWritten)));
    assert!(!producer.shared.with(|flow| flow.acc.awaits_metadata("t")));
    producer.assert_done();
}

#[test]
fn a_message_for_a_partition_that_does_not_come_expires() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.try_send("t", Some(3), None, b"a", None).unwrap();
    producer.now.set(producer.now.get() + 121 * SECOND);
    producer
        .shared
        .with(|flow| flow.on_tick(producer.now.get()));
    let (kind, _, outcome) = failure_of(&place).unwrap();
    assert_eq!((kind, outcome), ("delivery_timeout", Outcome::NotWritten));
    producer.assert_done();
}

#[test]
fn a_topic_without_messages_is_dropped_once_and_reported_again() {
    let idle = 300 * SECOND;
    let producer = Producer::flowing(settings(), 1);
    let dropped = |now| -> Vec<String> {
        let names = producer
            .shared
            .with(|flow| flow.acc.drop_idle_topics(now, idle));
        names.iter().map(ToString::to_string).collect()
    };
    let place = producer.try_send("t", None, None, b"a", None).unwrap();
    let used = producer.now.get();
    producer.events();
    assert!(dropped(used + idle).is_empty(), "a message is in flight");
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    assert!(offset_of(&place).is_some());
    assert!(dropped(used + idle - 1).is_empty());
    assert_eq!(dropped(used + idle), ["t"]);
    assert!(dropped(used + 2 * idle).is_empty(), "once");
    let _ = producer.try_send("t", None, None, b"b", None).unwrap();
    assert!(matches!(&producer.events()[..], [Event::TopicWanted(name)] if &**name == "t"));
    assert_eq!(
        producer.next(1).unwrap().values(),
        ["b"],
        "it has its route"
    );
}

#[test]
fn a_partition_without_a_route_can_be_failed_and_requests_one_again() {
    let producer = Producer::new(settings());
    producer.shared.change(|flow| flow.set_identity(9, 0));
    producer.attach(1);
    producer.topic("t", 1);
    let place = producer.try_send("t", None, None, b"a", None).unwrap();
    producer.events();
    let fail = || {
        producer
            .shared
            .with(|flow| flow.fail_partition("t", 0, closed()))
    };
    assert_eq!(fail(), 1);
    assert_eq!(failure_of(&place), Some(("closed", 0, Outcome::NotWritten)));
    producer.events();
    let _ = producer.try_send("t", None, None, b"b", None).unwrap();
    assert!(matches!(&producer.events()[..], [Event::RouteWanted(..)]));
    producer.route("t", 0, 1);
    assert_eq!(fail(), 0, "it flows");
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
}
