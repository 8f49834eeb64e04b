//! What is built for systems other than Linux names nothing but std and crates that are there too.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders that are built for Linux only.
const LINUX: [&str; 3] = ["sys/linux", "start/process", "shared/memory/system"];
/// The files in them that other systems get in place of the rest.
const ELSEWHERE: [&str; 2] = ["start/process/none.rs", "shared/memory/system/portable.rs"];
/// Crates and modules that only some systems have.
const NOT_PORTABLE: [&str; 5] = ["nix", "libc", "std::os", "os::fd", "os::unix"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Whether the code has this name as a whole.
fn names(code: &str, name: &str) -> bool {
    let ends_word = |c: char| !c.is_alphanumeric() && c != '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        before.chars().next_back().is_none_or(ends_word) && after.chars().next().is_none_or(ends_word)
    })
}

#[test]
fn other_systems_need_only_std() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut looked_at = 0;
    for path in files(&src) {
        let file = path.strip_prefix(&src).unwrap();
        let is_in = |places: &[&str]| places.iter().any(|place| file.starts_with(place));
        if path.extension().is_none_or(|extension| extension != "rs") || is_in(&LINUX) && !is_in(&ELSEWHERE) {
            continue;
        }
        let code = fs::read_to_string(&path).unwrap();
        let code = code.split("mod tests {").next().unwrap_or_default();
        for (number, line) in (1..).zip(code.lines()) {
            let line = line.split("//").next().unwrap_or_default();
            let found = NOT_PORTABLE.iter().find(|name| names(line, name));
            assert!(found.is_none(), "{}:{number} names `{}`", file.display(), found.unwrap_or(&""));
        }
        looked_at += 1;
    }
    assert!(looked_at > 150, "only {looked_at} files were found");
}
