//! How values lie side by side: in a run, and in the copy that a consumer makes of it.

use super::WORD;

/// Values of up to this length are written and digested word by word, their padding included; in longer ones, that
/// would take longer than a copy and a wide digest.
pub(super) const SHORT_BYTES: usize = 64;

/// How much space a value takes: at least a word, so that empty values can be counted.
#[inline]
pub(crate) fn padded(len: usize) -> usize {
    len.max(1).next_multiple_of(WORD as usize)
}

/// The slots of values, one for each: all of one length, in whole words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slots {
    /// The values have this length; the rest of a slot is padding.
    Alike(usize),
    /// The slots have this length, which is short. The last byte of each is the length of its value, which may be any
    /// that leaves this byte free; between them is padding.
    Varied(u8),
}

impl Slots {
    /// The mark of slots that vary, in their word.
    const VARIED: u64 = 1 << 32;

    /// Those for values of up to this length, if that is short.
    pub(super) fn varied(longest: usize) -> Option<Self> {
        let stride = padded(longest + 1);
        (stride <= SHORT_BYTES).then_some(Self::Varied(stride as u8))
    }

    /// The word that describes them in a ring.
    pub(super) fn to_word(self) -> u64 {
        match self {
            Self::Alike(len) => len as u64,
            Self::Varied(stride) => u64::from(stride) | Self::VARIED,
        }
    }

    /// Those of such a word, if a producer writes it whose ring is this long.
    pub(super) fn from_word(word: u64, ring: u32) -> Option<Self> {
        match u32::try_from(word) {
            Ok(len) => (len <= ring).then_some(Self::Alike(len as usize)),
            Err(_) => {
                let stride = usize::try_from(word ^ Self::VARIED).ok()?;
                Self::varied(stride.checked_sub(1)?).filter(|slots| slots.to_word() == word)
            }
        }
    }

    /// The length of a slot.
    #[inline]
    pub(crate) fn stride(self) -> usize {
        match self {
            Self::Alike(len) => padded(len),
            Self::Varied(stride) => stride.into(),
        }
    }

    /// How many bytes each value counts as.
    #[inline]
    pub(crate) fn bytes_each(self) -> usize {
        match self {
            Self::Alike(len) => len,
            Self::Varied(stride) => stride.into(),
        }
    }

    /// Whether a value of this length has a place in one of them.
    #[inline]
    pub(super) fn take(self, len: usize) -> bool {
        match self {
            Self::Alike(alike) => alike == len,
            Self::Varied(stride) => len < stride.into(),
        }
    }

    /// Whether each of these slots, one after the other, holds a value.
    #[inline]
    pub(super) fn are_sound(self, slots: &[u8]) -> bool {
        match self {
            Self::Alike(_) => true,
            Self::Varied(stride) => {
                slots.chunks_exact(stride.into()).all(|slot| slot.last().is_some_and(|len| *len < stride))
            }
        }
    }

    /// The value in a slot.
    #[inline]
    pub(crate) fn value(self, slot: &[u8]) -> &[u8] {
        let len = match self {
            Self::Alike(len) => len,
            Self::Varied(_) => slot.last().map_or(0, |len| usize::from(*len)),
        };
        &slot[..len.min(slot.len())]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_went() {
        let varied = (0..SHORT_BYTES).filter_map(Slots::varied);
        for slots in [0, 1, 8, 64, 4096].map(Slots::Alike).into_iter().chain(varied) {
            assert_eq!(Slots::from_word(slots.to_word(), 4096), Some(slots));
        }
        let stride = |stride: u64| stride | Slots::VARIED;
        for word in [4097, u64::MAX, stride(0), stride(1), stride(9), stride(72), stride(264), stride(8) << 1]
        {
            assert_eq!(Slots::from_word(word, 4096), None, "{word:#x}");
        }
    }

    #[test]
    fn no_length_leads_out_of_a_slot() {
        let slots = Slots::Varied(16);
        for last in 0..=u8::MAX {
            let slot: Vec<u8> = (0..15).chain([last]).collect();
            assert_eq!(slots.are_sound(&[[0; 16].as_slice(), &slot].concat()), last < 16);
            assert_eq!(slots.value(&slot), &slot[..usize::from(last).min(16)]);
        }
        assert_eq!(Slots::Alike(9).value(&[1; 8]), [1; 8]);
    }
}
