//! Parse → classify → check → expand, as one pure function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ReturnType, Visibility};

use crate::errors::Errors;
use crate::function::{Function, is_function};
use crate::kind::Kind;
use crate::model::Annotated;
use crate::options::Options;
use crate::params::Params;
use crate::signature::{returns_named_result, self_type};
use crate::{expand, place, signature};

pub(crate) fn run(kind: Kind, attr: TokenStream, item: &TokenStream) -> TokenStream {
    let mut function = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => function,
        Err(_) if !is_function(item.clone()) => {
            let message = format!("`{}` goes on a free function", kind.attribute());
            let error = Error::new_spanned(item, message).into_compile_error();
            return quote!(#error #item);
        }
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #item);
        }
    };
    let mut errors = Errors::default();
    let options = Options::parse(kind, attr, &mut errors);
    let is_fallible = options.fallible || (kind != Kind::Task && returns_named_result(&function.sig));
    signature::check(kind, is_fallible, &function.sig, &mut errors);
    let stands_free = place::check(kind, &mut function, &mut errors);
    place::check_named(&function.sig, &options, &mut errors);
    let params = Params::classify(kind, &mut function.sig, &mut errors);

    let private = options.krate();
    let private = quote!(#private::__private);
    let name = function.sig.ident.clone();
    let output = match errors.into_calls() {
        None => {
            let result = match &function.sig.output {
                ReturnType::Default => syn::parse_quote!(()),
                ReturnType::Type(_, ty) => (**ty).clone(),
            };
            let list = function.sig.paren_token.span.join();
            let is_public = matches!(function.vis, Visibility::Public(_));
            let good = Annotated { name, params, result, is_fallible, options, is_public, list, private };
            match kind {
                Kind::Task => expand::task::expand(&good),
                Kind::Init => expand::init::expand(&good),
                Kind::Exit => expand::exit::expand(&good),
            }
        }
        // An `impl` block can't contain a type, so only the errors are written.
        Some(calls)
            if !stands_free || function.sig.receiver().is_some() || self_type(&function.sig).is_some() =>
        {
            return quote!(#(#calls)* #function);
        }
        Some(calls) => {
            function.sig.variadic = None;
            // The compiler does not complain about a type that has an error in it, wherever that type is used.
            let bad_type = quote!([(); { #(#calls)* }]);
            match kind {
                Kind::Task => expand::task::stub(&name, &private, &bad_type, params.wants_chunk),
                Kind::Init => expand::init::stub(&name, &private, &bad_type),
                Kind::Exit => expand::exit::stub(&name, &private, &bad_type),
            }
        }
    };
    expand::companion(kind, &function, &output)
}
