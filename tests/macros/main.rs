//! The forms that the attributes accept, each run on a pool.
#![expect(clippy::needless_pass_by_value, reason = "what a task takes is its own, it was sent to it")]

mod arguments;

use std::borrow::Cow;
use std::collections::BTreeMap;

use pool::{StartMethod, WorkerId, WorkerPool, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Serialize};

pool::test_support!();

fn pool_of_one() -> WorkerPool {
    WorkerPool::builder().workers(1).build().unwrap()
}

mod injection {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Id(usize);

    impl From<WorkerId> for Id {
        fn from(id: WorkerId) -> Self {
            Self(id.into())
        }
    }

    #[worker_task]
    fn between(a: u64, #[state] seen: &mut u64, b: u64, #[shared] base: &u64, #[worker_id] id: usize) -> u64 {
        *seen += 1;
        a + b + *seen + *base + id as u64
    }

    #[worker_task]
    fn only(#[shared] base: &u64, #[worker_id] id: Id, #[state] seen: &mut Vec<u64>) -> usize {
        seen.push(*base);
        id.0 + seen.len()
    }

    #[worker_task]
    fn worker(#[worker_id] id: WorkerId) -> usize {
        id.into()
    }

    #[test]
    fn goes_anywhere() {
        let pool = WorkerPool::builder().workers(1).shared(100u64).build().unwrap();
        assert_eq!(between::par_map(&pool, [(1, 2), (1, 2)]).unwrap(), [104, 105]);
        assert_eq!(only::par_map(&pool, [(), ()]).unwrap(), [1, 2]);
        assert_eq!(worker::apply(&pool, ()).unwrap(), 0);
    }
}

mod life {
    use super::*;

    struct Model {
        base: u64,
        seen: u64,
    }

    #[worker_init]
    fn load(#[shared] base: &u64, #[worker_id] id: usize) -> Result<Model, String> {
        if id == 0 { Ok(Model { base: *base, seen: 0 }) } else { Err(format!("no model for {id}")) }
    }

    #[worker_task(init = load, exit = by_value)]
    fn predict(#[state] model: &mut Model, x: u64) -> u64 {
        model.seen += 1;
        model.base + x
    }

    #[worker_task(init = load, exit = by_mut)]
    fn predict_twice(#[state] model: &mut Model, x: u64) -> u64 {
        predict(model, x) + predict(model, x)
    }

    // Without `#[state]` the state is still what the init function makes: it only warms the worker up.
    #[worker_task(init = load, exit = by_ref)]
    fn warm(x: u64) -> u64 {
        x
    }

    #[worker_task(exit = stateless)]
    fn cold(x: u64) -> u64 {
        x
    }

    #[worker_exit]
    fn by_value(#[state] model: Model) -> u64 {
        model.seen
    }

    #[worker_exit]
    fn by_mut(#[worker_id] _: usize, #[state] model: &mut Model) -> u64 {
        model.seen += 1000;
        model.seen
    }

    #[worker_exit]
    fn by_ref(#[state] model: &Model, #[shared] base: &u64) -> u64 {
        model.base + base
    }

    #[worker_exit(name = "the end")]
    fn stateless() -> String {
        "done".into()
    }

    fn pool() -> WorkerPool<u64> {
        WorkerPool::builder().workers(1).shared(10u64).build().unwrap()
    }

    #[test]
    fn state_is_made_lent_and_ended() {
        let pool = pool();
        assert_eq!(predict::par_map(&pool, [1, 2]).unwrap(), [11, 12]);
        assert_eq!(pool.join().unwrap().exit_results::<by_value>().unwrap(), [2]);
    }

    #[test]
    fn exit_takes_the_state_by_reference_too() {
        let mutable = pool();
        assert_eq!(predict_twice::apply(&mutable, 1).unwrap(), 22);
        assert_eq!(mutable.join().unwrap().exit_results::<by_mut>().unwrap(), [1002]);
        let shared = pool();
        assert_eq!(warm::apply(&shared, 1).unwrap(), 1);
        assert_eq!(shared.join().unwrap().exit_results::<by_ref>().unwrap(), [20]);
    }

    #[test]
    fn exit_without_state_fits_every_task() {
        let pool = pool();
        assert_eq!(cold::apply(&pool, 1).unwrap(), 1);
        assert_eq!(pool.join().unwrap().exit_results::<stateless>().unwrap(), ["done"]);
    }
}

