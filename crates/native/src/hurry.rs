//! Whoever sleeps until a message has its outcome says so: its batch does not linger for nobody.
//!
//! A thread says it right before it sleeps. A task of an event loop has others beside it that are about to send in the same turn of
//! the loop, so it is said for all of them when that turn is over. Station: delivery. Why and what it does:
//! `crates/core/src/accumulator/linger.rs`.

use std::sync::Arc;

use ottla_core::completion::Completion;
use ottla_core::produce_shared::ProduceShared;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::outcomes::Outcomes;

/// The producer of a completion that is waited for from now on; None where it has been told, or never lingers.
fn first_wait(completion: &Completion) -> Option<Arc<ProduceShared>> {
    if completion.is_waited_for() {
        return None;
    }
    completion.set_waited_for();
    let owner = completion.owner()?.downcast_ref::<Outcomes>()?;
    owner.producer_that_lingers()
}

/// This thread is about to sleep until the completion resolves.
pub fn hurry(completion: &Arc<Completion>) {
    if let Some(producer) = first_wait(completion) {
        producer.hurry(completion);
    }
}

/// What the tasks of one event loop wait for since its turn began.
#[derive(Default)]
pub struct Hurried(Mutex<Vec<(Arc<ProduceShared>, Arc<Completion>)>>);

impl Hurried {
    /// A task of the loop sleeps until the completion resolves. `at_end_of_turn` is what calls `tell` then.
    pub fn add(
        &self,
        event_loop: &Bound<'_, PyAny>,
        completion: &Arc<Completion>,
        at_end_of_turn: impl FnOnce() -> PyResult<Py<PyAny>>,
    ) -> PyResult<()> {
        let Some(producer) = first_wait(completion) else {
            return Ok(());
        };
        let is_first = {
            let mut waited = self.0.lock();
            waited.push((producer, completion.clone()));
            waited.len() == 1
        };
        if is_first {
            let py = event_loop.py();
            event_loop.call_method1(pyo3::intern!(py, "call_soon"), (at_end_of_turn()?,))?;
        }
        Ok(())
    }

    pub fn tell(&self) {
        let waited = std::mem::take(&mut *self.0.lock());
        for (producer, completion) in waited {
            producer.hurry(&completion);
        }
    }
}
