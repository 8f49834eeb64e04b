//! Chunks: the items of tasks with a `#[chunk]` parameter. On the caller's side a chunk says where its elements are; in
//! the worker it holds them.
//!
//! An item's bytes are a tag, then either the elements themselves, aligned so that the task can borrow them in place,
//! or a record that says which piece of a shared array they are. The codec makes no difference.

#[cfg(feature = "ndarray")]
mod arrays;
mod elements;
mod outputs;
mod slices;

use std::marker::PhantomData;

use bytemuck::Pod;

use crate::codec::{ItemWriter, decode_record, encode_record};
use crate::shared::{Piece, ToRead, ToWrite};

#[cfg(feature = "ndarray")]
pub(crate) use arrays::rows_of;
#[cfg(feature = "ndarray")]
pub use arrays::{ArrayChunk, ArrayChunkMut, Arrays};
pub(crate) use elements::Plain;
pub use elements::{Elements, ElementsFallback, element};
pub use outputs::{Concatenate, Concatenated, OneAChunk, Outputs};
pub use slices::Slices;

/// A chunk for a task with `#[chunk] rows: &[T]`: consecutive elements.
///
/// Such a task is usually called with [`Job::map_slice`](crate::Job::map_slice), which cuts its input into chunks.
/// Input that is already in chunks goes through any of the other calls:
///
/// ```
/// use pool::{Chunk, WorkerPool, worker_task};
///
/// #[worker_task]
/// fn sum(#[chunk] rows: &[u32]) -> u32 {
///     rows.iter().sum()
/// }
///
/// #[pool::main]
/// fn main() -> Result<(), pool::Error> {
///     let pool = WorkerPool::new(2)?;
///     let rows: [&[u32]; 3] = [&[1, 2], &[3], &[4, 5, 6]];
///     assert_eq!(pool.map::<sum>(rows.map(Chunk::from))?, [3, 3, 15]);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Chunk<'a, T>(Rows<'a, T>);

#[derive(Debug)]
enum Rows<'a, T> {
    /// Borrowed: from the caller's slice, or from the worker's lane.
    Here(&'a [T]),
    /// In a shared array that is not opened yet.
    There(Piece),
    /// Copied, because they were not aligned in the lane.
    Copied(Vec<T>),
    Shared(ToRead<T>),
}

/// A chunk for a task with `#[chunk] rows: &mut [T]`. Only [`Job::chunks_mut`](crate::Job::chunks_mut) makes one.
#[derive(Debug)]
pub struct ChunkMut<'a, T> {
    rows: RowsMut<T>,
    lent: PhantomData<&'a mut [T]>,
}

#[derive(Debug)]
enum RowsMut<T> {
    There(Piece),
    Shared(ToWrite<T>),
}

impl<'a, T> From<&'a [T]> for Chunk<'a, T> {
    fn from(rows: &'a [T]) -> Self {
        Self(Rows::Here(rows))
    }
}

impl<T> Chunk<'_, T> {
    /// A chunk of an array on loan.
    pub(crate) fn of(piece: Piece) -> Self {
        Self(Rows::There(piece))
    }
}

impl<T> ChunkMut<'_, T> {
    /// A chunk of an array on loan. No other chunk has any of these elements.
    pub(crate) fn of(piece: Piece) -> Self {
        Self { rows: RowsMut::There(piece), lent: PhantomData }
    }
}

/// The item of a task that takes a chunk.
pub trait ChunkItem<'i>: Sized {
    /// How many bytes `encode` appends at most, if it copies elements.
    fn plain_len(&self) -> Option<usize> {
        None
    }
    /// Appends its bytes to `out`.
    fn encode(&self, out: &mut impl ItemWriter) -> Result<(), String>;
    /// Decodes a chunk from exactly these bytes.
    fn decode(bytes: &'i [u8]) -> Result<Self, String>;
}

/// The type of a `#[chunk]` parameter that is an array's view.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no chunk",
    label = "this is no view of an array of plain values, or the feature `ndarray` of `pool` is off"
)]
pub trait ArrayParam {
    /// The item of a task that takes it.
    type Item<'i>: ChunkItem<'i> + Lend + Send;
}

/// A chunk as a worker holds it.
pub trait Lend {
    /// The type of the task's parameter.
    type Rows<'a>
    where
        Self: 'a;
    /// Lends it for one call.
    fn lend(&mut self) -> Self::Rows<'_>;
}

impl<T: Plain> Lend for Chunk<'_, T> {
    type Rows<'a>
        = &'a [T]
    where
        Self: 'a;

    fn lend(&mut self) -> &[T] {
        match &self.0 {
            Rows::Here(rows) => rows,
            Rows::Copied(rows) => rows,
            Rows::Shared(rows) => rows.slice(),
            Rows::There(_) => unreachable!("a worker decodes its items"),
        }
    }
}

impl<T: Plain> Lend for ChunkMut<'_, T> {
    type Rows<'a>
        = &'a mut [T]
    where
        Self: 'a;

    fn lend(&mut self) -> &mut [T] {
        match &mut self.rows {
            RowsMut::Shared(rows) => rows.slice(),
            RowsMut::There(_) => unreachable!("a worker decodes its items"),
        }
    }
}

