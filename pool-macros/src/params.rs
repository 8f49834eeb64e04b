//! Classifies each parameter once. All later stages match on [`Param`].

use std::fmt;

use syn::{Attribute, FnArg, Ident, PatType, Signature, Type, TypeReference};

use crate::errors::Errors;
use crate::kind::Kind;
use crate::lifetimes::{borrow_in, hidden_lifetime, static_reference_in};

/// The maximum number of parameters that are items: serde supports tuples of this length.
const MOST_ITEMS: usize = 16;

pub(crate) enum Param {
    /// A part of the item, of this type.
    Item(Type),
    /// `#[chunk] rows: &[T]` or `#[chunk] rows: &mut [T]`.
    Chunk(Chunk),
    /// `#[arg] x: T`, or `#[arg] x: &T`: a constant of the call.
    Arg(Constant),
    /// `#[worker_id] id: T`.
    WorkerId(Type),
    /// `#[shared] s: &T`.
    Shared(Type),
    /// `#[state] s: &mut T`; in an exit function also `T` and `&T`.
    State(Type, Pass),
}

/// How the function takes a constant.
pub(crate) enum Constant {
    Value(Type),
    /// A reference to this type.
    Reference(Type),
}

/// How the glue passes its state to the function.
pub(crate) enum Pass {
    AsGiven,
    ByRef,
    ByMut,
}

/// A parameter that is a whole chunk.
pub(crate) enum Chunk {
    /// A slice of these elements.
    Slice { element: Type, is_mut: bool },
    /// A view of an array, by its type.
    Array { view: Type, is_mut: bool },
}

pub(crate) struct Params {
    params: Vec<Param>,
    /// Whether one of them is marked `#[chunk]`, rightly or wrongly.
    pub(crate) wants_chunk: bool,
    /// Whether one of them is marked `#[arg]`.
    pub(crate) wants_arg: bool,
}

impl Params {
    /// Classifies the parameters and takes this crate's attributes off them.
    pub(crate) fn classify(kind: Kind, sig: &mut Signature, errors: &mut Errors) -> Self {
        let mut params = Vec::new();
        let (mut wants_chunk, mut wants_arg) = (false, false);
        for input in &mut sig.inputs {
            match input {
                FnArg::Receiver(receiver) => errors.at(
                    receiver,
                    format_args!(
                        "a {} cannot take `self`\n= help: pass the value as an argument or share it with `#[shared]`",
                        kind.noun()
                    ),
                ),
                FnArg::Typed(param) => {
                    let Ok(injection) = take_injection(param, errors) else { continue };
                    let wants = |name| injection.as_ref().is_some_and(|injection| injection.name == name);
                    wants_chunk |= wants("chunk");
                    wants_arg |= wants("arg");
                    params.extend(classify(kind, injection, param, &params, errors));
                }
            }
        }
        if let (true, Some(extra)) = (chunk(&params).is_some(), items(&params).next()) {
            errors.at(
                extra,
                "a task with `#[chunk]` has no other arguments\n= help: mark what is injected: `#[shared] s: &T`, \
                 `#[state] s: &mut T`",
            );
        }
        if let Some(extra) = items(&params).nth(MOST_ITEMS) {
            errors.at(
                extra,
                format_args!(
                    "a worker task takes at most {MOST_ITEMS} arguments\n= help: take one struct that holds them"
                ),
            );
        }
        Self { params, wants_chunk, wants_arg }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Param> {
        self.params.iter()
    }

    /// The types of the parameters that are not injected.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Type> {
        items(&self.params)
    }

    pub(crate) fn chunk(&self) -> Option<&Chunk> {
        chunk(&self.params)
    }

    pub(crate) fn arg(&self) -> Option<&Constant> {
        self.iter().find_map(|param| if let Param::Arg(constant) = param { Some(constant) } else { None })
    }

    pub(crate) fn state(&self) -> Option<&Type> {
        self.iter().find_map(|param| if let Param::State(ty, _) = param { Some(ty) } else { None })
    }

    pub(crate) fn shared(&self) -> Option<&Type> {
        self.iter().find_map(|param| if let Param::Shared(ty) = param { Some(ty) } else { None })
    }
}

fn items(params: &[Param]) -> impl Iterator<Item = &Type> {
    params.iter().filter_map(|param| if let Param::Item(ty) = param { Some(ty) } else { None })
}

fn chunk(params: &[Param]) -> Option<&Chunk> {
    params.iter().find_map(|param| if let Param::Chunk(chunk) = param { Some(chunk) } else { None })
}

