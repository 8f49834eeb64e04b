//! Control sockets: small messages with descriptors attached, between a parent and one child.
#![allow(unsafe_code, reason = "takes ownership of descriptors that the kernel has just made")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, getsockopt, recvmsg,
    sendmsg, socketpair, sockopt::PeerCredentials,
};
use nix::unistd::geteuid;

use super::{fd::Fd, fd::above_standard, named, retry};

/// The longest message; texts in it are cut to fit.
pub(crate) const MESSAGE_BYTES: usize = 4 << 10;
/// The most descriptors that one message carries: as many as the kernel lets it carry, `SCM_MAX_FD`.
pub(crate) const MESSAGE_FDS: usize = 253;

/// One end of a control socket.
#[derive(Debug)]
pub(crate) struct Channel(Fd);

/// A message and the descriptors that came with it.
pub(crate) type Received = (Vec<u8>, Vec<OwnedFd>);

impl Channel {
    /// Both ends of a socket that preserves message boundaries. The death of one side ends the other's input.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (a, b) = pair.map_err(named("socketpair"))?;
        Ok((Self(Fd::new(a)?), Self(Fd::new(b)?)))
    }

    /// The end that a parent left to this process; an error if it is no socket, or its other end belongs to another
    /// user.
    pub(crate) fn from_parent(fd: OwnedFd) -> io::Result<Self> {
        let peer = getsockopt(&fd, PeerCredentials)?;
        if peer.uid() != geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self(Fd::new(fd)?))
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.0
    }

    pub(crate) fn into_fd(self) -> Fd {
        self.0
    }

    /// Sends a message with copies of the descriptors that have these numbers.
    pub(crate) fn send(&self, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
        assert!(bytes.len() <= MESSAGE_BYTES && fds.len() <= MESSAGE_FDS, "control messages are small");
        let rights = [ControlMessage::ScmRights(fds)];
        let rights = if fds.is_empty() { &[][..] } else { &rights[..] };
        let socket = self.0.intact()?.as_fd().as_raw_fd();
        // There is space for the few messages that may wait. If a send would block, the other side has stopped reading.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        retry(|| sendmsg::<()>(socket, &[IoSlice::new(bytes)], rights, flags, None))?;
        Ok(())
    }

    /// Waits for the next message; none once the other side has closed its end.
    pub(crate) fn receive(&self) -> io::Result<Option<Received>> {
        self.receive_with(MsgFlags::empty())
    }

    /// Like [`receive`](Self::receive), but does not wait: an error of the kind `WouldBlock` if there is no message
    /// yet.
    pub(crate) fn try_receive(&self) -> io::Result<Option<Received>> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    fn receive_with(&self, flags: MsgFlags) -> io::Result<Option<Received>> {
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut bytes = [0; MESSAGE_BYTES];
        let mut rights = nix::cmsg_space!([RawFd; MESSAGE_FDS]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            let socket = self.0.intact()?.as_fd().as_raw_fd();
            match recvmsg::<()>(socket, &mut parts, Some(&mut rights), flags) {
                // A reset: the other side ended without reading all our messages. The kernel reports this once, ahead
                // of the other side's last messages, so its answer, if any, comes next.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                received => break received?,
            }
        };
        if received.flags.contains(MsgFlags::MSG_CTRUNC) {
            // The buffer has room for all descriptors that are ever sent, so this process must have reached its limit.
            return Err(named("recvmsg")(Errno::EMFILE));
        }
        let mut fds = Vec::new();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(new) = message {
                // SAFETY: the kernel has just made these descriptors for this process, and nothing else owns them.
                fds.extend(new.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let fds = fds.into_iter().map(above_standard).collect::<io::Result<Vec<_>>>()?;
        if received.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a control message was cut off"));
        }
        let len = received.bytes;
        if len == 0 {
            return Ok(None);
        }
        Ok(Some((bytes[..len].to_vec(), fds)))
    }
}
