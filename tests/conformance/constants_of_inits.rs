//! `#[arg]` of init functions: calls share a worker's state only if they give the same value.

use std::collections::BTreeSet;

use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_init, worker_task};

use super::codecs::CODECS;
use super::constant_failures::Picky;
use super::constants::{Config, config};
use crate::harness::cases;
use crate::support::{assert_usable, builder, pool, task_error};

cases! {
    All: of_init_functions, of_both, states_of_their_own, init_of_the_job, init_cannot_decode, large_for_init;
    Processes: workers_with_a_lifespan;
}

struct Db {
    url: String,
    queries: u64,
}

#[worker_init]
fn connect(#[arg] url: &str, #[worker_id] id: usize) -> Db {
    Db { url: format!("{url}?{id}"), queries: 0 }
}

#[worker_init]
fn own_url(#[arg] url: String) -> Db {
    Db { url, queries: 0 }
}

/// A constant that init functions may take by value, though it cannot be cloned.
#[worker_init]
fn configure(#[arg] config: Config) -> Db {
    Db { url: config.names.concat(), queries: 0 }
}

#[worker_exit]
fn close(#[state] db: Db) -> String {
    format!("{} {}", db.url, db.queries)
}

#[worker_task(init = connect, exit = close)]
fn query(#[state] db: &mut Db, x: u64) -> String {
    db.queries += 1;
    format!("{} {x}", db.url)
}

#[worker_task(init = connect)]
fn page(#[state] db: &mut Db, #[arg] rows: u64, x: u64) -> String {
    db.queries += 1;
    format!("{} {}", db.url, rows * x)
}

fn of_init_functions(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).workers(1).codec(codec).build()?;
        query::job(&pool).arg("here").warm_up()?;
        assert_eq!(query::job(&pool).arg("here").map([1, 2])?, ["here?0 1", "here?0 2"]);
        assert_eq!(query::job(&pool).init_arg("here").apply(3)?, "here?0 3");
        assert_eq!(query::job(&pool).init_arg("here").apply_async(4).get()?, "here?0 4");
        let exits = pool.join()?.exit_results::<close>()?;
        assert_eq!(exits, ["here?0 4"], "{codec:?}");
    }
    Ok(())
}

fn of_both(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    assert_eq!(page::job(&pool).arg(10).init_arg("a").map([1, 2])?, ["a?0 10", "a?0 20"]);
    assert_eq!(page::job(&pool).init_arg("a").arg(20).map([1, 2])?, ["a?0 20", "a?0 40"]);
    assert_eq!(page::job(&pool).init_arg("b").retries(1).arg(1).apply(5)?, "b?0 5");
    page::job(&pool).init_arg("c").warm_up()?;
    Ok(())
}

fn states_of_their_own(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for round in 1..=3 {
        for url in ["one", "two", ""] {
            assert_eq!(query::job(&pool).arg(url).map([round])?, [format!("{url}?0 {round}")]);
        }
    }
    let mut one = query::job(&pool).arg("one").chunk_size(1).max_tasks_active(2).imap(0..50);
    let mut two = query::job(&pool).arg("two").chunk_size(1).max_tasks_active(2).imap(0..50);
    for x in 0..50 {
        assert_eq!(one.next().unwrap()?, format!("one?0 {x}"));
        assert_eq!(two.next().unwrap()?, format!("two?0 {x}"));
    }
    drop((one, two));
    let exits: BTreeSet<String> = pool.join()?.exit_results::<close>()?.into_iter().collect();
    let expected = ["?0 3", "one?0 53", "two?0 53"].map(String::from);
    assert_eq!(exits, BTreeSet::from(expected));
    Ok(())
}

fn init_of_the_job(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let job = || query::job(&pool).worker_init::<own_url>();
    assert_eq!(job().init_arg("x".into()).apply(1)?, "x 1");
    assert_eq!(job().arg("y".into()).apply(1)?, "y 1");
    let config = || query::job(&pool).arg("z").worker_init::<configure>().init_arg(config());
    assert_eq!(config().map([1, 2])?, ["abc 1", "abc 2"]);
    Ok(())
}

#[worker_init]
fn from_picky(#[arg] picky: &Picky) -> u32 {
    picky.0
}

#[worker_task(init = from_picky)]
fn picked(#[state] picked: &mut u32, x: u32) -> u32 {
    *picked + x
}

fn init_cannot_decode(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(picked::job(&pool).arg(&Picky(1)).map([1]));
    assert!(
        matches!(error.kind(), TaskErrorKind::Encode(_)) && error.task_name().ends_with("from_picky"),
        "{error}"
    );
    for value in [2, 6] {
        let error = task_error(picked::job(&pool).arg(&Picky(value)).map([1]));
        let TaskErrorKind::Init(cause) = error.kind() else { panic!("{error}") };
        match &**cause {
            TaskErrorKind::Decode(why) => assert!(why.starts_with("the value of its `#[arg]`: "), "{why}"),
            TaskErrorKind::Panicked(_) => assert_eq!(value, 6),
            other => panic!("{other}"),
        }
        assert!(error.task_name().ends_with("from_picky"), "{error}");
    }
    assert_eq!(picked::job(&pool).arg(&Picky(4)).map([1])?, [5]);
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn remember(#[arg] bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[worker_task(init = remember)]
fn remembered(#[state] bytes: &mut Vec<u8>, #[arg] large: &[u8], x: usize) -> (u8, usize, usize) {
    (bytes[x], bytes.len(), large.len())
}

fn large_for_init(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    for len in [10, (1 << 20) + 5000, 10_000_000] {
        let large: Vec<u8> = (0..len).map(|x| x as u8).collect();
        let results = remembered::job(&pool).arg(&large).init_arg(&large).chunk_size(1).map(0..10)?;
        assert_eq!(results, (0..10).map(|x| (x as u8, len, len)).collect::<Vec<_>>());
    }
    Ok(())
}

fn workers_with_a_lifespan(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let urls = query::job(&pool).worker_lifespan(3).arg("u").map(0..20)?;
    assert!((0..).zip(urls).all(|(x, url)| url == format!("u?0 {x}") || url == format!("u?1 {x}")));
    Ok(())
}
