//! Outcome of a batch: one completion for all its messages, read by any number of deliveries without a lock.
//!
//! Station: delivery. It is resolved once, by the I/O thread or by the engine, and never changes afterwards. Messages that
//! leave their batch (their topic became known, the batch was split, only some records failed) are forwarded: their place
//! is then another completion and index.
//!
//! Race: a delivery for readers of outcomes is attached under the producer's lock (`Completion::attach`), before the append is
//! reported, because the batch may resolve the moment that the lock is released.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::failure::Failure;
use crate::seam::Wake;

const PENDING: u8 = 0;
const WRITTEN: u8 = 1;
const FAILED: u8 = 2;
const FORWARDED: u8 = 3;

/// Place of a message: completion and index.
pub type Place = (Arc<Completion>, u32);

/// Current state of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Pending,
    /// base offset of the batch (-1: not known), append time (-1: the message has its own timestamp).
    Written {
        base_offset: i64,
        log_append_time: i64,
    },
    Failed(Failure),
}

impl State {
    /// Offset of the message with this index: None until written, -1 where the broker does not return it.
    pub fn offset(&self, index: u32) -> Option<i64> {
        match self {
            Self::Written { base_offset, .. } if *base_offset >= 0 => {
                Some(base_offset + i64::from(index))
            }
            Self::Written { .. } => Some(-1),
            _ => None,
        }
    }

    /// Timestamp of the record: the broker's where it stamped the batch, else the message's own.
    pub fn timestamp(&self, own: i64) -> i64 {
        match self {
            Self::Written {
                log_append_time, ..
            } if *log_append_time >= 0 => *log_append_time,
            _ => own,
        }
    }
}

/// Waiters by the address of their wake and by token: woken in the order of their tokens; a waiter that waits several times is
/// stored once.
type Waiters = BTreeMap<usize, (Arc<dyn Wake>, BTreeSet<u64>)>;

/// A handle that the owner of a message stores until the outcome was reported; opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    pub handle: usize,
    /// The message has a callback of its own.
    pub callback: bool,
    /// Index of the message in its completion.
    index: u32,
}

pub struct Completion {
    pub topic: Arc<str>,
    partition: AtomicI32,
    state: AtomicU8,
    base_offset: AtomicI64,
    log_append_time: AtomicI64,
    failure: OnceLock<Failure>,
    forward: OnceLock<Vec<Place>>,
    waiters: Mutex<Waiters>,
    /// A caller waits until it resolves, and this was reported to the producer.
    waited_for: AtomicBool,
    /// Handles in the order of their messages; not every message has one.
    attached: Mutex<Vec<Attached>>,
    /// Producer object, opaque here, which a delivery refers to.
    owner: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Bytes charged to the producer until the outcomes of the attached handles were read.
    charge: AtomicUsize,
}

impl std::fmt::Debug for Completion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.load(Ordering::Relaxed);
        write!(
            f,
            "Completion({}-{:?} state={state})",
            self.topic, self.partition
        )
    }
}

impl Completion {
    pub fn new(topic: Arc<str>, partition: i32) -> Arc<Self> {
        Arc::new(Self {
            topic,
            partition: AtomicI32::new(partition),
            state: AtomicU8::new(PENDING),
            base_offset: AtomicI64::new(-1),
            log_append_time: AtomicI64::new(-1),
            failure: OnceLock::new(),
            forward: OnceLock::new(),
            waiters: Mutex::default(),
            waited_for: AtomicBool::new(false),
            attached: Mutex::new(Vec::new()),
            owner: OnceLock::new(),
            charge: AtomicUsize::new(0),
        })
    }

    pub fn set_owner(&self, owner: Arc<dyn Any + Send + Sync>) {
        let _ = self.owner.set(owner);
    }

    pub fn owner(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.owner.get()
    }

    /// Number of the partition; -1 until it is chosen.
    pub fn partition(&self) -> i32 {
        self.partition.load(Ordering::Relaxed)
    }

