//! Truncated logs (KIP-320): the epoch that a request names, and the fetched batches that are no longer in the log.

use ottla_core::fetch::flow::{Held, HoldCause};
use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::take::Take;

use crate::broker::*;

fn records_of(epoch: i32, base: i64, count: usize) -> Vec<u8> {
    batch(0, base, count, epoch, PLAIN).bytes
}

/// A flow that has fetched offsets 0 to 9 in epoch 4 and 10 to 19 in epoch 5.
fn fetched() -> FetchShared {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let both = [records_of(4, 0, 10), records_of(5, 10, 10)].concat();
    answer(&flow, token, &[reply("t", 0, both)]);
    flow
}

/// Answers that the log has nothing after `end` of this epoch, nor of a later one.
fn diverge(flow: &FetchShared, epoch: i32, end: i64) -> Held {
    let (token, _) = next(flow, CONN).unwrap();
    let mut diverging = reply("t", 0, vec![]);
    diverging.diverging = Some((epoch, end));
    answer(flow, token, &[diverging]);
    held(flow).pop().unwrap()
}

fn fetched_epoch(held: &Held) -> i32 {
    match held.cause {
        HoldCause::Diverging { fetched_epoch, .. } => fetched_epoch,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_names_the_epoch_of_the_record_before_its_offset() {
    let flow = flowing(1);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.fetched_epochs, [-1], "nothing is known yet");
    answer(&flow, token, &[reply("t", 0, records_of(4, 0, 10))]);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.fetched_epochs, [4]);
    answer(&flow, token, &[reply("t", 0, records_of(5, 10, 1))]);
    let (token, asked) = next(&flow, CONN).unwrap();
    assert_eq!(asked.fetched_epochs, [5]);
    answer(&flow, token, &[]);
    flow.position("t", 0, 7, 3);
    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!((asked.partitions[0].2, asked.fetched_epochs), (7, vec![3]));
}

#[test]
fn a_batch_without_a_record_for_the_user_sets_the_epoch() {
    let flow = flowing(1);
    let (token, _) = next(&flow, CONN).unwrap();
    let kind = Kind {
        producer: Some(1),
        control: Some(1),
        ..PLAIN
    };
    let marker = batch(0, 0, 1, 6, kind).bytes;
    answer(&flow, token, &[reply("t", 0, marker)]);
    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!((asked.partitions[0].2, asked.fetched_epochs), (1, vec![6]));
    assert_eq!((flow.positions()[0].2, flow.positions()[0].3), (1, 6));
}

#[test]
fn only_waiting_batches_that_are_in_the_log_are_retained() {
    let flow = fetched();
    let held = diverge(&flow, 4, 10);
    assert_eq!((held.fetch_offset, fetched_epoch(&held)), (10, 4));
    let taken = runs(flow.take(100, None));
    assert_eq!(offsets(&taken).len(), 10, "those before the offset");
    flow.route("t", 0, CONN, 6);
    let (_, asked) = next(&flow, CONN).unwrap();
    assert_eq!((asked.partitions[0].2, asked.fetched_epochs), (10, vec![4]));
}

#[test]
fn a_batch_of_a_later_epoch_is_dropped_wherever_it_ends() {
    let flow = fetched();
    let held = diverge(&flow, 4, 500);
    assert_eq!((held.fetch_offset, fetched_epoch(&held)), (10, 4));
}

#[test]
fn records_that_were_handed_over_leave_the_position_behind_the_end() {
    let flow = fetched();
    runs(flow.take(15, None));
    let held = diverge(&flow, 4, 8);
    assert_eq!((held.fetch_offset, fetched_epoch(&held)), (15, 5));
    assert!(matches!(flow.take(100, None), Take::Nothing));
}
