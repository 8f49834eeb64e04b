//! Numbers and bytes as they lie in memory. Serde passes a slice element by element. In bincode's format with
//! fixed-size integers, on a little-endian machine, a number is its bytes, and a slice of numbers is its count and its
//! bytes: one copy does the same.
#![allow(unsafe_code, reason = "casts a value to the type that it was found to have")]

use std::mem::ManuallyDrop;

use bytemuck::Pod;

/// Asks for each type of number in turn, until there is an answer; the most likely ones first.
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

/// The number at the front of the bytes, if `T` is one, and the bytes behind it.
#[inline]
pub(super) fn number_from<T>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    ask_each!(number_of::<T>(bytes))
}

/// How many numbers `value` holds, and their bytes, if it is a `Vec`, slice or boxed slice of numbers.
#[inline]
pub(super) fn numbers_in<T: ?Sized>(value: &T) -> Option<(usize, &[u8])> {
    ask_each!(slice_of::<T>(value))
}

/// The bytes of `value`, if it is a `Vec`, slice or boxed slice of bytes.
#[cfg(feature = "messagepack")]
#[inline]
pub(super) fn bytes_in<T: ?Sized>(value: &T) -> Option<&[u8]> {
    slice_of::<T, u8>(value).map(|(_, bytes)| bytes)
}

/// The `Vec` of numbers at the front of the bytes, if `T` is one, and the bytes behind it.
#[inline]
pub(super) fn numbers_from<T>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    ask_each!(vec_from::<T>(bytes))
}

#[inline]
fn bytes_of<T: ?Sized, N: Pod>(value: &T) -> Option<&[u8]> {
    as_type::<T, N>(value).map(bytemuck::bytes_of)
}

#[inline]
fn bytes_of_all<T, N: Pod>(values: &[T]) -> Option<&[u8]> {
    // SAFETY: `T` is `N` (just checked; this runs only then), so this is the same slice.
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
    let Some((count, bytes)) = bytes.split_first_chunk() else {
        return Some(Err("the value ends before its length".into()));
    };
    let count = u64::from_le_bytes(*count);
    let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(size_of::<N>()));
    let Some((numbers, rest)) = len.and_then(|len| bytes.split_at_checked(len)) else {
        return Some(Err(format!("{count} numbers are more than {} bytes", bytes.len())));
    };
    let mut vec = Vec::new();
    // A large result is here already, and there may be no memory for a second copy of it.
    if let Err(error) = vec.try_reserve_exact(numbers.len() / size_of::<N>()) {
        return Some(Err(format!("there is no memory for {count} numbers: {error}")));
    }
    match bytemuck::try_cast_slice(numbers) {
        Ok(numbers) => vec.extend_from_slice(numbers),
        // They are not aligned.
        Err(_) => vec.extend(numbers.chunks_exact(size_of::<N>()).map(bytemuck::pod_read_unaligned::<N>)),
    }
    Some(Ok((same::<Vec<N>, T>(vec), rest)))
}

/// The value, as the type that it has.
#[inline]
fn same<Known, T>(value: Known) -> T {
    assert!(is_same::<Known, T>());
    let value = ManuallyDrop::new(value);
    // SAFETY: the types are the same except for lifetimes (just checked), and a number or a `Vec` of numbers has none.
    // The original is in a `ManuallyDrop` and never used again, so the value is moved, not copied.
    unsafe { std::ptr::from_ref(&*value).cast::<T>().read() }
}

/// The value, if it has the type `Known`.
#[inline]
fn as_type<T: ?Sized, Known>(value: &T) -> Option<&Known> {
    // SAFETY: `T` is `Known` except for lifetimes (checked before this runs), so `T` is sized and the pointer a thin
    // one to a valid `Known`. The result is borrowed from `value`, and so are the numbers that `Known` borrows: they
    // outlive `value`, and callers use them no longer than the result.
    is_same::<T, Known>().then(|| unsafe { &*std::ptr::from_ref(value).cast::<Known>() })
}

/// Whether two types are the same except for lifetimes.
#[inline]
fn is_same<A: ?Sized, B: ?Sized>() -> bool {
    typeid::of::<A>() == typeid::of::<B>()
}
