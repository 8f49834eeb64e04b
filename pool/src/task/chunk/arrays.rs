//! Chunks of arrays of several dimensions, with the feature `ndarray`: parts along one axis, as views.
//!
//! An item's bytes are the number of axes in one byte, the length of each in eight, then the elements as for a slice.

use std::fmt;
use std::ops::Range;

use ndarray::{
    Array, ArrayBase, ArrayView, ArrayViewMut, Axis, Data, Dimension, IntoDimension, RemoveAxis, Slice,
};

use super::elements::Plain;
use super::{Chunk, ChunkItem, ChunkMut, Concatenate, Lend};
use crate::codec::ItemWriter;
use crate::error::Error;
use crate::shared::{Loan, Piece, SharedArray};

/// A chunk for a task with `#[chunk] rows: ArrayView<'_, A, D>`: a part of an array along one axis. Made by
/// [`Job::map_array`](crate::Job::map_array), and from any view.
pub struct ArrayChunk<'a, A, D>(Part<'a, A, D>);

enum Part<'a, A, D> {
    View(ArrayView<'a, A, D>),
    Flat { shape: D, elements: Chunk<'a, A> },
}

/// A chunk for a task with `#[chunk] rows: ArrayViewMut<'_, A, D>`. Only
/// [`Job::array_chunks_mut`](crate::Job::array_chunks_mut) makes one.
#[derive(Debug)]
pub struct ArrayChunkMut<'a, A, D> {
    shape: D,
    elements: ChunkMut<'a, A>,
}

impl<A: fmt::Debug, D: Dimension> fmt::Debug for ArrayChunk<'_, A, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Part::View(view) => f.debug_tuple("ArrayChunk").field(view).finish(),
            Part::Flat { shape, elements } => {
                f.debug_tuple("ArrayChunk").field(shape).field(elements).finish()
            }
        }
    }
}

impl<'a, A, D: Dimension> From<ArrayView<'a, A, D>> for ArrayChunk<'a, A, D> {
    fn from(view: ArrayView<'a, A, D>) -> Self {
        Self(Part::View(view))
    }
}

impl<A, D: Dimension> ArrayChunkMut<'_, A, D> {
    /// A chunk of `rows` rows of an array of this shape.
    pub(crate) fn of(piece: Piece, rows: usize, mut shape: D) -> Self {
        shape[0] = rows;
        Self { shape, elements: ChunkMut::of(piece) }
    }
}

impl<'a, A: Plain, D: Dimension> super::ArrayParam for ArrayView<'a, A, D> {
    type Item<'i> = ArrayChunk<'i, A, D>;
}

impl<'a, A: Plain, D: Dimension> super::ArrayParam for ArrayViewMut<'a, A, D> {
    type Item<'i> = ArrayChunkMut<'i, A, D>;
}

impl<'i, A: Plain, D: Dimension> ChunkItem<'i> for ArrayChunk<'i, A, D> {
    fn plain_len(&self) -> Option<usize> {
        match &self.0 {
            Part::View(view) => {
                let elements = Chunk::from(view.as_slice()?).plain_len()?;
                Some(shape_len(&view.raw_dim()) + elements)
            }
            Part::Flat { .. } => None,
        }
    }

    fn encode(&self, out: &mut impl ItemWriter) -> Result<(), String> {
        match &self.0 {
            Part::Flat { shape, elements } => {
                write_shape(shape, out)?;
                elements.encode(out)
            }
            Part::View(view) => {
                write_shape(&view.raw_dim(), out)?;
                match view.as_slice() {
                    Some(elements) => Chunk::from(elements).encode(out),
                    None => Chunk::from(&*view.iter().copied().collect::<Vec<A>>()).encode(out),
                }
            }
        }
    }

    fn decode(bytes: &'i [u8]) -> Result<Self, String> {
        let (shape, bytes) = read_shape::<D>(bytes)?;
        let mut elements = Chunk::<A>::decode(bytes)?;
        check(&shape, elements.lend().len())?;
        Ok(Self(Part::Flat { shape, elements }))
    }
}

impl<'i, A: Plain, D: Dimension> ChunkItem<'i> for ArrayChunkMut<'i, A, D> {
    fn encode(&self, out: &mut impl ItemWriter) -> Result<(), String> {
        write_shape(&self.shape, out)?;
        self.elements.encode(out)
    }

    fn decode(bytes: &'i [u8]) -> Result<Self, String> {
        let (shape, bytes) = read_shape::<D>(bytes)?;
        let mut elements = ChunkMut::<A>::decode(bytes)?;
        check(&shape, elements.lend().len())?;
        Ok(Self { shape, elements })
    }
}

