//! Resets an eventfd that untrusted processes have too.
#![allow(unsafe_code, reason = "preadv2 has no safe wrapper in nix")]

use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::read;

/// Sets the counter to 0, without waiting if it is 0 already. `O_NONBLOCK` would not do: it belongs to the open file,
/// so a process with a duplicate can clear it, and read the counter just before.
pub(crate) fn reset(eventfd: impl AsFd) {
    let mut counter = [0u8; 8];
    let into = libc::iovec { iov_base: counter.as_mut_ptr().cast(), iov_len: counter.len() };
    // SAFETY: the kernel writes at most `iov_len` bytes, all of them into `counter`, which outlives the call, and
    // keeps neither address.
    let got = unsafe { libc::preadv2(eventfd.as_fd().as_raw_fd(), &raw const into, 1, -1, libc::RWF_NOWAIT) };
    if Errno::result(got).is_err_and(|error| error != Errno::EAGAIN) {
        // Linux before 5.8, or a sandbox that denies the call.
        let _ = read(eventfd, &mut counter);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;

    #[test]
    fn it_waits_for_nobody() {
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let blocking = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
            blocking.write(3).unwrap();
            reset(&blocking);
            reset(&blocking);
            blocking.write(5).unwrap();
            done.send(blocking.read().unwrap()).unwrap();
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(10)), Ok(5));
    }
}
