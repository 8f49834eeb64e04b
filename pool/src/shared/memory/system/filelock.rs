//! Locks on bytes of an object's file. Each belongs to one opening of the file ("open file description locks" in
//! fcntl(2)), and lasts until the last descriptor or mapping of that opening is gone, in any process. So a lock that
//! only a mapping carries tells whether the mapping is still there: the kernel drops it with the process, however that
//! ends.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::sys::fd::Guarded;

/// The kind of a lock.
#[derive(Debug, Clone, Copy)]
pub(in crate::shared) enum Kind {
    Shared,
    Exclusive,
}

/// Takes a lock, or changes the kind of this opening's lock. False, without any change, if another opening's lock
/// conflicts.
pub(in crate::shared) fn try_lock(file: &impl AsFd, kind: Kind, at: i64) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, at))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether an opening other than this one has a lock there.
pub(in crate::shared) fn is_locked(file: &Guarded, at: i64) -> io::Result<bool> {
    let file = file.intact()?;
    let mut found = range(Kind::Exclusive, at);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(i32::from(found.l_type) != libc::F_UNLCK)
}

/// One byte, which may be far beyond the end of the file.
fn range(kind: Kind, at: i64) -> libc::flock {
    let kind = match kind {
        Kind::Shared => libc::F_RDLCK,
        Kind::Exclusive => libc::F_WRLCK,
    };
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: at, l_len: 1, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::file::{Memory, reopen};
    use super::*;

    #[test]
    fn openings_exclude_each_other() {
        let memory = Memory::create("pool test locks", 1).unwrap();
        let [one, other] = [(), ()].map(|()| Guarded::new(reopen(memory.file()).unwrap()).unwrap());
        assert!(try_lock(&one, Kind::Shared, 1 << 50).unwrap());
        assert!(try_lock(&other, Kind::Shared, 1 << 50).unwrap());
        assert!(!try_lock(&one, Kind::Exclusive, 1 << 50).unwrap());
        drop(other);
        assert!(try_lock(&one, Kind::Exclusive, 1 << 50).unwrap());
        assert!(is_locked(memory.file(), 1 << 50).unwrap() && !is_locked(&one, 1 << 50).unwrap());
        assert!(!is_locked(memory.file(), 1 << 51).unwrap());
    }
}
