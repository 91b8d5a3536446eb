//! Frames from a stream of bytes, for any lengths of the reads.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ottla_io::frame::{BadLength, FrameReader, read_frames};
use ottla_io::pool::Pool;

const CAP: usize = 1 << 20;
const SCRATCH: usize = 8 * 1024;
const HEAD: usize = 5;

/// Four lengths of reads and a number of repetitions, then the stream.
///
/// Repeated, a short input becomes frames that are too large for the scratch buffer and are read straight into theirs.
pub fn frames(data: &[u8]) {
    let Some((head, part)) = data.split_first_chunk::<HEAD>() else {
        return;
    };
    let stream = part.repeat(usize::from(head[4] % 64) + 1);
    let lengths = head[..4].iter().map(|byte| 1 << (byte % 15)).cycle();
    assert_eq!(read(&stream, lengths), split(&stream));
}

enum Failure {
    Length,
    Io,
}

impl From<BadLength> for Failure {
    fn from(_: BadLength) -> Self {
        Self::Length
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

/// Returns the frames that the reader finds in the stream, and whether it found an invalid length.
fn read(stream: &[u8], mut lengths: impl Iterator<Item = usize>) -> (Vec<Bytes>, bool) {
    let mut reader = FrameReader::new(Arc::new(Pool::default()), CAP);
    let mut scratch = vec![0; SCRATCH];
    let mut frames = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let next = |space: &mut [u8]| {
            let count = lengths.next().unwrap_or(1).min(space.len()).min(rest.len());
            let (head, tail) = rest.split_at(count);
            space[..count].copy_from_slice(head);
            rest = tail;
            Ok(count)
        };
        let keep = |frame| {
            frames.push(frame);
            Ok(())
        };
        match read_frames::<Failure>(&mut reader, &mut scratch, next, keep) {
            Ok(_) => {}
            Err(Failure::Length) => return (frames, true),
            Err(Failure::Io) => unreachable!("memory has no errors"),
        }
    }
    (frames, false)
}

/// Same result by the definition: a size of four bytes, then as many bytes.
fn split(mut stream: &[u8]) -> (Vec<Bytes>, bool) {
    let mut frames = Vec::new();
    while let Some((size, rest)) = stream.split_first_chunk::<4>() {
        match usize::try_from(i32::from_be_bytes(*size)) {
            Ok(len) if (4..=CAP).contains(&len) => {
                let Some((frame, tail)) = rest.split_at_checked(len) else {
                    break;
                };
                frames.push(Bytes::copy_from_slice(frame));
                stream = tail;
            }
            _ => return (frames, true),
        }
    }
    (frames, false)
}
