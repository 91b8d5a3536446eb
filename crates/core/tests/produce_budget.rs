//! `buffer_memory` is a hard limit: after every step the charged bytes and the allocated bytes are within it.
//!
//! Random budgets from a few kilobytes on, many partitions, messages up to the largest that is taken, a topic that is not known at
//! first, senders that wait, answers, refusals, lost connections. And no sender starves: in the end all waiting senders have appended,
//! in order, and every byte is free.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::ids::{ConnId, Micros};
use ottla_core::produce::append::charges::DELIVERY_BYTES;
use ottla_core::produce::event::{Decision, Event};
use ottla_core::produce::message::Refused;
use proptest::prelude::*;
use support::frames::Sent;
use support::{Counter, Producer, settings};

/// Smaller allocations are no buffers, but names and heads of requests.
const SMALL: usize = 256;
const MILLISECOND: Micros = 1_000;

/// Counts the bytes of buffers, by thread, so that tests may run at the same time.
struct Counting;

thread_local! {
    static BUFFERS: Cell<isize> = const { Cell::new(0) };
}

fn count(layout: Layout, sign: isize) {
    if layout.align() == 1 && layout.size() >= SMALL {
        // Not while the thread ends.
        let _ = BUFFERS.try_with(|bytes| bytes.set(bytes.get() + sign * layout.size() as isize));
    }
}

// SAFETY: every call is passed unchanged to the system's allocator; counting does not affect it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout, 1);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout, -1);
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Waiting {
    ticket: u64,
    partition: i32,
    bytes: usize,
    extra: usize,
}

struct Bench {
    producer: Producer,
    partitions: usize,
    conn: ConnId,
    /// Whether the metadata of the topic is known.
    known: bool,
    in_flight: VecDeque<Sent>,
    queue: VecDeque<Waiting>,
    /// Bytes that every value is a part of.
    value: Vec<u8>,
    /// Bytes of buffers that existed before the producer.
    before: isize,
    codec: Codec,
}

impl Bench {
    fn new(budget: usize, partitions: usize, codec: Codec, keeps: bool) -> Self {
        let mut set = settings();
        set.buffer_bytes = budget;
        set.batch_bytes = 32 * 1024;
        set.linger = 5 * MILLISECOND;
        set.codec = codec;
        set.keeps_outcomes = keeps;
        // Half of the bytes compress.
        let value: Vec<u8> = (0..budget as u32)
            .map(|at| {
                if at % 64 < 32 {
                    7
                } else {
                    (at.wrapping_mul(2_654_435_761) >> 20) as u8
                }
            })
            .collect();
        let before = BUFFERS.get();
        let producer = Producer::new(set);
        producer.shared.change(|flow| flow.set_identity(9, 0));
        producer.attach(1);
        Self {
            producer,
            partitions,
            conn: 1,
            known: false,
            in_flight: VecDeque::new(),
            queue: VecDeque::new(),
            value,
            before,
            codec,
        }
    }

    fn step(&mut self, kind: u8, choice: u16) {
        let choice = usize::from(choice);
        match kind % 16 {
            0..=7 => self.send(choice),
            8..=9 => self.io(),
            10..=11 => self.answer(0),
            12 => self.answer(6),
            13 if choice.is_multiple_of(4) => self.lose(),
            13 => self.learn(),
            14 => self.producer.pass(choice as Micros % 20 * MILLISECOND),
            _ => self.serve_queue(),
        }
        self.engine();
        self.check();
    }

