//! A large reply, received in parts. The worker announces its length, sends the parts, then sends its kind.
//!
//! The parent trusts none of it. All parts but the last have at least a fixed length, and together they must have the
//! announced length. Memory is taken only for bytes that have arrived. A worker that announces more than the machine
//! could ever hold is corrupt, because it cannot have made such a value. A value that does not fit into memory now is
//! discarded as it arrives: its task fails, and the worker lives.

use crate::lane::{Corrupt, LEAST_PART, PART_BYTES};
use crate::shared::memory::available;

/// Up to this length, a reply is received without asking the system how much memory is left. Asking reads several
/// files, which is little only beside a large reply.
const SMALL_BYTES: u64 = 64 << 20;

/// The parts of a reply received so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The length of the whole reply, once it is announced.
    announced: Option<u64>,
    received: u64,
    bytes: Vec<u8>,
    /// Why its bytes are discarded, if they are.
    refused: Option<String>,
}

impl Parts {
    /// Records the length that the worker announces.
    pub(super) fn announce(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        let bytes = u64::from_le_bytes(record.try_into().map_err(|_| Corrupt)?);
        let is_large = usize::try_from(bytes).is_ok_and(|bytes| bytes > LEAST_PART);
        if self.announced.is_some() || !is_large {
            return Err(Corrupt);
        }
        if bytes > SMALL_BYTES {
            if available::whole().is_some_and(|whole| bytes > whole) {
                return Err(Corrupt);
            }
            self.refused = available::memory(bytes).err();
        }
        self.announced = Some(bytes);
        Ok(())
    }

    /// Checks and counts the next part, which has this length.
    fn count(&mut self, len: usize) -> Result<(), Corrupt> {
        let left = self.announced.ok_or(Corrupt)?.saturating_sub(self.received);
        let is_last = len as u64 == left && left > 0;
        if len as u64 > left || !is_last && !(LEAST_PART..=PART_BYTES).contains(&len) {
            return Err(Corrupt);
        }
        self.received += len as u64;
        Ok(())
    }

    /// Notes that the next part, which has this length, was lost because there was no memory for it.
    pub(super) fn discard(&mut self, len: usize) -> Result<(), Corrupt> {
        self.count(len)?;
        self.refuse();
        Ok(())
    }

    /// Adds the next part.
    pub(super) fn add(&mut self, part: &[u8]) -> Result<(), Corrupt> {
        self.count(part.len())?;
        if self.refused.is_none() && self.bytes.try_reserve(part.len()).is_err() {
            self.refuse();
        }
        if self.refused.is_none() {
            self.bytes.extend_from_slice(part);
        }
        Ok(())
    }

    fn refuse(&mut self) {
        self.bytes = Vec::new();
        self.refused = Some("the system gives no more memory".into());
    }

    /// Ends the reply. Returns its bytes, or why they were discarded.
    pub(super) fn finish(&mut self) -> Result<Result<Vec<u8>, String>, Corrupt> {
        let Self { announced, received, bytes, refused } = std::mem::take(self);
        let announced = announced.filter(|announced| *announced == received).ok_or(Corrupt)?;
        let error = |why| format!("there is no memory for a result of {announced} bytes: {why}");
        Ok(refused.map_or(Ok(bytes), |why| Err(error(why))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(bytes: u64) -> Result<Parts, Corrupt> {
        let mut parts = Parts::default();
        parts.announce(&bytes.to_le_bytes()).map(|()| parts)
    }

    #[test]
    fn parts_add_up_to_the_announced_reply() {
        let reply: Vec<u8> = (0..PART_BYTES * 2 + 9).map(|x| x as u8).collect();
        let mut parts = announced(reply.len() as u64).unwrap();
        for part in reply.chunks(PART_BYTES) {
            assert_eq!(parts.received, parts.bytes.len() as u64);
            parts.add(part).unwrap();
        }
        assert_eq!(parts.finish(), Ok(Ok(reply)));
        // The next one starts from the beginning.
        assert_eq!(parts.finish(), Err(Corrupt));
        assert_eq!(parts.add(&[1]), Err(Corrupt));
    }

    #[test]
    fn wrong_lengths_are_corrupt() {
        for bytes in [0, 1, LEAST_PART as u64, 1 << 60, u64::MAX] {
            assert!(announced(bytes).is_err(), "{bytes}");
        }
        assert_eq!(Parts::default().announce(&[1; 7]), Err(Corrupt));
        let (part, rest) = (vec![1; PART_BYTES], [1; 10]);
        for parts in [
            &[&part[..LEAST_PART - 1]][..],
            &[&rest],
            &[&[]],
            &[&part, &rest[1..]],
            &[&part, &part],
            &[&part, &rest, &rest],
        ] {
            let mut parts_so_far = announced(PART_BYTES as u64 + 10).unwrap();
            assert_eq!(
                parts_so_far.announce(&(PART_BYTES as u64 + 10).to_le_bytes()),
                Err(Corrupt),
                "the length is announced once"
            );
            assert_eq!(parts.iter().try_for_each(|part| parts_so_far.add(part)), Err(Corrupt));
        }
        let mut short = announced(PART_BYTES as u64 + 10).unwrap();
        short.add(&part).unwrap();
        assert_eq!(short.finish(), Err(Corrupt));
    }

    #[test]
    fn a_reply_that_does_not_fit_is_discarded() {
        let mut parts = announced(2 * PART_BYTES as u64 + 10).unwrap();
        parts.add(&vec![1; PART_BYTES]).unwrap();
        assert_eq!(parts.discard(PART_BYTES + 1), Err(Corrupt), "it is checked all the same");
        parts.discard(PART_BYTES).unwrap();
        parts.add(&[1; 10]).unwrap();
        assert!(parts.bytes.is_empty());
        let why = parts.finish().unwrap().unwrap_err();
        assert!(why.contains("no memory for a result of"), "{why}");
    }
}
