//! Checks the certificate of a broker: its chain, its name, and a leaf that is itself a configured authority.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::facts::{CertificateFacts, facts_of};

/// Observations during a handshake, for the text about its failure. The I/O thread takes them after each step.
#[derive(Debug, Default, Clone)]
pub struct Observed {
    /// Certificate that was refused.
    pub refused: Option<CertificateFacts>,
    /// The broker asked for a client certificate.
    pub asked: bool,
}

pub type Observations = Arc<Mutex<Observed>>;

#[derive(Debug)]
pub struct Verifier {
    /// None: certificates are not checked.
    pub chains: Option<Arc<WebPkiServerVerifier>>,
    pub authorities: Vec<CertificateDer<'static>>,
    pub checks_name: bool,
    pub algorithms: WebPkiSupportedAlgorithms,
    pub observed: Observations,
}

impl Verifier {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(chains) = &self.chains else {
            return Ok(());
        };
        if self.authorities.iter().any(|authority| authority == leaf) {
            return self.check_own(leaf, name, now);
        }
        match chains.verify_server_cert(leaf, intermediates, name, &[], now) {
            Ok(_) => Ok(()),
            // The name is checked last, after the chain.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The leaf is byte for byte a configured authority: trust is given, dates and name are still checked.
    fn check_own(
        &self,
        leaf: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let facts = facts_of(leaf).ok_or(CertificateError::BadEncoding)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if seconds > facts.not_after_ms / 1000 {
            return Err(CertificateError::Expired.into());
        }
        if seconds < facts.not_before_ms / 1000 {
            return Err(CertificateError::NotValidYet.into());
        }
        if !self.checks_name {
            return Ok(());
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(leaf, intermediates, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => {
                self.observed.lock().refused = facts_of(leaf);
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The client's certificate, presented whenever a broker asks for one: a broker that lists other authorities answers with
/// its own reason.
#[derive(Debug)]
pub struct ClientCertificate {
    pub key: Option<Arc<CertifiedKey>>,
    pub observed: Observations,
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(
        &self,
        _authorities: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.observed.lock().asked = true;
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}
