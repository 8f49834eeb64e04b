//! How the outputs of chunks become the result of a call.

use crate::error::Error;

/// An output type whose values, one per chunk, can be joined in the order of the chunks.
#[diagnostic::on_unimplemented(
    message = "outputs of type `{Self}` cannot be concatenated",
    label = "the task returns this for each chunk",
    note = "return a `Vec`, or keep one output a chunk: `f::job(&pool).concatenate(false).map_slice(..)`"
)]
pub trait Concatenate: Sized {
    /// Joins all parts, in order.
    ///
    /// # Errors
    /// Says why the parts do not fit together.
    fn concatenate(parts: Vec<Self>) -> Result<Self, String>;

    /// Joins all parts along one axis, for types that have axes.
    ///
    /// # Errors
    /// As for [`concatenate`](Self::concatenate).
    fn concatenate_along(parts: Vec<Self>, axis: usize) -> Result<Self, String> {
        let _ = axis;
        Self::concatenate(parts)
    }
}

impl<T> Concatenate for Vec<T> {
    fn concatenate(parts: Vec<Self>) -> Result<Self, String> {
        let mut all = Self::with_capacity(parts.iter().map(Self::len).sum());
        parts.into_iter().for_each(|mut part| all.append(&mut part));
        Ok(all)
    }
}

impl Concatenate for String {
    fn concatenate(parts: Vec<Self>) -> Result<Self, String> {
        Ok(parts.concat())
    }
}

/// What a job does with the outputs of chunks: [`Concatenated`] or [`OneAChunk`].
pub trait Outputs<R>: sealed::Sealed {
    /// The result of the call.
    type All;
    #[doc(hidden)]
    fn gather(outputs: Vec<R>, axis: usize) -> Result<Self::All, Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Concatenated {}
    impl Sealed for super::OneAChunk {}
}

/// The outputs of chunks are concatenated: the default.
#[derive(Debug, Clone, Copy)]
pub enum Concatenated {}

/// The outputs of chunks are kept apart: after [`Job::concatenate(false)`](crate::Job::concatenate).
#[derive(Debug, Clone, Copy)]
pub enum OneAChunk {}

impl<R: Concatenate> Outputs<R> for Concatenated {
    type All = R;

    fn gather(outputs: Vec<R>, axis: usize) -> Result<R, Error> {
        R::concatenate_along(outputs, axis).map_err(Error::Concatenate)
    }
}

impl<R> Outputs<R> for OneAChunk {
    type All = Vec<R>;

    fn gather(outputs: Vec<R>, _: usize) -> Result<Vec<R>, Error> {
        Ok(outputs)
    }
}
