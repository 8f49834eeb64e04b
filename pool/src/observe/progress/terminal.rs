//! What the terminal can show, according to the environment.

use std::env;

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terminal {
    /// It can overwrite a line.
    pub(super) can_redraw: bool,
    /// It can show more than ASCII.
    pub(super) is_utf8: bool,
}

impl Terminal {
    pub(super) fn of_environment() -> Self {
        Self::of(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        // For POSIX an empty variable is not set.
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let can_redraw = variable("TERM").is_some_and(|term| !matches!(&*term, "dumb" | "unknown"));
        // The order of setlocale(3). If none is set, the locale is "C".
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self { can_redraw, is_utf8: locale.contains("utf-8") || locale.contains("utf8") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_a_terminal_can_show() {
        for (variables, can_redraw, is_utf8) in [
            (&[("TERM", "xterm"), ("LANG", "de_DE.UTF-8")] as &[(&str, &str)], true, true),
            (&[("TERM", "screen"), ("LC_CTYPE", "C.utf8"), ("LANG", "C")], true, true),
            (&[("TERM", "dumb"), ("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")], false, false),
            (&[("TERM", ""), ("LC_ALL", ""), ("LANG", "C.UTF-8")], false, true),
            (&[("TERM", "linux"), ("LC_ALL", "POSIX"), ("LC_CTYPE", "C.UTF-8")], true, false),
            (&[("TERM", "vt100"), ("LANG", "de_DE.ISO-8859-1")], true, false),
            (&[("TERM", "unknown")], false, false),
            (&[], false, false),
        ] {
            let variable = |name: &str| {
                let set = variables.iter().find(|(variable, _)| *variable == name);
                set.map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Terminal::of(variable), Terminal { can_redraw, is_utf8 }, "{variables:?}");
        }
    }
}
