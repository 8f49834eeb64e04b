//! The faults that a pool must survive, in every state of a worker, for each start method that has processes.
//! `README.md` beside this file lists the test for each fault.

use std::process::ExitCode;

// So that topics can use them like modules of this program.
use pool_tests::{harness, support};

// A fault, wherever the worker is.
mod matrix;
mod restarts;
// Limits on what a worker uses.
mod limits;
// Processes that must end with others.
mod orphans;
mod signals;
mod victim;
mod held;
// Attacks of a worker on its parent.
mod forged;
mod forged_folds;
mod scribble;
// The environment of a program: its streams, its file, its terminal, its kernel.
mod builds;
mod descriptors;
mod entry;
mod exhaustion;
mod forked;
mod numbers;
mod privileges;
mod sandbox;
mod short_memory;
mod streams;
mod stuck;
mod surroundings;
mod thread_pools;
mod traced;
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
    forged_folds::CASES,
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
    short_memory::CASES,
    streams::CASES,
    surroundings::CASES,
    thread_pools::CASES,
    traced::CASES,
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
