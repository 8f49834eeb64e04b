//! The annotated function as written: parsed up to its body, which stays raw tokens, so that editors can still help
//! with a half-typed body.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Abi, Attribute, Result, Signature, Token, Visibility};

pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    body: TokenStream,
}

impl Function {
    /// The attributes that the companion type needs too, so that it exists exactly if the function does.
    pub(crate) fn cfgs(&self) -> impl Iterator<Item = &Attribute> {
        self.attrs.iter().filter(|attr| attr.path().is_ident("cfg"))
    }

    /// A function of a trait or of another language, which is declared here and written elsewhere.
    pub(crate) fn has_no_body(&self) -> bool {
        self.body.to_string() == ";"
    }

    /// The `#[deprecated]` attributes, for the companion type.
    pub(crate) fn deprecations(&self) -> impl Iterator<Item = &Attribute> {
        self.attrs.iter().filter(|attr| attr.path().is_ident("deprecated"))
    }

    /// The doc comment, for the companion type.
    pub(crate) fn docs(&self) -> impl Iterator<Item = &Attribute> {
        self.attrs.iter().filter(|attr| attr.path().is_ident("doc"))
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Ok(Self {
            attrs: input.call(Attribute::parse_outer)?,
            vis: input.parse()?,
            sig: input.parse()?,
            body: input.parse()?,
        })
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Self { attrs, vis, sig, body } = self;
        tokens.extend(quote!(#(#attrs)* #vis #sig #body));
    }
}

/// Whether an item is a function, however much of it can be parsed.
pub(crate) fn is_function(item: TokenStream) -> bool {
    let find_fn = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        input.parse::<Option<Token![const]>>()?;
        input.parse::<Option<Token![async]>>()?;
        input.parse::<Option<Token![unsafe]>>()?;
        input.parse::<Option<Abi>>()?;
        input.parse::<Token![fn]>()?;
        input.parse::<TokenStream>()
    };
    syn::parse::Parser::parse2(find_fn, item).is_ok()
}
