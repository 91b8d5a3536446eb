//! The snapshot of a producer: its numbers are consistent, and it names the holders of the budget.

mod support;

use ottla_core::failure::{Failure, Outcome, Trouble};
use ottla_core::produce::event::{Decision, Event};
use ottla_core::produce::snapshot::HolderCause;
use ottla_core::produce::stats::Snapshot;
use ottla_core::seam::{LostCause, LostKind};
use support::{Producer, SECOND, settings, trouble};

fn snapshot(producer: &Producer) -> Snapshot {
    let now = producer.now.get();
    producer.shared.with(|flow| flow.snapshot(now))
}

fn assert_adds_up(snapshot: &Snapshot) {
    let counts = snapshot.counts;
    let pending: u64 = snapshot
        .topics
        .iter()
        .map(|topic| topic.buffered_records)
        .sum();
    let bytes: usize = snapshot
        .topics
        .iter()
        .map(|topic| topic.buffered_bytes)
        .sum();
    let ended = counts.delivered + counts.failed + counts.unknown;
    assert_eq!(counts.accepted, ended + pending);
    assert_eq!(snapshot.used, bytes);
}

#[test]
fn numbers_fit_together_at_every_step() {
    let producer = Producer::flowing(settings(), 2);
    for partition in [0, 1, 1] {
        producer
            .try_send("t", Some(partition), None, b"value", None)
            .unwrap();
    }
    producer.try_send("later", None, None, b"v", None).unwrap();
    assert_adds_up(&snapshot(&producer));
    let sent = producer.next(1).unwrap();
    producer.now.set(producer.now.get() + SECOND / 2);
    let on_its_way = snapshot(&producer);
    assert_adds_up(&on_its_way);
    assert_eq!(on_its_way.nodes[0].in_flight, 1);
    assert_eq!(on_its_way.nodes[0].silent_for, SECOND / 2);
    assert_eq!(&*on_its_way.nodes[0].address, "broker:9092");
    assert_eq!(
        (on_its_way.traffic.batches, on_its_way.traffic.records),
        (2, 3)
    );
    producer.ack(1, &sent, 0);
    let gone = Failure::broker(17, "no such name", Outcome::NotWritten);
    producer.shared.fail_topic("later", gone);
    let done = snapshot(&producer);
    assert_adds_up(&done);
    assert_eq!((done.counts.delivered, done.counts.failed), (3, 1));
    assert_eq!(done.topics[0].outcomes.delivered, 3);
    assert_eq!(done.topics[1].outcomes.failed, 1);
    assert_eq!((done.latency.count, done.latency.max), (1, SECOND / 2));
    assert_eq!((done.nodes[0].in_flight, done.nodes[0].silent_for), (0, 0));
    assert_eq!(done.used, 0);
}

#[test]
fn a_node_stays_silent_over_a_lost_connection() {
    let producer = Producer::flowing(settings(), 1);
    producer.try_send("t", Some(0), None, b"v", None).unwrap();
    producer.next(1).unwrap();
    let cause = LostCause {
        kind: LostKind::RequestTimeout,
        message: "no answer".into(),
    };
    use ottla_core::seam::Flow;
    producer.shared.on_lost(1, &cause, producer.now.get());
    producer.now.set(producer.now.get() + 5 * SECOND);
    assert_eq!(snapshot(&producer).nodes[0].silent_for, 5 * SECOND);
    let now = producer.now.get();
    let held = producer.shared.with(|flow| flow.budget(now)).holders;
    let node = (1, "broker:9092".into());
    let silent = Trouble::Silent {
        node: 1,
        address: "broker:9092".into(),
        time: 5 * SECOND,
    };
    assert_eq!(held[0].node, Some(node));
    assert_eq!(held[0].cause, HolderCause::Trouble(silent));
}

#[test]
fn a_node_that_owes_no_answer_is_not_silent() {
    let mut set = settings();
    set.acks = 0;
    set.idempotent = false;
    let producer = Producer::flowing(set, 1);
    producer.try_send("t", Some(0), None, b"v", None).unwrap();
    let sent = producer.next(1).unwrap();
    producer.now.set(producer.now.get() + 5 * SECOND);
    let silent = || snapshot(&producer).nodes[0].silent_for;
    assert_eq!(silent(), 5 * SECOND, "the socket takes no bytes");
    producer.take(1, &sent);
    producer.now.set(producer.now.get() + 5 * SECOND);
    assert_eq!((silent(), snapshot(&producer).nodes[0].requests), (0, 1));
}

#[test]
fn a_trouble_is_reported_for_its_partition_only() {
    let producer = Producer::beginning(settings(), 2);
    for partition in 0..2 {
        producer
            .try_send("u", Some(partition), None, b"v", None)
            .unwrap();
    }
    producer.topic("u", 2);
    let now = producer.now.get();
    let causes = || {
        producer.shared.with(|flow| {
            let mut holders = flow.budget(now).holders;
            holders.sort_by_key(|holder| holder.partition);
            let causes = holders.into_iter().map(|one| one.cause);
            causes.collect::<Vec<_>>()
        })
    };
    producer.shared.with(|flow| {
        let acc = &mut flow.acc;
        acc.set_trouble("u", Some(1), Some(trouble("no leader")));
    });
    let moving = HolderCause::InFlight(None);
    let stuck = HolderCause::Trouble(trouble("no leader"));
    assert_eq!(causes(), [moving.clone(), stuck]);
    producer.route("u", 1, 1);
    let routed = HolderCause::InFlight(Some((1, "broker:9092".into())));
    assert_eq!(causes(), [moving, routed]);
}

#[test]
fn a_retried_batch_is_a_trouble_until_it_is_written() {
    let producer = Producer::flowing(settings(), 1);
    let cause = || {
        let now = producer.now.get();
        let holders = producer.shared.with(|flow| flow.budget(now).holders);
        holders.first().map(|one| one.cause.clone())
    };
    producer.send(0, "a");
    let sent = producer.next(1).unwrap();
    producer.refuse(1, &sent, 19);
    producer.one_hold();
    producer.release(0, vec![Decision::Retry]);
    let refused = HolderCause::Trouble(Trouble::Refused(19));
    assert_eq!(cause(), Some(refused.clone()));
    let again = producer.next(1).unwrap();
    assert_eq!(cause(), Some(refused), "in flight once more");
    producer.ack(1, &again, 0);
    assert_eq!(cause(), None);
}

#[test]
fn batches_are_reported_only_to_a_listener() {
    let producer = Producer::flowing(settings(), 1);
    let acked = || {
        producer.try_send("t", Some(0), None, b"v", None).unwrap();
        producer.events();
        let sent = producer.next(1).unwrap();
        producer.ack(1, &sent, 7);
        producer.events()
    };
    assert!(acked().is_empty());
    producer.shared.with(|flow| flow.watch(true));
    assert!(matches!(
        &acked()[..],
        [Event::BatchAcked {
            records: 1,
            base_offset: 7,
            attempts: 1,
            ..
        }]
    ));
}
