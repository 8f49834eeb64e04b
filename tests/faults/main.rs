//! What a pool must survive: faults in every state of a worker, for each start method that has processes.
//! `README.md` beside this file says which test stands for which fault.

use std::process::ExitCode;

// As if they were modules of this program, for its topics.
use pool_tests::{harness, support};

// A fault, wherever the worker is.
mod matrix;
mod restarts;
// What a worker may use up.
mod limits;
// Who ends with whom.
mod orphans;
mod signals;
mod victim;
// What a worker can do to its parent.
mod forged;
mod scribble;
// What a program stands on: its streams, its file, its terminal, its kernel.
mod builds;
mod descriptors;
mod entry;
mod exhaustion;
mod forked;
mod numbers;
mod privileges;
mod sandbox;
mod streams;
mod stuck;
mod surroundings;
mod thread_pools;
// Many things at once.
mod nested;
mod soak;

const TOPICS: &[&[harness::Case]] = &[
    matrix::CASES,
    restarts::CASES,
    limits::CASES,
    orphans::CASES,
    signals::CASES,
    forged::CASES,
    scribble::CASES,
    builds::CASES,
    entry::CASES,
    exhaustion::CASES,
    forked::CASES,
    descriptors::CASES,
    numbers::CASES,
    privileges::CASES,
    stuck::CASES,
    sandbox::CASES,
    streams::CASES,
    surroundings::CASES,
    thread_pools::CASES,
    nested::CASES,
    soak::CASES,
];

fn main() -> ExitCode {
    entry::do_as_told();
    pool::init();
    match victim::wanted() {
        Some(scene) => victim::play(&scene),
        None => harness::main(TOPICS),
    }
}
