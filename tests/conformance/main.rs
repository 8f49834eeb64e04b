//! The behaviour that all start methods share: one suite of cases, each of which runs for each start method.
//!
//! A trial, which is a case with a start method, runs on the main thread of a process of its own. So it may fork, it
//! begins with a known number of descriptors and threads, and whatever it leaves behind is its own.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a task takes its argument, an exit function its state, by value"
)]

use std::process::ExitCode;

// So that topics can use them like modules of this program.
use pool_tests::{harness, support};

mod executors;
mod terminal;

// How tasks and results get through.
mod arrays;
mod async_results;
mod away;
mod callbacks;
mod chunks;
mod chunks_mut;
mod codecs;
mod decoding;
mod combinations;
mod constants;
mod constants_of_inits;
mod constant_failures;
mod each_worker;
mod iterators;
mod gathered;
mod libraries;
mod maps;
mod maps_into;
mod max_queue;
mod payloads;
mod reduce;
mod reduce_failures;
mod references;
mod spare_memory;
mod stream_waits;
mod streams;
mod threads;
mod twins;
mod untrusted_values;
// Init, exit, and shared values.
mod daemon;
mod exit;
mod init;
mod injection;
mod instances;
mod pinning;
mod process_limits;
mod process_options;
mod seeds;
mod shared;
mod shares;
mod shared_exclusive;
mod shared_hammer;
mod shared_memory;
mod shared_mutex;
mod shared_waits;
// How long workers live, and which of them gets which task.
mod insights;
mod ends;
mod idle_workers;
mod keep_alive;
mod leaving;
mod lifespan;
mod logs;
mod options;
mod order_tasks;
mod resizing;
mod progress;
mod progress_lines;
mod starts;
mod stats;
mod timeline;
mod warm_up;
// Failures.
mod backtraces;
mod call_labels;
mod call_sites;
mod cpu_limits;
mod deadly_panics;
mod deadlines;
mod deaths;
mod exceptions;
mod fallible;
mod giving_up;
mod long_texts;
mod panics;
mod retry_judges;
mod retry_policies;
mod stored_errors;
mod timeouts;

const TOPICS: &[&[harness::Case]] = &[
    libraries::CASES,
    maps::CASES,
    maps_into::CASES,
    combinations::CASES,
    constants::CASES,
    constants_of_inits::CASES,
    constant_failures::CASES,
    each_worker::CASES,
    iterators::CASES,
    async_results::CASES,
    away::CASES,
    callbacks::CASES,
    gathered::CASES,
    max_queue::CASES,
    streams::CASES,
    stream_waits::CASES,
    threads::CASES,
    twins::CASES,
    payloads::CASES,
    reduce::CASES,
    reduce_failures::CASES,
    references::CASES,
    spare_memory::CASES,
    codecs::CASES,
    decoding::CASES,
    untrusted_values::CASES,
    chunks::CASES,
    chunks_mut::CASES,
    arrays::CASES,
    injection::CASES,
    instances::CASES,
    shared::CASES,
    shares::CASES,
    shared_memory::CASES,
    shared_exclusive::CASES,
    shared_mutex::CASES,
    shared_waits::CASES,
    shared_hammer::CASES,
    init::CASES,
    exit::CASES,
    pinning::CASES,
    process_limits::CASES,
    process_options::CASES,
    seeds::CASES,
    daemon::CASES,
    ends::CASES,
    idle_workers::CASES,
    keep_alive::CASES,
    leaving::CASES,
    lifespan::CASES,
    order_tasks::CASES,
    options::CASES,
    insights::CASES,
    long_texts::CASES,
    logs::CASES,
    starts::CASES,
    stats::CASES,
    timeline::CASES,
    warm_up::CASES,
    resizing::CASES,
    progress::CASES,
    progress_lines::CASES,
    exceptions::CASES,
    fallible::CASES,
    giving_up::CASES,
    retry_judges::CASES,
    retry_policies::CASES,
    panics::CASES,
    deadly_panics::CASES,
    backtraces::CASES,
    deadlines::CASES,
    deaths::CASES,
    stored_errors::CASES,
    call_labels::CASES,
    call_sites::CASES,
    cpu_limits::CASES,
    timeouts::CASES,
];

fn main() -> ExitCode {
    // Workers execute this program again, like any user's program, and go no further than this.
    pool::init();
    harness::main(TOPICS)
}
