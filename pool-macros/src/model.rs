//! What the stages agree on: an annotated function, taken apart and found to be good.

use proc_macro2::{Span, TokenStream};
use syn::{Ident, Type};

use crate::options::Options;
use crate::params::Params;

/// An annotated function that is known to be good.
pub(crate) struct Annotated {
    pub(crate) name: Ident,
    pub(crate) params: Params,
    pub(crate) result: Type,
    pub(crate) options: Options,
    /// It is `pub` without limits.
    pub(crate) is_public: bool,
    /// Where the parameter list is.
    pub(crate) list: Span,
    /// The path of the module that the output refers to.
    pub(crate) private: TokenStream,
}
