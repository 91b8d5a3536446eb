//! Whether a batch may be in the log, recreated topics, sequences that wrap around, and `gapless`.

mod support;

use ottla_core::failure::{Cause, Failure, Outcome};
use ottla_core::produce::event::{Decision, Event, HoldCause};
use support::{Producer, SECOND, closed, failed, failure_of, is_pending, offset_of, settings};

const LIMIT: u64 = 120 * SECOND;

fn gapless() -> Producer {
    let mut set = settings();
    set.gapless = true;
    Producer::flowing(set, 1)
}

fn outcome_at_expiry(codes: &[Option<i16>]) -> (&'static str, i16, Outcome) {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.batch(0, &["v"]).remove(0);
    let mut conn = 1;
    for code in codes {
        let sent = producer.next(conn).unwrap();
        match code {
            Some(code) => producer.refuse(conn, &sent, *code),
            None => producer.lose(conn),
        }
        producer.one_hold();
        conn += 1;
        producer.attach(conn);
        producer.release_to(0, vec![Decision::Retry], Some(conn), None);
    }
    producer.pass(LIMIT);
    producer.tick();
    producer.assert_done();
    failure_of(&place).unwrap()
}

#[test]
fn a_batch_refused_before_the_append_each_time_is_not_written() {
    for codes in [
        &[][..],
        &[Some(19)],
        &[Some(3), Some(19), Some(2)],
        &[Some(100)],
    ] {
        let (kind, _, outcome) = outcome_at_expiry(codes);
        assert_eq!((kind, outcome), ("delivery_timeout", Outcome::NotWritten));
    }
}

#[test]
fn one_inconclusive_attempt_makes_it_unknown() {
    for codes in [
        &[None][..],
        &[Some(20)],
        &[Some(7)],
        &[Some(6), Some(19)],
        &[None, Some(19)],
        &[Some(9999), Some(19)],
    ] {
        assert_eq!(outcome_at_expiry(codes).2, Outcome::Unknown, "{codes:?}");
    }
}

#[test]
fn an_attempt_in_flight_makes_it_unknown() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.batch(0, &["v"]).remove(0);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 19);
    producer.one_hold();
    producer.release(0, vec![Decision::Retry]);
    producer.next(1).unwrap();
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(failure_of(&place).unwrap().2, Outcome::Unknown);
}

#[test]
fn an_abort_gives_the_same_outcomes() {
    let producer = Producer::flowing(settings(), 1);
    let refused = producer.batch(0, &["refused"]).remove(0);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 19);
    producer.one_hold();
    producer.release(0, vec![Decision::Retry]);
    producer.shared.with(|flow| flow.abort_all(closed(), None));
    assert_eq!(failure_of(&refused).unwrap().2, Outcome::NotWritten);
    producer.assert_done();
}

#[test]
fn an_overtaken_batch_is_written_when_it_expires() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.batch(0, &["first"]).remove(0);
    producer.batch(0, &["second"]);
    let sent = producer.requests(1);
    producer.refuse(1, &sent[0], 7);
    producer.ack(1, &sent[1], 1);
    producer.one_hold();
    producer.release(0, vec![Decision::Retry]);
    producer.shared.with(|flow| flow.watch(true));
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(offset_of(&place), Some(-1));
    let reported = producer.events();
    assert!(
        reported.iter().any(|event| matches!(
            event,
            Event::BatchAcked {
                base_offset: -1,
                ..
            }
        )),
        "a listener receives it: {reported:?}"
    );
    producer.assert_done();
}

#[test]
fn a_hold_includes_batches_that_wait_to_be_sent_again() {
    let producer = Producer::flowing(settings(), 1);
    for value in ["a", "b", "c"] {
        producer.batch(0, &[value]);
    }
    producer.requests(1);
    producer.lose(1);
    producer.one_hold();
    producer.attach(2);
    producer.release_to(0, vec![Decision::Retry; 3], Some(2), None);
    producer.batch(0, &["d"]);
    let sent = producer.requests(2);
    assert_eq!(sent.len(), 1, "one is sent alone");
    producer.refuse(2, &sent[0], 29);
    let held = producer.one_hold();
    assert_eq!(held.summary(), [(1, Some(29)), (1, None), (1, None)]);
    assert!(held.batches.iter().all(|batch| batch.may_be_written));
}