    pub fn is_pending(&self) -> bool {
        self.state.load(Ordering::Acquire) == PENDING
    }

    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            WRITTEN => State::Written {
                base_offset: self.base_offset.load(Ordering::Relaxed),
                log_append_time: self.log_append_time.load(Ordering::Relaxed),
            },
            FAILED => self
                .failure
                .get()
                .cloned()
                .map_or(State::Pending, State::Failed),
            _ => State::Pending,
        }
    }

    /// Final place of a message of this completion, after all forwarding.
    pub fn place(self: &Arc<Self>, index: u32) -> Place {
        let mut place = (self.clone(), index);
        while let Some(next) = place.0.forwarded(place.1) {
            place = next;
        }
        place
    }

    fn forwarded(&self, index: u32) -> Option<Place> {
        if self.state.load(Ordering::Acquire) != FORWARDED {
            return None;
        }
        self.forward.get()?.get(index as usize).cloned()
    }

    /// Whether every message of the batch has its outcome.
    pub fn is_settled(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            PENDING => false,
            FORWARDED => self.targets().iter().all(|target| target.is_settled()),
            _ => true,
        }
    }

    /// Completions that its messages were forwarded to, each once.
    pub fn targets(&self) -> Vec<Arc<Completion>> {
        let mut targets: Vec<Arc<Completion>> = Vec::new();
        for (target, _) in self.forward.get().into_iter().flatten() {
            if !targets.iter().any(|known| Arc::ptr_eq(known, target)) {
                targets.push(target.clone());
            }
        }
        targets
    }

    /// Adds a wake for when it resolves or is forwarded; false where it is no longer pending.
    pub fn add_waiter(&self, wake: Arc<dyn Wake>, token: u64) -> bool {
        let mut waiters = self.waiters.lock();
        if !self.is_pending() {
            return false;
        }
        let its = waiters.entry(address(&wake));
        its.or_insert_with(|| (wake, BTreeSet::new()))
            .1
            .insert(token);
        true
    }

    /// Removes the wake of a caller whose wait has timed out, so that short waits for a slow batch leave nothing behind.
    pub fn remove_waiter(&self, wake: &Arc<dyn Wake>, token: u64) {
        let mut waiters = self.waiters.lock();
        if let Some((_, tokens)) = waiters.get_mut(&address(wake)) {
            tokens.remove(&token);
            if tokens.is_empty() {
                waiters.remove(&address(wake));
            }
        }
    }

    /// Whether `set_waited_for` was called. It only avoids a second report to the producer.
    pub fn is_waited_for(&self) -> bool {
        self.waited_for.load(Ordering::Relaxed)
    }

    pub fn set_waited_for(&self) {
        self.waited_for.store(true, Ordering::Relaxed);
    }

    /// Stores a handle for the message with this index. Handles are attached in the order of their messages.
    pub fn attach(&self, index: u32, handle: usize, callback: bool) {
        self.attached.lock().push(Attached {
            handle,
            callback,
            index,
        });
    }

    /// Number of messages with a handle.
    pub fn attached_count(&self) -> usize {
        self.attached.lock().len()
    }

    /// Whether a message of the batch has a callback of its own.
    pub fn has_callbacks(&self) -> bool {
        self.attached.lock().iter().any(|each| each.callback)
    }

    /// Keeps a resolved batch's bytes charged until its outcomes are read; false where no handle is attached, or all have been read.
    pub fn charge_until_read(&self, bytes: usize) -> bool {
        let attached = self.attached.lock();
        if attached.is_empty() {
            return false;
        }
        self.charge.store(bytes, Ordering::Relaxed);
        true
    }

    /// Takes the bytes that the reader of the outcomes has to release. Later calls return 0. Call it after `take_attached`: nothing is
    /// charged any more then.
    pub fn take_charge(&self) -> usize {
        self.charge.swap(0, Ordering::Relaxed)
    }

    /// Copies of the attached handles.
    pub fn attached(&self) -> Vec<Attached> {
        self.attached.lock().clone()
    }

    pub fn take_attached(&self) -> Vec<Attached> {
        std::mem::take(&mut *self.attached.lock())
    }

    pub fn resolve_written(&self, base_offset: i64, log_append_time: i64) -> bool {
        if !self.is_pending() {
            return false;
        }
        self.base_offset.store(base_offset, Ordering::Relaxed);
        self.log_append_time
            .store(log_append_time, Ordering::Relaxed);
        self.settle(WRITTEN)
    }

    pub fn resolve_failed(&self, failure: Failure) -> bool {
        if !self.is_pending() {
            return false;
        }
        // Completions are resolved only under the producer's lock, so there is one resolver at a time.
        let _ = self.failure.set(failure);
        self.settle(FAILED)
    }

    /// Forwards each message to another place, with its handle.
    pub fn forward_to(&self, places: Vec<Place>) -> bool {
        if !self.is_pending() {
            return false;
        }
        for each in self.take_attached() {
            if let Some((target, index)) = places.get(each.index as usize) {
                target.attach(*index, each.handle, each.callback);
            }
        }
        let _ = self.forward.set(places);
        self.settle(FORWARDED)
    }

    fn settle(&self, state: u8) -> bool {
        let waiters = {
            let mut waiters = self.waiters.lock();
            let won =
                self.state
                    .compare_exchange(PENDING, state, Ordering::AcqRel, Ordering::Acquire);
            if won.is_err() {
                return false;
            }
            std::mem::take(&mut *waiters)
        };
        for (wake, tokens) in waiters.into_values() {
            wake.wake_all(&mut tokens.into_iter());
        }
        true
    }
}

/// Address that identifies a wake; it is not reused while the wake is stored.
fn address(wake: &Arc<dyn Wake>) -> usize {
    Arc::as_ptr(wake).cast::<()>() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Woken(Mutex<Vec<u64>>);

    impl Wake for Woken {
        fn wake(&self, token: u64) {
            self.0.lock().push(token);
        }
    }

    #[test]
    fn short_waits_leave_nothing_behind() {
        let completion = Completion::new("t".into(), 0);
        let woken = Arc::new(Woken::default());
        let wake: Arc<dyn Wake> = woken.clone();
        for _ in 0..100 {
            assert!(completion.add_waiter(wake.clone(), 0));
        }
        assert_eq!(Arc::strong_count(&woken), 3);
        completion.remove_waiter(&wake, 0);
        assert_eq!(Arc::strong_count(&woken), 2);
        for token in [3, 2, 1] {
            completion.add_waiter(wake.clone(), token);
        }
        completion.remove_waiter(&wake, 2);
        completion.resolve_written(0, -1);
        assert_eq!(*woken.0.lock(), [1, 3]);
        assert!(!completion.add_waiter(wake, 0));
    }
}
