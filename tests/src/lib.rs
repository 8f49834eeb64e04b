//! The shared parts of the test programs of `pool`: the harness that runs their cases, and the pools, events and checks
//! that many topics use. Its own test checks that the table of faults names existing cases.

pub mod harness;
pub mod support;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// `topic::{one,two}` as `topic::one` and `topic::two`.
    fn names(pattern: &str) -> Vec<String> {
        match pattern.split_once('{').and_then(|(begin, rest)| Some((begin, rest.split_once('}')?))) {
            Some((begin, (choices, end))) => {
                choices.split(',').flat_map(|choice| names(&format!("{begin}{choice}{end}"))).collect()
            }
            None => vec![pattern.to_owned()],
        }
    }

    /// Whether there is a function of this name, in which `*` matches any characters.
    fn has_case(source: &str, name: &str) -> bool {
        let function = |line: &str| {
            let (_, rest) =
                line.split_once("fn ").filter(|(begin, _)| matches!(*begin, "" | "pub(super) "))?;
            rest.split(['(', '<']).next().map(str::to_owned)
        };
        let (begin, end) = name.split_once('*').unwrap_or((name, ""));
        source.lines().filter_map(function).any(|function| match name.contains('*') {
            true => function.starts_with(begin) && function.ends_with(end),
            false => function == name,
        })
    }

    #[test]
    fn the_table_of_faults_names_what_is_there() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let table = fs::read_to_string(tests.join("faults/README.md")).unwrap();
        let rows = table.lines().filter(|line| line.starts_with('|'));
        // The texts between backticks.
        let patterns = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
        let mut looked_at = 0;
        for name in patterns.flat_map(names) {
            let (folder, path) = match name.strip_prefix("conformance::") {
                Some(path) => ("conformance", path),
                None => ("faults", &*name),
            };
            let Some((topic, case)) = path.split_once("::") else { continue };
            let file = tests.join(folder).join(topic).with_extension("rs");
            // Cells of the matrix are generated, and unit tests are in other packages.
            if topic == "matrix" || (folder == "faults" && !file.exists()) {
                continue;
            }
            let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("`{name}`: {error}"));
            assert!(has_case(&source, case), "there is no `{name}`");
            looked_at += 1;
        }
        assert!(looked_at > 100, "{looked_at} names");
    }
}