const HERE: u8 = 0;
const THERE: u8 = 1;
/// The tag, and the number of padding bytes before the elements.
const HEAD: usize = 2;

impl<'i, T: Plain> ChunkItem<'i> for Chunk<'i, T> {
    fn plain_len(&self) -> Option<usize> {
        match &self.0 {
            Rows::Here(rows) => Some(HEAD + align_of::<T>() + size_of_val(*rows)),
            Rows::Copied(_) | Rows::Shared(_) | Rows::There(_) => None,
        }
    }

    fn encode(&self, out: &mut impl ItemWriter) -> Result<(), String> {
        match &self.0 {
            Rows::Here(rows) => encode_here(rows, out),
            Rows::Copied(rows) => encode_here(rows, out),
            Rows::Shared(rows) => encode_here(rows.slice(), out),
            Rows::There(piece) => encode_there(piece, out),
        }
    }

    fn decode(bytes: &'i [u8]) -> Result<Self, String> {
        const { assert!(size_of::<T>() > 0, "the elements of a chunk have a size") };
        let (tag, bytes) = bytes.split_first().ok_or(TOO_SHORT)?;
        if *tag != HERE {
            return ToRead::open(decode_there(*tag, bytes)?).map(|rows| Self(Rows::Shared(rows)));
        }
        let (pad, bytes) = bytes.split_first().ok_or(TOO_SHORT)?;
        let bytes = bytes.get(usize::from(*pad)..).ok_or(TOO_SHORT)?;
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return Err(format!("{} bytes are no elements of {} bytes each", bytes.len(), size_of::<T>()));
        }
        Ok(Self(match bytemuck::try_cast_slice(bytes) {
            Ok(rows) => Rows::Here(rows),
            Err(_) => Rows::Copied(bytemuck::pod_collect_to_vec(bytes)),
        }))
    }
}

const TOO_SHORT: &str = "the chunk ends before its elements";

impl<'i, T: Plain> ChunkItem<'i> for ChunkMut<'i, T> {
    fn encode(&self, out: &mut impl ItemWriter) -> Result<(), String> {
        match &self.rows {
            RowsMut::There(piece) => encode_there(piece, out),
            RowsMut::Shared(_) => Err("what is lent for writing is not lent on".into()),
        }
    }

    fn decode(bytes: &'i [u8]) -> Result<Self, String> {
        let (tag, bytes) = bytes.split_first().ok_or(TOO_SHORT)?;
        let rows = ToWrite::open(decode_there(*tag, bytes)?)?;
        Ok(Self { rows: RowsMut::Shared(rows), lent: PhantomData })
    }
}

fn encode_here<T: Pod>(rows: &[T], out: &mut impl ItemWriter) -> Result<(), String> {
    let bytes: &[u8] = bytemuck::cast_slice(rows);
    let at = out.address_of_next(HEAD + align_of::<T>() + bytes.len()) + HEAD;
    let pad = at.next_multiple_of(align_of::<T>()) - at;
    // No real type is aligned to more than 255 bytes. If one were, the worker would copy.
    let pad = u8::try_from(pad).unwrap_or(0);
    let pads = [0; u8::MAX as usize];
    let written = out
        .write_all(&[HERE, pad])
        .and_then(|()| out.write_all(&pads[..usize::from(pad)]))
        .and_then(|()| out.write_all(bytes));
    written.map_err(|error| error.to_string())
}

fn encode_there(piece: &Piece, out: &mut impl ItemWriter) -> Result<(), String> {
    out.write_all(&[THERE]).map_err(|error| error.to_string())?;
    encode_record(piece, out)
}

fn decode_there(tag: u8, bytes: &[u8]) -> Result<Piece, String> {
    if tag == THERE { decode_record(bytes) } else { Err(format!("there is no chunk of kind {tag}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<T: Plain>(rows: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Chunk::from(rows).encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn elements_are_borrowed_where_they_are_aligned() {
        let bytes = bytes_of(&[1.5f64, -2.0, 3.0]);
        let mut chunk = Chunk::<f64>::decode(&bytes).unwrap();
        assert!(matches!(chunk.0, Rows::Here(_)));
        assert_eq!(chunk.lend(), [1.5, -2.0, 3.0]);
        let shifted = [&[0], &*bytes].concat();
        let mut chunk = Chunk::<f64>::decode(&shifted[1..]).unwrap();
        assert!(matches!(chunk.0, Rows::Copied(_)));
        assert_eq!(chunk.lend(), [1.5, -2.0, 3.0]);
        assert_eq!(Chunk::<u16>::decode(&bytes_of::<u16>(&[])).unwrap().lend(), [0u16; 0]);
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = bytes_of(&[1u32, 2]);
        assert!(Chunk::<u32>::decode(&bytes[..bytes.len() - 1]).unwrap_err().contains("no elements"));
        for cut in 0..4 {
            assert!(Chunk::<u32>::decode(&bytes[..cut]).is_err());
        }
        assert!(Chunk::<u32>::decode(&[7, 0, 0]).unwrap_err().contains("kind 7"));
        assert!(Chunk::<u32>::decode(&[THERE, 1, 2]).is_err());
        assert!(ChunkMut::<u32>::decode(&bytes).unwrap_err().contains("kind 0"));
    }
}
