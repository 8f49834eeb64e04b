//! Everything that is wrong with one annotated function, told at once.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// What was found so far; nothing is reported before the whole function has been looked at.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Notes an error with its caret on `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    /// The errors as `compile_error!` calls, of which each can stand for an item or an expression; none if all
    /// is well.
    pub(crate) fn into_calls(self) -> Option<Vec<TokenStream>> {
        let errors = self.0?;
        Some(errors.into_iter().map(|error| error.into_compile_error()).collect())
    }
}
