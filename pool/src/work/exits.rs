//! Stores the results of exit functions until the program takes them.
//!
//! A pool may replace workers for as long as it lives, and the program may take their results only at the end, or
//! never. So results beyond a fixed amount of memory go to temporary files, where the system has such as no other user
//! can open.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use crate::ids::WorkerId;
use crate::sys::spill::TempFile;

/// At most this many bytes stay in memory: enough for small results of many workers, little beside the workers
/// themselves.
const MAX_IN_MEMORY: usize = 16 << 20;
/// A file that has reached this length takes no further results. Its space is freed once all its results were taken, so
/// shorter files free space sooner and longer ones need fewer descriptors.
const FULL_FILE_BYTES: u64 = 256 << 20;

/// The results of exit functions that the program has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    values: Vec<ExitValue>,
    in_memory: usize,
    /// The file that takes the next result, and its length.
    file: Option<(Arc<TempFile>, u64)>,
    /// A file could not be made or written, so all further results stay in memory.
    is_memory_only: bool,
}

/// The result of one run of an exit function.
#[derive(Debug, Clone)]
pub(crate) struct ExitValue {
    pub(crate) exit: u32,
    pub(crate) worker: WorkerId,
    bytes: Bytes,
}

#[derive(Debug, Clone)]
enum Bytes {
    InMemory(Arc<[u8]>),
    InFile { file: Arc<TempFile>, start: u64, len: usize },
}

impl Exits {
    pub(crate) fn push(&mut self, exit: u32, worker: WorkerId, value: &[u8]) {
        let bytes = self.write_to_file(value).unwrap_or_else(|| Bytes::InMemory(value.into()));
        self.add(ExitValue { exit, worker, bytes });
    }

    fn add(&mut self, value: ExitValue) {
        self.in_memory += value.in_memory();
        self.values.push(value);
    }

    /// Writes the value to a file if it goes beyond the limit for memory and files can be had.
    fn write_to_file(&mut self, value: &[u8]) -> Option<Bytes> {
        if self.is_memory_only || self.in_memory + value.len() <= MAX_IN_MEMORY {
            return None;
        }
        let (file, len) =
            match self.file.take().filter(|(file, len)| *len < FULL_FILE_BYTES && file.is_intact()) {
                Some(file) => file,
                None => match TempFile::create() {
                    Ok(file) => (Arc::new(file), 0),
                    Err(_) => {
                        self.is_memory_only = true;
                        return None;
                    }
                },
            };
        if file.write_at(value, len).is_err() {
            self.is_memory_only = true;
            return None;
        }
        self.file = Some((Arc::clone(&file), len + value.len() as u64));
        Some(Bytes::InFile { file, start: len, len: value.len() })
    }

    /// The values of this exit function, in the order in which they came.
    pub(crate) fn of(&self, exit: u32) -> Vec<ExitValue> {
        self.values.iter().filter(|value| value.exit == exit).cloned().collect()
    }

    /// Removes the values of this exit function and returns them.
    pub(crate) fn take(&mut self, exit: u32) -> Vec<ExitValue> {
        let taken: Vec<_> = self.values.extract_if(.., |value| value.exit == exit).collect();
        self.in_memory -= taken.iter().map(ExitValue::in_memory).sum::<usize>();
        if self.values.is_empty() {
            self.file = None;
        }
        taken
    }

    /// Puts values back, before those that were added since.
    pub(crate) fn put_back(&mut self, mut values: Vec<ExitValue>) {
        self.in_memory += values.iter().map(ExitValue::in_memory).sum::<usize>();
        values.append(&mut self.values);
        self.values = values;
    }

    pub(crate) fn into_values(self) -> Vec<ExitValue> {
        self.values
    }
}

impl ExitValue {
    /// The encoded result.
    pub(crate) fn bytes(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.bytes {
            Bytes::InMemory(bytes) => Ok(Cow::Borrowed(bytes)),
            Bytes::InFile { file, start, len } => file.read_at(*start, *len).map(Cow::Owned),
        }
    }

    fn in_memory(&self) -> usize {
        match &self.bytes {
            Bytes::InMemory(bytes) => bytes.len(),
            Bytes::InFile { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(number: usize, len: usize) -> Vec<u8> {
        vec![number as u8; len]
    }

    #[cfg(not(portable))]
    #[test]
    fn values_come_back_in_order_wherever_they_lie() {
        let mut exits = Exits::default();
        let len = MAX_IN_MEMORY / 3;
        for number in 0..8 {
            exits.push(number as u32 % 2, WorkerId(number), &value(number, len + number));
        }
        assert!(exits.in_memory <= MAX_IN_MEMORY, "{}", exits.in_memory);
        assert!(exits.values.iter().any(|value| matches!(value.bytes, Bytes::InFile { .. })));
        let numbers = |values: &[ExitValue]| {
            values.iter().for_each(|exit| {
                assert_eq!(*exit.bytes().unwrap(), value(exit.worker.0, len + exit.worker.0));
            });
            values.iter().map(|value| value.worker.0).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&exits.of(1)), [1, 3, 5, 7]);
        let taken = exits.take(1);
        assert_eq!((numbers(&taken), exits.of(1).len()), (vec![1, 3, 5, 7], 0));
        exits.push(1, WorkerId(9), &value(9, len + 9));
        exits.put_back(taken);
        assert_eq!(numbers(&exits.take(1)), [1, 3, 5, 7, 9]);
        assert_eq!(numbers(&exits.take(0)), [0, 2, 4, 6]);
        assert_eq!((exits.in_memory, exits.file.is_none()), (0, true));
    }

    #[test]
    fn where_there_are_no_files_all_stays_in_memory() {
        let mut exits = Exits { is_memory_only: true, ..Exits::default() };
        exits.push(0, WorkerId(0), &value(0, MAX_IN_MEMORY));
        exits.push(0, WorkerId(1), &value(1, MAX_IN_MEMORY));
        assert_eq!(exits.in_memory, 2 * MAX_IN_MEMORY);
    }
}
