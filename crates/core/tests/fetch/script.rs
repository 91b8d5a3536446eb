//! The fetch flow by scripts: its requests, and the causes of holds.

use std::sync::Arc;

use ottla_core::fetch::flow::{Event, HoldCause};
use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::take::{Take, TakeError};
use ottla_core::seam::{Flow, LostCause, LostKind};

use crate::broker::*;

#[test]
fn the_next_request_leaves_before_a_take() {
    let flow = flowing(1);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.session, (0, 0));
    assert_eq!(asked.max_wait_ms, 0, "it may be behind");
    assert_eq!(asked.partitions, [("t".into(), 0, 0, 1 << 18)]);
    assert!(next(&flow, CONN).is_none(), "one in flight");
    answer(&flow, token, &[reply("t", 0, records(0, 0, 10))]);

    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.session, (1, 1));
    assert_eq!(asked.partitions[0].2, 10);
    assert_eq!(flow.positions()[0].2, 0, "nothing was handed over");

    let first = runs(flow.take(4, None));
    let four = [(0, 0), (0, 1), (0, 2), (0, 3)];
    assert_eq!(offsets(&first), four);
    assert_eq!(flow.positions(), [(Arc::from("t"), 0, 4, 4)]);
    let state = flow.partition_state("t", 0).unwrap();
    assert_eq!((state.buffered_records, state.high_watermark), (6, 1000));
    assert!(state.flowing && !state.paused);
    assert_eq!(offsets(&runs(flow.take(100, None))).len(), 6);
    assert!(matches!(flow.take(100, None), Take::Nothing));
    let statistics = flow.picture(0);
    assert_eq!(
        (statistics.handed_records, statistics.fetched.batches),
        (10, 1)
    );
    assert_eq!((statistics.buffered_bytes, statistics.sessions), (0, 1));
}

#[test]
fn a_picture_counts_by_node_and_by_partition() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    let at = |flow: &FetchShared, now| flow.picture(now).nodes[0].clone();
    assert_eq!(
        (at(&flow, 300).in_flight, at(&flow, 300).waiting_for),
        (1, 300)
    );
    answer(&flow, token, &[reply("t", 1, records(1, 0, 10))]);
    runs(flow.take(4, None));
    let picture = flow.picture(300);
    let node = &picture.nodes[0];
    assert_eq!((node.node, &*node.address), (NODE, ADDRESS));
    assert_eq!((node.requests, node.in_flight, node.waiting_for), (1, 0, 0));
    assert_eq!((node.fetched, node.latency.count), (picture.fetched, 1));
    let [quiet, busy] = &picture.partitions[..] else {
        panic!("{picture:?}");
    };
    assert_eq!((quiet.handed_records, quiet.fetched.bytes), (0, 0));
    assert_eq!(
        (busy.handed_records, busy.position, busy.buffered_records),
        (4, 4, 6)
    );
    assert_eq!(
        (busy.fetched.batches, busy.buffered_bytes),
        (1, picture.buffered_bytes)
    );
    assert_eq!(busy.node, Some(NODE));
    let cause = LostCause {
        kind: LostKind::Eof,
        message: "bye".into(),
    };
    flow.on_lost(CONN, &cause, 400);
    assert_eq!(flow.picture(400).partitions[1].node, None);
    assert_eq!(
        flow.picture(400).nodes[0].requests,
        1,
        "counts outlive a connection"
    );
}

#[test]
fn an_idle_session_names_nothing() {
    let flow = flowing(2);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.partitions.len(), 2);
    answer(&flow, token, &[]);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert!(asked.partitions.is_empty() && asked.forgotten.is_empty());
    answer(&flow, token, &[]);
    flow.pause("t", 1);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.forgotten, [("t".into(), 1)]);
    answer(&flow, token, &[]);
    flow.resume("t", 1);
    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.partitions, [("t".into(), 1, 0, 1 << 18)]);
    assert!(held(&flow).is_empty());
}

#[test]
fn a_lost_session_is_opened_again() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[]);
    let (token, _) = next(&flow, CONN).unwrap();
    let gone = response(70, 0, &[]);
    flow.on_response(CONN, token, gone, 0).unwrap();
    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!((asked.session, asked.partitions.len()), ((0, 0), 2));
    assert!(held(&flow).is_empty());
}

#[test]
fn another_code_of_the_whole_answer_holds_all_of_it() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    flow.on_response(CONN, token, response(56, 0, &[]), 0)
        .unwrap();
    let held = held(&flow);
    assert_eq!(held.len(), 2);
    assert!(
        held.iter()
            .all(|held| held.code == 56 && held.cause == HoldCause::Answer)
    );
    assert!(next(&flow, CONN).is_none());
}

