//! Whether the cores are near: how long a message takes from one to another and back. On a virtual machine the cores
//! move between places that share a cache and places that do not, within seconds, and everything below a microsecond
//! follows them.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// How long it takes.
const TIME: Duration = Duration::from_millis(20);
/// Each figure is the mean of this many round trips, which take far less than a thread may run at a time.
const BATCH: u64 = 50;

/// A cache line of its own.
#[repr(align(128))]
struct Ball(AtomicU64);

/// The round trip between the first two cores that this process may use, in nanoseconds, while no other thread has
/// either. `None` if there are no two.
pub(crate) fn round_trip_ns() -> Option<f64> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).ok()?;
    let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
    let (near, far) = (cores.next()?, cores.next()?);
    let ball = Ball(AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(far);
            let mut turn = 1;
            while await_turn(&ball, turn) {
                ball.0.store(turn + 1, Ordering::Release);
                turn += 2;
            }
        });
        let here = scope.spawn(|| {
            pin(near);
            let (begin, mut turn, mut least) = (Instant::now(), 1, f64::INFINITY);
            while begin.elapsed() < TIME {
                let start = Instant::now();
                for _ in 0..BATCH {
                    ball.0.store(turn, Ordering::Release);
                    await_turn(&ball, turn + 1);
                    turn += 2;
                }
                least = least.min(start.elapsed().as_nanos() as f64 / BATCH as f64);
            }
            ball.0.store(u64::MAX, Ordering::Release);
            least
        });
        here.join().ok()
    })
}

/// Spins until it is this turn, and returns whether there are any more.
fn await_turn(ball: &Ball, turn: u64) -> bool {
    loop {
        match ball.0.load(Ordering::Acquire) {
            u64::MAX => return false,
            current if current == turn => return true,
            _ => spin_loop(),
        }
    }
}

/// Keeps this thread on the core. If that fails, the figure may be wrong now and then, and nothing else.
fn pin(core: usize) {
    let mut set = CpuSet::new();
    let _ = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
}
