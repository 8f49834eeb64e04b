//! Plain numbers and bytes in bulk. Serde hands a slice over element by element; where the format is the elements as
//! they lie in memory, behind their count, one copy does the same. That is bincode's with fixed-size integers, on a
//! little-endian machine.
#![allow(unsafe_code, reason = "looks at a value as the type that it was found to be")]

use std::mem::ManuallyDrop;

use bytemuck::Pod;

/// The first answer that is there, asked for each type of number.
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

/// The numbers of a `Vec`, slice or boxed slice of them: how many, and their bytes.
#[inline]
pub(super) fn numbers_in<T: ?Sized>(value: &T) -> Option<(usize, &[u8])> {
    ask_each!(slice_of::<T>(value))
}

/// A `Vec` of numbers from the bytes at the front, if that is what `T` is, and the bytes behind it.
#[inline]
pub(super) fn numbers_from<T>(bytes: &[u8]) -> Option<Result<(T, &[u8]), String>> {
    ask_each!(vec_from::<T>(bytes))
}

#[inline]
fn slice_of<T: ?Sized, N: Pod>(value: &T) -> Option<(usize, &[u8])> {
    let slice: &[N] = if let Some(vec) = as_type::<T, Vec<N>>(value) {
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
    let vec = ManuallyDrop::new(bytemuck::pod_collect_to_vec::<u8, N>(numbers));
    // SAFETY: `T` is `Vec<N>`, in which there are no lifetimes; the vector is moved out and never used again.
    Some(Ok((unsafe { std::ptr::from_ref(&*vec).cast::<T>().read() }, rest)))
}

/// The value as the type that it is.
#[inline]
fn as_type<T: ?Sized, Known>(value: &T) -> Option<&Known> {
    // SAFETY: `T` is `Known` but for lifetimes, so the reference is a thin pointer to a valid `Known`. What that
    // borrows is reached through `value` only, for as long as `value` is borrowed, which it outlives.
    is_same::<T, Known>().then(|| unsafe { &*std::ptr::from_ref(value).cast::<Known>() })
}

/// Whether two types are the same, whatever lifetimes are in them.
#[inline]
fn is_same<A: ?Sized, B: ?Sized>() -> bool {
    typeid::of::<A>() == typeid::of::<B>()
}
