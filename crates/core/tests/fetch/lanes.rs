//! Two connections to one broker: no partition with records waits for one without.

use ottla_core::fetch::flow::Event;
use ottla_core::fetch::shared::FetchShared;
use ottla_core::seam::{Flow, LostCause, LostKind};

use crate::broker::*;

const LANE: u64 = 6;
const LONG: i32 = 500;

fn two_lanes(partitions: i32) -> FetchShared {
    let flow = flowing(partitions);
    flow.attach(LANE, VERSION, NODE, ADDRESS);
    flow
}

/// A request in flight: its connection and token.
#[derive(Clone, Copy)]
struct Sent(u64, u64);

fn ask(flow: &FetchShared, conn: u64) -> Option<(Sent, Asked)> {
    next(flow, conn).map(|(token, asked)| (Sent(conn, token), asked))
}

fn reply_to(flow: &FetchShared, sent: Sent, replies: &[Reply]) {
    let frame = response(0, sent.0 as i32, replies);
    flow.on_response(sent.0, sent.1, frame, 0).unwrap();
}

/// A partition without records after its offset.
fn at_end(partition: i32, end: i64) -> Reply {
    Reply {
        end,
        ..reply("t", partition, Vec::new())
    }
}

/// The last record of its log.
fn last(partition: i32, offset: i64) -> Reply {
    Reply {
        end: offset + 1,
        ..reply("t", partition, records(partition, offset, 1))
    }
}

fn numbers(asked: &Asked) -> Vec<i32> {
    let mut all: Vec<i32> = asked.partitions.iter().map(|place| place.1).collect();
    all.sort_unstable();
    all
}

/// All partitions at their ends, in a long poll on `CONN`.
fn all_caught_up(flow: &FetchShared, partitions: i32) -> Sent {
    let mut flights: Vec<Sent> = Vec::new();
    loop {
        let sent = [CONN, LANE].into_iter().filter_map(|conn| ask(flow, conn));
        let (waiting, reads): (Vec<_>, Vec<_>) = sent.partition(|sent| sent.1.max_wait_ms > 0);
        flights.extend(waiting.into_iter().map(|sent| sent.0));
        if reads.is_empty() {
            break;
        }
        for (sent, _) in reads {
            let all: Vec<Reply> = (0..partitions)
                .map(|partition| at_end(partition, 0))
                .collect();
            reply_to(flow, sent, &all);
        }
    }
    // Those that are late glance until the first poll ends.
    while flights.len() > 1 {
        for sent in flights.drain(..) {
            reply_to(flow, sent, &[]);
        }
        for conn in [CONN, LANE] {
            flights.extend(ask(flow, conn).map(|sent| sent.0));
        }
    }
    flights[0]
}

#[test]
fn while_all_are_behind_each_lane_reads_half() {
    let flow = two_lanes(6);
    let (_, first) = ask(&flow, CONN).unwrap();
    let (_, second) = ask(&flow, LANE).unwrap();
    assert_eq!((first.max_wait_ms, second.max_wait_ms), (0, 0));
    assert_eq!((numbers(&first).len(), numbers(&second).len()), (3, 3));
    let mut all = [numbers(&first), numbers(&second)].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    assert!(ask(&flow, CONN).is_none() && ask(&flow, LANE).is_none());
}

#[test]
fn a_partition_with_records_does_not_wait_for_those_without() {
    let flow = two_lanes(2);
    let (first, _) = ask(&flow, CONN).unwrap();
    let (second, _) = ask(&flow, LANE).unwrap();
    reply_to(&flow, first, &[at_end(0, 0)]);
    let (_, poll) = ask(&flow, CONN).unwrap();
    assert_eq!(poll.max_wait_ms, LONG);
    // The other one reads on, its buffer full or not, without any wait.
    let mut sent = second;
    for round in 0..20 {
        reply_to(&flow, sent, &[reply("t", 1, records(1, round * 10, 10))]);
        let (next, asked) = ask(&flow, LANE).expect("a read");
        assert_eq!(
            (asked.max_wait_ms, asked.partitions[0].2),
            (0, round * 10 + 10)
        );
        sent = next;
    }
    assert_eq!(offsets(&runs(flow.take(500, None))).len(), 200);
}

#[test]
fn records_at_the_end_of_the_log_keep_their_partition_in_the_poll() {
    let flow = two_lanes(3);
    let mut poll = all_caught_up(&flow, 3);
    for offset in 0..5 {
        reply_to(&flow, poll, &[last(1, offset)]);
        let (next, asked) = ask(&flow, poll.0).unwrap();
        assert_eq!((asked.max_wait_ms, numbers(&asked)), (LONG, vec![1]));
        assert!(asked.forgotten.is_empty());
        assert!(ask(&flow, LANE).is_none() && ask(&flow, CONN).is_none());
        poll = next;
    }
}

