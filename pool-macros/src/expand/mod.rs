//! Writes the output for an annotated function: a file for each attribute, and here the parts that they share.
//!
//! Beside each expansion is its stub, which replaces it if the function has errors. The stub implements the same
//! traits, so that the rest of the program raises no errors about them.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Ident, Signature};

use crate::function::Function;
use crate::instances;
use crate::kind::Kind;
use crate::model::Annotated;
use crate::params::{Chunk, Constant, Param, Pass};

pub(crate) mod exit;
pub(crate) mod init;
pub(crate) mod main;
pub(crate) mod task;

/// The function, the type of the same name, and the impls of that type.
pub(crate) fn companion(
    kind: Kind,
    function: &Function,
    is_generic: bool,
    output: &TokenStream,
) -> TokenStream {
    let (vis, name) = (&function.vis, &function.sig.ident);
    let cfgs: Vec<_> = function.cfgs().collect();
    let deprecations = function.deprecations();
    let docs: Vec<_> = function.docs().collect();
    let gap = (!docs.is_empty()).then(|| quote!(#[doc = ""]));
    // Errors about the type point to the function's name. The span is the macro's own, so that lints do not apply.
    let place = Span::call_site().located_at(name.span());
    let mut type_name = name.clone();
    type_name.set_span(place);
    let companion = if is_generic {
        let (params, fields) = instances::declared(&function.sig.generics);
        quote_spanned! {place=>
            #vis enum #type_name<#params> {
                #[doc(hidden)]
                #[allow(dead_code)]
                __Never(::core::convert::Infallible, #fields),
            }
        }
    } else {
        quote_spanned!(place=> #vis enum #type_name {})
    };
    let summary = format!(" The {} `{name}`, as a type.", kind.noun());
    quote! {
        // Injected values are borrowed as the exact type that the worker holds.
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
    /// The companion type.
    pub(crate) fn this(&self) -> TokenStream {
        let name = &self.name;
        match &self.instance {
            None => name.into_token_stream(),
            Some(instance) => {
                let arguments = instance.arguments();
                quote!(#name<#(#arguments),*>)
            }
        }
    }

    /// The arguments of the call, one for each parameter, in order.
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
            // An init function owns its constant, a task is lent it.
            Param::Arg(Constant::Value(_)) if self.kind == Kind::Init => quote!(#cx.arg.0),
            Param::Arg(Constant::Reference(_)) if self.kind == Kind::Init => {
                quote!(#private::Arg::lend(&#cx.arg))
            }
            Param::Arg(Constant::Value(ty)) => quote!({
                use #private::ProbeFallback as _;
                #private::Probe::<#ty>::cloned(#cx.arg)
            }),
            Param::Arg(Constant::Reference(_)) => quote!(#cx.arg),
            // A task is lent its state, an exit function owns it.
            Param::State(_, Pass::AsGiven) => quote!(#cx.state),
            Param::State(_, Pass::ByMut) => quote!(&mut { #cx.state }),
            Param::State(_, Pass::ByRef) => quote!(&{ #cx.state }),
        };
        self.params.iter().map(argument).collect()
    }

    /// The type of the value that the function makes: what it returns, or what is in the `Ok` of that.
    pub(crate) fn value(&self) -> TokenStream {
        let Self { result, private, .. } = self;
        match self.is_fallible {
            true => quote_spanned!(result.span()=> <#result as #private::Fallible>::Value),
            false => result.into_token_stream(),
        }
    }

    /// The call of the function, with a `Result` of its value.
    pub(crate) fn call(&self) -> TokenStream {
        let Self { name, result, private, .. } = self;
        let arguments = self.arguments();
        let turbofish = self.instance.as_ref().map(|instance| {
            let arguments = instance.arguments();
            quote!(::<#(#arguments),*>)
        });
        let call = quote!(#name #turbofish(#(#arguments),*));
        if !self.is_fallible {
            return quote!(::core::result::Result::Ok(#call));
        }
        let error = Ident::new("error", Span::mixed_site());
        let told = quote_spanned!(result.span()=> ::core::format_args!("{}", #error));
        let returned =
            quote!(#private::ReturnedError::new(#private::displayed(#told), #private::sources!(&#error)));
        quote!(#private::Fallible::or_failed(#call, |#error| #returned))
    }

    /// The type of the shared value.
    pub(crate) fn shared(&self) -> TokenStream {
        let private = &self.private;
        self.params.shared().map_or_else(|| quote!(#private::NoShared), ToTokens::into_token_stream)
    }

    /// The impl that lets a `pub` task name the function, which must be `pub` too.
    pub(crate) fn public(&self) -> Option<TokenStream> {
        let (this, private) = (self.this(), &self.private);
        self.is_public.then(|| quote!(impl #private::Public for #this {}))
    }

    /// How the function's constant travels, if it takes one, and the check that it can.
    pub(crate) fn constant(&self) -> TokenStream {
        let (this, private) = (self.this(), &self.private);
        let Some(constant) = self.params.arg() else {
            return quote! {
                impl #private::HasArg for #this {
                    type Arg = #private::NoArg;
                }
            };
        };
        let (kept, encode, decode, check) = match constant {
            Constant::Value(ty) => {
                let cloned = (self.kind == Kind::Task)
                    .then(|| quote_spanned!(ty.span()=> #private::cloned_for_tasks::<#ty>();));
                let crosses = quote_spanned!(ty.span()=> #private::argument::<#ty>(););
                (
                    quote!(#private::ValueArg<#ty>),
                    quote!(#private::Probe::<#ty>::encode(codec, given, out)),
                    quote! {
                        let mut rest = bytes;
                        let value = #private::Probe::<#ty>::decode(codec, &mut rest)?;
                        #private::all_read(rest)?;
                        ::core::result::Result::Ok(#private::ValueArg(value))
                    },
                    quote!(#crosses #cloned),
                )
            }
            Constant::Reference(ty) => {
                let kept = quote!((&&&&#private::Kept::<#ty>::ASKED));
                let reference = quote_spanned!(ty.span()=> &'item #ty);
                (
                    quote!(#private::RefArg<#ty>),
                    quote!((&&&&&#private::Reference::<'item, #ty>::ASKED).encode(codec, given, out)),
                    quote!(#kept.decode(codec, bytes)),
                    quote_spanned!(ty.span()=> #private::borrowed_argument::<#reference, _>(#kept.answer());),
                )
            }
        };
        let uses = task::uses(private);
        let kept_uses = quote! {
            use #private::{
                KeptAsVec as _, KeptByOwner as _, KeptByValue as _, NotKept as _, ProbeFallback as _,
            };
        };
        quote! {
            impl #private::HasArg for #this {
                type Arg = #kept;
                fn encode_arg<'item>(
                    codec: #private::Codec,
                    given: &<Self::Arg as #private::Arg>::Given<'item>,
                    out: &mut impl ::std::io::Write,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    #uses
                    #encode
                }
                fn decode_arg(
                    codec: #private::Codec,
                    bytes: &[u8],
                ) -> ::core::result::Result<Self::Arg, ::std::string::String> {
                    #kept_uses
                    #decode
                }
            }
            {
                fn constant<'item>() {
                    #kept_uses
                    #check
                }
            }
        }
    }

    /// The pools on which the function can run: all of them, or those that share the value that it borrows.
    pub(crate) fn runs_on(&self) -> TokenStream {
        let Self { params, private, .. } = self;
        let this = self.this();
        // An impl for the shared type itself would let the compiler infer the pool's type from the function.
        let lends = params.shared().map(|shared| quote!(#private::Lends<#shared, #this>));
        let gives = params.arg().map(|_| quote!(#private::GivesArgTo<#this>));
        let bounds = lends.iter().chain(&gives);
        quote! {
            impl<__Given: #lends> #private::BorrowsFrom<__Given> for #this {}
            impl<__Given: #(#bounds)+*> #private::RunsOn<__Given> for #this {}
        }
    }

    /// The function's name for the registry: none for the path of its type, as long as that is its own.
    fn registered_name(&self) -> TokenStream {
        let (this, private) = (self.this(), &self.private);
        match (&self.given_name, &self.instance) {
            (None, None) => quote!(::core::option::Option::None),
            (Some(name), None) => quote!(::core::option::Option::Some(|| #name)),
            (Some(name), Some(instance)) => {
                let arguments = instance.arguments();
                let arguments = quote!(::core::stringify!(#(#arguments),*));
                quote!(::core::option::Option::Some(|| ::core::concat!(#name, "::<", #arguments, ">")))
            }
            (None, Some(_)) => quote!(::core::option::Option::Some(|| {
                static NAME: #private::InstanceName = #private::InstanceName::new();
                NAME.of::<#this>()
            })),
        }
    }

    /// Puts the function into the registry, and implements the way from the type to its entry.
    pub(crate) fn registered(&self, constructor: &str) -> TokenStream {
        let (this, private) = (self.this(), &self.private);
        let constructor = format_ident!("{constructor}");
        let registered_name = self.registered_name();
        let decode = match self.params.shared() {
            None => quote!(::core::option::Option::None),
            Some(shared) => quote!({
                use #private::ProbeFallback as _;
                #private::Probe::<#shared>::DECODE_SHARED
            }),
        };
        quote! {
            impl #private::Registered for #this {
                fn entry() -> ::core::option::Option<&'static #private::Entry> {
                    #[#private::linkme::distributed_slice(#private::POOL_REGISTRY_0_1)]
                    #[linkme(crate = #private::linkme)]
                    static ENTRY: #private::Entry = #private::Entry::#constructor::<#this>(
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

/// The companion type of a function that has errors, whatever its parameters.
pub(crate) struct Stubbed {
    this: TokenStream,
    /// The parameters of an impl.
    params: TokenStream,
    wants_arg: bool,
}

impl Stubbed {
    pub(crate) fn new(sig: &Signature, is_generic: bool, wants_arg: bool) -> Self {
        let name = &sig.ident;
        if !is_generic {
            return Self { this: name.into_token_stream(), params: TokenStream::new(), wants_arg };
        }
        let (params, arguments) = (instances::declared(&sig.generics).0, instances::named(&sig.generics));
        Self { this: quote!(#name<#arguments>), params: quote!(#params,), wants_arg }
    }

    /// The constant that it seems to take: any, if one is marked.
    fn constant(&self, private: &TokenStream, bad_type: &TokenStream) -> TokenStream {
        let Self { this, params, wants_arg } = self;
        let arg = if *wants_arg { quote!(ValueArg<#bad_type>) } else { quote!(NoArg) };
        quote! {
            impl<#params> #private::HasArg for #this {
                type Arg = #private::#arg;
            }
        }
    }

    /// The parts that all three stubs share: they are in no registry, and fit every pool.
    fn rest(&self, private: &TokenStream) -> TokenStream {
        let Self { this, params, .. } = self;
        quote! {
            impl<#params> #private::Registered for #this {
                fn entry() -> ::core::option::Option<&'static #private::Entry> {
                    ::core::option::Option::None
                }
            }
            impl<#params __Given> #private::BorrowsFrom<__Given> for #this {}
            impl<#params __Given> #private::RunsOn<__Given> for #this {}
        }
    }
}

/// The name of the injected context in the expansion.
fn cx() -> Ident {
    Ident::new("cx", Span::mixed_site())
}

/// The name of the item in the expansion.
fn item() -> Ident {
    Ident::new("item", Span::mixed_site())
}
