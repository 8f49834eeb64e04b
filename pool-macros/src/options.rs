//! The options in the parentheses of an attribute: `init = load_model, name = "predict"`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, Parser};
use syn::{Expr, LitStr, Path, Result, Token};

use crate::errors::Errors;
use crate::instances::Listed;
use crate::kind::Kind;

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) init: Option<Path>,
    pub(crate) exit: Option<Path>,
    pub(crate) name: Option<LitStr>,
    pub(crate) fallible: bool,
    pub(crate) instances: Option<Listed>,
    krate: Option<Path>,
}

impl Options {
    pub(crate) fn parse(kind: Kind, attr: TokenStream, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let parser = syn::meta::parser(|option| {
            let name = option.path.get_ident().map(ToString::to_string).unwrap_or_default();
            match name.as_str() {
                "init" if kind == Kind::Task => set(&mut options.init, &option, errors),
                "exit" if kind == Kind::Task => set(&mut options.exit, &option, errors),
                "name" => set(&mut options.name, &option, errors),
                "for" => list(&mut options.instances, &option, errors),
                "fallible" => set_flag(&mut options.fallible, &option, errors),
                "crate" => set(&mut options.krate, &option, errors),
                _ => {
                    errors.at(
                        &option.path,
                        format_args!("unknown option, expected one of: {}", kind.options()),
                    );
                    skip_value(&option)
                }
            }
        });
        if let Err(error) = parser.parse2(attr) {
            errors.push(error);
        }
        options
    }

    /// The path to the `pool` crate.
    pub(crate) fn krate(&self) -> TokenStream {
        match &self.krate {
            Some(path) => quote!(#path),
            None => quote!(::pool),
        }
    }
}

fn set<T: Parse>(slot: &mut Option<T>, option: &ParseNestedMeta<'_>, errors: &mut Errors) -> Result<()> {
    let name = option.path.require_ident()?;
    if !option.input.peek(Token![=]) {
        errors.at(name, format_args!("option `{name}` needs a value: `{name} = ..`"));
        return skip_value(option);
    }
    let value = option.value()?.parse()?;
    if slot.replace(value).is_some() {
        errors.at(name, format_args!("option `{name}` is given twice"));
    }
    Ok(())
}

fn list(slot: &mut Option<Listed>, option: &ParseNestedMeta<'_>, errors: &mut Errors) -> Result<()> {
    match option.input.parse() {
        Ok(listed) => {
            if slot.replace(listed).is_some() {
                errors.at(
                    &option.path,
                    "there is a list already\n= help: list several parameters together: `for (T, U) in [(..), (..)]`",
                );
                slot.iter_mut().for_each(|listed| listed.is_wrong = true);
            }
            Ok(())
        }
        Err(error) => {
            errors.push(error);
            *slot = Some(Listed::unreadable());
            // What follows can't be told apart.
            option.input.parse::<TokenStream>().map(drop)
        }
    }
}

fn set_flag(flag: &mut bool, option: &ParseNestedMeta<'_>, errors: &mut Errors) -> Result<()> {
    let name = option.path.require_ident()?;
    if option.input.peek(Token![=]) || option.input.peek(syn::token::Paren) {
        errors.at(name, format_args!("option `{name}` has no value"));
    } else if std::mem::replace(flag, true) {
        errors.at(name, format_args!("option `{name}` is given twice"));
    }
    skip_value(option)
}

fn skip_value(option: &ParseNestedMeta<'_>) -> Result<()> {
    if option.input.peek(Token![=]) {
        option.value()?.parse::<Expr>()?;
    } else if option.input.peek(syn::token::Paren) {
        option.input.parse::<proc_macro2::Group>()?;
    }
    Ok(())
}
