//! `ottla.seam.budget`: which parts of the budget wait for what.

use std::sync::Arc;

use ottla_core::produce::snapshot::{Budget, Holder, HolderCause, Share};
use pyo3::prelude::*;

use super::failures::{seconds, trouble};
use super::named;

/// holders: How many of them are wanted. callbacks_due: Outcomes wait for callbacks.
pub fn budget<'py>(
    py: Python<'py>,
    budget: &Budget,
    holders: usize,
    callbacks_due: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let holders = budget.holders.iter().take(holders);
    let holders = holders.map(|holder| self::holder(py, holder));
    named!(
        py,
        "budget",
        Budget {
            used_bytes: budget.used,
            capacity_bytes: budget.cap,
            waiting_senders: budget.waiting_senders,
            full: budget.full,
            callbacks_due,
            holders: holders.collect::<PyResult<Vec<_>>>()?,
            largest: share(py, budget.largest())?,
            largest_unresolved: share(py, budget.largest_unresolved())?,
        }
    )
}

fn holder<'py>(py: Python<'py>, holder: &Holder) -> PyResult<Bound<'py, PyAny>> {
    let (node_id, address) = split(holder.node.as_ref());
    named!(
        py,
        "budget",
        Holder {
            topic: holder.topic.as_deref(),
            partition: holder.partition,
            size_bytes: holder.bytes,
            node_id,
            address,
            cause: cause(py, &holder.cause)?,
            age_s: seconds(holder.age),
        }
    )
}

fn cause<'py>(py: Python<'py>, cause: &HolderCause) -> PyResult<Bound<'py, PyAny>> {
    let word = match cause {
        HolderCause::Trouble(trouble) => return self::trouble(py, trouble),
        HolderCause::InFlight(node) => {
            let (node_id, address) = split(node.as_ref());
            return named!(py, "budget", InFlight { node_id, address });
        }
        HolderCause::Metadata => "metadata",
        HolderCause::Outcomes => "outcomes",
    };
    Ok(word.into_pyobject(py)?.into_any())
}

fn split(node: Option<&(i32, Arc<str>)>) -> (Option<i32>, Option<&str>) {
    (node.map(|(id, _)| *id), node.map(|(_, address)| &**address))
}

fn share(py: Python<'_>, share: Option<Share>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(share) = share else {
        return Ok(None);
    };
    let places = share.places.iter().map(|(topic, partition)| {
        let (topic, partition) = (topic.as_deref(), *partition);
        named!(py, "budget", Place { topic, partition })
    });
    named!(
        py,
        "budget",
        Share {
            cause: cause(py, &share.cause)?,
            size_bytes: share.bytes,
            places: places.collect::<PyResult<Vec<_>>>()?,
            more: share.more,
        }
    )
    .map(Some)
}
