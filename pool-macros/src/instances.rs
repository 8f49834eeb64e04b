//! The instances of a generic function: `for T in [f32, f64]`. Workers look functions up by name, so each instance is a
//! function of its own, with its types in place of the parameters.

use std::fmt;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Expr, GenericArgument, GenericParam, Generics, Ident, Path, Result, Signature, Token, Type, bracketed,
    parenthesized, token,
};

use crate::errors::Errors;
use crate::kind::Kind;

/// What stands behind `for`: `T in [f32, f64]`, or `(T, N) in [(f32, 2), (f64, 3)]`.
pub(crate) struct Listed {
    params: Vec<Ident>,
    brackets: token::Bracket,
    rows: Vec<Row>,
    /// An error in it was noted.
    pub(crate) is_wrong: bool,
}

impl Listed {
    /// Stands for a list that can't be read.
    pub(crate) fn unreadable() -> Self {
        Self { params: Vec::new(), brackets: token::Bracket::default(), rows: Vec::new(), is_wrong: true }
    }
}

/// The types and constants of one instance, as listed.
type Row = Vec<GenericArgument>;

impl Parse for Listed {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let params = one_or_several(input)?;
        input.parse::<Token![in]>()?;
        let list;
        let brackets = bracketed!(list in input);
        let rows = match &*params {
            [_] => list
                .call(Punctuated::<_, Token![,]>::parse_terminated)?
                .into_iter()
                .map(|it| vec![it])
                .collect(),
            _ => Punctuated::<_, Token![,]>::parse_terminated_with(&list, one_or_several)?
                .into_iter()
                .collect(),
        };
        Ok(Self { params, brackets, rows, is_wrong: false })
    }
}

/// Parses one, or several in parentheses.
fn one_or_several<T: Parse>(input: ParseStream<'_>) -> Result<Vec<T>> {
    if !input.peek(token::Paren) {
        return Ok(vec![input.parse()?]);
    }
    let several;
    parenthesized!(several in input);
    Ok(several.call(Punctuated::<_, Token![,]>::parse_terminated)?.into_iter().collect())
}

/// One instance: a type or a constant for each parameter of the function, in the function's order.
pub(crate) struct Instance(Vec<(Ident, GenericArgument)>);

impl Instance {
    /// Its types and constants.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &GenericArgument> {
        self.0.iter().map(|(_, argument)| argument)
    }

    /// The function's signature with these in place of the parameters.
    pub(crate) fn signature(&mut self, sig: &Signature) -> Signature {
        let mut sig = sig.clone();
        self.visit_signature_mut(&mut sig);
        sig
    }

    /// The path of a function that the options name, in the same way.
    pub(crate) fn path(&mut self, path: &Path) -> Path {
        let mut path = path.clone();
        self.visit_path_mut(&mut path);
        path
    }

    fn of(&self, param: &Path) -> Option<&GenericArgument> {
        let param = param.get_ident()?;
        Some(&self.0.iter().find(|(name, _)| name == param)?.1)
    }
}

impl VisitMut for Instance {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if let Type::Path(path) = ty
            && let Some(GenericArgument::Type(listed)) = self.of(&path.path)
        {
            *ty = listed.clone();
            return;
        }
        visit_mut::visit_type_mut(self, ty);
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        if let Expr::Path(path) = expr
            && let Some(GenericArgument::Const(listed)) = self.of(&path.path)
        {
            *expr = listed.clone();
            return;
        }
        visit_mut::visit_expr_mut(self, expr);
    }

    // A constant in angle brackets looks like a type.
    fn visit_generic_argument_mut(&mut self, argument: &mut GenericArgument) {
        if let GenericArgument::Type(Type::Path(path)) = argument
            && let Some(listed) = self.of(&path.path)
        {
            *argument = listed.clone();
            return;
        }
        visit_mut::visit_generic_argument_mut(self, argument);
    }
}

/// The parameters that are not lifetimes.
pub(crate) fn parameters(generics: &Generics) -> impl Iterator<Item = &GenericParam> {
    generics.params.iter().filter(|param| !matches!(param, GenericParam::Lifetime(_)))
}

fn name(param: &GenericParam) -> Option<&Ident> {
    match param {
        GenericParam::Type(param) => Some(&param.ident),
        GenericParam::Const(param) => Some(&param.ident),
        GenericParam::Lifetime(_) => None,
    }
}