#[test]
fn an_error_holds_its_partition_only() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut moved = reply("t", 0, vec![]);
    moved.code = 6;
    moved.leader = Some((9, 4));
    answer(&flow, token, &[moved, reply("t", 1, records(1, 0, 2))]);
    let held = held(&flow);
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].partition, held[0].code), (0, 6));
    assert_eq!(
        (&held[0].cause, held[0].fetch_offset),
        (&HoldCause::Answer, 0)
    );
    assert_eq!(held[0].leader, Some((9, 4)));
    assert_eq!(held[0].node, Some(("h9".into(), 9092)));
    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.partitions, [("t".into(), 1, 2, (1 << 18))]);
    assert_eq!(asked.forgotten, [("t".into(), 0)]);
    assert_eq!(offsets(&runs(flow.take(9, None))), [(1, 0), (1, 1)]);
}

#[test]
fn other_causes_of_holds_keep_their_fields() {
    let flow = flowing(3);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut diverging = reply("t", 0, vec![]);
    diverging.diverging = Some((2, 77));
    let mut replica = reply("t", 1, vec![]);
    replica.replica = 8;
    let mut newer = reply("t", 2, records(2, 0, 1));
    newer.leader = Some((4, 9));
    answer(&flow, token, &[diverging, replica, newer]);
    let held = held(&flow);
    let causes: Vec<HoldCause> = held.iter().map(|held| held.cause.clone()).collect();
    let diverging = HoldCause::Diverging {
        epoch: 2,
        end_offset: 77,
        fetched_epoch: -1,
    };
    assert_eq!(
        causes,
        [diverging, HoldCause::Replica(8), HoldCause::Answer]
    );
    assert_eq!((held[2].leader, held[2].fetch_offset), (Some((4, 9)), 1));
    assert_eq!(offsets(&runs(flow.take(9, None))), [(2, 0)]);
}

#[test]
fn a_lost_connection_holds_all_of_it_once() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3))]);
    next(&flow, CONN).unwrap();
    let cause = LostCause {
        kind: LostKind::Eof,
        message: "bye".into(),
    };
    flow.on_lost(CONN, &cause, 0);
    flow.on_lost(CONN, &cause, 0);
    let held = held(&flow);
    assert_eq!(held.len(), 2);
    let lost = HoldCause::Lost(cause);
    assert!(held.iter().all(|held| held.cause == lost));
    assert_eq!(offsets(&runs(flow.take(9, None))).len(), 3);
    flow.attach(6, VERSION, NODE, ADDRESS);
    flow.route("t", 0, 6, 3);
    let (_, asked) = next(&flow, 6).unwrap();
    assert_eq!((asked.session, asked.partitions[0].2), ((0, 0), 3));
}

#[test]
fn a_route_over_a_lost_connection_is_reported() {
    let flow = flowing(1);
    flow.route("t", 0, 99, 3);
    let held = held(&flow);
    assert_eq!(held.len(), 1);
    let HoldCause::Lost(cause) = &held[0].cause else {
        panic!("{:?}", held[0].cause);
    };
    assert_eq!(cause.kind, LostKind::Closed);
    assert!(!flow.partition_state("t", 0).unwrap().flowing);
}

#[test]
fn a_requested_hold_does_not_wait_for_the_answer() {
    let flow = flowing(2);
    let (token, _) = next(&flow, CONN).unwrap();
    flow.hold("t", 0);
    let found = held(&flow);
    assert_eq!((found.len(), &found[0].cause), (1, &HoldCause::Asked));
    let replies = [0, 1].map(|partition| reply("t", partition, records(partition, 0, 3)));
    answer(&flow, token, &replies);
    assert!(
        offsets(&runs(flow.take(9, None)))
            .iter()
            .all(|place| place.0 == 1)
    );
    flow.hold("t", 0);
    assert!(held(&flow).is_empty(), "it is held");
    flow.route("t", 0, CONN, 3);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert!(
        asked.forgotten.is_empty(),
        "the session has it with this offset"
    );
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3))]);
    assert_eq!(offsets(&runs(flow.take(9, None))).len(), 3);
}

