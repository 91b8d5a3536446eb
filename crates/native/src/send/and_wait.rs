//! `send_and_wait` of an event loop: the message is accepted, then it gets its outcome; one awaitable for both.
//!
//! Station: delivery. Owner: the event loop in which it is awaited.

use std::sync::Arc;
use std::time::Instant;

use ottla_core::produce::completion::Completion;
use ottla_core::seam::Wake;
use pyo3::prelude::*;

use crate::delivery::outcome::AwaitedDelivery;
use crate::send::queued::QueuedSend;
use crate::wait::waiting::Awaited;

pub struct SentAndAwaited {
    /// Gives the delivery, at this time at the latest; None once it has.
    sending: Option<(Box<QueuedSend>, Option<Instant>)>,
    outcome: Option<AwaitedDelivery>,
    stages: u32,
}

impl SentAndAwaited {
    pub fn new(sending: Box<QueuedSend>, until: Option<Instant>) -> Self {
        Self {
            sending: Some((sending, until)),
            outcome: None,
            stages: 0,
        }
    }

    fn current(&mut self) -> Option<&mut dyn Awaited> {
        match (&mut self.sending, &mut self.outcome) {
            (Some((sending, _)), _) => Some(sending.as_mut()),
            (None, Some(outcome)) => Some(outcome),
            (None, None) => None,
        }
    }
}

impl Awaited for SentAndAwaited {
    fn check(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if let Some((sending, _)) = &mut self.sending {
            let Some(delivery) = sending.check(py)? else {
                return Ok(None);
            };
            self.stages += sending.stage() + 1;
            self.sending = None;
            self.outcome = Some(AwaitedDelivery::new(delivery));
        }
        self.current().map_or(Ok(None), |current| current.check(py))
    }

    fn register(&mut self, wake: Arc<dyn Wake>, token: u64) {
        if let Some(current) = self.current() {
            current.register(wake, token);
        }
    }

    fn unregister(&mut self, wake: &Arc<dyn Wake>, token: u64) {
        if let Some(current) = self.current() {
            current.unregister(wake, token);
        }
    }

    fn sleeps_on(&self) -> Option<&Arc<Completion>> {
        self.outcome.as_ref()?.sleeps_on()
    }

    fn stage(&self) -> u32 {
        let sending = self.sending.as_ref();
        self.stages + sending.map_or(0, |(sending, _)| sending.stage())
    }

    fn time_is_up(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.current() {
            Some(current) => current.time_is_up(py),
            None => Ok(py.None()),
        }
    }

    fn given_up(&mut self, py: Python<'_>, error: &PyErr) {
        if let Some((sending, _)) = &mut self.sending {
            sending.given_up(py, error);
        }
    }

    fn describe(&self, py: Python<'_>) -> String {
        match (&self.sending, &self.outcome) {
            (Some((sending, _)), _) => sending.describe(py),
            (None, Some(outcome)) => outcome.describe(py),
            (None, None) => "nothing".to_owned(),
        }
    }

    fn dropped(mut self: Box<Self>, py: Python<'_>, awaited: bool, until: Option<Instant>) {
        if let Some((sending, _)) = self.sending.take() {
            sending.dropped(py, awaited, until);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let (sending, until) = self.sending.as_ref()?;
        sending.deadline().or(*until)
    }
}
