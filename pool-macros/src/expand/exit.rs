//! The expansion of `#[worker_exit]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use super::{cx, stub_of_any};
use crate::model::Annotated;

pub(crate) fn expand(function: &Annotated) -> TokenStream {
    let Annotated { name, params, result, private, .. } = function;
    let (state, exit_of) = match params.state() {
        Some(state) => (state.into_token_stream(), quote!(impl #private::ExitOf<#state> for #name {})),
        None => (quote!(()), quote!(impl<State: 'static> #private::ExitOf<State> for #name {})),
    };
    let state_type = quote_spanned!(state.span()=> type State = #state;);
    let value = function.value();
    let output_type = quote_spanned!(result.span()=> type Output = #value;);
    let shared = function.shared();
    let public = function.public();
    let runs_on = function.runs_on();
    let cx = if params.iter().next().is_some() { cx().into_token_stream() } else { quote!(_) };
    let registered = function.registered("exit");
    let call = function.call();
    quote! {
        impl #private::WorkerExit for #name {
            #state_type
            type Shared = #shared;
            #output_type
            fn call(
                #cx: #private::ExitContext<'_, Self>,
            ) -> ::core::result::Result<Self::Output, #private::ReturnedError> {
                #call
            }
        }
        #exit_of
        #public
        #registered
        #runs_on
    }
}

/// The stub for an exit function that has errors.
pub(crate) fn stub(name: &Ident, private: &TokenStream, bad_type: &TokenStream) -> TokenStream {
    let rest = stub_of_any(name, private);
    quote! {
        impl #private::WorkerExit for #name {
            type State = ();
            type Shared = #private::NoShared;
            type Output = #bad_type;
            fn call(
                _: #private::ExitContext<'_, Self>,
            ) -> ::core::result::Result<Self::Output, #private::ReturnedError> {
                loop {}
            }
        }
        impl<State: 'static> #private::ExitOf<State> for #name {}
        impl #private::Public for #name {}
        #rest
    }
}
