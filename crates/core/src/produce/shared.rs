//! One producer's produce flow behind its lock, shared by callers, the engine and the I/O thread.
//!
//! The lock is held for an append or a decision, never for compression or code of the user. Two steps under it take longer: a batch
//! that has to be split is decoded and rebuilt (`produce/drain/rebuild.rs`), which is rare; and callers that wait for a completion,
//! for free buffer space or for a topic's metadata are woken, which is a write to an eventfd. Resolved completions are collected in
//! order under the lock. The engine, the I/O thread and the listener, which may call back in, are notified after it is released.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::bytes::compression::codec::Cost;
use crate::bytes::compression::compressor::Compressor;
use crate::bytes::pool::Pool;
use crate::failure::{ErrorData, ErrorKind, Failure};
use crate::ids::{ConnId, Identity, Micros};
use crate::produce::append::seal_queue::SealsWaiting;
use crate::produce::completion::Completion;
use crate::produce::drain::flow::ProduceFlow;
use crate::produce::event::{BadRelease, Decision, Event};
use crate::produce::message::{Appended, Message, Refused};
use crate::produce::settings::Settings;
use crate::record::encode::record_size_upper_bound;
use crate::record::sealing::{SealJob, Sealed};
use crate::seam::{BadResponse, Bell, Flow, LostCause, OutRequest, WakeIo};

/// Receives completions right after they were resolved, on the thread that resolved them.
pub trait Listener: Send + Sync {
    /// Called under the producer's lock, so that it receives them in the order in which they were resolved, by whichever thread.
    fn resolved(&self, completions: Vec<Arc<Completion>>);

    /// Called after `resolved`, once the lock is released: waiting callers may be woken.
    fn wake(&self);
}

pub struct ProduceShared {
    flow: Mutex<ProduceFlow>,
    pub settings: Settings,
    pool: Arc<Pool>,
    /// Counters of the flow, readable without the lock.
    seals_waiting: Arc<SealsWaiting>,
    /// Used by the I/O thread.
    pub(super) compressor: Mutex<Compressor>,
    bell: Arc<dyn Bell>,
    waker: std::sync::OnceLock<Arc<dyn WakeIo>>,
    listener: std::sync::OnceLock<Arc<dyn Listener>>,
}

impl ProduceShared {
    pub fn new(settings: Settings, seed: u64, bell: Arc<dyn Bell>) -> Self {
        let flow = ProduceFlow::new(settings.clone(), seed);
        Self {
            pool: flow.acc.memory.pool.clone(),
            seals_waiting: flow.acc.seals.waiting(),
            compressor: Mutex::default(),
            flow: Mutex::new(flow),
            settings,
            bell,
            waker: std::sync::OnceLock::new(),
            listener: std::sync::OnceLock::new(),
        }
    }

    /// Sets the waker of the I/O thread; called once, right after the flow was registered with it.
    pub fn set_waker(&self, waker: Arc<dyn WakeIo>) {
        let _ = self.waker.set(waker);
    }

    pub fn set_listener(&self, listener: Arc<dyn Listener>) {
        let _ = self.listener.set(listener);
    }