/// The instances of a function; none if it is not generic, or if there are errors.
pub(crate) fn of(kind: Kind, sig: &Signature, listed: Option<&Listed>, errors: &mut Errors) -> Vec<Instance> {
    let names: Vec<_> = parameters(&sig.generics).filter_map(name).collect();
    let help = Help(kind, &sig.generics);
    let Some(listed) = listed else {
        if !names.is_empty() {
            let params = parameters(&sig.generics).collect::<Punctuated<_, Token![,]>>();
            errors.at(
                params,
                format_args!(
                    "{} `{}` must name concrete types\n= note: workers look functions up by name, and one name is one \
                     function\n= help: {help}",
                    kind.noun(),
                    sig.ident
                ),
            );
        }
        return Vec::new();
    };
    if listed.is_wrong {
        return Vec::new();
    }
    let before = errors.count();
    for param in listed.params.iter().filter(|param| !names.contains(param)) {
        errors.at(param, format_args!("`{}` has no parameter `{param}` of its own", sig.ident));
    }
    for missing in names.iter().filter(|name| !listed.params.contains(name)) {
        errors.at(missing, format_args!("`{missing}` is not listed\n= help: {help}"));
    }
    if listed.rows.is_empty() {
        errors.push(syn::Error::new(
            listed.brackets.span.join(),
            "the list is empty, so there is nothing to call",
        ));
    }
    let mut seen = Vec::new();
    for row in &listed.rows {
        let text = quote!(#(#row),*).to_string();
        let place = || row.iter().collect::<Punctuated<_, Token![,]>>();
        if row.len() != listed.params.len() {
            errors.at(
                place(),
                format_args!("this lists {}, for {} parameters", row.len(), listed.params.len()),
            );
        } else if seen.contains(&text) {
            errors.at(place(), "this is listed twice");
        }
        seen.push(text);
    }
    NoTrait { names: &names, errors }.visit_signature(sig);
    if errors.count() > before {
        return Vec::new();
    }
    let instance = |row: &Row| {
        let argument = |name: &&Ident| {
            let at = listed.params.iter().position(|param| param == *name);
            ((*name).clone(), row[at.expect("each is listed")].clone())
        };
        Instance(names.iter().map(argument).collect())
    };
    listed.rows.iter().map(instance).collect()
}

/// Notes `T::Output`, which only a bound explains, and an instance has none.
struct NoTrait<'a> {
    names: &'a [&'a Ident],
    errors: &'a mut Errors,
}

impl<'ast> Visit<'ast> for NoTrait<'_> {
    fn visit_generics(&mut self, _: &'ast Generics) {}

    fn visit_type_path(&mut self, ty: &'ast syn::TypePath) {
        if ty.qself.is_none()
            && let (2.., Some(first)) = (ty.path.segments.len(), ty.path.segments.first())
            && self.names.contains(&&first.ident)
        {
            let rest = ty.path.segments.iter().skip(1).map(|segment| segment.ident.to_string());
            let rest = rest.collect::<Vec<_>>().join("::");
            self.errors.at(
                ty,
                format_args!(
                    "here the trait must be named\n= help: write `<{} as Trait>::{rest}`, with the trait that has it",
                    first.ident
                ),
            );
        }
        visit::visit_type_path(self, ty);
    }
}

/// An example of a list for the parameters of a function.
struct Help<'a>(Kind, &'a Generics);

impl fmt::Display for Help<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &Self(kind, generics) = self;
        let row = |[ty, constant]: [&str; 2]| {
            in_parentheses(parameters(generics).map(|param| match param {
                GenericParam::Const(_) => constant.to_owned(),
                _ => ty.to_owned(),
            }))
        };
        let names = in_parentheses(parameters(generics).filter_map(name).map(ToString::to_string));
        let (one, other) = (row(["f32", "2"]), row(["f64", "3"]));
        write!(f, "list what it is for: `#[{}(for {names} in [{one}, {other}])]`", kind.name())
    }
}

/// One text, or several in parentheses.
fn in_parentheses(texts: impl Iterator<Item = String>) -> String {
    match &*texts.collect::<Vec<_>>() {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

/// The parameters as a type declares them, without bounds, and fields that use them.
pub(crate) fn declared(generics: &Generics) -> (TokenStream, TokenStream) {
    let declared = parameters(generics).map(|param| match param {
        GenericParam::Const(param) => {
            let (name, ty) = (&param.ident, &param.ty);
            quote!(const #name: #ty)
        }
        param => {
            let name = name(param);
            quote!(#name: ?::core::marker::Sized + 'static)
        }
    });
    let types = parameters(generics).filter_map(|param| match param {
        GenericParam::Type(param) => Some(&param.ident),
        _ => None,
    });
    (quote!(#(#declared),*), quote!(#(::core::marker::PhantomData<#types>),*))
}

/// Their names alone.
pub(crate) fn named(generics: &Generics) -> TokenStream {
    parameters(generics).filter_map(name).collect::<Punctuated<_, Token![,]>>().into_token_stream()
}
