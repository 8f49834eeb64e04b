//! Progress bars: what they count, and when they end.

use std::time::Duration;

use pool::indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish};
use pool::shared::SharedValue;
use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{Promising, builder, square, squares};
use crate::terminal::{lines, screen};

cases! {
    All: a_bar_counts_tasks, failed_tasks_are_counted_apart, one_bar_for_many_calls, bars_of_a_multi_progress,
        it_moves_within_a_chunk, a_call_that_is_left, without_a_length, it_ends_at_what_came;
}

fn bar(length: Option<u64>) -> ProgressBar {
    ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden())
}

/// Fails with every other number.
#[worker_task]
pub(super) fn odd(x: u64) -> u64 {
    assert!(x % 2 == 1, "even");
    x
}

fn a_bar_counts_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    for size in [1, 7, 100] {
        let bar = bar(None);
        assert_eq!(square::job(&pool).chunk_size(size).progress(bar.clone()).map(0..100)?.len(), 100);
        assert_eq!((bar.position(), bar.length()), (100, Some(100)));
        assert!(bar.is_finished() && bar.message().is_empty());
    }
    Ok(())
}

fn failed_tasks_are_counted_apart(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(None));
    odd::job(&pool).progress(bar.clone()).map_outcomes(0..10)?;
    assert_eq!((bar.position(), bar.message()), (10, " 5 failed".into()));
    assert!(bar.is_finished());
    Ok(())
}

fn one_bar_for_many_calls(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(Some(30)));
    square::job(&pool).progress(bar.clone()).map(0..10)?;
    assert_eq!((bar.position(), bar.length(), bar.is_finished()), (10, Some(30), false));
    let calls: Vec<_> = (0..10).map(|x| square::job(&pool).progress(bar.clone()).apply_async(x)).collect();
    calls.iter().try_for_each(|call| call.get().map(drop))?;
    assert_eq!((bar.position(), bar.is_finished()), (20, false));
    assert_eq!(square::job(&pool).progress(bar.clone()).map_async(0..10).get()?.len(), 10);
    assert_eq!((bar.position(), bar.is_finished()), (30, true));
    Ok(())
}

fn bars_of_a_multi_progress(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let shown = screen(|| {
        let bars = MultiProgress::new();
        let [first, second] =
            [12, 30].map(|tasks| bars.add(ProgressBar::new(tasks).with_finish(ProgressFinish::Abandon)));
        let results = square::job(&pool).progress(first).max_tasks_active(2).imap(0..12);
        let sums = results.map(|x| {
            let more = square::job(&pool).progress(second.clone()).map(0..2).unwrap();
            x.unwrap() + more.len() as u64
        });
        assert_eq!(sums.sum::<u64>(), squares(12).iter().sum::<u64>() + 24);
    });
    let lines = lines(&shown);
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].ends_with(" 12/12") && lines[1].ends_with(" 24/30"), "{shown}");
    Ok(())
}

/// Tasks from the sixth on wait for the gate.
#[worker_task]
pub(super) fn gated(#[shared] gate: &SharedValue<u8>, x: u64) -> u64 {
    while x >= 5 && gate.get() == 0 {
        // A thread of the kernel carries output to the terminal, and a loop that only yields could keep it from
        // running.
        std::thread::sleep(Duration::from_millis(1));
    }
    x
}

fn it_moves_within_a_chunk(method: StartMethod) -> Result<(), Error> {
    let gate = SharedValue::new(0)?;
    let pool = builder(method).workers(1).shared(gate.clone()).build()?;
    let bar = bar(None);
    let mut results = gated::job(&pool).chunk_size(10).progress(bar.clone()).imap(0..10);
    for x in 0..5 {
        assert_eq!(results.next().transpose()?, Some(x));
    }
    assert_eq!((bar.position(), bar.length()), (5, Some(10)), "the chunk of ten is half done");
    gate.set(1);
    assert_eq!(results.count(), 5);
    assert!(bar.position() == 10 && bar.is_finished());
    Ok(())
}

fn a_call_that_is_left(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(None));
    let mut results = square::job(&pool).progress(bar.clone()).imap(0..1_000_000);
    results.next().transpose()?;
    drop(results);
    assert!(!bar.is_finished() && bar.position() < 1_000_000);
    Ok(())
}

fn without_a_length(method: StartMethod) -> Result<(), Error> {
    let (pool, bar) = (builder(method).build()?, bar(None));
    square::job(&pool).progress(bar.clone()).map((0..1000).filter(|x| x % 10 == 0))?;
    assert_eq!((bar.position(), bar.length()), (100, Some(100)), "it is known at the end");
    assert!(bar.is_finished());
    Ok(())
}

fn it_ends_at_what_came(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    #[track_caller]
    fn check(bar: &ProgressBar, tasks: u64) {
        assert_eq!((bar.position(), bar.length(), bar.is_finished()), (tasks, Some(tasks), true));
    }
    let unknown = || (0..60).filter(|_| true);
    for promised in [0, 10, 59, 60, 61, 100, 1_000_000] {
        let came = promised.min(60) as u64;
        let job = |bar: &ProgressBar| square::job(&pool).iterable_len(promised).progress(bar.clone());
        let [map, unordered, outcomes, imap, both] = [(); 5].map(|()| bar(None));
        job(&map).map(unknown())?;
        check(&map, came);
        job(&unordered).map_unordered(0..60)?;
        check(&unordered, came);
        job(&outcomes).chunk_size(7).map_outcomes(unknown())?;
        check(&outcomes, came);
        assert_eq!(job(&imap).imap(unknown()).count() as u64, came);
        check(&imap, came);
        // The bar's length was set elsewhere, so other calls may fill the rest.
        both.set_length(100);
        job(&both).map(unknown())?;
        assert_eq!((both.position(), both.length(), both.is_finished()), (came, Some(100), false));
    }
    for promised in [0, 10, 59, 61, 100] {
        let [map, imap] = [(); 2].map(|()| bar(None));
        square::job(&pool).progress(map.clone()).map(Promising(promised, 0..60))?;
        check(&map, 60);
        assert_eq!(square::job(&pool).progress(imap.clone()).imap(Promising(promised, 0..60)).count(), 60);
        check(&imap, 60);
        let shown = screen(|| {
            square::job(&pool).progress_bar(true).map(Promising(promised, 0..60)).unwrap();
        });
        assert!(shown.starts_with("100% ") && shown.contains(" 60/60 ["), "{promised}: {shown}");
    }
    let shown = screen(|| {
        odd::job(&pool).iterable_len(100).progress_bar(true).map_outcomes(unknown()).unwrap();
    });
    assert!(shown.contains(" 60/60 [") && shown.ends_with("] done, 30 failed"), "{shown}");
    Ok(())
}