    fn send(&mut self, choice: usize) {
        let partition = (choice % self.partitions) as i32;
        let most = match choice / 7 % 8 {
            0..=4 => 200,
            5..=6 => 5_000,
            _ => self.value.len(),
        };
        let bytes = choice * 31 % most.min(self.value.len());
        let extra = self.extra(choice);
        match self.append(partition, bytes, extra, None) {
            Ok(()) | Err(Refused::TooLarge { .. }) => {}
            Err(Refused::Full) if self.queue.len() < 50 => {
                let wake = Arc::new(Counter::default());
                let size = record_bytes(bytes) + extra;
                let ticket = self
                    .producer
                    .shared
                    .with(|flow| flow.acc.wait_for_space(size, wake, 0));
                self.queue.push_back(Waiting {
                    ticket,
                    partition,
                    bytes,
                    extra,
                });
            }
            Err(refused) => assert_eq!(refused, Refused::Full),
        }
    }

    /// Some messages have a callback of their own, where not every message has a delivery.
    fn extra(&self, choice: usize) -> usize {
        if self.producer.shared.settings.keeps_outcomes || !choice.is_multiple_of(3) {
            0
        } else {
            DELIVERY_BYTES
        }
    }

    fn append(
        &self,
        partition: i32,
        bytes: usize,
        extra: usize,
        ticket: Option<u64>,
    ) -> Result<(), Refused> {
        let fields = (None, &self.value[..bytes]);
        let (completion, index) =
            self.producer
                .try_send_with("t", Some(partition), fields, ticket, extra)?;
        if self.producer.shared.settings.keeps_outcomes || extra > 0 {
            completion.attach(index, 1, extra > 0);
        }
        Ok(())
    }

    /// The waiting senders check, in any order: only the head may append.
    fn serve_queue(&mut self) {
        let turn = |waiting: &Waiting| {
            let (ticket, size) = (waiting.ticket, record_bytes(waiting.bytes) + waiting.extra);
            self.producer
                .shared
                .with(|flow| flow.acc.has_turn(ticket, size))
        };
        assert!(!self.queue.iter().skip(1).any(turn), "only the head's turn");
        while let Some(head) = self.queue.front()
            && self.producer.shared.with(|flow| {
                flow.acc
                    .has_turn(head.ticket, record_bytes(head.bytes) + head.extra)
            })
        {
            let head = self.queue.pop_front().expect("the head");
            self.append(head.partition, head.bytes, head.extra, Some(head.ticket))
                .expect("the message of the head fits");
        }
        if let Some(head) = self.queue.front() {
            let wake = Arc::new(Counter::default());
            let ticket = head.ticket;
            self.producer
                .shared
                .with(|flow| flow.acc.wait_again(ticket, wake, 0));
        }
    }

    fn io(&mut self) {
        self.producer.tick();
        while let Some(mut sent) = self.producer.next(self.conn) {
            for batch in &mut sent.batches {
                batch.values = Vec::new();
                batch.raw = Bytes::new();
            }
            self.in_flight.push_back(sent);
        }
    }

    fn answer(&mut self, code: i16) {
        let Some(sent) = self.in_flight.pop_front() else {
            return;
        };
        match code {
            0 => self.producer.ack(self.conn, &sent, 0),
            code => self.producer.refuse(self.conn, &sent, code),
        }
        let resolved = std::mem::take(&mut *self.producer.resolved.0.lock());
        for completion in resolved {
            completion.take_attached();
            let bytes = completion.take_charge();
            self.producer
                .shared
                .with(|flow| flow.acc.outcomes_read(bytes));
        }
    }

    fn lose(&mut self) {
        self.producer.lose(self.conn);
        self.in_flight.clear();
        self.conn += 1;
        self.producer.attach(self.conn);
    }

    fn learn(&mut self) {
        if !self.known {
            self.known = true;
            self.producer.topic("t", self.partitions);
        }
    }

    fn engine(&self) {
        for event in self.producer.events() {
            match event {
                Event::RouteWanted(_, partition) => self.producer.route("t", partition, self.conn),
                Event::Held {
                    partition, batches, ..
                } => {
                    let again = vec![Decision::Retry; batches.len()];
                    self.producer
                        .release_to(partition, again, Some(self.conn), None);
                }
                _ => {}
            }
        }
    }

