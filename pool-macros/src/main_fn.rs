//! What `#[pool::main]` writes.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, ItemFn};

use crate::errors::Errors;

pub(crate) fn expand(attr: TokenStream, item: &TokenStream) -> TokenStream {
    let Ok(mut main) = syn::parse2::<ItemFn>(item.clone()) else {
        let error = Error::new_spanned(item, "`#[pool::main]` goes on `fn main`").into_compile_error();
        return quote!(#error #item);
    };
    let mut errors = Errors::default();
    let mut krate: syn::Path = syn::parse_quote!(::pool);
    let options = syn::meta::parser(|option| {
        if !option.path.is_ident("crate") {
            return Err(option.error("unknown option, expected: `crate`"));
        }
        krate = option.value()?.parse()?;
        Ok(())
    });
    if let Err(error) = syn::parse::Parser::parse2(options, attr) {
        errors.push(error);
    }
    if main.sig.ident != "main" {
        errors.at(&main.sig.ident, "`#[pool::main]` goes on `fn main`");
    }
    let (asyncness, constness) = (&main.sig.asyncness, &main.sig.constness);
    if let Some(keyword) = asyncness {
        errors.at(
            keyword,
            "`#[pool::main]` needs a plain `fn main`\n= help: put `#[pool::main]` below the attribute that starts the \
             runtime, which makes `main` plain",
        );
    }
    if let Some(keyword) = constness {
        errors.at(keyword, "`#[pool::main]` needs a plain `fn main`");
    }
    if !main.sig.inputs.is_empty() {
        errors.at(&main.sig.inputs, "`main` takes no arguments");
    }
    if let Some(calls) = errors.into_calls() {
        if main.sig.ident != "main" {
            return quote!(#(#calls)* #main);
        }
        // Inside a good `main` the bad one raises no errors of its own.
        return quote!(fn main() { #(#calls)* #[allow(dead_code)] #main });
    }
    main.block.stmts.insert(0, syn::parse_quote!(#krate::init();));
    main.into_token_stream()
}
