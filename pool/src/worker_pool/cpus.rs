//! Gives each worker its CPUs.

use crate::error::Error;
use crate::sys::cpu::{HAS_SETS, of_process};

/// Returns one set of CPUs for each worker, or an error that says what is wrong with `sets` and which CPUs are allowed.
pub(crate) fn check_sets(sets: Vec<Vec<usize>>, workers: usize) -> Result<Vec<Vec<usize>>, Error> {
    let checked = check_against(&of_process(), sets, workers)?;
    match checked.iter().find(|set| !HAS_SETS && set.len() > 1) {
        Some(set) => Err(Error::option(
            "cpu_ids",
            set,
            "this system pins a worker to one CPU, and to no set of several",
        )),
        None => Ok(checked),
    }
}

fn check_against(allowed: &[usize], sets: Vec<Vec<usize>>, workers: usize) -> Result<Vec<Vec<usize>>, Error> {
    let wrong = |value: &dyn std::fmt::Debug, rule: String| {
        if allowed.is_empty() {
            let why = "workers cannot be pinned here: the system does not say which CPUs this process may use, or it \
                       can have more than 1024";
            return Err(Error::option("cpu_ids", value, why));
        }
        Err(Error::option("cpu_ids", value, format!("{rule}; the allowed CPUs are {}", ranges(allowed))))
    };
    if sets.len() != 1 && sets.len() != workers {
        return wrong(
            &sets,
            format!("give one CPU or set for all workers, or one for each of the {workers}"),
        );
    }
    if sets.iter().any(Vec::is_empty) {
        return wrong(&sets, "no set of CPUs may be empty".into());
    }
    if let Some(cpu) = sets.iter().flatten().find(|cpu| !allowed.contains(cpu)) {
        return wrong(&sets, format!("CPU {cpu} does not exist, or this process may not use it"));
    }
    Ok(match <[Vec<usize>; 1]>::try_from(sets) {
        Ok([for_all]) => vec![for_all; workers],
        Err(one_each) => one_each,
    })
}

/// Formats ascending numbers as ranges: `0-3, 6`.
fn ranges(rising: &[usize]) -> String {
    let runs = rising.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_for_all_or_one_each() {
        let check = |sets: &[&[usize]], workers| {
            let sets = sets.iter().map(|set| set.to_vec()).collect();
            check_against(&[0, 1, 2, 5], sets, workers).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[&[0, 5]], 2), Ok(vec![vec![0, 5]; 2]));
        assert_eq!(check(&[&[0], &[1, 2]], 2), Ok(vec![vec![0], vec![1, 2]]));
        for (sets, workers, rule) in [
            (&[&[0][..], &[1]][..], 3, "one for each of the 3"),
            (&[][..], 2, "one for each of the 2"),
            (&[&[0][..], &[]][..], 2, "no set of CPUs may be empty"),
            (&[&[3][..]][..], 1, "CPU 3 does not exist"),
        ] {
            let error = check(sets, workers).unwrap_err();
            assert!(error.contains(rule) && error.ends_with("the allowed CPUs are 0-2, 5"), "{error}");
        }
        let error = check_against(&[], vec![vec![0]], 1).unwrap_err().to_string();
        assert!(error.contains("cannot be pinned here"), "{error}");
    }
}
