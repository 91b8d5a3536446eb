//! The TLS of one connection, between its socket and its frames.
//!
//! `read` returns plaintext, and `WouldBlock` only when the socket is empty and no plaintext waits. `write_vectored` reports bytes as
//! written when the socket has taken all of their records, as a plain socket would.

use std::io::{self, ErrorKind, IoSlice, Read, Write};

use mio::net::TcpStream;
use rustls::{ClientConnection, HandshakeKind};

use super::context::{TlsContext, server_name};
use super::facts::facts_of;
use super::failure::{TlsFailure, TlsPeer, failure_of, now_ms};
use super::verifier::{Observations, Observed};

/// Plaintext that is encrypted at once: four records of the largest size.
const CHUNK_BYTES: usize = 64 * 1024;
/// Size of a read from the socket: four records with their overhead.
const READ_BYTES: usize = 66 * 1024;
/// First bytes of the peer that are kept, to name a server that speaks no TLS.
const HEAD_BYTES: usize = 16;

pub(crate) struct TlsSession {
    stream: TcpStream,
    tls: Box<ClientConnection>,
    observed: Observations,
    name: String,
    /// Records read from the socket; `unread` of them are not given to rustls yet.
    incoming: Vec<u8>,
    unread: std::ops::Range<usize>,
    /// Plaintext bytes whose records wait to be written.
    sealed: usize,
    head: Vec<u8>,
    asked: bool,
    failure: Option<Box<TlsFailure>>,
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "TlsSession({})", self.name)
    }
}

impl TlsSession {
    pub fn new(stream: TcpStream, context: &TlsContext, name: &str) -> io::Result<Self> {
        let server = server_name(name).ok_or_else(|| {
            let text = format!("{name:?} is neither a host name nor an address");
            io::Error::new(ErrorKind::InvalidInput, text)
        })?;
        let mut tls = ClientConnection::new(context.config.clone(), server)
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        // `write_vectored` bounds the records itself.
        tls.set_buffer_limit(None);
        Ok(Self {
            stream,
            tls: Box::new(tls),
            observed: context.observed.clone(),
            name: name.to_owned(),
            incoming: Vec::new(),
            unread: 0..0,
            sealed: 0,
            head: Vec::new(),
            asked: false,
            failure: None,
        })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Continues the handshake; true when it is complete.
    pub fn handshake(&mut self) -> io::Result<bool> {
        loop {
            match self.flush() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.ended_early(error)),
            }
            if !self.tls.is_handshaking() {
                return Ok(true);
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) => {
                    let error = io::Error::new(ErrorKind::UnexpectedEof, "closed");
                    return Err(self.ended_early(error));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ended_early(error)),
            }
        }
    }

    /// The peer ended the connection before the handshake was complete.
    fn ended_early(&mut self, error: io::Error) -> io::Error {
        if self.failure.is_none() {
            self.failure = Some(Box::new(TlsFailure {
                reason: "closed",
                detail: error.to_string(),
                expected_name: self.name.clone(),
                asked_for_certificate: self.asked,
                time_ms: now_ms(),
                ..TlsFailure::default()
            }));
        }
        error
    }

    /// The deadline of the handshake has passed.
    pub fn expire(&mut self) {
        self.ended_early(io::Error::new(ErrorKind::TimedOut, "no answer"));
        if let Some(failure) = &mut self.failure {
            failure.reason = "timeout";
        }
    }

    /// Facts of the peer; the handshake is complete.
    pub fn peer(&self) -> TlsPeer {
        let version = self
            .tls
            .protocol_version()
            .and_then(|version| version.as_str());
        let suite = self.tls.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str());
        let leaf = self.tls.peer_certificates().and_then(|chain| chain.first());
        TlsPeer {
            version: version.unwrap_or_default().replace('_', "."),
            suite: suite.unwrap_or_default().replace("TLS13_", "TLS_"),
            resumed: self.tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificate: leaf.and_then(|leaf| facts_of(leaf)),
            asked_for_certificate: self.asked,
        }
    }

    /// Facts of the failure behind the last error, where it is one of TLS.
    pub fn take_failure(&mut self) -> Option<Box<TlsFailure>> {
        self.failure.take()
    }

    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(into) {
                Ok(count) => return Ok(count),
                // Without close_notify: a loss like any other.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.receive()?;
        }
    }

    /// Passes one read of the socket, or a part of it, to rustls; false at the end of the stream.
    fn receive(&mut self) -> io::Result<bool> {
        if self.unread.is_empty() {
            self.incoming.resize(READ_BYTES, 0);
            let count = self.stream.read(&mut self.incoming)?;
            self.unread = 0..count;
            self.keep_head();
        }
        let mut bytes = self.incoming.get(self.unread.clone()).unwrap_or_default();
        let taken = self.tls.read_tls(&mut bytes)?;
        self.unread.start += taken;
        match self.tls.process_new_packets() {
            Ok(_) => {
                self.note_observed();
                Ok(taken > 0)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn keep_head(&mut self) {
        let wanted = HEAD_BYTES.saturating_sub(self.head.len());
        let read = self.incoming.get(self.unread.clone()).unwrap_or_default();
        self.head.extend(read.iter().take(wanted));
    }

    fn note_observed(&mut self) -> Observed {
        let observed = std::mem::take(&mut *self.observed.lock());
        self.asked |= observed.asked;
        observed
    }

    fn fail(&mut self, error: &rustls::Error) -> io::Error {
        let mut observed = self.note_observed();
        observed.asked = self.asked;
        // The peer may read the alert, or have closed.
        let _ = self.flush();
        let mut failure = failure_of(error, observed, &self.name);
        if matches!(error, rustls::Error::InvalidMessage(_)) && !is_record(&self.head) {
            failure.reason = "not_tls";
            failure.first_bytes.clone_from(&self.head);
        }
        let text = failure.detail.clone();
        self.failure = Some(Box::new(failure));
        io::Error::new(ErrorKind::InvalidData, text)
    }

    /// Encrypts the next bytes and writes their records. `WouldBlock`: the records wait, and the next call goes on with the same bytes.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.sealed == 0 {
            self.seal(slices)?;
        }
        self.flush()?;
        Ok(std::mem::take(&mut self.sealed))
    }

    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let mut left = CHUNK_BYTES;
        let mut whole = 0;
        for slice in slices {
            if slice.len() > left {
                break;
            }
            left -= slice.len();
            whole += 1;
        }
        let (first, rest) = slices.split_at(whole);
        if !first.is_empty() {
            self.sealed = self.tls.writer().write_vectored(first)?;
        }
        if let Some(part) = rest.first().and_then(|slice| slice.get(..left)) {
            self.sealed += self.tls.writer().write(part)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether records wait to be written: of a handshake, a key update, or of bytes that are reported later.
    pub fn wants_write(&self) -> bool {
        self.tls.wants_write() || self.sealed > 0
    }

    /// Announces the end; the peer may be gone.
    pub fn close(&mut self) {
        if self.failure.is_none() && !self.tls.is_handshaking() {
            self.tls.send_close_notify();
            let _ = self.flush();
        }
    }
}

/// Whether these bytes can begin a record of TLS.
fn is_record(head: &[u8]) -> bool {
    matches!(head, [0x14..=0x18, 0x03, 0x00..=0x04, ..])
}
