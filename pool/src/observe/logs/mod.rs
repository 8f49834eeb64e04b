//! What workers log: `tracing` events and `log` records made there reach the parent's subscriber, with the worker's number
//! and the task's index.
//!
//! Each worker has a pipe for them that never makes it wait: a record goes in whole, or if there is no room is counted as
//! lost. So what was logged before a crash is told. The parent reads the pipes when it drives, and believes nothing in
//! them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::codec::{decode_record, encode_record};
use crate::sys::passed::Passed;
use crate::sys::pipe::{PIPE_BUF, Reader, pipe};

mod replay;
mod worker;

pub(crate) use replay::replay;
pub(crate) use worker::LogSender;

/// What a worker logs at most, as a number: 1 is errors, 5 everything.
pub(crate) type Verbosity = u8;

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// Whether this thread has one. (That some thread has one does not say so: workers may be threads, and they do.)
fn has_subscriber() -> bool {
    tracing::dispatcher::get_default(|dispatch| !dispatch.is::<tracing::subscriber::NoSubscriber>())
}

/// What somebody in this process may want to hear of.
fn verbosity() -> Verbosity {
    let subscriber = LevelFilter::current().into_level();
    let subscriber = subscriber.and_then(|level| LEVELS.iter().position(|known| *known == level));
    // A logger that is made of a subscriber takes all that comes, and its filter is the subscriber's.
    let logger = if has_subscriber() { 0 } else { log::max_level() as u8 };
    subscriber.map_or(0, |place| place as u8 + 1).max(logger)
}

/// A record on its way. Its texts are cut to fit the pipe.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The index of the task that ran, if one did.
    index: Option<u64>,
    /// A place in [`LEVELS`].
    level: u8,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    message: String,
    fields: Vec<(String, Value)>,
    /// The spans that it was made in, the outermost first, with their fields.
    spans: String,
    /// How many records were lost before. One that says nothing else is there to say that.
    lost: u32,
}

/// A field's value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Value {
    Bool(bool),
    I64(i64),
    U64(u64),
    F64(f64),
    Text(String),
}

/// The parent's end of a worker's log.
#[derive(Debug)]
pub(crate) struct Log {
    pipe: Reader,
    /// The start of a record whose end has not come yet.
    rest: Vec<u8>,
    broken: bool,
}

/// A log for a new worker, and what it may tell; none where nobody listens.
pub(crate) fn open() -> io::Result<(Option<Log>, Option<(Passed, Verbosity)>)> {
    let verbosity = verbosity();
    if verbosity == 0 {
        return Ok((None, None));
    }
    let (pipe, writer) = pipe()?;
    Ok((Some(Log { pipe, rest: Vec::new(), broken: false }), Some((writer, verbosity))))
}

/// What is read at once.
const MANY: usize = 256 << 10;
/// The length before a record.
const HEAD: usize = 2;

impl Log {
    pub(crate) fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Takes the records that have come. False when there may be more.
    pub(crate) fn take(&mut self, mut tell: impl FnMut(Record)) -> bool {
        let before = self.rest.len();
        self.pipe.read_into(&mut self.rest, MANY);
        let is_all = self.rest.len() - before < MANY;
        let mut bytes = &self.rest[..];
        while !self.broken
            && let Some((len, rest)) = bytes.split_first_chunk::<HEAD>()
        {
            let len = usize::from(u16::from_le_bytes(*len));
            // Something else was written there, and where the next record begins is not known.
            self.broken = HEAD + len > PIPE_BUF;
            let Some((record, rest)) = rest.split_at_checked(len) else { break };
            match decode_record(record) {
                Ok(record) if !self.broken => tell(record),
                _ => self.broken = true,
            }
            bytes = rest;
        }
        let left = if self.broken { 0 } else { bytes.len() };
        self.rest.drain(..self.rest.len() - left);
        is_all
    }
}

