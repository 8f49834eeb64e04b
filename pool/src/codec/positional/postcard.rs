//! The format of numbers in postcard, through that crate.

use std::io::Write;

use super::{Atom, Format, invalid, not_written};
use crate::codec::fault::{Kind, Result};

/// postcard: variable-length integers, with signed ones in zigzag encoding so that small ones stay small.
pub(in crate::codec) enum Postcard {}

impl Format for Postcard {
    const IS_PLAIN: bool = false;

    #[inline]
    fn put<A: Atom>(atom: A, out: &mut impl Write) -> Result<()> {
        match ::postcard::to_io(&atom, out) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_written(&error)),
        }
    }

    #[inline]
    fn take<A: Atom>(bytes: &mut &[u8]) -> Result<A> {
        match ::postcard::take_from_bytes(bytes) {
            Ok((atom, rest)) => {
                *bytes = rest;
                Ok(atom)
            }
            Err(::postcard::Error::DeserializeUnexpectedEnd) => Err(Kind::Ends.into()),
            Err(_) => Err(invalid::<A>()),
        }
    }
}
