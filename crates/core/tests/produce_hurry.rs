//! What somebody waits for does not linger for nobody.

mod support;

use ottla_core::accumulator::Settings;
use ottla_core::completion::Place;
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
