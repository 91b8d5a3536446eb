//! How long an open batch waits for more.

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

fn hurry(producer: &Producer, place: &Place) {
    producer.shared.hurry(&place.0);
}

#[test]
fn it_goes_at_once_where_nothing_of_its_partition_is_on_its_way() {
    let producer = Producer::flowing(lingering(), 1);
    let place = producer.send(0, "v");
    producer.tick();
    producer.waker.take();
    assert!(producer.next(1).is_none(), "nobody waits: it lingers");
    hurry(&producer, &place);
    assert_eq!(producer.waker.take(), 1, "the I/O thread has to look");
    hurry(&producer, &place);
    assert_eq!(producer.waker.take(), 0, "it has been told");
    producer.tick();
    let sent = producer.next(1).expect("somebody waits");
    hurry(&producer, &place);
    assert_eq!(producer.waker.take(), 0, "it is on its way");
    producer.ack(1, &sent, 0);
    producer.assert_done();
}

#[test]
fn while_one_is_on_its_way_the_others_gather() {
    let producer = Producer::flowing(lingering(), 1);
    hurry(&producer, &producer.send(0, "first"));
    let first = producer.next(1).unwrap();
    let second = producer.send(0, "second");
    hurry(&producer, &second);
    assert!(producer.next(1).is_none());
    producer.send(0, "third");
    producer.ack(1, &first, 0);
    let rest = producer.next(1).expect("it goes with the answer");
    assert_eq!(rest.values(), ["second", "third"]);

    hurry(&producer, &producer.send(0, "fourth"));
    producer.pass(SECOND);
    assert_eq!(
        producer.next(1).expect("it has lingered").values(),
        ["fourth"]
    );
}

#[test]
fn all_open_batches_of_the_topic_go_and_none_of_another() {
    let producer = Producer::flowing(lingering(), 2);
    producer.topic("other", 1);
    producer.route("other", 0, 1);
    let other = producer
        .try_send("other", Some(0), None, b"o", None)
        .unwrap();
    producer.send(0, "a");
    let waited = producer.send(1, "b");
    hurry(&producer, &waited);
    assert_eq!(producer.next(1).unwrap().values(), ["a", "b"]);
    assert!(producer.next(1).is_none());
    assert!(is_pending(&other));
    hurry(&producer, &other);
    assert_eq!(producer.next(1).unwrap().values(), ["o"]);
}

#[test]
fn what_was_opened_later_lingers() {
    let producer = Producer::flowing(lingering(), 2);
    hurry(&producer, &producer.send(0, "waited for"));
    producer.send(1, "not");
    assert_eq!(producer.next(1).unwrap().values(), ["waited for"]);
    assert!(producer.next(1).is_none());
}

#[test]
fn where_the_io_thread_is_awake_three_quarters_of_a_linger_are_enough() {
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
fn while_messages_flow_the_next_one_wakes_nobody() {
    let producer = Producer::flowing(lingering(), 1);
    producer.tick();
    producer.waker.take();
    producer.send(0, "a");
    assert_eq!(producer.waker.take(), 1, "nobody would look for it");
    producer.pass(SECOND);
    let leaves = producer.now.get();
    assert_eq!(producer.tick(), Some(leaves + SECOND));
    let sent = producer.next(1).unwrap();
    producer.send(0, "b");
    assert_eq!(producer.waker.take(), 0, "it is looked for anyway");
    producer.ack(1, &sent, 0);
    producer.tick();
    producer.pass(SECOND);
    assert_eq!(producer.next(1).unwrap().values(), ["b"]);
}

#[test]
fn an_idle_producer_is_looked_at_once_more() {
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

/// How often the I/O thread looks while nothing can be sent.
fn looks(producer: &Producer, time: u64) -> usize {
    let until = producer.now.get() + time;
    let mut looks = 0;
    loop {
        looks += 1;
        let next = producer.tick();
        assert!(producer.next(1).is_none(), "nothing can be sent");
        match next.filter(|next| *next <= until) {
            Some(next) => producer.now.set(next),
            None => return looks,
        }
    }
}

#[test]
fn one_that_cannot_leave_is_not_looked_at_again_and_again() {
    let without_identity = Producer::new(lingering());
    without_identity.attach(1);
    without_identity.topic("t", 1);
    without_identity.route("t", 0, 1);
    without_identity.send(0, "v");
    assert!(looks(&without_identity, 100 * SECOND) < 5);

    let throttled = Producer::flowing(lingering(), 1);
    throttled.send(0, "v");
    throttled.pass(SECOND);
    let sent = throttled.next(1).unwrap();
    let frame = frames::response(sent.version, &sent, &[Reply::ok(0)], 20_000);
    throttled.respond_raw(1, &sent, frame).unwrap();
    throttled.send(0, "w");
    assert!(looks(&throttled, 19 * SECOND) < 5);

    let unanswered = Producer::flowing(lingering(), 6);
    for number in 0..5 {
        unanswered.send(number, "v");
        unanswered.pass(SECOND);
        unanswered.next(1).expect("five may be in flight");
    }
    unanswered.send(5, "w");
    assert!(looks(&unanswered, 100 * SECOND) < 5);
}

#[test]
fn what_somebody_waits_for_lingers_no_longer_behind_a_closed_batch() {
    let mut set = settings();
    let mut batching = set.batching("t");
    batching.linger = SECOND;
    set.topics.insert("t".into(), batching);
    let producer = Producer::flowing(set, 1);
    producer.batch(0, &["closed"]);
    let opened = producer.now.get();
    hurry(&producer, &producer.send(0, "open"));
    let next = producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["closed"]);
    assert!(producer.next(1).is_none(), "one is on its way");
    assert_eq!(next, Some(opened + SECOND), "no answer may come before");
    producer.pass(SECOND);
    producer.tick();
    assert_eq!(producer.next(1).unwrap().values(), ["open"]);
}
