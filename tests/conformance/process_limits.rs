//! The limits of worker processes that leave them little: `rlimit`.

use pool::{Error, Resource, StartMethod, worker_task};

use super::process_options::VARIABLE;
use crate::harness::cases;
use crate::support::{assert_usable, builder, square};

cases! {
    Processes: limits_that_leave_nothing, limits_too_low_to_start, limits_too_low_to_decode, a_limit_that_kills;
}

/// A worker needs nothing of this once it is ready.
fn limits_that_leave_nothing(method: StartMethod) -> Result<(), Error> {
    for resource in [
        Resource::Nofile,
        Resource::Nproc,
        Resource::Core,
        Resource::Fsize,
        Resource::Memlock,
        Resource::Msgqueue,
        Resource::Sigpending,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Locks,
        Resource::Rss,
    ] {
        let pool = builder(method).rlimit(resource, 0, 0).insights(true).memory_limit(1 << 30).build()?;
        assert_usable(&pool);
        assert_eq!(square::job(&pool).worker_lifespan(2).chunk_size(1).map(0..6)?, [0, 1, 4, 9, 16, 25]);
        pool.join()?;
    }
    Ok(())
}

#[worker_task]
fn allocates(bytes: usize) -> usize {
    std::hint::black_box(vec![1_u8; bytes]).len()
}

/// Whether a worker comes to its tasks or not, the call ends, and says why.
fn limits_too_low_to_start(method: StartMethod) -> Result<(), Error> {
    for resource in [Resource::As, Resource::Data, Resource::Stack] {
        for bytes in [0, 1 << 16] {
            let pool = builder(method).rlimit(resource, bytes, bytes).build()?;
            match square::par_map(&pool, 0..10) {
                Ok(squares) => assert_eq!(squares.len(), 10),
                Err(Error::Task(died)) => assert!(died.to_string().contains("died"), "{died}"),
                Err(error) => {
                    let named = format!("`rlimit` is ({resource:?}, {bytes}, {bytes})");
                    assert!(error.to_string().contains(&named), "{error}");
                }
            }
        }
    }
    let pool = builder(method).rlimit(Resource::As, 64 << 30, 64 << 30).build()?;
    let error = allocates::par_map_outcomes(&pool, [1 << 10, 1 << 37])?.pop().unwrap().unwrap_err();
    assert!(error.to_string().contains("SIGABRT"), "{error}");
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn length(#[shared] bytes: &Vec<u8>) -> usize {
    bytes.len()
}

fn limits_too_low_to_decode(method: StartMethod) -> Result<(), Error> {
    let options = || builder(method).rlimit(Resource::As, 0, 0).shared(vec![1_u8; 32 << 20]);
    for pool in [options(), options().env(|worker| [(VARIABLE, worker.to_string())])] {
        match length::apply(&pool.build()?, ()) {
            // It is not decoded.
            Ok(length) => assert_eq!((length, method), (32 << 20, StartMethod::Fork)),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    matches!(error, Error::Start { .. }) && text.contains("`rlimit` is (As, 0, 0)"),
                    "{text}"
                );
            }
        }
    }
    Ok(())
}

#[worker_task]
fn spins(go_on: bool) {
    while std::hint::black_box(go_on) {}
}

/// A worker that is started anew counts its CPU time anew.
fn a_limit_that_kills(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).rlimit(Resource::Cpu, 1, 2).build()?;
    let ends = spins::job(&pool).chunk_size(1).map_outcomes([true, false])?;
    let error = ends[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("SIGXCPU") && ends[1].is_ok(), "{error}");
    assert_usable(&pool);
    Ok(())
}
