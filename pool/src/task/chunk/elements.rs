//! The macros' checks on the elements of a chunk.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::{ChunkItem, Lend};
use crate::codec::ItemWriter;

/// A value that can be an element of a chunk.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of a chunk",
    label = "this is no plain value",
    note = "`#[chunk] rows: &[T]` and `#[chunk] rows: &mut [T]` take any `T: pool::shared::Pod + Send + Sync`",
    note = "for other elements take a `Vec<T>` without `#[chunk]`, and send one for each task"
)]
pub trait Plain: Pod + Send + Sync {}
#[diagnostic::do_not_recommend]
impl<T: Pod + Send + Sync> Plain for T {}

/// Asks that `T` can be an element of a chunk.
pub const fn element<T: Plain>() {}

/// How chunks of `T` travel.
#[derive(Debug)]
pub struct Elements<T>(PhantomData<T>);

/// Stands in for elements that are not plain, for which [`element`] is a compile error.
pub trait ElementsFallback<T> {
    /// Not there.
    fn plain_len<C>(_: &C) -> Option<usize> {
        unreachable!("an element is not `Plain`")
    }
    /// Not there.
    fn encode<C>(_: &C, _: &mut impl ItemWriter) -> Result<(), String> {
        unreachable!("an element is not `Plain`")
    }
    /// Not there.
    fn decode<C>(_: &[u8]) -> Result<C, String> {
        unreachable!("an element is not `Plain`")
    }
    /// Not there.
    fn lend<C, R>(_: C) -> R {
        unreachable!("an element is not `Plain`")
    }
}
impl<T> ElementsFallback<T> for Elements<T> {}

impl<T: Plain> Elements<T> {
    /// How many bytes `encode` appends at most, if it copies elements.
    pub fn plain_len<'i>(chunk: &impl ChunkItem<'i>) -> Option<usize> {
        chunk.plain_len()
    }
    /// Appends the chunk's bytes to `out`.
    pub fn encode<'i>(chunk: &impl ChunkItem<'i>, out: &mut impl ItemWriter) -> Result<(), String> {
        chunk.encode(out)
    }
    /// Decodes a chunk from exactly these bytes.
    pub fn decode<'i, C: ChunkItem<'i>>(bytes: &'i [u8]) -> Result<C, String> {
        C::decode(bytes)
    }
    /// Lends the chunk to the task.
    pub fn lend<C: Lend>(chunk: &mut C) -> C::Rows<'_> {
        chunk.lend()
    }
}
