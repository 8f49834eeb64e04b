//! Tasks get the worker id, the shared value and the state, in any order and combination.

use std::collections::{BTreeMap, BTreeSet};

use pool::{Error, StartMethod, WorkerId, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, builder, pool, put_token, sorted, take_token};

cases! {
    All: worker_ids_in_range, every_worker_works, state_counts, state_survives_calls, states_by_type, all_orders,
         injected_alone, shared_types;
}

#[worker_task]
fn who(#[worker_id] id: usize, x: u32) -> (usize, u32) {
    (id, x)
}

fn worker_ids_in_range(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 3] {
        let pool = builder(method).workers(workers).build()?;
        let ids = who::par_map(&pool, 0..200)?;
        assert!(ids.iter().enumerate().all(|(i, (id, x))| *id < workers && *x as usize == i));
        let ids = who::job(&pool).worker_lifespan(9).map(0..200)?;
        assert!(ids.iter().all(|(id, _)| *id < workers), "a restarted worker keeps its number");
    }
    Ok(())
}

#[worker_task]
fn meet(#[worker_id] id: WorkerId, here: &str, go_on: &str) -> usize {
    put_token(here);
    take_token(go_on);
    id.into()
}

fn every_worker_works(method: StartMethod) -> Result<(), Error> {
    const WORKERS: usize = 4;
    let pool = builder(method).workers(WORKERS).build()?;
    let (mut here, mut go_on) = (Tokens::new(), Tokens::new());
    let (here_path, go_on_path) = (here.path(), go_on.path());
    let calls: Vec<_> = (0..WORKERS).map(|_| meet::apply_async(&pool, (&here_path, &go_on_path))).collect();
    // No task goes on before all have begun, so each has a worker of its own.
    here.take(WORKERS);
    go_on.put(WORKERS);
    let ids: Result<Vec<usize>, _> = calls.iter().map(pool::AsyncResult::get).collect();
    assert_eq!(sorted(ids?), [0, 1, 2, 3]);
    Ok(())
}

#[worker_task]
fn count(#[worker_id] id: usize, #[state] tasks: &mut u64, (): ()) -> (usize, u64) {
    *tasks += 1;
    (id, *tasks)
}

fn state_counts(method: StartMethod) -> Result<(), Error> {
    for n in [0, 1, 150] {
        let pool = pool(method)?;
        let counts = count::par_map(&pool, vec![(); n])?;
        assert_eq!(sum_of_most(&counts), n as u64);
        let distinct: BTreeSet<_> = counts.iter().collect();
        assert_eq!(distinct.len(), n, "a state belongs to one worker");
    }
    Ok(())
}

/// The highest count that each worker has reported, summed over all workers.
fn sum_of_most(counts: &[(usize, u64)]) -> u64 {
    let mut most = BTreeMap::new();
    for (id, count) in counts {
        let highest = most.entry(id).or_insert(0);
        *highest = (*highest).max(*count);
    }
    most.values().sum()
}

fn state_survives_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for n in 1..=50 {
        assert_eq!(count::apply(&pool, ())?, (0, n));
    }
    let restarted = count::job(&pool).worker_lifespan(10).map(vec![(); 30])?;
    let highest = restarted.iter().map(|(_, count)| *count).max();
    assert!(restarted.iter().any(|(_, count)| *count == 1), "a restart loses the state: {highest:?}");
    Ok(())
}

#[worker_init]
fn hundred() -> u64 {
    100
}

#[worker_task(init = hundred)]
fn count_from_hundred(#[state] tasks: &mut u64) -> u64 {
    *tasks += 1;
    *tasks
}

#[worker_task]
fn spell(#[state] letters: &mut String, letter: char) -> String {
    letters.push(letter);
    letters.clone()
}

fn states_by_type(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for n in 1..=5u8 {
        assert_eq!(count::apply(&pool, ())?.1, u64::from(n));
        assert_eq!(
            count_from_hundred::apply(&pool, ())?,
            100 + u64::from(n),
            "another init makes another state"
        );
        assert_eq!(spell::apply(&pool, 'a')?.len(), usize::from(n));
    }
    Ok(())
}

#[worker_init]
fn name(#[worker_id] id: usize, #[shared] prefix: &String) -> String {
    format!("{prefix}{id}")
}

#[worker_exit]
fn name_again(#[shared] prefix: &String, #[state] name: String, #[worker_id] id: WorkerId) -> bool {
    name.starts_with(&format!("{prefix}{id}"))
}

#[worker_task(init = name, exit = name_again)]
fn item_first(
    a: u8,
    #[state] name: &mut String,
    b: u8,
    #[worker_id] id: usize,
    #[shared] p: &String,
) -> String {
    name.push('.');
    format!("{p}{id}{a}{b}{}", name.starts_with(&format!("{p}{id}")))
}

#[worker_task(init = name, exit = name_again)]
fn item_last(#[shared] p: &String, #[worker_id] id: WorkerId, #[state] name: &mut String, a: u8) -> String {
    name.push('.');
    format!("{p}{id}{a}{}", name.starts_with(&format!("{p}{id}")))
}

fn all_orders(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared("w".to_owned()).build()?;
    assert_eq!(item_first::par_map(&pool, [(1, 2), (3, 4)])?, ["w012true", "w034true"]);
    assert_eq!(item_last::par_map(&pool, [5, 6])?, ["w05true", "w06true"]);
    assert_eq!(pool.join()?.exit_results::<name_again>()?, [true]);
    Ok(())
}

#[worker_task]
fn only_id(#[worker_id] id: usize) -> usize {
    id
}

#[worker_task]
fn only_state(#[state] set: &mut BTreeSet<u8>) -> usize {
    let next = set.len() as u8;
    set.insert(next);
    set.len()
}

#[worker_task]
fn only_shared(#[shared] set: &BTreeSet<u8>) -> usize {
    set.len()
}

fn injected_alone(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared(BTreeSet::from([1, 2, 3])).build()?;
    assert_eq!(only_id::apply(&pool, ())?, 0);
    assert_eq!(only_state::par_map(&pool, [(); 3])?, [1, 2, 3]);
    assert_eq!(only_shared::apply(&pool, ())?, 3);
    Ok(())
}

#[worker_task]
fn of_tuple(#[shared] tuple: &(u8, String), x: u8) -> String {
    format!("{}{}{x}", tuple.0, tuple.1)
}

fn shared_types(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared((1, "-".to_owned())).build()?;
    assert_eq!(of_tuple::par_map(&pool, [2, 3])?, ["1-2", "1-3"]);
    assert_eq!(who::par_map(&pool, 0..5)?.len(), 5, "a task that borrows nothing runs on every pool");
    Ok(())
}
