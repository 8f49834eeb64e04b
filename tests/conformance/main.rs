//! What every start method must do alike: one suite of cases, each of them run for each start method.
//!
//! A trial, which is a case on a start method, runs in a process of its own, on its main thread. So it may fork, it
//! starts from a known number of descriptors and threads, and what it leaves behind is its own.

use std::process::ExitCode;

mod harness;
mod support;

// How work gets through.
mod maps;
mod combinations;
mod iterators;
mod async_results;
mod threads;
mod payloads;
mod codecs;
// What workers are given.
mod injection;
mod shared;
mod init_exit;
mod pinning;
mod daemon;
// How long they live, and who gets what.
mod keep_alive;
mod lifespan;
mod order_tasks;
mod options;
// What goes wrong.
mod exceptions;
mod deaths;
mod timeouts;

const TOPICS: &[&[harness::Case]] = &[
    maps::CASES,
    combinations::CASES,
    iterators::CASES,
    async_results::CASES,
    threads::CASES,
    payloads::CASES,
    codecs::CASES,
    injection::CASES,
    shared::CASES,
    init_exit::CASES,
    pinning::CASES,
    daemon::CASES,
    keep_alive::CASES,
    lifespan::CASES,
    order_tasks::CASES,
    options::CASES,
    exceptions::CASES,
    deaths::CASES,
    timeouts::CASES,
];

fn main() -> ExitCode {
    // Workers end here: this program is started anew for them, like any user's program.
    pool::init();
    harness::main(TOPICS)
}
