//! The record codec by itself, for tests only: what the flows do with batches, without a flow.
//!
//! Private and slow: every record becomes a tuple. References: `ottla_core::record`; `ottla.testing.plain_records`.

use bytes::Bytes;
use ottla_core::bytes::checksum::crc32c;
use ottla_core::bytes::compression::codec::Codec;
use ottla_core::error::DecodeError;
use ottla_core::record::encode::{HeaderRef, record_size_upper_bound};
use ottla_core::record::header::{ATTRIBUTES_AT, CONTROL_BIT, CRC_AT, TIMESTAMP_TYPE_BIT};
use ottla_core::record::{
    BatchBuilder, BatchHeader, DecodedBatch, HEADER_LEN, ProducerFields, iter_batches, seal,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::errors;

type Header = (String, Option<Vec<u8>>);
/// (timestamp in ms, key, value, headers).
type Message = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>);

const MOST_BYTES: usize = 1 << 30;

/// One batch of the messages, its offsets from `base_offset` on. Compression that does not pay is left out, as always.
#[pyfunction]
#[pyo3(
    signature = (
        records, *, codec="none", level=None, base_offset=0, leader_epoch=-1, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, transactional=false, control=false, log_append_ms=None,
    ),
    // Written out: a negative default would be shown as an ellipsis.
    text_signature = "(records, *, codec='none', level=None, base_offset=0, leader_epoch=-1, producer_id=-1, \
        producer_epoch=-1, base_sequence=-1, transactional=False, control=False, log_append_ms=None)",
)]
#[expect(
    clippy::too_many_arguments,
    reason = "keywords of a Python function, one for each field of the header"
)]
fn encode_batch<'py>(
    py: Python<'py>,
    records: Vec<Message>,
    codec: &str,
    level: Option<i32>,
    base_offset: i64,
    leader_epoch: i32,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    log_append_ms: Option<i64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let codec = Codec::from_name(codec)
        .ok_or_else(|| PyValueError::new_err(format!("codec {codec:?} is not one")))?;
    let producer = ProducerFields {
        producer_id,
        epoch: producer_epoch,
        base_sequence,
        transactional,
    };
    let broker_says = BrokerFields {
        base_offset,
        leader_epoch,
        control,
        log_append_ms,
    };
    let bytes = py.detach(|| {
        let builder = build(&records)?;
        let sealed = seal(builder, codec, level, producer).map_err(|error| error.to_string())?;
        broker_says.write(sealed.bytes)
    });
    bytes
        .map(|bytes| PyBytes::new(py, &bytes))
        .map_err(PyValueError::new_err)
}

fn build(records: &[Message]) -> Result<BatchBuilder, String> {
    let mut builder = BatchBuilder::with_buffer(Vec::new());
    for (timestamp_ms, key, value, headers) in records {
        let headers: Vec<HeaderRef<'_>> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_deref()))
            .collect();
        let size = record_size_upper_bound(key.as_deref(), value.as_deref(), &headers);
        if size > MOST_BYTES - builder.len_bytes().min(MOST_BYTES) {
            return Err(format!("more than {MOST_BYTES} bytes of records"));
        }
        builder.append(*timestamp_ms, key.as_deref(), value.as_deref(), &headers);
    }
    Ok(builder)
}

/// The fields that a broker writes into a batch before it answers with it.
struct BrokerFields {
    base_offset: i64,
    leader_epoch: i32,
    control: bool,
    log_append_ms: Option<i64>,
}

impl BrokerFields {
    fn write(&self, mut batch: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut header = BatchHeader::parse(&batch).map_err(|error| error.to_string())?;
        header.base_offset = self.base_offset;
        header.partition_leader_epoch = self.leader_epoch;
        if self.control {
            header.attributes |= CONTROL_BIT;
        }
        if let Some(time_ms) = self.log_append_ms {
            header.attributes |= TIMESTAMP_TYPE_BIT;
            header.max_timestamp = time_ms;
        }
        batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        let crc = crc32c(&batch[ATTRIBUTES_AT..]);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        Ok(batch)
    }
}

/// The whole batches of `data`: (header as a dict, [(offset, timestamp in ms, key, value, headers)]).
#[pyfunction]
fn decode_batches<'py>(py: Python<'py>, data: &[u8], cap: usize) -> PyResult<Bound<'py, PyList>> {
    let frame = Bytes::copy_from_slice(data);
    let decoded: Result<Vec<DecodedBatch>, DecodeError> = py.detach(|| {
        iter_batches(&frame)
            .map(|raw| raw.and_then(|raw| raw.decode(cap)))
            .collect()
    });
    let decoded = decoded.map_err(|error| refused(py, &error))?;
    let batches = PyList::empty(py);
    for batch in &decoded {
        batches.append((header_dict(py, batch.header())?, record_list(py, batch)?))?;
    }
    Ok(batches)
}

fn refused(py: Python<'_>, error: &DecodeError) -> PyErr {
    errors::made(py, "undecodable", (error.to_string(),))
}

fn header_dict<'py>(py: Python<'py>, header: &BatchHeader) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("base_offset", header.base_offset)?;
    dict.set_item("batch_length", header.batch_length)?;
    dict.set_item("partition_leader_epoch", header.partition_leader_epoch)?;
    dict.set_item("magic", header.magic)?;
    dict.set_item("crc", header.crc)?;
    dict.set_item("attributes", header.attributes)?;
    dict.set_item("last_offset_delta", header.last_offset_delta)?;
    dict.set_item("base_timestamp", header.base_timestamp)?;
    dict.set_item("max_timestamp", header.max_timestamp)?;
    dict.set_item("producer_id", header.producer_id)?;
    dict.set_item("producer_epoch", header.producer_epoch)?;
    dict.set_item("base_sequence", header.base_sequence)?;
    dict.set_item("record_count", header.records_count)?;
    Ok(dict)
}

fn record_list<'py>(py: Python<'py>, batch: &DecodedBatch) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for index in 0..batch.len() {
        let Some(record) = batch.record(index) else {
            break;
        };
        let headers = PyList::empty(py);
        let pairs = batch.headers(index).map_err(|error| refused(py, &error))?;
        for header in pairs {
            headers.append((header.name, bytes_or_none(py, header.value)))?;
        }
        let key = bytes_or_none(py, record.key);
        let value = bytes_or_none(py, record.value);
        list.append((record.offset, record.timestamp_ms, key, value, headers))?;
    }
    Ok(list)
}

fn bytes_or_none<'py>(py: Python<'py>, data: Option<&[u8]>) -> Option<Bound<'py, PyBytes>> {
    data.map(|data| PyBytes::new(py, data))
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(encode_batch, module)?)?;
    module.add_function(wrap_pyfunction!(decode_batches, module)?)?;
    Ok(())
}
