//! The fetch flow under random interleavings, against a model of the records that each taker has to get.
//!
//! Every record from a position on is handed over once and in order, none after `unassign` and none from before a seek; the buffer
//! stays within its budget; no sleeper is forgotten, and in the end no partition has starved.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_core::bytes::compression::codec::Codec;
use ottla_core::fetch::flow::{Event, HoldCause, Settings};
use ottla_core::fetch::shared::FetchShared;
use ottla_core::fetch::shelf::Job;
use ottla_core::fetch::take::Take;
use ottla_core::fetch::waiters::WaiterId;
use ottla_core::seam::{Flow, LostCause, LostKind, WakeIo};
use proptest::prelude::*;

use crate::broker::*;

const PARTITIONS: i32 = 4;
const BUFFER: usize = 4_000;
/// Maximum size of a batch of the logs.
const LARGEST: usize = 1_000;

#[derive(Debug, Clone)]
enum Op {
    Assign(i32),
    Unassign(i32),
    Seek(i32, i64),
    Pause(i32),
    Resume(i32),
    Hold(i32),
    Route(i32, usize),
    Lose(usize),
    Request(usize),
    Answer(usize),
    Refuse(i32, i16),
    EndSession(i16),
    Take(usize, Option<i32>),
    Claim(usize),
    Settle,
    Sleep(Option<i32>),
}

fn partition_of() -> std::ops::Range<i32> {
    0..PARTITIONS
}

fn op() -> impl Strategy<Value = Op> {
    let partition = partition_of();
    let only = prop::option::of(partition.clone());
    prop_oneof![
        1 => partition.clone().prop_map(Op::Assign),
        1 => partition.clone().prop_map(Op::Unassign),
        2 => (partition.clone(), 0..300i64).prop_map(|(p, o)| Op::Seek(p, o)),
        1 => partition.clone().prop_map(Op::Pause),
        2 => partition.clone().prop_map(Op::Resume),
        1 => partition.clone().prop_map(Op::Hold),
        4 => (partition, 0..2usize).prop_map(|(p, c)| Op::Route(p, c)),
        1 => (0..2usize).prop_map(Op::Lose),
        8 => (0..2usize).prop_map(Op::Request),
        8 => (0..2usize).prop_map(Op::Answer),
        1 => (partition_of(), prop::sample::select(vec![1, 6, 74])).prop_map(|(p, c)| Op::Refuse(p, c)),
        1 => prop::sample::select(vec![70, 71, 106, 56]).prop_map(Op::EndSession),
        5 => (1..40usize, only.clone()).prop_map(|(n, p)| Op::Take(n, p)),
        2 => (1..40usize).prop_map(Op::Claim),
        2 => Just(Op::Settle),
        1 => only.prop_map(Op::Sleep),
    ]
}

/// A log whose batches vary in size, codec and gaps, and the offsets that have a record.
fn log(partition: i32, shape: &[(usize, u8)]) -> (Vec<LogBatch>, Vec<i64>) {
    let (mut batches, mut offsets, mut base) = (Vec::new(), Vec::new(), 0);
    for &(count, variety) in shape {
        let kind = Kind {
            codec: if variety & 1 == 0 {
                Codec::None
            } else {
                Codec::Lz4
            },
            gap: i32::from(variety >> 1 & 3),
            padding: usize::from(variety >> 3) * 2,
            control: (variety == 255).then_some(1),
            producer: None,
        };
        let made = batch(partition, base, count, 1, kind);
        assert!(made.bytes.len() <= LARGEST);
        if kind.control.is_none() {
            offsets.extend(base..base + count as i64);
        }
        base = made.next;
        batches.push(made);
    }
    (batches, offsets)
}

#[derive(Default)]
struct IoFlag(AtomicBool);

