//! The rule of directions: a file imports from its own folder and from modules further down the list in `lib.rs`, never
//! up.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The modules that code names by `crate::`. Tests, comments, and the paths of exported macros are left out.
fn imports(code: &str) -> impl Iterator<Item = &str> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.flat_map(|line| line.split("crate::").skip(1).zip(line.split("crate::"))).filter_map(
        |(after, before)| {
            let names_crate = !before.ends_with(['$', '_']) && !before.ends_with(char::is_alphanumeric);
            names_crate
                .then(|| after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        },
    )
}

#[test]
fn imports_only_go_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
    let modules = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    // What expansions name, and the guide, may name anything.
    let order: Vec<&str> = modules.filter(|module| !["__private", "guide"].contains(module)).collect();
    let rank = |module: &str| order.iter().position(|known| *known == module);
    assert!(order.len() > 10 && rank("sys") > rank("drive"), "{order:?}");
    let mut seen = 0;
    for path in files(&src).iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
    {
        let file = path.strip_prefix(&src).unwrap();
        let module = file.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let Some(own) = rank(module) else { continue };
        for import in imports(&fs::read_to_string(path).unwrap()) {
            let Some(imported) = rank(import) else { continue };
            assert!(
                imported >= own,
                "{} imports from `{import}`, which is further up in lib.rs",
                file.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 300, "only {seen} imports were found");
}
