//! What worker processes have of their own: variables, a directory, a nice value, limits.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::StartMethod;
pub use crate::sys::Resource;
use crate::sys::settings;

/// A limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    #[serde(with = "resource")]
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Limit {
    fn set(self) -> Result<(), String> {
        let set = settings::set_limit(self.resource, self.soft, self.hard);
        set.map_err(|error| self.refused(&error))
    }

    fn refused(self, error: &io::Error) -> String {
        let Self { resource, soft, hard } = self;
        format!("option `rlimit` is ({resource:?}, {soft}, {hard}), which the system refuses: {error}")
    }
}

/// Encodes a [`Resource`] in a record. The type is public and has no serde traits of its own.
mod resource {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::Resource;

    pub(super) fn serialize<S: Serializer>(resource: &Resource, serializer: S) -> Result<S::Ok, S::Error> {
        Resource::ALL.iter().position(|known| known == resource).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Resource, D::Error> {
        let position = Option::<usize>::deserialize(deserializer)?;
        let resource = position.and_then(|position| Resource::ALL.get(position));
        resource.copied().ok_or_else(|| de::Error::custom("there is no such resource"))
    }
}

/// The variables of a worker.
pub(crate) type Variables = Arc<[(OsString, OsString)]>;

/// What the options say about the worker processes of a pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessOptions {
    /// The variables of each worker; empty without the option.
    pub(crate) env: Vec<Variables>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) nice: Option<i32>,
    pub(crate) limits: Vec<Limit>,
}

impl ProcessOptions {
    /// The variables of this worker.
    pub(crate) fn env_of(&self, worker: usize) -> &[(OsString, OsString)] {
        self.env.get(worker).map_or(&[], |variables| variables)
    }

    /// The variables of all workers, if they have the same.
    pub(crate) fn common_env(&self) -> Option<&[(OsString, OsString)]> {
        let first = self.env_of(0);
        self.env.iter().all(|variables| **variables == *first).then_some(first)
    }

    /// What a process of this program that is started anew sets for itself before it decodes the shared value. It has
    /// its variables from its start.
    pub(crate) fn of_new_process(&self) -> ProcessSettings {
        ProcessSettings { env: Vec::new(), ..self.of_fork(0) }
    }

    /// What a worker sets for itself that has come into being by this method.
    pub(crate) fn of_worker(&self, worker: usize, method: StartMethod) -> ProcessSettings {
        let all = self.of_fork(worker);
        let limits = all.limits.clone();
        match method {
            StartMethod::Fork => all,
            StartMethod::ForkServer if self.common_env().is_none() => {
                ProcessSettings { env: all.env, limits, ..ProcessSettings::default() }
            }
            // Its process, or the server, has set the rest.
            StartMethod::ForkServer | StartMethod::Spawn => {
                ProcessSettings { limits, ..ProcessSettings::default() }
            }
            StartMethod::Threads => ProcessSettings::default(),
        }
    }

    fn of_fork(&self, worker: usize) -> ProcessSettings {
        let bytes = |text: &OsStr| text.as_encoded_bytes().to_vec();
        ProcessSettings {
            env: self.env_of(worker).iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            dir: self.dir.as_deref().map(|dir| bytes(dir.as_os_str())),
            nice: self.nice,
            limits: self.limits.clone(),
        }
    }
}

/// These limits as the reason may be for a process that could not start; empty if there are none.
pub(crate) fn limits_as_reason(limits: &[Limit]) -> String {
    let mut text = String::new();
    for Limit { resource, soft, hard } in limits {
        text += if text.is_empty() { "; option `rlimit` is " } else { ", " };
        let written = write!(text, "({resource:?}, {soft}, {hard})");
        debug_assert!(written.is_ok());
    }
    if !text.is_empty() {
        text += ", which may be too low for a worker";
    }
    text
}

/// What a process sets for itself, as it crosses to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessSettings {
    env: Vec<(Vec<u8>, Vec<u8>)>,
    dir: Option<Vec<u8>>,
    nice: Option<i32>,
    limits: Vec<Limit>,
}