mod places {
    use super::*;

    pub(crate) mod inner {
        use super::*;

        #[worker_task]
        pub(crate) fn visible(x: u32) -> u32 {
            x + 1
        }

        #[worker_task]
        pub(in crate::places) fn restricted(x: u32) -> u32 {
            visible(x)
        }
    }

    #[worker_task]
    fn r#match(r#type: u32) -> u32 {
        r#type * 2
    }

    #[test]
    fn modules_functions_and_raw_names() {
        #[worker_task]
        fn visible(x: u32) -> u32 {
            x + 10
        }
        let pool = pool_of_one();
        assert_eq!(visible::apply(&pool, 0).unwrap(), 10);
        assert_eq!(inner::visible::apply(&pool, 0).unwrap(), 1);
        assert_eq!(inner::restricted::apply(&pool, 0).unwrap(), 1);
        assert_eq!(r#match::apply(&pool, 4).unwrap(), 8);
    }

    pub(crate) mod generic {
        use super::*;

        /// Is generic.
        #[worker_task(for T in [u8, u16])]
        #[deprecated]
        pub(in crate::places) fn kept<T>(x: T) -> T {
            x
        }

        #[worker_task(for T in [NoSuchType])]
        #[cfg(not(test))]
        pub(crate) fn kept<T>(x: T) -> T {
            x
        }
    }

    #[test]
    #[expect(deprecated, reason = "calls the deprecated function by its name")]
    fn generic_in_modules_and_functions() {
        #[worker_task(for T in [u8, u16])]
        fn twice<T: Copy + std::ops::Add<Output = T>>(x: T) -> T {
            x + x
        }
        let pool = pool_of_one();
        assert_eq!(generic::kept::<u8>::apply(&pool, 1).unwrap(), generic::kept(1));
        assert_eq!(twice::<u16>::par_map(&pool, [1, 2]).unwrap(), [2, 4]);
    }

    macro_rules! squares {
        ($($name:ident: $ty:ty),*) => {$(
            #[worker_task]
            fn $name(x: $ty) -> $ty {
                x * x
            }
        )*};
    }
    squares!(square_u8: u8, square_u64: u64);

    #[test]
    fn macros_write_tasks() {
        let pool = pool_of_one();
        assert_eq!(square_u8::apply(&pool, 4).unwrap(), 16);
        assert_eq!(square_u64::apply(&pool, 4).unwrap(), 16);
    }
}

/// Names that the macros' output has for itself.
mod names {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Given(u64);
    #[derive(Default)]
    struct Function(u64);
    #[derive(Serialize, Deserialize)]
    struct State(u64);
    #[derive(Serialize, Deserialize)]
    struct Item(u64);

    const ENTRY: usize = 2;

    #[worker_init]
    fn init() -> Function {
        Function(1)
    }

    #[worker_exit]
    fn exit(#[state] Function(state): Function) -> State {
        State(state)
    }

    #[worker_task(init = init, exit = exit)]
    fn arguments(
        #[shared] shared: &Given,
        #[state] cx: &mut Function,
        item: Item,
        more: [u64; ENTRY],
    ) -> Item {
        cx.0 += 1;
        Item(shared.0 + item.0 + more[0] + more[1])
    }

    #[worker_task]
    fn item(cx: u64) -> u64 {
        cx
    }

    #[test]
    fn stay_the_users_own() {
        let pool = WorkerPool::builder().workers(1).shared(Given(1)).build().unwrap();
        assert_eq!(arguments::apply(&pool, (Item(1), [1, 1])).unwrap().0, 4);
        assert_eq!(item::apply(&pool, 5).unwrap(), 5);
        assert_eq!(pool.join().unwrap().exit_results::<exit>().unwrap()[0].0, 2);
    }
}

mod attributes {
    use super::*;

    /// Is there only in a world without this crate.
    #[cfg(not(test))]
    #[worker_task]
    fn absent(x: NoSuchType) -> NoSuchType {
        x
    }

    #[worker_task]
    #[cfg(not(test))]
    fn absent_as_well(x: NoSuchType) -> NoSuchType {
        x
    }

    /// Keeps its documentation, and its lint levels.
    #[worker_task]
    #[inline]
    #[must_use]
    #[deprecated = "to see that the task itself does not warn of it"]
    #[allow(non_snake_case)]
    fn Kept(#[allow(unused_variables)] unused: u8) -> u8 {
        1
    }

