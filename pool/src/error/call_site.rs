//! Where a call was made, and what its caller calls it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use super::plain::OneLine;
use crate::text;

/// Where a call was made, and its label.
#[derive(Debug, Clone)]
pub(crate) struct CallSite {
    pub(crate) at: &'static Location<'static>,
    /// As it was given: of any length, and not empty.
    pub(crate) label: Option<Arc<str>>,
}

impl PartialEq for CallSite {
    fn eq(&self, other: &Self) -> bool {
        // Mostly both are the same line of the program.
        (std::ptr::eq(self.at, other.at) || self.at == other.at) && self.label == other.label
    }
}

impl CallSite {
    /// The label as it is shown.
    pub(crate) fn shown_label(&self) -> Option<String> {
        self.label.as_deref().map(|label| ShownLabel(label).to_string())
    }
}

/// The longest label that is shown whole, in characters.
const LONGEST_LABEL: usize = 80;

/// Shows a label: its beginning, in one line.
pub(crate) struct ShownLabel<'l>(pub(crate) &'l str);

impl fmt::Display for ShownLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cut_to(LONGEST_LABEL).fmt(f)
    }
}

impl ShownLabel<'_> {
    /// At most this many characters of it, and a sign if there are more.
    pub(crate) fn cut_to(&self, most: usize) -> String {
        text::beginning(format_args!("{}", OneLine(self.0)), most)
    }
}

/// Says where a call was made, after what is said about it: `; called as `label` at file:line:column`. Nothing, if
/// nothing is known.
pub(crate) struct Called<'c> {
    pub(crate) label: Option<&'c str>,
    pub(crate) at: Option<&'c str>,
}

impl fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, at } = *self;
        if label.or(at).is_some() {
            f.write_str("called")?;
        }
        if let Some(label) = label {
            write!(f, " as `{}`", ShownLabel(label))?;
        }
        at.map_or(Ok(()), |at| write!(f, " at {}", OneLine(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_shown_in_a_line() {
        for (label, shown) in [
            ("thumbnails of 2024", "thumbnails of 2024"),
            ("two\nlines\t\x1b[2J", "two\\u{a}lines\\u{9}\\u{1b}[2J"),
            ("\u{202e}back\u{2028}", "\\u{202e}back\\u{2028}"),
        ] {
            assert_eq!(ShownLabel(label).to_string(), shown);
            assert_eq!(
                Called { label: Some(label), at: Some("src/main.rs:7:5") }.to_string(),
                format!("called as `{shown}` at src/main.rs:7:5")
            );
        }
        let long = "語".repeat(1 << 20);
        assert_eq!(ShownLabel(&long).to_string(), format!("{}...", "語".repeat(80)));
        assert_eq!(ShownLabel(&"\x07".repeat(1 << 20)).to_string().len(), 83);
        assert_eq!(Called { label: None, at: Some("a.rs:1:2") }.to_string(), "called at a.rs:1:2");
        assert_eq!(Called { label: None, at: None }.to_string(), "");
    }

    #[test]
    fn calls_of_one_line_with_one_label_are_alike() {
        let labelled = |label: &str| CallSite { at: Location::caller(), label: Some(label.into()) };
        let none = || CallSite { at: Location::caller(), label: None };
        assert!(labelled("a") == labelled("a") && none() == none());
        assert!(labelled("a") != labelled("b") && none() != labelled("a"));
        assert!(none() != CallSite { at: Location::caller(), label: None });
    }
}
