//! Fast paths for numbers and bytes. Serde passes a slice element by element. But in bincode's format with fixed-size
//! integers, a number is encoded as its bytes on a little-endian machine, and a slice of numbers as its length and its
//! bytes, so one copy gives the same result.
#![allow(unsafe_code, reason = "casts a value to the type that it was found to have")]

use std::mem::ManuallyDrop;

use bytemuck::Pod;

/// Tries each type of number in turn until one fits, the most likely ones first.
macro_rules! ask_each {
    ($ask:ident::<$value:ty>($argument:expr)) => {
        $ask::<$value, u8>($argument)
            .or_else(|| $ask::<$value, f32>($argument))
            .or_else(|| $ask::<$value, f64>($argument))
            .or_else(|| $ask::<$value, i32>($argument))
            .or_else(|| $ask::<$value, u32>($argument))
            .or_else(|| $ask::<$value, i64>($argument))
            .or_else(|| $ask::<$value, u64>($argument))
            .or_else(|| $ask::<$value, i16>($argument))
            .or_else(|| $ask::<$value, u16>($argument))
            .or_else(|| $ask::<$value, i8>($argument))
    };
}

/// The bytes of `value`, if it is a number.
#[inline]
pub(super) fn number_in<T: ?Sized>(value: &T) -> Option<&[u8]> {
    ask_each!(bytes_of::<T>(value))
}

/// The bytes of all `values`, if they are numbers.
#[inline]
pub(super) fn all_numbers<T>(values: &[T]) -> Option<&[u8]> {
    ask_each!(bytes_of_all::<T>(values))
}

/// The number at the front of the bytes, if `T` is a number, and the bytes after it.
#[inline]
pub(super) fn number_from<T>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    ask_each!(number_of::<T>(bytes))
}

/// Appends the numbers that lie in memory one every `stride` bytes, each `len` bytes long, to `values`; nothing if `T`
/// is no number of that length.
#[inline]
pub(super) fn numbers_at<T>(bytes: &[u8], (len, stride): (usize, usize), values: &mut Vec<T>) -> Option<()> {
    ask_each!(append::<T>((bytes, len, stride, &mut *values)))
}

/// The number of elements of `value`, and their bytes, if it is a `Vec`, slice or boxed slice of numbers.
#[inline]
pub(super) fn numbers_in<T: ?Sized>(value: &T) -> Option<(usize, &[u8])> {
    ask_each!(slice_of::<T>(value))
}

/// The text, if `value` is one.
#[inline]
pub(super) fn text_in<T: ?Sized>(value: &T) -> Option<&str> {
    let string = || as_type::<T, String>(value).or_else(|| as_type::<T, &String>(value).copied());
    as_type::<T, &str>(value).copied().or_else(|| string().map(String::as_str))
}

/// The bytes of `value`, if it is a `Vec`, slice or boxed slice of bytes.
#[cfg(feature = "messagepack")]
#[inline]
pub(super) fn bytes_in<T: ?Sized>(value: &T) -> Option<&[u8]> {
    slice_of::<T, u8>(value).map(|(_, bytes)| bytes)
}

/// The `Vec` of numbers at the front of the bytes, if `T` is one, and the bytes after it.
#[inline]
pub(super) fn numbers_from<T>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    ask_each!(vec_from::<T>(bytes))
}

/// Like [`numbers_from`], but replaces the `Vec` in `place`, and reuses its memory. Returns the bytes after it.
#[inline]
pub(super) fn numbers_into<'b, T>(bytes: &'b [u8], place: &mut T) -> Option<Result<&'b [u8], String>> {
    ask_each!(vec_into::<T>((bytes, &mut *place)))
}

#[inline]
fn bytes_of<T: ?Sized, N: Pod>(value: &T) -> Option<&[u8]> {
    as_type::<T, N>(value).map(bytemuck::bytes_of)
}

#[inline]
fn bytes_of_all<T, N: Pod>(values: &[T]) -> Option<&[u8]> {
    // SAFETY: the closure runs only if `is_same` has found `T` to be `N` up to lifetimes, and a number has none. So
    // pointer and length are those of `values`, and the result borrows no longer than it.
    let numbers = || unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<N>(), values.len()) };
    is_same::<T, N>().then(|| bytemuck::cast_slice(numbers()))
}

#[inline]
fn number_of<T, N: Pod>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    if !is_same::<T, N>() {
        return None;
    }
    Some(match bytes.split_at_checked(size_of::<N>()) {
        Some((number, rest)) => Ok((same(bytemuck::pod_read_unaligned::<N>(number)), rest)),
        None => Err("the value ends before its last byte".into()),
    })
}