#[test]
fn a_seek_drops_waiting_batches_and_answers_in_flight() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, records(0, 0, 3))]);
    let (token, _) = next(&flow, CONN).unwrap();
    flow.position("t", 0, 100, 2);
    assert!(matches!(flow.take(9, None), Take::Nothing));
    answer(&flow, token, &[reply("t", 0, records(0, 3, 3))]);
    assert!(matches!(flow.take(9, None), Take::Nothing));
    assert_eq!(flow.positions(), [(Arc::from("t"), 0, 100, 2)]);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.partitions[0].2, 100);
    // The fetch begins inside a batch.
    answer(&flow, token, &[reply("t", 0, records(0, 98, 4))]);
    assert_eq!(offsets(&runs(flow.take(9, None))), [(0, 100), (0, 101)]);
}

#[test]
fn bytes_that_are_not_a_batch_are_fetched_again_and_then_an_error() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut bytes = records(0, 0, 2);
    bytes.extend([0xff; 100]);
    answer(&flow, token, &[reply("t", 0, bytes)]);
    assert!(next(&flow, CONN).is_none());
    assert_eq!(offsets(&runs(flow.take(99, None))).len(), 2);
    assert!(
        matches!(flow.take(99, None), Take::Nothing),
        "fetched again"
    );
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.partitions[0].2, 2);
    answer(&flow, token, &[reply("t", 0, vec![0xff; 100])]);
    assert!(matches!(flow.take(99, None), Take::Failed(_)));
    assert!(matches!(flow.take(99, None), Take::Nothing), "once");
    flow.position("t", 0, 9, -1);
    assert_eq!(next(&flow, CONN).unwrap().1.partitions[0].2, 9);
}

#[test]
fn an_answer_without_progress_is_an_error() {
    let flow = flowing(1);
    flow.position("t", 0, 50, -1);
    for _ in 0..2 {
        assert!(matches!(flow.take(99, None), Take::Nothing));
        let (token, _) = next(&flow, CONN).unwrap();
        answer(&flow, token, &[reply("t", 0, records(0, 0, 2))]);
        assert!(next(&flow, CONN).is_none());
    }
    assert!(matches!(flow.take(99, None), Take::Failed(_)));
}

/// A batch with a flipped bit in its records.
fn garbled(partition: i32, base: i64) -> Vec<u8> {
    let mut bytes = records(partition, base, 10);
    let last = bytes.len() - 1;
    bytes[last - 3] ^= 4;
    bytes
}

#[test]
fn a_flipped_bit_is_fetched_again_before_any_error() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    answer(
        &flow,
        token,
        &[reply("t", 0, [records(0, 0, 10), garbled(0, 10)].concat())],
    );
    next(&flow, CONN).unwrap();
    assert_eq!(offsets(&runs(flow.take(99, None))).len(), 10);
    assert!(matches!(flow.take(99, None), Take::Nothing));
    flow.on_lost(CONN, &end_of_stream(), 0);
    flow.attach(6, VERSION, NODE, ADDRESS);
    flow.route("t", 0, 6, 3);
    let (token, asked) = next(&flow, 6).unwrap();
    assert_eq!(asked.partitions[0].2, 10);
    let frame = response(0, 1, &[reply("t", 0, records(0, 10, 10))]);
    flow.on_response(6, token, frame, 0).unwrap();
    assert_eq!(offsets(&runs(flow.take(99, None))).len(), 10);
}

fn end_of_stream() -> LostCause {
    LostCause {
        kind: LostKind::Eof,
        message: "bye".into(),
    }
}

