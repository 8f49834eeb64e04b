//! Lazy iterators take inputs of any length in bounded memory, and inputs that panic, and can be dropped at any time.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use pool::shared::SharedCounter;
use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_usable, builder, pool, put_token, square, squares, take_all_tokens, take_token,
    wait_for_token, wait_until_the_main_thread_sleeps,
};

cases! {
    All: infinite_input, bounded_ahead, bounded_behind_a_slow_head, dropped_half_way, dropped_untouched,
         dropped_while_tasks_run, input_panics, fused, several_at_once, works_before_it_is_asked,
         no_result_waits_for_the_next_task, bounded_by_bytes, results_beyond_the_bound;
    Processes: bounded_by_bytes_behind_a_death, left_amid_claimed_tasks;
}

fn infinite_input(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let first: Vec<u64> = square::par_imap(&pool, 0..).take(20_000).collect::<Result<_, _>>()?;
    assert!(first == squares(20_000));
    assert_usable(&pool);
    assert_eq!(square::par_imap_unordered(&pool, 0..).take(20_000).filter(Result::is_ok).count(), 20_000);
    assert_usable(&pool);
    Ok(())
}

fn bounded_ahead(method: StartMethod) -> Result<(), Error> {
    const ACTIVE: u64 = 10;
    let pool = pool(method)?;
    for ordered in [true, false] {
        let pulled = Cell::new(0);
        let input = (0..).inspect(|_| pulled.set(pulled.get() + 1));
        let job = square::job(&pool).chunk_size(2).max_tasks_active(ACTIVE as usize);
        let mut results: Box<dyn Iterator<Item = _>> =
            if ordered { Box::new(job.imap(input)) } else { Box::new(job.imap_unordered(input)) };
        for taken in 1..1000u64 {
            results.next().transpose()?;
            let ahead = pulled.get() - taken;
            assert!(ahead <= ACTIVE, "{ahead} items were pulled ahead of {taken}");
        }
    }
    assert_usable(&pool);
    Ok(())
}

fn no_result_waits_for_the_next_task(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    assert_usable(&pool);
    let began = Instant::now();
    for ordered in [true, false] {
        for size in [1, 10] {
            let (started, mut go_on) = (Tokens::new(), Tokens::new());
            let (started_path, go_on_path) = (started.path(), go_on.path());
            let job = wait_for_token::job(&pool).chunk_size(size);
            let input = (0..10).map(|i| (&*started_path, &*go_on_path, i));
            let mut results: Box<dyn Iterator<Item = _>> =
                if ordered { Box::new(job.imap(input)) } else { Box::new(job.imap_unordered(input)) };
            for i in 0..10 {
                // Each task gets its token only when the result before it has come, and each result comes when the
                // caller is already asleep.
                let result = thread::scope(|scope| {
                    scope.spawn(|| {
                        wait_until_the_main_thread_sleeps();
                        go_on.put(1);
                    });
                    results.next()
                });
                assert_eq!(result.transpose()?, Some(i));
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(30), "results come only when the pool looks around");
    Ok(())
}

/// Returns a mebibyte. The first task waits for a token first, and may then kill its worker once.
#[worker_task]
fn large(#[shared] (started, go_on, deaths): &(String, String, SharedCounter), x: u64) -> Vec<u8> {
    put_token(started);
    if x == 0 {
        take_token(go_on);
        if deaths.fetch_add(1) == 0 {
            std::process::abort();
        }
    }
    vec![x as u8; 1 << 20]
}

/// How many tasks begin while no result comes.
fn count_behind_the_head(started: &mut Tokens) -> usize {
    started.take(2);
    let (mut count, mut quiet) = (2, 0);
    while quiet < 3 {
        wait_until_the_main_thread_sleeps();
        let more = take_all_tokens(&started.path());
        (count, quiet) = (count + more, if more == 0 { quiet + 1 } else { 0 });
    }
    count
}

fn behind_a_late_head(method: StartMethod, deaths: u64) -> Result<(), Error> {
    const TASKS: u64 = 300;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let counter = SharedCounter::new(1 - deaths)?;
    let pool = builder(method).shared((started.path(), go_on.path(), counter)).build()?;
    // The input does not say how long it is.
    let mut results = large::job(&pool).retries(1).imap((0..TASKS).filter(|_| true));
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = count_behind_the_head(&mut started);
            go_on.put(2);
            assert!(begun < 90, "{begun} results of a mebibyte each wait for the first");
        });
        for x in 0..TASKS {
            let result = results.next().expect("there are more").expect("it has a result");
            assert!(result.len() == 1 << 20 && result[7] == x as u8);
        }
    });
    assert!(results.next().is_none());
    Ok(())
}

fn bounded_by_bytes(method: StartMethod) -> Result<(), Error> {
    behind_a_late_head(method, 0)
}

/// The first task dies with its worker, and is sent again although the bound lets no other task begin.
fn bounded_by_bytes_behind_a_death(method: StartMethod) -> Result<(), Error> {
    behind_a_late_head(method, 1)
}

