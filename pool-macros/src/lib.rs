//! The attribute macros of the `pool` crate, which re-exports them and documents their use.
//!
//! Behind each entry point a function goes through the same stages (`pipeline`): they parse it (`function`, `options`),
//! classify its parameters (`params`), check its signature and its place (`signature`, `place`, which reads the
//! `source`), and expand the result (`model`) into the companion type (`expand`). Errors are collected on the way
//! (`errors`) and reported together.

mod errors;
mod expand;
mod function;
mod instances;
mod kind;
mod lifetimes;
mod model;
mod options;
mod params;
mod pipeline;
mod place;
mod shares;
mod signature;
mod source;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;

use kind::Kind;

/// Makes a free function a task that workers can run.
///
/// The function stays callable as before. The macro adds a type of the same name, with these calls:
///
/// | call | returns |
/// |---|---|
/// | `f::par_map(&pool, items)` | all results, in input order; the first failed task ends the call |
/// | `f::par_map_unordered(&pool, items)` | the same, in completion order |
/// | `f::par_map_into(&pool, items, &mut slots)` | the same, in input order, into memory that is there |
/// | `f::par_map_outcomes(&pool, items)` | one `Result` for each item: a failed task costs only its own result |
/// | `f::par_imap(&pool, items)`, `f::par_imap_unordered(..)` | an iterator over the results, while the work goes on |
/// | `f::par_stream(&pool, items)`, `f::par_stream_unordered(..)` | the same as a stream (feature `stream`) |
/// | `f::apply(&pool, item)` | one result |
/// | `f::apply_async(&pool, item)` | an `AsyncResult`: wait, await, call back or cancel |
/// | `f::on_each_worker(&pool, item)` | one `Result` for each worker, in their order |
/// | `f::warm_up(&pool)` | nothing: all workers have started, and have made the state |
/// | `f::par_map_slice(&pool, &rows)`, `f::par_chunks_mut(..)`, .. | of tasks that take chunks: see below |
/// | `f::job(&pool)` | a `Job`: options first, then one of its calls |
///
/// The attribute goes on a function in a module or in another function, not in an `impl` block.
///
/// # Parameters
///
/// The parameters are the item: the value of a single parameter, the tuple of several, `()` for none. Their types must
/// be `Serialize` and `Deserialize`, and may borrow data that is decoded in place: `&str`, `&[u8]`, `Cow<'_, str>`. The
/// result's type must be `Serialize` and `DeserializeOwned`.
///
/// A parameter may be a reference to any such type: `config: &Config`, `rows: &Vec<f64>`, `rows: &[f64]`. The caller
/// passes references, nothing is cloned, and the worker lends the function what it decodes for the time of the call:
/// `&str`, `&[u8]` and `&Path` in place, anything else as a value that it makes.
///
/// These attributes mark parameters that are special, each at most one:
///
/// | parameter | is |
/// |---|---|
/// | `#[worker_id] id: T` | the worker's number, as any `T: From<WorkerId>`, such as `usize` |
/// | `#[shared] s: &S` | the value that the pool shares; the task runs only on a `WorkerPool<S>` |
/// | `#[state] s: &mut T` | a value that the worker keeps from task to task |
/// | `#[arg] x: T`, `#[arg] x: &T` | a constant that the call gives: `f::job(&pool).arg(value)` |
/// | `#[chunk] rows: &[T]` | the item: a whole chunk of a slice or shared array, from `f::par_map_slice` |
/// | `#[chunk] rows: &mut [T]` | the item: a chunk of a shared array, in place, from `f::par_chunks_mut` |
///
/// With the feature `ndarray` a chunk may be an `ArrayView` or `ArrayViewMut`. The calls are then `f::par_map_array`
/// and `f::par_array_chunks_mut`.
///
/// # Tasks that can fail
///
/// `#[worker_task(fallible)]` goes on a function that returns a `Result<T, E>`, under whatever name. The task's output
/// is the `T`, and an `Err` is the failure of that task, `TaskErrorKind::Failed`. It keeps the error's message and
/// those of its sources as text, so `E` needs `Display`, and no serde. Without the option a `Result` is a value like
/// any other.
///
/// # Generic tasks
///
/// Workers look a task up by its name, so a generic function lists the types for which it is a task:
/// `#[worker_task(for T in [f32, f64])] fn norm<T: Float>(v: Vec<T>) -> T`. Each is a task of its own,
/// `norm::<f32>::par_map(..)` or `pool.map::<norm<f32>>(..)`, and has its own name. Several parameters, constants
/// too, are listed together: `for (T, N) in [(f32, 2), (f64, 3)]`. The functions that it names may use them:
/// `init = load::<T>`.
///
/// # Options
///
/// | option | sets |
/// |---|---|
/// | `for T in [..]` | the types of a generic function |
/// | `fallible` | that an `Err` fails the task, instead of being its output |
/// | `init = f` | the [`macro@worker_init`] function that makes the state; without it, the state's `Default` does |
/// | `exit = f` | the [`macro@worker_exit`] function that runs when the worker ends |
/// | `name = ".."` | the task's name in messages, instead of its path; unique within the package |
/// | `crate = path` | the path of the `pool` crate, if it is not `::pool` |
///
/// The functions that a `pub` task names must be `pub` too.
///
/// If the compiler reports "constant provided when a type was expected" (E0747) or "expected type, found function"
/// (E0573) for a function that you name, that function lacks its attribute.
#[proc_macro_attribute]
pub fn worker_task(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(pipeline::run(Kind::Task, attr.into(), &item.into()))
}

