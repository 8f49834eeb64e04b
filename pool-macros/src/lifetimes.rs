//! The lifetimes of parameter and result types.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    GenericArgument, Ident, Lifetime, ParenthesizedGenericArguments, PathArguments, PathSegment, Type,
    TypeFnPtr, TypeReference,
};

use crate::params::is_view;

/// The type with `'item` in place of every lifetime that the call decides: the elided ones and the function's own.
/// `'static` stays.
pub(crate) fn for_one_item(ty: Type) -> Type {
    with_lifetime("'item", ty)
}

/// The same with `'_`, for an expression, where the compiler finds the lifetimes.
pub(crate) fn inferred(ty: Type) -> Type {
    with_lifetime("'_", ty)
}

fn with_lifetime(lifetime: &'static str, mut ty: Type) -> Type {
    WithLifetime(lifetime).visit_type_mut(&mut ty);
    ty
}

struct WithLifetime(&'static str);

impl VisitMut for WithLifetime {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        let ampersand = reference.and_token.span();
        reference.lifetime.get_or_insert_with(|| Lifetime::new("'_", ampersand));
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" {
            *lifetime = Lifetime::new(self.0, lifetime.span());
        }
    }

    // In `fn(&T)` and `Fn(&T)` an elided lifetime belongs to that signature, not to the call.
    fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// The place where a type borrows for less than `'static`, if it does.
pub(crate) fn borrow_in(ty: &Type) -> Option<Span> {
    let mut borrow = Borrow(None);
    borrow.visit_type(ty);
    borrow.0
}

/// The name of a well-known type within this one that borrows and whose lifetime is not written. Other types can't be
/// recognized here.
pub(crate) fn hidden_lifetime(ty: &Type) -> Option<&Ident> {
    let mut hidden = Hidden(None);
    hidden.visit_type(ty);
    hidden.0
}

struct Hidden<'ast>(Option<&'ast Ident>);

impl<'ast> Visit<'ast> for Hidden<'ast> {
    fn visit_path_segment(&mut self, segment: &'ast PathSegment) {
        let is_known = segment.ident == "Cow" || is_view(&segment.ident);
        if let PathArguments::AngleBracketed(arguments) = &segment.arguments
            && is_known
            && !arguments.args.iter().any(|argument| matches!(argument, GenericArgument::Lifetime(_)))
        {
            self.0.get_or_insert(&segment.ident);
        }
        visit::visit_path_segment(self, segment);
    }

    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
}

/// A `'static` reference within this type, which a decoded value cannot have.
pub(crate) fn static_reference_in(ty: &Type) -> Option<Span> {
    let mut found = StaticReference(None);
    found.visit_type(ty);
    found.0
}

struct StaticReference(Option<Span>);

impl<'ast> Visit<'ast> for StaticReference {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        if reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") {
            self.0.get_or_insert(reference.span());
        }
        visit::visit_type_reference(self, reference);
    }

    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
}

struct Borrow(Option<Span>);

impl<'ast> Visit<'ast> for Borrow {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        if reference.lifetime.is_none() {
            self.0.get_or_insert(reference.span());
        }
        visit::visit_type_reference(self, reference);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.0.get_or_insert(lifetime.span());
        }
    }

    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
}
