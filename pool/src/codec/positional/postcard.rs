//! The format of numbers in postcard, through that crate.

use std::io::Write;

use super::{Atom, Format, invalid, not_written};
use crate::codec::fault::{Kind, Result};

/// postcard: variable-length integers, with signed ones in zigzag encoding so that small ones stay small.
pub(in crate::codec) enum Postcard {}

/// The length of the longest number: 128 bits, 7 in each byte.
const LONGEST: usize = 19;

impl Format for Postcard {
    const IS_PLAIN: bool = false;

    #[inline]
    fn put<A: Atom>(atom: A, out: &mut impl Write) -> Result<()> {
        // Not `to_io`, which flushes the writer after each number.
        let mut bytes = [0; LONGEST];
        let written = ::postcard::to_slice(&atom, &mut bytes).map_err(|error| not_written(&error))?;
        out.write_all(written).map_err(|error| not_written(&error))
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
