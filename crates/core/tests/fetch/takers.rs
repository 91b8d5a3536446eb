//! The results of takers: records, errors, ends and wake-ups.

use std::sync::Arc;

use ottla_core::bytes::compression::codec::Codec;
use ottla_core::fetch::flow::FetchFlow;
use ottla_core::fetch::take::{Take, TakeError};

use crate::broker::*;

/// A claim that is being decoded while another event happens.
fn claimed(happens: impl FnOnce(&mut FetchFlow)) -> (FetchFlow, Option<Take>) {
    let mut flow = FetchFlow::new(settings());
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    flow.assign("t", topic_id("t"), 0);
    flow.position("t", 0, 0, -1);
    flow.route("t", 0, CONN, 3);
    let request = flow.request(CONN, 1, 0).unwrap();
    let frame = response(0, 1, &[reply("t", 0, records(0, 0, 3))]);
    flow.on_response(CONN, request.token, &frame, 0).unwrap();
    let mut jobs = flow.inbox.claim(9, None).unwrap();
    assert!(matches!(flow.inbox.claim(9, None), Err(Take::Nothing)));
    jobs.iter_mut().for_each(|job| job.decode(1 << 20, true));
    happens(&mut flow);
    let take = flow.inbox.settle(jobs, 9, None);
    (flow, take)
}

#[test]
fn events_during_decoding_count() {
    assert!(matches!(claimed(|_| ()).1, Some(Take::Runs(_))));
    assert!(claimed(|flow| flow.unassign("t", 0)).1.is_none());
    assert!(claimed(|flow| flow.position("t", 0, 0, -1)).1.is_none());
    let reassigned = claimed(|flow| {
        flow.unassign("t", 0);
        flow.assign("t", topic_id("t"), 0);
        flow.position("t", 0, 0, -1);
    });
    assert!(reassigned.1.is_none());
    let (mut flow, take) = claimed(|flow| flow.pause("t", 0));
    assert!(take.is_none());
    assert!(matches!(flow.inbox.claim(9, None), Err(Take::Nothing)));
    flow.resume("t", 0);
    assert!(flow.inbox.claim(9, None).is_ok());
    let truncated = claimed(|flow| {
        let part = flow.inbox.id_of("t", 0).unwrap();
        flow.inbox.truncate(part, 4, 0);
    });
    assert!(truncated.1.is_none());
    let closed = claimed(|flow| flow.inbox.close()).1;
    assert!(matches!(closed, Some(Take::Closed)));
}

#[test]
fn a_pause_retains_fetched_records() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    flow.pause("t", 0);
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3))]);
    assert!(matches!(flow.take(9, None), Take::Nothing));
    assert!(next(&flow, CONN).is_none());
    flow.resume("t", 0);
    assert_eq!(offsets(&runs(flow.take(9, None))).len(), 3);
}

#[test]
fn a_withheld_partition_hands_over_nothing_and_keeps_its_position() {
    assert!(claimed(|flow| flow.withhold("t", 0)).1.is_none());
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    flow.withhold("t", 0);
    let other = reply("t", 1, records(1, 0, 2));
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3)), other]);
    assert_eq!(offsets(&runs(flow.take(9, None))), [(1, 0), (1, 1)]);
    assert!(matches!(flow.take(9, Some(("t", 0))), Take::Ended));
    flow.position("t", 0, 2, 0);
    let positions = flow.positions();
    assert!(
        positions
            .iter()
            .any(|(_, partition, offset, _)| (*partition, *offset) == (0, 2))
    );
    flow.unassign("t", 0);
    flow.assign("t", topic_id("t"), 0);
    flow.position("t", 0, 2, 0);
    flow.route("t", 0, CONN, 0);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, records(0, 2, 1))]);
    assert_eq!(
        offsets(&runs(flow.take(9, None))).len(),
        1,
        "assigned again, it flows"
    );
}

#[test]
fn a_batch_that_cannot_be_read_is_raised_once_until_a_seek() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut bytes = records(0, 0, 2);
    let start = bytes.len();
    bytes.extend(records(0, 2, 2));
    bytes[start + 70] ^= 1;
    let damaged = bytes[start..].to_vec();
    let other = reply("t", 1, records(1, 0, 2));
    answer(&flow, token, &[reply("t", 0, bytes), other]);
    let mut good = offsets(&runs(flow.take(99, None)));
    good.sort_unstable();
    assert_eq!(good, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, damaged)]);
    let Take::Failed(TakeError::Decode {
        topic,
        partition,
        offset,
        next_offset,
        error,
    }) = flow.take(99, None)
    else {
        panic!("no error");
    };
    assert_eq!((&*topic, partition, offset, next_offset), ("t", 0, 2, 4));
    assert_eq!(error.batch_offset, Some(2));
    for _ in 0..3 {
        assert!(matches!(flow.take(99, None), Take::Nothing));
    }
    assert_eq!(position(&flow, 0), 2);
    let (token, _) = next(&flow, CONN).unwrap();
    flow.position("t", 0, 4, -1);
    answer(&flow, token, &[]);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, records(0, 4, 1))]);
    assert_eq!(offsets(&runs(flow.take(99, None))), [(0, 4)]);
}

