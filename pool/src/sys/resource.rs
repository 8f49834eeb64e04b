//! What a process may have a limit on.

/// What a limit is on, for the builder's [`rlimit`](crate::WorkerPoolBuilder::rlimit). Each is the `RLIMIT_` constant
/// of its name, in capitals: see getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// The size of the address space, in bytes.
    As,
    /// The size of a core file, in bytes; 0 for none.
    Core,
    /// CPU time, in seconds. A worker that is replaced counts anew.
    Cpu,
    /// The size of the data segment: heap, and initialized and other statics, in bytes.
    Data,
    /// The size of a file that is written, in bytes.
    Fsize,
    /// The number of file locks; Linux ignores it.
    Locks,
    /// How many bytes may be locked in memory.
    Memlock,
    /// How many bytes POSIX message queues of this user may take.
    Msgqueue,
    /// How far the nice value may be lowered: to 20 minus this.
    Nice,
    /// One more than the highest number that a descriptor may have. Besides the standard streams, a worker has some of
    /// the pool's own.
    Nofile,
    /// How many processes and threads this user may have. Root is not bound by it.
    Nproc,
    /// The size of the resident memory; Linux ignores it. See
    /// [`memory_limit`](crate::WorkerPoolBuilder::memory_limit).
    Rss,
    /// The highest real-time priority.
    Rtprio,
    /// How long real-time work may go on without waiting, in microseconds.
    Rttime,
    /// How many signals of this user may be queued.
    Sigpending,
    /// The size of the main thread's stack, in bytes.
    Stack,
}

impl Resource {
    pub(crate) const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];
}
