//! `delivery_timeout_ms`: every message has its outcome when the timeout ends, at every station.

mod support;

use std::sync::Arc;

use ottla_core::failure::{
    Cause, ErrorData, ErrorKind, Failure, Outcome, Reported, Stage, Trouble,
};
use ottla_core::produce::batch::Proof;
use ottla_core::produce::completion::{Place, State};
use ottla_core::produce::event::{Decision, Event, HoldCause};
use ottla_core::produce::settings::Settings;
use support::{
    Producer, SECOND, closed, failed, failure_of, is_pending, offset_of, settings, trouble,
};

const LIMIT: u64 = 120 * SECOND;

fn timed_out(outcome: Outcome) -> Option<(&'static str, i16, Outcome)> {
    Some(("delivery_timeout", 0, outcome))
}

fn reported_failures(producer: &Producer) -> Vec<(i32, u64, Outcome)> {
    producer
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::MessagesFailed {
                partition,
                records,
                failure,
                ..
            } => Some((partition, records, failure.outcome)),
            _ => None,
        })
        .collect()
}

#[test]
fn messages_without_a_route_were_not_written() {
    let producer = Producer::new(settings());
    producer.topic("t", 1);
    let begin = producer.now.get();
    let place = producer.send(0, "a");
    let queued = producer.batch(0, &["b", "c"]).remove(0);
    assert_eq!(producer.tick(), Some(begin + LIMIT));
    producer.pass(LIMIT - 1);
    producer.tick();
    assert!(is_pending(&place));
    producer.pass(1);
    assert_eq!(producer.tick(), None);
    for place in [&place, &queued] {
        assert_eq!(failure_of(place), timed_out(Outcome::NotWritten));
    }
    assert_eq!(reported_failures(&producer), [(0, 3, Outcome::NotWritten)]);
    producer.assert_done();
}

#[test]
fn messages_without_metadata_were_not_written() {
    let producer = Producer::new(settings());
    producer.tick();
    producer.waker.take();
    let begin = producer.now.get();
    let place = producer.try_send("t", None, None, b"a", None).unwrap();
    assert_eq!(producer.waker.take(), 1, "its deadline has to be timed");
    assert_eq!(producer.tick(), Some(begin + LIMIT));
    producer.pass(LIMIT);
    assert_eq!(producer.tick(), None);
    assert_eq!(failure_of(&place), timed_out(Outcome::NotWritten));
    assert_eq!(reported_failures(&producer), [(-1, 1, Outcome::NotWritten)]);
    producer.assert_done();
}

#[test]
fn an_unsent_message_expires_with_its_trouble() {
    let producer = Producer::new(settings());
    let unknown = producer.try_send("u", None, None, b"a", None).unwrap();
    producer.topic("t", 1);
    let unrouted = producer.send(0, "b");
    producer.shared.with(|flow| {
        flow.acc.set_trouble("u", None, Some(trouble("no broker")));
        flow.acc.set_trouble("t", None, Some(trouble("no leader")));
    });
    producer.pass(LIMIT);
    producer.tick();
    for (place, stage, text) in [
        (&unknown, Stage::Metadata, "no broker"),
        (&unrouted, Stage::Sending, "no leader"),
    ] {
        let trouble = Some(trouble(text));
        let cause = Cause::TimedOut { stage, trouble };
        assert_eq!(failed(place).unwrap().cause, cause);
    }
}

#[test]
fn the_time_before_the_metadata_counts() {
    let producer = Producer::new(settings());
    let place = producer.try_send("t", None, None, b"a", None).unwrap();
    producer.pass(LIMIT / 2);
    producer.topic("t", 1);
    producer.pass(LIMIT / 2);
    producer.tick();
    assert_eq!(failure_of(&place), timed_out(Outcome::NotWritten));
    producer.assert_done();
}

