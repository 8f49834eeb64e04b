//! Reads from the file of an annotated function what the macro is not told: the block that contains it, and whether the
//! functions that its options name have attributes. If the file can't be read, or if another macro made the function,
//! nothing is known, and the compiler reports the mistake in its own words.

use std::sync::{Mutex, PoisonError};

use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, Item, ItemFn, Signature, Stmt, TraitItemFn};

/// Attributes that do not transform a function.
const INERT: [&str; 13] = [
    "allow",
    "cfg",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "no_mangle",
    "track_caller",
    "warn",
];

/// The part of a function by which it is looked up.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    name: String,
    inputs: usize,
    attributes: Vec<String>,
}

impl Known {
    fn new(sig: &Signature, attributes: &[Attribute]) -> Self {
        let last = |attribute: &Attribute| Some(attribute.path().segments.last()?.ident.to_string());
        Self {
            name: sig.ident.to_string(),
            inputs: sig.inputs.len(),
            attributes: attributes.iter().filter_map(last).collect(),
        }
    }

    fn is(&self, sig: &Signature) -> bool {
        sig.ident == self.name && sig.inputs.len() == self.inputs
    }
}

/// The functions of a file.
#[derive(Default)]
pub(crate) struct Source {
    text: String,
    /// The functions of each module and each block.
    scopes: Vec<Vec<Known>>,
    associated: Vec<(Known, &'static str)>,
}

impl Source {
    /// Looks into the file that contains this span.
    pub(crate) fn look<T>(span: Span, find: impl FnOnce(&Self) -> T) -> Option<T> {
        // One file at a time: the macro meets its functions one after another.
        static LAST: Mutex<Option<Source>> = Mutex::new(None);
        if !proc_macro::is_available() {
            return None;
        }
        let text = std::fs::read_to_string(span.unwrap().local_file()?).ok()?;
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|source| source.text != text) {
            *last = Self::read(text);
        }
        last.as_ref().map(find)
    }

    fn read(text: String) -> Option<Self> {
        let file = syn::parse_file(&text).ok()?;
        let mut source = Self { text, ..Self::default() };
        source.scope(file.items.iter());
        source.visit_file(&file);
        Some(source)
    }

    fn scope<'i>(&mut self, items: impl Iterator<Item = &'i Item>) {
        let function = |item: &Item| match item {
            Item::Fn(ItemFn { sig, attrs, .. }) => Some(Known::new(sig, attrs)),
            _ => None,
        };
        self.scopes.push(items.filter_map(function).collect());
    }

    /// The block that contains the function with this attribute, if it is one that can't: `impl` or `trait`.
    pub(crate) fn block_of(&self, sig: &Signature, attribute: &str) -> Option<&'static str> {
        let known = |known: &Known| known.is(sig) && known.attributes.iter().any(|name| name == attribute);
        if self.scopes.iter().flatten().any(known) {
            return None;
        }
        self.associated.iter().find(|(function, _)| known(function)).map(|(_, block)| *block)
    }

    /// Whether a function beside this one lacks this attribute, and any attribute that may stand for it.
    pub(crate) fn lacks(&self, sig: &Signature, name: &str, attribute: &str) -> bool {
        let mut scopes = self.scopes.iter().filter(|scope| scope.iter().any(|known| known.is(sig)));
        let (Some(scope), None) = (scopes.next(), scopes.next()) else { return false };
        let mut named = scope.iter().filter(|known| known.name == name).peekable();
        let ours = ["worker_task", "worker_init", "worker_exit"];
        let is_other =
            |name: &String| name != attribute && (ours.iter().chain(&INERT).any(|one| name == one));
        named.peek().is_some() && named.all(|known| known.attributes.iter().all(is_other))
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if let Some((_, items)) = &module.content {
            self.scope(items.iter());
        }
        visit::visit_item_mod(self, module);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.scope(block.stmts.iter().filter_map(|stmt| match stmt {
            Stmt::Item(item) => Some(item),
            _ => None,
        }));
        visit::visit_block(self, block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.associated.push((Known::new(&function.sig, &function.attrs), "impl"));
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        self.associated.push((Known::new(&function.sig, &function.attrs), "trait"));
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::read(text.to_owned()).unwrap()
    }

    fn sig(text: &str) -> Signature {
        syn::parse_str(text).unwrap()
    }

    #[test]
    fn a_function_of_a_block_is_known_by_its_name_its_parameters_and_its_attribute() {
        let source = source(
            "impl Model { #[worker_task] fn square(x: u64) -> u64 { x } fn plain() {} }
             trait Shape { #[pool::worker_init] fn load() -> u64 { 0 } }
             #[worker_task] fn free(x: u64) -> u64 { x }
             fn outer() { impl Model { #[worker_task] fn deep() {} #[worker_task] fn free(x: u64) {} } }",
        );
        let block = |text, attribute| source.block_of(&sig(text), attribute);
        assert_eq!(block("fn square(x: u64) -> u64", "worker_task"), Some("impl"));
        assert_eq!(block("fn load() -> u64", "worker_init"), Some("trait"));
        assert_eq!(block("fn deep()", "worker_task"), Some("impl"));
        assert_eq!(block("fn square()", "worker_task"), None, "another macro made it");
        assert_eq!(block("fn square(x: u64) -> u64", "worker_exit"), None);
        assert_eq!(block("fn plain()", "worker_task"), None);
        assert_eq!(block("fn free(x: u64) -> u64", "worker_task"), None, "it may be the free one");
    }

    #[test]
    fn a_function_lacks_an_attribute_only_where_that_is_certain() {
        let lacks = |functions: &str| {
            let text = format!("mod around {{ {functions} #[worker_task(init = f)] fn task() {{}} }}");
            source(&text).lacks(&sig("fn task()"), "f", "worker_init")
        };
        assert!(lacks("fn f() {}"));
        assert!(lacks("#[inline] #[must_use] fn f() {}"));
        assert!(lacks("#[worker_exit] fn f() {}"));
        assert!(!lacks("#[worker_init] fn f() {}"));
        assert!(!lacks("#[pool::worker_init(name = \"f\")] fn f() {}"));
        assert!(!lacks("#[renamed] fn f() {}"), "the attribute may be imported by another name");
        assert!(!lacks("#[cfg_attr(a, worker_init)] fn f() {}"));
        assert!(!lacks("#[cfg(a)] #[worker_init] fn f() {} #[cfg(not(a))] fn f() {}"));
        assert!(!lacks("use elsewhere::f; mod inner { fn f() {} }"));
        assert!(!lacks("make_init!(f); fn outer() { fn f() {} }"));
        assert!(!lacks("fn f() {} mod other { fn task() {} }"), "it may be the task of that module");
    }
}
