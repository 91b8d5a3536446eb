//! Accepting messages: late metadata, partitions, sizes, charges against the budget, waiting for free buffer space.

mod support;

use std::sync::Arc;

use ottla_core::failure::{Failure, Outcome, Trouble};
use ottla_core::partitioning::murmur2::partition_for_key;
use ottla_core::produce::completion::Place;
use ottla_core::produce::event::{Decision, Event};
use ottla_core::produce::message::Refused;
use ottla_core::produce::snapshot::HolderCause;
use support::frames::Reply;
use support::{Counter, Producer, SECOND, failure_of, is_pending, offset_of, settings};

/// Maximum overhead of a message in addition to its record: a batch (512), its header (61), spare bytes for its fields (40).
const OVERHEAD: usize = 512 + 61 + 40;

fn producer_without_topic() -> Producer {
    let producer = Producer::new(settings());
    producer.shared.change(|flow| flow.set_identity(9, 0));
    producer.attach(1);
    producer
}

#[test]
fn messages_wait_for_metadata_in_order() {
    let producer = producer_without_topic();
    producer.bell.take();
    let mut places = Vec::new();
    for number in 0..20 {
        let key = format!("k{}", number % 5);
        let value = format!("k{} {number}", number % 5);
        let place = producer
            .try_send("t", None, Some(key.as_bytes()), value.as_bytes(), None)
            .unwrap();
        places.push(place);
    }
    assert_eq!(producer.bell.take(), 1, "reported to the engine once");
    assert!(matches!(&producer.events()[..], [Event::TopicWanted(name)] if &**name == "t"));
    let own = producer
        .try_send("t", Some(2), None, b"own partition", None)
        .unwrap();
    assert_eq!(own.0.partition(), -1);
    producer.topic("t", 3);
    assert_eq!(own.0.place(own.1).0.partition(), 2);
    for (number, place) in places.iter().enumerate() {
        let key = format!("k{}", number % 5);
        let expected = partition_for_key(key.as_bytes(), 3);
        assert_eq!(place.0.place(place.1).0.partition(), expected as i32);
    }
    for number in 0..3 {
        producer.route("t", number, 1);
    }
    let sent = producer.next(1).unwrap();
    for batch in &sent.batches {
        for key in 0..5 {
            let numbers: Vec<u32> = batch
                .values
                .iter()
                .filter_map(|value| value.strip_prefix(&format!("k{key} "))?.parse().ok())
                .collect();
            assert!(numbers.is_sorted(), "{:?}", batch.values);
        }
    }
    producer.ack(1, &sent, 100);
    assert!(places.iter().all(|place| offset_of(place).is_some()));
    producer.assert_done();
}

#[test]
fn a_topic_without_partitions_is_not_known_yet() {
    let producer = producer_without_topic();
    let place = producer.try_send("t", None, None, b"v", None).unwrap();
    producer.topic("t", 0);
    assert!(is_pending(&place));
    producer.topic("t", 1);
    producer.route("t", 0, 1);
    assert_eq!(producer.next(1).unwrap().values(), ["v"]);
}

#[test]
fn a_refused_topic_fails_its_waiting_messages() {
    let producer = producer_without_topic();
    let places: Vec<_> = (0..3)
        .map(|_| producer.try_send("t", None, None, b"v", None).unwrap())
        .collect();
    let denied = Failure::broker(29, "not allowed", Outcome::NotWritten);
    assert_eq!(producer.shared.fail_topic("t", denied.clone()), 3);
    for place in &places {
        assert_eq!(failure_of(place), Some(("broker", 29, Outcome::NotWritten)));
    }
    assert_eq!(producer.shared.fail_topic("t", denied), 0);
    producer.assert_done();
}

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
fn a_partition_below_zero_is_refused() {
    let producer = Producer::flowing(settings(), 2);
    assert_eq!(
        producer
            .try_send("t", Some(-1), None, b"v", None)
            .unwrap_err(),
        Refused::NoSuchPartition { partitions: 2 }
    );
    producer.assert_done();
}

/// Reports to the producer of two partitions that its topic was deleted and recreated with one.
fn recreate_topic(producer: &Producer) {
    producer
        .shared
        .change(|flow| flow.acc.set_topic("t", [77; 16], 1, &[0], &[]));
}