#[test]
fn a_batch_in_flight_expires_as_unknown_and_holds_the_partition() {
    let producer = Producer::flowing(settings(), 1);
    let old = producer.batch(0, &["old"]).remove(0);
    let sent = producer.next(1).unwrap();
    producer.pass(SECOND);
    let young = producer.batch(0, &["young"]).remove(0);
    let second = producer.next(1).unwrap();
    producer.pass(LIMIT - SECOND);
    producer.tick();
    assert_eq!(failure_of(&old), timed_out(Outcome::Unknown));
    assert!(is_pending(&young));
    assert!(producer.held().is_empty());
    producer.batch(0, &["later"]);
    assert!(producer.next(1).is_none(), "nothing more is sent");
    producer.refuse(1, &sent, 6);
    producer.refuse(1, &second, 45);
    let held = producer.one_hold();
    assert_eq!(held.cause, HoldCause::Expired);
    assert_eq!(held.summary(), [(1, Some(6)), (1, Some(45))]);
    assert_eq!(
        held.batches
            .iter()
            .map(|batch| batch.expired)
            .collect::<Vec<_>>(),
        [true, false]
    );
    producer.release_to(
        0,
        vec![Decision::Retry, Decision::Retry],
        Some(1),
        Some((9, 1)),
    );
    producer.assume_acknowledged(0);
    let again = producer.requests(1);
    let sent: Vec<_> = again
        .iter()
        .map(|sent| (sent.values(), sent.sequences()))
        .collect();
    assert_eq!(
        sent,
        [(vec!["young"], vec![0]), (vec!["later"], vec![1])],
        "expired batches are not sent again"
    );
    producer.ack(1, &again[0], 0);
    producer.ack(1, &again[1], 1);
    producer.assert_done();
}

#[test]
fn pieces_of_a_batch_expire_with_the_whole() {
    let producer = Producer::flowing(settings(), 1);
    let places = producer.batch(0, &["a", "b", "c"]);
    producer.pass(SECOND);
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 10);
    producer.one_hold();
    producer.release_to(0, vec![Decision::Split], None, None);
    producer.pass(LIMIT - SECOND);
    producer.tick();
    for place in &places {
        assert_eq!(timed_out(Outcome::NotWritten), failure_of(place));
    }
    producer.assert_done();
}

#[test]
fn a_late_answer_changes_no_outcome() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    producer.pass(LIMIT);
    producer.tick();
    producer.ack(1, &sent, 5);
    assert_eq!(failure_of(&place), timed_out(Outcome::Unknown));
    let held = producer.one_hold();
    assert_eq!((held.cause, held.batches.len()), (HoldCause::Expired, 0));
    producer.release(0, vec![]);
    let next = producer.batch(0, &["b"]).remove(0);
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.sequences(), [1]);
    producer.ack(1, &sent, 6);
    assert_eq!(offset_of(&next), Some(6));
    producer.assert_done();
}

#[test]
fn held_batches_expire_too() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 6);
    producer.one_hold();
    let behind = producer.batch(0, &["b"]).remove(0);
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(failure_of(&place), timed_out(Outcome::Unknown));
    assert_eq!(failure_of(&behind), timed_out(Outcome::NotWritten));
    assert!(producer.held().is_empty(), "one hold, one report");
    producer.release(0, vec![Decision::Retry]);
    assert!(producer.next(1).is_none());
    producer.assert_done();
}

#[test]
fn a_batch_that_waits_to_be_sent_again_expires_as_unknown() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.send(0, "a");
    producer.next(1).unwrap();
    producer.lose(1);
    producer.one_hold();
    producer.release_to(0, vec![Decision::Retry], None, None);
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(failure_of(&place), timed_out(Outcome::Unknown));
    producer.assert_done();
}

#[test]
fn a_lost_connection_after_expiry_reports_the_expired_batch() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    producer.next(1).unwrap();
    producer.pass(LIMIT);
    producer.tick();
    producer.lose(1);
    let held = producer.one_hold();
    assert_eq!(held.summary(), [(1, None)]);
    assert!(held.batches[0].expired && held.batches[0].proof == Proof::Maybe);
    producer.release(0, vec![Decision::Retry]);
    producer.assert_done();
}

#[test]
fn a_request_has_its_own_deadline() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    assert_eq!(sent.deadline, producer.now.get() + 30 * SECOND);
    assert!(sent.expects_response);
}

