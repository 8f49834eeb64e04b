//! A large reply on its way. The worker announces how long it will be, sends it part by part, then says what it was.
//!
//! Nothing is taken on trust: no part is short but the last, all of them together are what was announced,
//! and memory is taken as bytes really come. So no worker makes the parent hold more than it has announced, and that is
//! no more than there is: what the machine could never hold, no worker can have made, and what does not fit now is
//! thrown away as it comes. Then the task has failed, and its worker lives.

use crate::lane::{Corrupt, LEAST_PART, PART_BYTES};
use crate::shared::memory::available;

/// For less than this nobody asks the system whether there is room.
const SMALL_BYTES: u64 = 64 << 20;

/// The parts of a reply that have come so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// How long all of it is, once that is announced.
    announced: Option<u64>,
    come: u64,
    bytes: Vec<u8>,
    /// Why its bytes are not kept.
    refused: Option<String>,
}

impl Parts {
    /// The worker says how long its reply will be.
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

    /// The next part.
    pub(super) fn add(&mut self, part: &[u8]) -> Result<(), Corrupt> {
        let left = self.announced.ok_or(Corrupt)?.saturating_sub(self.come);
        let is_last = part.len() as u64 == left && left > 0;
        if part.len() as u64 > left || !is_last && !(LEAST_PART..=PART_BYTES).contains(&part.len()) {
            return Err(Corrupt);
        }
        self.come += part.len() as u64;
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

    /// All of it is here: the reply, or why its bytes were not kept.
    pub(super) fn finish(&mut self) -> Result<Result<Vec<u8>, String>, Corrupt> {
        let Self { announced, come, bytes, refused } = std::mem::take(self);
        let announced = announced.filter(|announced| *announced == come).ok_or(Corrupt)?;
        let told = |why| format!("there is no memory for a result of {announced} bytes: {why}");
        Ok(refused.map_or(Ok(bytes), |why| Err(told(why))))
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
    fn what_was_announced_comes() {
        let reply: Vec<u8> = (0..PART_BYTES * 2 + 9).map(|x| x as u8).collect();
        let mut parts = announced(reply.len() as u64).unwrap();
        for part in reply.chunks(PART_BYTES) {
            assert_eq!(parts.come, parts.bytes.len() as u64);
            parts.add(part).unwrap();
        }
        assert_eq!(parts.finish(), Ok(Ok(reply)));
        // The next one begins anew.
        assert_eq!(parts.finish(), Err(Corrupt));
        assert_eq!(parts.add(&[1]), Err(Corrupt));
    }

    #[test]
    fn no_other_lengths_are_believed() {
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
            let mut told = announced(PART_BYTES as u64 + 10).unwrap();
            assert_eq!(
                told.announce(&(PART_BYTES as u64 + 10).to_le_bytes()),
                Err(Corrupt),
                "it is said once"
            );
            assert_eq!(parts.iter().try_for_each(|part| told.add(part)), Err(Corrupt));
        }
        let mut short = announced(PART_BYTES as u64 + 10).unwrap();
        short.add(&part).unwrap();
        assert_eq!(short.finish(), Err(Corrupt));
    }

    #[test]
    fn what_does_not_fit_is_thrown_away() {
        let mut parts = announced(PART_BYTES as u64 + 10).unwrap();
        parts.add(&vec![1; PART_BYTES]).unwrap();
        parts.refuse();
        parts.add(&[1; 10]).unwrap();
        assert!(parts.bytes.is_empty());
        let why = parts.finish().unwrap().unwrap_err();
        assert!(why.contains("no memory for a result of"), "{why}");
    }
}
