//! The origin of records: the batch of a run, or the copied bytes of a single record, with their place.
//!
//! All `Record` objects of a run share it. Station: record. Threads: any, with the GIL.

use std::sync::Arc;

use ottla_core::fetch::run::Run;
use ottla_core::record::decode::{DecodedBatch, Record, RecordHeader};
use ottla_core::record::header::TimestampType;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyString, PyType};

use crate::content::Objects;
use crate::errors;
use crate::seam::records::Deserialized;

static TOPIC_PARTITION: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A single record's own bytes, which keep no frame alive.
pub struct Own {
    pub offset: i64,
    pub timestamp_ms: i64,
    /// None: of magic 0, which has no timestamps.
    pub timestamp_type: Option<TimestampType>,
    pub key: Option<Box<[u8]>>,
    pub value: Option<Box<[u8]>>,
    pub headers: Vec<OwnHeader>,
}

pub type OwnHeader = (Box<str>, Option<Box<[u8]>>);

#[derive(Clone)]
enum Source {
    Batch(Arc<DecodedBatch>),
    Own(Arc<Own>),
}

pub struct Origin {
    topic: Py<PyString>,
    pub partition: i32,
    pub leader_epoch: i32,
    source: Source,
    /// None: no deserializer has run.
    objects: Option<Box<Objects>>,
}

impl Origin {
    /// That of a run. The topic is interned: all records of a topic show the same object.
    pub fn of_run(py: Python<'_>, run: &Run) -> Self {
        Self {
            topic: PyString::intern(py, &run.topic).unbind(),
            partition: run.partition,
            leader_epoch: run.leader_epoch(),
            source: Source::Batch(run.batch.clone()),
            objects: None,
        }
    }

    pub fn of_own(
        topic: &Bound<'_, PyString>,
        partition: i32,
        leader_epoch: i32,
        own: Own,
    ) -> Self {
        Self {
            topic: topic.clone().unbind(),
            partition,
            leader_epoch,
            source: Source::Own(Arc::new(own)),
            objects: None,
        }
    }

    /// The same records with the objects of deserializers; the record at `index` is at `place` in their lists.
    pub fn with_objects(
        &self,
        py: Python<'_>,
        given: &Deserialized<'_>,
        place: usize,
        index: usize,
    ) -> Self {
        Self {
            topic: self.topic.clone_ref(py),
            partition: self.partition,
            leader_epoch: self.leader_epoch,
            source: self.source.clone(),
            objects: Some(Box::new(Objects::new(given, place, index))),
        }
    }

    #[inline]
    pub fn objects(&self) -> Option<&Objects> {
        self.objects.as_deref()
    }

    pub fn topic<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.topic.bind(py)
    }

    /// An `ottla.TopicPartition`.
    pub fn topic_partition<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let class = TOPIC_PARTITION.import(py, "ottla.message", "TopicPartition")?;
        class.call1((self.topic(py), self.partition))
    }

    /// Topics of runs are interned, so names that are one object are the usual case.
    pub fn same_partition(&self, py: Python<'_>, other: &Self) -> bool {
        self.partition == other.partition
            && (self.topic.is(&other.topic)
                || self.topic(py).as_any().eq(other.topic(py)).unwrap_or(false))
    }

    pub fn is_of(&self, py: Python<'_>, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic(py).to_str().is_ok_and(|name| name == topic)
    }

    /// The record at an index that was given out with this origin.
    #[inline]
    pub fn record(&self, index: usize) -> PyResult<Record<'_>> {
        match &self.source {
            Source::Batch(batch) => batch.record(index).ok_or_else(|| no_record(index)),
            Source::Own(own) => Ok(Record {
                offset: own.offset,
                timestamp_ms: own.timestamp_ms,
                key: own.key.as_deref(),
                value: own.value.as_deref(),
            }),
        }
    }

    /// None: messages of magic 0 have no timestamp.
    pub fn timestamp_type(&self) -> Option<TimestampType> {
        match &self.source {
            Source::Batch(batch) => {
                let header = batch.header();
                (header.magic > 0).then(|| header.timestamp_type())
            }
            Source::Own(own) => own.timestamp_type,
        }
    }

    /// Whether two records have the same place, timestamp and content. Their leader epochs may differ: an epoch names the
    /// leader of the append, and a copy of the log in another cluster has another.
    pub fn is_same(
        &self,
        py: Python<'_>,
        index: usize,
        other: &Self,
        other_index: usize,
    ) -> PyResult<bool> {
        Ok(self.partition == other.partition
            && self.record(index)? == other.record(other_index)?
            && self.topic(py).as_any().eq(other.topic(py))?
            && self.headers(py, index)? == other.headers(py, other_index)?)
    }

    /// The headers of a record; a DecodeError of `ottla.errors` where their bytes are not what the format says.
    pub fn headers(&self, py: Python<'_>, index: usize) -> PyResult<Vec<RecordHeader<'_>>> {
        match &self.source {
            Source::Batch(batch) => batch.headers(index).map_err(|error| {
                let offset = batch.positions().get(index).map(|record| record.offset);
                errors::decode(
                    py,
                    &error,
                    &self.topic.to_string(),
                    self.partition,
                    offset,
                    None,
                )
            }),
            Source::Own(own) => Ok(own
                .headers
                .iter()
                .map(|(name, value)| RecordHeader {
                    name,
                    value: value.as_deref(),
                })
                .collect()),
        }
    }

    /// The same as Python sees it.
    pub fn header_list<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyList>> {
        let pairs = self.headers(py, index)?;
        let pairs = pairs.iter().map(|header| {
            let value = header.value.map(|value| PyBytes::new(py, value));
            (header.name, value)
        });
        PyList::new(py, pairs.collect::<Vec<_>>())
    }

    /// A copy of one record that keeps nothing else alive; None where it is that already.
    pub fn detached(&self, py: Python<'_>, index: usize) -> PyResult<Option<Self>> {
        if matches!(self.source, Source::Own(_)) {
            return Ok(None);
        }
        let record = self.record(index)?;
        let headers = self.headers(py, index)?;
        let own = Own {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            timestamp_type: self.timestamp_type(),
            key: record.key.map(Into::into),
            value: record.value.map(Into::into),
            headers: headers
                .iter()
                .map(|header| (header.name.into(), header.value.map(Into::into)))
                .collect(),
        };
        let topic = self.topic(py);
        let copy = Self::of_own(topic, self.partition, self.leader_epoch, own);
        Ok(Some(match self.objects() {
            Some(objects) => copy.with_objects(py, &objects.single(py, index)?, 0, 0),
            None => copy,
        }))
    }
}

/// Drops a holder of origins, in a hand-made type's dealloc: PyO3 releases Python objects at once only where it knows that
/// the GIL is held, and it cannot learn that while the interpreter ends. Objects that are left then end with it.
pub fn release<T>(holder: T) {
    let mut holder = Some(holder);
    Python::try_attach(|_| drop(holder.take()));
}

#[cold]
fn no_record(index: usize) -> PyErr {
    let message = format!("a bug in ottla: no record {index} in its batch");
    pyo3::exceptions::PyRuntimeError::new_err(message)
}
