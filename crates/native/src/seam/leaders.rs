//! `ottla.seam.leaders`: the leader that a broker's answer names.

use pyo3::prelude::*;

use super::named;

/// (node id, leader epoch), and where that node listens.
pub fn hint<'py>(
    py: Python<'py>,
    leader: Option<(i32, i32)>,
    node: Option<(String, i32)>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some((node_id, leader_epoch)) = leader else {
        return Ok(None);
    };
    let endpoint = node
        .map(|(host, port)| named!(py, "leaders", Endpoint { host, port }))
        .transpose()?;
    named!(
        py,
        "leaders",
        LeaderHint {
            node_id,
            leader_epoch,
            endpoint
        }
    )
    .map(Some)
}