/// Positions among `places` of the batches that were resolved since the last call, in the order of their reports.
fn resolution_order(producer: &Producer, places: &[Place]) -> Vec<usize> {
    let resolved = std::mem::take(&mut *producer.resolved.0.lock());
    resolved
        .iter()
        .filter_map(|completion| {
            let same = |place: &Place| std::sync::Arc::ptr_eq(&place.0, completion);
            places.iter().position(same)
        })
        .collect()
}

/// One message in flight, one in the queue, and one in the open batch.
fn one_at_each_place(producer: &Producer) -> Vec<Place> {
    let in_flight = producer.batch(0, &["in flight"]).remove(0);
    producer.next(1).unwrap();
    let queued = producer.batch(0, &["queued"]).remove(0);
    vec![in_flight, queued, producer.send(0, "open")]
}

#[test]
fn messages_that_expire_together_are_reported_in_the_order_of_the_calls() {
    let producer = Producer::flowing(settings(), 1);
    let places = one_at_each_place(&producer);
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(resolution_order(&producer, &places), [0, 1, 2]);
    producer.lose(1);
    assert_eq!(producer.one_hold().cause, HoldCause::Expired);
    producer.release(0, vec![Decision::Retry]);
    producer.assert_done();
}

#[test]
fn gapless_the_first_message_expires_and_the_others_fail_behind_it() {
    let producer = Producer::flowing(
        Settings {
            gapless: true,
            ..settings()
        },
        1,
    );
    let places = one_at_each_place(&producer);
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(resolution_order(&producer, &places), [0, 1, 2]);
    assert_eq!(failure_of(&places[0]), timed_out(Outcome::Unknown));
    for place in &places[1..] {
        let behind = ("gapless", 0, Outcome::NotWritten);
        assert_eq!(failure_of(place), Some(behind));
    }
    producer.lose(1);
    assert_eq!(producer.one_hold().cause, HoldCause::Expired);
    producer.release(0, vec![Decision::Retry]);
    producer.assert_done();
}

#[test]
fn gapless_a_message_that_failed_behind_another_does_not_expire() {
    let producer = Producer::flowing(
        Settings {
            gapless: true,
            ..settings()
        },
        1,
    );
    producer.batch(0, &["a"]);
    producer.next(1).unwrap();
    producer.pass(SECOND);
    producer.batch(0, &["b"]);
    producer.next(1).unwrap();
    producer.pass(LIMIT - SECOND);
    assert_eq!(producer.tick(), None, "nothing is left that could expire");
    assert_eq!(reported_failures(&producer).len(), 2);
    producer.pass(SECOND);
    producer.tick();
    assert_eq!(
        reported_failures(&producer),
        [],
        "and is not reported twice"
    );
}

#[test]
fn gapless_an_appended_batch_that_expires_fails_nothing_behind_it() {
    let producer = Producer::flowing(
        Settings {
            gapless: true,
            ..settings()
        },
        1,
    );
    let first = producer.batch(0, &["a"]).remove(0);
    let sent = producer.next(1).unwrap();
    producer.pass(SECOND);
    producer.batch(0, &["b"]);
    let second = producer.next(1).unwrap();
    let third = producer.batch(0, &["c"]).remove(0);
    producer.ack(1, &second, 1);
    producer.pass(LIMIT - SECOND);
    producer.tick();
    assert_eq!(offset_of(&first), Some(-1), "b is in the log, so a is");
    assert!(is_pending(&third));
    producer.shared.with(|flow| flow.watch(true));
    producer.events();
    producer.ack(1, &sent, 0);
    assert_eq!(offset_of(&first), Some(-1), "an outcome never changes");
    let events = producer.events();
    assert!(
        matches!(
            &events[..],
            [Event::Held {
                cause: HoldCause::Expired,
                ..
            }]
        ),
        "and is not reported twice: {events:?}"
    );
    producer.release(0, vec![]);
    let sent = producer.next(1).unwrap();
    producer.ack(1, &sent, 2);
    assert_eq!(offset_of(&third), Some(2));
    producer.assert_done();
}

#[test]
fn aborted_messages_are_reported_in_the_order_of_the_calls() {
    let producer = Producer::flowing(settings(), 1);
    let places = one_at_each_place(&producer);
    let given_up = producer.shared.with(|flow| flow.abort_all(closed(), None));
    assert_eq!(given_up, 3);
    assert_eq!(resolution_order(&producer, &places), [0, 1, 2]);
}

