//! The expansion of `#[pool::main]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Error, ItemFn};

use crate::errors::Errors;
use crate::place;

/// Attributes that start no runtime.
const PLAIN: [&str; 8] = ["allow", "cfg", "cfg_attr", "deny", "doc", "expect", "forbid", "warn"];

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
    // Attributes below may turn it into a plain one.
    let plain = |attribute: &Attribute| PLAIN.iter().any(|name| attribute.path().is_ident(name));
    let has_runtime = asyncness.is_some() && !main.attrs.iter().all(plain);
    if let Some(keyword) = asyncness.filter(|_| !has_runtime) {
        errors.at(
            keyword,
            "`#[pool::main]` needs a plain `fn main`\n= help: add the attribute that starts the runtime, such as \
             `#[tokio::main]`, which makes `main` plain",
        );
    }
    let qualifiers =
        [constness.to_token_stream(), main.sig.safety.to_token_stream(), main.sig.abi.to_token_stream()];
    for keyword in qualifiers.iter().filter(|keyword| !keyword.is_empty()) {
        errors.at(keyword, "`#[pool::main]` needs a plain `fn main`");
    }
    if let Some(block) = place::block_of("main", &main.sig) {
        let message =
            format!("`#[pool::main]` goes on the program's `fn main`, which stands in no `{block}` block");
        let error = Error::new_spanned(&main.sig.ident, message).into_compile_error();
        return quote!(#error #main);
    }
    if !main.sig.inputs.is_empty() {
        errors.at(&main.sig.inputs, "`main` takes no arguments");
    }
    if let Some(calls) = errors.into_calls() {
        if main.sig.ident != "main" {
            return quote!(#(#calls)* #main);
        }
        // Inside a valid `main`, the invalid one raises no errors of its own.
        main.sig.abi = None;
        return quote!(fn main() { #(#calls)* #[allow(dead_code)] #main });
    }
    if has_runtime {
        // In its own body the call would come after the runtime's threads have started.
        let (vis, mut sig) = (&main.vis, main.sig.clone());
        sig.asyncness = None;
        return quote!(#vis #sig { #krate::init(); #main main() });
    }
    main.block.stmts.insert(0, syn::parse_quote!(#krate::init();));
    main.into_token_stream()
}