/// An error was noted, so this parameter is not checked further.
struct Noted;

/// The attribute that says what is injected into a parameter.
struct Injection {
    name: String,
    attr: Attribute,
}

/// The parameter's injection attribute, if it has one. `Noted` if that can't be told because of an error.
fn take_injection(param: &mut PatType, errors: &mut Errors) -> Result<Option<Injection>, Noted> {
    let mut noted = false;
    let mut first: Option<Injection> = None;
    for attr in std::mem::take(&mut param.attrs) {
        let name = attr.path().get_ident().map(ToString::to_string).unwrap_or_default();
        if !matches!(name.as_str(), "worker_id" | "shared" | "state" | "chunk" | "arg") {
            if matches!(name.as_str(), "cfg" | "cfg_attr") {
                errors.at(&attr, "a parameter cannot be conditional: workers are sent all of them");
            }
            param.attrs.push(attr);
        } else if attr.meta.require_path_only().is_err() {
            errors.at(&attr, format_args!("`#[{name}]` has no options"));
            noted = true;
        } else if let Some(first) = &first {
            errors.at(&attr, format_args!("this parameter is injected by `#[{}]` already", first.name));
            noted = true;
        } else {
            first = Some(Injection { name, attr });
        }
    }
    if noted { Err(Noted) } else { Ok(first) }
}

fn classify(
    kind: Kind,
    injection: Option<Injection>,
    param: &PatType,
    before: &[Param],
    errors: &mut Errors,
) -> Option<Param> {
    let Some(Injection { name, attr }) = injection else {
        return item(kind, param, errors);
    };
    let classified = match name.as_str() {
        "worker_id" => Some(Param::WorkerId((*param.ty).clone())),
        "shared" => shared(&param.ty, errors),
        "chunk" if kind != Kind::Task => {
            errors.at(&attr, format_args!("a {} has no items, it cannot take `#[chunk]`", kind.noun()));
            None
        }
        "chunk" => whole_chunk(&param.ty, errors),
        "arg" if kind == Kind::Exit => {
            errors.at(
                &attr,
                "a worker exit runs after all calls, it cannot take `#[arg]`\n= help: keep what it needs in the state",
            );
            None
        }
        "arg" => constant(&param.ty, errors),
        _ if kind == Kind::Init => {
            errors.at(
                &attr,
                "a worker init makes the state, it cannot take `#[state]`\n= help: return the state",
            );
            None
        }
        _ => state(kind, &param.ty, errors),
    }?;
    if before.iter().any(|other| std::mem::discriminant(other) == std::mem::discriminant(&classified)) {
        errors.at(&attr, format_args!("`#[{name}]` is given twice"));
        return None;
    }
    Some(classified)
}

fn item(kind: Kind, param: &PatType, errors: &mut Errors) -> Option<Param> {
    let help = "take it by value, or mark what is injected: `#[shared] s: &T`, `#[state] s: &mut T`";
    match &*param.ty {
        _ if kind != Kind::Task => {
            let injections = if kind == Kind::Init {
                "`#[worker_id]`, `#[shared]` and `#[arg]`"
            } else {
                "`#[worker_id]`, `#[shared]` and `#[state]`"
            };
            errors.at(
                param,
                format_args!("a {} has no arguments: its parameters are marked {injections}", kind.noun()),
            );
            None
        }
        Type::Reference(TypeReference { mutability: Some(_), .. }) => {
            errors.at(
                &param.ty,
                format_args!(
                    "an argument cannot be borrowed mutably: a worker decodes it in place, where `&str`, `&[u8]` \
                     and any `T: Deserialize<'a>` may borrow\n= help: {help}"
                ),
            );
            None
        }
        ty if static_reference_in(ty).is_some() => {
            errors.at(
                ty,
                "an argument lives as long as its call, it cannot be `'static`\n= help: leave the lifetime out, \
                 or take the value owned",
            );
            None
        }
        ty => match hidden_lifetime(ty) {
            Some(view) if is_view(view) => {
                errors.at(
                    ty,
                    format_args!(
                        "a view of an array is a chunk\n= help: mark it: `#[chunk] rows: {view}<'_, ..>`, with the \
                         feature `ndarray`, or take the array owned"
                    ),
                );
                None
            }
            Some(hidden) => {
                errors.at(ty, Unwritten(hidden));
                None
            }
            None => Some(Param::Item(ty.clone())),
        },
    }
}

/// The message that a type's lifetime must be written.
struct Unwritten<'a>(&'a Ident);

