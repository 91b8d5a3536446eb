//! The fields of a certificate that texts and the health of a client show.

use std::net::IpAddr;

use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Version};

/// Fields of one certificate. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateFacts {
    pub subject: String,
    pub issuer: String,
    pub common_name: String,
    /// Names and addresses of the extension subjectAltName.
    pub names: Vec<String>,
    pub not_before_ms: i64,
    pub not_after_ms: i64,
    pub is_authority: bool,
    /// X.509 version; 3 is the only one with extensions.
    pub version: u32,
}

/// Longest list of names that is kept: a server chooses it.
const MOST_NAMES: usize = 20;

/// Fields of a certificate in DER; None where the bytes are no certificate.
pub fn facts_of(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let common_name = certificate.subject().iter_common_name().next();
    let common_name = common_name.and_then(|name| name.as_str().ok());
    let validity = certificate.validity();
    Some(CertificateFacts {
        subject: short(&certificate.subject().to_string()),
        issuer: short(&certificate.issuer().to_string()),
        common_name: short(common_name.unwrap_or_default()),
        names: names_of(&certificate),
        not_before_ms: validity.not_before.timestamp().saturating_mul(1000),
        not_after_ms: validity.not_after.timestamp().saturating_mul(1000),
        is_authority: certificate.is_ca(),
        version: version_of(certificate.version),
    })
}

fn version_of(version: X509Version) -> u32 {
    version.0.saturating_add(1)
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(found) = extension.parsed_extension() {
            let shown = found.general_names.iter().filter_map(name_of);
            names.extend(shown.take(MOST_NAMES));
        }
    }
    names
}

fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(short(name)),
        GeneralName::IPAddress(bytes) => address_of(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A text of a stranger, cut and without control characters.
fn short(text: &str) -> String {
    let printable = text.chars().filter(|letter| !letter.is_control());
    printable.take(200).collect()
}

/// The encoded names of a certificate's subject and issuer.
pub fn subject_and_issuer(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (subject, issuer) = (certificate.subject(), certificate.issuer());
    Some((subject.as_raw().to_vec(), issuer.as_raw().to_vec()))
}
