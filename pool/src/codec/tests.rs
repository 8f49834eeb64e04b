//! Values come back as they went, and arbitrary bytes do no harm.

mod kinds;
mod refused;
mod untrusted;

use std::fmt::Debug;

use serde::de::DeserializeOwned;

use super::*;

const CODECS: [Codec; 3] = [Codec::Bincode, Codec::Postcard, Codec::MessagePack];

fn both_ways<T: Serialize + for<'a> Deserialize<'a> + PartialEq + Debug>(value: &T) {
    for codec in CODECS {
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

/// A writer such as a buffered file, for which a flush is a system call.
struct NeverFlushed(Vec<u8>);

impl Write for NeverFlushed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        panic!("flushed after {} bytes", self.0.len())
    }
}

#[test]
fn encoding_does_not_flush() {
    let value = (7u8, i128::MIN, u128::MAX, 0.5f64, 'x', vec![(1u32, "text")], vec![9u8; 3], Some(true));
    for codec in CODECS {
        let mut out = NeverFlushed(Vec::new());
        codec.encode(&value, &mut out).unwrap();
        let mut bytes = Vec::new();
        codec.encode(&value, &mut bytes).unwrap();
        assert_eq!(out.0, bytes, "{codec:?}");
    }
    encode_record(&value, &mut NeverFlushed(Vec::new())).unwrap();
}

#[test]
fn strings_and_bytes_are_borrowed_in_place() {
    for codec in CODECS {
        let mut bytes = Vec::new();
        codec.encode(&"borrowed", &mut bytes).unwrap();
        let text: &str = codec.decode(&bytes).unwrap();
        assert!(bytes.as_ptr_range().contains(&text.as_ptr()), "{codec:?}");
    }
}

/// Encodes a value as serde passes it: inside a field, where the codec does not see its type.
fn by_serde<T: Serialize>(value: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Hidden<'a, T>(&'a T);
    let mut bytes = Vec::new();
    Codec::Bincode.encode(&Hidden(value), &mut bytes).unwrap();
    bytes
}

#[test]
fn numbers_in_bulk_are_as_serde_writes_them() {
    fn check<N: Serialize + DeserializeOwned + PartialEq + Debug>(numbers: Vec<N>) {
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
fn memory_is_reused_where_values_are_decoded_into_others() {
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(old: &T, new: &T, at: fn(&T) -> *const u8) {
        for codec in CODECS {
            let mut place: T = codec.decode(&bytes_of(codec, old)).unwrap();
            let before = at(&place);
            assert_eq!(codec.decode_into(&bytes_of(codec, new), &mut place), Ok(()), "{codec:?}");
            assert_eq!((&place, at(&place)), (new, before), "{codec:?}");
        }
    }
    check(&vec![1.5f64; 1024], &vec![2.5; 1000], |vec| vec.as_ptr().cast());
    check(&vec![7u8; 1 << 20], &vec![8; 1 << 20], |vec| vec.as_ptr());
    check(&vec![String::from("one"); 3], &vec!["two".into(); 2], |vec| vec[1].as_ptr());
    check(&String::from("longer"), &"short".into(), |text| text.as_ptr());
    check(&(1u8, vec![-1i16; 9]), &(2, vec![3; 5]), |(_, vec)| vec.as_ptr().cast());
    // A vector that is too small makes room, and a failed value leaves nothing that is no value.
    let mut place = vec![1u32; 4];
    let bytes = bytes_of(Codec::Bincode, &vec![2u32; 100]);
    Codec::Bincode.decode_into(&bytes, &mut place).unwrap();
    assert_eq!((place.capacity(), &place), (100, &vec![2; 100]));
    assert!(Codec::Bincode.decode_into(&bytes[..90], &mut place).is_err());
    assert!(place == [2; 100] || place.is_empty());
}

#[test]
fn parts_are_decoded_one_after_the_other() {
    for codec in CODECS {
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

fn bytes_of<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).unwrap();
    bytes
}

#[test]
fn numbers_side_by_side_are_decoded_at_once() {
    fn all<N: Serialize + DeserializeOwned + Copy + PartialEq + Debug>(numbers: [N; 3]) {
        for codec in CODECS {
            for apart in [0, 1, 7] {
                let mut bytes = Vec::new();
                for number in &numbers {
                    codec.encode(number, &mut bytes).unwrap();
                    bytes.resize(bytes.len() + apart, 0xee);
                }
                let (len, stride) = (size_of::<N>(), size_of::<N>() + apart);
                let mut decoded = vec![numbers[2]];
                let is_plain = codec == Codec::Bincode;
                assert_eq!(codec.decode_plain(&bytes, (len, stride), &mut decoded), is_plain);
                assert_eq!(decoded[1..], numbers[..if is_plain { 3 } else { 0 }]);
                // Results of another length are not numbers of this type.
                assert!(!codec.decode_plain(&bytes, (len + 1, stride + 1), &mut decoded));
            }
        }
    }
    all([1u8, 2, u8::MAX]);
    all([-1i16, 7, i16::MIN]);
    all([0.5f32, -0.0, f32::INFINITY]);
    all([1u64, u64::MAX, 7]);
    let mut texts = vec![String::new()];
    assert!(!Codec::Bincode.decode_plain(&[0; 16], (8, 8), &mut texts));
}
