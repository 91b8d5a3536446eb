//! The bytes of a connection below framing: plain TCP, or TLS between the socket and the frames.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::tls::{TlsContext, TlsFailure, TlsPeer, TlsSession};

#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsSession>),
}

/// Options for connecting to one address.
#[derive(Debug, Clone)]
pub struct Dial {
    pub address: SocketAddr,
    /// 0: the system's default.
    pub send_buffer_bytes: usize,
    pub receive_buffer_bytes: usize,
    pub tls: Option<Box<DialTls>>,
}

/// TLS of one connection.
#[derive(Debug, Clone)]
pub struct DialTls {
    pub context: TlsContext,
    /// Name that the certificate must have, and that the server is asked for.
    pub server_name: String,
}

impl Transport {
    /// Begins to connect. The buffers are set first, because the window's scale is negotiated with the first packet.
    pub fn dial(dial: &Dial) -> io::Result<Self> {
        let domain = Domain::for_address(dial.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        if dial.send_buffer_bytes > 0 {
            socket.set_send_buffer_size(dial.send_buffer_bytes)?;
        }
        if dial.receive_buffer_bytes > 0 {
            socket.set_recv_buffer_size(dial.receive_buffer_bytes)?;
        }
        match socket.connect(&dial.address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stream = TcpStream::from_std(socket.into());
        Ok(match &dial.tls {
            None => Self::Tcp(stream),
            Some(tls) => {
                let session = TlsSession::new(stream, &tls.context, &tls.server_name)?;
                Self::Tls(Box::new(session))
            }
        })
    }

    /// Whether the connection is established; an error when it failed.
    pub fn is_connected(&self) -> io::Result<bool> {
        let stream = self.stream();
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Continues the handshake of TLS on an established connection; true when it is complete.
    pub fn handshake(&mut self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) => Ok(true),
            Self::Tls(session) => session.handshake(),
        }
    }

    /// The handshake took too long.
    pub fn expire_handshake(&mut self) {
        if let Self::Tls(session) = self {
            session.expire();
        }
    }

    /// Facts of the peer once the handshake is complete; None without TLS.
    pub fn peer(&self) -> Option<TlsPeer> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(session) => Some(session.peer()),
        }
    }

    /// Facts behind the last error, where TLS caused it.
    pub fn take_failure(&mut self) -> Option<Box<TlsFailure>> {
        match self {
            Self::Tcp(_) => None,
            Self::Tls(session) => session.take_failure(),
        }
    }

    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Tls(session) => session.read(into),
        }
    }

    /// Whether a read of fewer bytes than requested means that the socket is empty. Under TLS more plaintext may wait.
    pub fn short_read_is_last(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Tls(session) => session.write_vectored(slices),
        }
    }

    /// Whether the transport itself has bytes to write though no request waits (a handshake, a key update).
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(session) => session.wants_write(),
        }
    }

    /// Ends the connection even where another process holds a copy of the descriptor (a fork without exec).
    pub fn shutdown(&mut self) {
        if let Self::Tls(session) = self {
            session.close();
        }
        // Fails only when the connection has ended already.
        let _ = self.stream().shutdown(std::net::Shutdown::Both);
    }

    fn stream(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(session) => session.stream(),
        }
    }

    pub fn source(&mut self) -> &mut TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(session) => session.source(),
        }
    }
}
