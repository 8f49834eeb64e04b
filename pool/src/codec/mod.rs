//! The codec: how arguments, results and shared values become bytes. One trait-like enum in one module, so that
//! swapping a format is a change of this file.

mod bulk;

use std::io::Write;

use bincode::config::{Configuration, Fixint, LittleEndian};
use serde::{Deserialize, Serialize};

const BINCODE: Configuration<LittleEndian, Fixint> = bincode::config::standard().with_fixed_int_encoding();

/// How arguments, results and shared values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Codec {
    /// bincode 2 with fixed-size integers: the fastest. Not self-describing.
    ///
    /// Vectors, slices and boxed slices of numbers are copied as a whole, each argument by itself, and the result.
    /// Those inside of other types go number by number; for bytes that is two to three times as slow, and
    /// [`#[serde(with = "serde_bytes")]`](https://docs.rs/serde_bytes) on the field saves it.
    #[default]
    Bincode,
    /// postcard: the smallest. Not self-describing.
    Postcard,
    /// MessagePack with named fields: self-describing, so that `serde_json::Value`, `#[serde(untagged)]` and
    /// `#[serde(flatten)]` work.
    MessagePack,
}

impl Codec {
    /// The value's bytes as they lie in memory, where those are its encoding: a lone number's.
    #[inline]
    pub(crate) fn plain<T: ?Sized>(self, value: &T) -> Option<&[u8]> {
        if self == Self::Bincode { bulk::number_in(value) } else { None }
    }

    /// The bytes of all of these as they lie in memory, where each is [`plain`](Self::plain).
    #[inline]
    pub(crate) fn plain_all<T>(self, values: &[T]) -> Option<&[u8]> {
        if self == Self::Bincode { bulk::all_numbers(values) } else { None }
    }

    /// Appends the value's bytes to `out`.
    #[inline]
    pub(crate) fn encode<T: Serialize + ?Sized>(self, value: &T, out: &mut impl Write) -> Result<(), String> {
        if let Some(number) = self.plain(value) {
            return out.write_all(number).map_err(|error| error.to_string());
        }
        self.encode_any(value, out)
    }

    fn encode_any<T: Serialize + ?Sized>(self, value: &T, out: &mut impl Write) -> Result<(), String> {
        if self == Self::Bincode
            && let Some((count, numbers)) = bulk::numbers_in(value)
        {
            let written = out.write_all(&(count as u64).to_le_bytes()).and_then(|()| out.write_all(numbers));
            return written.map_err(|error| error.to_string());
        }
        match self {
            Self::Bincode => bincode::serde::encode_into_std_write(value, out, BINCODE)
                .map(drop)
                .map_err(|e| e.to_string()),
            Self::Postcard => postcard::to_io(value, out).map(drop).map_err(|e| e.to_string()),
            Self::MessagePack => rmp_serde::encode::write_named(out, value).map_err(|e| e.to_string()),
        }
    }

    /// Decodes exactly these bytes; what the value borrows, it borrows from them.
    #[inline]
    pub(crate) fn decode<'a, T: Deserialize<'a>>(self, bytes: &'a [u8]) -> Result<T, String> {
        let mut rest = bytes;
        let value = self.decode_next(&mut rest)?;
        all_read(rest)?;
        Ok(value)
    }

    /// Decodes the first value of these bytes, and goes past it. Of a codec that does not join parts it is the only one.
    #[inline]
    pub(crate) fn decode_next<'a, T: Deserialize<'a>>(self, bytes: &mut &'a [u8]) -> Result<T, String> {
        if self == Self::Bincode
            && let Some(number) = bulk::number_from(bytes)
        {
            let (number, rest) = number?;
            *bytes = rest;
            return Ok(number);
        }
        self.decode_any(bytes)
    }

    fn decode_any<'a, T: Deserialize<'a>>(self, bytes: &mut &'a [u8]) -> Result<T, String> {
        let (value, rest) = match self {
            Self::Bincode => match bulk::numbers_from(bytes) {
                Some(decoded) => decoded?,
                None => {
                    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, BINCODE)
                        .map_err(|e: bincode::error::DecodeError| e.to_string())?;
                    (value, &bytes[used..])
                }
            },
            Self::Postcard => postcard::take_from_bytes(bytes).map_err(|e| e.to_string())?,
            Self::MessagePack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(*bytes);
                (T::deserialize(&mut reader).map_err(|e| e.to_string())?, &[][..])
            }
        };
        *bytes = rest;
        Ok(value)
    }
}

/// Whether a tuple's bytes are those of its parts, one after the other. Where they are, the parts are coded on their own,
/// each the fastest way for its type.
#[inline]
#[must_use]
pub fn joins_parts(codec: Codec) -> bool {
    matches!(codec, Codec::Bincode | Codec::Postcard)
}