    fn wake_io(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_io();
        }
    }

    /// Works on the flow under the lock; then notifies the engine, the I/O thread and readers of outcomes where needed.
    pub fn with<R>(&self, work: impl FnOnce(&mut ProduceFlow) -> R) -> R {
        let (result, ring, wake, listener) = {
            let mut flow = self.flow.lock();
            let events = flow.acc.reports.events.len();
            let result = work(&mut flow);
            let listener = self.pass_resolved(&mut flow);
            let ring = flow.acc.reports.events.len() > events;
            (result, ring, flow.acc.attention.take_wake(), listener)
        };
        if ring {
            self.bell.ring();
        }
        if wake {
            self.wake_io();
        }
        if let Some(listener) = listener {
            listener.wake();
        }
        result
    }

    /// Passes resolved completions to the listener. Returns the listener if there were any.
    fn pass_resolved(&self, flow: &mut ProduceFlow) -> Option<&Arc<dyn Listener>> {
        if flow.acc.reports.resolved.is_empty() {
            return None;
        }
        let resolved = std::mem::take(&mut flow.acc.reports.resolved);
        let listener = self.listener.get()?;
        listener.resolved(resolved);
        Some(listener)
    }

    /// The hot path of `send`. `accepted` runs under the lock: once that is released, the batch may resolve at any moment.
    #[inline(always)]
    pub fn append(
        &self,
        topic: usize,
        message: &Message<'_>,
        ticket: Option<u64>,
        now: impl Fn() -> Micros,
        accepted: impl FnOnce(&Arc<Completion>, u32),
    ) -> Result<(), Refused> {
        let appended = {
            let mut flow = self.flow.lock();
            flow.acc.append(topic, message, ticket, now, accepted)
        };
        match appended {
            Ok(appended) => {
                self.notify_of_append(appended);
                Ok(())
            }
            Err(refused) => Err(self.refused(refused, message)),
        }
    }

    #[cold]
    fn refused(&self, refused: Refused, message: &Message<'_>) -> Refused {
        if refused == Refused::Full {
            let size = record_size_upper_bound(message.key, message.value, message.headers);
            self.with(|flow| flow.acc.note_full(size + message.extra));
        }
        refused
    }

    /// The hot path of `send_many`: the lock is taken once for many messages. The first refused message ends the run.
    pub fn append_run<'a>(
        &self,
        topic: usize,
        messages: impl Iterator<Item = Message<'a>>,
        now: impl Fn() -> Micros,
        mut accepted: impl FnMut(&Arc<Completion>, u32),
    ) {
        let mut appended = Appended::default();
        {
            let mut flow = self.flow.lock();
            for message in messages {
                match flow.acc.append(topic, &message, None, &now, &mut accepted) {
                    Ok(Appended { wake, ring }) => {
                        appended.wake |= wake;
                        appended.ring |= ring;
                    }
                    Err(_) => break,
                }
            }
        }
        self.notify_of_append(appended);
    }

    #[inline(always)]
    fn notify_of_append(&self, Appended { wake, ring }: Appended) {
        if wake {
            self.wake_io();
        }
        if ring {
            self.bell.ring();
        }
    }

    pub fn release(
        &self,
        topic: &str,
        partition: i32,
        decisions: Vec<Decision>,
        behind: Option<&Failure>,
        identity: Option<Identity>,
    ) -> Result<(), BadRelease> {
        self.with(|flow| flow.release(topic, partition, decisions, behind, identity))?;
        self.wake_io();
        Ok(())
    }

    /// Changes the tables of the flow; then wakes the I/O thread, as more batches may be sent now.
    pub fn change(&self, work: impl FnOnce(&mut ProduceFlow)) {
        self.with(work);
        self.wake_io();
    }

    /// Ends the linger of the batch of this completion, because a caller waits for it.
    pub fn end_linger(&self, completion: &Arc<Completion>) {
        if completion.is_pending() {
            self.with(|flow| flow.acc.end_linger(completion));
        }
    }

    pub fn fail_topic(&self, topic: &str, failed: Failure) -> usize {
        self.with(|flow| flow.acc.fail_topic(topic, failed))
    }

    pub fn take_events(&self) -> Vec<Event> {
        self.flow.lock().take_events()
    }
}

impl Flow for ProduceShared {
    fn next_request(&self, conn: ConnId, correlation_id: i32, now: Micros) -> Option<OutRequest> {
        let mut plan = self.with(|flow| flow.plan(conn, now))?;
        plan.seal(&mut self.compressor.lock(), &self.pool);
        Some(self.with(|flow| flow.finish(plan, correlation_id, now)))
    }

    fn on_response(
        &self,
        conn: ConnId,
        token: u64,
        frame: Bytes,
        now: Micros,
    ) -> Result<(), BadResponse> {
        self.with(|flow| flow.on_response(conn, token, &frame, now))
    }

    fn on_taken(&self, conn: ConnId, token: u64, now: Micros) {
        self.with(|flow| flow.on_taken(conn, token, now));
    }

    fn on_lost(&self, conn: ConnId, cause: &LostCause, now: Micros) {
        self.with(|flow| flow.on_lost(conn, cause, now));
    }

    fn on_tick(&self, now: Micros) -> Option<Micros> {
        self.with(|flow| flow.on_tick(now))
    }

    fn seals_waiting(&self, cost: Cost) -> usize {
        self.seals_waiting.get(cost)
    }

    fn next_seal(&self, cost: Cost) -> Option<SealJob> {
        self.flow.lock().next_seal(cost)
    }

    fn on_sealed(&self, done: Sealed) {
        self.with(|flow| flow.on_sealed(done));
    }
}

impl Drop for ProduceShared {
    /// Gives every message that has none its outcome, so that none is lost: not_written, or unknown if it was sent.
    fn drop(&mut self) {
        let error = ErrorData {
            kind: ErrorKind::Closed,
            code: 0,
            message: String::new(),
        };
        self.with(|flow| flow.abort_all(error, None));
    }
}
