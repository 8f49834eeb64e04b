//! Whatever a worker leaves in its half of a lane, the parent reads it without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|half: &[u8]| pool::read_any_lane(half));