impl fmt::Display for Unwritten<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0;
        write!(f, "`{name}` borrows: its lifetime must be written\n= help: write `{name}<'_, ..>`")
    }
}

/// Whether this is the name of a view of `ndarray`.
pub(crate) fn is_view(name: &Ident) -> bool {
    name.to_string().starts_with("ArrayView")
}

fn whole_chunk(ty: &Type, errors: &mut Errors) -> Option<Param> {
    let Type::Reference(TypeReference { lifetime, mutability, elem, .. }) = ty else {
        if let Type::Path(path) = ty
            && let Some(last) = path.path.segments.last()
            && is_view(&last.ident)
        {
            if let Some(hidden) = hidden_lifetime(ty) {
                errors.at(ty, Unwritten(hidden));
                return None;
            }
            let is_mut = last.ident.to_string().starts_with("ArrayViewMut");
            return Some(Param::Chunk(Chunk::Array { view: ty.clone(), is_mut }));
        }
        errors.at(ty, CHUNKS);
        return None;
    };
    if lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") {
        errors.at(ty, "a chunk is lent for one call, it cannot be `'static`\n= help: leave the lifetime out");
        return None;
    }
    let Type::Slice(slice) = &**elem else {
        errors.at(ty, CHUNKS);
        return None;
    };
    let element = owned("an element of a chunk", &slice.elem, errors)?;
    Some(Param::Chunk(Chunk::Slice { element, is_mut: mutability.is_some() }))
}

const CHUNKS: &str = "`#[chunk]` is a borrowed slice: `#[chunk] rows: &[T]` or `#[chunk] rows: &mut [T]`";

fn shared(ty: &Type, errors: &mut Errors) -> Option<Param> {
    match ty {
        Type::Reference(TypeReference { mutability: None, elem, .. }) => {
            if is_unsized(elem) {
                errors.at(
                    elem,
                    "a shared value has a size\n= help: share a `Vec<T>`, a `String`, or another owner",
                );
                return None;
            }
            owned("a shared value", elem, errors).map(Param::Shared)
        }
        _ => {
            errors.at(ty, "`#[shared]` is a shared reference: `#[shared] s: &T`");
            None
        }
    }
}

fn state(kind: Kind, ty: &Type, errors: &mut Errors) -> Option<Param> {
    let (state, pass) = match ty {
        Type::Reference(TypeReference { mutability: Some(_), elem, .. }) if kind == Kind::Task => {
            (&**elem, Pass::AsGiven)
        }
        Type::Reference(TypeReference { mutability: Some(_), elem, .. }) => (&**elem, Pass::ByMut),
        Type::Reference(TypeReference { elem, .. }) if kind == Kind::Exit => (&**elem, Pass::ByRef),
        _ if kind == Kind::Exit => (ty, Pass::AsGiven),
        _ => {
            errors.at(ty, "`#[state]` is a mutable reference: `#[state] s: &mut T`");
            return None;
        }
    };
    Some(Param::State(owned("a worker state", state, errors)?, pass))
}

fn constant(ty: &Type, errors: &mut Errors) -> Option<Param> {
    let what = "a constant of a call";
    let constant = match ty {
        Type::Reference(TypeReference { mutability: Some(_), .. }) => {
            errors.at(
                ty,
                "the tasks of a call share its constant, it cannot be borrowed mutably\n= help: take a reference or a \
                 value: `#[arg] x: &T`, `#[arg] x: T`",
            );
            return None;
        }
        Type::Reference(_) if static_reference_in(ty).is_some() => {
            errors.at(
                ty,
                "a constant lives as long as its call, it cannot be `'static`\n= help: leave the lifetime out, or take \
                 the value owned",
            );
            return None;
        }
        Type::Reference(TypeReference { elem, .. }) => Constant::Reference(owned(what, elem, errors)?),
        _ => Constant::Value(owned(what, ty, errors)?),
    };
    Some(Param::Arg(constant))
}

fn is_unsized(ty: &Type) -> bool {
    match ty {
        Type::Slice(_) | Type::TraitObject(_) => true,
        Type::Path(path) => path.path.is_ident("str"),
        _ => false,
    }
}

/// The type, if it borrows nothing.
fn owned(what: &str, ty: &Type, errors: &mut Errors) -> Option<Type> {
    if let Some(borrow) = borrow_in(ty).or_else(|| hidden_lifetime(ty).map(Ident::span)) {
        errors.push(syn::Error::new(borrow, format_args!("{what} outlives every task, it cannot borrow")));
        return None;
    }
    Some(ty.clone())
}