#[test]
fn a_damaged_batch_stops_no_other_partition_and_is_one_error_per_attempt() {
    const SECOND: u64 = 1_000_000;
    let flow = flowing(3);
    let mut now = 0;
    let mut errors = Vec::new();
    let mut others = Vec::new();
    let mut base = 0;
    while now < 9 * SECOND {
        flow.on_tick(now);
        if let Some(request) = flow.next_request(CONN, 1, now) {
            base += 10;
            let replies = [
                reply("t", 0, records(0, base - 10, 10)),
                reply("t", 1, garbled(1, 0)),
                reply("t", 2, records(2, base - 10, 10)),
            ];
            let frame = response(0, 1, &replies);
            flow.on_response(CONN, request.token, frame, now).unwrap();
            for _ in 0..5 {
                match flow.take(99, None) {
                    Take::Runs(runs) => others.extend(offsets(&runs)),
                    Take::Failed(TakeError::Decode {
                        partition, offset, ..
                    }) => {
                        errors.push((partition, offset, now / SECOND));
                    }
                    Take::Nothing => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        now += SECOND / 100;
    }
    assert_eq!(errors, [(1, 0, 0), (1, 0, 1), (1, 0, 3), (1, 0, 7)]);
    assert_eq!(others.len() as i64, 2 * base, "all records of the others");
    flow.position("t", 1, 10, -1);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert!(asked.partitions.contains(&("t".into(), 1, 10, 1 << 18)));
    answer(&flow, token, &[reply("t", 1, records(1, 10, 10))]);
    assert_eq!(offsets(&runs(flow.take(99, None)))[0], (1, 10));
}

#[test]
fn a_cut_first_batch_is_fetched_with_more() {
    let flow = flowing(1);
    let whole = records(0, 0, 5);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let (token, asked) = next(&flow, CONN).unwrap();
        assert!(asked.max_bytes >= asked.partitions[0].3);
        sizes.push(asked.partitions[0].3);
        let cut = whole[..whole.len() - 1].to_vec();
        answer(&flow, token, &[reply("t", 0, cut)]);
    }
    assert_eq!(sizes, [1 << 18, 1 << 19, 1 << 20]);
    let mut rounds = 0;
    while let Some((token, _)) = next(&flow, CONN) {
        answer(&flow, token, &[reply("t", 0, whole[..40].to_vec())]);
        rounds += 1;
        assert!(rounds < 40, "for ever");
    }
    assert!(
        matches!(flow.take(9, None), Take::Nothing),
        "one more attempt"
    );
    let (token, _) = next(&flow, CONN).unwrap();
    answer(&flow, token, &[reply("t", 0, whole[..40].to_vec())]);
    assert!(matches!(flow.take(9, None), Take::Failed(_)));
}

#[test]
fn a_slow_partition_takes_no_buffer_space_of_others() {
    let mut settings = settings();
    settings.buffer_bytes = 20_000;
    let flow = shared(settings);
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    let mut broker = Broker::default();
    for partition in 0..2 {
        flow.assign("t", topic_id("t"), partition);
        flow.position("t", partition, 0, -1);
        flow.route("t", partition, CONN, 3);
        let log = (0..200).map(|n| batch(partition, n * 10, 10, 1, PLAIN));
        broker.logs.insert(("t".into(), partition), log.collect());
    }
    let mut taken = 0;
    let mut waits = Vec::new();
    for _ in 0..400 {
        if let Some((token, asked)) = next(&flow, CONN) {
            waits.push(asked.max_wait_ms);
            let frame = broker.answer(CONN, &asked);
            flow.on_response(CONN, token, frame, 0).unwrap();
        }
        if let Take::Runs(runs) = flow.take(50, Some(("t", 1))) {
            taken += offsets(&runs).len();
        }
        assert!(flow.picture(0).buffered_bytes <= 20_000 + 400);
    }
    assert_eq!(taken, 2000, "partition 1 starves");
    let slow = flow.partition_state("t", 0).unwrap();
    assert!(slow.buffered_records > 50 && slow.position == 0);
    // A poll on the only connection is short while a partition that is behind waits for free buffer space.
    assert!(waits.iter().all(|wait| *wait <= 10), "{waits:?}");
}

#[test]
fn new_partitions_get_their_share_from_a_full_buffer() {
    let mut settings = settings();
    settings.buffer_bytes = 20_000;
    let flow = shared(settings);
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    let mut broker = Broker::default();
    for partition in 0..5 {
        let log = (0..200).map(|n| batch(partition, n * 10, 10, 1, PLAIN));
        broker.logs.insert(("t".into(), partition), log.collect());
    }
    let step = |broker: &mut Broker| {
        let (token, asked) = next(&flow, CONN)?;
        let frame = broker.answer(CONN, &asked);
        flow.on_response(CONN, token, frame, 0).unwrap();
        Some(())
    };
    for partition in 0..5 {
        flow.assign("t", topic_id("t"), partition);
        flow.position("t", partition, 0, -1);
        flow.route("t", partition, CONN, 3);
        for _ in 0..20 {
            step(&mut broker);
        }
        flow.pause("t", partition);
    }
    let waiting = |partition| {
        flow.partition_state("t", partition)
            .unwrap()
            .buffered_records
    };
    assert!(
        waiting(0) == 0 && waiting(4) > 0,
        "the paused ones gave theirs"
    );
    for partition in 0..5 {
        flow.resume("t", partition);
    }
    let mut all = Vec::new();
    for _ in 0..2000 {
        step(&mut broker);
        if let Take::Runs(runs) = flow.take(50, None) {
            all.extend(offsets(&runs));
        }
    }
    for partition in 0..5 {
        let of = all.iter().filter(|place| place.0 == partition);
        assert!(of.map(|place| place.1).eq(0..2000));
    }
}

#[test]
fn an_unset_topic_id_holds_where_ids_are_needed() {
    let flow = shared(settings());
    flow.attach(CONN, VERSION, NODE, ADDRESS);
    flow.attach(6, 12, NODE, ADDRESS);
    flow.assign("t", [0; 16], 0);
    flow.position("t", 0, 0, -1);
    flow.route("t", 0, CONN, 3);
    let held = held(&flow);
    assert_eq!((held.len(), held[0].code), (1, 100));
    flow.route("t", 0, 6, 3);
    assert!(flow.next_request(6, 1, 0).is_some());
}

#[test]
fn a_throttled_connection_sends_nothing() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let frame = throttled(20, 0, 1, &[]);
    flow.on_response(CONN, token, frame, 1000).unwrap();
    assert_eq!(flow.take_events(), [Event::Throttled(CONN, 20)]);
    assert!(flow.next_request(CONN, 1, 20_999).is_none());
    assert_eq!(flow.on_tick(1000), Some(21_000));
    assert!(flow.next_request(CONN, 1, 21_000).is_some());
    assert_eq!(flow.on_tick(21_000), None);
}

#[test]
fn throttling_lasts_no_longer_than_the_request_timeout() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let frame = throttled(i32::MAX, 0, 1, &[]);
    flow.on_response(CONN, token, frame, 0).unwrap();
    assert!(flow.next_request(CONN, 1, 29_999_999).is_none());
    assert!(flow.next_request(CONN, 1, 30_000_000).is_some());
}

