//! The format of numbers in bincode. With fixed-size integers it is that of records, so that these are written and read
//! without the crate, which takes several times as long; characters go through the crate.

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
        if A::IS_PLAIN {
            return atom.put_plain(out);
        }
        match ::bincode::serde::encode_into_std_write(atom, out, BINCODE) {
            Ok(_) => Ok(()),
            Err(error) => Err(not_written(&error)),
        }
    }

    #[inline]
    fn take<A: Atom>(bytes: &mut &[u8]) -> Result<A> {
        if A::IS_PLAIN {
            return A::take_plain(bytes);
        }
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
