//! The wait of an open batch for more messages.

mod support;

use ottla_core::produce::completion::Place;
use ottla_core::produce::settings::Settings;
use support::frames::{self, Reply};
use support::{Producer, SECOND, is_pending, settings};

fn lingering() -> Settings {
    Settings {
        linger: SECOND,
        ..settings()
    }
}

fn await_outcome(producer: &Producer, place: &Place) {
    producer.shared.end_linger(&place.0);
}

#[test]
fn an_awaited_batch_is_sent_at_once_if_nothing_of_its_partition_is_in_flight() {
    let producer = Producer::flowing(lingering(), 1);
    let place = producer.send(0, "v");
    producer.tick();
    producer.waker.take();
    assert!(producer.next(1).is_none(), "no caller waits: it lingers");
    await_outcome(&producer, &place);
    assert_eq!(producer.waker.take(), 1, "the I/O thread has to be woken");
    await_outcome(&producer, &place);
    assert_eq!(producer.waker.take(), 0, "it is awake already");
    producer.tick();
    let sent = producer.next(1).expect("a caller waits");
    await_outcome(&producer, &place);
    assert_eq!(producer.waker.take(), 0, "it is in flight");
    producer.ack(1, &sent, 0);
    producer.assert_done();
}

#[test]
fn messages_gather_while_a_batch_is_in_flight() {
    let producer = Producer::flowing(lingering(), 1);
    await_outcome(&producer, &producer.send(0, "first"));
    let first = producer.next(1).unwrap();
    let second = producer.send(0, "second");
    await_outcome(&producer, &second);
    assert!(producer.next(1).is_none());
    producer.send(0, "third");
    producer.ack(1, &first, 0);
    let rest = producer.next(1).expect("it is sent after the answer");
    assert_eq!(rest.values(), ["second", "third"]);

    await_outcome(&producer, &producer.send(0, "fourth"));
    producer.pass(SECOND);
    assert_eq!(
        producer.next(1).expect("it has lingered").values(),
        ["fourth"]
    );
}

#[test]
fn all_open_batches_of_the_topic_are_sent_and_none_of_another() {
    let producer = Producer::flowing(lingering(), 2);
    producer.topic("other", 1);
    producer.route("other", 0, 1);
    let other = producer
        .try_send("other", Some(0), None, b"o", None)
        .unwrap();
    producer.send(0, "a");
    let waited = producer.send(1, "b");
    await_outcome(&producer, &waited);
    assert_eq!(producer.next(1).unwrap().values(), ["a", "b"]);
    assert!(producer.next(1).is_none());
    assert!(is_pending(&other));
    await_outcome(&producer, &other);
    assert_eq!(producer.next(1).unwrap().values(), ["o"]);
}

#[test]
fn a_batch_opened_later_lingers() {
    let producer = Producer::flowing(lingering(), 2);
    await_outcome(&producer, &producer.send(0, "waited for"));
    producer.send(1, "not");
    assert_eq!(producer.next(1).unwrap().values(), ["waited for"]);
    assert!(producer.next(1).is_none());
}

#[test]
fn while_the_io_thread_is_awake_three_quarters_of_a_linger_suffice() {
    let producer = Producer::flowing(lingering(), 2);
    producer.send(0, "a");
    producer.pass(SECOND / 4 - 1);
    producer.send(1, "b");
    producer.pass(SECOND / 2);
    assert!(producer.next(1).is_none(), "neither has lingered");
    producer.pass(SECOND / 4 + 1);
    let sent = producer.next(1).expect("the first has");
    assert_eq!(sent.values(), ["a", "b"]);
}

#[test]
fn while_messages_flow_the_next_one_causes_no_wake() {
    let producer = Producer::flowing(lingering(), 1);
    producer.tick();
    producer.waker.take();
    producer.send(0, "a");
    assert_eq!(producer.waker.take(), 1, "the thread would not wake for it");
    producer.pass(SECOND);
    let leaves = producer.now.get();
    assert_eq!(producer.tick(), Some(leaves + SECOND));
    let sent = producer.next(1).unwrap();
    producer.send(0, "b");
    assert_eq!(producer.waker.take(), 0, "the next turn comes soon enough");
    producer.ack(1, &sent, 0);
    producer.tick();
    producer.pass(SECOND);
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
}

#[test]
fn an_idle_producer_gets_one_more_turn() {
    let producer = Producer::flowing(lingering(), 1);
    producer.send(0, "a");
    producer.pass(SECOND);
    producer.tick();
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    let answered = producer.now.get();
    assert_eq!(producer.tick(), Some(answered + SECOND));
    producer.pass(SECOND);
    assert_eq!(producer.tick(), None);
    producer.assert_done();
}

/// Number of turns of the I/O thread while no batch can be sent.
fn turns(producer: &Producer, time: u64) -> usize {
    let until = producer.now.get() + time;
    let mut turns = 0;
    loop {
        turns += 1;
        let next = producer.tick();
        assert!(producer.next(1).is_none(), "nothing can be sent");
        match next.filter(|next| *next <= until) {
            Some(next) => producer.now.set(next),
            None => return turns,
        }
    }
}

#[test]
fn a_batch_that_cannot_be_sent_keeps_no_thread_busy() {
    let without_identity = Producer::new(lingering());
    without_identity.attach(1);
    without_identity.topic("t", 1);
    without_identity.route("t", 0, 1);
    without_identity.send(0, "v");
    assert!(turns(&without_identity, 100 * SECOND) < 5);

    let throttled = Producer::flowing(lingering(), 1);
    throttled.send(0, "v");
    throttled.pass(SECOND);
    let sent = throttled.next(1).unwrap();
    let frame = frames::response(sent.version, &sent, &[Reply::ok(0)], 20_000);
    throttled.respond_raw(1, &sent, frame).unwrap();
    throttled.send(0, "w");
    assert!(turns(&throttled, 19 * SECOND) < 5);

    let unanswered = Producer::flowing(lingering(), 6);
    for number in 0..5 {
        unanswered.send(number, "v");
        unanswered.pass(SECOND);
        unanswered.next(1).expect("five may be in flight");
    }
    unanswered.send(5, "w");
    assert!(turns(&unanswered, 100 * SECOND) < 5);
}

#[test]
fn an_awaited_batch_behind_a_closed_one_does_not_linger() {
    let mut set = settings();
    let mut batching = set.batching("t");
    batching.linger = SECOND;
    set.topics.insert("t".into(), batching);
    let producer = Producer::flowing(set, 1);
    producer.batch(0, &["closed"]);
    let opened = producer.now.get();
    await_outcome(&producer, &producer.send(0, "open"));
    let next = producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["closed"]);
    assert!(producer.next(1).is_none(), "one is in flight");
    assert_eq!(next, Some(opened + SECOND), "no answer may come before");
    producer.pass(SECOND);
    producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["open"]);
}