#[test]
fn a_seek_a_resume_and_a_new_partition_are_read_at_once() {
    for change in ["seek", "resume", "assign"] {
        let flow = two_lanes(3);
        if change == "resume" {
            flow.pause("t", 2);
        }
        let poll = all_caught_up(&flow, 3);
        let free = CONN + LANE - poll.0;
        assert!(ask(&flow, free).is_none(), "nothing is behind");
        let partition = match change {
            "seek" => {
                flow.position("t", 1, 7, -1);
                1
            }
            "resume" => {
                flow.resume("t", 2);
                2
            }
            _ => {
                flow.assign("t", topic_id("t"), 3);
                flow.position("t", 3, 0, -1);
                flow.route("t", 3, CONN, 3);
                3
            }
        };
        let (_, asked) = ask(&flow, free).unwrap_or_else(|| panic!("{change}: no request"));
        assert_eq!((asked.max_wait_ms, numbers(&asked)), (0, vec![partition]));
    }
}

#[test]
fn latecomers_join_the_poll() {
    let flow = two_lanes(2);
    let poll = all_caught_up(&flow, 2);
    let free = CONN + LANE - poll.0;
    flow.position("t", 1, 0, -1);
    let (read, _) = ask(&flow, free).unwrap();
    reply_to(&flow, read, &[at_end(1, 0)]);
    let (glance, asked) = ask(&flow, free).unwrap();
    assert_eq!(asked.max_wait_ms, 5);
    reply_to(&flow, poll, &[]);
    assert!(
        ask(&flow, poll.0).is_none(),
        "soon there is one poll of both"
    );
    reply_to(&flow, glance, &[]);
    let both = [poll.0, free].map(|conn| ask(&flow, conn));
    let waits: Vec<i32> = both
        .iter()
        .flatten()
        .map(|sent| sent.1.max_wait_ms)
        .collect();
    assert_eq!(waits, [LONG]);
}

#[test]
fn a_second_connection_is_wanted_once_and_only_if_it_helps() {
    let wanted = |flow: &FetchShared| {
        let events = flow.take_events().into_iter();
        events
            .filter(|event| *event == Event::LaneWanted(NODE))
            .count()
    };
    let flow = flowing(1);
    let (sent, _) = ask(&flow, CONN).unwrap();
    reply_to(&flow, sent, &[at_end(0, 0)]);
    let (_, asked) = ask(&flow, CONN).unwrap();
    assert_eq!((asked.max_wait_ms, wanted(&flow)), (LONG, 0));
    flow.position("t", 0, 5, -1);
    flow.position("t", 0, 6, -1);
    assert_eq!(wanted(&flow), 1, "a seek waits for the poll");
    flow.attach(LANE, VERSION, NODE, ADDRESS);
    assert_eq!(ask(&flow, LANE).unwrap().1.max_wait_ms, 0);

    let flow = flowing(2);
    let (sent, asked) = ask(&flow, CONN).unwrap();
    assert_eq!((numbers(&asked), wanted(&flow)), (vec![0, 1], 1));
    reply_to(
        &flow,
        sent,
        &[at_end(0, 0), reply("t", 1, records(1, 0, 2))],
    );
    let (_, asked) = ask(&flow, CONN).unwrap();
    assert_eq!(
        (asked.max_wait_ms, wanted(&flow)),
        (0, 0),
        "one carries all meanwhile"
    );
}

#[test]
fn the_end_of_the_second_connection_holds_nothing() {
    let flow = two_lanes(2);
    ask(&flow, CONN).unwrap();
    ask(&flow, LANE).unwrap();
    let cause = LostCause {
        kind: LostKind::Eof,
        message: "bye".into(),
    };
    flow.on_lost(LANE, &cause, 0);
    assert!(held(&flow).is_empty());
    assert_eq!(flow.picture(0).nodes[0].in_flight, 1);
    flow.attach(7, VERSION, NODE, ADDRESS);
    let (_, asked) = ask(&flow, 7).unwrap();
    assert_eq!(numbers(&asked).len(), 1, "it is read over another one");
}

#[test]
fn reads_that_bring_nothing_wait_longer_and_longer() {
    let flow = two_lanes(1);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let (sent, asked) = ask(&flow, CONN).unwrap();
        waits.push(asked.max_wait_ms);
        reply_to(&flow, sent, &[]);
        // The first answer has its high watermark, and never a record.
        if waits.len() == 1 {
            let (sent, _) = ask(&flow, CONN).unwrap();
            reply_to(&flow, sent, &[at_end(0, 1000)]);
        }
    }
    assert_eq!(waits[0], 0);
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert_eq!(waits.last(), Some(&LONG));
}