#[worker_task]
fn larger(x: u8) -> Vec<u8> {
    vec![x; 70 << 20]
}

fn results_beyond_the_bound(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for chunk_size in [1, 3] {
        for (x, result) in (0..).zip(larger::job(&pool).chunk_size(chunk_size).imap(0..5)) {
            let result = result?;
            assert!(result.len() == 70 << 20 && result[1] == x);
        }
        assert_eq!(larger::job(&pool).chunk_size(chunk_size).imap_unordered(0..5).count(), 5);
    }
    assert_usable(&pool);
    Ok(())
}

fn bounded_behind_a_slow_head(method: StartMethod) -> Result<(), Error> {
    const ACTIVE: usize = 6;
    let pool = pool(method)?;
    let (mut started, mut go_on, mut free) = (Tokens::new(), Tokens::new(), Tokens::new());
    let (started_path, go_on_path, free_path) = (started.path(), go_on.path(), free.path());
    free.put(200);
    let input = (0..100).map(|i| (&*started_path, if i == 0 { &*go_on_path } else { &*free_path }, i));
    let mut results = wait_for_token::job(&pool).chunk_size(1).max_tasks_active(ACTIVE).imap(input);
    started.take(1);
    thread::scope(|scope| {
        // The first task ends once two more have begun. These are on the other worker: tasks on its own can't overtake
        // it.
        scope.spawn(|| {
            started.take(2);
            go_on.put(1);
        });
        for i in 0..100 {
            assert_eq!(results.next().map(Result::ok), Some(Some(i)));
        }
    });
    assert!(results.next().is_none());
    Ok(())
}

fn dropped_half_way(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for n in [0, 1, 10, 500] {
        let mut results = square::par_imap(&pool, 0..100_000);
        for x in 0..n {
            assert_eq!(results.next().transpose()?, Some(square(x)));
        }
        drop(results);
        assert_usable(&pool);
        let mut results = square::par_imap_unordered(&pool, 0..);
        assert!(results.by_ref().take(10).all(|result| result.is_ok()));
        drop(results);
        assert_usable(&pool);
    }
    Ok(())
}

fn dropped_untouched(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    drop(square::par_imap(&pool, 0..));
    drop(square::par_imap(&pool, 0..0));
    assert_usable(&pool);
    Ok(())
}

fn dropped_while_tasks_run(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..).map(|i| (&*started_path, &*go_on_path, i));
    let results = wait_for_token::job(&pool).chunk_size(1).imap(input);
    started.take(2);
    drop(results);
    // Let the running tasks end; those behind them must not begin any more.
    go_on.put(2);
    assert_usable(&pool);
    Ok(())
}

/// Returns the process that ran it.
#[worker_task]
fn sleep_in_process(ms: u64) -> u32 {
    thread::sleep(Duration::from_millis(ms));
    std::process::id()
}

/// A worker claims several short tasks at once, and these cannot be recalled. If some of them take longer, they still
/// run to their end when the iterator is dropped.
fn left_amid_claimed_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let before = sleep_in_process::apply(&pool, 0)?;
    for _ in 0..10 {
        let ms_of = |i| if (4000..4020).contains(&i) { 5 } else { 0 };
        let mut results = sleep_in_process::par_imap(&pool, (0..100_000).map(ms_of));
        for _ in 0..4000 {
            results.next().transpose()?;
        }
        drop(results);
        assert_eq!(sleep_in_process::apply(&pool, 0)?, before, "the worker is another one");
    }
    Ok(())
}

fn input_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let bad = |at: u64| (0..20).inspect(move |x| assert!(*x != at, "no more input"));
    for (at, chunk) in [(0, 1), (3, 1), (7, 2), (10, 4), (19, 4)] {
        let map = catch_unwind(AssertUnwindSafe(|| square::job(&pool).chunk_size(chunk).map(bad(at))));
        let payload = map.expect_err("the caller's own panic goes through the call");
        assert_eq!(payload.downcast_ref::<&str>().copied(), Some("no more input"));
        assert_usable(&pool);
        let imap =
            catch_unwind(AssertUnwindSafe(|| square::job(&pool).chunk_size(chunk).imap(bad(at)).count()));
        assert!(imap.is_err());
        assert_usable(&pool);
    }
    Ok(())
}

fn fused(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut results = square::par_imap(&pool, 0..3);
    assert_eq!(results.by_ref().count(), 3);
    assert!(results.next().is_none() && results.next().is_none());
    Ok(())
}

fn several_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let (a, b) = (square::par_imap(&pool, 0..300), square::par_imap(&pool, 0..300));
    let c = square::job(&pool).worker_lifespan(20).imap(0..300);
    for (x, ((a, b), c)) in a.zip(b).zip(c).enumerate() {
        assert_eq!([a?, b?, c?], [square(x as u64); 3]);
    }
    Ok(())
}

fn works_before_it_is_asked(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    go_on.put(1);
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let mut results = wait_for_token::par_imap(&pool, [(&*started_path, &*go_on_path, 5)]);
    started.take(1);
    assert_eq!(results.next().transpose()?, Some(5));
    Ok(())
}
