//! Parse → classify → check → expand, as one pure function.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Error, Ident, ReturnType, Type, Visibility};

use crate::errors::Errors;
use crate::function::{Function, is_function};
use crate::kind::Kind;
use crate::options::Options;
use crate::params::{Chunk, Param, Params, Pass};
use crate::signature::self_type;
use crate::{exit, init, place, signature, task};

/// An annotated function that is known to be good.
pub(crate) struct Annotated {
    pub(crate) name: Ident,
    pub(crate) params: Params,
    pub(crate) result: Type,
    pub(crate) options: Options,
    /// It is `pub` without limits.
    pub(crate) is_public: bool,
    /// Where the parameter list is.
    pub(crate) list: Span,
    /// The path of the module that the output refers to.
    pub(crate) private: TokenStream,
}

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
    signature::check(kind, &function.sig, &mut errors);
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
            let good = Annotated { name, params, result, options, is_public, list, private };
            match kind {
                Kind::Task => task::expand(&good),
                Kind::Init => init::expand(&good),
                Kind::Exit => exit::expand(&good),
            }
        }
        // An `impl` block is no place for a type, so the errors stand alone.
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
                Kind::Task => task::stub(&name, &private, &bad_type, params.wants_chunk),
                Kind::Init => init::stub(&name, &private, &bad_type),
                Kind::Exit => exit::stub(&name, &private, &bad_type),
            }
        }
    };
    companion(kind, &function, &output)
}

/// The function, the type of its name, and what that type implements.
fn companion(kind: Kind, function: &Function, output: &TokenStream) -> TokenStream {
    let (vis, name) = (&function.vis, &function.sig.ident);
    let cfgs: Vec<_> = function.cfgs().collect();
    let deprecations = function.deprecations();
    let docs: Vec<_> = function.docs().collect();
    let gap = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    // Where the compiler speaks of the type it points to the function's name; as the macro's, so that no lint does.
    let place = Span::call_site().located_at(name.span());
    let mut type_name = name.clone();
    type_name.set_span(place);
    let companion = quote_spanned!(place=> #vis enum #type_name {});
    let summary = format!(" The {} `{name}`, as a type.", kind.noun());
    quote! {
        // What is injected is borrowed as the very type that the worker holds.
        #[allow(clippy::ptr_arg)]
        #function
        #(#cfgs)*
        #(#docs)*
        #gap
        #[doc = #summary]
        #(#deprecations)*
        #[allow(non_camel_case_types, clippy::empty_enums)]
        #companion
        #(#cfgs)*
        #[allow(deprecated, non_camel_case_types)]
        const _: () = { #output };
    }
}

impl Annotated {
    /// What the function is called with: an argument for each parameter, in their order.
    pub(crate) fn arguments(&self) -> Vec<TokenStream> {
        let private = &self.private;
        let (cx, item) = (cx(), item());
        let one_item = self.params.items().count() == 1;
        let mut parts = (0usize..).map(syn::Index::from);
        let argument = |param: &Param| match param {
            Param::Item(_) if one_item => quote!(#item),
            Param::Item(_) => {
                let part = parts.next();
                quote!(#item.#part)
            }
            Param::Chunk(Chunk::Array { .. }) => quote!(#private::Lend::lend(&mut { #item })),
            Param::Chunk(Chunk::Slice { element, .. }) => {
                quote!(#private::Elements::<#element>::lend(&mut { #item }))
            }
            Param::WorkerId(ty) => {
                quote!(<#ty as ::core::convert::From<#private::WorkerId>>::from(#cx.worker_id))
            }
            Param::Shared(_) => quote!(#cx.shared),
            // A task is lent its state, an exit function owns it.
            Param::State(_, Pass::AsGiven) => quote!(#cx.state),
            Param::State(_, Pass::ByMut) => quote!(&mut { #cx.state }),
            Param::State(_, Pass::ByRef) => quote!(&{ #cx.state }),
        };
        self.params.iter().map(argument).collect()
    }

    /// The type of the shared value.
    pub(crate) fn shared(&self) -> TokenStream {
        let private = &self.private;
        self.params.shared().map_or_else(|| quote!(#private::NoShared), ToTokens::into_token_stream)
    }

    /// What lets a `pub` task name the function, which has to be `pub` as well.
    pub(crate) fn public(&self) -> Option<TokenStream> {
        let Self { name, private, .. } = self;
        self.is_public.then(|| quote!(impl #private::Public for #name {}))
    }

    /// Where the function can run: on every pool, or on those that share what it borrows.
    pub(crate) fn runs_on(&self) -> TokenStream {
        let Self { name, params, private, .. } = self;
        match params.shared() {
            // An impl for the shared type itself would let the compiler infer the pool's type from the function.
            Some(shared) => {
                quote!(impl<__Given: #private::Lends<#shared, #name>> #private::RunsOn<__Given> for #name {})
            }
            None => quote!(impl<__Given> #private::RunsOn<__Given> for #name {}),
        }
    }

    /// Puts the function into the registry, and says where it stands there.
    pub(crate) fn registered(&self, constructor: &str) -> TokenStream {
        let Self { name, options, private, .. } = self;
        let constructor = format_ident!("{constructor}");
        let registered_name = options.registered_name();
        let decode = match self.params.shared() {
            None => quote!(::core::option::Option::None),
            Some(shared) => quote!({
                use #private::ProbeFallback as _;
                #private::Probe::<#shared>::DECODE_SHARED
            }),
        };
        quote! {
            impl #private::Registered for #name {
                fn entry() -> ::core::option::Option<&'static #private::Entry> {
                    #[#private::linkme::distributed_slice(#private::POOL_REGISTRY_0_1)]
                    #[linkme(crate = #private::linkme)]
                    static ENTRY: #private::Entry = #private::Entry::#constructor::<#name>(
                        #private::Package {
                            name: ::core::option_env!("CARGO_PKG_NAME"),
                            version: ::core::option_env!("CARGO_PKG_VERSION"),
                        },
                        #registered_name,
                        #decode,
                    );
                    ::core::option::Option::Some(&ENTRY)
                }
            }
        }
    }
}

pub(crate) fn cx() -> Ident {
    Ident::new("cx", Span::mixed_site())
}

pub(crate) fn item() -> Ident {
    Ident::new("item", Span::mixed_site())
}