#[test]
fn a_topic_recreated_with_fewer_partitions_gets_no_message_for_the_others() {
    let producer = Producer::flowing(settings(), 2);
    recreate_topic(&producer);
    let gone = producer.try_send("t", Some(1), None, b"v", None).unwrap();
    refuse_missing(&producer, stored_count(&producer));
    assert_eq!(failure_of(&gone), Some(("topic", 3, Outcome::NotWritten)));
    let keyed: Vec<_> = (0..20)
        .map(|n| {
            producer
                .try_send("t", None, Some(&[n]), b"k", None)
                .unwrap()
        })
        .collect();
    let loose = producer.try_send("t", None, None, b"-", None).unwrap();
    for (completion, _) in keyed.iter().chain([&loose]) {
        assert_eq!(completion.partition(), 0);
    }
}

#[test]
fn an_old_answer_takes_no_partitions_away() {
    let producer = Producer::flowing(settings(), 2);
    producer.topic("t", 1);
    assert!(producer.try_send("t", Some(1), None, b"v", None).is_ok());
}

#[test]
fn a_partition_that_turns_out_not_to_exist_fails_its_message_alone() {
    let producer = producer_without_topic();
    let before = producer.try_send("t", Some(0), None, b"a", None).unwrap();
    let none = producer.try_send("t", Some(5), None, b"b", None).unwrap();
    let after = producer.try_send("t", Some(0), None, b"c", None).unwrap();
    producer.events();
    producer.topic("t", 1);
    refuse_missing(&producer, stored_count(&producer));
    assert_eq!(failure_of(&none), Some(("topic", 3, Outcome::NotWritten)));
    let events = producer.events();
    assert!(
        events.iter().any(|event| matches!(
            event,
            Event::MessagesFailed {
                records: 1,
                partition: 5,
                ..
            }
        )),
        "{events:?}"
    );
    producer.route("t", 0, 1);
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.values(), ["a", "c"]);
    producer.ack(1, &sent, 0);
    assert_eq!((offset_of(&before), offset_of(&after)), (Some(0), Some(1)));
    producer.assert_done();
}

#[test]
fn messages_flushed_before_their_metadata_do_not_linger() {
    let mut set = settings();
    set.linger = 60 * SECOND;
    let producer = Producer::new(set);
    producer.shared.change(|flow| flow.set_identity(9, 0));
    producer.attach(1);
    let place = producer.try_send("t", None, None, b"v", None).unwrap();
    let unresolved = producer.shared.with(|flow| flow.acc.flush());
    assert_eq!(unresolved.len(), 1);
    producer.topic("t", 1);
    producer.route("t", 0, 1);
    producer.tick();
    let sent = producer.next(1).expect("no lingering");
    producer.ack(1, &sent, 0);
    assert!(unresolved[0].is_settled());
    assert_eq!(offset_of(&place), Some(0));
}

#[test]
fn messages_without_key_stay_on_a_partition_until_its_batch_is_full() {
    let mut set = settings();
    set.batch_bytes = 1_000;
    let producer = Producer::flowing(set, 8);
    let value = vec![b'x'; 200];
    let mut chosen: Vec<i32> = (0..40)
        .map(|_| {
            let place = producer.try_send("t", None, None, &value, None).unwrap();
            place.0.partition()
        })
        .collect();
    assert!(chosen.chunk_by(|a, b| a == b).all(|run| run.len() >= 3));
    chosen.sort_unstable();
    chosen.dedup();
    assert!(chosen.len() > 3, "{chosen:?}");
}

#[test]
fn messages_without_key_avoid_partitions_without_leader() {
    let producer = producer_without_topic();
    producer
        .shared
        .change(|flow| flow.acc.set_topic("t", [1; 16], 8, &[3], &[]));
    for _ in 0..10 {
        let place = producer.try_send("t", None, None, b"v", None).unwrap();
        assert_eq!(place.0.partition(), 3);
        producer.shared.with(|flow| flow.acc.flush());
    }
}