#[test]
fn aborted_messages_name_the_silent_node() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    producer.next(1).unwrap();
    producer.send(0, "b");
    producer.pass(3 * SECOND);
    let now = Some(producer.now.get());
    producer.shared.with(|flow| flow.abort_all(closed(), now));
    let cause = |event: Event| match event {
        Event::MessagesFailed { failure, .. } => failure.cause,
        other => panic!("{other:?}"),
    };
    let events: Vec<Cause> = producer
        .shared
        .take_events()
        .into_iter()
        .map(cause)
        .collect();
    let cause = Cause::GivenUp {
        error: Arc::new(closed()),
        trouble: Some(Trouble::Silent {
            node: 1,
            address: "broker:9092".into(),
            time: 3 * SECOND,
        }),
    };
    assert_eq!(events, [cause.clone(), cause]);
}

#[test]
fn at_the_end_nothing_is_held_and_nothing_in_flight() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    producer.send(0, "b");
    producer.pass(3 * SECOND);
    producer.shared.with(|flow| {
        flow.acc.stop_accepting();
        flow.abort_all(closed(), None);
        flow.end();
    });
    let now = producer.now.get();
    let snapshot = producer.shared.with(|flow| flow.snapshot(now));
    assert_eq!((snapshot.used, snapshot.topics[0].buffered_bytes), (0, 0));
    let node = &snapshot.nodes[0];
    assert_eq!((node.in_flight, node.silent_for), (0, 0));
    assert!(
        producer
            .shared
            .with(|flow| flow.budget(now))
            .holders
            .is_empty()
    );
    producer.ack(1, &sent, 0);
    assert_eq!(producer.shared.with(|flow| flow.acc.counts.unknown), 1);
}

#[test]
fn aborted_messages_do_not_expire() {
    let producer = Producer::flowing(settings(), 1);
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    producer.shared.with(|flow| flow.abort_all(closed(), None));
    assert_eq!(reported_failures(&producer), [(0, 1, Outcome::Unknown)]);
    producer.pass(LIMIT);
    assert_eq!(producer.tick(), None, "no further check is due");
    assert!(producer.events().is_empty(), "no failure and no hold");
    producer.ack(1, &sent, 0);
    producer.assert_done();
}

#[test]
fn each_aborted_message_is_reported_once() {
    let producer = Producer::flowing(settings(), 2);
    producer.batch(0, &["late"]);
    let late = producer.next(1).unwrap();
    producer.pass(LIMIT);
    producer.tick();
    assert_eq!(reported_failures(&producer), [(0, 1, Outcome::Unknown)]);
    producer.batch(1, &["in flight"]);
    producer.next(1).unwrap();
    producer.batch(1, &["queued", "too"]);
    producer.send(1, "open");
    producer
        .try_send("u", None, None, b"without metadata", None)
        .unwrap();
    producer.shared.with(|flow| flow.abort_all(closed(), None));
    let expected = [
        (-1, 1, Outcome::NotWritten),
        (1, 1, Outcome::Unknown),
        (1, 2, Outcome::NotWritten),
        (1, 1, Outcome::NotWritten),
    ];
    assert_eq!(reported_failures(&producer), expected);
    producer.ack(1, &late, 0);
    producer.shared.with(|flow| flow.abort_all(closed(), None));
    assert!(reported_failures(&producer).is_empty());
}

#[test]
fn messages_of_a_refused_topic_are_reported() {
    let producer = Producer::new(settings());
    let place = producer.try_send("u", None, None, b"a", None).unwrap();
    let denied = Failure::broker(29, "", Outcome::NotWritten);
    assert_eq!(producer.shared.fail_topic("u", denied.clone()), 1);
    assert_eq!(reported_failures(&producer), [(-1, 1, Outcome::NotWritten)]);
    assert_eq!(place.0.state(), State::Failed(denied));
}

