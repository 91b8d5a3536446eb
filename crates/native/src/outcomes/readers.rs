//! Readers of outcomes: the queue behind `successes()`, `errors()` and `outcomes()`. Outcomes leave the budget when they are read.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_core::seam::Wake;
use parking_lot::{Mutex, MutexGuard};
use pyo3::prelude::*;

use crate::outcomes::settled::Settled;

#[derive(Default)]
pub struct Queue {
    /// In the order of their outcomes.
    pub ready: VecDeque<Arc<Settled>>,
    sleepers: Vec<(Arc<dyn Wake>, u64)>,
    ended: bool,
    /// Nobody reads any more.
    pub abandoned: bool,
}

impl Queue {
    fn position(&self, failed: Option<bool>) -> Option<usize> {
        let fits = |settled: &Arc<Settled>| failed.is_none_or(|failed| failed == settled.failed);
        self.ready.iter().position(fits)
    }
}

#[derive(Default)]
pub struct Readers(Mutex<Queue>);

impl Readers {
    pub fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock()
    }

    /// Whether a take of this kind would give something, or the end.
    pub fn is_ready(&self, failed: Option<bool>) -> bool {
        let queue = self.0.lock();
        queue.ended || queue.position(failed).is_some()
    }

    pub fn add_sleeper(&self, wake: Arc<dyn Wake>, token: u64) {
        let mut queue = self.0.lock();
        if !queue.sleepers.iter().any(|known| is(known, &wake, token)) {
            queue.sleepers.push((wake, token));
        }
    }

    pub fn remove_sleeper(&self, wake: &Arc<dyn Wake>, token: u64) {
        let mut queue = self.0.lock();
        queue.sleepers.retain(|known| !is(known, wake, token));
    }

    pub fn wake(&self) {
        let sleepers = std::mem::take(&mut self.0.lock().sleepers);
        for (wake, token) in sleepers {
            wake.wake(token);
        }
    }

    /// Takes whole batches until there are `limit` deliveries: these, and the bytes that leave the budget. None where there are
    /// none and more may come; an empty list is the end.
    pub fn take(
        &self,
        py: Python<'_>,
        failed: Option<bool>,
        limit: usize,
    ) -> Option<(Vec<Py<PyAny>>, usize)> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        loop {
            let settled = {
                let mut queue = self.0.lock();
                match queue.position(failed) {
                    Some(position) if taken.len() < limit => queue.ready.remove(position),
                    _ if taken.is_empty() && !queue.ended => return None,
                    _ => return Some((taken, bytes)),
                }
            };
            if let Some(settled) = settled {
                let (deliveries, its) = settled.take(py);
                taken.extend(deliveries);
                bytes += its;
            }
        }
    }

    /// No outcome comes any more: readers end once the queue is empty.
    pub fn end(&self) {
        self.0.lock().ended = true;
        self.wake();
    }

    /// Nobody reads any more: drops the queue. Returns the bytes that leave the budget.
    pub fn abandon(&self, py: Python<'_>) -> usize {
        self.0.lock().abandoned = true;
        self.end();
        let rest = std::mem::take(&mut self.0.lock().ready);
        rest.iter().map(|settled| settled.take(py).1).sum()
    }
}

fn is((known, its): &(Arc<dyn Wake>, u64), wake: &Arc<dyn Wake>, token: u64) -> bool {
    *its == token && std::ptr::addr_eq(Arc::as_ptr(known), Arc::as_ptr(wake))
}
