//! The registry's entry for an annotated function, and the trait that leads from the function's type to its entry.

use std::any::{TypeId, type_name};
use std::sync::OnceLock;

use super::run::glue::{Glue, SharedAny};
use crate::codec::Codec;

/// Gives a function's entry in the registry. The attributes of tasks, inits and exits implement it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not made by an attribute of `pool`",
    label = "only `#[worker_task]`, `#[worker_init]` and `#[worker_exit]` implement this trait"
)]
pub trait Registered {
    /// Its entry; none for [`ByDefault`](super::ByDefault) and [`NoExit`](super::NoExit), which stand for no function.
    fn entry() -> Option<&'static Entry>;

    /// Its name in messages.
    #[must_use]
    fn name() -> &'static str {
        Self::entry().map_or_else(type_name::<Self>, Entry::name)
    }
}

/// The name of an instance of a generic function, as a call would write it: `crate::module::function::<f32>`.
#[derive(Debug, Default)]
pub struct InstanceName(OnceLock<String>);

impl InstanceName {
    /// Not looked up yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The name of this instance's type.
    #[must_use]
    pub fn of<F>(&'static self) -> &'static str {
        self.0.get_or_init(|| turbofish(type_name::<F>()))
    }
}

/// The path of a type with its arguments, as an expression would write it.
fn turbofish(path: &str) -> String {
    let mut depth = 0;
    let opening = path.rmatch_indices(['<', '>']).find(|(at, bracket)| {
        match *bracket {
            // The arrow of a function's type.
            ">" if path[..*at].ends_with('-') => {}
            ">" => depth += 1,
            _ => depth -= 1,
        }
        depth == 0
    });
    match opening {
        Some((at, _)) if path.ends_with('>') => format!("{}::{}", &path[..at], &path[at..]),
        _ => path.to_owned(),
    }
}

/// Decodes the shared value of one type.
pub type DecodeShared = fn(Codec, &[u8]) -> Result<SharedAny, String>;

/// The package that a function was compiled in. Empty if it was not compiled by cargo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Package {
    /// Its name.
    pub name: Option<&'static str>,
    /// Its version.
    pub version: Option<&'static str>,
}

/// One annotated function.
#[derive(Debug)]
pub struct Entry {
    name: fn() -> &'static str,
    path: fn() -> &'static str,
    package: Package,
    shared: fn() -> TypeId,
    decode_shared: Option<DecodeShared>,
    glue: Glue,
}

impl Entry {
    pub(super) const fn new<F: 'static, S: 'static>(
        package: Package,
        name: Option<fn() -> &'static str>,
        decode_shared: Option<DecodeShared>,
        glue: Glue,
    ) -> Self {
        let path = type_name::<F> as fn() -> &'static str;
        let name = match name {
            Some(name) => name,
            None => path,
        };
        Self { name, path, package, shared: TypeId::of::<S>, decode_shared, glue }
    }

    /// The function's path, as `crate::module::function`, or the name that it was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// Whether one package gives two functions the same name, which takes a `name = ".."`. Two functions of the same
    /// path do not clash: they belong to two packages, such as two versions of one, or the language tells them apart,
    /// like functions inside functions.
    pub(super) fn clashes_with(&self, other: &Self) -> bool {
        self.name() == other.name() && self.package == other.package && self.path() != other.path()
    }
    /// The function's path, as `crate::module::function`.
    pub(super) fn path(&self) -> &'static str {
        (self.path)()
    }

    pub(super) fn package(&self) -> Package {
        self.package
    }

    /// The type that its `#[shared]` borrows.
    pub(super) fn shared(&self) -> TypeId {
        (self.shared)()
    }

    pub(super) fn decode_shared(&self) -> Option<DecodeShared> {
        self.decode_shared
    }

    pub(crate) fn glue(&self) -> Glue {
        self.glue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_instance_is_what_a_call_writes() {
        for (path, name) in [
            ("app::norm<f32>", "app::norm::<f32>"),
            ("app::norm<alloc::vec::Vec<f32>>", "app::norm::<alloc::vec::Vec<f32>>"),
            ("app::<impl app::Shape>::area::norm<u8, 3>", "app::<impl app::Shape>::area::norm::<u8, 3>"),
            ("app::norm<fn(u8) -> app::X<u8>>", "app::norm::<fn(u8) -> app::X<u8>>"),
            ("app::plain", "app::plain"),
        ] {
            assert_eq!(turbofish(path), name);
        }
    }
}