/// Makes a free function an init function: it makes a worker's state, before the worker's first task.
///
/// It returns the state, or a `Result` with the state. Its parameters must be marked `#[worker_id]`, `#[shared]` or
/// `#[arg]`: a value that the call gives, as where to connect to.
/// Options: `fallible`, for a `Result` that has another name, and `for T in [..]`, `name = ".."` and `crate = path`, as
/// for [`macro@worker_task`].
#[proc_macro_attribute]
pub fn worker_init(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(pipeline::run(Kind::Init, attr.into(), &item.into()))
}

/// Makes a free function an exit function: it runs when a worker ends, and the pool collects its results.
///
/// It returns its value, or a `Result` with the value: an `Err` fails the worker's end, `TaskErrorKind::Exit`. Its
/// parameters must be marked `#[worker_id]`, `#[shared]` or `#[state]`. Options: `fallible`, for a `Result` that has
/// another name, and `for T in [..]`, `name = ".."` and `crate = path`, as for [`macro@worker_task`].
#[proc_macro_attribute]
pub fn worker_exit(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(pipeline::run(Kind::Exit, attr.into(), &item.into()))
}

/// Puts `pool::init();` before the first statement of `main`, so that workers that execute this program again go no
/// further. Put it above or below an attribute that turns an `async fn main` into a plain one, such as
/// `#[tokio::main]`: either way the call comes before the runtime starts. `pool::init()` *inside* an `async fn main`
/// comes too late, because the runtime has threads by then.
///
/// Option: `crate = path`.
#[proc_macro_attribute]
pub fn main(attr: TokenStream, item: TokenStream) -> TokenStream {
    shown(expand::main::expand(attr.into(), &item.into()))
}

/// Lets functions borrow single fields of the struct that a pool shares: in a pool whose shared value is a `Common`, a
/// parameter `#[shared] model: &Model` is its field of type `Model`, and `#[shared] all: &Common` is the whole.
///
/// So tasks of several libraries can run on one pool, and none of them needs to know what else the pool shares.
///
/// The struct must have no parameters, and no two fields of one type. Of structs within it, the fields are not lent.
/// Option: `#[shares(crate = path)]`, the path of the `pool` crate, if it is not `::pool`.
#[proc_macro_derive(Shares, attributes(shares))]
pub fn derive_shares(item: TokenStream) -> TokenStream {
    shown(shares::expand(item.into()))
}

/// Prints the expansion when `POOL_MACROS_DEBUG` is 1.
fn shown(expansion: proc_macro2::TokenStream) -> TokenStream {
    if std::env::var_os("POOL_MACROS_DEBUG").is_some_and(|value| value == "1") {
        eprintln!("{expansion}");
    }
    expansion.into()
}
