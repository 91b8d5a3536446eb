//! A batch whose outcome somebody sleeps for stops lingering: no later message would arrive in time.
//!
//! A thread ends the linger right before it sleeps. Other tasks of an event loop may be about to send in the same turn of the
//! loop, so the lingers of all of them end with that turn. Station: delivery. Reasons and effects:
//! `crates/core/src/produce/append/linger.rs`.

use std::sync::Arc;

use ottla_core::produce::completion::Completion;
use ottla_core::produce::shared::ProduceShared;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::outcomes::Outcomes;

/// The producer of a completion that is waited for from now on; None where it never lingers.
fn waited_for(completion: &Completion) -> Option<Arc<ProduceShared>> {
    completion.set_waited_for();
    let owner = completion.owner()?.downcast_ref::<Outcomes>()?;
    owner.producer_that_lingers()
}

/// This thread is about to sleep until the completion resolves. It ends the linger itself, also if others
/// wait already: the event loop that would end it with its turn may be the one that sleeps here.
pub fn end_linger(completion: &Arc<Completion>) {
    if let Some(producer) = waited_for(completion) {
        producer.end_linger(completion);
    }
}

/// The batches that the tasks of one event loop began to wait for in this turn.
#[derive(Default)]
pub struct ExpectedBatches(Mutex<Vec<(Arc<ProduceShared>, Arc<Completion>)>>);

impl ExpectedBatches {
    /// A task of the loop sleeps until the completion resolves. `at_end_of_turn` has to call `end_lingers` then.
    pub fn add(
        &self,
        event_loop: &Bound<'_, PyAny>,
        completion: &Arc<Completion>,
        at_end_of_turn: impl FnOnce() -> PyResult<Py<PyAny>>,
    ) -> PyResult<()> {
        if completion.is_waited_for() {
            return Ok(());
        }
        let Some(producer) = waited_for(completion) else {
            return Ok(());
        };
        // Usually the first alone asks for it. The call may be lost, as to a KeyboardInterrupt in the loop, and the batches
        // that wait for it must neither accumulate nor linger for ever.
        let is_due = {
            let mut waited = self.0.lock();
            waited.push((producer, completion.clone()));
            waited.len().is_power_of_two()
        };
        if is_due {
            let py = event_loop.py();
            event_loop.call_method1(pyo3::intern!(py, "call_soon"), (at_end_of_turn()?,))?;
        }
        Ok(())
    }

    pub fn end_lingers(&self) {
        let waited = std::mem::take(&mut *self.0.lock());
        for (producer, completion) in waited {
            producer.end_linger(&completion);
        }
    }
}
