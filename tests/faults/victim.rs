//! Another process with a pool, which its trial ends in the middle of something.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, killpg, sigaction};
use nix::unistd::{Pid, getpgid, getppid, pause, setpgid, setsid};
use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_init, worker_task};

use crate::support::{builder, square};

/// Names the scene and the start method.
const SCENE: &str = "POOL_FAULTS_SCENE";
/// All processes of one victim have this variable, with a value of its own.
const MARK: &str = "POOL_FAULTS_MARK";
/// Processes that still exist after this time count as left behind.
const PATIENCE: Duration = Duration::from_secs(5);

/// The activity of the victim when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    Idle,
    Busy,
    InInit,
    InExit,
    Nested,
    /// It reports before it starts its workers.
    Starting,
    /// The thread that made the first call is gone.
    FromAThread,
    /// The program has forked children of its own, which live on; for the last one a worker has done so too.
    IdleWithChild,
    BusyWithChild,
    NestedWithChild,
    /// The same with a child of which the C library does not know.
    IdleWithRawChild,
    BusyWithRawChild,
    /// It forks that child when it is told to, while its only worker starts.
    StartingWithRawChild,
    /// In tasks that have left their process group.
    Elsewhere,
    /// In tasks that have closed all descriptors.
    Closed,
    /// In tasks that have blocked all signals.
    Deaf,
    /// In tasks that have done all of that.
    Detached,
    /// A task has closed all descriptors, and is done.
    IdleAndClosed,
    /// In tasks that wait for the first process of a PID namespace, which ends as the guide says.
    Sandboxing,
    /// In a task that exceeds its limit, unless its parent is stopped meanwhile; then in one that hangs.
    Limited,
}

const SCENES: [Scene; 20] = [
    Scene::Idle,
    Scene::Busy,
    Scene::InInit,
    Scene::InExit,
    Scene::Nested,
    Scene::Starting,
    Scene::FromAThread,
    Scene::IdleWithChild,
    Scene::IdleWithRawChild,
    Scene::BusyWithRawChild,
    Scene::StartingWithRawChild,
    Scene::BusyWithChild,
    Scene::NestedWithChild,
    Scene::Elsewhere,
    Scene::Closed,
    Scene::Deaf,
    Scene::Detached,
    Scene::IdleAndClosed,
    Scene::Sandboxing,
    Scene::Limited,
];
const METHODS: [StartMethod; 3] = [StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer];

/// The scene that this process is for, if it is a victim.
pub(super) fn wanted() -> Option<String> {
    std::env::var(SCENE).ok()
}

/// Plays the scene. It never ends by itself.
pub(super) fn play(wanted: &str) -> ExitCode {
    let all = SCENES.iter().flat_map(|scene| METHODS.map(|method| (*scene, method)));
    let (scene, method) = all
        .clone()
        .find(|(scene, method)| wanted == format!("{scene:?} {method:?}"))
        .unwrap_or_else(|| panic!("there is no scene `{wanted}`"));
    // A trial that hangs is killed, and cannot end its victim any more.
    set_pdeathsig(Signal::SIGKILL).unwrap();
    heed_the_terminal();
    let ended = stage(scene, method);
    eprintln!("the victim ended by itself: {ended:?}");
    ExitCode::FAILURE
}

/// The trial may have been started with a terminal's signals ignored, as by `nohup`.
fn heed_the_terminal() {
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTSTP, Signal::SIGTERM] {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default runs no code of this process.
        #[expect(unsafe_code)]
        unsafe {
            sigaction(signal, &default).unwrap();
        }
    }
}

