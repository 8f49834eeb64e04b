//! The options of worker processes, and their checks: variables, a directory, a nice value, limits.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::WorkerPoolBuilder;
use crate::error::Error;
use crate::ids::WorkerId;
use crate::options::{Limit, MOST_WORKERS, ProcessOptions, Resource, Variables};
use crate::sys::settings;
use crate::text;
use crate::unwind;

/// A function of the user's that gives a worker's variables.
pub(super) type EnvOf = Arc<dyn Fn(WorkerId) -> Vec<(OsString, OsString)> + Send + Sync>;

/// The most variables of a worker, and one more: a function may give an endless iterator.
const MOST_VARIABLES: usize = 1 << 16;

/// The length of `NAME=value` with which the kernel starts no program: `MAX_ARG_STRLEN`, 32 pages.
const TOO_LONG: usize = 32 * 4096;

/// The options of worker processes as they were given.
#[derive(Clone, Default)]
pub(super) struct Processes {
    pub(super) env: Vec<EnvOf>,
    pub(super) dir: Option<PathBuf>,
    pub(super) nice: Option<i32>,
    pub(super) limits: Vec<Limit>,
}

impl<S: Send + Sync + 'static> WorkerPoolBuilder<S> {
    /// Gives workers variables of their own, besides those of this process: a function from a worker's id to pairs of a
    /// name and a value. Default: none.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn device(#[worker_id] id: usize) -> (usize, String) {
    ///     (id, std::env::var("CUDA_VISIBLE_DEVICES").unwrap())
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::builder()
    ///         .workers(2)
    ///         .env(|worker| [("CUDA_VISIBLE_DEVICES", worker.to_string())])
    ///         .build()?;
    ///     for (id, device) in device::par_map(&pool, vec![(); 8])? {
    ///         assert_eq!(device, id.to_string());
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// [`build`](Self::build) calls the function once for each worker, in order, in the calling thread, and
    /// [`resize`](crate::WorkerPool::resize) for each that the pool never had before. A worker that is started anew
    /// gets the same variables. They are there before the shared value is decoded and before init functions, and
    /// programs that a task runs inherit them. If workers have different ones, each worker of
    /// [`StartMethod::ForkServer`] decodes a shared value itself; otherwise the server does it once, for all.
    ///
    /// With [`StartMethod::Spawn`] variables are there from the program's start, also for what libraries do before
    /// `main`. With [`StartMethod::ForkServer`] that is so if all workers have the same ones, and otherwise, as with
    /// [`StartMethod::Fork`], libraries must read them afterwards: most do at their first use.
    ///
    /// Given several times, each function adds variables, and the last value of a name holds. An error with
    /// [`StartMethod::Threads`], whose workers have the environment of this process.
    ///
    /// [`StartMethod::ForkServer`]: crate::StartMethod::ForkServer
    /// [`StartMethod::Spawn`]: crate::StartMethod::Spawn
    /// [`StartMethod::Fork`]: crate::StartMethod::Fork
    /// [`StartMethod::Threads`]: crate::StartMethod::Threads
    pub fn env<I, K, V>(mut self, env: impl Fn(WorkerId) -> I + Send + Sync + 'static) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let owned = |(name, value): (K, V)| (name.as_ref().to_owned(), value.as_ref().to_owned());
        // One more than the most, which `build` refuses.
        let all = move |worker| env(worker).into_iter().take(MOST_VARIABLES + 1).map(owned).collect();
        self.processes.env.push(Arc::new(all));
        self
    }

    /// Sets the directory in which workers run, and from which relative paths start. Default: that of this process, as
    /// it is at the start of the worker (or its server). A relative path starts from the directory of this process at
    /// the time of [`build`](Self::build). An error with [`StartMethod::Threads`].
    ///
    /// [`StartMethod::Threads`]: crate::StartMethod::Threads
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.processes.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets the nice value of workers, from -20 to 19: the higher, the more they leave the CPUs to other processes.
    /// Default: that of the thread that starts them, usually 0. Values lower than that need privileges. An error with
    /// [`StartMethod::Threads`].
    ///
    /// [`StartMethod::Threads`]: crate::StartMethod::Threads
    pub fn nice(mut self, nice: i32) -> Self {
        self.processes.nice = Some(nice);
        self
    }

    /// Limits what each worker may use of a [`Resource`], as setrlimit(2) does; `u64::MAX` is no limit. Default: the
    /// limits of this process.
    ///
    /// ```
    /// use pool::{Resource, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn read(path: &str) -> bool {
    ///     std::fs::read(path).is_ok()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     // No core files, and no more open files than standard input, output and error.
    ///     let builder = WorkerPool::builder().workers(2).rlimit(Resource::Core, 0, 0);
    ///     let pool = builder.rlimit(Resource::Nofile, 3, 3).build()?;
    ///     assert_eq!(read::par_map(&pool, ["Cargo.toml"])?, [false]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// The soft limit may not be above the hard one, and only privileged processes may have a higher hard limit than
    /// this one has. Limits hold for init functions, tasks, exit functions and what those start; while the shared value
    /// is decoded, only the soft ones. What the pool itself needs in a worker is there before. A limit so low that no
    /// worker can run is an error of the call. What happens at a limit is the system's: an allocation fails, which
    /// aborts the worker; a file can't be opened; a signal kills the worker. [`memory_limit`](Self::memory_limit) is
    /// another limit, which counts resident memory from the first task on and replaces workers between tasks.
    ///
    /// Given several times, each resource has the limits that were given last. An error with [`StartMethod::Threads`].
    ///
    /// [`StartMethod::Threads`]: crate::StartMethod::Threads
    pub fn rlimit(mut self, resource: Resource, soft: u64, hard: u64) -> Self {
        let limits = &mut self.processes.limits;
        limits.retain(|limit| limit.resource != resource);
        limits.push(Limit { resource, soft, hard });
        self
    }
}