#[test]
fn a_message_that_no_request_can_carry_is_refused_at_once() {
    let mut set = settings();
    set.message_bytes = 1_000;
    let producer = Producer::flowing(set, 1);
    let refused = producer
        .try_send("t", Some(0), None, &[0; 1_000], None)
        .unwrap_err();
    let Refused::TooLarge {
        cap,
        bytes,
        setting,
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((cap, setting), (1_000, "max_message_bytes"));
    assert!(bytes > cap);
    producer.assert_done();
}

#[test]
fn the_setting_that_leaves_least_is_named() {
    let mut set = settings();
    set.message_bytes = 1_000_000;
    set.buffer_bytes = 100_000;
    let producer = Producer::flowing(set, 1);
    let refused = producer.try_send("t", Some(0), None, &[0; 200_000], None);
    let named = "buffer_memory";
    assert!(
        matches!(refused, Err(Refused::TooLarge { cap, setting, .. }) if cap < 100_000 && setting == named)
    );
    producer.assert_done();
}

#[test]
fn nothing_is_accepted_after_the_end() {
    let producer = Producer::flowing(settings(), 1);
    let turn = Arc::new(Counter::default());
    let ticket = producer
        .shared
        .with(|flow| flow.acc.wait_for_space(10, turn.clone(), 0));
    turn.take();
    producer.shared.with(|flow| flow.acc.stop_accepting());
    assert_eq!(turn.take(), 1);
    assert!(producer.shared.with(|flow| flow.acc.has_turn(ticket, 10)));
    let refused = producer.try_send("t", Some(0), None, b"v", Some(ticket));
    assert_eq!(refused.unwrap_err(), Refused::Closed);
}

/// A producer whose 33 KiB are taken by two messages in flight, and the request that they are in.
fn full() -> (Producer, support::frames::Sent) {
    let mut set = settings();
    set.buffer_bytes = 33 * 1024;
    set.batch_bytes = 15 * 1024;
    set.linger = 60 * SECOND;
    let producer = Producer::flowing(set, 2);
    for partition in 0..2 {
        producer
            .try_send("t", Some(partition), None, &[b'x'; 16_200], None)
            .unwrap();
    }
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.partitions(), [0, 1]);
    let refused = producer.try_send("t", Some(0), None, &[0; 1_000], None);
    assert_eq!(refused.unwrap_err(), Refused::Full);
    (producer, sent)
}

fn join(producer: &Producer) -> (u64, Arc<Counter>) {
    join_for(producer, 1_000)
}

fn join_for(producer: &Producer, bytes: usize) -> (u64, Arc<Counter>) {
    let wake = Arc::new(Counter::default());
    let ticket = producer
        .shared
        .with(|flow| flow.acc.wait_for_space(bytes, wake.clone(), 0));
    (ticket, wake)
}

#[test]
fn free_space_is_given_first_come_first_served() {
    let (producer, sent) = full();
    let (first, first_wake) = join(&producer);
    let (second, second_wake) = join(&producer);
    let turn = |ticket| {
        producer
            .shared
            .with(|flow| flow.acc.has_turn(ticket, 1_000))
    };
    assert!(!turn(first) && !turn(second));
    first_wake.take();
    producer.ack(1, &sent, 0);
    assert!(first_wake.take() > 0);
    assert!(second_wake.take() > 0, "there is space for both");
    assert!(turn(first) && !turn(second));
    let value = [b'y'; 1_000];
    let send = |ticket| producer.try_send("t", Some(0), None, &value, ticket);
    assert_eq!(
        send(None).unwrap_err(),
        Refused::Full,
        "no sender passes the queue"
    );
    assert_eq!(send(Some(second)).unwrap_err(), Refused::Full);
    send(Some(first)).unwrap();
    assert!(second_wake.take() > 0, "the next one's turn");
    send(Some(second)).unwrap();
    send(None).unwrap();
}

#[test]
fn a_sender_that_leaves_the_queue_wakes_the_next() {
    let (producer, sent) = full();
    let (first, _) = join(&producer);
    let (second, wake) = join(&producer);
    producer.ack(1, &sent, 0);
    assert!(wake.take() > 0);
    assert!(!producer.shared.with(|flow| flow.acc.has_turn(second, 10)));
    producer
        .shared
        .with(|flow| flow.acc.leave_space_queue(first));
    assert!(
        wake.take() > 0,
        "it checked too early, so it is woken again"
    );
    assert!(producer.shared.with(|flow| flow.acc.has_turn(second, 10)));
    producer
        .shared
        .with(|flow| flow.acc.leave_space_queue(second));
    producer
        .try_send("t", Some(0), None, b"v", None)
        .expect("the queue is empty");
}

