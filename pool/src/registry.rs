//! The registry: every task, init and exit function of the program, sorted by name. Orders name a function by
//! its index here; both sides of a lane run the same program, which the fingerprint proves.

use std::any::{Any, TypeId, type_name};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crate::codec::Codec;
use crate::error::Error;
use crate::task::{Task, WorkerExit, WorkerInit};
use crate::worker::glue::{ExitGlue, InitGlue, TaskGlue};

/// A shared value as workers hold it.
pub type SharedValue = Arc<dyn Any + Send + Sync>;

/// Decodes the shared value of one type.
pub type DecodeShared = fn(Codec, &[u8]) -> Result<SharedValue, String>;

#[linkme::distributed_slice]
/// Filled by the linker, one entry for each annotated function of the program.
pub static REGISTRY: [Entry];

/// One annotated function.
#[derive(Debug)]
pub struct Entry {
    name: fn() -> &'static str,
    shared: fn() -> TypeId,
    decode_shared: Option<DecodeShared>,
    pub(crate) glue: Glue,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Glue {
    Task(TaskGlue),
    Init(InitGlue),
    Exit(ExitGlue),
}

impl Entry {
    /// The entry of a task; `name` as given with `name = ".."`.
    #[must_use]
    pub const fn task<T: Task>(name: Option<fn() -> &'static str>, decode: Option<DecodeShared>) -> Self {
        Self::new::<T, T::Shared>(name, decode, Glue::Task(TaskGlue::of::<T>()))
    }

    /// The entry of an init function.
    #[must_use]
    pub const fn init<I: WorkerInit>(
        name: Option<fn() -> &'static str>,
        decode: Option<DecodeShared>,
    ) -> Self {
        Self::new::<I, I::Shared>(name, decode, Glue::Init(InitGlue::of::<I>()))
    }

    /// The entry of an exit function.
    #[must_use]
    pub const fn exit<E: WorkerExit>(
        name: Option<fn() -> &'static str>,
        decode: Option<DecodeShared>,
    ) -> Self {
        Self::new::<E, E::Shared>(name, decode, Glue::Exit(ExitGlue::of::<E>()))
    }

    const fn new<F: 'static, S: 'static>(
        name: Option<fn() -> &'static str>,
        decode_shared: Option<DecodeShared>,
        glue: Glue,
    ) -> Self {
        let name = match name {
            Some(name) => name,
            None => type_name::<F> as fn() -> &'static str,
        };
        Self { name, shared: TypeId::of::<S>, decode_shared, glue }
    }

    /// The function's path, as `crate::module::function`, or the name that it was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        (self.name)()
    }
}

/// The program's functions, sorted by name.
#[derive(Debug)]
pub(crate) struct Registry {
    sorted: Vec<&'static Entry>,
    fingerprint: u64,
}

impl Registry {
    /// The registry of this program; an error if two functions have one name.
    pub(crate) fn get() -> Result<&'static Self, Error> {
        static SORTED: OnceLock<Result<Registry, Error>> = OnceLock::new();
        SORTED.get_or_init(|| Self::sort(&REGISTRY)).as_ref().map_err(Clone::clone)
    }

    fn sort(entries: &'static [Entry]) -> Result<Self, Error> {
        let mut sorted: Vec<&'static Entry> = entries.iter().collect();
        sorted.sort_by_key(|entry| entry.name());
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
            return Err(Error::Registry(format!(
                "two functions are registered as `{}`: give one of them another name with \
                 `#[worker_task(name = \"..\")]`",
                pair[0].name()
            )));
        }
        // Where the code lies, relative to this very function, tells one build from another; where the program
        // was loaded does not count.
        let base = Self::sort as fn(&'static [Entry]) -> Result<Self, Error> as usize;
        let mut hasher = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        for entry in &sorted {
            entry.name().hash(&mut hasher);
            (std::ptr::from_ref(*entry) as usize).wrapping_sub(base).hash(&mut hasher);
        }
        Ok(Self { sorted, fingerprint: hasher.finish() })
    }

    /// What two processes must have in common to understand each other.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(crate) fn entry(&self, index: u32) -> Option<&'static Entry> {
        self.sorted.get(usize::try_from(index).ok()?).copied()
    }

    pub(crate) fn index_of(&self, entry: &'static Entry) -> Result<u32, Error> {
        self.sorted
            .iter()
            .position(|known| std::ptr::eq(*known, entry))
            .and_then(|index| u32::try_from(index).ok())
            .ok_or_else(|| Error::Registry(format!("`{}` is not registered in this program", entry.name())))
    }

    /// How this program decodes the shared type with this key; none if no function borrows it.
    pub(crate) fn decoder_of(&self, shared: u64) -> Option<DecodeShared> {
        self.sorted.iter().find(|entry| type_key((entry.shared)()) == shared)?.decode_shared
    }
}

/// A type, as a number that is the same in every process of one build.
pub(crate) fn type_key(id: TypeId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
