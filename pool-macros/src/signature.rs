//! Checks the signature of an annotated function.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Ident, Path, Receiver, ReturnType, Safety, Signature, Type, TypeImplTrait};

use crate::errors::Errors;
use crate::kind::Kind;
use crate::lifetimes::{borrow_in, hidden_lifetime, static_reference_in};

/// Notes anything that keeps a worker from calling the function by its name.
pub(crate) fn check(kind: Kind, is_fallible: bool, sig: &Signature, errors: &mut Errors) {
    let mut qualifier = |keyword: &dyn ToTokens| {
        errors.at(keyword, format_args!("{} `{}` must be a plain `fn`", kind.noun(), sig.ident));
    };
    if let Some(keyword) = &sig.constness {
        qualifier(keyword);
    }
    if let Some(keyword) = &sig.asyncness {
        qualifier(keyword);
    }
    match &sig.safety {
        Safety::Unsafe(keyword) => qualifier(keyword),
        Safety::Safe(keyword) => qualifier(keyword),
        _ => {}
    }
    if let Some(keyword) = &sig.abi {
        qualifier(keyword);
    }
    if let Some(dots) = &sig.variadic {
        qualifier(&dots.dots);
    }
    if let Some(span) = self_type(sig) {
        let message = format_args!(
            "`{}` goes on a free function, which has no `Self`\n= help: move `{}` out of the `impl` block",
            kind.attribute(),
            sig.ident
        );
        errors.push(syn::Error::new(span, message));
    }
    let mut impl_trait = ImplTrait { kind, sig, errors, in_result: false };
    impl_trait.visit_signature(sig);
    result(kind, is_fallible, sig, errors);
    if is_fallible {
        no_result(kind, sig, errors);
    }
}

/// The place where a function without `self` names the type of its `impl` block.
pub(crate) fn self_type(sig: &Signature) -> Option<Span> {
    struct SelfType(Option<Span>);
    impl<'ast> Visit<'ast> for SelfType {
        // The type of `self` is not written in the source.
        fn visit_receiver(&mut self, _: &'ast Receiver) {}
        fn visit_path(&mut self, path: &'ast Path) {
            if let Some(first) = path.segments.first().filter(|first| first.ident == "Self") {
                self.0.get_or_insert(first.span());
            }
            visit::visit_path(self, path);
        }
    }
    let mut found = SelfType(None);
    found.visit_signature(sig);
    found.0
}

struct ImplTrait<'a> {
    kind: Kind,
    sig: &'a Signature,
    errors: &'a mut Errors,
    in_result: bool,
}

impl<'ast> Visit<'ast> for ImplTrait<'_> {
    fn visit_return_type(&mut self, ty: &'ast ReturnType) {
        self.in_result = true;
        visit::visit_return_type(self, ty);
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let (attribute, noun, name) = (self.kind.name(), self.kind.noun(), &self.sig.ident);
        let help = match self.in_result {
            true => String::new(),
            false => format!(
                "\n= help: or a parameter with a list of its types: `#[{attribute}(for T in [f32, f64])] fn {name}<T>`"
            ),
        };
        self.errors.at(
            ty,
            format_args!("{noun} `{name}` must name concrete types: this must be a named type{help}"),
        );
        visit::visit_type_impl_trait(self, ty);
    }
}

/// Whether the return type's name is `Result`, whatever its module. Init and exit functions whose `Result` has another
/// name say that they are `fallible`.
pub(crate) fn returns_named_result(sig: &Signature) -> bool {
    let ReturnType::Type(_, ty) = &sig.output else { return false };
    last_name(ty).is_some_and(|name| name == "Result")
}

fn last_name(ty: &Type) -> Option<&Ident> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|last| &last.ident)
}

/// Types that are evidently no `Result`. Of others the compiler knows it, but it says so at each use of the task.
const NO_RESULTS: [&str; 24] = [
    "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
    "f32", "f64", "str", "String", "Vec", "Box", "Option", "HashMap", "BTreeMap", "PathBuf",
];

/// Notes a fallible function that evidently returns no `Result`.
fn no_result(kind: Kind, sig: &Signature, errors: &mut Errors) {
    let returned: &dyn ToTokens = match &sig.output {
        ReturnType::Default => &sig.ident,
        ReturnType::Type(_, ty) if matches!(**ty, Type::Array(_) | Type::Tuple(_)) => ty,
        ReturnType::Type(_, ty)
            if last_name(ty).is_some_and(|last| NO_RESULTS.iter().any(|name| last == name)) =>
        {
            ty
        }
        ReturnType::Type(..) => return,
    };
    errors.at(
        returned,
        format_args!(
            "{} `{}` is `fallible`, it must return a `Result<T, E>`\n= help: its value is then the `T`; if it can't \
             fail, leave `fallible` out",
            kind.noun(),
            sig.ident
        ),
    );
}

fn result(kind: Kind, is_fallible: bool, sig: &Signature, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &sig.output else { return };
    if let Type::Never(never) = &**ty {
        errors.at(never, format_args!("`{}` must return: a worker waits for its result", sig.ident));
    } else if let Some(borrow) =
        borrow_in(ty).or_else(|| hidden_lifetime(ty).map(Spanned::span)).or_else(|| {
            // A state stays in its worker, and an error crosses as text.
            if kind == Kind::Init || is_fallible { None } else { static_reference_in(ty) }
        })
    {
        errors.push(syn::Error::new(
            borrow,
            "a result outlives its arguments, it cannot borrow\n= help: return an owned value",
        ));
    }
}
