//! The registry: every task, init and exit function of the program, sorted by name. Orders name a function by its index
//! here. The fingerprint proves that both sides of a lane run the same program, so they mean the same function.
//!
//! A name need not be unique. A program may contain two versions of a library, each with a task of the same path, and
//! its author can change neither. Functions of the same name stay in the linker's order. The fingerprint covers that
//! order, so the index is still unambiguous.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use super::entry::{DecodeShared, Entry, Package};
use super::run::{self, glue::Glue};
use super::shares::Shares;
use super::{Task, WorkerExit, WorkerInit};
use crate::codec::type_key;
use crate::error::Error;

#[linkme::distributed_slice]
/// Filled by the linker, one entry for each annotated function of the program. The static's name is global to the
/// program, in which other versions of this crate may have a registry too; hence the version in the name.
pub static POOL_REGISTRY_0_1: [Entry];

const _: () = {
    let [major, minor] = [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR")];
    assert!(
        matches!((major.as_bytes(), minor.as_bytes()), (b"0", b"1")),
        "the registry's name has the version"
    );
};

impl Entry {
    /// The entry of a task; `name` as given with `name = ".."`.
    #[must_use]
    pub const fn task<T: Task>(
        package: Package,
        name: Option<fn() -> &'static str>,
        decode: Option<DecodeShared>,
    ) -> Self {
        Self::new::<T, T::Shared>(package, name, decode, Glue::Task(run::task_glue::<T>()))
    }

    /// The entry of an init function.
    #[must_use]
    pub const fn init<I: WorkerInit>(
        package: Package,
        name: Option<fn() -> &'static str>,
        decode: Option<DecodeShared>,
    ) -> Self {
        Self::new::<I, I::Shared>(package, name, decode, Glue::Init(run::init_glue::<I>()))
    }

    /// The entry of an exit function.
    #[must_use]
    pub const fn exit<E: WorkerExit>(
        package: Package,
        name: Option<fn() -> &'static str>,
        decode: Option<DecodeShared>,
    ) -> Self {
        Self::new::<E, E::Shared>(package, name, decode, Glue::Exit(run::exit_glue::<E>()))
    }
}

/// The program's functions, sorted by name.
#[derive(Debug)]
pub(crate) struct Registry {
    sorted: Vec<&'static Entry>,
    /// Functions that share a name that error messages and timelines could not resolve, each with the other one.
    clashes: Vec<(&'static Entry, &'static Entry)>,
    fingerprint: u64,
}

impl Registry {
    /// The registry of this program.
    pub(crate) fn get() -> &'static Self {
        static SORTED: OnceLock<Registry> = OnceLock::new();
        SORTED.get_or_init(|| Self::sort(&POOL_REGISTRY_0_1))
    }

    fn sort(entries: &'static [Entry]) -> Self {
        let mut sorted: Vec<&'static Entry> = entries.iter().collect();
        // Stable: functions of the same name stay in the linker's order.
        sorted.sort_by_key(|entry| entry.name());
        // The addresses of the entries tell one build from another. They are taken relative to this function, since the
        // program may be loaded anywhere.
        let base = Self::sort as fn(&'static [Entry]) -> Self as usize;
        let mut hasher = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        for entry in &sorted {
            entry.name().hash(&mut hasher);
            entry.package().hash(&mut hasher);
            (std::ptr::from_ref(*entry) as usize).wrapping_sub(base).hash(&mut hasher);
        }
        let clash_in = |namesakes: &[&'static Entry], one: &'static Entry| {
            let other = namesakes.iter().find(|other| one.clashes_with(other))?;
            Some((one, *other))
        };
        let clashes = sorted
            .chunk_by(|one, other| one.name() == other.name())
            .flat_map(|namesakes| namesakes.iter().filter_map(|one| clash_in(namesakes, one)))
            .collect();
        Self { sorted, clashes, fingerprint: hasher.finish() }
    }

    /// Two processes understand each other only if their fingerprints are equal.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(crate) fn entry(&self, index: u32) -> Option<&'static Entry> {
        self.sorted.get(usize::try_from(index).ok()?).copied()
    }

    /// The index of the function to call; an error if its name is ambiguous.
    pub(crate) fn index_of(&self, entry: &'static Entry) -> Result<u32, Error> {
        if let Some((one, other)) = self.clashes.iter().find(|(one, _)| std::ptr::eq(*one, entry)) {
            let (name, one, other) = (one.name(), one.path(), other.path());
            return Err(Error::Registry(format!(
                "`{one}` and `{other}` are both registered as `{name}`: give one of them another name with \
                 `name = \"..\"` in its attribute"
            )));
        }
        self.sorted
            .iter()
            .position(|known| std::ptr::eq(*known, entry))
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| not_registered(entry.name()))
    }

    /// How this program decodes the shared type with this key; none if no function borrows it, nor a field of it.
    pub(crate) fn decoder_of(&self, shared: u64) -> Option<DecodeShared> {
        let borrowed = self.sorted.iter().find(|entry| type_key(entry.shared()) == shared);
        let decode = borrowed.and_then(|entry| entry.decode_shared());
        decode.or_else(|| Shares::decoder(|whole| type_key(whole) == shared))
    }
}

/// The error for a function that the linker has left out, or whose attribute reported an error.
pub(crate) fn not_registered(name: &str) -> Error {
    Error::Registry(format!("`{name}` is not registered in this program"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{ByDefault, NoExit};

    const fn package(version: &'static str) -> Package {
        Package { name: Some("library"), version: Some(version) }
    }

    const NAME: Option<fn() -> &'static str> = Some(|| "name");

    /// The index that each of these functions gets, or its error.
    fn indices(entries: &'static [Entry]) -> Vec<Result<u32, String>> {
        let registry = Registry::sort(entries);
        entries.iter().map(|entry| registry.index_of(entry).map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn functions_of_one_path_stay_in_the_linkers_order() {
        static ENTRIES: [Entry; 4] = [
            Entry::exit::<NoExit>(package("0.2.0"), None, None),
            Entry::exit::<NoExit>(package("0.1.0"), None, None),
            Entry::init::<ByDefault>(package("0.1.0"), None, None),
            // The same version from another source, or a second function of the same path in the package.
            Entry::exit::<NoExit>(package("0.1.0"), None, None),
        ];
        assert_eq!(indices(&ENTRIES), [Ok(1), Ok(2), Ok(0), Ok(3)]);
    }

    #[test]
    fn a_given_name_is_unique_in_its_package() {
        static ENTRIES: [Entry; 5] = [
            Entry::exit::<NoExit>(package("0.1.0"), NAME, None),
            Entry::exit::<NoExit>(package("0.2.0"), NAME, None),
            Entry::init::<ByDefault>(package("0.1.0"), None, None),
            Entry::init::<ByDefault>(package("0.1.0"), NAME, None),
            Entry::init::<ByDefault>(package("0.3.0"), NAME, None),
        ];
        let indices = indices(&ENTRIES);
        for clash in [&indices[0], &indices[3]] {
            let error = clash.as_ref().unwrap_err();
            for part in ["`name`", "::NoExit`", "::ByDefault`", "name = \"..\""] {
                assert!(error.contains(part), "{error}");
            }
        }
        assert_eq!((&indices[1], &indices[2], &indices[4]), (&Ok(1), &Ok(4), &Ok(3)));
    }
}
