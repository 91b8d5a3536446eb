//! Certificates, keys and revocation lists in the forms that users have: PEM, DER and PKCS12. Without files: Python reads them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64ct::{Base64, Encoding};
use p12_keystore::Pkcs12Archive;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::facts;

/// Bytes of a file or of a text, and their place in the words of the user.
#[derive(Clone)]
pub struct Source {
    /// Option, with the path of the file.
    pub place: String,
    pub bytes: Vec<u8>,
    pub password: Option<String>,
}

/// Problem of one source or option. Python has the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub kind: ProblemKind,
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    NoCertificate,
    NoKey,
    NoList,
    Unreadable,
    PasswordMissing,
    PasswordWrong,
    /// Encryption of PEM before PKCS#8.
    OldEncryption,
    KeyMismatch,
    UnusableKey,
    UnusableAuthority,
    ClientExpired,
    ClientNotYetValid,
    UnknownSuite,
    NoSuiteLeft,
}

impl ProblemKind {
    /// Name in Python.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::NoKey => "no_key",
            Self::NoList => "no_list",
            Self::Unreadable => "unreadable",
            Self::PasswordMissing => "password_missing",
            Self::PasswordWrong => "password_wrong",
            Self::OldEncryption => "old_encryption",
            Self::KeyMismatch => "key_mismatch",
            Self::UnusableKey => "unusable_key",
            Self::UnusableAuthority => "unusable_authority",
            Self::ClientExpired => "client_expired",
            Self::ClientNotYetValid => "client_not_yet_valid",
            Self::UnknownSuite => "unknown_suite",
            Self::NoSuiteLeft => "no_suite_left",
        }
    }
}

impl Source {
    pub fn problem(&self, kind: ProblemKind, detail: impl Into<String>) -> Problem {
        Problem {
            place: self.place.clone(),
            kind,
            detail: detail.into(),
        }
    }
}

/// Private key and the certificates next to it.
pub struct KeyAndChain {
    pub key: PrivateKeyDer<'static>,
    pub chain: Vec<CertificateDer<'static>>,
}

/// All certificates of a source.
pub fn certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let found = match Form::of(&source.bytes) {
        Form::Pem => pem_certificates(source)?,
        Form::Pkcs12 => trusted_of(archive(source)?),
        Form::Der => vec![CertificateDer::from(source.bytes.clone())],
    };
    if found.is_empty() {
        return Err(source.problem(ProblemKind::NoCertificate, sections_in(&source.bytes)));
    }
    if let Some(number) = found.iter().position(|der| facts::facts_of(der).is_none()) {
        let detail = format!("certificate {} of {}", number + 1, found.len());
        return Err(source.problem(ProblemKind::Unreadable, detail));
    }
    Ok(found)
}

/// Private key of a source, with the certificates in it.
pub fn key_and_chain(source: &Source) -> Result<KeyAndChain, Problem> {
    match Form::of(&source.bytes) {
        Form::Pem => {
            let key = pem_key(source)?;
            let chain = pem_certificates(source)?;
            Ok(KeyAndChain { key, chain })
        }
        Form::Pkcs12 => key_of(source, archive(source)?),
        Form::Der => Ok(KeyAndChain {
            key: der_key(source)?,
            chain: Vec::new(),
        }),
    }
}

/// Revocation lists of a source.
pub fn revocation_lists(
    source: &Source,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let found: Vec<_> = match Form::of(&source.bytes) {
        Form::Pem => sections(source)?
            .into_iter()
            .filter(|section| section.label == "X509 CRL")
            .map(|section| section.der.into())
            .collect(),
        Form::Pkcs12 | Form::Der => vec![source.bytes.clone().into()],
    };
    if found.is_empty() {
        return Err(source.problem(ProblemKind::NoList, sections_in(&source.bytes)));
    }
    Ok(found)
}

// ---- forms -------------------------------------------------------------------------------------------------------------

enum Form {
    Pem,
    Pkcs12,
    Der,
}