#[test]
fn sequences_continue_at_0_after_the_largest() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 45);
    producer.one_hold();
    producer.release_to(0, vec![Decision::Retry], None, Some((9, 1)));
    producer
        .shared
        .with(|flow| flow.assume_sequence("t", 0, i32::MAX - 1));
    producer.route("t", 0, 1);
    producer.assume_acknowledged(0);
    producer.batch(0, &["w", "x"]);
    producer.batch(0, &["y"]);
    let sequences: Vec<_> = producer
        .requests(1)
        .iter()
        .flat_map(|sent| sent.sequences())
        .collect();
    assert_eq!(sequences, [i32::MAX - 1, i32::MAX, 1]);
}

// ---- recreated topics ------------------------------------------------------------------------------------------------

fn recreate_topic(producer: &Producer) {
    producer.topic_with_id("t", [7; 16], 1);
}

#[test]
fn a_recreated_topic_holds_partitions_that_have_sent() {
    let producer = Producer::flowing(settings(), 2);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    recreate_topic(&producer);
    let held = producer.one_hold();
    assert_eq!((held.partition, held.cause), (0, HoldCause::Recreated));
    producer.batch(0, &["w"]);
    assert!(producer.next(1).is_none());
    producer.release_to(0, vec![], Some(1), Some((9, 1)));
    assert_eq!(producer.next(1).unwrap().sequences(), [0]);
}

#[test]
fn batches_in_flight_end_before_the_hold_is_reported() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    recreate_topic(&producer);
    recreate_topic(&producer);
    assert!(producer.held().is_empty());
    producer.refuse(1, &sent, 100);
    let held = producer.one_hold();
    assert_eq!(held.cause, HoldCause::Recreated);
    assert_eq!(held.summary(), [(1, Some(100))]);
}

#[test]
fn a_hold_that_has_begun_is_reported_as_a_recreated_topic() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    producer.batch(0, &["w"]);
    let sent = producer.requests(1);
    producer.refuse(1, &sent[0], 100);
    recreate_topic(&producer);
    assert!(producer.held().is_empty());
    producer.refuse(1, &sent[1], 100);
    assert_eq!(producer.one_hold().cause, HoldCause::Recreated);
}

#[test]
fn a_release_from_before_the_recreation_is_followed_by_a_hold() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.batch(0, &["v"]).remove(0);
    producer.next(1).unwrap();
    producer.lose(1);
    assert!(matches!(producer.one_hold().cause, HoldCause::Lost(_)));
    recreate_topic(&producer);
    assert!(producer.held().is_empty());
    producer.attach(2);
    producer.release_to(0, vec![Decision::Retry], Some(2), None);
    let held = producer.one_hold();
    assert_eq!((held.cause, held.batches.len()), (HoldCause::Recreated, 1));
    assert!(held.batches[0].may_be_written);
    assert!(producer.next(2).is_none() && is_pending(&place));
}

#[test]
fn the_old_id_from_a_lagging_broker_is_ignored() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    recreate_topic(&producer);
    producer.one_hold();
    producer.release_to(0, vec![], Some(1), Some((9, 1)));
    producer.topic("t", 1);
    recreate_topic(&producer);
    assert!(producer.held().is_empty());
    producer.batch(0, &["w"]);
    assert_eq!(producer.next(1).unwrap().sequences(), [0]);
}

#[test]
fn a_late_or_missing_id_is_no_other_topic() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    producer.next(1).unwrap();
    producer.topic_with_id("t", [0; 16], 1);
    producer.topic_with_id("t", [7; 16], 1);
    producer.topic_with_id("t", [7; 16], 1);
    producer.lose(1);
    assert!(matches!(producer.one_hold().cause, HoldCause::Lost(_)));
}

// ---- gapless ---------------------------------------------------------------------------------------------------------

#[test]
fn queue_and_open_batch_fail_with_the_first() {
    let producer = gapless();
    let first = producer.batch(0, &["a"]).remove(0);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 44);
    let queued = producer.batch(0, &["b"]).remove(0);
    let open = producer.send(0, "c");
    producer.one_hold();
    let refused = Failure::broker(44, "no", Outcome::NotWritten);
    let decisions = vec![Decision::Fail(refused.clone())];
    producer
        .shared
        .release("t", 0, decisions, Some(&refused), None)
        .unwrap();
    assert_eq!(failed(&first), Some(refused.clone()));
    for place in [queued, open] {
        assert_eq!(failed(&place), Some(refused.behind(Outcome::NotWritten)));
    }
    let reported = producer.events();
    let records: u64 = reported
        .iter()
        .map(|event| match event {
            Event::MessagesFailed { records, .. } => *records,
            _ => 0,
        })
        .sum();
    assert_eq!(records, 3);
    producer.route("t", 0, 1);
    producer.batch(0, &["d"]);
    assert_eq!(producer.next(1).unwrap().values(), ["d"]);
}

