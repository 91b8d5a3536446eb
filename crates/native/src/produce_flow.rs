//! `ProduceFlow`: what the engine and the outbox talk to. Tables in, events out; see `_native.pyi`.

use std::sync::{Arc, OnceLock, Weak};

use ottla_core::failure::{Failure, Outcome};
use ottla_core::ids::Identity;
use ottla_core::produce::shared::ProduceShared;
use ottla_core::seam::Bell;
use ottla_io::clock;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::bell::Silent;
use crate::fork;
use crate::io::Io;
use crate::outcomes::Outcomes;
use crate::seam::failures::{GivenError, GivenFailure, GivenTrouble};
use crate::seam::producing::{GivenDecision, GivenIdentity};
use crate::seam::settings::ProduceSettings;
use crate::seam::{produce_statistics, producing};
use crate::send::sender::{Sender, SenderOwner};

#[pyclass(frozen, module = "ottla._native")]
pub struct ProduceFlow {
    pub shared: Arc<ProduceShared>,
    pub outcomes: Arc<Outcomes>,
    pub max_block: f64,
    pub generation: u32,
    /// Of the public producer.
    pub sender: OnceLock<Weak<Sender>>,
    io: Option<(ottla_io::Handle, ottla_io::FlowId)>,
}

impl ProduceFlow {
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        fork::check(py, self.generation, &self.outcomes.who)
    }

    pub fn new_sender(&self) -> SenderOwner {
        let (shared, outcomes) = (self.shared.clone(), self.outcomes.clone());
        SenderOwner::new(shared, outcomes, self.max_block, self.generation)
    }

    fn outcomes_read(&self, bytes: usize) {
        if bytes > 0 {
            self.shared.with(|flow| flow.acc.outcomes_read(bytes));
        }
    }
}

#[pymethods]
impl ProduceFlow {
    #[new]
    fn new(py: Python<'_>, io: Option<Py<Io>>, settings: ProduceSettings) -> PyResult<Self> {
        let who = format!("producer {}", settings.client_id);
        let (wanted, max_block) = (settings.wanted(), settings.max_block);
        let settings = settings.core()?;
        let handle = io
            .as_ref()
            .map(|io| io.get().handle(py).cloned())
            .transpose()?;
        let bell: Arc<dyn Bell> = match &handle {
            Some(handle) => handle.bell(),
            None => Arc::new(Silent),
        };
        let outcomes = Outcomes::new(wanted, bell.clone(), who);
        let seed = clock::now().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let shared = Arc::new(ProduceShared::new(settings, seed, bell));
        shared.set_listener(outcomes.clone());
        outcomes.set_producer(&shared);
        shared.with(|flow| flow.acc.set_owner(outcomes.clone()));
        let io = handle.map(|handle| {
            let (id, waker) = handle.register_flow(shared.clone());
            shared.set_waker(waker);
            (handle, id)
        });
        Ok(Self {
            shared,
            outcomes,
            max_block,
            generation: fork::generation(),
            sender: OnceLock::new(),
            io,
        })
    }

    #[pyo3(signature = (topic, topic_id, partitions, available, near = Vec::new()))]
    fn set_topic(
        &self,
        topic: &str,
        topic_id: [u8; 16],
        partitions: usize,
        available: Vec<i32>,
        near: Vec<i32>,
    ) {
        self.shared
            .change(|flow| flow.set_topic(topic, topic_id, partitions, &available, &near));
    }

    fn awaits_metadata(&self, topic: &str) -> bool {
        self.shared.with(|flow| flow.acc.awaits_metadata(topic))
    }

    fn stored_count(&self, topic: &str) -> u64 {
        self.shared.with(|flow| flow.acc.stored_count(topic))
    }

    fn refuse_missing(&self, topic: &str, before: u64) {
        self.shared
            .change(|flow| flow.acc.refuse_missing(topic, before));
    }

    fn drop_idle_topics(&self, idle_us: u64) -> Vec<String> {
        let now = clock::now();
        let dropped = self
            .shared
            .with(|flow| flow.acc.drop_idle_topics(now, idle_us));
        dropped.iter().map(ToString::to_string).collect()
    }

    fn fail_partition(&self, topic: &str, partition: i32, error: GivenError) -> PyResult<u64> {
        let error = error.core()?;
        Ok(self
            .shared
            .with(|flow| flow.fail_partition(topic, partition, error)))
    }

    fn fail_topic(&self, topic: &str, error: GivenError) -> PyResult<usize> {
        let failure = Failure::given_up(error.core()?, Outcome::NotWritten);
        Ok(self.shared.fail_topic(topic, failure))
    }

    #[pyo3(signature = (topic, trouble, partition=None))]
    fn set_trouble(
        &self,
        topic: &str,
        trouble: Option<GivenTrouble>,
        partition: Option<i32>,
    ) -> PyResult<()> {
        let trouble = trouble.map(GivenTrouble::core).transpose()?;
        self.shared
            .with(|flow| flow.acc.set_trouble(topic, partition, trouble));
        Ok(())
    }

    fn set_identity(&self, identity: GivenIdentity) {
        let Identity { producer_id, epoch } = identity.into();
        self.shared
            .change(|flow| flow.set_identity(producer_id, epoch));
    }

