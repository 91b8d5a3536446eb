//! The TLS of one client: its settings are checked once, all problems together, and its connections share the result.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, Error, InconsistentKeys, KeyLogFile, RootCertStore, SupportedProtocolVersion,
};

use super::facts::{self, CertificateFacts};
use super::failure::now_ms;
use super::material::{self, Problem, ProblemKind, Source};
use super::verifier::{ClientCertificate, Observations, Observed, Verifier};

/// Settings of a client, with the bytes of its files.
pub struct TlsSettings {
    pub trust: Vec<Source>,
    /// The store of the system: its unusable certificates are skipped.
    pub trust_is_system: bool,
    pub key: Option<Source>,
    /// None: next to the key.
    pub chain: Option<Source>,
    pub revocation: Vec<Source>,
    pub verifies_chain: bool,
    pub verifies_name: bool,
    pub tls12: bool,
    pub tls13: bool,
    /// By IANA name; empty: all that the library has.
    pub suites: Vec<String>,
    /// Writes the keys of sessions to the file that SSLKEYLOGFILE names.
    pub key_log: bool,
}

/// Facts of a context, for texts and health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContextFacts {
    pub authorities: usize,
    /// Unusable certificates of the system's store.
    pub skipped: usize,
    pub client_certificate: Option<CertificateFacts>,
}

/// Shared by the connections of a client: sessions are resumed within it.
#[derive(Clone)]
pub struct TlsContext {
    pub(super) config: Arc<ClientConfig>,
    pub(super) observed: Observations,
    pub facts: ContextFacts,
}

impl std::fmt::Debug for TlsContext {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TlsContext")
    }
}

impl TlsContext {
    /// # Errors
    /// All problems of the settings.
    pub fn new(settings: &TlsSettings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let provider = provider(settings, &mut problems);
        let roots = Roots::new(settings, &mut problems);
        let key = client_key(settings, &provider, &mut problems);
        let lists = revocation(settings, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut facts = ContextFacts {
            authorities: roots.authorities.len(),
            skipped: roots.skipped,
            client_certificate: None,
        };
        if let Some(key) = &key {
            facts.client_certificate = key.cert.first().and_then(|leaf| facts::facts_of(leaf));
        }
        let observed = Arc::new(Mutex::new(Observed::default()));
        let verifier = verifier(settings, roots, lists, &provider, observed.clone())
            .map_err(|problem| vec![problem])?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(settings))
            .map_err(|error| {
                vec![problem_of(
                    "ssl_cipher_suites",
                    ProblemKind::NoSuiteLeft,
                    error,
                )]
            })?;
        let resolver = ClientCertificate {
            key,
            observed: observed.clone(),
        };
        let mut config = config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(resolver));
        if settings.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(Self {
            config: Arc::new(config),
            observed,
            facts,
        })
    }

    /// Whether a broker's certificate can have this name: a host name or an address.
    pub fn is_name(name: &str) -> bool {
        server_name(name).is_some()
    }
}

/// A host name, without the dot of an absolute one, or an address.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(host.trim_end_matches('.').to_owned()).ok()
}

fn problem_of(place: &str, kind: ProblemKind, detail: impl ToString) -> Problem {
    Problem {
        place: place.into(),
        kind,
        detail: detail.to_string(),
    }
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let mut versions = Vec::new();
    if settings.tls13 {
        versions.push(&TLS13);
    }
    if settings.tls12 {
        versions.push(&TLS12);
    }
    versions
}

fn provider(settings: &TlsSettings, problems: &mut Vec<Problem>) -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    if settings.suites.is_empty() {
        return Arc::new(provider);
    }
    let all = std::mem::take(&mut provider.cipher_suites);
    let name = |suite: &rustls::SupportedCipherSuite| {
        let name = suite.suite().as_str().unwrap_or_default();
        name.replace("TLS13_", "TLS_")
    };
    for wanted in &settings.suites {
        match all.iter().find(|suite| name(suite) == *wanted) {
            Some(suite) => provider.cipher_suites.push(*suite),
            None => {
                let known: Vec<String> = all.iter().map(name).collect();
                let detail = format!("{wanted}; known: {}", known.join(", "));
                problems.push(problem_of(
                    "ssl_cipher_suites",
                    ProblemKind::UnknownSuite,
                    detail,
                ));
            }
        }
    }
    Arc::new(provider)
}

struct Roots {
    store: RootCertStore,
    authorities: Vec<CertificateDer<'static>>,
    skipped: usize,
}