impl ProcessSettings {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets the variables.
    ///
    /// # Safety
    /// This process has one thread.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn set_env(&mut self) {
        for (name, value) in self.env.drain(..) {
            // SAFETY: the caller's promise is the same.
            unsafe { settings::set_variable(&settings::text(name), &settings::text(value)) };
        }
    }

    /// Sets the directory and the nice value. An error names the option.
    pub(crate) fn set_place(&self) -> Result<(), String> {
        if let Some(dir) = &self.dir {
            let dir = PathBuf::from(settings::text(dir.clone()));
            std::env::set_current_dir(&dir)
                .map_err(|error| format!("option `current_dir` is {dir:?}: {error}"))?;
        }
        if let Some(nice) = self.nice {
            settings::set_nice(nice)
                .map_err(|error| format!("option `nice` is {nice}, which the system refuses: {error}"))?;
        }
        Ok(())
    }

    /// Runs this with the soft limits set, and sets them back: the process has more to do before its limits hold for
    /// good. A hard limit that is to be raised stays raised.
    pub(crate) fn within_limits<R>(&self, run: impl FnOnce() -> R) -> Result<R, String> {
        // With its final capacity, because the limits may be on memory.
        let mut before = Vec::with_capacity(self.limits.len());
        for limit in &self.limits {
            let resource = limit.resource;
            let refused = |error| limit.refused(&error);
            let (soft, hard) = settings::limit(resource).map_err(refused)?;
            let hard = hard.max(limit.hard);
            settings::set_limit(resource, limit.soft, hard).map_err(refused)?;
            before.push((resource, soft, hard));
        }
        let result = run();
        for (resource, soft, hard) in before {
            settings::set_limit(resource, soft, hard).map_err(|error| error.to_string())?;
        }
        Ok(result)
    }

    pub(crate) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The limits, which are to hold from when the process is ready on.
    pub(crate) fn into_limits(self) -> Vec<Limit> {
        self.limits
    }
}

/// Sets these limits for this process, for good. An error names the option.
pub(crate) fn set_limits(limits: &[Limit]) -> Result<(), String> {
    limits.iter().try_for_each(|limit| limit.set())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_record, encode_record};

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn each_process_sets_what_was_not_set_before_it() {
        let limit = Limit { resource: Resource::Nofile, soft: 3, hard: 4 };
        let differing = ProcessOptions {
            env: vec![variables(&[("A", "0")]), variables(&[("A", "1")])],
            dir: Some("/".into()),
            nice: Some(3),
            limits: vec![limit],
        };
        let all = differing.of_worker(1, StartMethod::Fork);
        assert_eq!(all.env, [(b"A".to_vec(), b"1".to_vec())]);
        assert_eq!((all.dir.as_deref(), all.nice, &*all.limits), (Some(&b"/"[..]), Some(3), &[limit][..]));
        assert_eq!(differing.of_new_process(), ProcessSettings { env: Vec::new(), ..all.clone() });
        let only_limits = ProcessSettings { limits: vec![limit], ..ProcessSettings::default() };
        assert_eq!(differing.of_worker(1, StartMethod::Spawn), only_limits);
        assert_eq!(
            differing.of_worker(1, StartMethod::ForkServer),
            ProcessSettings { env: all.env, ..only_limits.clone() }
        );
        let same = ProcessOptions { env: vec![variables(&[("A", "0")]); 2], ..differing };
        assert_eq!(same.common_env(), Some(&*same.env[0]));
        assert_eq!(same.of_worker(1, StartMethod::ForkServer), only_limits);
        assert!(ProcessOptions::default().of_worker(1, StartMethod::Fork).is_empty());
        assert_eq!(ProcessOptions::default().common_env(), Some(&[][..]));
    }

    #[test]
    fn each_resource_crosses_as_itself() {
        for (position, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(Resource::ALL.iter().position(|other| *other == resource), Some(position));
            let limit = Limit { resource, soft: 1, hard: u64::MAX };
            let mut bytes = Vec::new();
            encode_record(&limit, &mut bytes).unwrap();
            assert_eq!(decode_record(&bytes), Ok(limit));
        }
    }

    #[test]
    fn a_worker_that_could_not_start_names_its_limits() {
        let limit = |resource| Limit { resource, soft: 1, hard: 2 };
        assert_eq!(
            limits_as_reason(&[limit(Resource::As), limit(Resource::Nproc)]),
            "; option `rlimit` is (As, 1, 2), (Nproc, 1, 2), which may be too low for a worker"
        );
        assert_eq!(limits_as_reason(&[]), "");
    }
}
