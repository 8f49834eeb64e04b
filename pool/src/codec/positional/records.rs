//! Little-endian numbers of fixed size: the format of records, the reports between parent and worker, which do not
//! depend on the build's codecs.

use std::io::Write;

use super::{Atom, Format};
use crate::codec::fault::{Kind, Result};

/// The format of records.
pub(in crate::codec) enum Records {}

impl Format for Records {
    const IS_PLAIN: bool = true;

    #[inline]
    fn put<A: Atom>(atom: A, out: &mut impl Write) -> Result<()> {
        atom.put_plain(out)
    }

    #[inline]
    fn take<A: Atom>(bytes: &mut &[u8]) -> Result<A> {
        A::take_plain(bytes)
    }
}

macro_rules! numbers {
    ($($number:ident),+) => {
        $(impl Atom for $number {
            const IS_PLAIN: bool = true;

            #[inline]
            fn put_plain(self, out: &mut impl Write) -> Result<()> {
                Ok(out.write_all(&self.to_le_bytes())?)
            }

            #[inline]
            fn take_plain(bytes: &mut &[u8]) -> Result<Self> {
                let (front, rest) = bytes.split_first_chunk().ok_or(Kind::Ends)?;
                *bytes = rest;
                Ok(Self::from_le_bytes(*front))
            }
        })+
    };
}

numbers!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, f64);

impl Atom for bool {
    const IS_PLAIN: bool = true;

    #[inline]
    fn put_plain(self, out: &mut impl Write) -> Result<()> {
        u8::from(self).put_plain(out)
    }

    #[inline]
    fn take_plain(bytes: &mut &[u8]) -> Result<Self> {
        match u8::take_plain(bytes)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Kind::Invalid("bool").into()),
        }
    }
}

impl Atom for char {
    const IS_PLAIN: bool = false;

    #[inline]
    fn put_plain(self, out: &mut impl Write) -> Result<()> {
        u32::from(self).put_plain(out)
    }

    #[inline]
    fn take_plain(bytes: &mut &[u8]) -> Result<Self> {
        Self::from_u32(u32::take_plain(bytes)?).ok_or_else(|| Kind::Invalid("char").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_record, encode_record};

    fn there_and_back<A: Atom + Copy + PartialEq + std::fmt::Debug>(atom: A, bytes: &[u8]) {
        let mut written = Vec::new();
        encode_record(&atom, &mut written).unwrap();
        assert_eq!(written, bytes);
        assert_eq!(decode_record::<A>(bytes).as_ref(), Ok(&atom));
        assert!(decode_record::<A>(&bytes[1..]).unwrap_err().contains("ends before its last byte"));
        assert!(decode_record::<A>(&[bytes, &[0]].concat()).unwrap_err().contains("left over"));
    }

    #[test]
    fn atoms_are_their_bytes() {
        there_and_back(200u8, &[200]);
        there_and_back(-2i16, &[254, 255]);
        there_and_back(0x0102_0304u32, &[4, 3, 2, 1]);
        there_and_back(u64::MAX, &[255; 8]);
        there_and_back(-1i128, &[255; 16]);
        there_and_back(1.0f32, &[0, 0, 128, 63]);
        there_and_back(true, &[1]);
        there_and_back('é', &[233, 0, 0, 0]);
    }

    #[test]
    fn bytes_of_no_atom_are_refused() {
        assert_eq!(decode_record::<bool>(&[2]), Err("there is no such bool".into()));
        assert_eq!(decode_record::<char>(&0xd800u32.to_le_bytes()), Err("there is no such char".into()));
    }

    #[test]
    fn records_need_no_codec() {
        type Record = (Option<String>, std::result::Result<Vec<u64>, char>, (), [bool; 2], Vec<u8>);
        let records: [Record; 2] = [
            (Some("text".into()), Ok(vec![1, 2]), (), [true, false], vec![3]),
            (None, Err('x'), (), [false; 2], Vec::new()),
        ];
        for record in records {
            let mut written = Vec::new();
            encode_record(&record, &mut written).unwrap();
            assert_eq!(decode_record::<Record>(&written).as_ref(), Ok(&record));
            for cut in 0..written.len() {
                assert!(decode_record::<Record>(&written[..cut]).is_err());
            }
        }
    }
}
