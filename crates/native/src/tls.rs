//! `TlsContext`: the checked TLS settings of a client, opaque for Python.

use ottla_io::tls;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::seam::security::{self, GivenTls};

#[pyclass(frozen, module = "ottla._native")]
pub struct TlsContext {
    pub context: tls::TlsContext,
}

#[pymethods]
impl TlsContext {
    /// A context, or the list of all problems.
    #[staticmethod]
    fn build<'py>(py: Python<'py>, settings: GivenTls) -> PyResult<Bound<'py, PyAny>> {
        let settings = settings.settings();
        match py.detach(|| tls::TlsContext::new(&settings)) {
            Ok(context) => Ok(Bound::new(py, Self { context })?.into_any()),
            Err(problems) => {
                let problems = problems
                    .iter()
                    .map(|problem| security::problem(py, problem));
                let problems = problems.collect::<PyResult<Vec<_>>>()?;
                Ok(PyList::new(py, problems)?.into_any())
            }
        }
    }

    fn facts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        security::facts(py, &self.context.facts)
    }

    /// Whether a certificate can have this name: a host name or an address.
    #[staticmethod]
    fn is_name(name: &str) -> bool {
        tls::TlsContext::is_name(name)
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<TlsContext>()
}
