//! The bytes of a connection below framing. Plain TCP; TLS is one more variant between the socket and the frames.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

#[derive(Debug)]
pub enum Transport {
    Tcp(TcpStream),
}

/// Options for connecting to one address.
#[derive(Debug, Clone)]
pub struct Dial {
    pub address: SocketAddr,
    /// 0: the system's default.
    pub send_buffer_bytes: usize,
    pub receive_buffer_bytes: usize,
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
        Ok(Self::Tcp(TcpStream::from_std(socket.into())))
    }

    /// Whether the connection is established; an error when it failed.
    pub fn is_connected(&self) -> io::Result<bool> {
        let Self::Tcp(stream) = self;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self::Tcp(stream) = self;
        stream.read(into)
    }

    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self::Tcp(stream) = self;
        stream.write_vectored(slices)
    }

    /// Whether the transport itself has bytes to write though no request waits (a handshake, a key update).
    pub fn wants_write(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
        }
    }

    /// Ends the connection even where another process holds a copy of the descriptor (a fork without exec).
    pub fn shutdown(&self) {
        let Self::Tcp(stream) = self;
        // Fails only when the connection has ended already.
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }

    pub fn source(&mut self) -> &mut TcpStream {
        let Self::Tcp(stream) = self;
        stream
    }
}