fn stage(scene: Scene, method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    match scene {
        Scene::Starting => {
            ready();
            square::par_map(&pool, 0..10)?;
        }
        Scene::Idle => {
            square::par_map(&pool, 0..10)?;
            ready();
        }
        Scene::Busy => spin::par_map(&pool, [(), ()]).map(drop)?,
        Scene::InInit => after_init::par_map(&pool, [(), ()]).map(drop)?,
        Scene::InExit => {
            before_exit::job(&pool).chunk_size(1).map([(), ()])?;
            pool.join()?;
        }
        Scene::Nested => spin_in_a_pool::par_map(&pool, [false; 2]).map(drop)?,
        Scene::IdleWithChild | Scene::BusyWithChild | Scene::NestedWithChild => {
            square::par_map(&pool, 0..10)?;
            leave_a_child(false);
            match scene {
                Scene::IdleWithChild => ready(),
                Scene::BusyWithChild => spin::par_map(&pool, [(), ()]).map(drop)?,
                _ => spin_in_a_pool::par_map(&pool, [true; 2]).map(drop)?,
            }
        }
        Scene::IdleWithRawChild | Scene::BusyWithRawChild => {
            square::par_map(&pool, 0..10)?;
            leave_a_child(true);
            match scene {
                Scene::IdleWithRawChild => ready(),
                _ => spin::par_map(&pool, [(), ()]).map(drop)?,
            }
        }
        Scene::StartingWithRawChild => {
            let pool = builder(method).workers(1).build()?;
            let call = square::job(&pool).map_async(0..10);
            std::io::stdin().read_line(&mut String::new()).unwrap();
            leave_a_child(true);
            ready();
            call.get()?;
        }
        Scene::Elsewhere => misbehave::par_map(&pool, [(true, false, false); 2]).map(drop)?,
        Scene::Closed => misbehave::par_map(&pool, [(false, true, false); 2]).map(drop)?,
        Scene::Deaf => misbehave::par_map(&pool, [(false, false, true); 2]).map(drop)?,
        Scene::Detached => misbehave::par_map(&pool, [(true, true, true); 2]).map(drop)?,
        Scene::IdleAndClosed => {
            close_all::apply(&pool, ())?;
            ready();
        }
        Scene::Sandboxing => wait_in_a_sandbox::par_map(&pool, [false, true]).map(drop)?,
        Scene::Limited => {
            take_three_seconds::job(&pool).task_timeout(Duration::from_secs(2)).apply(())?;
            ready();
            assert!(spin::job(&pool).task_timeout(Duration::from_secs(1)).apply(()).is_err());
            ready();
        }
        Scene::FromAThread => {
            square::par_map(&pool, 0..10)?;
            let busy = |pool: &WorkerPool| drop(spin::par_map(pool, [(), ()]));
            thread::scope(|scope| {
                scope.spawn(|| square::job(&pool).worker_lifespan(2).map(0..10)).join().unwrap().unwrap();
                busy(&pool);
            });
        }
    }
    loop {
        thread::park();
    }
}

/// Tells the trial, through the standard output that all processes of the victim share.
fn ready() {
    println!("ready");
}

fn spin_for_good() -> ! {
    ready();
    loop {
        std::hint::spin_loop();
    }
}

#[worker_task]
fn spin() {
    spin_for_good();
}

/// Waits for the first process of a PID namespace, which its parent's death ends, in either way.
#[worker_task]
fn wait_in_a_sandbox(by_itself: bool) {
    let tied: &[&str] =
        if by_itself { &["--fork", "setpriv", "--pdeathsig", "KILL"] } else { &["--kill-child"] };
    let mut sandbox = Command::new("unshare");
    sandbox.arg("--pid").args(tied).args(["sh", "-c", "echo ready; exec sleep 1000"]);
    panic!("the sandbox ended: {:?}", sandbox.status());
}

#[worker_task]
fn take_three_seconds() {
    ready();
    thread::sleep(Duration::from_secs(3));
}

#[worker_init]
fn spin_in_init() -> u8 {
    spin_for_good();
}

