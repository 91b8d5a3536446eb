//! One consumer's fetch flow behind its lock, shared by takers, the engine and the I/O thread.
//!
//! The lock is held for a claim or a decision, never for decoding or for waking user code. Takers decode in their own
//! thread. A wait: `take`; on `Nothing` `add_waiter`, and if that returns none, `take` again; sleep; `remove_waiter`, which returns
//! true if `wakeup` ended the wait; `take` again.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::fetch::flow::{Event, FetchFlow, PartitionState, Settings};
use crate::fetch::shelf::Job;
use crate::fetch::stats::Picture;
use crate::fetch::take::{ErrorHandle, Take};
use crate::fetch::waiters::WaiterId;
use crate::ids::{ConnId, Micros, TopicId};
use crate::seam::{BadResponse, Bell, Flow, LostCause, OutRequest, Wake, WakeIo};

pub struct FetchShared {
    flow: Mutex<FetchFlow>,
    decompressed_bytes: usize,
    check_crcs: bool,
    bell: Arc<dyn Bell>,
    waker: OnceLock<Arc<dyn WakeIo>>,
}

impl FetchShared {
    pub fn new(settings: Settings, bell: Arc<dyn Bell>) -> Self {
        Self {
            decompressed_bytes: settings.decompressed_bytes,
            check_crcs: settings.check_crcs,
            flow: Mutex::new(FetchFlow::new(settings)),
            bell,
            waker: OnceLock::new(),
        }
    }

    /// Sets the waker of the I/O thread; once, right after the flow was registered with it.
    pub fn set_waker(&self, waker: Arc<dyn WakeIo>) {
        let _ = self.waker.set(waker);
    }

    /// Works on the flow under the lock; then rings the engine and wakes the I/O thread and sleeping takers, if necessary.
    pub fn with<R>(&self, work: impl FnOnce(&mut FetchFlow) -> R) -> R {
        let (result, ring, wake, due, trash) = {
            let mut flow = self.flow.lock();
            let events = flow.events.len();
            let result = work(&mut flow);
            let ring = flow.events.len() > events;
            let wake = flow.take_wake();
            let due = flow.inbox.waiters.take_due();
            (
                result,
                ring,
                wake,
                due,
                std::mem::take(&mut flow.inbox.trash),
            )
        };
        drop(trash);
        if ring {
            self.bell.ring();
        }
        if wake && let Some(waker) = self.waker.get() {
            waker.wake_io();
        }
        for (wake, token) in due {
            wake.wake(token);
        }
        result
    }

    // ---- tables (engine thread) ------------------------------------------------------------------------------------

    pub fn attach(&self, conn: ConnId, version: i16, node: i32, address: &str) {
        self.with(|flow| flow.attach(conn, version, node, address));
    }

    pub fn assign(&self, topic: &str, id: TopicId, partition: i32) {
        self.with(|flow| flow.assign(topic, id, partition));
    }

    pub fn unassign(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.unassign(topic, partition));
    }

    /// Nothing of the partition is handed over once this has returned; its position stays readable.
    pub fn withhold(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.withhold(topic, partition));
    }

    pub fn position(&self, topic: &str, partition: i32, offset: i64, leader_epoch: i32) {
        self.with(|flow| flow.position(topic, partition, offset, leader_epoch));
    }

    pub fn route(&self, topic: &str, partition: i32, conn: ConnId, leader_epoch: i32) {
        self.with(|flow| flow.route(topic, partition, conn, leader_epoch));
    }

    pub fn hold(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.hold(topic, partition));
    }

    pub fn pause(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.pause(topic, partition));
    }

    pub fn resume(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.resume(topic, partition));
    }

    pub fn take_events(&self) -> Vec<Event> {
        self.flow.lock().take_events()
    }

    /// Queues an error that the next take of the partition ends with, once.
    pub fn fail(&self, topic: &str, partition: i32, error: ErrorHandle) {
        self.with(|flow| flow.inbox.fail(topic, partition, error));
    }

    /// The error of the partition that waits for a take is not raised.
    pub fn withdraw_error(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.inbox.withdraw_error(topic, partition));
    }

    /// Takers of only this partition end with `Ended`, until it is assigned again.
    pub fn end(&self, topic: &str, partition: i32) {
        self.with(|flow| flow.inbox.end(topic, partition));
    }

    /// Ends every take; nothing is fetched any more.
    pub fn close(&self) {
        self.with(|flow| flow.inbox.close());
    }

    // ---- takers ----------------------------------------------------------------------------------------------------

    /// Takes at most `limit` records, of one partition or of any in rotation, without waiting.
    pub fn take(&self, limit: usize, only: Option<(&str, i32)>) -> Take {
        let limit = limit.max(1);
        loop {
            let mut jobs = match self.with(|flow| flow.claim(limit, only)) {
                Ok(jobs) => jobs,
                Err(take) => return take,
            };
            for job in &mut jobs {
                job.decode(self.decompressed_bytes, self.check_crcs);
            }
            if let Some(take) = self.with(|flow| settle(flow, jobs, limit, only)) {
                return take;
            }
        }
    }

    /// Wakes once when a take would end with anything else than `Nothing`. None if it would now: take again.
    pub fn add_waiter(
        &self,
        only: Option<(&str, i32)>,
        wake: Arc<dyn Wake>,
        token: u64,
    ) -> Option<WaiterId> {
        self.with(|flow| {
            let inbox = &mut flow.inbox;
            (!inbox.has_something(only)).then(|| inbox.waiters.add(only, wake, token))
        })
    }

    /// Ends a wait, woken or not; true when `wakeup` ended it. To be called once for every added waiter.
    pub fn remove_waiter(&self, id: WaiterId) -> bool {
        self.with(|flow| flow.inbox.waiters.remove(id))
    }

    /// Interrupts the waiting takers; without any, the next take ends with `Woken`.
    pub fn wakeup(&self) {
        self.with(|flow| flow.inbox.wakeup());
    }

    /// Topic, partition, next offset to hand over, leader epoch of the record before it.
    pub fn positions(&self) -> Vec<(Arc<str>, i32, i64, i32)> {
        self.flow.lock().inbox.positions()
    }

    pub fn partition_state(&self, topic: &str, partition: i32) -> Option<PartitionState> {
        self.flow.lock().partition_state(topic, partition)
    }

    pub fn picture(&self, now: Micros) -> Picture {
        self.flow.lock().picture(now)
    }
}

/// Settles, and wakes the I/O thread if buffer space was freed.
fn settle(
    flow: &mut FetchFlow,
    jobs: Vec<Job>,
    limit: usize,
    only: Option<(&str, i32)>,
) -> Option<Take> {
    let parts: Vec<_> = jobs.iter().map(Job::id).collect();
    let before = flow.inbox.bytes;
    let take = flow.inbox.settle(jobs, limit, only);
    for part in parts {
        flow.wake_io_for(part);
        flow.report_deferred(part);
    }
    flow.fetch_faults_again();
    if flow.inbox.bytes < before {
        flow.wake_io_if_starved();
    }
    take
}

impl Flow for FetchShared {
    fn next_request(&self, conn: ConnId, correlation_id: i32, now: Micros) -> Option<OutRequest> {
        self.with(|flow| flow.request(conn, correlation_id, now))
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

    fn on_lost(&self, conn: ConnId, cause: &LostCause, _now: Micros) {
        self.with(|flow| flow.on_lost(conn, cause));
    }

    fn on_tick(&self, now: Micros) -> Option<Micros> {
        self.with(|flow| flow.on_tick(now))
    }
}
