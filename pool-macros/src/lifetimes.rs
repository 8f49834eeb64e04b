//! The lifetimes of parameter and result types.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{Lifetime, ParenthesizedGenericArguments, Type, TypeBareFn, TypeReference};

/// The type with `'item` for every lifetime that the call decides: the elided ones and the function's own.
/// `'static` stays.
pub(crate) fn for_one_item(mut ty: Type) -> Type {
    ForOneItem.visit_type_mut(&mut ty);
    ty
}

struct ForOneItem;

impl VisitMut for ForOneItem {
    fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
        let ampersand = reference.and_token.span();
        reference.lifetime.get_or_insert_with(|| Lifetime::new("'_", ampersand));
        visit_mut::visit_type_reference_mut(self, reference);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident != "static" {
            *lifetime = Lifetime::new("'item", lifetime.span());
        }
    }

    // In `fn(&T)` and `Fn(&T)` an elided lifetime belongs to that signature, not to the call.
    fn visit_type_bare_fn_mut(&mut self, _: &mut TypeBareFn) {}
    fn visit_parenthesized_generic_arguments_mut(&mut self, _: &mut ParenthesizedGenericArguments) {}
}

/// Where a type borrows for less than `'static`, if it does.
pub(crate) fn borrow_in(ty: &Type) -> Option<Span> {
    let mut borrow = Borrow(None);
    borrow.visit_type(ty);
    borrow.0
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

    fn visit_type_bare_fn(&mut self, _: &'ast TypeBareFn) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
}
