//! Expansions as snapshots: each `snapshots/NAME.in.rs` contains one annotated function, and `snapshots/NAME.out.rs`
//! its expansion. `UPDATE_SNAPSHOTS=1 cargo test -p pool-macros` rewrites the latter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, Meta};

use crate::kind::Kind;
use crate::{expand, pipeline};

/// Expands the one function of a file as the compiler would.
fn expansion_of(source: &str) -> String {
    let file = syn::parse_file(source).unwrap();
    let [Item::Fn(function)] = &*file.items else { panic!("a snapshot's source is one function") };
    let mut function = function.clone();
    let ours = function.attrs.iter().position(|attr| name(attr) != "doc" && name(attr) != "cfg");
    let attr = function.attrs.remove(ours.expect("the function has an attribute of this crate"));
    let options = match &attr.meta {
        Meta::List(list) => list.tokens.clone(),
        _ => Default::default(),
    };
    let item = function.into_token_stream();
    let expansion = match name(&attr).as_str() {
        "worker_task" => pipeline::run(Kind::Task, options, &item),
        "worker_init" => pipeline::run(Kind::Init, options, &item),
        "worker_exit" => pipeline::run(Kind::Exit, options, &item),
        "main" => expand::main::expand(options, &item),
        other => panic!("no attribute of this crate: {other}"),
    };
    prettyplease::unparse(&syn::parse2(expansion).unwrap())
}

fn name(attr: &Attribute) -> String {
    attr.path().segments.last().unwrap().ident.to_string()
}

fn check(name: &str) {
    let file = |end: &str| {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("snapshots").join(format!("{name}.{end}.rs"))
    };
    let expansion = expansion_of(&std::fs::read_to_string(file("in")).unwrap());
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(file("out"), expansion).unwrap();
    } else {
        assert_eq!(
            expansion,
            std::fs::read_to_string(file("out")).unwrap(),
            "{name}.out.rs is not what comes out"
        );
    }
}

#[test]
fn a_task_with_everything() {
    check("task");
}

#[test]
fn a_task_with_a_constant() {
    check("constant");
}

#[test]
fn a_task_with_borrowed_arguments() {
    check("borrowed");
}

#[test]
fn a_task_with_a_chunk() {
    check("chunk");
}

#[test]
fn a_task_with_a_view_of_an_array() {
    check("array");
}

#[test]
fn a_generic_task() {
    check("generic");
}

#[test]
fn a_task_that_can_fail() {
    check("fallible");
}

#[test]
fn an_init_that_can_fail() {
    check("init");
}

#[test]
fn an_exit_that_borrows_the_state() {
    check("exit");
}

#[test]
fn a_stub_beside_errors() {
    check("errors");
}

#[test]
fn main_begins_with_init() {
    check("main");
}

#[test]
fn init_comes_before_the_runtime_of_an_async_main() {
    check("main_async");
}

/// The traits that the expansion implements, with the names of the items in each.
fn impls(expansion: &str) -> BTreeMap<String, BTreeSet<String>> {
    let file = syn::parse_file(expansion).unwrap();
    let block = file.items.iter().find_map(|item| match item {
        Item::Const(constant) => match &*constant.expr {
            syn::Expr::Block(block) => Some(&block.block),
            _ => None,
        },
        _ => None,
    });
    let statements = &block.expect("the traits are implemented in a block").stmts;
    let implementation = |statement: &syn::Stmt| {
        let syn::Stmt::Item(Item::Impl(implementation)) = statement else { return None };
        let name = implementation.trait_.as_ref()?.0.segments.last()?.ident.to_string();
        let item = |item: &ImplItem| match item {
            ImplItem::Const(constant) => constant.ident.to_string(),
            ImplItem::Fn(function) => function.sig.ident.to_string(),
            ImplItem::Type(ty) => ty.ident.to_string(),
            other => panic!("{}", other.to_token_stream()),
        };
        Some((name, implementation.items.iter().map(item).collect()))
    };
    statements.iter().filter_map(implementation).collect()
}

#[test]
fn stubs_implement_what_good_functions_do() {
    for attribute in ["worker_task", "worker_init", "worker_exit"] {
        let good = impls(&expansion_of(&format!("#[{attribute}] pub fn f() -> u64 {{ 0 }}")));
        let stub = impls(&expansion_of(&format!("#[{attribute}] pub fn f<T>() -> u64 {{ 0 }}")));
        let generic = format!("#[{attribute}(for T in [u8])] pub async fn f<T>() -> u64 {{ 0 }}");
        assert_eq!(good, impls(&expansion_of(&generic)), "{attribute} with a list");
        assert!(good.contains_key("Registered") && good.len() >= 3, "{good:?}");
        assert_eq!(good, stub, "{attribute}");
    }
}
