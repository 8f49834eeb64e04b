//! Checks the place of an annotated function: it must be in a module or in a function, and its other attributes must
//! not change what it is.

use syn::{Attribute, Path, Signature};

use crate::errors::Errors;
use crate::function::Function;
use crate::kind::Kind;
use crate::options::Options;
use crate::signature::self_type;
use crate::source::Source;

/// Notes anything that keeps the function from having a companion. Returns whether a type may be defined in its place.
pub(crate) fn check(kind: Kind, function: &mut Function, errors: &mut Errors) -> bool {
    let attributes = std::mem::take(&mut function.attrs);
    function.attrs = attributes.into_iter().filter(|attribute| goes_with(kind, attribute, errors)).collect();
    let (attribute, sig) = (kind.attribute(), &function.sig);
    if sig.receiver().is_some() || self_type(sig).is_some() {
        // The error was noted where it was found.
        return false;
    }
    if function.has_no_body() {
        errors.at(
            &sig.ident,
            format_args!(
                "`{attribute}` goes on a free function with a body\n= help: write a function that calls `{}`, and \
                 put the attribute there",
                sig.ident
            ),
        );
        return false;
    }
    match block_of(kind.name(), sig) {
        None => true,
        Some(block) => {
            errors.at(
                &sig.ident,
                format_args!(
                    "`{attribute}` goes on a free function\n= help: move `{}` out of the `{block}` block, whose \
                     functions may call it",
                    sig.ident
                ),
            );
            false
        }
    }
}

/// The block that contains the function, if it is one that can't contain this attribute.
pub(crate) fn block_of(attribute: &str, sig: &Signature) -> Option<&'static str> {
    // Code at the start of a line is in no block.
    if !proc_macro::is_available() || proc_macro::Span::call_site().column() == 1 {
        return None;
    }
    Source::look(sig.ident.span(), |source| source.block_of(sig, attribute))?
}

/// Whether an attribute below this crate's own can stay. If not, it is dropped, so that it raises no errors of its own.
fn goes_with(kind: Kind, attribute: &Attribute, errors: &mut Errors) -> bool {
    let Some(last) = attribute.path().segments.last() else { return true };
    let name = last.ident.to_string();
    let message = match (Kind::named(&name), &*name) {
        (Some(other), _) if other == kind => format!("`{}` is given twice", kind.attribute()),
        (Some(other), _) => format!(
            "a function is a {} or a {}, not both\n= help: write a function for each, which may call a third",
            kind.noun(),
            other.noun()
        ),
        (None, "test") => format!("a {} is no test\n= help: call it from a test", kind.noun()),
        (None, "target_feature") => format!(
            "a {} runs on any CPU\n= help: call a function with `#[target_feature]` from it, where \
             `is_x86_feature_detected!` or the like allows it",
            kind.noun()
        ),
        _ => return true,
    };
    errors.at(attribute, message);
    false
}

/// Notes functions that the options name and that evidently lack the attribute that they need.
pub(crate) fn check_named(sig: &Signature, options: &Options, errors: &mut Errors) {
    let mut check = |path: &Option<Path>, kind: Kind, noun: &str| {
        let Some(name) = path.as_ref().and_then(Path::get_ident) else { return };
        let lacks = |source: &Source| source.lacks(sig, &name.to_string(), kind.name());
        if Source::look(sig.ident.span(), lacks) == Some(true) {
            errors.at(
                name,
                format_args!(
                    "`{name}` is no {noun} function\n= help: give it the attribute `{}`",
                    kind.attribute()
                ),
            );
        }
    };
    check(&options.init, Kind::Init, "init");
    check(&options.exit, Kind::Exit, "exit");
}