    #[test]
    #[expect(deprecated, reason = "calls the deprecated function by its name")]
    fn stay_on_the_function() {
        assert_eq!(Kept(1), 1);
        assert_eq!(Kept::apply(&pool_of_one(), 1).unwrap(), 1);
    }

    #[cfg_attr(all(), worker_task)]
    #[track_caller]
    fn conditional<'text>(text: &'text str) -> usize
    where
        'text: 'text,
        String: From<&'text str>,
    {
        String::from(text).len()
    }

    #[test]
    fn stand_beside_conditions() {
        assert_eq!(conditional::apply(&pool_of_one(), "text").unwrap(), 4);
    }

    #[worker_task(name = "another name")]
    fn fails(_: u8) {
        panic!("so that the error tells the name");
    }

    #[test]
    fn a_name_can_be_chosen() {
        let error = fails::apply(&pool_of_one(), 1).unwrap_err();
        assert_eq!(error.task().unwrap().task_name(), "another name");
    }
}

mod crates {
    use super::*;
    use pool_tests_renamed::bare::{Common, add, close, convert, scale, shift};
    use pool_tests_renamed::{count, first, greet, length, prefixed};

    #[test]
    fn renamed_and_without_unsafe_code() {
        let pool = pool_of_one();
        assert_eq!(greet::apply(&pool, "!").unwrap(), "0!");
        assert_eq!(first::apply(&pool, "!").unwrap(), '!');
        assert!(first::apply(&pool, "").unwrap_err().to_string().contains("it is empty"));
        assert_eq!(count::<String>::apply(&pool, &[String::new()]).unwrap(), 1);
        let prefixed = prefixed::job(&pool).arg(2).init_arg("a".into()).apply("b");
        assert_eq!(prefixed.unwrap(), "aab");
        assert_eq!(pool.join().unwrap().exit_results::<length>().unwrap(), [2]);
    }

    #[test]
    fn without_prelude() {
        let pool = WorkerPool::builder().workers(1).shared(10u64).build().unwrap();
        assert_eq!(add::apply(&pool, (1, 2)).unwrap(), 24);
        assert_eq!(convert::<u16, u64>::apply(&pool, 300).unwrap(), 300);
        assert_eq!(shift::job(&pool).arg(&1).map([2, 3]).unwrap(), [3, 4]);
        assert_eq!(scale::job(&pool).arg(2).map([2, 3]).unwrap(), [4, 6]);
        assert_eq!(pool.join().unwrap().exit_results::<close>().unwrap(), [11]);
        let builder = WorkerPool::builder().workers(1).start_method(StartMethod::Threads);
        let pool = builder.shared_inherited(Common { whole: 10, wanted: String::new() }).build().unwrap();
        assert_eq!(add::apply(&pool, (1, 2)).unwrap(), 24);
    }
}

/// The arguments of threads move by value, so that types which borrow go another way than through the codec.
#[test]
fn threads_take_the_same_tasks() {
    #[worker_task]
    fn concat(a: &str, b: String) -> String {
        b + a
    }
    let pool = WorkerPool::builder().workers(1).start_method(StartMethod::Threads).build().unwrap();
    assert_eq!(concat::apply(&pool, ("b", "a".into())).unwrap(), "ab");
}

/// Attributes that leave a function what it is.
mod beside_other_attributes {
    use super::*;

    #[worker_task]
    #[inline]
    #[must_use]
    #[track_caller]
    #[cfg(test)]
    #[cold]
    fn marked(x: u64) -> u64 {
        x + 1
    }

    #[deprecated(note = "it is old")]
    #[worker_task]
    #[unsafe(no_mangle)]
    fn pool_tests_old(x: u64) -> u64 {
        x + 2
    }

    #[worker_task]
    #[cfg(not(test))]
    fn marked(x: u64) -> u64 {
        x
    }

    #[test]
    fn they_run() {
        let pool = pool_of_one();
        assert_eq!(marked::par_map(&pool, [1, 2]).unwrap(), [2, 3]);
        #[expect(deprecated, reason = "that is what is tried")]
        let three = pool_tests_old::apply(&pool, 1).unwrap();
        assert_eq!(three, 3);
    }
}
