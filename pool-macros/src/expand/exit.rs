//! The expansion of `#[worker_exit]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;

use super::{Stubbed, cx};
use crate::model::Annotated;

pub(crate) fn expand(function: &Annotated) -> TokenStream {
    let Annotated { params, result, private, .. } = function;
    let this = function.this();
    let (state, exit_of) = match params.state() {
        Some(state) => (state.into_token_stream(), quote!(impl #private::ExitOf<#state> for #this {})),
        None => (quote!(()), quote!(impl<__State: 'static> #private::ExitOf<__State> for #this {})),
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
        impl #private::WorkerExit for #this {
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
pub(crate) fn stub(stubbed: &Stubbed, private: &TokenStream, bad_type: &TokenStream) -> TokenStream {
    let rest = stubbed.rest(private);
    let Stubbed { this, params, .. } = stubbed;
    quote! {
        impl<#params> #private::WorkerExit for #this {
            type State = ();
            type Shared = #private::NoShared;
            type Output = #bad_type;
            fn call(
                _: #private::ExitContext<'_, Self>,
            ) -> ::core::result::Result<Self::Output, #private::ReturnedError> {
                loop {}
            }
        }
        impl<#params __State: 'static> #private::ExitOf<__State> for #this {}
        impl<#params> #private::Public for #this {}
        #rest
    }
}
