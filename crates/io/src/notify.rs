//! A file descriptor that becomes readable when somebody calls: an eventfd on Linux, a pipe elsewhere.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// One write per cycle: rung once, it stays silent until `clear`.
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
        // A full pipe or eventfd refuses (EAGAIN), and is readable already, which is all that is wanted.
        while let Err(error) = end.write(&one)
            && error.kind() == ErrorKind::Interrupted
        {}
    }

    /// Makes the descriptor unreadable. To be called before looking at what was announced:
    /// (1) the flag falls, (2) the reader looks, (3) who announces after (1) notifies again. The swap pairs with the
    /// one in `notify`: who found the flag still up has published before it fell, and the reader sees it.
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
