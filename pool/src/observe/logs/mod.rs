//! What workers log: their `tracing` events and `log` records reach the parent's subscriber, with the worker's number
//! and the task's index.
//!
//! Each worker writes them into a pipe and never waits for it: a record goes in whole, or is counted as lost if there
//! is no room. Whatever a worker logged before a crash is in the pipe by then. The parent reads the pipes while it
//! drives, and trusts nothing in them.

use std::io;

use serde::{Deserialize, Serialize};
use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::codec::{decode_record, encode_record};
use crate::sys::pipe::{PIPE_BUF, Reader, Writer, pipe};
use crate::sys::poll::Source;

mod replay;
mod worker;

pub(crate) use replay::replay;
pub(crate) use worker::LogSender;

/// How much a worker logs: 1 for errors only, up to 5 for everything.
pub(crate) type Verbosity = u8;

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// Whether this thread has a subscriber. That some thread of the process has one is not enough: worker threads have
/// their own.
fn has_subscriber() -> bool {
    tracing::dispatcher::get_default(|dispatch| !dispatch.is::<tracing::subscriber::NoSubscriber>())
}

/// The most that a subscriber or logger of this process takes; 0 where there is none.
fn verbosity() -> Verbosity {
    let subscriber = LevelFilter::current().into_level();
    let subscriber = subscriber.and_then(|level| LEVELS.iter().position(|known| *known == level));
    // A logger that forwards to the subscriber takes everything: the subscriber is what filters.
    let logger = if has_subscriber() { 0 } else { log::max_level() as u8 };
    subscriber.map_or(0, |place| place as u8 + 1).max(logger)
}

/// A record on its way to the parent. Its texts are cut so that it fits into the pipe at once.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The index of the task that logged it, if one was running.
    index: Option<u64>,
    /// An index into [`LEVELS`].
    level: u8,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    message: String,
    fields: Vec<(String, Value)>,
    /// The spans around it with their fields, the outermost first.
    spans: String,
    /// How many records before this one were lost. A record that is otherwise empty only reports that.
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
    /// The beginning of a record whose end has not arrived.
    rest: Vec<u8>,
    /// Something other than a record arrived: nothing after it is read.
    is_broken: bool,
}

/// Opens the log of a new worker: the parent's end, the worker's, and how much to log. None where nobody listens.
pub(crate) fn open() -> io::Result<(Option<Log>, Option<(Writer, Verbosity)>)> {
    let verbosity = verbosity();
    if verbosity == 0 {
        return Ok((None, None));
    }
    let (pipe, writer) = pipe()?;
    Ok((Some(Log { pipe, rest: Vec::new(), is_broken: false }), Some((writer, verbosity))))
}

/// The most bytes that one call reads, so that a worker that logs without end cannot keep the parent busy.
const READ_BYTES: usize = 256 << 10;
/// The size of a record's length, which stands before it.
const LEN_BYTES: usize = 2;

impl Log {
    pub(crate) fn pipe(&self) -> Source<'_> {
        self.pipe.source()
    }

    /// Passes the records that have arrived to `sink`. Returns false if there may be more.
    pub(crate) fn take(&mut self, mut sink: impl FnMut(Record)) -> bool {
        let before = self.rest.len();
        self.pipe.read_into(&mut self.rest, READ_BYTES);
        let is_all = self.rest.len() - before < READ_BYTES;
        let mut bytes = &self.rest[..];
        while !self.is_broken
            && let Some((len, rest)) = bytes.split_first_chunk::<LEN_BYTES>()
        {
            let len = usize::from(u16::from_le_bytes(*len));
            // No record is this long: something else was written, and where the next record begins is unknown.
            self.is_broken = LEN_BYTES + len > PIPE_BUF;
            let Some((record, rest)) = rest.split_at_checked(len) else { break };
            match decode_record(record) {
                Ok(record) if !self.is_broken => sink(record),
                _ => self.is_broken = true,
            }
            bytes = rest;
        }
        let left = if self.is_broken { 0 } else { bytes.len() };
        self.rest.drain(..self.rest.len() - left);
        is_all
    }
}

impl Record {
    /// Encodes it for the pipe, cut as far as it must be. Empty if even that is too long.
    fn encode(&mut self) -> Vec<u8> {
        for longest in [PIPE_BUF / 2, PIPE_BUF / 8, PIPE_BUF / 32] {
            let mut bytes = vec![0; LEN_BYTES];
            let encoded = encode_record(self, &mut bytes);
            debug_assert!(encoded.is_ok());
            if bytes.len() <= PIPE_BUF {
                let len = (bytes.len() - LEN_BYTES) as u16;
                bytes[..LEN_BYTES].copy_from_slice(&len.to_le_bytes());
                return bytes;
            }
            self.cut(longest);
        }
        Vec::new()
    }

    /// Cuts all texts to `longest` bytes, and drops fields until the others fit.
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

/// For the fuzzer: reads a log into which a worker wrote `bytes`.
#[cfg(fuzzing)]
pub fn read_any(bytes: &[u8]) {
    let (pipe, writer) = pipe().expect("a pipe");
    let mut log = Log { pipe, rest: Vec::new(), is_broken: false };
    let bytes = &bytes[..bytes.len().min(PIPE_BUF)];
    let outlet = crate::sys::pipe::Outlet::open(writer).expect("a descriptor");
    assert!(outlet.write(bytes), "the pipe is empty");
    log.take(|record| replay(crate::ids::WorkerId(0), &record));
    assert!(log.rest.len() <= bytes.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pipe::Outlet;

    fn log() -> (Log, Outlet) {
        let (pipe, writer) = pipe().unwrap();
        (Log { pipe, rest: Vec::new(), is_broken: false }, Outlet::open(writer).unwrap())
    }

    fn record(message: &str) -> Record {
        let fields = vec![("x".to_owned(), Value::I64(-1))];
        Record { index: Some(7), level: 2, message: message.to_owned(), fields, ..Record::default() }
    }

    #[test]
    fn records_come_whole_or_not_at_all() {
        let (mut log, writer) = log();
        let mut taken = Vec::new();
        let bytes = [record("one").encode(), record("two").encode()].concat();
        assert!(writer.write(&bytes[..bytes.len() - 3]));
        assert!(log.take(|record| taken.push(record)));
        assert_eq!(taken, [record("one")]);
        assert!(writer.write(&bytes[bytes.len() - 3..]));
        assert!(log.take(|record| taken.push(record)));
        assert_eq!(taken, [record("one"), record("two")]);
    }

    #[test]
    fn nonsense_is_dropped() {
        let mut long = vec![0; LEN_BYTES];
        encode_record(&record(&"x".repeat(PIPE_BUF)), &mut long).unwrap();
        let len = (long.len() - LEN_BYTES) as u16;
        long[..LEN_BYTES].copy_from_slice(&len.to_le_bytes());
        for nonsense in [&[3, 0, 9, 9, 9][..], &[255; 9], &long] {
            let (mut log, writer) = log();
            assert!(nonsense.chunks(PIPE_BUF).all(|piece| writer.write(piece)));
            assert!(writer.write(&record("after").encode()));
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
        let cut: Record = decode_record(&bytes[LEN_BYTES..]).unwrap();
        assert!(cut.message.ends_with("ä...") && cut.index == Some(7), "{cut:?}");
    }
}
