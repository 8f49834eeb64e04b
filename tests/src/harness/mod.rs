//! Cases, trials, and the two roles of this program: the runner, and the process of one trial.

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use pool::{Error, StartMethod};

pub mod leftovers;
mod process;

/// Something that every start method must do, or those that can.
#[derive(Debug)]
pub struct Case {
    /// Its path in this program.
    pub path: &'static str,
    /// The case itself.
    pub run: fn(StartMethod) -> Result<(), Error>,
    /// The start methods that it runs with.
    pub scope: Scope,
}

/// The start methods for which a case is.
#[derive(Debug, Clone, Copy)]
pub enum Scope {
    /// Every one.
    All,
    /// Those whose workers can die.
    Processes,
    /// Those that allow other threads when workers start.
    BesideThreads,
    /// Those of Linux, because it needs more than other systems give: processes beside threads, say, or a file of the
    /// kernel's.
    Linux,
    /// A part of another case, which runs it in a process of its own: see [`apart`].
    Apart,
}

impl Scope {
    /// Why the case cannot be run with this start method.
    fn refuses(self, method: StartMethod) -> Option<&'static str> {
        match (self, method) {
            (Self::Processes, StartMethod::Threads) => Some("a thread cannot be killed"),
            (Self::BesideThreads, StartMethod::Fork) => Some("the process has other threads"),
            (Self::Linux, _) if cfg!(pool_portable) => Some("other systems do not give what it needs"),
            _ => None,
        }
    }
}

/// The cases of a topic, as `Scope: names;` lines.
#[macro_export]
macro_rules! cases {
    ($($scope:ident: $($case:ident),+;)+) => {
        pub(super) const CASES: &[$crate::harness::Case] = &[$($($crate::harness::Case {
            path: concat!(module_path!(), "::", stringify!($case)),
            run: $case,
            scope: $crate::harness::Scope::$scope,
        }),+),+];
    };
}
pub use cases;

/// The start methods that the system has. With `--cfg pool_portable` it is taken for one that has only threads.
pub const METHODS: &[StartMethod] = if cfg!(pool_portable) {
    &[StartMethod::Threads]
} else {
    &[StartMethod::Fork, StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Threads]
};

/// Runs the cases of these topics, each in a process of its own. In such a process, runs its case.
pub fn main(topics: &'static [&'static [Case]]) -> ExitCode {
    let cases = || topics.iter().copied().flatten();
    if let Some(wanted) = process::wanted() {
        let mut trials = cases().flat_map(|case| METHODS.iter().map(move |method| (case, *method)));
        let (case, method) = trials
            .find(|(case, method)| name(case.path, *method) == wanted)
            .unwrap_or_else(|| panic!("there is no trial `{wanted}`"));
        return process::run(case, method);
    }
    let trials = cases().filter(|case| !matches!(case.scope, Scope::Apart));
    let trials = trials.flat_map(|case| METHODS.iter().map(|method| trial(case, *method))).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A process that plays a part of the trial: the case of scope `Apart` with this function's path, checked as a trial
/// is. It is another process of this program, or of the copy of it that is named.
pub fn apart<F: Fn(StartMethod) -> Result<(), Error>>(
    program: &Path,
    _part: F,
    method: StartMethod,
) -> Command {
    process::command(program, &name(std::any::type_name::<F>(), method))
}

fn trial(case: &'static Case, method: StartMethod) -> Trial {
    let name = name(case.path, method);
    match case.scope.refuses(method) {
        Some(why) => Trial::test(format!("{name}: {why}"), move || Err(why.into())).with_ignored_flag(true),
        None => Trial::test(name.clone(), move || process::watch(&name)),
    }
}

/// `topic::case [Method]`.
fn name(path: &str, method: StartMethod) -> String {
    let (_, path) = path.split_once("::").unwrap_or(("", path));
    format!("{path} [{method}]")
}
