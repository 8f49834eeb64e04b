//! Processes that are held up as they read, so that something can happen before.

use std::fs::File;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc::channel;
use std::thread;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sandbox::{Denied, forbid_new_privileges};

/// Holds up each read of so many bytes.
pub(super) struct Hold(OwnedFd);

/// A read that has not begun. Its process can be killed meanwhile.
pub(super) struct Held<'h> {
    hold: &'h Hold,
    read: libc::seccomp_notif,
}

/// Passes what `start` starts to `watch`, with a hold on all reads of this many bytes by the processes among that.
///
/// # Errors
/// If the system refuses the hold.
pub(super) fn with_held_reads<T: Send, R>(
    bytes: u32,
    start: impl FnOnce() -> T + Send,
    watch: impl FnOnce(&Hold, T) -> R,
) -> io::Result<R> {
    let ((send, started), (release, is_over)) = (channel(), channel::<()>());
    thread::scope(|scope| {
        // A thread of its own, because the hold is on the thread that starts processes, too. It lives as long as they
        // do: its end may be their parent's death.
        scope.spawn(move || {
            let started = Hold::on_this_thread(bytes).map(|hold| (hold, start()));
            if send.send(started).is_ok() {
                let _ = is_over.recv();
            }
        });
        let (hold, started) = started.recv().expect("the thread has started it")?;
        let watched = watch(&hold, started);
        drop(release);
        Ok(watched)
    })
}

impl Hold {
    fn on_this_thread(bytes: u32) -> io::Result<Self> {
        let mut steps = Denied::call(libc::SYS_read, Some((2, bytes))).answered(libc::SECCOMP_RET_USER_NOTIF);
        let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
        forbid_new_privileges()?;
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        // SAFETY: the kernel reads the steps that the filter points to, which outlive the call. The result is a new
        // descriptor, or -1.
        #[expect(unsafe_code)]
        unsafe {
            match libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter) {
                -1 => Err(io::Error::last_os_error()),
                listener => Ok(Self(OwnedFd::from_raw_fd(listener as i32))),
            }
        }
    }

    /// Waits for the next read.
    pub(super) fn next(&self) -> io::Result<Held<'_>> {
        // SAFETY: the struct consists of numbers. The kernel demands that they are 0, and writes one such struct.
        #[expect(unsafe_code)]
        unsafe {
            let mut read: libc::seccomp_notif = zeroed();
            self.ask(0, &raw mut read)?;
            Ok(Held { hold: self, read })
        }
    }

    /// # Safety
    /// The request with this number must read and write one `T`.
    #[expect(unsafe_code)]
    unsafe fn ask<T>(&self, number: u32, value: *mut T) -> io::Result<()> {
        let request = libc::_IOWR::<T>(u32::from(b'!'), number);
        // SAFETY: as the caller says.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request, value) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl Held<'_> {
    /// Waits until the bytes are there.
    pub(super) fn wait_for_bytes(&self) -> io::Result<()> {
        let file = File::open(format!("/proc/{}/fd/{}", self.read.pid, self.read.data.args[0]))?;
        poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        Ok(())
    }

    /// Lets the read begin.
    pub(super) fn go_on(self) -> io::Result<()> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let mut answer = libc::seccomp_notif_resp { id: self.read.id, val: 0, error: 0, flags };
        // SAFETY: the kernel reads one such struct, and writes none.
        #[expect(unsafe_code)]
        unsafe {
            self.hold.ask(1, &raw mut answer)
        }
    }
}
