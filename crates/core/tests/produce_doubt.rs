//! Whether a batch may be in the log, topics that are made anew, sequences that go round, and `gapless`.

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
fn what_was_refused_before_the_append_each_time_is_not_written() {
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
fn one_attempt_that_does_not_tell_makes_it_unknown() {
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
fn an_attempt_that_is_open_makes_it_unknown() {
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
fn giving_up_leaves_the_same_outcomes() {
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
fn what_was_overtaken_is_written_when_its_time_is_up() {
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
    let told = producer.events();
    assert!(
        told.iter().any(|event| matches!(
            event,
            Event::Acked {
                base_offset: -1,
                ..
            }
        )),
        "who listens hears of it: {told:?}"
    );
    producer.assert_done();
}

#[test]
fn a_hold_tells_of_what_waits_to_go_again() {
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
    assert_eq!(sent.len(), 1, "one goes ahead");
    producer.refuse(2, &sent[0], 29);
    let held = producer.one_hold();
    assert_eq!(held.story(), [(1, Some(29)), (1, None), (1, None)]);
    assert!(held.batches.iter().all(|batch| batch.may_be_written));
}

#[test]
fn sequences_go_round_behind_the_largest() {
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

// ---- topics made anew ------------------------------------------------------------------------------------------------

fn made_anew(producer: &Producer) {
    producer.topic_with_id("t", [7; 16], 1);
}

#[test]
fn a_topic_made_anew_holds_what_has_sent_before() {
    let producer = Producer::flowing(settings(), 2);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    made_anew(&producer);
    let held = producer.one_hold();
    assert_eq!((held.partition, held.cause), (0, HoldCause::Recreated));
    producer.batch(0, &["w"]);
    assert!(producer.next(1).is_none());
    producer.release_to(0, vec![], Some(1), Some((9, 1)));
    assert_eq!(producer.next(1).unwrap().sequences(), [0]);
}

#[test]
fn what_is_in_flight_ends_before_it_is_told() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    made_anew(&producer);
    made_anew(&producer);
    assert!(producer.held().is_empty());
    producer.refuse(1, &sent, 100);
    let held = producer.one_hold();
    assert_eq!(held.cause, HoldCause::Recreated);
    assert_eq!(held.story(), [(1, Some(100))]);
}

#[test]
fn what_comes_to_rest_already_is_told_that_it_is_another_topic() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    producer.batch(0, &["w"]);
    let sent = producer.requests(1);
    producer.refuse(1, &sent[0], 100);
    made_anew(&producer);
    assert!(producer.held().is_empty());
    producer.refuse(1, &sent[1], 100);
    assert_eq!(producer.one_hold().cause, HoldCause::Recreated);
}

#[test]
fn a_release_that_did_not_know_of_it_is_followed_by_a_hold() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.batch(0, &["v"]).remove(0);
    producer.next(1).unwrap();
    producer.lose(1);
    assert!(matches!(producer.one_hold().cause, HoldCause::Lost(_)));
    made_anew(&producer);
    assert!(producer.held().is_empty());
    producer.attach(2);
    producer.release_to(0, vec![Decision::Retry], Some(2), None);
    let held = producer.one_hold();
    assert_eq!((held.cause, held.batches.len()), (HoldCause::Recreated, 1));
    assert!(held.batches[0].may_be_written);
    assert!(producer.next(2).is_none() && is_pending(&place));
}

#[test]
fn a_broker_that_still_tells_the_old_id_lags_behind() {
    let producer = Producer::flowing(settings(), 1);
    producer.batch(0, &["v"]);
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 0);
    made_anew(&producer);
    producer.one_hold();
    producer.release_to(0, vec![], Some(1), Some((9, 1)));
    producer.topic("t", 1);
    made_anew(&producer);
    assert!(producer.held().is_empty());
    producer.batch(0, &["w"]);
    assert_eq!(producer.next(1).unwrap().sequences(), [0]);
}

#[test]
fn an_id_that_is_told_late_or_not_at_all_is_no_other_topic() {
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
    let told = producer.events();
    let records: u64 = told
        .iter()
        .map(|event| match event {
            Event::Failed { records, .. } => *records,
            _ => 0,
        })
        .sum();
    assert_eq!(records, 3);
    producer.route("t", 0, 1);
    producer.batch(0, &["d"]);
    assert_eq!(producer.next(1).unwrap().values(), ["d"]);
}

#[test]
fn what_is_not_part_of_the_hold_has_the_outcome_of_its_own_attempts() {
    let producer = gapless();
    producer.batch(0, &["a"]);
    let sent = producer.requests(1);
    producer.refuse(1, &sent[0], 44);
    producer.one_hold();
    let behind = producer.batch(0, &["b"]).remove(0);
    // The hold's own batch may be in the log; what was never sent is not.
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
fn where_all_that_fails_had_its_outcome_before_nothing_fails_behind_it() {
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
fn what_was_not_even_sent_fails_with_what_expires_in_flight() {
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
fn what_is_behind_a_named_record_of_its_batch_fails_behind_it() {
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
    let told: Vec<_> = producer
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Failed {
                records, failure, ..
            } => Some((matches!(failure.cause, Cause::EarlierFailed(_)), records)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(false, 2), (true, 1), (true, 1)]);
    producer.route("t", 0, 1);
    let again = producer.next(1).unwrap();
    assert_eq!(again.values(), ["a"]);
    producer.ack(1, &again, 0);
    producer.assert_done();
}

#[test]
fn what_waits_for_a_topic_fails_behind_what_has_waited_too_long() {
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
