//! Texts made from users' values, in bounded memory: nothing here keeps much more of a text than its reader gets.
//!
//! A [`Message`] keeps the beginning and the end, which are what matters in a failed `assert_eq!` of two long vectors.
//! A value that is [`shown`] is cut at its end, and formatting stops there.

use std::fmt::{self, Write};

/// The longest message of a panic, an error or a backtrace, in bytes. Two of them and a location fit into one record.
pub(crate) const LONGEST_MESSAGE: usize = 256 << 10;

/// How many bytes to leave out before formatting stops, because a `Display` implementation may never end.
const MOST_LEFT_OUT: usize = 64 << 20;

/// Enough bytes for the note in place of the middle.
const NOTE: usize = 64;

/// A message, cut in the middle if it is too long.
pub(crate) fn cut(text: String) -> String {
    cut_to(text, LONGEST_MESSAGE)
}

/// Like [`cut`], but to at most `most` bytes.
pub(crate) fn cut_to(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let mut cut = Message::new(most);
    cut.left_out = text.len();
    let half = cut.half();
    cut.text.push_str(&text[..text.floor_char_boundary(half)]);
    cut.gap = cut.text.len();
    cut.text.push_str(&text[text.ceil_char_boundary(text.len() - half)..]);
    cut.left_out -= cut.text.len();
    cut.finish()
}

/// A value's `Display`, cut in the middle if it is too long.
#[must_use]
pub fn displayed(value: impl fmt::Display) -> String {
    let mut message = Message::new(LONGEST_MESSAGE);
    // An error comes from the value, or means that enough was left out. The text before it counts.
    let _ = write!(message, "{value}");
    message.finish()
}

/// A growing text that keeps its beginning and its end.
#[derive(Debug)]
struct Message {
    most: usize,
    /// Up to twice as long as `most`.
    text: String,
    /// How many bytes were left out, and where in `text`.
    left_out: usize,
    gap: usize,
}

impl Message {
    fn new(most: usize) -> Self {
        Self { most: most.max(2 * NOTE), text: String::new(), left_out: 0, gap: 0 }
    }

    /// How many bytes stay on each side of the gap.
    fn half(&self) -> usize {
        (self.most - NOTE) / 2
    }

    fn leave_out_the_middle(&mut self) {
        let half = self.half();
        self.gap = self.text.floor_char_boundary(half);
        let end = self.text.ceil_char_boundary(self.text.len() - half);
        self.left_out += end - self.gap;
        self.text.drain(self.gap..end);
    }

    fn finish(mut self) -> String {
        if self.text.len() > self.most || (self.left_out > 0 && self.text.len() > 2 * self.half()) {
            self.leave_out_the_middle();
        }
        if self.left_out > 0 {
            let least = if self.left_out > MOST_LEFT_OUT { "at least " } else { "" };
            let note = format!(" [... {least}{} bytes left out ...] ", self.left_out);
            self.text.insert_str(self.gap, &note);
        }
        self.text
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(self.most));
            self.text.push_str(piece);
            rest = after;
            if self.text.len() > 2 * self.most {
                self.leave_out_the_middle();
            }
        }
        if self.left_out > MOST_LEFT_OUT { Err(fmt::Error) } else { Ok(()) }
    }
}

/// How many characters of a value are shown: a line or two.
pub(crate) const LONGEST_SHOWN: usize = 200;

/// Marks a text that was cut.
pub(crate) const AND_SO_ON: &str = "...";

/// A value's `Debug`, cut to [`LONGEST_SHOWN`] characters.
pub(crate) fn shown(value: &(impl fmt::Debug + ?Sized)) -> String {
    beginning(format_args!("{value:?}"), LONGEST_SHOWN)
}

/// At most `most` characters of a text, and a sign if there are more. Formatting stops there.
pub(crate) fn beginning(text: fmt::Arguments<'_>, most: usize) -> String {
    let mut beginning = Beginning { text: String::new(), left: most };
    if beginning.write_fmt(text).is_err() {
        beginning.text.push_str(AND_SO_ON);
    }
    beginning.text
}

/// A text's first characters. Writing more is an error.
struct Beginning {
    text: String,
    left: usize,
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.left) {
            None => {
                self.left -= text.chars().count();
                self.text.push_str(text);
                Ok(())
            }
            Some((cut, _)) => {
                self.left = 0;
                self.text.push_str(&text[..cut]);
                Err(fmt::Error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Writes a piece of text again and again, and counts how often.
    struct Repeats<'p>(&'p str, usize, Cell<usize>);

    impl fmt::Display for Repeats<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..self.1).try_for_each(|_| {
                self.2.set(self.2.get() + 1);
                f.write_str(self.0)
            })
        }
    }

    impl fmt::Debug for Repeats<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    }

    #[test]
    fn long_messages_lose_their_middle() {
        for most in [200, 201, 1000] {
            for len in [0, 1, most / 2, most - 1, most, most + 1, 2 * most, 9 * most + 1] {
                for completion in ["x", "ä", "語"] {
                    let body = completion.repeat(len / completion.len());
                    let text = format!("<{body}>");
                    let mut grown = Message::new(most);
                    for part in [&text[..1], &text[1..]] {
                        grown.write_str(part).unwrap();
                    }
                    let mut by_letters = Message::new(most);
                    text.chars().try_for_each(|completion| by_letters.write_char(completion)).unwrap();
                    for cut in [cut_to(text.clone(), most), grown.finish(), by_letters.finish()] {
                        if text.len() <= most {
                            assert_eq!(cut, text);
                            continue;
                        }
                        assert!(cut.len() <= most && cut.len() + 80 > most, "{} of {most}", cut.len());
                        assert!(cut.starts_with('<') && cut.ends_with('>'));
                        let (head, rest) = cut.split_once(" [... ").unwrap();
                        let (note, tail) = rest.split_once(" ...] ").unwrap();
                        let left_out: usize = note.strip_suffix(" bytes left out").unwrap().parse().unwrap();
                        assert_eq!(head.len() + left_out + tail.len(), text.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_message_without_end_is_cut() {
        let endless = Repeats("what an error says ", usize::MAX, Cell::default());
        let text = displayed(&endless);
        assert!(text.len() <= LONGEST_MESSAGE && text.contains("at least"), "{} bytes", text.len());
        assert!(text.starts_with("what an") && text.ends_with("says "));
    }

    #[test]
    fn a_shown_value_ends_at_the_limit() {
        assert_eq!(shown(&"short"), "\"short\"");
        assert_eq!(beginning(format_args!("{}{}", "äöü", "x"), 4), "äöüx");
        assert_eq!(beginning(format_args!("{}{}", "äöü", "xy"), 4), "äöüx...");
        let endless = Repeats("语言", usize::MAX, Cell::default());
        assert_eq!(shown(&endless), format!("{}...", "语言".repeat(LONGEST_SHOWN / 2)));
        assert!(endless.2.get() <= LONGEST_SHOWN / 2 + 1, "formatted {} times", endless.2.get());
        let exactly = Repeats("x", LONGEST_SHOWN, Cell::default());
        assert_eq!(shown(&exactly), "x".repeat(LONGEST_SHOWN));
    }
}
