//! The expansion of `#[worker_init]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;

use super::{Stubbed, cx};
use crate::model::Annotated;

pub(crate) fn expand(function: &Annotated) -> TokenStream {
    let Annotated { params, result, private, .. } = function;
    let this = function.this();
    let (state, call) = (function.value(), function.call());
    let state_type = quote_spanned!(result.span()=> type State = #state;);
    let shared = function.shared();
    let public = function.public();
    let runs_on = function.runs_on();
    let constant = function.constant();
    let cx = if params.iter().next().is_some() { cx().into_token_stream() } else { quote!(_) };
    let registered = function.registered("init");
    quote! {
        impl #private::WorkerInit for #this {
            #state_type
            type Shared = #shared;
            fn call(
                #cx: #private::InitContext<'_, Self>,
            ) -> ::core::result::Result<Self::State, #private::ReturnedError> {
                #call
            }
        }
        impl #private::InitOf<#state> for #this {}
        #public
        #constant
        #registered
        #runs_on
    }
}

/// The stub for an init function that has errors.
pub(crate) fn stub(stubbed: &Stubbed, private: &TokenStream, bad_type: &TokenStream) -> TokenStream {
    let (rest, constant) = (stubbed.rest(private), stubbed.constant(private, bad_type));
    let Stubbed { this, params, .. } = stubbed;
    quote! {
        impl<#params> #private::WorkerInit for #this {
            type State = #bad_type;
            type Shared = #private::NoShared;
            fn call(
                _: #private::InitContext<'_, Self>,
            ) -> ::core::result::Result<Self::State, #private::ReturnedError> {
                loop {}
            }
        }
        impl<#params __State> #private::InitOf<__State> for #this {}
        impl<#params> #private::Public for #this {}
        #constant
        #rest
    }
}