#[worker_task(init = spin_in_init)]
fn after_init(#[state] _state: &mut u8, (): ()) {}

#[worker_task(exit = spin_in_exit)]
fn before_exit(#[state] _state: &mut u8, (): ()) {}

#[worker_exit]
fn spin_in_exit(#[state] _state: u8) {
    spin_for_good();
}

#[worker_task]
fn spin_in_a_pool(with_child: bool) {
    let pool = WorkerPool::new(2).unwrap();
    if with_child {
        square::par_map(&pool, 0..10).unwrap();
        leave_a_child(false);
    }
    drop(spin::par_map(&pool, [(), ()]));
}

/// The name of a child of the program that lives on.
pub(super) const BYSTANDER: &str = "bystander";

/// Forks a child that lives on in a session of its own.
#[expect(unsafe_code)]
fn leave_a_child(raw: bool) {
    // SAFETY: the child calls nothing that another thread of its parent may have been in. Without flags and a stack the
    // raw call is a fork.
    let child = unsafe {
        match raw {
            true => nix::libc::syscall(nix::libc::SYS_clone, nix::libc::SIGCHLD, 0, 0, 0, 0),
            false => nix::libc::fork().into(),
        }
    };
    assert!(child >= 0);
    if child == 0 {
        setsid().unwrap();
        set_name(c"bystander").unwrap();
        loop {
            pause();
        }
    }
}

/// Daemonizes the process, in part or completely, then never ends.
#[worker_task]
fn misbehave(leaves_group: bool, closes_all: bool, blocks_signals: bool) {
    if leaves_group {
        setpgid(Pid::from_raw(0), getpgid(Some(getppid())).unwrap()).unwrap();
    }
    if closes_all {
        close_from_three();
    }
    if blocks_signals {
        SigSet::all().thread_block().unwrap();
    }
    spin_for_good();
}

/// Closes all descriptors but the standard three.
#[expect(unsafe_code)]
pub(super) fn close_from_three() {
    // SAFETY: the call takes integers. It closes descriptors under their owners: this is the fault that is tested.
    assert_eq!(unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
}

#[worker_task]
fn close_all() {
    close_from_three();
}

/// The trial's side of a victim.
pub(super) struct Victim {
    child: Child,
    output: BufReader<ChildStdout>,
    mark: String,
}

impl Victim {
    pub(super) fn new(scene: Scene, method: StartMethod) -> Self {
        let mark = format!("{MARK}={}-{:?}", std::process::id(), Instant::now());
        let (name, value) = mark.split_once('=').unwrap();
        let mut child = Command::new("/proc/self/exe")
            .env(SCENE, format!("{scene:?} {method:?}"))
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output, mark }
    }

    /// Waits until the victim, or this many of its workers, have reported that they are ready.
    pub(super) fn wait(&mut self, times: usize) {
        for _ in 0..times {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
        }
    }

    /// Tells the victim to go on.
    pub(super) fn tell(&self) {
        self.child.stdin.as_ref().unwrap().write_all(b"\n").unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Signals the group that a terminal would signal.
    pub(super) fn signal_group(&self, signal: Signal) {
        killpg(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// All existing processes of the victim, with their names, the victim first.
    pub(super) fn processes(&self) -> Vec<(Pid, String)> {
        let mut found: Vec<_> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let environ = fs::read(entry.path().join("environ")).ok()?;
                let marked =
                    environ.split(|byte| *byte == 0).any(|variable| variable == self.mark.as_bytes());
                let name = fs::read_to_string(entry.path().join("comm")).ok()?;
                marked.then(|| (Pid::from_raw(pid), name.trim().to_owned()))
            })
            .collect();
        found.sort();
        found
    }

    /// Kills the victim, and waits until it is gone.
    pub(super) fn kill(mut self) -> Self {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
        self
    }

    /// Ends the victim, then measures how long the others outlive it.
    pub(super) fn end(self, signal: Signal) -> Duration {
        self.signal(signal);
        self.assert_all_gone()
    }

    /// Asserts that every process that the ending victim has started ends too.
    pub(super) fn assert_all_gone(mut self) -> Duration {
        self.child.wait().unwrap();
        let since = Instant::now();
        loop {
            // A zombie has no environment left.
            let mut left = self.processes();
            left.retain(|(_, name)| name != BYSTANDER);
            if left.is_empty() {
                return since.elapsed();
            }
            assert!(since.elapsed() < PATIENCE, "left behind: {left:?}");
            thread::yield_now();
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