const FITS: &str = "the shape was checked when the chunk was decoded";

impl<A: Plain, D: Dimension> Lend for ArrayChunk<'_, A, D> {
    type Rows<'a>
        = ArrayView<'a, A, D>
    where
        Self: 'a;

    fn lend(&mut self) -> ArrayView<'_, A, D> {
        match &mut self.0 {
            Part::View(view) => view.view(),
            Part::Flat { shape, elements } => {
                ArrayView::from_shape(shape.clone(), elements.lend()).expect(FITS)
            }
        }
    }
}

impl<A: Plain, D: Dimension> Lend for ArrayChunkMut<'_, A, D> {
    type Rows<'a>
        = ArrayViewMut<'a, A, D>
    where
        Self: 'a;

    fn lend(&mut self) -> ArrayViewMut<'_, A, D> {
        ArrayViewMut::from_shape(self.shape.clone(), self.elements.lend()).expect(FITS)
    }
}

fn shape_len<D: Dimension>(shape: &D) -> usize {
    1 + size_of::<u64>() * shape.ndim()
}

fn write_shape<D: Dimension>(shape: &D, out: &mut impl ItemWriter) -> Result<(), String> {
    let axes = u8::try_from(shape.ndim()).map_err(|_| "an array has 255 axes at most")?;
    let mut bytes = vec![axes];
    bytes.extend(shape.slice().iter().flat_map(|len| (*len as u64).to_le_bytes()));
    out.write_all(&bytes).map_err(|error| error.to_string())
}

fn read_shape<D: Dimension>(bytes: &[u8]) -> Result<(D, &[u8]), String> {
    const TOO_SHORT: &str = "the chunk ends before its shape";
    let (axes, bytes) = bytes.split_first().ok_or(TOO_SHORT)?;
    let axes = usize::from(*axes);
    if D::NDIM.is_some_and(|wanted| wanted != axes) {
        return Err(format!("the chunk has {axes} axes"));
    }
    let (lens, rest) = bytes.split_at_checked(8 * axes).ok_or(TOO_SHORT)?;
    let mut shape = D::zeros(axes);
    for (len, bytes) in shape.slice_mut().iter_mut().zip(lens.as_chunks::<8>().0) {
        *len = usize::try_from(u64::from_le_bytes(*bytes)).map_err(|error| error.to_string())?;
    }
    Ok((shape, rest))
}

/// Checks that an array of this shape has this number of elements.
fn check<D: Dimension>(shape: &D, elements: usize) -> Result<(), String> {
    let product = shape.slice().iter().try_fold(1usize, |product, len| product.checked_mul(*len));
    if product == Some(elements) {
        Ok(())
    } else {
        Err(format!("an array of shape {:?} does not have {elements} elements", shape.slice()))
    }
}

/// An input that [`map_array`](crate::Job::map_array) cuts into chunks: an array or view; or a [`SharedArray`] with the
/// shape of its elements in row-major order, as `(&array, (rows, columns))` or `(&mut array, (rows, columns))`.
/// [`Slices`](crate::Slices) says how these two differ.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no array of `{A}` with shape `{D}`",
    label = "`&Array`, `ArrayView`, or `(&mut SharedArray, shape)` of the task's elements and dimensions is wanted here"
)]
pub trait Arrays<'a, A, D>: sealed::Lend<'a, A, D> {}

pub(crate) mod sealed {
    use super::{ArraySource, Error};

    pub trait Lend<'a, A, D> {
        fn lend(self) -> Result<ArraySource<'a, A, D>, Error>;
    }
}

/// An array whose parts can be lent to tasks.
#[expect(missing_debug_implementations, reason = "never leaves this crate")]
pub struct ArraySource<'a, A, D>(Origin<'a, A, D>);

