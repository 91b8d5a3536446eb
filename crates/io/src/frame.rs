//! Reads frames from a stream of bytes: a size of four bytes, then as many bytes. Without I/O of its own.
//!
//! The size is checked before anything is allocated. Small frames get their buffer at once, and so do those of the size that the
//! request expects. The buffer of a larger one grows as its bytes arrive (or it is a pooled buffer), so that a claimed length costs
//! nothing.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::pool::{self, Pool, SMALL_BYTES};

/// Minimum size of a response: its correlation id.
const SMALLEST_FRAME: usize = 4;

/// An invalid length of a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLength(pub String);

#[derive(Debug)]
struct Body {
    buffer: Vec<u8>,
    used: usize,
    need: usize,
}

#[derive(Debug)]
pub struct FrameReader {
    pool: Arc<Pool>,
    cap_bytes: usize,
    size: [u8; 4],
    size_used: usize,
    body: Option<Body>,
    /// Maximum size of a frame that gets its buffer at once.
    trusted: usize,
}

impl FrameReader {
    pub fn new(pool: Arc<Pool>, cap_bytes: usize) -> Self {
        Self {
            pool,
            cap_bytes,
            size: [0; 4],
            size_used: 0,
            body: None,
            trusted: SMALL_BYTES,
        }
    }

    /// Sets the expected size of the next frames: one that is not much larger gets its buffer at once.
    pub fn expect(&mut self, bytes: usize) {
        self.trusted = bytes.saturating_add(SMALL_BYTES);
    }

    /// Bytes read and bytes expected of a frame that has begun; None between frames.
    pub fn partial(&self) -> Option<(usize, usize)> {
        match &self.body {
            Some(body) => Some((body.used + 4, body.need + 4)),
            None if self.size_used > 0 => Some((self.size_used, 4)),
            None => None,
        }
    }

    /// Takes bytes from the front of `bytes`. Returns a frame when one is complete; then more bytes may be left.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Result<Option<Bytes>, BadLength> {
        loop {
            match &mut self.body {
                None => {
                    let wanted = &mut self.size[self.size_used..];
                    let count = take(bytes, wanted);
                    self.size_used += count;
                    if self.size_used < self.size.len() {
                        return Ok(None);
                    }
                    self.size_used = 0;
                    self.body = Some(self.begin(check_size(self.size, self.cap_bytes)?));
                }
                Some(body) => {
                    while body.used < body.need && !bytes.is_empty() {
                        body.used += take(bytes, body.space(&self.pool));
                    }
                    return Ok(self.complete());
                }
            }
        }
    }

    /// Space for the rest of a large frame, to read into without a copy; None when that is not worth it.
    pub fn direct(&mut self) -> Option<&mut [u8]> {
        let body = self.body.as_mut()?;
        if body.need - body.used < SMALL_BYTES {
            return None;
        }
        Some(body.space(&self.pool))
    }

    /// Notes that `count` bytes were read into `direct`. Returns the frame when it is complete.
    pub fn filled(&mut self, count: usize) -> Option<Bytes> {
        if let Some(body) = &mut self.body {
            body.used += count;
        }
        self.complete()
    }

    fn begin(&self, need: usize) -> Body {
        let buffer = if need <= self.trusted {
            self.pool.take(need)
        } else {
            self.pool
                .take_existing(need)
                .unwrap_or_else(|| self.pool.take(SMALL_BYTES))
        };
        Body {
            buffer,
            used: 0,
            need,
        }
    }

    fn complete(&mut self) -> Option<Bytes> {
        let body = self.body.take_if(|body| body.used == body.need)?;
        Some(pool::freeze(body.buffer, body.used, &self.pool))
    }
}

impl Body {
    /// Space for the next bytes, at most as much as the frame needs. A full buffer doubles.
    fn space(&mut self, pool: &Pool) -> &mut [u8] {
        if self.used == self.buffer.len() {
            let mut larger = pool.take((self.used * 2).min(self.need));
            larger[..self.used].copy_from_slice(&self.buffer);
            pool.put(std::mem::replace(&mut self.buffer, larger));
        }
        let end = self.need.min(self.buffer.len());
        &mut self.buffer[self.used..end]
    }
}

fn take(from: &mut &[u8], into: &mut [u8]) -> usize {
    let count = from.len().min(into.len());
    let (head, tail) = from.split_at(count);
    into[..count].copy_from_slice(head);
    *from = tail;
    count
}

fn check_size(size: [u8; 4], cap_bytes: usize) -> Result<usize, BadLength> {
    let claimed = i32::from_be_bytes(size);
    match usize::try_from(claimed) {
        Ok(need) if need < SMALLEST_FRAME => Err(BadLength(format!(
            "a frame of {need} bytes is too short for a correlation id"
        ))),
        Ok(need) if need <= cap_bytes => Ok(need),
        _ => Err(BadLength(describe(size, claimed, cap_bytes))),
    }
}

