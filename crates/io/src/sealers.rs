//! Threads that compress batches where that takes long. They touch no socket and know no Python.
//!
//! Station: batch. The I/O thread says which flow has batches to be sealed; a sealer takes one after another, of all flows
//! in turn, and brings each back to its flow, which wakes the I/O thread. A sealer is started when there is work for it and
//! ends when there has been none for a while, or with the I/O thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ottla_core::bytes::compression::codec::Cost;
use ottla_core::bytes::compression::compressor::Compressor;
use ottla_core::seam::Flow;
use parking_lot::{Condvar, Mutex};

/// More would take cores from the application; the fewer there are, the more one is left to it.
const MOST_THREADS: usize = 4;
/// Long enough for a producer that sends now and then, short enough to give an idle process its memory back.
const IDLE: Duration = Duration::from_secs(2);

pub(crate) struct Sealers {
    crew: Arc<Crew>,
    most: usize,
}

#[derive(Default)]
struct Crew {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// Those with something to seal, in turn.
    flows: VecDeque<Arc<dyn Flow>>,
    threads: usize,
    idle: usize,
    ending: bool,
}

impl Sealers {
    /// One core is left to the others, where there is more than one.
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(cores.saturating_sub(1).clamp(1, MOST_THREADS))
    }

    fn with_threads(most: usize) -> Self {
        Self {
            crew: Arc::default(),
            most,
        }
    }

    /// Has the flow's batches sealed. False where there is no thread for it and none can be started.
    pub fn offer(&self, flow: &Arc<dyn Flow>) -> bool {
        let waiting = flow.seals_waiting(Cost::High);
        let mut state = self.crew.state.lock();
        if !state.flows.iter().any(|known| Arc::ptr_eq(known, flow)) {
            state.flows.push_back(flow.clone());
        }
        let called = waiting.min(state.idle);
        for _ in 0..called {
            self.crew.work.notify_one();
        }
        if called < waiting && state.threads < self.most && self.start(&mut state).is_err() {
            // Those that are there do it; without any it is the caller's to do.
            if state.threads == 0 {
                state.flows.clear();
                return false;
            }
        }
        true
    }

    /// One more; the next is started when this one turns out not to be enough.
    fn start(&self, state: &mut State) -> std::io::Result<()> {
        let crew = self.crew.clone();
        let name = format!("ottla-seal-{}", state.threads);
        thread::Builder::new()
            .name(name)
            .spawn(move || crew.live())?;
        state.threads += 1;
        Ok(())
    }

    /// Nothing more of this flow is begun.
    pub fn forget(&self, flow: &Arc<dyn Flow>) {
        let mut state = self.crew.state.lock();
        state.flows.retain(|known| !Arc::ptr_eq(known, flow));
    }
}

impl Drop for Sealers {
    /// A thread that is compressing finishes its batch and ends; nobody waits for it.
    fn drop(&mut self) {
        let mut state = self.crew.state.lock();
        state.ending = true;
        state.flows.clear();
        self.crew.work.notify_all();
    }
}

impl Crew {
    fn live(&self) {
        let mut compressor = Compressor::default();
        while let Some(flow) = self.next_flow() {
            let Some(job) = flow.next_seal(Cost::High) else {
                continue;
            };
            if flow.seals_waiting(Cost::High) > 0 {
                self.share(flow.clone());
            }
            let failed = job.failed();
            let done = catch_unwind(AssertUnwindSafe(|| job.run(&mut compressor)));
            if done.is_err() {
                compressor = Compressor::default();
            }
            flow.on_sealed(done.unwrap_or(failed));
        }
    }

