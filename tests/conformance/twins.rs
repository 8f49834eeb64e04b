//! Functions with the same path or name: two versions of a library in one program, two libraries of one name, functions
//! inside functions, and names that their author gave twice.

use pool::{Error, StartMethod};

use crate::harness::cases;
use crate::support::{assert_usable, pool};

cases! {
    All: each_task_is_its_own, inner_functions, given_names, clash_costs_its_tasks_alone,
        a_registry_of_the_programs_own;
}

/// Another registry that the linker fills, with a name that is common in programs.
mod plugins {
    use pool::__private::linkme;

    #[linkme::distributed_slice]
    #[linkme(crate = linkme)]
    pub(super) static REGISTRY: [fn() -> u64];

    #[linkme::distributed_slice(REGISTRY)]
    #[linkme(crate = linkme)]
    static PLUGIN: fn() -> u64 = || 7;
}

fn a_registry_of_the_programs_own(method: StartMethod) -> Result<(), Error> {
    assert_usable(&pool(method)?);
    assert_eq!(plugins::REGISTRY.iter().map(|plugin| plugin()).collect::<Vec<_>>(), [7]);
    Ok(())
}

fn each_task_is_its_own(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let told = |own: &str| vec![format!("{own} was told something with the state of {own}"); 5];
    assert_eq!(twin_old::tell::par_map(&pool, ["something"; 5])?, told(twin_old::OWN));
    assert_eq!(twin_new::tell::par_map(&pool, ["something"; 5])?, told(twin_new::OWN));
    assert_eq!(twin_elsewhere::tell::par_map(&pool, ["something"; 5])?, told(twin_elsewhere::OWN));
    assert_ne!(twin_old::OWN, twin_new::OWN);
    assert_usable(&pool);
    let exits = pool.join()?;
    for (exits, own) in [
        (exits.exit_results::<twin_old::end>()?, twin_old::OWN),
        (exits.exit_results::<twin_new::end>()?, twin_new::OWN),
        (exits.exit_results::<twin_elsewhere::end>()?, twin_elsewhere::OWN),
    ] {
        assert!(!exits.is_empty() && exits.iter().all(|exit| exit == own), "{own}: {exits:?}");
    }
    Ok(())
}

fn inner_functions(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(twin_old::inner(&pool)?, [8, 15]);
    assert_eq!(twin_new::inner(&pool)?, [8, 15]);
    Ok(())
}

fn given_names(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(twin_old::which::apply(&pool, ())?, twin_old::OWN);
    assert_eq!(twin_new::which::apply(&pool, ())?, twin_new::OWN);
    assert_eq!(twin_elsewhere::which::apply(&pool, ())?, twin_elsewhere::OWN);
    Ok(())
}

fn clash_costs_its_tasks_alone(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for error in [
        twin_old::first::apply(&pool, 1).unwrap_err(),
        twin_old::second::par_map(&pool, [1, 2]).unwrap_err(),
        twin_new::second::apply_async(&pool, 1).get().unwrap_err(),
        twin_new::first::par_imap(&pool, [1]).next().unwrap().unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(matches!(error, Error::Registry(_)), "{error}");
        for part in ["`twin::first`", "`twin::second`", "`double`", "name = \"..\""] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert_usable(&pool);
    Ok(())
}