/// Asks that nothing is left of a value's bytes.
#[inline]
pub fn all_read(rest: &[u8]) -> Result<(), String> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(format!("{} bytes were left over: the type reads other bytes than it writes", rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways<T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug>(value: &T) {
        for codec in [Codec::Bincode, Codec::Postcard, Codec::MessagePack] {
            let mut bytes = Vec::new();
            codec.encode(value, &mut bytes).unwrap();
            assert_eq!(&codec.decode::<T>(&bytes).unwrap(), value, "{codec:?}");
        }
    }

    #[test]
    fn values_come_back_as_they_went() {
        both_ways(&42u64);
        both_ways(&(1u8, -7i64, 2.5f64, "text".to_owned(), vec![Some(1u32), None]));
        both_ways(&());
        both_ways(&vec![0u8; 100_000]);
    }

    #[test]
    fn strings_and_bytes_are_borrowed_in_place() {
        for codec in [Codec::Bincode, Codec::Postcard, Codec::MessagePack] {
            let mut bytes = Vec::new();
            codec.encode(&"borrowed", &mut bytes).unwrap();
            let text: &str = codec.decode(&bytes).unwrap();
            assert!(bytes.as_ptr_range().contains(&text.as_ptr()), "{codec:?}");
        }
    }

    /// The same by serde's own way: a field hides the type.
    fn by_serde<T: Serialize>(value: &T) -> Vec<u8> {
        #[derive(Serialize)]
        struct Hidden<'a, T>(&'a T);
        let mut bytes = Vec::new();
        Codec::Bincode.encode(&Hidden(value), &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn numbers_in_bulk_are_as_serde_writes_them() {
        fn check<N: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(numbers: Vec<N>) {
            let expected = by_serde(&numbers);
            let mut bytes = Vec::new();
            Codec::Bincode.encode(&numbers, &mut bytes).unwrap();
            Codec::Bincode.encode(&&*numbers, &mut bytes).unwrap();
            assert_eq!(bytes, [&*expected, &*expected].concat());
            assert_eq!(Codec::Bincode.decode::<Vec<N>>(&expected).unwrap(), numbers);
            let boxed = numbers.into_boxed_slice();
            bytes.clear();
            Codec::Bincode.encode(&boxed, &mut bytes).unwrap();
            assert_eq!(bytes, expected);
            for cut in [0, 7, expected.len() - 1] {
                assert!(Codec::Bincode.decode::<Vec<N>>(&expected[..cut]).is_err());
            }
            let more = [&*expected, &[0; 16]].concat();
            assert!(Codec::Bincode.decode::<Vec<N>>(&more).is_err());
        }
        check(vec![0u8, 1, 255]);
        check(vec![1i8, -1]);
        check(vec![u16::MAX, 3]);
        check(vec![i32::MIN, 0, 3]);
        check(vec![u64::MAX]);
        check(vec![1.5f32, -0.0]);
        check(vec![f64::MAX, 1e-300]);
        check(Vec::<u32>::new());
        for number in [0u64, 1, u64::MAX] {
            let bytes = by_serde(&number);
            let mut fast = Vec::new();
            Codec::Bincode.encode(&number, &mut fast).unwrap();
            assert_eq!(fast, bytes);
            assert_eq!(Codec::Bincode.decode::<u64>(&bytes), Ok(number));
            assert!(Codec::Bincode.decode::<u64>(&bytes[1..]).is_err());
        }
        check(vec![true, false]);
        let mut lies = u64::MAX.to_le_bytes().to_vec();
        lies.extend([0; 64]);
        assert!(Codec::Bincode.decode::<Vec<u64>>(&lies).is_err());
    }

    #[test]
    fn parts_are_decoded_one_after_the_other() {
        for codec in [Codec::Bincode, Codec::Postcard] {
            let mut bytes = Vec::new();
            for numbers in [&[1u32, 2][..], &[], &[3]] {
                codec.encode(numbers, &mut bytes).unwrap();
                codec.encode(&"text", &mut bytes).unwrap();
            }
            let mut rest = &*bytes;
            for numbers in [&[1u32, 2][..], &[], &[3]] {
                assert_eq!(codec.decode_next::<Vec<u32>>(&mut rest).unwrap(), numbers);
                assert_eq!(codec.decode_next::<&str>(&mut rest).unwrap(), "text");
            }
            assert!(all_read(rest).is_ok() && codec.decode_next::<Vec<u32>>(&mut rest).is_err());
        }
    }

    #[test]
    fn a_tuple_is_its_parts_where_the_codec_says_so() {
        for codec in [Codec::Bincode, Codec::Postcard, Codec::MessagePack] {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            codec.encode(&(7u64, vec![1.5f32, 2.5], "text"), &mut whole).unwrap();
            codec.encode(&7u64, &mut parts).unwrap();
            codec.encode(&vec![1.5f32, 2.5], &mut parts).unwrap();
            codec.encode("text", &mut parts).unwrap();
            assert!(!joins_parts(codec) || whole == parts, "{codec:?}");
        }
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut bytes = Vec::new();
        Codec::Bincode.encode(&7u64, &mut bytes).unwrap();
        let error = Codec::Bincode.decode::<u32>(&bytes).unwrap_err();
        assert!(error.contains("4 bytes were left over"), "{error}");
    }

    #[test]
    fn self_describing_values_need_message_pack() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        let value = vec![Either::Number(3), Either::Text("three".into())];
        let mut bytes = Vec::new();
        Codec::MessagePack.encode(&value, &mut bytes).unwrap();
        assert_eq!(Codec::MessagePack.decode::<Vec<Either>>(&bytes).unwrap(), value);
    }
}
