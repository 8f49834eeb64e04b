//! The expansion of `#[worker_task]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Path, Type, TypeReference};

use super::{Stubbed, cx, item};
use crate::lifetimes::{for_one_item, inferred};
use crate::model::Annotated;
use crate::params::{Chunk, is_view};

pub(crate) fn expand(function: &Annotated) -> TokenStream {
    let Annotated { params, result, list, private, .. } = function;
    let this = function.this();
    let items: Vec<_> = params.items().cloned().map(for_one_item).collect();
    let Carried { item: item_type, debug, plain_len, encode, decode, calls } = match params.chunk() {
        Some(chunk) => Carried::chunk(chunk, &this, private),
        None => Carried::items(&items, *list, &this, private),
    };
    let item_pattern = match (&*items, params.chunk()) {
        ([], None) => quote!(()),
        _ => item().into_token_stream(),
    };
    let state = match (params.state(), &function.init) {
        (Some(state), _) => state.into_token_stream(),
        (None, Some(init)) => quote!(<#init as #private::WorkerInit>::State),
        (None, None) => quote!(()),
    };
    let shared = function.shared();
    let named = |path: &Path| quote_spanned!(path.span()=> #private::Named<#path>);
    let init = function.init.as_ref().map_or_else(|| quote!(#private::ByDefault), named);
    let exit = function.exit.as_ref().map_or_else(|| quote!(#private::NoExit), named);
    let injected = params.iter().count() - items.len() - usize::from(params.chunk().is_some());
    let cx = if injected > 0 { cx().into_token_stream() } else { quote!(_) };
    let registered = function.registered("task");
    let call = function.call();
    let value = function.value();
    let failure = match function.is_fallible {
        true => quote!(#private::ReturnedError),
        false => quote!(::core::convert::Infallible),
    };
    let runs_on = function.runs_on();
    let constant = function.constant();
    let checks = checks(function, &state);
    // An error about a private type in a `pub` task points to the token that names the type.
    let item_type = quote_spanned!(item_span(&items, *list)=> type Item<'item> = #item_type;);
    let output_type = quote_spanned!(result.span()=> type Output = #value;);
    let place = |path: &Option<Path>| path.as_ref().map_or_else(Span::call_site, Spanned::span);
    let state_place = params.state().map_or_else(|| place(&function.init), Spanned::span);
    let state_type = quote_spanned!(state_place=> type State = #state;);
    let init_type = quote_spanned!(place(&function.init)=> type Init = #init;);
    let exit_type = quote_spanned!(place(&function.exit)=> type Exit = #exit;);
    // Each parameter is checked on its own, so that the compiler points to the guilty one.
    let arguments_cross = items.iter().map(|item| check(item, private));
    let uses = uses(private);
    let elements = params.chunk().and_then(|chunk| match chunk {
        Chunk::Slice { element, .. } => Some(element),
        Chunk::Array { .. } => None,
    });
    let call_scope = elements.map(|_| quote!(use #private::ElementsFallback as _;));
    let elements_cross =
        elements.iter().map(|element| quote_spanned!(element.span()=> #private::element::<#element>();));
    quote! {
        impl #private::Task for #this {
            #item_type
            #output_type
            type Failure = #failure;
            #state_type
            type Shared = #shared;
            #init_type
            #exit_type
            const DEFAULT_STATE: ::core::option::Option<fn() -> Self::State> = {
                use #private::ProbeFallback as _;
                #private::Probe::<Self::State>::DEFAULT
            };
            const DEBUG_ITEM: ::core::option::Option<fn(&Self::Item<'_>) -> ::std::string::String> = #debug;
            const PAIR: ::core::option::Option<#private::Pair<Self>> = {
                use #private::PairFallback as _;
                #private::PairProbe::<Self::Item<'static>, Self::Output>::PAIR
            };
            #[inline]
            fn plain_len<'item>(
                codec: #private::Codec,
                item: &Self::Item<'item>,
            ) -> ::core::option::Option<::core::primitive::usize> {
                #plain_len
            }
            #[inline]
            fn encode<'item>(
                codec: #private::Codec,
                item: &Self::Item<'item>,
                out: &mut impl #private::ItemWriter,
            ) -> ::core::result::Result<(), ::std::string::String> {
                #encode
            }
            #[inline]
            fn decode<__Returned>(
                codec: #private::Codec,
                bytes: &[u8],
                then: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
            ) -> ::core::result::Result<__Returned, ::std::string::String> {
                #decode
            }
            #[inline]
            fn call(
                #cx: #private::TaskContext<'_, Self>,
                #item_pattern: Self::Item<'_>,
            ) -> ::core::result::Result<Self::Output, Self::Failure> {
                #call_scope
                #call
            }
        }
        #constant
        #registered
        #runs_on
        #checks
        // In a block of its own, where the name can't clash.
        {
            // An elided lifetime is reported above, with a hint that is correct only if this lint is on.
            #[deny(elided_lifetimes_in_paths)]
            #[allow(clippy::too_many_arguments)]
            fn arguments<'item>(#(_: #items),*) {
                #uses
                #(#arguments_cross)*
                #(#elements_cross)*
            }
        }
        #calls
    }
}

/// How the item of a task travels, and the calls that follow from that.
struct Carried {
    item: TokenStream,
    debug: TokenStream,
    plain_len: TokenStream,
    encode: TokenStream,
    decode: TokenStream,
    calls: TokenStream,
}

impl Carried {
    /// Arguments, encoded by the codec.
    fn items(items: &[Type], list: Span, this: &TokenStream, private: &TokenStream) -> Self {
        let item = match items {
            [] => quote!(()),
            [one] => one.into_token_stream(),
            several => quote_spanned!(list=> (#(#several),*)),
        };
        // Each of several parts goes on its own, in the fastest way for its type.
        let places: Vec<_> = match items {
            [_] => vec![quote!(item)],
            several => (0..several.len()).map(syn::Index::from).map(|part| quote!(&item.#part)).collect(),
        };
        let names: Vec<_> = (0..items.len()).map(|part| format_ident!("part{part}")).collect();
        let encode = items.iter().zip(&places).map(|(item, place)| match item {
            Type::Reference(reference) => {
                let asked = asked(reference, private);
                quote!(#asked.encode(codec, #place, out)?;)
            }
            _ => quote!(#private::Probe::<#item>::encode(codec, #place, out)?;),
        });
        let decode = items.iter().cloned().map(inferred).zip(&names).map(|(item, name)| match &item {
            Type::Reference(reference) => {
                let asked = asked(reference, private);
                quote!(let #name = #asked.decode(codec, &mut rest)?;)
            }
            _ => quote!(let #name = #private::Probe::<#item>::decode(codec, &mut rest)?;),
        });
        let lent = items.iter().cloned().map(inferred).zip(&names).map(|(item, name)| match &item {
            Type::Reference(TypeReference { elem, .. }) => {
                quote!(<_ as ::core::borrow::Borrow<#elem>>::borrow(&#name))
            }
            _ => name.into_token_stream(),
        });
        let lent = match items {
            [] => quote!(()),
            [_] => quote!(#(#lent)*),
            _ => quote!((#(#lent),*)),
        };
        let (encode, decode) = (quote!(#(#encode)*), quote!(#(#decode)*));
        let uses = uses(private);
        Self {
            item,
            debug: quote!({
                use #private::ProbeFallback as _;
                // Only a closure fits every lifetime of the item.
                if #private::Probe::<Self::Item<'static>>::DEBUG.is_some() {
                    ::core::option::Option::Some(|item| #private::Probe::<Self::Item<'_>>::DEBUG.unwrap()(item))
                } else {
                    ::core::option::Option::None
                }
            }),
            plain_len: quote! {
                ::core::option::Option::Some(0 #(+ #private::Probe::<#items>::plain_len(codec, #places)?)*)
            },
            encode: quote! {
                #uses
                #encode
                ::core::result::Result::Ok(())
            },
            decode: quote! {
                #uses
                let mut rest = bytes;
                #decode
                #private::all_read(rest)?;
                ::core::result::Result::Ok(then(#lent))
            },
            calls: quote!(#private::task_calls!([] #this;);),
        }
    }

    /// A chunk, which is the whole item.
    fn chunk(chunk: &Chunk, this: &TokenStream, private: &TokenStream) -> Self {
        let (element, is_mut) = match chunk {
            Chunk::Slice { element, is_mut } => (element, is_mut),
            Chunk::Array { view, is_mut } => return Self::array(view, *is_mut, this, private),
        };
        let (item, kind) = if *is_mut {
            (quote!(#private::ChunkMut<'item, #element>), quote!(slices_mut))
        } else {
            (quote!(#private::Chunk<'item, #element>), quote!(slices))
        };
        Self {
            item,
            debug: quote!(::core::option::Option::None),
            plain_len: quote! {
                use #private::ElementsFallback as _;
                let _ = codec;
                #private::Elements::<#element>::plain_len(item)
            },
            encode: quote! {
                use #private::ElementsFallback as _;
                let _ = codec;
                #private::Elements::<#element>::encode(item, out)
            },
            decode: quote! {
                use #private::ElementsFallback as _;
                let _ = codec;
                let chunk = #private::Elements::<#element>::decode(bytes)?;
                ::core::result::Result::Ok(then(chunk))
            },
            calls: quote!(#private::chunk_calls!(#kind [] #this; #element);),
        }
    }

    /// A view of an array, which is the whole item.
    fn array(view: &Type, is_mut: bool, this: &TokenStream, private: &TokenStream) -> Self {
        let view = for_one_item(view.clone());
        let kind = if is_mut { quote!(arrays_mut) } else { quote!(arrays) };
        Self {
            item: quote_spanned!(view.span()=> <#view as #private::ArrayParam>::Item<'item>),
            debug: quote!(::core::option::Option::None),
            plain_len: quote! {
                let _ = codec;
                #private::ChunkItem::plain_len(item)
            },
            encode: quote! {
                let _ = codec;
                #private::ChunkItem::encode(item, out)
            },
            decode: quote! {
                let _ = codec;
                let chunk = #private::ChunkItem::decode(bytes)?;
                ::core::result::Result::Ok(then(chunk))
            },
            calls: quote!(#private::array_calls!(#kind [] #this;);),
        }
    }
}

/// Checks that the named init makes the task's state, and that the named exit takes it. Without `init` there is nothing
/// to check here, because a job may name one. The same goes for the values that they borrow from the pool.
fn checks(function: &Annotated, state: &TokenStream) -> TokenStream {
    let Annotated { init, exit, private, .. } = function;
    let named = function.is_public.then(|| init.iter().chain(exit)).into_iter().flatten();
    let public = named.map(|named| quote_spanned!(named.span()=> #private::public::<#named>();));
    let init = init.iter().map(|init| quote!(#private::init_of::<#init, #state>();));
    let exit = exit.iter().map(|exit| quote!(#private::exit_of::<#exit, #state>();));
    quote!(#(#public)* #(#init)* #(#exit)*)
}

/// The span of the item's type: the single parameter, or the list.
fn item_span(items: &[Type], list: Span) -> Span {
    if let [one] = items { one.span() } else { list }
}

/// The check that a parameter's type can cross to a worker, with notes that fit the form of the type.
fn check(item: &Type, private: &TokenStream) -> TokenStream {
    match item {
        Type::Reference(reference) => {
            let asked = asked(reference, private);
            quote_spanned!(item.span()=> #private::borrowed_argument::<#item, _>(#asked.answer());)
        }
        Type::Path(path) if path.path.segments.last().is_some_and(|last| is_view(&last.ident)) => {
            quote_spanned!(item.span()=> #private::view_argument::<#item>();)
        }
        _ => quote_spanned!(item.span()=> #private::argument::<#item>();),
    }
}

/// The value that knows how a reference travels. The number of `&` is that of the traits that may know it.
fn asked(reference: &TypeReference, private: &TokenStream) -> TokenStream {
    let TypeReference { lifetime, elem, .. } = reference;
    quote!((&&&&&#private::Reference::<#lifetime, #elem>::ASKED))
}

/// Imports the traits by which parts of an item are encoded and decoded.
pub(super) fn uses(private: &TokenStream) -> TokenStream {
    quote! {
        use #private::{
            LentAsVec as _, LentByOwner as _, LentByValue as _, LentInPlace as _, NotLent as _, ProbeFallback as _,
        };
    }
}

/// The stub for a task that has errors, so that its calls raise no others.
pub(crate) fn stub(
    stubbed: &Stubbed,
    private: &TokenStream,
    bad_type: &TokenStream,
    wants_chunk: bool,
) -> TokenStream {
    let (rest, constant) = (stubbed.rest(private), stubbed.constant(private, bad_type));
    let Stubbed { this, params, .. } = stubbed;
    let calls = if wants_chunk {
        quote!(#private::chunk_calls!(stub [#params] #this;);)
    } else {
        quote!(#private::task_calls!([#params] #this;);)
    };
    quote! {
        impl<#params> #private::Task for #this {
            type Item<'item> = #bad_type;
            type Output = Self::Item<'static>;
            type Failure = ::core::convert::Infallible;
            type State = ();
            type Shared = #private::NoShared;
            type Init = #private::ByDefault;
            type Exit = #private::NoExit;
            const DEFAULT_STATE: ::core::option::Option<fn() -> Self::State> = ::core::option::Option::None;
            const DEBUG_ITEM: ::core::option::Option<fn(&Self::Item<'_>) -> ::std::string::String> =
                ::core::option::Option::None;
            const PAIR: ::core::option::Option<#private::Pair<Self>> = ::core::option::Option::None;
            fn plain_len(
                _: #private::Codec,
                _: &Self::Item<'_>,
            ) -> ::core::option::Option<::core::primitive::usize> {
                loop {}
            }
            fn encode(
                _: #private::Codec,
                _: &Self::Item<'_>,
                _: &mut impl #private::ItemWriter,
            ) -> ::core::result::Result<(), ::std::string::String> {
                loop {}
            }
            fn decode<__Returned>(
                _: #private::Codec,
                _: &[u8],
                _: impl ::core::ops::FnOnce(Self::Item<'_>) -> __Returned,
            ) -> ::core::result::Result<__Returned, ::std::string::String> {
                loop {}
            }
            fn call(
                _: #private::TaskContext<'_, Self>,
                _: Self::Item<'_>,
            ) -> ::core::result::Result<Self::Output, Self::Failure> {
                loop {}
            }
        }
        #constant
        #rest
        #calls
    }
}
