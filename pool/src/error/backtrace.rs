//! Backtraces of user code, without the frames around it.

use std::fmt::Write;

/// The frames at which a backtrace ends: in a worker, and in a thread that user code has started.
const ENDS: [&str; 2] = ["pool::task::run::", "__rust_begin_short_backtrace"];

/// The crates between a worker and user code.
const GLUE: [&str; 5] = ["pool", "bincode", "postcard", "rmp_serde", "serde_core"];

/// The crates through which user code panics.
const LIBRARY: [&str; 3] = ["std", "core", "alloc"];

/// The part of std's backtrace from where user code panicked to where it was called, renumbered. The whole backtrace if
/// no user code is found in it, as in a program without symbols.
pub(crate) fn of_user_code(backtrace: &str) -> String {
    let frames = frames(backtrace);
    let first = frames.iter().position(|frame| !frame.is_library() && !frame.is_of_this_crate());
    let inner = &frames[first.unwrap_or(frames.len())..];
    let inner = &inner[..inner.iter().position(Frame::ends).unwrap_or(inner.len())];
    let is_glue = |frame: &Frame| frame.is_library() || frame.is_glue();
    let last = inner.iter().rposition(|frame| !is_glue(frame)).map_or(0, |last| last + 1);
    if last == 0 {
        return backtrace.to_owned();
    }
    let mut text = String::with_capacity(backtrace.len());
    for (number, Frame { name, place }) in inner[..last].iter().enumerate() {
        let written = writeln!(text, "{number:4}: {name}");
        debug_assert!(written.is_ok());
        place.iter().for_each(|place| text.extend([*place, "\n"]));
    }
    text
}

/// A function in a backtrace, and the line with its location.
#[derive(Debug)]
struct Frame<'t> {
    name: &'t str,
    place: Option<&'t str>,
}

fn frames(backtrace: &str) -> Vec<Frame<'_>> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    for line in backtrace.lines() {
        match line.trim_start().split_once(": ") {
            Some((number, name)) if number.parse::<u32>().is_ok() => frames.push(Frame { name, place: None }),
            _ => frames.last_mut().into_iter().for_each(|frame| frame.place = Some(line)),
        }
    }
    frames
}

impl Frame<'_> {
    /// The crate with which the function's name begins; for a method of a trait, the crate of the type.
    fn root(&self) -> &str {
        let path = self.name.trim_start_matches(['<', '&', '(']).trim_start_matches("mut ");
        path.split("::").next().unwrap_or(path)
    }

    /// Whether the function belongs to std, or to the C library below it.
    fn is_library(&self) -> bool {
        let at = |part| self.place.is_some_and(|place| place.contains(part));
        let in_sources = at("/library/") && (at("/rustc/") || at("/rustlib/src/"));
        // A name without a path comes from the C library, or is one of the few that rustc generates.
        let is_c = !self.name.contains("::") && (at("/csu/") || at("/nptl/") || self.place.is_none());
        let root = self.root();
        // `<usize as core::..>`: the type has no path.
        in_sources || is_c || LIBRARY.contains(&root) || root == "__rustc" || root.ends_with(" as core")
    }

    fn is_of_this_crate(&self) -> bool {
        self.root() == "pool"
    }

    /// Whether the function belongs to this crate or a codec, or implements one of this crate's traits.
    fn is_glue(&self) -> bool {
        GLUE.contains(&self.root())
            || [" as pool::", "<impl pool::"].iter().any(|part| self.name.contains(part))
    }

    fn ends(&self) -> bool {
        ENDS.iter().any(|end| self.name.contains(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These frames as std shows them, each a name and a file.
    fn shown(frames: &[(&str, &str)]) -> String {
        let frame = |(number, (name, file)): (usize, &(&str, &str))| {
            let place = if file.is_empty() { String::new() } else { format!("             at {file}:7:5\n") };
            format!("{number:4}: {name}\n{place}")
        };
        frames.iter().enumerate().map(frame).collect()
    }

    const STD: &str = "/rustc/59807616e1/library/std/src/panicking.rs";
    const PANIC: [(&str, &str); 7] = [
        ("pool::task::run::panics::note", "./pool/src/task/run/panics.rs"),
        ("<alloc::boxed::Box<dyn Fn()> as core::ops::function::Fn<()>>::call", STD),
        ("std::panicking::panic_with_hook", STD),
        ("__rustc::rust_begin_unwind", STD),
        ("core::panicking::panic_fmt", ""),
        ("<usize as core::slice::index::SliceIndex<[T]>>::index", ""),
        ("<alloc::vec::Vec<T> as core::ops::index::Index<I>>::index", STD),
    ];
    const WORKER: [(&str, &str); 5] = [
        ("pool::task::run::run_task", "./pool/src/task/run/mod.rs"),
        ("std::panicking::catch_unwind::do_call", STD),
        ("pool::task::run::panics::catch", ""),
        ("main", ""),
        ("_start", ""),
    ];

    #[track_caller]
    fn assert_left(around: &[&[(&str, &str)]], left: &[(&str, &str)]) {
        assert_eq!(of_user_code(&shown(&around.concat())), shown(left));
    }

    #[test]
    fn a_tasks_backtrace_is_the_users_functions() {
        let user = [
            ("app::parse::column", "./src/parse.rs"),
            ("core::iter::traits::iterator::Iterator::map", STD),
            ("<app::Table as core::ops::index::Index<usize>>::index", "./src/table.rs"),
            ("callback_of_a_c_library", "./c/sort.c"),
            ("app::convert", "./src/main.rs"),
        ];
        for glue in [
            "<app::convert as pool::task::Task>::call",
            "app::_::<impl pool::task::Task for app::convert>::call",
        ] {
            assert_left(&[&PANIC, &user, &[(glue, "./src/main.rs")], &WORKER], &user);
        }
    }

    #[test]
    fn the_codec_of_an_argument_is_left_out() {
        let user =
            [("<app::_::<impl serde_core::de::Deserialize for app::Row>::deserialize", "./src/main.rs")];
        let codec = [
            ("<&mut bincode::Decoder<R> as serde_core::de::Deserializer>::deserialize_u8", ""),
            ("pool::codec::Codec::decode", ""),
        ];
        assert_left(&[&PANIC, &user, &codec, &WORKER], &user);
    }

    #[test]
    fn a_thread_of_the_users_ends_where_it_began() {
        let user = [("app::convert::{{closure}}", "./src/main.rs")];
        let thread = [
            ("std::sys::backtrace::__rust_begin_short_backtrace", STD),
            ("app::name_that_std_calls", "./src/main.rs"),
            ("start_thread", "./nptl/pthread_create.c"),
        ];
        assert_left(&[&PANIC, &user, &thread], &user);
    }

    #[test]
    fn a_backtrace_without_names_stays_whole() {
        let unknown = [("<unknown>", ""), ("<unknown>", "")];
        assert_left(&[&unknown], &unknown);
        assert_left(&[&PANIC, &WORKER], &[&PANIC[..], &WORKER].concat());
    }
}