    /// Waits for work; None: this thread is not needed any more.
    fn next_flow(&self) -> Option<Arc<dyn Flow>> {
        let mut state = self.state.lock();
        loop {
            if let Some(flow) = state.flows.pop_front() {
                return Some(flow);
            }
            if state.ending {
                break;
            }
            state.idle += 1;
            let late = self.work.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            if late && state.flows.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        None
    }

    /// There is more than this thread is taking.
    fn share(&self, flow: Arc<dyn Flow>) {
        let mut state = self.state.lock();
        let known = state.flows.iter().any(|known| Arc::ptr_eq(known, &flow));
        if !known && !state.ending {
            state.flows.push_back(flow);
        }
        if state.idle > 0 {
            self.work.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ottla_core::bytes::compression::codec::Codec;
    use ottla_core::partitioning::partitioner::Partitioner;
    use ottla_core::produce::message::Message;
    use ottla_core::produce::settings::Settings;
    use ottla_core::produce::shared::ProduceShared;
    use ottla_core::seam::Bell;

    use super::*;

    struct Unheard;

    impl Bell for Unheard {
        fn ring(&self) {}
    }

    const SECOND: u64 = 1_000_000;

    fn producer(partitions: usize) -> Arc<ProduceShared> {
        let settings = Settings {
            client_id: "sealers".into(),
            acks: -1,
            idempotent: false,
            gapless: false,
            transactional_id: None,
            codec: Codec::Zstd,
            level: None,
            linger: 0,
            batch_bytes: 100_000,
            request_bytes: 1_000_000,
            message_bytes: 1_000_000,
            buffer_bytes: 32_000_000,
            in_flight: 100,
            request_timeout: 30 * SECOND,
            delivery_timeout: 120 * SECOND,
            partitioner: Partitioner::Default,
            adaptive: true,
            availability_timeout: 0,
            keeps_outcomes: false,
            topics: std::collections::HashMap::new(),
        };
        let shared = Arc::new(ProduceShared::new(settings, 7, Arc::new(Unheard)));
        let available: Vec<i32> = (0..partitions as i32).collect();
        shared.change(|flow| {
            flow.attach(1, 9, 1, "broker:9092");
            flow.acc
                .set_topic("t", [1; 16], partitions, &available, &[]);
            for number in available {
                flow.route("t", number, 1);
            }
        });
        shared
    }

    /// A batch of 50 kB for each partition.
    fn send(shared: &ProduceShared, partitions: usize) {
        let topic = shared.with(|flow| flow.acc.topic("t"));
        for number in 0..partitions * 50 {
            let message = Message {
                partition: Some((number % partitions) as i32),
                timestamp_ms: 0,
                key: None,
                value: Some(&[7; 1000]),
                headers: &[],
                extra: 0,
            };
            let accepted = shared.append(topic, &message, None, || 1, |_, _| ());
            assert!(accepted.is_ok());
        }
        shared.with(|flow| flow.acc.flush());
    }

    fn until(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never comes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_is_offered_is_sealed_and_the_threads_end() {
        let sealers = Sealers::with_threads(2);
        let flows = [producer(8), producer(3)];
        for (shared, partitions) in flows.iter().zip([8, 3]) {
            send(shared, partitions);
            assert_eq!(shared.seals_waiting(Cost::High), partitions);
            assert!(shared.next_request(1, 1, 2).is_none());
            let flow: Arc<dyn Flow> = shared.clone();
            assert!(sealers.offer(&flow));
        }
        for (shared, partitions) in flows.iter().zip([8, 3]) {
            let sent = std::cell::Cell::new(0);
            until(|| {
                while let Some(request) = shared.next_request(1, 1, 2) {
                    sent.set(sent.get() + request.segments.len() / 2);
                }
                sent.get() == partitions
            });
        }
        assert!(sealers.crew.state.lock().threads <= 2);
        let crew = sealers.crew.clone();
        drop(sealers);
        until(|| crew.state.lock().threads == 0);
    }

    #[test]
    fn nothing_of_a_forgotten_flow_is_begun() {
        let sealers = Sealers::with_threads(0);
        let shared = producer(1);
        let flow: Arc<dyn Flow> = shared.clone();
        send(&shared, 1);
        assert!(sealers.offer(&flow));
        sealers.forget(&flow);
        assert!(sealers.crew.state.lock().flows.is_empty());
        assert_eq!(shared.seals_waiting(Cost::High), 1);
    }
}