#[test]
fn an_expired_message_has_the_last_answer_as_its_cause() {
    let producer = Producer::flowing(settings(), 1);
    let place = producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 56);
    producer.one_hold();
    producer.release(0, vec![Decision::Retry]);
    producer.pass(LIMIT);
    producer.tick();
    let cause = Cause::TimedOut {
        stage: Stage::Acknowledgement,
        trouble: Some(Trouble::Refused(56)),
    };
    assert_eq!(failed(&place).unwrap().cause, cause);
}

#[test]
fn the_trouble_of_a_topic_is_the_cause_of_expired_and_aborted_messages() {
    let trouble = Trouble::Reported(Arc::new(Reported {
        text: "no such topic".into(),
        error: Some(ErrorData {
            kind: ErrorKind::Broker,
            code: 3,
            message: "so it is".into(),
        }),
    }));
    let because = |end: &dyn Fn(&Producer)| {
        let producer = Producer::new(settings());
        let place = producer.try_send("u", None, None, b"a", None).unwrap();
        let known = Some(trouble.clone());
        producer
            .shared
            .with(|flow| flow.acc.set_trouble("u", None, known));
        end(&producer);
        failed(&place).unwrap().cause
    };
    let expired = because(&|producer| {
        producer.pass(LIMIT);
        producer.tick();
    });
    let known = Some(trouble.clone());
    let (stage, trouble) = (Stage::Metadata, known.clone());
    assert_eq!(expired, Cause::TimedOut { stage, trouble });
    let given_up = because(&|producer| {
        producer.shared.with(|flow| flow.abort_all(closed(), None));
    });
    let (error, trouble) = (Arc::new(closed()), known);
    assert_eq!(given_up, Cause::GivenUp { error, trouble });
}

/// Seconds after which each of two messages fails; the second is accepted 2 minutes less a second after the first.
fn expiry_times(producer: &Producer) -> [u64; 2] {
    let send = || producer.try_send("t", Some(0), None, b"v", None).unwrap();
    let begin = producer.now.get();
    let first = send();
    let mut second = None;
    let mut times = [0; 2];
    for second_now in 1..=300 {
        producer.pass(SECOND);
        producer.tick();
        if second_now == LIMIT / SECOND - 1 {
            second = Some(send());
        }
        for (end, place) in times.iter_mut().zip([Some(&first), second.as_ref()]) {
            if *end == 0 && place.is_some_and(|place| failure_of(place).is_some()) {
                *end = (producer.now.get() - begin) / SECOND;
            }
        }
    }
    times
}

#[test]
fn a_late_message_in_an_outage_has_its_own_expiry() {
    // Its topic is not known; it has no leader; its partition is held.
    assert_eq!(expiry_times(&Producer::new(settings())), [120, 239]);
    let without_route = Producer::new(settings());
    without_route.topic("t", 1);
    assert_eq!(expiry_times(&without_route), [120, 239]);
    let held = Producer::flowing(settings(), 1);
    held.hold(0);
    assert_eq!(expiry_times(&held), [120, 239]);
}

#[test]
fn messages_that_come_close_together_share_a_batch_in_an_outage() {
    let producer = Producer::new(settings());
    producer.topic("t", 1);
    for _ in 0..60 {
        producer.send(0, "v");
        producer.pass(SECOND);
        producer.tick();
    }
    producer.shared.change(|flow| flow.set_identity(9, 0));
    producer.attach(1);
    producer.route("t", 0, 1);
    producer.assume_acknowledged(0);
    let counts: Vec<_> = std::iter::from_fn(|| producer.next(1))
        .map(|sent| sent.values().len())
        .collect();
    assert_eq!(counts, [15, 15, 15, 15]);
}

#[test]
fn stored_messages_keep_their_expiry_once_the_topic_is_known() {
    let producer = Producer::new(settings());
    let send = || producer.try_send("t", Some(0), None, b"v", None).unwrap();
    let first = send();
    producer.pass(LIMIT - SECOND);
    producer.tick();
    let second = send();
    producer.topic("t", 1);
    producer.pass(SECOND);
    producer.tick();
    assert_eq!(failure_of(&first), timed_out(Outcome::NotWritten));
    assert!(is_pending(&second));
    producer.pass(LIMIT - SECOND);
    producer.tick();
    assert_eq!(failure_of(&second), timed_out(Outcome::NotWritten));
    producer.assert_done();
}
