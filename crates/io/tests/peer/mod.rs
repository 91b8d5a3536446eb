//! Helpers for tests of the I/O thread: a peer in its own thread, and waits for events with a bound.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ottla_core::ids::ConnId;
use ottla_io::{ConnectOptions, Handle, IoEvent};

/// Maximum time of a wait.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts one connection after another and gives each to `serve`, `count` in all.
pub fn peer(
    count: usize,
    mut serve: impl FnMut(TcpStream) + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        for _ in 0..count {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            serve(stream);
        }
    });
    (address, thread)
}

/// One frame without its size; None at the end of the stream.
pub fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// The answer to a request frame: its correlation id, then `body`.
pub fn answer_to(request: &[u8], body: &[u8]) -> Vec<u8> {
    let frame = [&request[4..8], body].concat();
    [&(frame.len() as u32).to_be_bytes(), &frame[..]].concat()
}

/// Answers every request with the body of the request.
pub fn echo(mut stream: TcpStream) {
    while let Some(request) = read_frame(&mut stream) {
        if stream
            .write_all(&answer_to(&request, &request[8..]))
            .is_err()
        {
            return;
        }
    }
}

/// A request of Metadata (key 3) with this body.
pub fn request(body: &[u8]) -> Vec<u8> {
    [&[0, 3, 0, 0, 9, 9, 9, 9], body].concat()
}

pub fn options(address: SocketAddr) -> ConnectOptions {
    ConnectOptions {
        address,
        timeout: PATIENCE,
        send_buffer_bytes: 0,
        receive_buffer_bytes: 0,
        tls: None,
        frame_cap_bytes: 100 << 20,
    }
}

/// The I/O thread, with the events that no test has taken yet.
pub struct Bench {
    pub io: Handle,
    events: Vec<IoEvent>,
}

impl Bench {
    pub fn start() -> Self {
        Self {
            io: Handle::start().unwrap(),
            events: Vec::new(),
        }
    }

    /// Waits for the first event for which `wanted` returns a value, and returns that.
    pub fn wait<T>(&mut self, wanted: impl Fn(&IoEvent) -> Option<T>) -> T {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(place) = self.events.iter().position(|event| wanted(event).is_some()) {
                return wanted(&self.events.remove(place)).unwrap();
            }
            assert!(
                wait_readable(self.io.bell_fd(), limit),
                "waited too long: {:?}",
                self.events
            );
            self.events.extend(self.io.drain_events());
        }
    }

    /// Waits until the condition holds; checks it whenever the bell rings.
    pub fn until(&mut self, reached: impl Fn() -> bool) {
        let limit = Instant::now() + PATIENCE;
        loop {
            self.events.extend(self.io.drain_events());
            if reached() {
                return;
            }
            assert!(wait_readable(self.io.bell_fd(), limit), "waited too long");
        }
    }

    pub fn connect(&mut self, address: SocketAddr) -> ConnId {
        let conn = self.io.connect(&options(address));
        self.connected(conn);
        conn
    }

    pub fn connected(&mut self, conn: ConnId) {
        self.wait(|event| (*event == IoEvent::Connected { conn, tls: None }).then_some(()));
    }

    pub fn response(&mut self, token: u64) -> Vec<u8> {
        self.wait(|event| match event {
            IoEvent::Response {
                token: its, frame, ..
            } if *its == token => Some(frame[4..].to_vec()),
            _ => None,
        })
    }

    /// Waits for the loss of a connection; returns kind, message and unanswered tokens.
    pub fn wait_lost(&mut self, conn: ConnId) -> (ottla_core::seam::LostKind, String, Vec<u64>) {
        self.wait(|event| match event {
            IoEvent::Lost {
                conn: its,
                cause,
                tokens,
            } if *its == conn => Some((cause.kind, cause.message.clone(), tokens.clone())),
            _ => None,
        })
    }

    /// Events that no test has taken.
    pub fn rest(&mut self) -> Vec<IoEvent> {
        self.events.extend(self.io.drain_events());
        std::mem::take(&mut self.events)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        assert!(self.io.shutdown(PATIENCE) || thread::panicking());
    }
}

/// Whether the descriptor became readable before the limit.
pub fn wait_readable(fd: i32, limit: Instant) -> bool {
    let left = limit.saturating_duration_since(Instant::now()).as_millis() as i32;
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, valid for the call.
    unsafe { libc::poll(&mut poll, 1, left) > 0 }
}
