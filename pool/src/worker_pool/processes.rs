//! Checks the options of worker processes: variables, a directory, a nice value, limits.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{AccessFlags, eaccess};

use crate::error::Error;
use crate::ids::WorkerId;
use crate::options::{Limit, MOST_WORKERS, ProcessOptions, Variables};
use crate::sys::settings;
use crate::text;
use crate::unwind;

/// A function of the user's that gives a worker's variables.
pub(super) type EnvOf = Arc<dyn Fn(WorkerId) -> Vec<(OsString, OsString)> + Send + Sync>;

/// The most variables of a worker, and one more: a function may give an endless iterator.
pub(super) const MOST_VARIABLES: usize = 1 << 16;

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
        let env = if self.env.is_empty() { Vec::new() } else { self.variables(workers)? };
        Ok(ProcessOptions { env, dir, nice: self.nice, limits: self.limits.clone() })
    }

    fn variables(&self, workers: usize) -> Result<Vec<Variables>, Error> {
        let wrong =
            |why| Error::Option { option: "env", value: "a function".into(), allowed: text::cut(why) };
        let mut all: Vec<Variables> = Vec::with_capacity(workers.min(MOST_WORKERS));
        for worker in (0..workers).map(WorkerId) {
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
    let (name_bytes, value_bytes) = (name.as_bytes(), value.as_bytes());
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
    eaccess(&absolute, AccessFlags::X_OK)
        .map_err(|error| wrong(format!("this process may not enter it: {}", std::io::Error::from(error))))?;
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
    match settings::refuses_hard_limit(resource.of_system(), hard) {
        Some(why) => wrong(why),
        None => Ok(()),
    }
}
