//! Errors that the user's functions return. They cross to the parent as text.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::text::{self, LONGEST_MESSAGE};

/// How many sources of an error are reported, and how long each may be, so that they fit into a record beside the error
/// itself. The number is limited because a chain may be circular.
const MOST_SOURCES: usize = 16;
const LONGEST_SOURCE: usize = LONGEST_MESSAGE / MOST_SOURCES;

/// An error that a function returned, with its [sources](std::error::Error::source). It displays as, and derefs to, one
/// text: `cannot load the model: No such file or directory (os error 2)`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Chain", into = "Chain")]
pub struct ReturnedError {
    /// Its message and those of its sources.
    text: String,
    first: Link,
}

/// One error of the chain.
#[derive(Clone, PartialEq, Eq)]
struct Link {
    says: String,
    source: Option<Box<Self>>,
}

/// How it is stored.
#[derive(Serialize, Deserialize)]
struct Chain {
    message: String,
    #[serde(default)]
    sources: Vec<String>,
}

impl From<ReturnedError> for Chain {
    fn from(error: ReturnedError) -> Self {
        let mut texts = error.into_chain();
        let sources = texts.split_off(1);
        Self { message: texts.remove(0), sources }
    }
}

impl From<Chain> for ReturnedError {
    fn from(Chain { message, sources }: Chain) -> Self {
        Self::new(message, sources)
    }
}

impl ReturnedError {
    /// The error's own message, without those of its sources.
    ///
    /// ```
    /// use std::fs;
    ///
    /// use anyhow::Context;
    /// use pool::{TaskErrorKind, WorkerPool, worker_task};
    ///
    /// #[worker_task(fallible)]
    /// fn load(path: &str) -> anyhow::Result<String> {
    ///     fs::read_to_string(path).context("cannot load the model")
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(1)?;
    ///     let error = load::apply(&pool, "/no/such/file").unwrap_err();
    ///     let TaskErrorKind::Failed(returned) = error.task().unwrap().kind() else { panic!("{error}") };
    ///     assert_eq!(returned.message(), "cannot load the model");
    ///     assert!(returned.sources().next().unwrap().starts_with("No such file"));
    ///     assert!(returned.to_string().starts_with("cannot load the model: No such file"));
    ///     Ok(())
    /// }
    /// ```
    pub fn message(&self) -> &str {
        &self.first.says
    }

    /// The message of each of its sources, beginning with that of the error's own.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let links = std::iter::successors(self.first.source.as_deref(), |link| link.source.as_deref());
        links.map(|link| &*link.says)
    }

    #[doc(hidden)]
    #[must_use]
    pub fn new(says: String, sources: Vec<String>) -> Self {
        let mut text = says.clone();
        let mut source = None;
        let sources: Vec<String> = sources.into_iter().take(MOST_SOURCES).collect();
        for source in &sources {
            // Many errors already include the message of their source.
            if !text.ends_with(source.as_str()) {
                text.extend([": ", source]);
            }
        }
        for says in sources.into_iter().rev() {
            source = Some(Box::new(Link { says, source }));
        }
        Self { text, first: Link { says, source } }
    }

    /// The texts that cross to the parent: the error's message, and that of each source.
    pub(crate) fn into_texts(self) -> Vec<String> {
        let most = std::iter::once(LONGEST_MESSAGE).chain(std::iter::repeat(LONGEST_SOURCE));
        self.into_chain().into_iter().zip(most).map(|(text, most)| text::cut_to(text, most)).collect()
    }

    /// The error's message, and that of each source.
    fn into_chain(self) -> Vec<String> {
        let Link { says, source: mut next } = self.first;
        let mut texts = vec![says];
        while let Some(link) = next {
            texts.push(link.says);
            next = link.source;
        }
        texts
    }

    pub(crate) fn from_texts(texts: Vec<String>) -> Self {
        let mut texts = texts.into_iter();
        Self::new(texts.next().unwrap_or_default(), texts.take(MOST_SOURCES).collect())
    }

    /// The first error of the chain.
    pub(super) fn first(&self) -> &(dyn StdError + 'static) {
        &self.first
    }
}

impl From<String> for ReturnedError {
    fn from(says: String) -> Self {
        Self::new(says, Vec::new())
    }
}

/// The failure of a function that can't fail.
impl From<Infallible> for ReturnedError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<&str> for ReturnedError {
    fn from(says: &str) -> Self {
        says.to_owned().into()
    }
}

