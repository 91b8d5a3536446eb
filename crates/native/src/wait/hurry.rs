//! Whoever sleeps until a message has its outcome says so: its batch does not linger for nobody.
//!
//! A thread says it right before it sleeps. A task of an event loop has others beside it that are about to send in the same turn of
//! the loop, so it is said for all of them when that turn is over. Station: delivery. Why and what it does:
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

/// This thread is about to sleep until the completion resolves. It says so itself, whoever waits already: an event loop that said it
/// would at the end of its turn may be what sleeps here.
pub fn hurry(completion: &Arc<Completion>) {
    if let Some(producer) = waited_for(completion) {
        producer.end_linger(completion);
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
        if completion.is_waited_for() {
            return Ok(());
        }
        let Some(producer) = waited_for(completion) else {
            return Ok(());
        };
        // Usually the first alone asks for it. The call may be lost, as to a KeyboardInterrupt in the loop, and what waits for
        // it must neither grow for ever nor linger for ever.
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

    pub fn tell(&self) {
        let waited = std::mem::take(&mut *self.0.lock());
        for (producer, completion) in waited {
            producer.end_linger(&completion);
        }
    }
}
