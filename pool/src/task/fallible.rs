//! Functions that can fail: the value in a returned `Result` is what they make, and its error is their failure.

use crate::error::ReturnedError;

/// The return type of a function that can fail. Only [`Result`] is one, under whatever name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Result`",
    label = "a function that is `fallible` returns a `Result<T, E>`",
    note = "its output is the `T`, and an `Err` is its failure; `E` needs `Display`, and no serde"
)]
pub trait Fallible {
    /// What the function makes.
    type Value;
    /// Why it fails.
    type Error;
    /// The value, or the error as it crosses to the parent.
    fn or_failed(
        self,
        returned: impl FnOnce(Self::Error) -> ReturnedError,
    ) -> Result<Self::Value, ReturnedError>;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;

    #[inline]
    fn or_failed(self, returned: impl FnOnce(E) -> ReturnedError) -> Result<T, ReturnedError> {
        self.map_err(returned)
    }
}