    fn check(&self) {
        let budget = self.producer.shared.settings.buffer_bytes;
        let (used, idle) = self
            .producer
            .shared
            .with(|flow| (flow.acc.used_bytes(), flow.acc.idle_bytes()));
        assert!(used <= budget, "{used} counted of {budget}");
        if !self.producer.shared.settings.keeps_outcomes {
            assert!(used + idle <= budget, "{used} and {idle} idle of {budget}");
        }
        // The buffers of a compressor are not part of the budget.
        if self.codec == Codec::None {
            let held = usize::try_from(BUFFERS.get() - self.before).unwrap_or(0);
            assert!(held <= budget, "{held} allocated of {budget}");
        }
    }

    /// Continues without faults, and checks that no sender waits forever.
    fn settle(mut self) {
        self.learn();
        for _ in 0..2_000 {
            self.engine();
            self.io();
            while !self.in_flight.is_empty() {
                self.answer(0);
            }
            self.engine();
            self.serve_queue();
            self.check();
            self.producer.pass(5 * MILLISECOND);
            if self.queue.is_empty() && self.producer.used() == 0 {
                self.producer.assert_done();
                return;
            }
        }
        panic!(
            "{} senders wait, {} bytes are charged",
            self.queue.len(),
            self.producer.used()
        );
    }
}

/// Same as `record_size_upper_bound`, for a record with a value only.
fn record_bytes(value: usize) -> usize {
    value + 5 + 1 + 10 + 5 + 5 + 5 + 1
}

/// Batches that compress to a tenth, refused as too large when the budget is full of them: unpacked at once they would take
/// many times the budget.
#[test]
fn batches_that_are_split_take_little_more_memory() {
    const PARTITIONS: i32 = 40;
    let mut set = settings();
    set.buffer_bytes = 400_000;
    set.batch_bytes = 16 * 1024;
    set.linger = 5 * MILLISECOND;
    set.codec = Codec::Zstd;
    let budget = set.buffer_bytes;
    let producer = Producer::flowing(set, PARTITIONS as usize);
    let mut sent = Vec::new();
    let mut raw = 0;
    for number in 0..40_000 {
        let value = format!("{number:06}{}", "a text that compresses well; ".repeat(7));
        let partition = Some(number % PARTITIONS);
        if producer
            .try_send("t", partition, None, value.as_bytes(), None)
            .is_ok()
        {
            raw += value.len();
            continue;
        }
        producer.shared.with(|flow| flow.acc.flush());
        let more = producer.requests(1);
        if more.is_empty() {
            break;
        }
        sent.extend(more);
    }
    let before = producer.used();
    assert!(raw > 2 * budget, "{raw} bytes in {before}");
    for sent in &sent {
        producer.refuse(1, sent, 10);
    }
    let held = producer.held();
    let batches: usize = held.iter().map(|held| held.batches.len()).sum();
    assert!(batches > 10, "{batches}");
    let mut peak = 0;
    for held in held {
        let apart = vec![Decision::Split; held.batches.len()];
        producer.release(held.partition, apart);
        peak = peak.max(producer.used());
    }
    // Each further batch has its own header and memory, and repetitions across batches are compressed twice.
    assert!(peak > before, "{peak}");
    assert!(peak < before + 800 * batches, "{peak} instead of {before}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_500) })]

    #[test]
    fn memory_is_within_the_budget_at_every_step(
        script in proptest::collection::vec((any::<u8>(), any::<u16>()), 1..400),
        budget in prop_oneof![1_500..8_000usize, 8_000..60_000usize, 60_000..300_000usize],
        partitions in prop_oneof![1..4usize, 1..200usize],
        codec in prop::sample::select(vec![Codec::None, Codec::None, Codec::Lz4]),
        keeps in any::<bool>(),
        known in any::<bool>(),
    ) {
        let mut bench = Bench::new(budget, partitions, codec, keeps);
        if known {
            bench.learn();
        }
        for (kind, choice) in script {
            bench.step(kind, choice);
        }
        bench.settle();
    }
}