#[test]
fn compaction_leaves_gaps_that_positions_pass() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let empty = Kind { gap: 5, ..PLAIN };
    let mut bytes = batch(0, 0, 0, 4, empty).bytes;
    bytes.extend(batch(0, 5, 2, 4, Kind { gap: 3, ..PLAIN }).bytes);
    answer(&flow, token, &[reply("t", 0, bytes)]);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.partitions[0].2, 10);
    let taken = runs(flow.take(9, None));
    assert_eq!(offsets(&taken), [(0, 5), (0, 6)]);
    assert_eq!((taken[0].next_offset, position(&flow, 0)), (10, 10));
    answer(
        &flow,
        token,
        &[reply("t", 0, batch(0, 10, 0, 4, empty).bytes)],
    );
    assert!(matches!(flow.take(9, None), Take::Moved));
    assert_eq!(position(&flow, 0), 15);
    let statistics = flow.picture(0);
    assert_eq!(statistics.buffered_bytes, 0);
}

/// Producers 1 and 2 interleaved: 1 aborts its first transaction and commits its second, 2 commits.
fn transactions() -> Vec<u8> {
    let of = |producer| Kind {
        producer: Some(producer),
        codec: Codec::Gzip,
        ..PLAIN
    };
    let end = |producer, kind| Kind {
        producer: Some(producer),
        control: Some(kind),
        ..PLAIN
    };
    let log = [
        batch(0, 0, 2, 4, of(1)),
        batch(0, 2, 2, 4, of(2)),
        batch(0, 4, 2, 4, PLAIN),
        batch(0, 6, 1, 4, end(1, 0)),
        batch(0, 7, 2, 4, of(1)),
        batch(0, 9, 1, 4, end(2, 1)),
        batch(0, 10, 1, 4, end(1, 1)),
    ];
    log.into_iter().flat_map(|batch| batch.bytes).collect()
}

fn committed(isolation: i8) -> (Vec<i64>, i64) {
    let mut settings = settings();
    settings.isolation = isolation;
    let flow = shared(settings);
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    flow.assign("t", topic_id("t"), 0);
    flow.position("t", 0, 0, -1);
    flow.route("t", 0, CONN, 3);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut log = reply("t", 0, transactions());
    log.aborted = vec![(1, 0)];
    answer(&flow, token, &[log]);
    let taken = offsets(&runs(flow.take(99, None)));
    let taken = taken.into_iter().map(|(_, offset)| offset).collect();
    (taken, position(&flow, 0))
}

#[test]
fn aborted_and_control_records_are_never_seen() {
    assert_eq!(committed(1), (vec![2, 3, 4, 5, 7, 8], 11));
    assert_eq!(committed(0), (vec![0, 1, 2, 3, 4, 5, 7, 8], 11));
}

/// The log ends in an aborted transaction and its marker.
fn aborted_tail(first: i64) -> Reply {
    let of = |control| Kind {
        producer: Some(1),
        control,
        ..PLAIN
    };
    let aborted = batch(0, first, 2, 4, of(None));
    let marker = batch(0, first + 2, 1, 4, of(Some(0)));
    let mut log = reply("t", 0, [aborted.bytes, marker.bytes].concat());
    log.aborted = vec![(1, first)];
    log
}

#[test]
fn a_position_that_moves_without_records_ends_a_take_once() {
    let mut settings = settings();
    settings.isolation = 1;
    let flow = shared(settings);
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    flow.assign("t", topic_id("t"), 0);
    flow.position("t", 0, 0, -1);
    flow.route("t", 0, CONN, 3);
    let (token, _) = next(&flow, CONN).unwrap();
    let of_any = Arc::new(Counter::default());
    let of_one = Arc::new(Counter::default());
    assert!(flow.add_waiter(None, of_any.clone(), 1).is_some());
    assert!(flow.add_waiter(Some(("t", 0)), of_one.clone(), 2).is_some());
    answer(&flow, token, &[aborted_tail(0)]);
    assert_eq!((of_any.count(), of_one.count()), (1, 0));
    assert_eq!(position(&flow, 0), 3);
    assert!(matches!(flow.take(9, Some(("t", 0))), Take::Nothing));
    assert!(flow.add_waiter(None, of_any.clone(), 1).is_none());
    assert!(matches!(flow.take(9, None), Take::Moved));
    assert!(matches!(flow.take(9, None), Take::Nothing));
    assert!(flow.add_waiter(None, of_any, 1).is_some());
}

