//! `ProduceFlow`: what the engine and the outbox talk to. Tables in, events out; see `_native.pyi`.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use ottla_core::failure::{Cause, Outcome, Trouble, failure};
use ottla_core::produce::event::{Decision, Event, HeldBatch};
use ottla_core::produce::shared::ProduceShared;
use ottla_core::seam::Bell;
use ottla_io::clock;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::bell::Silent;
use crate::fork;
use crate::io::Io;
use crate::outcomes::{Outcomes, Report};
use crate::picture;
use crate::seam::settings::ProduceSettings;
use crate::send::sender::Sender;

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

    pub fn new_sender(&self) -> Arc<Sender> {
        let (shared, outcomes) = (self.shared.clone(), self.outcomes.clone());
        Arc::new(Sender::new(
            shared,
            outcomes,
            self.max_block,
            self.generation,
        ))
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

    fn fail_partition(
        &self,
        topic: &str,
        partition: i32,
        kind: &str,
        code: i16,
        message: &str,
    ) -> u64 {
        self.shared
            .with(|flow| flow.fail_partition(topic, partition, kind, code, message))
    }

    fn fail_topic(&self, topic: &str, kind: &str, code: i16, message: &str) -> usize {
        self.shared
            .fail_topic(topic, failure(kind, code, message, Outcome::NotWritten))
    }

    #[pyo3(signature = (topic, trouble, partition=None, cause=None))]
    fn set_trouble(
        &self,
        topic: &str,
        trouble: Option<String>,
        partition: Option<i32>,
        cause: Option<(String, i16, String)>,
    ) {
        let cause = cause.map(|(kind, code, message)| Cause {
            kind,
            code,
            message,
        });
        let trouble = trouble.map(|text| Trouble { text, cause });
        self.shared
            .with(|flow| flow.acc.set_trouble(topic, partition, trouble));
    }

    fn set_identity(&self, producer_id: i64, epoch: i16) {
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

    #[pyo3(signature = (topic, partition, decisions, conn, identity=None))]
    fn release(
        &self,
        topic: &str,
        partition: i32,
        decisions: Vec<Bound<'_, PyTuple>>,
        conn: Option<u64>,
        identity: Option<(i64, i16, i32)>,
    ) -> PyResult<()> {
        let decisions = decisions
            .iter()
            .map(decision)
            .collect::<PyResult<Vec<_>>>()?;
        self.shared
            .release(topic, partition, decisions, conn, identity);
        Ok(())
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let unwanted = self.outcomes.discard(py);
        if unwanted > 0 {
            self.shared.with(|flow| flow.acc.outcomes_read(unwanted));
        }
        let events = PyList::empty(py);
        for event in self.shared.take_events() {
            events.append(event_tuple(py, event)?)?;
        }
        let callbacks = self.outcomes.take_callbacks();
        if !callbacks.is_empty() {
            events.append(("callbacks", callbacks))?;
        }
        let unawaited = self.outcomes.take_never_awaited();
        if !unawaited.is_empty() {
            events.append(("unawaited", unawaited))?;
        }
        if self.outcomes.has_to_tell() {
            events.append(("outcomes",))?;
        }
        Ok(events)
    }

    /// The callbacks of single deliveries that have their outcome now, and were not given out.
    fn take_callbacks(&self) -> Vec<(Py<PyAny>, Py<PyAny>)> {
        self.outcomes.take_settled_callbacks()
    }

    fn has_callbacks(&self) -> bool {
        self.outcomes.has_callbacks()
    }

    /// The next batch's deliveries for the producer's callbacks; those of the one before have been told.
    fn next_report(&self, py: Python<'_>) -> PyResult<Option<Report>> {
        self.check(py)?;
        // Who waits for the last of the outcomes may be ahead of the thread that is putting them down, under this lock.
        self.shared.with(|_| ());
        let (next, weight) = self.outcomes.next_report(py);
        if weight > 0 {
            self.shared.with(|flow| flow.acc.outcomes_read(weight));
        }
        Ok(next)
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
        self.shared.with(|flow| flow.acc.undelivered())
    }

    fn abort_all(&self, kind: &str, code: i16, message: &str) -> u64 {
        self.shared
            .with(|flow| flow.abort_all(kind, code, message, Some(clock::now())))
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

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.check(py)?;
        let picture = self.shared.with(|flow| flow.picture(clock::now()));
        picture::statistics(py, &picture)
    }

    fn budget<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyDict>> {
        self.check(py)?;
        let budget = self.outcomes.budget(py, &self.shared);
        picture::budget(py, &budget, most)
    }

    fn is_closed(&self, py: Python<'_>) -> PyResult<bool> {
        self.check(py)?;
        Ok(self.shared.with(|flow| flow.acc.is_closed()))
    }

    fn watch(&self, watched: bool) {
        self.shared.with(|flow| flow.watch(watched));
    }
}

fn decision(given: &Bound<'_, PyTuple>) -> PyResult<Decision> {
    let kind: String = given.get_item(0)?.extract()?;
    Ok(match kind.as_str() {
        "retry" => Decision::Retry,
        "split" => Decision::Split,
        "written" => Decision::Written(given.get_item(1)?.extract()?),
        "fail" => {
            let (_, kind, code, message, outcome): (String, String, i16, String, String) =
                given.extract()?;
            let outcome = Outcome::from_name(&outcome);
            Decision::Fail(failure(&kind, code, &message, outcome))
        }
        "fail_records" => {
            let (_, failed, code): (String, BTreeMap<u32, String>, i16) = given.extract()?;
            Decision::FailRecords(failed, code)
        }
        other => {
            return Err(PyValueError::new_err(format!(
                "no such decision: {other:?}"
            )));
        }
    })
}

fn event_tuple<'py>(py: Python<'py>, event: Event) -> PyResult<Bound<'py, PyTuple>> {
    match event {
        Event::Topic(name) => ("topic", &*name).into_pyobject(py),
        Event::Wanted(topic, partition) => ("wanted", &*topic, partition).into_pyobject(py),
        Event::Held {
            topic,
            partition,
            cause,
            batches,
            identity,
        } => {
            let told = PyList::empty(py);
            for batch in batches {
                told.append(held_batch(py, batch)?)?;
            }
            ("held", &*topic, partition, cause, told, identity).into_pyobject(py)
        }
        Event::Failed {
            topic,
            partition,
            records,
            failure,
        } => (
            "failed",
            &*topic,
            partition,
            records,
            failure.kind,
            failure.code,
            failure.message,
            failure.outcome.name(),
            failure
                .cause
                .map(|cause| (cause.kind, cause.code, cause.message)),
        )
            .into_pyobject(py),
        Event::Throttled(conn, ms) => ("throttled", conn, ms).into_pyobject(py),
        Event::Acked {
            topic,
            partition,
            records,
            bytes,
            base_offset,
            attempts,
            created,
        } => (
            "acked",
            &*topic,
            partition,
            records,
            bytes,
            base_offset,
            attempts,
            clock::now().saturating_sub(created) as f64 / 1e6,
        )
            .into_pyobject(py),
        Event::Full { used } => ("full", used).into_pyobject(py),
        Event::Free { used } => ("free", used).into_pyobject(py),
        Event::Lacking { accepted } => ("lacking", accepted).into_pyobject(py),
    }
}

fn held_batch<'py>(py: Python<'py>, batch: HeldBatch) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("base_sequence", batch.base_sequence)?;
    told.set_item("records", batch.records)?;
    told.set_item("bytes", batch.bytes)?;
    told.set_item("attempts", batch.attempts)?;
    told.set_item("sent", batch.sent)?;
    told.set_item("expired", batch.expired)?;
    told.set_item("unanswered", batch.unanswered)?;
    told.set_item("may_be_written", batch.may_be_written)?;
    let code = batch.answer.as_ref().map(|answer| answer.code);
    let answer = batch.answer.unwrap_or_default();
    told.set_item("code", code)?;
    told.set_item("base_offset", answer.base_offset)?;
    told.set_item("log_start_offset", answer.log_start_offset)?;
    told.set_item("error_message", answer.error_message)?;
    told.set_item("record_errors", answer.record_errors)?;
    told.set_item("leader", answer.leader)?;
    told.set_item("node", answer.node)?;
    Ok(told)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ProduceFlow>()
}