impl Form {
    fn of(bytes: &[u8]) -> Self {
        if find(bytes, b"-----BEGIN ").is_some() {
            return Self::Pem;
        }
        // PFX: a sequence that begins with the integer 3. A certificate begins with a sequence, a key with 0 or 1.
        let body = match bytes {
            [0x30, length, rest @ ..] if *length < 0x80 => rest,
            [0x30, length, rest @ ..] => rest.get(usize::from(length & 0x7f)..).unwrap_or_default(),
            _ => &[],
        };
        match body {
            [0x02, 0x01, 0x03, ..] => Self::Pkcs12,
            _ => Self::Der,
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

// ---- PEM ---------------------------------------------------------------------------------------------------------------

struct Section {
    label: String,
    /// Encrypted in the way of OpenSSL before PKCS#8.
    old_encryption: bool,
    der: Vec<u8>,
}

fn sections(source: &Source) -> Result<Vec<Section>, Problem> {
    let text = String::from_utf8_lossy(&source.bytes);
    let mut found = Vec::new();
    let mut rest: &str = &text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let section = after.split_once("-----").and_then(|(label, body)| {
            let (body, after) = body.split_once(&format!("-----END {label}-----"))?;
            Some((label, body, after))
        });
        let Some((label, body, after)) = section else {
            return Err(source.problem(ProblemKind::Unreadable, "a PEM section without its end"));
        };
        rest = after;
        found.push(section_of(label, body).ok_or_else(|| {
            source.problem(ProblemKind::Unreadable, format!("the base64 of {label}"))
        })?);
    }
    Ok(found)
}

fn section_of(label: &str, body: &str) -> Option<Section> {
    let old_encryption = body.contains("ENCRYPTED");
    let lines = body.lines().filter(|line| !line.contains(':'));
    let mut base64: String = lines.collect();
    base64.retain(|letter| !letter.is_whitespace());
    let der = if old_encryption {
        Vec::new()
    } else {
        Base64::decode_vec(&base64).ok()?
    };
    Some(Section {
        label: label.to_owned(),
        old_encryption,
        der,
    })
}

/// Labels of the PEM sections, for the text about a wrong file.
fn sections_in(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let labels = text.split("-----BEGIN ").skip(1);
    let labels = labels.filter_map(|rest| rest.split_once("-----"));
    let mut labels: Vec<String> = labels
        .map(|(label, _)| label.chars().take(40).collect())
        .collect();
    labels.dedup();
    labels.truncate(5);
    labels.join(", ")
}

fn pem_certificates(source: &Source) -> Result<Vec<CertificateDer<'static>>, Problem> {
    const LABELS: [&str; 3] = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"];
    let sections = sections(source)?;
    let certificates = sections
        .into_iter()
        .filter(|section| LABELS.contains(&section.label.as_str()));
    Ok(certificates.map(|section| section.der.into()).collect())
}

fn pem_key(source: &Source) -> Result<PrivateKeyDer<'static>, Problem> {
    for section in sections(source)? {
        if section.label.ends_with("PRIVATE KEY") && section.old_encryption {
            return Err(source.problem(ProblemKind::OldEncryption, section.label));
        }
        match section.label.as_str() {
            "PRIVATE KEY" => return Ok(PrivatePkcs8KeyDer::from(section.der).into()),
            "RSA PRIVATE KEY" => return Ok(PrivatePkcs1KeyDer::from(section.der).into()),
            "EC PRIVATE KEY" => return Ok(PrivateSec1KeyDer::from(section.der).into()),
            "ENCRYPTED PRIVATE KEY" => return decrypted(source, &section.der),
            _ => {}
        }
    }
    Err(source.problem(ProblemKind::NoKey, sections_in(&source.bytes)))
}

// ---- DER ---------------------------------------------------------------------------------------------------------------

fn der_key(source: &Source) -> Result<PrivateKeyDer<'static>, Problem> {
    if EncryptedPrivateKeyInfoRef::try_from(source.bytes.as_slice()).is_ok() {
        return decrypted(source, &source.bytes);
    }
    PrivateKeyDer::try_from(source.bytes.clone())
        .map_err(|_| source.problem(ProblemKind::NoKey, String::new()))
}

fn decrypted(source: &Source, der: &[u8]) -> Result<PrivateKeyDer<'static>, Problem> {
    let Some(password) = &source.password else {
        return Err(source.problem(ProblemKind::PasswordMissing, String::new()));
    };
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|error| source.problem(ProblemKind::Unreadable, error.to_string()))?;
    let key = encrypted
        .decrypt(password)
        .map_err(|_| source.problem(ProblemKind::PasswordWrong, String::new()))?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

// ---- PKCS12 ------------------------------------------------------------------------------------------------------------

fn archive(source: &Source) -> Result<Pkcs12Archive, Problem> {
    let password = source.password.as_deref().unwrap_or_default();
    // The parser is young, and a panic in it must not end the process's clients.
    let read = catch_unwind(AssertUnwindSafe(|| {
        Pkcs12Archive::from_pkcs12(&source.bytes, password)
    }));
    match read {
        Ok(Ok(archive)) => Ok(archive),
        Ok(Err(p12_keystore::error::Error::MacError(_))) => {
            let kind = match source.password {
                None => ProblemKind::PasswordMissing,
                Some(_) => ProblemKind::PasswordWrong,
            };
            Err(source.problem(kind, String::new()))
        }
        Ok(Err(error)) => Err(source.problem(ProblemKind::Unreadable, error.to_string())),
        Err(_) => Err(source.problem(ProblemKind::Unreadable, "the PKCS12 structure")),
    }
}

/// Certificates that belong to no key of the archive; where every one belongs to a key, all of them.
fn trusted_of(archive: Pkcs12Archive) -> Vec<CertificateDer<'static>> {
    let der = |bag: &p12_keystore::CertificateBag| CertificateDer::from(bag.cert.as_der().to_vec());
    let alone = archive
        .certs
        .iter()
        .filter(|bag| bag.local_key_id.is_none());
    let alone: Vec<_> = alone.map(der).collect();
    if alone.is_empty() {
        return archive.certs.iter().map(der).collect();
    }
    alone
}

fn key_of(source: &Source, archive: Pkcs12Archive) -> Result<KeyAndChain, Problem> {
    let Some(bag) = archive.keys.first() else {
        return Err(source.problem(ProblemKind::NoKey, "PKCS12 without a private key"));
    };
    let key = PrivatePkcs8KeyDer::from(bag.key.as_der().to_vec()).into();
    let chain = archive.certs.iter();
    let chain = chain.map(|bag| CertificateDer::from(bag.cert.as_der().to_vec()));
    Ok(KeyAndChain {
        key,
        chain: chain.collect(),
    })
}
