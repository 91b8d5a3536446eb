//! Resolved batches until the application has received them: `readers` (`successes()`, `errors()`), `reports` (callbacks of the producer
//! and of messages that were sent with one), `callbacks` (added to single deliveries), `garbage` (nobody receives them).
//!
//! The I/O thread only moves completions here and wakes; Python objects are touched by the receivers, with the GIL.
//! Station: delivery.
//!
//! Race: outcomes are queued under the producer's lock. The I/O thread and the engine both resolve batches, and queued after the
//! lock they could overtake each other. Waiting threads are woken after it. A batch that both a reader and a callback receive
//! leaves the budget with the later of the two.

mod callbacks;
mod garbage;
mod readers;
pub mod reports;
mod settled;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use ottla_core::produce::completion::{Completion, State};
use ottla_core::produce::shared::{Listener, ProduceShared};
use ottla_core::seam::Bell;
use ottla_io::clock;
use pyo3::prelude::*;

use crate::fork;
use crate::outcomes::callbacks::Callbacks;
use crate::outcomes::garbage::Garbage;
use crate::outcomes::readers::{Queue, Readers};
use crate::outcomes::reports::{Report, Reports};
use crate::outcomes::settled::Settled;
use crate::seam::budget;
use crate::send::never_awaited::NeverAwaited;
use crate::send::unawaited::UnawaitedSends;

/// The outcomes that are stored, by their receiver.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// For readers.
    pub written: bool,
    pub failed: bool,
    /// For callbacks of the whole producer.
    pub reported: bool,
}

impl Wanted {
    pub fn any(self) -> bool {
        self.written || self.failed || self.reported
    }
}

pub struct Outcomes {
    pub readers: Readers,
    reports: Reports,
    pub callbacks: Arc<Callbacks>,
    garbage: Garbage,
    wanted: Wanted,
    /// A message was sent with a callback of its own.
    message_callbacks: AtomicBool,
    bell: Arc<dyn Bell>,
    pub never_awaited: NeverAwaited,
    pub unawaited: Arc<UnawaitedSends>,
    /// The producer, for people.
    pub who: String,
    /// Its fork generation.
    generation: u32,
    /// The producer, where its messages linger: it learns which of them are waited for.
    lingers: OnceLock<Weak<ProduceShared>>,
}

/// Raises `ForkedClient` where no thread of this process will resolve the completion: its producer is the parent's.
pub fn check_fork(py: Python<'_>, completion: &Completion) -> PyResult<()> {
    let owner = completion.owner();
    match owner.and_then(|owner| owner.downcast_ref::<Outcomes>()) {
        Some(outcomes) => fork::check(py, outcomes.generation, &outcomes.who),
        None => Ok(()),
    }
}

impl Outcomes {
    pub fn new(wanted: Wanted, bell: Arc<dyn Bell>, who: String) -> Arc<Self> {
        Arc::new(Self {
            readers: Readers::default(),
            reports: Reports::default(),
            callbacks: Callbacks::new(bell.clone()),
            garbage: Garbage::default(),
            wanted,
            message_callbacks: AtomicBool::new(false),
            never_awaited: NeverAwaited::new(bell.clone()),
            unawaited: UnawaitedSends::new(bell.clone()),
            bell,
            who,
            generation: fork::generation(),
            lingers: OnceLock::new(),
        })
    }

    /// Its producer, once. The reference is weak, since the producer owns these.
    pub fn set_producer(&self, producer: &Arc<ProduceShared>) {
        if producer.settings.lingers() {
            let _ = self.lingers.set(Arc::downgrade(producer));
        }
    }

    pub fn producer_that_lingers(&self) -> Option<Arc<ProduceShared>> {
        self.lingers.get()?.upgrade()
    }

    /// Whether each message's delivery is stored until its outcome.
    pub fn stores_deliveries(&self) -> bool {
        self.wanted.any()
    }

    /// A message with a callback of its own is about to be sent.
    pub fn expect_message_callbacks(&self) {
        self.message_callbacks.store(true, Ordering::Relaxed);
    }

    /// Whether outcomes may have to be reported on the dispatcher thread.
    pub fn reports_outcomes(&self) -> bool {
        self.wanted.reported || self.message_callbacks.load(Ordering::Relaxed)
    }

    /// Whether `next_report` has a batch.
    pub fn has_report(&self) -> bool {
        self.reports.is_due()
    }

    /// The next report of `Reports::next`.
    pub fn next_report(&self, py: Python<'_>) -> (Option<Report>, usize) {
        self.reports.next(py, self.wanted.reported)
    }

    /// The producer's budget and its largest holders. No reader can take outcomes that wait for callbacks.
    pub fn budget<'py>(
        &self,
        py: Python<'py>,
        producer: &ProduceShared,
        holders: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let budget = producer.with(|flow| flow.budget(clock::now()));
        budget::budget(py, &budget, holders, self.reports.is_active())
    }

    /// Drops the deliveries that nobody receives. Returns the bytes that leave the budget.
    pub fn drop_garbage(&self, py: Python<'_>) -> usize {
        self.garbage.drop_all(py)
    }

    /// Nobody reads any more: drops all that readers would get. Returns the bytes that leave the budget.
    pub fn abandon(&self, py: Python<'_>) -> usize {
        self.readers.abandon(py) + self.drop_garbage(py)
    }

    fn receive(&self, readers: &mut Queue, completion: Arc<Completion>) {
        let failed = matches!(completion.state(), State::Failed(_));
        let read = if failed {
            self.wanted.failed
        } else {
            self.wanted.written
        };
        let read = read && !readers.abandoned;
        let reported =
            self.wanted.reported || self.reports_outcomes() && completion.has_callbacks();
        if !read && !reported {
            self.garbage.add(&completion);
            return;
        }
        let receivers = usize::from(read) + usize::from(reported);
        let settled = Settled::new(completion, failed, receivers);
        if reported {
            self.reports.add(settled.clone());
        }
        if read {
            readers.ready.push_back(settled);
        }
    }
}

impl Listener for Outcomes {
    fn resolved(&self, completions: Vec<Arc<Completion>>) {
        if self.stores_deliveries() || self.reports_outcomes() {
            let mut readers = self.readers.lock();
            for completion in completions {
                self.receive(&mut readers, completion);
            }
        }
    }

    fn wake(&self) {
        if self.stores_deliveries() || self.reports_outcomes() {
            self.readers.wake();
            if self.has_report() || !self.garbage.is_empty() {
                self.bell.ring();
            }
        }
    }
}
