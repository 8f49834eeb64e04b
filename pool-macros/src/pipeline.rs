//! Parse → classify → check → expand, as one pure function.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Path, ReturnType, Signature, Visibility};

use crate::errors::Errors;
use crate::expand::Stubbed;
use crate::function::{Function, is_function};
use crate::instances::Instance;
use crate::kind::Kind;
use crate::model::Annotated;
use crate::options::Options;
use crate::params::Params;
use crate::signature::{returns_named_result, self_type};
use crate::{expand, instances, place, signature};

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
    let is_fallible = options.fallible || (kind != Kind::Task && returns_named_result(&function.sig));
    signature::check(kind, is_fallible, &function.sig, &mut errors);
    let stands_free = place::check(kind, &mut function, &mut errors);
    place::check_named(&function.sig, &options, &mut errors);
    let instances = instances::of(kind, &function.sig, options.instances.as_ref(), &mut errors);

    let is_generic =
        options.instances.is_some() && instances::parameters(&function.sig.generics).next().is_some();

    let private = options.krate();
    let private = quote!(#private::__private);
    let written = function.sig.clone();
    let params = Params::classify(kind, &mut function.sig, &mut errors);
    let (wants_chunk, wants_arg) = (params.wants_chunk, params.wants_arg);
    let model = |instance, params, sig: &Signature, [init, exit]: [Option<Path>; 2]| Annotated {
        name: sig.ident.clone(),
        instance,
        kind,
        params,
        result: match &sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        },
        is_fallible,
        init,
        exit,
        given_name: options.name.clone(),
        is_public: matches!(function.vis, Visibility::Public(_)),
        list: sig.paren_token.span.join(),
        private: private.clone(),
    };
    let named = [&options.init, &options.exit];
    let models: Vec<Annotated> = if options.instances.is_none() {
        vec![model(None, params, &function.sig, named.map(Clone::clone))]
    } else {
        let model = |mut instance: Instance| {
            let mut sig = instance.signature(&written);
            let params = Params::classify(kind, &mut sig, &mut errors);
            let named = named.map(|path| path.as_ref().map(|path| instance.path(path)));
            model(Some(instance), params, &sig, named)
        };
        instances.into_iter().map(model).collect()
    };
    let output = match errors.into_calls() {
        None => {
            let expand = match kind {
                Kind::Task => expand::task::expand,
                Kind::Init => expand::init::expand,
                Kind::Exit => expand::exit::expand,
            };
            let outputs = models.iter().map(expand);
            quote!(#(#outputs)*)
        }
        // An `impl` block can't contain a type, so only the errors are written.
        Some(calls)
            if !stands_free || function.sig.receiver().is_some() || self_type(&function.sig).is_some() =>
        {
            return quote!(#(#calls)* #function);
        }
        Some(calls) => {
            function.sig.variadic = None;
            // The compiler does not complain about a type that has an error in it, wherever that type is used.
            let bad_type = quote!([(); { #(#calls)* }]);
            let stubbed = Stubbed::new(&function.sig, is_generic, wants_arg);
            match kind {
                Kind::Task => expand::task::stub(&stubbed, &private, &bad_type, wants_chunk),
                Kind::Init => expand::init::stub(&stubbed, &private, &bad_type),
                Kind::Exit => expand::exit::stub(&stubbed, &private, &bad_type),
            }
        }
    };
    expand::companion(kind, &function, is_generic, &output)
}