impl Deref for ReturnedError {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for ReturnedError {
    fn as_ref(&self) -> &str {
        self
    }
}

impl PartialEq<str> for ReturnedError {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl fmt::Display for ReturnedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Debug for ReturnedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl StdError for ReturnedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.first.source()
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.says.fmt(f)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.says.fmt(f)
    }
}

impl StdError for Link {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Wraps an error so that [`sources!`](crate::sources) can ask its type for the sources.
#[derive(Debug)]
pub struct Asked<'e, E>(pub &'e E);

/// An error type, which knows its source.
pub trait OwnSources {
    /// The message of each source.
    fn sources(&self) -> Vec<String>;
}
impl<E: StdError> OwnSources for &&Asked<'_, E> {
    fn sources(&self) -> Vec<String> {
        sources_of(self.0.source())
    }
}

/// A type that derefs to an error: `Box<dyn Error>`, `anyhow::Error`.
pub trait SourcesOfTarget {
    /// The message of each source.
    fn sources(&self) -> Vec<String>;
}
impl<E: Deref<Target: StdError>> SourcesOfTarget for &Asked<'_, E> {
    fn sources(&self) -> Vec<String> {
        sources_of(self.0.deref().source())
    }
}

/// Any other type: it has no sources.
pub trait NoSources {
    /// None.
    fn sources(&self) -> Vec<String>;
}
impl<E> NoSources for Asked<'_, E> {
    fn sources(&self) -> Vec<String> {
        Vec::new()
    }
}

fn sources_of(first: Option<&(dyn StdError + 'static)>) -> Vec<String> {
    std::iter::successors(first, |&error| error.source()).take(MOST_SOURCES).map(text::displayed).collect()
}

/// The messages of the sources of an error of any type.
#[doc(hidden)]
#[macro_export]
macro_rules! sources {
    ($error:expr) => {{
        use $crate::__private::{NoSources as _, OwnSources as _, SourcesOfTarget as _};
        // The compiler tries the impl on the most references first, and falls back to the next if the type does not
        // fit.
        (&&&$crate::__private::Asked($error)).sources()
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Layer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    fn layers() -> Layer {
        Layer("no model", Some(Box::new(Layer("no file", Some(Box::new(Layer("no disk", None)))))))
    }

    /// Derefs to an error without being one, like type-erased errors.
    struct Erased(Box<dyn StdError + Send + Sync>);

    impl Deref for Erased {
        type Target = dyn StdError + Send + Sync;
        fn deref(&self) -> &Self::Target {
            &*self.0
        }
    }

    #[test]
    #[expect(unused_imports, reason = "which of the three traits is used depends on the type")]
    fn each_type_gives_the_sources_that_it_knows() {
        let all = ["no file", "no disk"];
        assert_eq!(sources!(&layers()), all);
        assert_eq!(sources!(&Box::new(layers())), all);
        assert_eq!(sources!(&(Box::new(layers()) as Box<dyn StdError>)), all);
        assert_eq!(sources!(&(Box::new(layers()) as Box<dyn StdError + Send + Sync>)), all);
        assert_eq!(sources!(&std::sync::Arc::new(layers())), all);
        assert_eq!(sources!(&Erased(Box::new(layers()))), all);
        assert_eq!(sources!(&"text"), [""; 0]);
        assert_eq!(sources!(&String::from("text")), [""; 0]);
        assert_eq!(sources!(&7), [""; 0]);
    }

    #[test]
    fn the_chain_comes_back_as_it_went() {
        let error = ReturnedError::new("no model".into(), sources_of(layers().source()));
        let back = ReturnedError::from_texts(error.clone().into_texts());
        assert_eq!(back, error);
        assert_eq!(
            (back.to_string(), &*back),
            ("no model: no file: no disk".into(), "no model: no file: no disk")
        );
        let says: Vec<_> = std::iter::successors(Some(back.first()), |&error| error.source()).collect();
        assert_eq!(
            says.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["no model", "no file", "no disk"]
        );
        let twice = ReturnedError::new("bad: no file".into(), vec!["no file".into()]);
        assert_eq!(
            (twice.to_string(), twice.source().map(ToString::to_string)),
            ("bad: no file".into(), Some("no file".into()))
        );
    }

    #[test]
    fn a_chain_from_a_worker_is_bounded() {
        let texts = vec!["again".to_owned(); 1_000_000];
        assert_eq!(ReturnedError::from_texts(texts).into_texts().len(), 1 + MOST_SOURCES);
        let nothing = ReturnedError::from_texts(Vec::new());
        assert_eq!((nothing.to_string(), nothing.source().is_none()), (String::new(), true));
    }
}