#[test]
fn the_buffer_is_full_from_a_refusal_until_space_is_released() {
    let (producer, sent) = full();
    let is_full = || producer.shared.with(|flow| flow.budget(0).full);
    assert!(is_full(), "no sender waits, and one was refused");
    producer.ack(1, &sent, 0);
    assert!(!is_full());
    let send = |bytes: usize| producer.try_send("t", Some(0), None, &vec![b'x'; bytes], None);
    send(14_000).unwrap();
    assert!(!is_full(), "nothing was refused since");
    assert_eq!(send(20_000).unwrap_err(), Refused::Full);
    assert!(is_full());
    let (ticket, _) = join(&producer);
    let value = [b'y'; 1_000];
    producer
        .try_send("t", Some(0), None, &value, Some(ticket))
        .unwrap();
    assert!(
        !is_full(),
        "the queue is empty, and the message of its head fitted"
    );
}

#[test]
fn a_refusal_sends_lingering_batches() {
    let mut set = settings();
    set.buffer_bytes = 33 * 1024;
    set.batch_bytes = 1 << 20;
    set.linger = 60 * SECOND;
    let producer = Producer::flowing(set, 1);
    let send = || producer.try_send("t", Some(0), None, &[b'x'; 1_000], None);
    while send().is_ok() {
        assert!(producer.next(1).is_none(), "it lingers");
    }
    let sent = producer
        .next(1)
        .expect("the batch that holds the whole budget");
    producer.ack(1, &sent, 0);
    send().unwrap();
    assert!(producer.next(1).is_none(), "there is space: it lingers");
}

#[test]
fn a_full_buffer_is_reported_once_until_the_engine_finds_space() {
    let (producer, sent) = full();
    let reports = || {
        let events = producer.shared.take_events();
        let lacking = events
            .iter()
            .filter(|one| matches!(one, Event::SpaceLacking { .. }));
        lacking.count()
    };
    let refuse = || {
        let refused = producer.try_send("t", Some(0), None, &[0; 20_000], None);
        assert_eq!(refused.unwrap_err(), Refused::Full);
    };
    let still_full = || producer.shared.with(|flow| flow.acc.still_full());
    assert_eq!(reports(), 1);
    refuse();
    assert_eq!(reports(), 0);
    assert_eq!(still_full(), Some(2), "two messages were accepted");
    refuse();
    assert_eq!(reports(), 0, "the engine polls");
    producer.ack(1, &sent, 0);
    assert_eq!(still_full(), None);
    producer
        .try_send("t", Some(0), None, &[0; 14_000], None)
        .unwrap();
    refuse();
    assert_eq!(reports(), 1);
}

#[test]
fn the_budget_names_its_holders() {
    let (producer, _sent) = full();
    let largest = |now| {
        let budget = producer.shared.with(|flow| flow.budget(now));
        assert!(budget.full);
        budget.largest().unwrap()
    };
    let now = producer.now.get();
    let share = largest(now);
    let places = [0, 1].map(|number| (Some("t".into()), Some(number)));
    assert_eq!((share.bytes, share.more), (33 * 1024, 0));
    assert_eq!(share.places, places);
    let node = (1, "broker:9092".into());
    assert_eq!(share.cause, HolderCause::InFlight(Some(node)));
    let silent = Trouble::Silent {
        node: 1,
        address: "broker:9092".into(),
        time: 12 * SECOND,
    };
    let share = largest(now + 12 * SECOND);
    assert_eq!(share.cause, HolderCause::Trouble(silent));
}