    #[pyo3(signature = (conn, api_version, node=None, address=""))]
    fn attach(&self, conn: u64, api_version: i16, node: Option<i32>, address: &str) {
        let node = node.unwrap_or(-1);
        self.shared
            .change(|flow| flow.attach(conn, api_version, node, address));
        if let Some((handle, id)) = &self.io {
            handle.attach(*id, conn);
        }
    }

    fn route(&self, topic: &str, partition: i32, conn: u64) {
        self.shared
            .change(|flow| flow.route(topic, partition, conn));
    }

    fn hold(&self, topic: &str, partition: i32) {
        self.shared.change(|flow| flow.hold(topic, partition));
    }

    #[pyo3(signature = (topic, partition, decisions, *, behind=None, identity=None))]
    fn release(
        &self,
        topic: &str,
        partition: i32,
        decisions: Vec<GivenDecision<'_>>,
        behind: Option<GivenFailure<'_>>,
        identity: Option<GivenIdentity>,
    ) -> PyResult<()> {
        let decisions = decisions.into_iter().map(GivenDecision::core);
        let decisions = decisions.collect::<PyResult<Vec<_>>>()?;
        let behind = behind.map(GivenFailure::core).transpose()?;
        let identity = identity.map(Identity::from);
        self.shared
            .release(topic, partition, decisions, behind.as_ref(), identity)
            .map_err(|bad| PyValueError::new_err(bad.to_string()))
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.outcomes_read(self.outcomes.drop_garbage(py));
        let events = PyList::empty(py);
        for event in self.shared.take_events() {
            events.append(producing::event(py, event)?)?;
        }
        let callbacks = self.outcomes.callbacks.take_due();
        if !callbacks.is_empty() {
            events.append(producing::callbacks(py, callbacks)?)?;
        }
        for (topic, calls) in self.outcomes.never_awaited.take() {
            events.append(producing::send_many_dropped(py, &topic, calls)?)?;
        }
        if self.outcomes.unawaited.is_due() {
            events.append(producing::unawaited_due(py)?)?;
        }
        if self.outcomes.has_report() {
            events.append(producing::outcomes_ready(py)?)?;
        }
        Ok(events)
    }

    /// The callbacks of single deliveries that have their outcome now, and were not given out.
    fn take_callbacks(&self) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        self.outcomes.callbacks.take_settled()
    }

    fn has_callbacks(&self) -> bool {
        self.outcomes.callbacks.were_added()
    }

    /// The next batch's deliveries for the producer's callbacks, which have received those of the one before.
    fn next_report<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.check(py)?;
        // A caller that has waited for the last outcome may be ahead of the thread that queues the outcomes, under this lock.
        self.shared.with(|_| ());
        let (next, bytes) = self.outcomes.next_report(py);
        self.outcomes_read(bytes);
        next.map(|report| producing::report(py, report)).transpose()
    }

    /// Whether outcomes may have to be reported on the dispatcher thread.
    fn reports_outcomes(&self) -> bool {
        self.outcomes.reports_outcomes()
    }

    fn in_use(&self) -> bool {
        let sender = self.sender.get().and_then(Weak::upgrade);
        sender.is_some_and(|sender| sender.in_use())
    }

    fn undelivered(&self) -> u64 {
        let unawaited = self.outcomes.unawaited.count() as u64;
        self.shared.with(|flow| flow.acc.undelivered()) + unawaited
    }

    /// Asynchronous sends that nobody awaits, and that wait for their turn.
    fn unawaited(&self) -> usize {
        self.outcomes.unawaited.count()
    }

    /// Completes those that have their turn: seconds until the next one's time runs out, and whether some need the
    /// dispatcher thread.
    #[pyo3(signature = (functions=false))]
    fn advance_unawaited<'py>(
        &self,
        py: Python<'py>,
        functions: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.check(py)?;
        let (next, needs_functions) = self.outcomes.unawaited.advance(py, functions);
        producing::unawaited_progress(py, next, needs_functions)
    }

    fn abort_all(&self, error: GivenError) -> PyResult<u64> {
        let (error, now) = (error.core()?, clock::now());
        Ok(self.shared.with(|flow| flow.abort_all(error, Some(now))))
    }

    /// Lets the I/O thread forget the flow. Its connections stay the engine's.
    fn detach(&self) {
        if let Some((handle, id)) = &self.io {
            handle.unregister_flow(*id);
        }
        self.shared
            .with(ottla_core::produce::drain::flow::ProduceFlow::end);
    }

    fn still_full(&self) -> Option<u64> {
        self.shared.with(|flow| flow.acc.still_full())
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check(py)?;
        let snapshot = self.shared.with(|flow| flow.snapshot(clock::now()));
        produce_statistics::statistics(py, &snapshot)
    }

    fn budget<'py>(&self, py: Python<'py>, holders: usize) -> PyResult<Bound<'py, PyAny>> {
        self.check(py)?;
        self.outcomes.budget(py, &self.shared, holders)
    }

    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        self.check(py)?;
        Ok(self.shared.with(|flow| flow.acc.is_closed()))
    }

    fn watch(&self, watched: bool) {
        self.shared.with(|flow| flow.watch(watched));
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ProduceFlow>()
}