impl WakeIo for IoFlag {
    fn wake_io(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Model {
    assigned: bool,
    position: Option<i64>,
    paused: bool,
}

struct World {
    flow: FetchShared,
    broker: Broker,
    offsets: HashMap<i32, Vec<i64>>,
    models: HashMap<i32, Model>,
    conns: [u64; 2],
    flights: HashMap<u64, (u64, Asked)>,
    claim: Option<(usize, Vec<Job>)>,
    sleepers: Vec<(Option<i32>, WaiterId, Arc<Counter>)>,
    io: Arc<IoFlag>,
}

impl World {
    fn new(shapes: &[Vec<(usize, u8)>]) -> Self {
        let flow = shared(Settings {
            buffer_bytes: BUFFER,
            max_bytes: 3_000,
            partition_bytes: 1_500,
            ..settings()
        });
        let io = Arc::new(IoFlag::default());
        flow.set_waker(io.clone());
        let mut world = Self {
            flow,
            broker: Broker::default(),
            offsets: HashMap::new(),
            models: HashMap::new(),
            conns: [1, 2],
            flights: HashMap::new(),
            claim: None,
            sleepers: Vec::new(),
            io,
        };
        for (partition, shape) in (0..PARTITIONS).zip(shapes) {
            let (batches, offsets) = log(partition, shape);
            world.broker.logs.insert(("t".into(), partition), batches);
            world.offsets.insert(partition, offsets);
            world.models.insert(partition, Model::default());
        }
        world.flow.attach(1, VERSION, NODE, ADDRESS);
        world.flow.attach(2, VERSION, NODE, ADDRESS);
        world
    }

    fn model(&mut self, partition: i32) -> &mut Model {
        self.models.get_mut(&partition).unwrap()
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Assign(partition) => {
                self.flow.assign("t", topic_id("t"), partition);
                self.model(partition).assigned = true;
            }
            Op::Unassign(partition) => {
                self.flow.unassign("t", partition);
                *self.model(partition) = Model::default();
            }
            Op::Seek(partition, offset) => {
                self.flow.position("t", partition, offset, -1);
                let model = self.model(partition);
                model.position = model.assigned.then_some(offset);
            }
            Op::Pause(partition) => {
                self.flow.pause("t", partition);
                let model = self.model(partition);
                model.paused = model.assigned;
            }
            Op::Resume(partition) => {
                self.flow.resume("t", partition);
                self.model(partition).paused = false;
            }
            Op::Hold(partition) => self.flow.hold("t", partition),
            Op::Route(partition, conn) => {
                self.flow.route("t", partition, self.conns[conn], 1);
            }
            Op::Lose(conn) => self.lose(conn),
            Op::Request(conn) => self.request(conn),
            Op::Answer(conn) => self.answer(conn),
            Op::Refuse(partition, code) => self.broker.refuse = Some((partition, code)),
            Op::EndSession(code) => self.broker.end_session = Some(code),
            Op::Take(limit, only) => {
                let take = self
                    .flow
                    .take(limit, only.map(|partition| ("t", partition)));
                self.taken(take, limit);
            }
            Op::Claim(limit) => {
                if self.claim.is_none()
                    && let Ok(jobs) = self.flow.with(|flow| flow.inbox.claim(limit, None))
                {
                    self.claim = Some((limit, jobs));
                }
            }
            Op::Settle => self.settle(),
            Op::Sleep(only) => {
                let wake = Arc::new(Counter::default());
                let place = only.map(|partition| ("t", partition));
                let id = self.flow.add_waiter(place, wake.clone(), 0);
                self.sleepers.extend(id.map(|id| (only, id, wake)));
            }
        }
        self.check();
    }

    fn lose(&mut self, conn: usize) {
        let cause = LostCause {
            kind: LostKind::Io,
            message: String::new(),
        };
        self.flow.on_lost(self.conns[conn], &cause, 0);
        self.flights.remove(&self.conns[conn]);
        self.conns[conn] += 2;
        self.flow.attach(self.conns[conn], VERSION, NODE, ADDRESS);
    }

    fn request(&mut self, conn: usize) {
        let conn = self.conns[conn];
        if let Some(flight) = next(&self.flow, conn) {
            assert!(self.flights.insert(conn, flight).is_none());
        }
    }

    fn answer(&mut self, conn: usize) {
        let conn = self.conns[conn];
        if let Some((token, asked)) = self.flights.remove(&conn) {
            let frame = self.broker.answer(conn, &asked);
            self.flow.on_response(conn, token, frame, 0).unwrap();
        }
    }

    fn settle(&mut self) {
        if let Some((limit, mut jobs)) = self.claim.take() {
            for job in &mut jobs {
                job.decode(1 << 20, true);
            }
            let settled = self.flow.with(|flow| {
                let parts: Vec<_> = jobs.iter().map(Job::id).collect();
                let take = flow.inbox.settle(jobs, limit, None);
                (take, parts)
            });
            if let Some(take) = settled.0 {
                self.taken(take, limit);
            }
        }
    }

    /// Each run continues exactly at its partition's position.
    fn taken(&mut self, take: Take, limit: usize) {
        let runs = match take {
            Take::Runs(runs) => runs,
            Take::Nothing | Take::Moved | Take::Ended => return,
            other => panic!("{other:?}"),
        };
        let mut count = 0;
        for run in runs {
            count += run.len();
            let expected = &self.offsets[&run.partition];
            let model = self.models.get_mut(&run.partition).unwrap();
            assert!(model.assigned && !model.paused, "not to be handed over");
            let position = model.position.unwrap();
            let start = expected.partition_point(|offset| *offset < position);
            let got = offsets(std::slice::from_ref(&run));
            let got: Vec<i64> = got.into_iter().map(|place| place.1).collect();
            assert_eq!(got, expected[start..start + got.len()]);
            model.position = Some(run.next_offset);
            let after = expected.get(start + got.len());
            assert!(after.is_none_or(|offset| run.next_offset <= *offset));
        }
        assert!(count <= limit);
    }

    fn check(&mut self) {
        let buffered = self.flow.picture(0).buffered_bytes;
        assert!(buffered <= BUFFER + 2 * LARGEST, "{buffered} bytes wait");
        for (only, _, wake) in &self.sleepers {
            let place = only.map(|partition| ("t", partition));
            let something = self.flow.with(|flow| flow.inbox.has_something(place));
            assert!(!something || wake.count() == 1, "{only:?} sleeps on");
        }
        let flow = &self.flow;
        self.sleepers.retain(|(_, id, wake)| {
            let woken = wake.count() > 0;
            assert!(!woken || !flow.remove_waiter(*id));
            !woken
        });
        for (_, partition, offset, _) in self.flow.positions() {
            let expected = &self.offsets[&partition];
            let at = |offset: i64| expected.partition_point(|other| *other < offset);
            let position = self.models[&partition].position.unwrap();
            assert_eq!(at(offset), at(position), "position of {partition}");
        }
    }

    /// Ends all faults; the I/O thread then works only if it was woken or got an answer.
    fn finish(&mut self) {
        self.settle();
        self.flow.take_events();
        for partition in 0..PARTITIONS {
            if self.models[&partition].position.is_some() {
                self.step(Op::Resume(partition));
                if !self.flow.partition_state("t", partition).unwrap().flowing {
                    self.step(Op::Route(partition, partition as usize % 2));
                }
            }
        }
        for round in 0..4_000 {
            let answered = self.flights.contains_key(&self.conns[round % 2]);
            self.answer(round % 2);
            if self.io.0.swap(false, Ordering::Relaxed) || answered {
                self.request(0);
                self.request(1);
            }
            self.route_held();
            self.step(Op::Take(7, None));
            if self.is_done() {
                return;
            }
        }
        panic!("a partition starves: {:?}", self.flow.positions());
    }

    /// Earlier requests to hold and prepared answers may take effect only now.
    fn route_held(&mut self) {
        for event in self.flow.take_events() {
            let held = match event {
                Event::Held(held) => held,
                Event::LaneWanted(_) => continue,
                Event::Throttled(..) => panic!("{event:?}"),
            };
            assert!([HoldCause::Asked, HoldCause::Answer].contains(&held.cause));
            if held.code == 1 {
                let position = self.models[&held.partition].position.unwrap();
                let waits = position..held.fetch_offset;
                let mut offsets = self.offsets[&held.partition].iter();
                assert!(!offsets.any(|offset| waits.contains(offset)), "too early");
                self.step(Op::Seek(held.partition, held.fetch_offset));
            }
            self.step(Op::Route(held.partition, 0));
        }
    }

    fn is_done(&self) -> bool {
        self.models.iter().all(|(partition, model)| {
            let last = self.offsets[partition].last();
            match (model.position, last) {
                (Some(position), Some(last)) => position > *last,
                _ => true,
            }
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_record_once_and_in_order(
        shapes in prop::collection::vec(
            prop::collection::vec((0..8usize, any::<u8>()), 5..60),
            PARTITIONS as usize,
        ),
        ops in prop::collection::vec(op(), 10..250),
    ) {
        let mut world = World::new(&shapes);
        for partition in 0..PARTITIONS {
            world.step(Op::Assign(partition));
            world.step(Op::Seek(partition, 0));
            world.step(Op::Route(partition, partition as usize % 2));
        }
        for op in ops {
            world.step(op);
        }
        world.finish();
    }
}