#[test]
fn a_waiting_sender_has_open_batches_sent() {
    let (producer, sent) = full();
    let (first, _) = join(&producer);
    let (second, wake) = join_for(&producer, 20_000);
    producer.ack(1, &sent, 0);
    let large = [b'z'; 14_000];
    producer
        .try_send("t", Some(0), None, &large, Some(first))
        .unwrap();
    // The second sender checks, finds too little space for its message and sleeps again.
    assert!(
        !producer
            .shared
            .with(|flow| flow.acc.has_turn(second, 20_000))
    );
    let again: Arc<Counter> = wake.clone();
    producer
        .shared
        .with(|flow| flow.acc.wait_again(second, again, 0));
    producer.tick();
    let sent = producer.next(1).expect("it does not linger");
    wake.take();
    producer.ack(1, &sent, 2);
    assert!(wake.take() > 0);
    assert!(
        producer
            .shared
            .with(|flow| flow.acc.has_turn(second, 20_000))
    );
}

#[test]
fn the_first_waiting_sender_has_open_batches_sent() {
    let mut set = settings();
    set.buffer_bytes = 33 * 1024;
    set.batch_bytes = 1024 * 1024;
    set.linger = 60 * SECOND;
    let producer = Producer::flowing(set, 1);
    let value = "v".repeat(4_000);
    for _ in 0..4 {
        let sent = producer.try_send("t", Some(0), None, value.as_bytes(), None);
        sent.expect("a refusal would have it sent too");
    }
    producer.tick();
    assert!(producer.next(1).is_none(), "it lingers");
    let (ticket, _) = join_for(&producer, 20_000);
    let sent = producer
        .next(1)
        .expect("the batch that holds the space does not linger");
    producer.ack(1, &sent, 0);
    assert!(
        producer
            .shared
            .with(|flow| flow.acc.has_turn(ticket, 20_000))
    );
}

#[test]
fn a_long_queue_is_woken_in_order_and_each_once() {
    let (producer, sent) = full();
    let order = Arc::new(Counter::default());
    let tickets: Vec<u64> = (0..700)
        .map(|token| {
            let wake = order.clone();
            producer
                .shared
                .with(|flow| flow.acc.wait_for_space(50, wake, token))
        })
        .collect();
    assert_eq!(order.take(), 0);
    producer.ack(1, &sent, 0);
    // 33 KiB were released: the senders whose messages fit into them, in one batch, are woken, and not one more.
    let fit = (33 * 1024 - OVERHEAD) / 50;
    assert_eq!(order.take(), fit);
    let mut accepted = 0;
    for ticket in &tickets {
        let turn = producer.shared.with(|flow| flow.acc.has_turn(*ticket, 50));
        if !turn {
            break;
        }
        producer
            .try_send("t", Some(0), None, &[b'x'; 20], Some(*ticket))
            .unwrap();
        accepted += 1;
    }
    assert_eq!(accepted, 700, "a record takes less than was requested");
    assert_eq!(order.take(), 700 - fit, "the others were woken, once");
}

#[test]
fn a_failed_topic_releases_memory() {
    let mut set = settings();
    set.buffer_bytes = 2_500;
    let producer = Producer::new(set);
    producer
        .try_send("t", None, None, &[0; 1_500], None)
        .unwrap();
    let (_, wake) = join(&producer);
    wake.take();
    let gone = Failure::broker(17, "no such name", Outcome::NotWritten);
    producer.shared.fail_topic("t", gone);
    assert!(wake.take() > 0);
    producer.assert_done();
}

#[test]
fn compression_releases_memory() {
    let mut set = settings();
    set.buffer_bytes = 16 * 1024;
    set.codec = ottla_core::bytes::compression::codec::Codec::Lz4;
    let producer = Producer::flowing(set, 1);
    producer
        .try_send("t", Some(0), None, &[b'x'; 12_000], None)
        .unwrap();
    let (_, wake) = join(&producer);
    wake.take();
    assert!(producer.used() >= 12_000);
    let sent = producer.next(1).unwrap();
    assert!(producer.used() < 1_000);
    assert!(wake.take() > 0);
    producer.ack(1, &sent, 0);
    producer.assert_done();
}

