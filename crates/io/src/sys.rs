//! The system calls that std has no safe form of: the only `unsafe` of this crate.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Returns two descriptors; the first is readable once the second was written: an eventfd (None: one descriptor for both), or a
/// pipe. Non-blocking, and closed by exec.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn event_descriptors() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    // SAFETY: no pointer is passed; the result is checked before it is owned.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: eventfd returned a new descriptor that nothing else owns.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, None))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn event_descriptors() -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    use std::os::fd::AsRawFd;

    let mut fds = [0; 2];
    // SAFETY: `fds` has space for two descriptors.
    if unsafe { libc::pipe(fds.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: pipe returned two new descriptors that nothing else owns.
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

/// Does `work`, which starts a thread, with all signals blocked: the thread inherits the mask of the one that starts it, so
/// there is no moment in which a signal could reach it.
pub fn without_signals<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: zeroed signal sets are valid values that sigfillset and pthread_sigmask overwrite.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both sets are valid for the calls.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    let result = work();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    result
}
