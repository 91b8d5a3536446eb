//! Facts of a handshake that failed, and of one that succeeded. Python writes the texts and the remedies.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::facts::CertificateFacts;
use super::verifier::Observed;

/// Facts of a connection whose TLS failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFailure {
    /// Kind of the failure, one of `ottla.seam.connections.TlsReason`.
    pub reason: &'static str,
    /// Words of the TLS library.
    pub detail: String,
    /// Name of the alert that the broker sent, else empty.
    pub alert: String,
    /// Name that the certificate must have.
    pub expected_name: String,
    /// Certificate that was refused.
    pub certificate: Option<CertificateFacts>,
    /// Whether the broker asked for a client certificate.
    pub asked_for_certificate: bool,
    /// First bytes of the broker, where they are no TLS.
    pub first_bytes: Vec<u8>,
    /// This machine's clock, milliseconds since 1970.
    pub time_ms: i64,
}

/// Facts of a handshake that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    pub version: String,
    pub suite: String,
    pub resumed: bool,
    /// None where the broker's certificate cannot be read.
    pub certificate: Option<CertificateFacts>,
    /// Whether the broker asked for a client certificate.
    pub asked_for_certificate: bool,
}

pub fn failure_of(error: &Error, observed: Observed, expected_name: &str) -> TlsFailure {
    TlsFailure {
        reason: reason_of(error, observed.refused.as_ref()),
        detail: error.to_string(),
        alert: match error {
            Error::AlertReceived(alert) => alert_name(*alert),
            _ => String::new(),
        },
        expected_name: expected_name.to_owned(),
        certificate: observed.refused,
        asked_for_certificate: observed.asked,
        first_bytes: Vec::new(),
        time_ms: now_ms(),
    }
}

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

fn reason_of(error: &Error, refused: Option<&CertificateFacts>) -> &'static str {
    match error {
        Error::InvalidCertificate(error) => certificate_reason(error, refused),
        Error::NoCertificatesPresented => "bad_certificate",
        Error::AlertReceived(alert) => alert_reason(*alert),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "no_common_version",
        Error::PeerIncompatible(_) => "no_common_suite",
        _ => "protocol",
    }
}

fn certificate_reason(
    error: &CertificateError,
    refused: Option<&CertificateFacts>,
) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "not_yet_valid"
        }
        CertificateError::UnknownIssuer => "unknown_issuer",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "wrong_name"
        }
        CertificateError::Revoked => "revoked",
        CertificateError::UnknownRevocationStatus => "revocation_unknown",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "wrong_purpose"
        }
        // The variants inside `Other` are of another crate, distinguished by the certificate itself.
        CertificateError::Other(_) if refused.is_some_and(|facts| facts.version < 3) => "version_1",
        CertificateError::Other(_) if refused.is_some_and(|facts| facts.is_authority) => {
            "authority_as_leaf"
        }
        _ => "bad_certificate",
    }
}

fn alert_reason(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => "client_certificate",
        AlertDescription::ProtocolVersion => "no_common_version",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "no_common_suite"
        }
        _ => "alert",
    }
}

/// The name as RFC 8446 writes it: certificate_required.
fn alert_name(alert: AlertDescription) -> String {
    let debug = format!("{alert:?}")
        .replace("CA", "Ca")
        .replace("PSK", "Psk");
    let mut name = String::new();
    for letter in debug.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_have_the_names_of_the_standard() {
        for (alert, name) in [
            (
                AlertDescription::CertificateRequired,
                "certificate_required",
            ),
            (AlertDescription::UnknownCA, "unknown_ca"),
            (AlertDescription::HandshakeFailure, "handshake_failure"),
        ] {
            assert_eq!(alert_name(alert), name);
        }
    }
}