enum Origin<'a, A, D> {
    View(ArrayView<'a, A, D>),
    Shared { loan: Loan<'a>, shape: D },
}

impl<'a, A, D: Dimension> ArraySource<'a, A, D> {
    /// The length of the axis; an error if the array can't be cut along it.
    pub(crate) fn len_of(&self, axis: Axis) -> Result<usize, Error> {
        let (shape, is_shared) = match &self.0 {
            Origin::View(view) => (view.raw_dim(), false),
            Origin::Shared { shape, .. } => (shape.clone(), true),
        };
        let no_axis =
            || Error::option("axis", axis.0, format!("the array has {} axes, from 0 on", shape.ndim()));
        let len = shape.slice().get(axis.0).copied().ok_or_else(no_axis)?;
        if is_shared && axis.0 > 0 {
            let why = "a shared array is cut along its first axis, where chunks are whole in memory";
            return Err(Error::option("axis", axis.0, why));
        }
        Ok(len)
    }

    /// Whether the call must not end before its tasks.
    pub(crate) fn is_on_loan(&self) -> bool {
        matches!(self.0, Origin::Shared { .. })
    }

    pub(crate) fn chunk(&self, axis: Axis, rows: Range<usize>) -> ArrayChunk<'a, A, D> {
        ArrayChunk(match &self.0 {
            Origin::View(view) => {
                let mut part = view.clone();
                part.slice_axis_inplace(axis, Slice::from(rows));
                Part::View(part)
            }
            Origin::Shared { loan, shape } => {
                let piece = loan.piece(&elements_of(&rows, shape));
                let mut shape = shape.clone();
                shape[0] = rows.len();
                Part::Flat { shape, elements: Chunk::of(piece) }
            }
        })
    }
}

/// The elements that make up these rows of an array of this shape.
fn elements_of<D: Dimension>(rows: &Range<usize>, shape: &D) -> Range<usize> {
    let row: usize = shape.slice()[1..].iter().product();
    rows.start * row..rows.end * row
}

/// The length of the first axis, and the number of elements in a row; an error if the shape does not fit the array.
pub(crate) fn rows_of<A, D: Dimension>(array: &SharedArray<A>, shape: &D) -> Result<(usize, usize), Error> {
    let wrong = |why: String| Error::option("shape", shape.slice(), why);
    let (rows, row) = shape.slice().split_first().ok_or_else(|| wrong("it must have an axis".into()))?;
    check(shape, array.len()).map_err(wrong)?;
    Ok((*rows, row.iter().product()))
}

impl<'a, A, S: Data<Elem = A>, D: Dimension> Arrays<'a, A, D> for &'a ArrayBase<S, D> {}
impl<'a, A, S: Data<Elem = A>, D: Dimension> sealed::Lend<'a, A, D> for &'a ArrayBase<S, D> {
    fn lend(self) -> Result<ArraySource<'a, A, D>, Error> {
        self.view().lend()
    }
}

impl<'a, A, D: Dimension> Arrays<'a, A, D> for ArrayView<'a, A, D> {}
impl<'a, A, D: Dimension> sealed::Lend<'a, A, D> for ArrayView<'a, A, D> {
    fn lend(self) -> Result<ArraySource<'a, A, D>, Error> {
        Ok(ArraySource(Origin::View(self)))
    }
}

impl<'a, A, S: IntoDimension> Arrays<'a, A, S::Dim> for (&'a SharedArray<A>, S) {}
impl<'a, A, S: IntoDimension> sealed::Lend<'a, A, S::Dim> for (&'a SharedArray<A>, S) {
    fn lend(self) -> Result<ArraySource<'a, A, S::Dim>, Error> {
        let shape = self.1.into_dimension();
        rows_of(self.0, &shape)?;
        Ok(ArraySource(Origin::Shared { loan: Loan::copied(self.0), shape }))
    }
}

impl<'a, A, S: IntoDimension> Arrays<'a, A, S::Dim> for (&'a mut SharedArray<A>, S) {}
impl<'a, A, S: IntoDimension> sealed::Lend<'a, A, S::Dim> for (&'a mut SharedArray<A>, S) {
    fn lend(self) -> Result<ArraySource<'a, A, S::Dim>, Error> {
        let shape = self.1.into_dimension();
        rows_of(self.0, &shape)?;
        Ok(ArraySource(Origin::Shared { loan: Loan::read(self.0)?, shape }))
    }
}

impl<A: Clone, D: RemoveAxis> Concatenate for Array<A, D> {
    fn concatenate(parts: Vec<Self>) -> Result<Self, String> {
        Self::concatenate_along(parts, 0)
    }

    fn concatenate_along(parts: Vec<Self>, axis: usize) -> Result<Self, String> {
        if parts.is_empty() {
            let shape = D::zeros(D::NDIM.unwrap_or(1));
            return Self::from_shape_vec(shape, Vec::new()).map_err(|error| error.to_string());
        }
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        if parts.iter().any(|part| part.ndim() <= axis) {
            return Err(format!("an output has no axis {axis}"));
        }
        ndarray::concatenate(Axis(axis), &views).map_err(|error| error.to_string())
    }
}
