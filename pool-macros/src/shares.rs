//! `#[derive(Shares)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, Member, Path, Type};

use crate::errors::Errors;
use crate::lifetimes::{borrow_in, hidden_lifetime};

pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let krate = krate(&input, &mut errors);
    let fields = fields(&input, &mut errors);
    let lent = check(&input.ident, &fields, &mut errors);
    let private = quote!(#krate::__private);
    let name = &input.ident;
    let lends = lent.iter().map(|(_, ty)| lends(name, ty, &private));
    match errors.into_calls() {
        None => {
            let entry = entry(name, &lent, &private);
            quote!(const _: () = { #(#lends)* #entry };)
        }
        // Tasks that borrow a field raise no errors about that.
        Some(calls) if input.generics.params.is_empty() => quote!(#(#calls)* const _: () = { #(#lends)* };),
        Some(calls) => quote!(#(#calls)*),
    }
}

/// The path of the `pool` crate, as `#[shares(crate = path)]` may give it.
fn krate(input: &DeriveInput, errors: &mut Errors) -> TokenStream {
    let mut krate: Path = syn::parse_quote!(::pool);
    for attr in input.attrs.iter().filter(|attr| attr.path().is_ident("shares")) {
        let parsed = attr.parse_nested_meta(|option| {
            if !option.path.is_ident("crate") {
                return Err(option.error("unknown option, expected: `crate`"));
            }
            krate = option.value()?.parse()?;
            Ok(())
        });
        if let Err(error) = parsed {
            errors.push(error);
        }
    }
    quote!(#krate)
}

/// The fields of a struct, with their types.
fn fields(input: &DeriveInput, errors: &mut Errors) -> Vec<(Member, Type)> {
    let Data::Struct(data) = &input.data else {
        errors.at(
            &input.ident,
            "`Shares` lends the fields of a struct\n= help: make it one, with a field for each value",
        );
        return Vec::new();
    };
    if !input.generics.params.is_empty() {
        errors.at(
            &input.generics,
            "a struct that derives `Shares` must name concrete types\n= note: workers look its fields up by their \
             types",
        );
    }
    if let Fields::Unit = data.fields {
        errors.at(&input.ident, "this struct has no field that a task could borrow");
    }
    data.fields.members().zip(data.fields.iter().map(|field| field.ty.clone())).collect()
}

/// Notes fields that can't be told apart, and those that can't be shared. Returns the others.
fn check<'f>(name: &Ident, fields: &'f [(Member, Type)], errors: &mut Errors) -> Vec<&'f (Member, Type)> {
    let mut seen: Vec<String> = Vec::new();
    let mut lent = Vec::new();
    for field in fields {
        let ty = &field.1;
        let text = ty.to_token_stream().to_string();
        if let Some(borrow) = borrow_in(ty).or_else(|| hidden_lifetime(ty).map(Ident::span)) {
            errors
                .push(syn::Error::new(borrow, "a shared value lives as long as its pool, it cannot borrow"));
        } else if seen.contains(&text) {
            errors.at(
                ty,
                format_args!(
                    "two fields of `{name}` have this type: a task that borrows it could not tell which\n= help: give \
                     one of them a type of its own: `struct Limits(..)`"
                ),
            );
        } else {
            seen.push(text);
            lent.push(field);
        }
    }
    lent
}

/// What the compiler checks.
fn lends(name: &Ident, ty: &Type, private: &TokenStream) -> TokenStream {
    quote_spanned!(ty.span()=> impl<__Function> #private::Lends<#ty, __Function> for #name {})
}

/// What workers look up.
fn entry(name: &Ident, lent: &[&(Member, Type)], private: &TokenStream) -> TokenStream {
    let found = lent.iter().map(|(member, ty)| {
        quote! {
            if wanted == ::core::any::TypeId::of::<#ty>() {
                return ::core::option::Option::Some(&whole.#member);
            }
        }
    });
    quote! {
        #[#private::linkme::distributed_slice(#private::POOL_SHARES_0_1)]
        #[linkme(crate = #private::linkme)]
        static SHARES: #private::Shares = #private::Shares::of::<#name>(
            {
                use #private::ProbeFallback as _;
                #private::Probe::<#name>::DECODE_SHARED
            },
            |whole, wanted| {
                let whole = whole.downcast_ref::<#name>()?;
                #(#found)*
                ::core::option::Option::None
            },
        );
    }
}