#[test]
fn batches_outside_the_hold_have_the_outcome_of_their_own_attempts() {
    let producer = gapless();
    producer.batch(0, &["a"]);
    let sent = producer.requests(1);
    producer.refuse(1, &sent[0], 44);
    producer.one_hold();
    let behind = producer.batch(0, &["b"]).remove(0);
    // The batch of the hold may be in the log; one that was never sent is not.
    let refused = Failure::broker(44, "no", Outcome::Unknown);
    let decisions = vec![Decision::Fail(refused.clone())];
    producer
        .shared
        .release("t", 0, decisions, Some(&refused), None)
        .unwrap();
    assert_eq!(failed(&behind), Some(refused.behind(Outcome::NotWritten)));
    producer.assert_done();
}

#[test]
fn batches_that_had_their_outcome_fail_nothing_behind_them() {
    let producer = gapless();
    producer.batch(0, &["a"]);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 44);
    producer.one_hold();
    producer.pass(LIMIT);
    producer.tick();
    let later = producer.batch(0, &["b"]).remove(0);
    let refused = Failure::broker(44, "no", Outcome::NotWritten);
    let decisions = vec![Decision::Fail(refused.clone())];
    producer
        .shared
        .release("t", 0, decisions, Some(&refused), None)
        .unwrap();
    assert!(is_pending(&later));
    producer.route("t", 0, 1);
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    producer.assert_done();
}

#[test]
fn unsent_messages_fail_behind_a_batch_that_expires_in_flight() {
    let producer = gapless();
    let first = producer.batch(0, &["a"]).remove(0);
    producer.next(1).unwrap();
    producer.pass(LIMIT - SECOND);
    producer.assume_acknowledged(0);
    let behind = producer.batch(0, &["b"]).remove(0);
    producer.next(1).unwrap();
    let waits = producer.send(0, "c");
    producer.pass(SECOND);
    producer.tick();
    let outcomes = [first, behind, waits].map(|place| failure_of(&place).unwrap().2);
    assert_eq!(
        outcomes,
        [Outcome::Unknown, Outcome::Unknown, Outcome::NotWritten]
    );
    producer.lose(1);
    assert_eq!(producer.one_hold().batches.len(), 2);
    producer.release(0, vec![Decision::Retry; 2]);
    producer.assert_done();
}

#[test]
fn records_behind_a_refused_one_of_their_batch_fail_behind_it() {
    let producer = gapless();
    let places = producer.batch(0, &["a", "bad", "c", "bad too"]);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 87);
    producer.one_hold();
    let queued = producer.batch(0, &["d"]).remove(0);
    let first = Failure::broker(87, "no key", Outcome::NotWritten);
    let behind = first.behind(Outcome::NotWritten);
    let named = [(1, first.clone()), (2, behind), (3, first.clone())].into();
    producer
        .shared
        .release(
            "t",
            0,
            vec![Decision::FailRecords(named)],
            Some(&first),
            None,
        )
        .unwrap();
    let kinds: Vec<_> = places[1..]
        .iter()
        .chain([&queued])
        .map(|place| failure_of(place).unwrap())
        .collect();
    let refused = ("broker", 87, Outcome::NotWritten);
    let behind = ("gapless", 0, Outcome::NotWritten);
    assert_eq!(kinds, [refused, behind, refused, behind]);
    let reported: Vec<_> = producer
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::MessagesFailed {
                records, failure, ..
            } => Some((matches!(failure.cause, Cause::EarlierFailed(_)), records)),
            _ => None,
        })
        .collect();
    assert_eq!(reported, [(false, 2), (true, 1), (true, 1)]);
    producer.route("t", 0, 1);
    let again = producer.next(1).unwrap();
    assert_eq!(again.values(), ["a"]);
    producer.ack(1, &again, 0);
    producer.assert_done();
}

#[test]
fn stored_messages_fail_behind_those_that_expired() {
    let mut set = settings();
    set.gapless = true;
    let producer = Producer::new(set);
    producer.shared.change(|flow| flow.set_identity(9, 0));
    producer.attach(1);
    let first = producer.send(0, "a");
    producer.pass(LIMIT / 2);
    let second = producer.send(0, "b");
    producer.pass(LIMIT / 2);
    assert_eq!(producer.tick(), None);
    assert_eq!(
        failure_of(&first),
        Some(("delivery_timeout", 0, Outcome::NotWritten))
    );
    assert_eq!(
        failure_of(&second),
        Some(("gapless", 0, Outcome::NotWritten))
    );
    producer.topic("t", 1);
    producer.route("t", 0, 1);
    assert!(producer.next(1).is_none());
    producer.batch(0, &["c"]);
    assert_eq!(producer.next(1).unwrap().values(), ["c"]);
}