#[test]
fn outcomes_are_charged_until_they_are_read() {
    let mut set = settings();
    set.keeps_outcomes = true;
    let producer = Producer::flowing(set, 2);
    let written = producer.send(0, "a");
    let failed = producer.send(1, "b");
    written.0.attach(written.1, 1, false);
    failed.0.attach(failed.1, 2, false);
    let sent = producer.next(1).unwrap();
    let replies = [Reply::ok(0), Reply::error(87)];
    producer.respond(1, &sent, &replies).unwrap();
    let gone = Failure::broker(87, "no", Outcome::NotWritten);
    producer.release(1, vec![Decision::Fail(gone)]);
    for (place, delivery) in [(written, 1), (failed, 2)] {
        let before = producer.used();
        let bytes = place.0.take_charge();
        assert!(bytes > 0);
        let attached = place.0.take_attached();
        assert_eq!(attached.len(), 1);
        assert_eq!(attached[0].handle, delivery);
        producer.shared.with(|flow| flow.acc.outcomes_read(bytes));
        assert_eq!(producer.used(), before - bytes);
    }
    producer.assert_done();
}

/// Reads the outcome of the only message at a place, and releases its charge.
fn read(producer: &Producer, place: &Place) -> usize {
    let (completion, _) = place.0.place(place.1);
    assert_eq!(completion.take_attached().len(), 1);
    let bytes = completion.take_charge();
    producer.shared.with(|flow| flow.acc.outcomes_read(bytes));
    bytes
}

#[test]
fn a_batch_that_expired_in_flight_is_charged_until_it_is_answered_and_read() {
    for read_first in [true, false] {
        let mut set = settings();
        set.keeps_outcomes = true;
        let producer = Producer::flowing(set, 1);
        let place = producer.send(0, "a");
        place.0.attach(place.1, 1, false);
        let sent = producer.next(1).unwrap();
        let before = producer.used();
        producer.pass(120 * SECOND);
        producer.tick();
        if read_first {
            assert_eq!(read(&producer, &place), 0);
        }
        assert_eq!(producer.used(), before, "its bytes may still leave");
        producer.ack(1, &sent, 0);
        if !read_first {
            assert_eq!(producer.used(), before, "its outcome has not been read");
            assert_eq!(read(&producer, &place), before);
        }
        producer.assert_done();
    }
}

#[test]
fn failures_of_every_kind_are_charged_until_they_are_read() {
    let mut set = settings();
    set.keeps_outcomes = true;
    let value = [b'x'; 1_000];
    let send = |producer: &Producer, partition| {
        let place = producer.try_send("t", Some(partition), None, &value, None);
        let (completion, at) = place.unwrap();
        completion.attach(at, 1, false);
        (completion, at)
    };
    // A topic whose metadata does not arrive.
    let producer = Producer::new(set.clone());
    let place = send(&producer, 0);
    producer.pass(120 * SECOND);
    producer.tick();
    assert!(failure_of(&place).is_some());
    assert!(read(&producer, &place) >= value.len());
    producer.assert_done();
    // A partition that its topic turns out not to have.
    let producer = Producer::new(set.clone());
    let place = send(&producer, 7);
    producer.topic("t", 1);
    refuse_missing(&producer, stored_count(&producer));
    assert!(failure_of(&place).is_some());
    assert!(read(&producer, &place) >= value.len());
    producer.assert_done();
    // A record that a broker names.
    let producer = Producer::flowing(set, 1);
    let place = send(&producer, 0);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 87);
    let named = Decision::FailRecords([(0, Failure::broker(87, "", Outcome::NotWritten))].into());
    producer.release(0, vec![named]);
    assert!(failure_of(&place).is_some());
    assert!(read(&producer, &place) >= value.len());
    producer.assert_done();
}

#[test]
fn a_message_that_fits_into_a_charged_buffer_needs_no_free_space() {
    for key in [None, Some(&b"key"[..])] {
        let mut set = settings();
        set.buffer_bytes = 17_500;
        let producer = Producer::new(set);
        producer.topic("t", 1);
        let send = || producer.try_send("t", None, key, &[b'x'; 1000], None);
        let used = || producer.shared.with(|flow| flow.acc.used_bytes());
        // The buffer grows until the budget is used up.
        while used() + 1_000 <= 17_500 {
            send().unwrap();
        }
        let (before, mut more) = (used(), 0);
        while send().is_ok() {
            more += 1;
        }
        assert!(more > 5, "{more}");
        assert_eq!(used(), before);
        let (_, woken) = join(&producer);
        assert_eq!(woken.take(), 0);
        assert_eq!(
            send().unwrap_err(),
            Refused::Full,
            "no sender passes the queue"
        );
    }
}