#[inline]
fn append<T, N: Pod>((bytes, len, stride, values): (&[u8], usize, usize, &mut Vec<T>)) -> Option<()> {
    let values = as_type_mut::<Vec<T>, Vec<N>>(values).filter(|_| len == size_of::<N>())?;
    match bytemuck::try_cast_slice(bytes) {
        Ok(numbers) if stride == len => values.extend_from_slice(numbers),
        _ => {
            let number = |at: &[u8]| bytemuck::pod_read_unaligned::<N>(&at[..len]);
            values.extend(bytes.chunks_exact(stride).map(number));
        }
    }
    Some(())
}

#[inline]
fn slice_of<T: ?Sized, N: Pod>(value: &T) -> Option<(usize, &[u8])> {
    let slice: &[N] = if let Some(vec) = as_type::<T, Vec<N>>(value) {
        vec
    } else if let Some(vec) = as_type::<T, &Vec<N>>(value) {
        vec
    } else if let Some(slice) = as_type::<T, &[N]>(value) {
        slice
    } else {
        as_type::<T, Box<[N]>>(value)?
    };
    Some((slice.len(), bytemuck::cast_slice(slice)))
}

#[inline]
fn vec_from<T, N: Pod>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    if !is_same::<T, Vec<N>>() {
        return None;
    }
    let mut vec = Vec::new();
    Some(read_numbers(bytes, &mut vec).map(|rest| (same::<Vec<N>, T>(vec), rest)))
}

#[inline]
fn vec_into<'b, T, N: Pod>((bytes, place): (&'b [u8], &mut T)) -> Option<Result<&'b [u8], String>> {
    as_type_mut::<T, Vec<N>>(place).map(|vec| read_numbers(bytes, vec))
}

/// Replaces what is in the vector by the numbers at the front of the bytes. Returns the bytes after them.
#[inline]
fn read_numbers<'b, N: Pod>(bytes: &'b [u8], vec: &mut Vec<N>) -> Result<&'b [u8], String> {
    let (count, bytes) = bytes.split_first_chunk().ok_or("the value ends before its length")?;
    let count = u64::from_le_bytes(*count);
    let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(size_of::<N>()));
    let Some((numbers, rest)) = len.and_then(|len| bytes.split_at_checked(len)) else {
        return Err(format!("{count} numbers are more than {} bytes", bytes.len()));
    };
    vec.clear();
    if vec.capacity() < numbers.len() / size_of::<N>() {
        // A vector that grows may copy what it held.
        *vec = Vec::new();
        // The bytes of a large result are in memory already, and there may be no room for a copy.
        let reserved = vec.try_reserve_exact(numbers.len() / size_of::<N>());
        reserved.map_err(|error| format!("there is no memory for {count} numbers: {error}"))?;
    }
    match bytemuck::try_cast_slice(numbers) {
        Ok(numbers) => vec.extend_from_slice(numbers),
        // They are not aligned.
        Err(_) => vec.extend(numbers.chunks_exact(size_of::<N>()).map(bytemuck::pod_read_unaligned::<N>)),
    }
    Ok(rest)
}

/// The value, under the name of the type that it is known to have.
#[inline]
fn same<Known, T>(value: Known) -> T {
    assert!(is_same::<Known, T>());
    let value = ManuallyDrop::new(value);
    // SAFETY: the types are the same up to lifetimes (asserted above), and callers pass a number or a `Vec` of numbers,
    // which has none. The original is in a `ManuallyDrop` and is not used again, so the value is moved, not duplicated.
    unsafe { std::ptr::from_ref(&*value).cast::<T>().read() }
}

/// The value, if it has the type `Known`.
#[inline]
fn as_type<T: ?Sized, Known>(value: &T) -> Option<&Known> {
    // SAFETY: the closure runs only if `is_same` has found `T` to be `Known` up to lifetimes, so `T` is sized and the
    // cast pointer is a thin one to a valid `Known`. `Known` may claim longer lifetimes for what it borrows than `T`
    // has. The callers in this file read those borrows only for as long as the result borrows `value`, which they
    // outlive.
    is_same::<T, Known>().then(|| unsafe { &*std::ptr::from_ref(value).cast::<Known>() })
}

/// The value, if it has the type `Known`, a vector of numbers.
#[inline]
fn as_type_mut<T, Known: 'static>(value: &mut T) -> Option<&mut Known> {
    // SAFETY: the closure runs only if `is_same` has found `T` to be `Known` up to lifetimes, and `Known` has none, so
    // the two are one type. The result borrows `value`, mutably, for as long as it is used.
    is_same::<T, Known>().then(|| unsafe { &mut *std::ptr::from_mut(value).cast::<Known>() })
}

/// Whether two types are the same up to lifetimes.
#[inline]
fn is_same<A: ?Sized, B: ?Sized>() -> bool {
    typeid::of::<A>() == typeid::of::<B>()
}
