//! The expansion of `#[worker_init]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{GenericArgument, Ident, PathArguments, Type};

use super::{cx, stub_of_any};
use crate::model::Annotated;

pub(crate) fn expand(function: &Annotated) -> TokenStream {
    let Annotated { name, params, result, private, .. } = function;
    let arguments = function.arguments();
    let call = quote!(#name(#(#arguments),*));
    let (state, call) = match ok_type(result) {
        Some(state) => {
            let error = Ident::new("error", Span::mixed_site());
            let told = quote_spanned!(result.span()=> ::core::format_args!("{}", #error));
            let returned =
                quote!(#private::ReturnedError::new(#private::told(#told), #private::sources!(&#error)));
            (state, quote!(::core::result::Result::map_err(#call, |#error| #returned)))
        }
        None => (result, quote!(::core::result::Result::Ok(#call))),
    };
    let state_type = quote_spanned!(state.span()=> type State = #state;);
    let shared = function.shared();
    let public = function.public();
    let runs_on = function.runs_on();
    let cx = if params.iter().next().is_some() { cx().into_token_stream() } else { quote!(_) };
    let registered = function.registered("init");
    quote! {
        impl #private::WorkerInit for #name {
            #state_type
            type Shared = #shared;
            fn call(
                #cx: #private::InitContext<'_, Self>,
            ) -> ::core::result::Result<Self::State, #private::ReturnedError> {
                #call
            }
        }
        impl #private::InitOf<#state> for #name {}
        #public
        #registered
        #runs_on
    }
}

/// The `T` of a `Result<T, ..>`, whichever `Result` type it is.
fn ok_type(result: &Type) -> Option<&Type> {
    let Type::Path(result) = result else { return None };
    let last = result.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(ok) if last.ident == "Result" => Some(ok),
        _ => None,
    }
}

/// The stub for an init function that has errors.
pub(crate) fn stub(name: &Ident, private: &TokenStream, bad_type: &TokenStream) -> TokenStream {
    let rest = stub_of_any(name, private);
    quote! {
        impl #private::WorkerInit for #name {
            type State = #bad_type;
            type Shared = #private::NoShared;
            fn call(
                _: #private::InitContext<'_, Self>,
            ) -> ::core::result::Result<Self::State, #private::ReturnedError> {
                loop {}
            }
        }
        impl<State> #private::InitOf<State> for #name {}
        impl #private::Public for #name {}
        #rest
    }
}