#[test]
fn records_go_before_a_move() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    let marker = Kind {
        producer: Some(1),
        control: Some(1),
        ..PLAIN
    };
    let logs = [
        reply("t", 0, batch(0, 0, 1, 4, marker).bytes),
        reply("t", 1, records(1, 0, 3)),
    ];
    answer(&flow, token, &logs);
    assert_eq!(runs(flow.take(9, None)).len(), 1);
    assert!(matches!(flow.take(9, None), Take::Nothing));
}

#[test]
fn an_error_is_raised_once_and_before_records() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3))]);
    flow.fail("t", 0, Arc::new(17u32));
    let Take::Failed(TakeError::Queued { error, .. }) = flow.take(9, None) else {
        panic!("no error");
    };
    assert_eq!(error.downcast_ref(), Some(&17u32));
    assert_eq!(offsets(&runs(flow.take(9, None))).len(), 3);
    flow.fail("t", 0, Arc::new(17u32));
    flow.withdraw_error("t", 0);
    assert!(matches!(flow.take(9, None), Take::Nothing));
}

#[test]
fn records_errors_and_ends_wake_waiters() {
    let flow = flowing(2);
    let wake = Arc::new(Counter::default());
    let one = flow.add_waiter(Some(("t", 1)), wake.clone(), 0).unwrap();
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3))]);
    assert_eq!(wake.count(), 0, "not its partition");
    assert!(flow.add_waiter(None, wake.clone(), 0).is_none());
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 1, records(1, 0, 3))]);
    assert_eq!(wake.count(), 1);
    assert!(!flow.remove_waiter(one));
    assert_eq!(offsets(&runs(flow.take(9, Some(("t", 1))))).len(), 3);

    let one = flow.add_waiter(Some(("t", 1)), wake.clone(), 0).unwrap();
    flow.fail("t", 1, Arc::new(()));
    assert_eq!(wake.count(), 2);
    assert!(!flow.remove_waiter(one));
    assert!(matches!(flow.take(9, Some(("t", 1))), Take::Failed(_)));

    flow.add_waiter(Some(("t", 1)), wake.clone(), 0).unwrap();
    flow.end("t", 1);
    assert_eq!(wake.count(), 3);
    assert!(matches!(flow.take(9, Some(("t", 1))), Take::Ended));
    assert!(matches!(flow.take(9, None), Take::Runs(_)));
    flow.unassign("t", 1);
    flow.assign("t", topic_id("t"), 1);
    assert!(matches!(flow.take(9, Some(("t", 1))), Take::Nothing));

    flow.add_waiter(None, wake.clone(), 0).unwrap();
    flow.close();
    assert_eq!(wake.count(), 4);
    assert!(matches!(flow.take(9, None), Take::Closed));
    assert!(next(&flow, CONN).is_none());
}

#[test]
fn wakeup_ends_the_waits_of_now_or_the_next_take() {
    let flow = flowing(1);
    flow.wakeup();
    assert!(matches!(flow.take(9, None), Take::Woken));
    assert!(matches!(flow.take(9, None), Take::Nothing));
    let wake = Arc::new(Counter::default());
    let first = flow.add_waiter(None, wake.clone(), 0).unwrap();
    let second = flow.add_waiter(Some(("t", 0)), wake.clone(), 0).unwrap();
    flow.wakeup();
    assert_eq!(wake.count(), 2);
    assert!(flow.remove_waiter(first) && flow.remove_waiter(second));
    assert!(matches!(flow.take(9, None), Take::Nothing));
}

#[test]
fn checksums_are_optional() {
    let mut settings = settings();
    settings.check_crcs = false;
    let flow = shared(settings);
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    flow.assign("t", topic_id("t"), 0);
    flow.position("t", 0, 0, -1);
    flow.route("t", 0, CONN, 3);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut bytes = records(0, 0, 2);
    bytes[17] ^= 1;
    answer(&flow, token, &[reply("t", 0, bytes)]);
    assert_eq!(offsets(&runs(flow.take(9, None))).len(), 2);
}

#[test]
fn a_sleeper_wakes_when_a_claim_ends_without_records() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let empty = Kind { gap: 5, ..PLAIN };
    answer(
        &flow,
        token,
        &[reply("t", 0, batch(0, 0, 0, 4, empty).bytes)],
    );
    let mut jobs = flow.with(|flow| flow.inbox.claim(9, None)).unwrap();
    let wake = Arc::new(Counter::default());
    assert!(flow.add_waiter(None, wake.clone(), 0).is_some());
    for job in &mut jobs {
        job.decode(1 << 20, true);
    }
    assert!(flow.with(|flow| flow.inbox.settle(jobs, 9, None)).is_none());
    assert_eq!(wake.count(), 1, "the position has moved");
}
