//! Memory that two threads share, by the names that memory between two processes has elsewhere.
#![allow(unsafe_code, reason = "the functions are unsafe where they map memory between processes")]

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::local::Local;
use super::zeroed::Zeroed;

/// Memory of a fixed size, zeroed.
#[derive(Debug)]
pub(crate) struct Memory(Arc<Zeroed>);

impl Memory {
    pub(crate) fn create(_name: &str, len: usize) -> io::Result<Self> {
        Ok(Self(Arc::new(Zeroed::new(len)?)))
    }

    /// Does nothing: an allocator says at once whether there is memory, as far as the system tells.
    pub(crate) fn allocate(&self, _len: usize) -> io::Result<()> {
        Ok(())
    }

    /// The first `len` bytes.
    pub(crate) fn map(&self, len: usize, _: Access) -> io::Result<Mapping> {
        Mapping::new(&self.0, len)
    }

    /// Does nothing: the thread that reads the memory is trusted not to write to it.
    pub(crate) fn seal_future_writes(&self) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn send(self) -> io::Result<SentMemory> {
        Ok(SentMemory(Local(self.0)))
    }
}

/// Memory on its way to a new worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SentMemory(Local<Arc<Zeroed>>);

impl SentMemory {
    pub(crate) fn map(self, len: usize, _: Access) -> io::Result<Mapping> {
        Mapping::new(&self.0.0, len)
    }
}

/// What a side does with the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// A share in memory, which is freed with the last one.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: Arc<Zeroed>,
    len: usize,
}

impl Mapping {
    fn new(memory: &Arc<Zeroed>, len: usize) -> io::Result<Self> {
        if len > memory.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self { memory: Arc::clone(memory), len })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first byte; it is aligned to a page.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }
}

/// True: an allocator has given all of the memory.
///
/// # Safety
/// None here.
pub(crate) unsafe fn populate(_start: NonNull<u8>, _len: usize) -> bool {
    true
}

/// Does nothing: std has no way to give pages back.
///
/// # Safety
/// None here.
pub(crate) unsafe fn release(_start: NonNull<u8>, _len: usize) {}
