//! A file descriptor that becomes readable when somebody calls: an eventfd on Linux, a pipe elsewhere.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// One write per cycle: rung once, it stays silent until `clear`.
#[derive(Debug)]
pub struct Notify {
    rung: AtomicBool,
    read: OwnedFd,
    /// None for an eventfd, which is read and written through one descriptor.
    write: Option<OwnedFd>,
}

impl Notify {
    pub fn new() -> io::Result<Self> {
        let (read, write) = descriptors()?;
        Ok(Self {
            rung: AtomicBool::new(false),
            read,
            write,
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
        let fd = self.write.as_ref().unwrap_or(&self.read).as_raw_fd();
        loop {
            // SAFETY: `one` is 8 readable bytes and the descriptor is owned by self.
            let written = unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
            // A full pipe or eventfd (EAGAIN) is readable already, which is all that is wanted.
            if written >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }

    /// Makes the descriptor unreadable. To be called before looking at what was announced:
    /// (1) the flag falls, (2) the reader looks, (3) who announces after (1) notifies again. The swap pairs with the
    /// one in `notify`: who found the flag still up has published before it fell, and the reader sees it.
    pub fn clear(&self) {
        let mut bytes = [0u8; 64];
        loop {
            // SAFETY: `bytes` is writable for its length and the descriptor is owned by self and non-blocking.
            let read = unsafe { libc::read(self.fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
            if read < bytes.len() as isize
                && (read >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted)
            {
                break;
            }
        }
        self.rung.swap(false, Ordering::AcqRel);
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn descriptors() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    // SAFETY: no pointer is passed; the result is checked before it is owned.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: eventfd returned a new descriptor that nobody else owns.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, None))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn descriptors() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    if unsafe { libc::pipe(fds.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: pipe returned two new descriptors that nobody else owns.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    for fd in [read.as_raw_fd(), write.as_raw_fd()] {
        // SAFETY: the descriptor is open; the calls take integers alone.
        let done = unsafe {
            libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) >= 0
                && libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) >= 0
        };
        if !done {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((read, Some(write)))
}