#[test]
fn the_deadline_includes_the_long_poll() {
    let flow = flowing(1);
    let request = flow.next_request(CONN, 1, 7).unwrap();
    assert_eq!(request.deadline, 7 + 500_000 + 30_000_000);
    assert!(request.expects_response);
}

#[test]
fn an_invalid_response_closes_the_connection() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let frame = bytes::Bytes::from_static(b"HTTP/1.1 400");
    assert!(flow.on_response(CONN, token, frame, 0).is_err());
}

#[test]
fn out_of_range_is_reported_after_the_records_before_it() {
    let out_of_range = |flow: &FetchShared| {
        let (token, _) = next(flow, CONN).unwrap();
        answer(flow, token, &[reply("t", 0, records(0, 0, 3))]);
        let (token, _) = next(flow, CONN).unwrap();
        let mut gone = reply("t", 0, vec![]);
        gone.code = 1;
        answer(flow, token, &[gone]);
        assert!(held(flow).is_empty());
        assert!(!flow.partition_state("t", 0).unwrap().flowing);
    };
    let flow = flowing(1);
    out_of_range(&flow);
    assert_eq!(offsets(&runs(flow.take(2, None))).len(), 2);
    assert!(held(&flow).is_empty());
    assert_eq!(offsets(&runs(flow.take(2, None))).len(), 1);
    let found = held(&flow);
    assert_eq!((found[0].code, found[0].fetch_offset), (1, 3));

    let flow = flowing(1);
    out_of_range(&flow);
    flow.position("t", 0, 9, -1);
    let found = held(&flow);
    assert_eq!((&found[0].cause, found[0].code), (&HoldCause::Asked, 0));

    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let mut gone = reply("t", 0, vec![]);
    gone.code = 1;
    answer(&flow, token, &[gone]);
    assert_eq!(held(&flow)[0].code, 1);
}

#[test]
fn a_request_without_buffer_space_is_sent_when_some_is_freed() {
    let mut settings = settings();
    settings.buffer_bytes = 20_000;
    let flow = shared(settings);
    let io = Arc::new(Counter::default());
    flow.set_waker(io.clone());
    for (partition, conn) in [(0, CONN), (1, 6)] {
        flow.attach(conn, VERSION, NODE, ADDRESS);
        flow.assign("t", topic_id("t"), partition);
        flow.position("t", partition, 0, -1);
        flow.route("t", partition, conn, 3);
    }
    let (token, _) = next(&flow, CONN).unwrap();
    let large = Kind {
        padding: 18_000,
        ..PLAIN
    };
    let bytes = batch(0, 0, 1, 1, large).bytes;
    answer(&flow, token, &[reply("t", 0, bytes)]);
    flow.hold("t", 0);
    assert!(next(&flow, 6).is_none());
    let before = io.count();
    assert_eq!(offsets(&runs(flow.take(9, None))).len(), 1);
    assert!(io.count() > before);
    assert!(next(&flow, 6).is_some());
}
