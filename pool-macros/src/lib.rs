//! The attribute macros of the `pool` crate, which re-exports them and documents their use.
//!
//! Behind each entry point a function goes through the same rooms: it is parsed (`function`, `options`), its
//! parameters are classified (`params`), its signature is checked (`signature`), and the companion type is
//! written out (`task`, `init`, `exit`). What is wrong is collected on the way (`errors`) and told at once.

mod errors;
mod exit;
mod function;
mod init;
mod kind;
mod lifetimes;
mod main_fn;
mod params;
mod pipeline;
mod signature;
mod task;
#[cfg(test)]
mod tests;

mod options;

use proc_macro::TokenStream;

use kind::Kind;

/// Makes a free function a task that workers can run.
///
/// The function stays callable as before; beside it comes a type of the same name with `par_map` and its kin.
/// Parameters may be marked `#[worker_id]`, `#[shared]` and `#[state]`; the others make up the item.
/// Or one is marked `#[chunk]`, a `&[T]` or `&mut [T]`: then the item is a whole chunk of a slice or shared array, and
/// the type has `par_map_slice` or `par_chunks_mut`. With the feature `ndarray` of `pool` it may be an `ArrayView` or
/// `ArrayViewMut`, and the type has `par_map_array` or `par_array_chunks_mut`.
///
/// Options: `init = f` and `exit = f` name the [`macro@worker_init`] and [`macro@worker_exit`] functions,
/// `name = ".."` replaces the name in the registry, `crate = path` says where the `pool` crate is.
#[proc_macro_attribute]
pub fn worker_task(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(pipeline::run(Kind::Task, attr.into(), &item.into()))
}

/// Makes a free function one that makes a worker's state, before the worker's first task.
///
/// It returns the state, or a `Result` of it. Parameters are marked `#[worker_id]` or `#[shared]`. Options:
/// `name = ".."` and `crate = path`, as for [`macro@worker_task`].
#[proc_macro_attribute]
pub fn worker_init(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(pipeline::run(Kind::Init, attr.into(), &item.into()))
}

/// Makes a free function one that runs when a worker ends; what it returns is collected.
///
/// Parameters are marked `#[worker_id]`, `#[shared]` or `#[state]`. Options: `name = ".."` and `crate = path`, as
/// for [`macro@worker_task`].
#[proc_macro_attribute]
pub fn worker_exit(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(pipeline::run(Kind::Exit, attr.into(), &item.into()))
}

/// Puts `pool::init();` before the first statement of `main`, so that workers which start this program anew go no
/// further. With an attribute that makes an `async fn main` a plain one, such as `#[tokio::main]`, it stands above or
/// below that: either way the call comes before the runtime is started. `pool::init()` *inside* an `async fn main` comes too
/// late, for the runtime has threads by then.
/// Option: `crate = path`.
#[proc_macro_attribute]
pub fn main(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(main_fn::expand(attr.into(), &item.into()))
}

/// Prints the expansion when `POOL_MACROS_DEBUG` is 1.
fn shown(expansion: proc_macro2::TokenStream) -> TokenStream {
    if std::env::var_os("POOL_MACROS_DEBUG").is_some_and(|value| value == "1") {
        eprintln!("{expansion}");
    }
    expansion.into()
}
