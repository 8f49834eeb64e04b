//! Descriptors, of which there are none.

use std::io;

#[derive(Debug, Clone, Copy)]
pub(crate) enum OwnedFd {}

#[derive(Debug)]
pub(crate) enum Guarded {}

impl Guarded {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        match fd {}
    }
}
