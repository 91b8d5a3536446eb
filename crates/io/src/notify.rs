//! A file descriptor that becomes readable on a call: an eventfd on Linux, a pipe elsewhere.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Writes once per cycle: after the first `notify`, later ones do nothing until `clear`.
#[derive(Debug)]
pub struct Notify {
    rung: AtomicBool,
    read: File,
    /// None for an eventfd, which is read and written through one descriptor.
    write: Option<File>,
}

impl Notify {
    pub fn new() -> io::Result<Self> {
        let (read, write) = sys::event_descriptors()?;
        Ok(Self {
            rung: AtomicBool::new(false),
            read: read.into(),
            write: write.map(File::from),
        })
    }

    /// The descriptor to watch for readability.
    pub fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Makes the descriptor readable; a second call before `clear` costs one atomic operation.
    pub fn notify(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64.to_ne_bytes();
        let mut end = self.write.as_ref().unwrap_or(&self.read);
        // A full pipe or eventfd refuses (EAGAIN), but it is readable already, which is enough.
        while let Err(error) = end.write(&one)
            && error.kind() == ErrorKind::Interrupted
        {}
    }

    /// Makes the descriptor unreadable. Call it before reading the published data: (1) the flag is cleared, (2) the reader reads,
    /// (3) a thread that publishes after (1) notifies again. The swap pairs with the one in `notify`: a thread that found the flag
    /// set has published before it was cleared, so the reader sees its data.
    pub fn clear(&self) {
        let mut bytes = [0u8; 64];
        loop {
            match (&self.read).read(&mut bytes) {
                Ok(read) if read == bytes.len() => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        self.rung.swap(false, Ordering::AcqRel);
    }
}
