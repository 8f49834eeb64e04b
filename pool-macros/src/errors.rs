//! Collects all errors of an annotated function, to report them at once.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// The errors found so far. None is reported before the whole function was checked.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Notes an error with its caret on `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    /// How many were noted.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    /// The errors as `compile_error!` calls, each of which can be used as an item or an expression; none if there are
    /// no errors.
    pub(crate) fn into_calls(self) -> Option<Vec<TokenStream>> {
        let errors = self.0?;
        Some(errors.into_iter().map(|error| error.into_compile_error()).collect())
    }
}