impl Processes {
    /// The option that was given first, and its value.
    fn first(&self) -> Option<(&'static str, String)> {
        let limit =
            |limit: &Limit| ("rlimit", format!("({:?}, {}, {})", limit.resource, limit.soft, limit.hard));
        (!self.env.is_empty())
            .then(|| ("env", "a function".to_owned()))
            .or_else(|| self.dir.as_ref().map(|dir| ("current_dir", text::shown(dir))))
            .or_else(|| self.nice.map(|nice| ("nice", nice.to_string())))
            .or_else(|| self.limits.first().map(limit))
    }

    /// What workers get, or an error that says what is wrong with an option. Calls the user's functions.
    pub(super) fn check(&self, workers: usize, are_processes: bool) -> Result<ProcessOptions, Error> {
        if let Some((option, value)) = self.first().filter(|_| !are_processes) {
            let allowed = "threads have what this process has; set it for the process, or use a start method whose \
                           workers are processes";
            return Err(Error::Option { option, value, allowed: allowed.into() });
        }
        if let Some(nice) = self.nice {
            check_nice(nice)?;
        }
        self.limits.iter().try_for_each(check_limit)?;
        let dir = self.dir.as_deref().map(check_dir).transpose()?;
        // Last, because it is the user's code.
        let env = self.variables(0..workers)?;
        Ok(ProcessOptions { env, dir, nice: self.nice, limits: self.limits.clone() })
    }

    /// The variables of these workers; none without the option. Calls the user's functions.
    pub(super) fn variables(&self, workers: Range<usize>) -> Result<Vec<Variables>, Error> {
        if self.env.is_empty() {
            return Ok(Vec::new());
        }
        let wrong =
            |why| Error::Option { option: "env", value: "a function".into(), allowed: text::cut(why) };
        let mut all: Vec<Variables> = Vec::with_capacity(workers.len().min(MOST_WORKERS));
        for worker in workers.map(WorkerId) {
            let mut own = BTreeMap::new();
            for env in &self.env {
                let given = unwind::catch(|| env(worker)).map_err(|panic| {
                    wrong(format!("its function panicked for worker {worker}: {}", panic.message()))
                })?;
                if given.len() > MOST_VARIABLES {
                    return Err(wrong(format!("worker {worker} gets more than {MOST_VARIABLES} variables")));
                }
                for (name, value) in given {
                    check_variable(worker, &name, &value)?;
                    own.insert(name, value);
                }
            }
            let own: Vec<(OsString, OsString)> = own.into_iter().collect();
            // Most workers have the same as the worker before.
            match all.last().filter(|last| ***last == *own) {
                Some(last) => all.push(Arc::clone(last)),
                None => all.push(own.into()),
            }
        }
        Ok(all)
    }
}

fn check_variable(worker: WorkerId, name: &OsStr, value: &OsStr) -> Result<(), Error> {
    let (name_bytes, value_bytes) = (name.as_encoded_bytes(), value.as_encoded_bytes());
    let wrong = |what: &OsStr, rule: &str| {
        Err(Error::option("env", what, format!("the function gives it for worker {worker}, but {rule}")))
    };
    if name_bytes.is_empty() {
        return wrong(name, "a variable's name may not be empty");
    }
    if name_bytes.contains(&b'=') || name_bytes.contains(&0) {
        return wrong(name, "a variable's name may contain neither `=` nor NUL");
    }
    if value_bytes.contains(&0) {
        return wrong(value, "a variable's value may not contain NUL");
    }
    if name_bytes.len() + 1 + value_bytes.len() + 1 > TOO_LONG {
        return wrong(
            name,
            "with its value it is longer than the 128 KiB that the system passes to a program",
        );
    }
    Ok(())
}

fn check_dir(dir: &Path) -> Result<PathBuf, Error> {
    let wrong = |why: String| Error::option("current_dir", dir, why);
    // Workers start later, and this process may be elsewhere by then.
    let absolute = std::path::absolute(dir).map_err(|error| wrong(error.to_string()))?;
    let is_dir = absolute.metadata().map_err(|error| wrong(error.to_string()))?.is_dir();
    if !is_dir {
        return Err(wrong("it is not a directory".into()));
    }
    settings::may_enter(&absolute)
        .map_err(|error| wrong(format!("this process may not enter it: {error}")))?;
    Ok(absolute)
}

fn check_nice(nice: i32) -> Result<(), Error> {
    if !(-20..=19).contains(&nice) {
        return Err(Error::option("nice", nice, "from -20, the most favored, to 19, the least"));
    }
    settings::try_nice(nice).map_err(|error| {
        let allowed = format!(
            "the system refuses it: {error}; a value lower than this process's own needs CAP_SYS_NICE, or a higher \
             RLIMIT_NICE (`ulimit -e`)"
        );
        Error::option("nice", nice, allowed)
    })
}

fn check_limit(limit: &Limit) -> Result<(), Error> {
    let Limit { resource, soft, hard } = *limit;
    let wrong = |why: String| {
        let value = format!("({resource:?}, {soft}, {hard})");
        Err(Error::Option { option: "rlimit", value, allowed: why })
    };
    if soft > hard {
        return wrong("the soft limit is above the hard one".into());
    }
    match settings::refuses_hard_limit(resource, hard) {
        Some(why) => wrong(why),
        None => Ok(()),
    }
}