impl Roots {
    fn new(settings: &TlsSettings, problems: &mut Vec<Problem>) -> Self {
        let mut roots = Self {
            store: RootCertStore::empty(),
            authorities: Vec::new(),
            skipped: 0,
        };
        for source in &settings.trust {
            match material::certificates(source) {
                Ok(found) => roots.add(found, source, settings.trust_is_system, problems),
                Err(_) if settings.trust_is_system => roots.skipped += 1,
                Err(problem) => problems.push(problem),
            }
        }
        roots
    }

    fn add(
        &mut self,
        found: Vec<CertificateDer<'static>>,
        source: &Source,
        skips: bool,
        problems: &mut Vec<Problem>,
    ) {
        for certificate in found {
            match self.store.add(certificate.clone()) {
                Ok(()) => self.authorities.push(certificate),
                Err(_) if skips => self.skipped += 1,
                Err(error) => {
                    problems.push(source.problem(ProblemKind::UnusableAuthority, error.to_string()))
                }
            }
        }
    }
}

fn verifier(
    settings: &TlsSettings,
    roots: Roots,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
    observed: Observations,
) -> Result<Verifier, Problem> {
    let algorithms = provider.signature_verification_algorithms;
    let mut verifier = Verifier {
        chains: None,
        authorities: roots.authorities,
        checks_name: settings.verifies_name,
        algorithms,
        observed,
    };
    if settings.verifies_chain {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots.store), provider.clone());
        // A list of one authority says nothing about certificates of another one.
        let builder = builder.with_crls(lists).allow_unknown_revocation_status();
        let chains = builder
            .build()
            .map_err(|error| problem_of("ssl_crl_location", ProblemKind::Unreadable, error))?;
        verifier.chains = Some(chains);
    }
    Ok(verifier)
}

fn revocation(
    settings: &TlsSettings,
    problems: &mut Vec<Problem>,
) -> Vec<CertificateRevocationListDer<'static>> {
    let mut lists = Vec::new();
    for source in &settings.revocation {
        match material::revocation_lists(source) {
            Ok(found) => lists.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    lists
}

// ---- the client's certificate ------------------------------------------------------------------------------------------

fn client_key(
    settings: &TlsSettings,
    provider: &CryptoProvider,
    problems: &mut Vec<Problem>,
) -> Option<Arc<CertifiedKey>> {
    let source = settings.key.as_ref()?;
    let key = material::key_and_chain(source).map_err(|problem| problems.push(problem));
    let chain = settings.chain.as_ref().map(material::certificates);
    let chain = chain.transpose().map_err(|problem| problems.push(problem));
    let (key, chain) = (key.ok()?, chain.ok()?);
    let place = settings.chain.as_ref().unwrap_or(source);
    let certificates = chain.unwrap_or(key.chain);
    if certificates.is_empty() {
        problems.push(place.problem(ProblemKind::NoCertificate, "PRIVATE KEY"));
        return None;
    }
    let count = certificates.len();
    for number in 0..count {
        let chain = ordered(&certificates, number);
        match CertifiedKey::from_der(chain, key.key.clone_key(), provider) {
            Ok(certified) => return valid_now(certified, place, problems),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {}
            Err(error) => {
                problems.push(source.problem(ProblemKind::UnusableKey, error.to_string()));
                return None;
            }
        }
    }
    problems.push(source.problem(ProblemKind::KeyMismatch, place.place.clone()));
    None
}

/// The chain that begins with one of the certificates, each followed by its issuer; other certificates are left out.
fn ordered(certificates: &[CertificateDer<'static>], leaf: usize) -> Vec<CertificateDer<'static>> {
    let named: Vec<_> = certificates
        .iter()
        .filter_map(|der| Some((der, facts::subject_and_issuer(der)?)))
        .collect();
    let mut chain = Vec::new();
    let mut next = certificates
        .get(leaf)
        .and_then(|wanted| named.iter().find(|(der, _)| *der == wanted));
    while let Some((der, (subject, issuer))) = next {
        chain.push((*der).clone());
        if subject == issuer || chain.len() > certificates.len() {
            break;
        }
        next = named.iter().find(|(_, (subject, _))| subject == issuer);
    }
    chain
}

fn valid_now(
    certified: CertifiedKey,
    place: &Source,
    problems: &mut Vec<Problem>,
) -> Option<Arc<CertifiedKey>> {
    let facts = certified
        .cert
        .first()
        .and_then(|leaf| facts::facts_of(leaf))?;
    let now = now_ms();
    let kind = if now > facts.not_after_ms {
        ProblemKind::ClientExpired
    } else if now < facts.not_before_ms {
        ProblemKind::ClientNotYetValid
    } else {
        return Some(Arc::new(certified));
    };
    problems.push(place.problem(kind, facts.subject));
    None
}