impl Record {
    /// As it goes into the pipe. What is too long is cut.
    fn encode(&mut self) -> Vec<u8> {
        for longest in [PIPE_BUF / 2, PIPE_BUF / 8, PIPE_BUF / 32] {
            let mut bytes = vec![0; HEAD];
            let encoded = encode_record(self, &mut bytes);
            debug_assert!(encoded.is_ok());
            if bytes.len() <= PIPE_BUF {
                let len = (bytes.len() - HEAD) as u16;
                bytes[..HEAD].copy_from_slice(&len.to_le_bytes());
                return bytes;
            }
            self.cut(longest);
        }
        Vec::new()
    }

    /// Cuts all texts to so many bytes, and the fields to so many that they all fit.
    fn cut(&mut self, longest: usize) {
        self.fields.truncate(PIPE_BUF / 2 / longest);
        let texts = self.fields.iter_mut().filter_map(|(_, value)| match value {
            Value::Text(text) => Some(text),
            _ => None,
        });
        for text in texts.chain([&mut self.message, &mut self.spans, &mut self.target]) {
            if text.len() > longest {
                text.truncate(text.floor_char_boundary(longest));
                text.push_str("...");
            }
        }
    }
}

/// For the fuzzer: the parent reads a log into which a worker has written this.
#[cfg(fuzzing)]
pub fn read_any(bytes: &[u8]) {
    use std::io::Write;

    let (pipe, writer) = pipe().expect("a pipe");
    let mut log = Log { pipe, rest: Vec::new(), broken: false };
    let bytes = &bytes[..bytes.len().min(PIPE_BUF)];
    std::fs::File::from(writer.into_owned()).write_all(bytes).expect("the pipe is empty");
    log.take(|record| replay(crate::ids::WorkerId(0), &record));
    assert!(log.rest.len() <= bytes.len());
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn log() -> (Log, File) {
        let (pipe, writer) = pipe().unwrap();
        (Log { pipe, rest: Vec::new(), broken: false }, writer.into_owned().into())
    }

    fn record(message: &str) -> Record {
        let fields = vec![("x".to_owned(), Value::I64(-1))];
        Record { index: Some(7), level: 2, message: message.to_owned(), fields, ..Record::default() }
    }

    #[test]
    fn records_come_whole_or_not_at_all() {
        let (mut log, mut writer) = log();
        let mut told = Vec::new();
        let bytes = [record("one").encode(), record("two").encode()].concat();
        writer.write_all(&bytes[..bytes.len() - 3]).unwrap();
        assert!(log.take(|record| told.push(record)));
        assert_eq!(told, [record("one")]);
        writer.write_all(&bytes[bytes.len() - 3..]).unwrap();
        assert!(log.take(|record| told.push(record)));
        assert_eq!(told, [record("one"), record("two")]);
    }

    #[test]
    fn nonsense_is_not_told() {
        let mut long = vec![0; HEAD];
        encode_record(&record(&"x".repeat(PIPE_BUF)), &mut long).unwrap();
        let len = (long.len() - HEAD) as u16;
        long[..HEAD].copy_from_slice(&len.to_le_bytes());
        for nonsense in [&[3, 0, 9, 9, 9][..], &[255; 9], &long] {
            let (mut log, mut writer) = log();
            writer.write_all(nonsense).unwrap();
            writer.write_all(&record("after").encode()).unwrap();
            log.take(|record| panic!("{record:?}"));
            assert!(log.rest.is_empty(), "nothing is kept of it");
        }
    }

    #[test]
    fn long_records_are_cut() {
        let mut long = record(&"ä".repeat(10_000));
        long.fields = (0..100).map(|x| (format!("field {x}"), Value::Text("y".repeat(1000)))).collect();
        let bytes = long.encode();
        assert!((PIPE_BUF / 8..=PIPE_BUF).contains(&bytes.len()), "{}", bytes.len());
        let cut: Record = decode_record(&bytes[HEAD..]).unwrap();
        assert!(cut.message.ends_with("ä...") && cut.index == Some(7), "{cut:?}");
    }
}
