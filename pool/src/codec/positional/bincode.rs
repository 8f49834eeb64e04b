//! The format of numbers in bincode, through that crate.

use std::io::Write;

use ::bincode::config::{Configuration, Fixint, LittleEndian};
use ::bincode::error::DecodeError;

use super::{Atom, Format, invalid, not_written};
use crate::codec::fault::{Kind, Result};

/// bincode 2 with fixed-size integers.
pub(in crate::codec) enum Bincode {}

const BINCODE: Configuration<LittleEndian, Fixint> = ::bincode::config::standard().with_fixed_int_encoding();

impl Format for Bincode {
    const IS_PLAIN: bool = true;

    #[inline]
    fn put<A: Atom>(atom: A, out: &mut impl Write) -> Result<()> {
        match ::bincode::serde::encode_into_std_write(atom, out, BINCODE) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_written(&error)),
        }
    }

    #[inline]
    fn take<A: Atom>(bytes: &mut &[u8]) -> Result<A> {
        match ::bincode::serde::decode_from_slice(bytes, BINCODE) {
            Ok((atom, len)) => {
                *bytes = &bytes[len..];
                Ok(atom)
            }
            Err(DecodeError::UnexpectedEnd { .. }) => Err(Kind::Ends.into()),
            Err(_) => Err(invalid::<A>()),
        }
    }
}
