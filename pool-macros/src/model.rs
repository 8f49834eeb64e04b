//! The model that the stages share: an annotated function, parsed and found valid.

use proc_macro2::{Span, TokenStream};
use syn::{Ident, LitStr, Path, Type};

use crate::instances::Instance;
use crate::kind::Kind;
use crate::params::Params;

/// A valid annotated function.
pub(crate) struct Annotated {
    pub(crate) name: Ident,
    /// The types of a generic function.
    pub(crate) instance: Option<Instance>,
    pub(crate) kind: Kind,
    pub(crate) params: Params,
    /// What it returns, as written.
    pub(crate) result: Type,
    /// Whether that is a `Result`, whose error is the function's failure.
    pub(crate) is_fallible: bool,
    /// The functions that the options name.
    pub(crate) init: Option<Path>,
    pub(crate) exit: Option<Path>,
    /// The name that the options give.
    pub(crate) given_name: Option<LitStr>,
    /// Whether it is plain `pub`.
    pub(crate) is_public: bool,
    /// The span of the parameter list.
    pub(crate) list: Span,
    /// The path of the module to which the output refers.
    pub(crate) private: TokenStream,
}
