//! `ottla.seam.security`: settings of TLS, and the facts of certificates and handshakes.

use ottla_io::tls::{
    CertificateFacts, ContextFacts, Problem, Source, TlsFailure, TlsPeer, TlsSettings,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::named;

// ---- from Python -------------------------------------------------------------------------------------------------------

/// `TlsSource`.
#[derive(FromPyObject)]
struct GivenSource {
    place: String,
    data: Vec<u8>,
    password: Option<String>,
}

impl GivenSource {
    fn source(self) -> Source {
        Source {
            place: self.place,
            bytes: self.data,
            password: self.password,
        }
    }
}

/// `TlsSettings`.
#[derive(FromPyObject)]
pub struct GivenTls {
    trust: Vec<GivenSource>,
    trust_is_system: bool,
    key: Option<GivenSource>,
    chain: Option<GivenSource>,
    revocation: Vec<GivenSource>,
    verifies_chain: bool,
    verifies_name: bool,
    versions: Vec<String>,
    suites: Vec<String>,
    key_log: bool,
}

impl GivenTls {
    pub fn settings(self) -> TlsSettings {
        let sources =
            |given: Vec<GivenSource>| given.into_iter().map(GivenSource::source).collect();
        let has = |name: &str| self.versions.iter().any(|version| version == name);
        let (tls12, tls13) = (has("TLSv1.2"), has("TLSv1.3"));
        TlsSettings {
            trust: sources(self.trust),
            trust_is_system: self.trust_is_system,
            key: self.key.map(GivenSource::source),
            chain: self.chain.map(GivenSource::source),
            revocation: sources(self.revocation),
            verifies_chain: self.verifies_chain,
            verifies_name: self.verifies_name,
            tls12,
            tls13,
            suites: self.suites,
            key_log: self.key_log,
        }
    }
}

// ---- to Python ---------------------------------------------------------------------------------------------------------

pub fn problem<'py>(py: Python<'py>, problem: &Problem) -> PyResult<Bound<'py, PyAny>> {
    let (place, kind, detail) = (&problem.place, problem.kind.name(), &problem.detail);
    named!(
        py,
        "security",
        TlsProblem {
            place,
            kind,
            detail
        }
    )
}

fn certificate<'py>(
    py: Python<'py>,
    facts: Option<&CertificateFacts>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(facts) = facts else {
        return Ok(None);
    };
    named!(
        py,
        "security",
        CertificateFacts {
            subject: &facts.subject,
            issuer: &facts.issuer,
            common_name: &facts.common_name,
            names: &facts.names,
            not_before_ms: facts.not_before_ms,
            not_after_ms: facts.not_after_ms,
            is_authority: facts.is_authority,
            version: facts.version,
        }
    )
    .map(Some)
}

pub fn facts<'py>(py: Python<'py>, facts: &ContextFacts) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "security",
        TlsFacts {
            authorities: facts.authorities,
            skipped: facts.skipped,
            client_certificate: certificate(py, facts.client_certificate.as_ref())?,
        }
    )
}

pub fn peer<'py>(py: Python<'py>, peer: &TlsPeer) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "security",
        TlsPeer {
            version: &peer.version,
            suite: &peer.suite,
            resumed: peer.resumed,
            certificate: certificate(py, peer.certificate.as_ref())?,
            asked_for_certificate: peer.asked_for_certificate,
        }
    )
}

pub fn failure<'py>(py: Python<'py>, failure: &TlsFailure) -> PyResult<Bound<'py, PyAny>> {
    named!(
        py,
        "security",
        TlsFailure {
            reason: failure.reason,
            detail: &failure.detail,
            alert: &failure.alert,
            expected_name: &failure.expected_name,
            certificate: certificate(py, failure.certificate.as_ref())?,
            asked_for_certificate: failure.asked_for_certificate,
            first_bytes: PyBytes::new(py, &failure.first_bytes),
            time_ms: failure.time_ms,
        }
    )
}