/// Explains an invalid length by the protocol that its bytes belong to.
fn describe(size: [u8; 4], claimed: i32, cap_bytes: usize) -> String {
    let explanation = match size {
        [0x15, 0x03, ..] => ": it is a TLS alert, so the broker expects TLS on this port".into(),
        [0x16, 0x03, ..] => {
            ": it is a TLS handshake, so the broker expects TLS on this port".into()
        }
        _ if size.iter().all(is_text) => format!(
            ": its bytes are the text \"{}\", so {} answers at this address",
            size.escape_ascii(),
            server_of(size)
        ),
        _ => String::new(),
    };
    format!("a frame claims {claimed} bytes, over the limit of {cap_bytes}{explanation}")
}

fn is_text(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t')
}

fn server_of(text: [u8; 4]) -> &'static str {
    match &text {
        b"HTTP" => "an HTTP server",
        b"SSH-" => "an SSH server",
        _ => "a server that is most probably no Kafka broker",
    }
}

/// Result of one read: `count` is 0 at the end of the stream; `full`: the buffer was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub count: usize,
    pub full: bool,
}

/// Reads once from `read` and passes every complete frame to `each`.
pub fn read_frames<E: From<BadLength> + From<io::Error>>(
    reader: &mut FrameReader,
    scratch: &mut [u8],
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    mut each: impl FnMut(Bytes) -> Result<(), E>,
) -> Result<Read, E> {
    if let Some(space) = reader.direct() {
        let count = read(space)?;
        let full = count == space.len();
        if let Some(frame) = reader.filled(count) {
            each(frame)?;
        }
        return Ok(Read { count, full });
    }
    let count = read(scratch)?;
    let mut bytes = scratch.get(..count).unwrap_or_default();
    while !bytes.is_empty() {
        if let Some(frame) = reader.feed(&mut bytes)? {
            each(frame)?;
        }
    }
    Ok(Read {
        count,
        full: count == scratch.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(cap_bytes: usize) -> FrameReader {
        FrameReader::new(Arc::new(Pool::default()), cap_bytes)
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes(), body].concat()
    }

    #[test]
    fn frames_are_the_same_for_every_cut_of_the_stream() {
        let bodies = [vec![1; 4], vec![2; 5000], vec![3; 200_000], vec![4; 70]];
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
        for cut in [1, 3, 4, 7, 1000, 65536, stream.len()] {
            let mut reader = reader(1 << 20);
            let mut frames = Vec::new();
            for mut part in stream.chunks(cut) {
                while !part.is_empty() {
                    frames.extend(reader.feed(&mut part).unwrap());
                }
            }
            assert!(frames.iter().eq(bodies.iter()), "cut {cut}");
            assert_eq!(reader.partial(), None);
        }
    }

    #[test]
    fn a_claimed_length_allocates_nothing_large() {
        let mut reader = reader(100 << 20);
        let mut size: &[u8] = &(99u32 << 20).to_be_bytes();
        assert_eq!(reader.feed(&mut size), Ok(None));
        assert!(reader.direct().unwrap().len() <= SMALL_BYTES);
        assert_eq!(reader.partial(), Some((4, (99 << 20) + 4)));
    }

    #[test]
    fn an_expected_frame_has_its_buffer_at_once() {
        let mut reader = reader(100 << 20);
        reader.expect(1 << 20);
        let mut size: &[u8] = &((1u32 << 20) + 500).to_be_bytes();
        assert_eq!(reader.feed(&mut size), Ok(None));
        assert_eq!(reader.direct().unwrap().len(), (1 << 20) + 500);
    }

    #[test]
    fn an_impossible_length_is_explained() {
        for (size, word) in [
            (*b"HTTP", "\"HTTP\", so an HTTP server"),
            (*b"SSH-", "an SSH server"),
            (
                *b"<!DO",
                "the text \"<!DO\", so a server that is most probably no Kafka broker",
            ),
            (*b"220 ", "the text \"220 \""),
            (*b"-ER\r", "the text \"-ER\\r\""),
            ([b'a', b'b', 0x80, b'c'], "over the limit of 1048576"),
            ([0x15, 3, 3, 0], "TLS alert"),
            ([0x16, 3, 1, 2], "TLS handshake"),
            ([0xff; 4], "-1 bytes"),
            ([0, 0, 0, 3], "correlation id"),
        ] {
            let error = reader(1 << 20).feed(&mut &size[..]).unwrap_err();
            assert!(error.0.contains(word), "{error}");
            assert_eq!(error.0.contains("text"), size.iter().all(is_text));
        }
    }
}
