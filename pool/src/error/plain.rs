//! Shows untrusted text: characters that would control a terminal are escaped.

use std::fmt::{self, Write};

/// Shows a text with its control characters escaped as in Rust literals: `\u{1b}`. Newlines and tabs stay.
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: AsRef<str>> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0.as_ref(), controls)
    }
}

/// Shows a text in one line, whatever is in it: the rest of it as [`Plain`] does. What XML does not allow is escaped,
/// too.
pub(crate) struct OneLine<T>(pub(crate) T);

impl<T: AsRef<str>> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = ['\n', '\t', '\u{2028}', '\u{2029}', '\u{fffe}', '\u{ffff}'];
        write_escaped(f, self.0.as_ref(), |c| controls(c) || others.contains(&c))
    }
}

fn write_escaped(
    f: &mut fmt::Formatter<'_>,
    text: &str,
    is_escaped: impl FnMut(char) -> bool,
) -> fmt::Result {
    let mut shown = 0;
    for (at, found) in text.match_indices(is_escaped) {
        f.write_str(&text[shown..at])?;
        found.chars().try_for_each(|control| write!(f, "{}", control.escape_unicode()))?;
        shown = at + found.len();
    }
    f.write_str(&text[shown..])
}

/// Whether the character makes a terminal do more than show it: control characters, and those that change the direction
/// of text, with which one line can be made to look like another.
fn controls(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => c.is_control(),
    }
}

/// Appends bytes that a worker has printed: text as [`Plain`] shows it, invalid UTF-8 as `\xff`.
pub(crate) fn push_plain(out: &mut Vec<u8>, bytes: &[u8]) {
    // Most output is plain ASCII, which is copied in one go.
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) {
        return out.extend_from_slice(bytes);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        let written = write!(text, "{}", Plain(chunk.valid()));
        debug_assert!(written.is_ok());
        let written = chunk.invalid().iter().try_for_each(|byte| write!(text, "\\x{byte:02x}"));
        debug_assert!(written.is_ok());
    }
    out.extend_from_slice(text.as_bytes());
}

/// A text that is shown with all lines but the first indented by this many spaces.
pub(super) struct Indented<'t>(pub(super) &'t str, pub(super) usize);

impl fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text, spaces) = *self;
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let spaces = if number > 0 && !line.is_empty() { spaces } else { 0 };
            write!(f, "{:spaces$}{line}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        for (text, shown) in [
            ("", ""),
            ("two\n\tlines, ä and 😀", "two\n\tlines, ä and 😀"),
            ("\x1b[2J\x1b]0;title\x07", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("50%\rdone\x08\x7f", "50%\\u{d}done\\u{8}\\u{7f}"),
            ("\u{9b}31m and \u{202e}back", "\\u{9b}31m and \\u{202e}back"),
        ] {
            assert_eq!(Plain(text).to_string(), shown);
            let shown_in_line = shown.replace('\n', "\\u{a}").replace('\t', "\\u{9}");
            assert_eq!(OneLine(text).to_string(), shown_in_line);
            let mut bytes = b"> ".to_vec();
            push_plain(&mut bytes, text.as_bytes());
            assert_eq!(bytes, [b"> ", shown.as_bytes()].concat());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        let mut shown = Vec::new();
        // An eight-bit terminal would take 0x9b for an escape sequence.
        push_plain(&mut shown, b"a\xff\x9b2J\xe2\x82b\n");
        assert_eq!(shown, b"a\\xff\\x9b2J\\xe2\\x82b\n");
    }
}
