//! The model that the stages share: an annotated function, parsed and found valid.

use proc_macro2::{Span, TokenStream};
use syn::{Ident, Type};

use crate::options::Options;
use crate::params::Params;

/// A valid annotated function.
pub(crate) struct Annotated {
    pub(crate) name: Ident,
    pub(crate) params: Params,
    pub(crate) result: Type,
    pub(crate) options: Options,
    /// Whether it is plain `pub`.
    pub(crate) is_public: bool,
    /// The span of the parameter list.
    pub(crate) list: Span,
    /// The path of the module to which the output refers.
    pub(crate) private: TokenStream,
}
