//! TLS of a connection, below framing (ADR 0005). Types of rustls appear in this folder alone, so that another version of it
//! changes nothing else.
//!
//! `material` reads certificates and keys in all their forms, `facts` the fields of a certificate, `context` checks the settings
//! of a client and makes what its connections share, `verifier` checks the certificate of a broker, `session` is the TLS of one
//! connection, `failure` the facts of a handshake that failed. Python writes the texts (`ottla.security`).

mod context;
mod facts;
mod failure;
mod material;
mod session;
mod verifier;

pub use context::{ContextFacts, TlsContext, TlsSettings};
pub use facts::CertificateFacts;
pub use failure::{TlsFailure, TlsPeer};
pub use material::{Problem, ProblemKind, Source};
pub(crate) use session::TlsSession;
