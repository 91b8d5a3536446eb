//! Write queue of one connection: segments in order, many of them written with one system call.
//!
//! A segment is shared with the batch that owns it and is dropped only when the socket has taken its last byte.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// Slices per system call: far below every system's limit, and enough for a request of many partitions.
const SLICES: usize = 64;

#[derive(Debug, Default)]
pub struct WriteQueue {
    segments: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes ever queued and ever written. A request is written once `written` has reached its position in the stream.
    queued: u64,
    written: u64,
}

impl WriteQueue {
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    /// Queues one frame; returns the position of its end in the stream.
    pub fn push(&mut self, size: i32, segments: Vec<Bytes>) -> u64 {
        let size = Bytes::copy_from_slice(&size.to_be_bytes());
        for segment in std::iter::once(size).chain(segments) {
            if !segment.is_empty() {
                self.bytes += segment.len();
                self.queued += segment.len() as u64;
                self.segments.push_back(segment);
            }
        }
        self.queued
    }

    /// Writes once; returns the bytes that the socket took.
    pub fn write(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut used = 0;
            for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                *slice = IoSlice::new(segment);
                used += 1;
            }
            write(slices.get(..used).unwrap_or_default())?
        };
        self.advance(count);
        Ok(count)
    }

    fn advance(&mut self, count: usize) {
        let mut left = count.min(self.bytes);
        self.bytes -= left;
        self.written += left as u64;
        while left > 0 {
            let Some(front) = self.segments.front_mut() else {
                return;
            };
            if front.len() > left {
                front.advance(left);
                return;
            }
            left -= front.len();
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_keep_order_and_lose_nothing() {
        for step in [1, 2, 5, 1000] {
            let mut queue = WriteQueue::default();
            let parts = vec![
                Bytes::from_static(b"abc"),
                Bytes::new(),
                Bytes::from(vec![7; 90]),
            ];
            assert_eq!(queue.push(93, parts.clone()), 97);
            assert_eq!(queue.push(93, parts), 194);
            let mut out = Vec::new();
            while !queue.is_empty() {
                let taken = queue.write(|slices| {
                    let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
                    let count = all.len().min(step);
                    out.extend_from_slice(&all[..count]);
                    Ok(count)
                });
                assert!(taken.unwrap() <= step);
            }
            let frame = [&[0, 0, 0, 93][..], b"abc", &[7; 90]].concat();
            assert_eq!(out, [frame.clone(), frame].concat());
            assert_eq!((queue.len_bytes(), queue.written()), (0, 194));
        }
    }
}
