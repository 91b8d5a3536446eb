//! Threads that compress batches with slow codecs. They touch no socket and know no Python.
//!
//! Station: batch. The I/O thread offers a flow that has batches to be sealed; a sealer takes one after another, of all flows
//! in turn, and returns each to its flow, which wakes the I/O thread. A sealer is started when there is work for it and
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

/// Maximum number of threads: more would take cores from the application.
const MOST_THREADS: usize = 4;
/// Time without work after which a thread ends: long enough for a producer that sends occasionally, short enough to release the
/// memory of an idle process.
const IDLE: Duration = Duration::from_secs(2);

pub(crate) struct Sealers {
    workers: Arc<Workers>,
    most: usize,
}

#[derive(Default)]
struct Workers {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    /// Flows with batches to seal, in turn.
    flows: VecDeque<Arc<dyn Flow>>,
    threads: usize,
    idle: usize,
    ending: bool,
}

impl Sealers {
    /// Uses one thread less than there are cores, within 1 and `MOST_THREADS`.
    pub fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(cores.saturating_sub(1).clamp(1, MOST_THREADS))
    }

    fn with_threads(most: usize) -> Self {
        Self {
            workers: Arc::default(),
            most,
        }
    }

    /// Offers the flow's batches to the threads. False where there is no thread and none can be started.
    pub fn offer(&self, flow: &Arc<dyn Flow>) -> bool {
        let waiting = flow.seals_waiting(Cost::High);
        let mut state = self.workers.state.lock();
        if !state.flows.iter().any(|known| Arc::ptr_eq(known, flow)) {
            state.flows.push_back(flow.clone());
        }
        let called = waiting.min(state.idle);
        for _ in 0..called {
            self.workers.work.notify_one();
        }
        if called < waiting && state.threads < self.most && self.start(&mut state).is_err() {
            // The existing threads seal them; without any the caller does.
            if state.threads == 0 {
                state.flows.clear();
                return false;
            }
        }
        true
    }

    /// Starts one thread; the next is started when this one is not enough.
    fn start(&self, state: &mut State) -> std::io::Result<()> {
        let workers = self.workers.clone();
        let name = format!("ottla-seal-{}", state.threads);
        thread::Builder::new()
            .name(name)
            .spawn(move || workers.run())?;
        state.threads += 1;
        Ok(())
    }

    /// Removes a flow: no more of its batches are begun.
    pub fn forget(&self, flow: &Arc<dyn Flow>) {
        let mut state = self.workers.state.lock();
        state.flows.retain(|known| !Arc::ptr_eq(known, flow));
    }
}

impl Drop for Sealers {
    /// Ends the threads. One that is compressing finishes its batch first; the caller does not wait for it.
    fn drop(&mut self) {
        let mut state = self.workers.state.lock();
        state.ending = true;
        state.flows.clear();
        self.workers.work.notify_all();
    }
}

impl Workers {
    fn run(&self) {
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

    /// Waits for work; None: this thread is no longer needed.
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

    /// Queues the flow again for other threads, as it has more batches than the one that this thread took.
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

    struct SilentBell;

    impl Bell for SilentBell {
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
        let shared = Arc::new(ProduceShared::new(settings, 7, Arc::new(SilentBell)));
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
            assert!(begun.elapsed() < Duration::from_secs(20), "waited too long");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn offered_batches_are_sealed_and_the_threads_end() {
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
        assert!(sealers.workers.state.lock().threads <= 2);
        let workers = sealers.workers.clone();
        drop(sealers);
        until(|| workers.state.lock().threads == 0);
    }

    #[test]
    fn no_batch_of_a_forgotten_flow_is_begun() {
        let sealers = Sealers::with_threads(0);
        let shared = producer(1);
        let flow: Arc<dyn Flow> = shared.clone();
        send(&shared, 1);
        assert!(sealers.offer(&flow));
        sealers.forget(&flow);
        assert!(sealers.workers.state.lock().flows.is_empty());
        assert_eq!(shared.seals_waiting(Cost::High), 1);
    }
}
