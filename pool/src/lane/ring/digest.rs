//! The digest of a payload. It detects stray writes of the producer's process, not forgeries.
//!
//! Users compile this file with the settings of their own profile, so it must be fast without optimization too, where
//! each small function of another crate is a call. So it is plain arithmetic on words, in eight accumulators that are
//! mixed at the end. Each word is multiplied to double width and folded: each of its bits changes many bits of its
//! accumulator, so two changes of a few bits each do not cancel out.

/// The golden ratio, and three numbers from the digits of pi: odd, with their bits well spread.
const KEYS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1];

/// A number for the second word of a pair. It is none of those with which the accumulators begin, so a pair that is
/// swapped is another one.
const PAIR: u64 = 0x082e_fa98_ec4e_6c89;

/// The folded multiplication of wyhash: <https://github.com/wangyi-fudan/wyhash>.
#[inline(always)]
#[expect(clippy::cast_lossless, reason = "`u128::from` is a call where nothing is optimized")]
pub(super) fn fold(a: u64, b: u64) -> u64 {
    // A product of two 64-bit factors cannot overflow; `wrapping` only avoids the check.
    let product = (a as u128).wrapping_mul(b as u128);
    product as u64 ^ (product >> 64) as u64
}

/// A digest of these bytes and of their number.
#[inline]
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks();
    let (blocks, words): (&[[[u8; 8]; 16]], _) = words.as_chunks();
    let (pairs, words): (&[[[u8; 8]; 2]], _) = words.as_chunks();
    // The last eight bytes, which may overlap the word before them.
    let last = bytes.last_chunk().copied().unwrap_or_else(|| short(tail));
    let mut sum = bytes.len() as u64;
    if !blocks.is_empty() {
        sum ^= wide(blocks);
    }
    for pair in pairs {
        sum = with_pair(sum, pair, KEYS[1]);
    }
    for word in words {
        sum = fold(sum ^ u64::from_le_bytes(*word), KEYS[1]);
    }
    fold(sum ^ u64::from_le_bytes(last), KEYS[2])
}

/// Adds two words, with one multiplication. Either has no effect if the other is exactly the number that makes a factor
/// zero, which no stray write hits.
#[inline(always)]
fn with_pair(sum: u64, pair: &[[u8; 8]; 2], key: u64) -> u64 {
    fold(sum ^ u64::from_le_bytes(pair[0]), key ^ u64::from_le_bytes(pair[1]))
}

#[cold]
fn short(tail: &[u8]) -> [u8; 8] {
    let mut word = [0; 8];
    word[..tail.len()].copy_from_slice(tail);
    word
}

/// The digest of whole blocks, which have two words for each accumulator. The loop counts by hand: without optimization
/// an iterator costs more than a block.
fn wide(blocks: &[[[u8; 8]; 16]]) -> u64 {
    let [mut a, mut b, mut c, mut d] = KEYS;
    let [mut e, mut f, mut g, mut h] = KEYS.map(|key| !key);
    let mut at = 0;
    while at < blocks.len() {
        let [a0, a1, b0, b1, c0, c1, d0, d1, e0, e1, f0, f1, g0, g1, h0, h1] = blocks[at];
        a = with_pair(a, &[a0, a1], PAIR);
        b = with_pair(b, &[b0, b1], PAIR);
        c = with_pair(c, &[c0, c1], PAIR);
        d = with_pair(d, &[d0, d1], PAIR);
        e = with_pair(e, &[e0, e1], PAIR);
        f = with_pair(f, &[f0, f1], PAIR);
        g = with_pair(g, &[g0, g1], PAIR);
        h = with_pair(h, &[h0, h1], PAIR);
        at += 1;
    }
    let halves = [fold(a ^ KEYS[1], b), fold(c ^ KEYS[2], d), fold(e ^ KEYS[3], f), fold(g ^ KEYS[0], h)];
    halves[0].wrapping_add(halves[1].rotate_left(17)) ^ halves[2].wrapping_add(halves[3].rotate_left(43))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn check(bytes: &[u8]) -> u32 {
        (digest(bytes) >> 40) as u32
    }

    #[test]
    fn every_bit_counts() {
        for len in [1, 7, 8, 9, 63, 64, 65, 71, 128, 200, 1000] {
            let mut bytes: Vec<u8> = (0..len).map(|x| (x * 31) as u8).collect();
            let mut seen = HashSet::from([check(&bytes)]);
            for bit in 0..8 * len {
                bytes[bit / 8] ^= 1 << (bit % 8);
                seen.insert(check(&bytes));
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            // Among 8,001 values of 24 bits, a few pairs may be equal by chance.
            assert!(seen.len() + 6 > 8 * len + 1, "{} of {} changes of {len} bytes", seen.len(), 8 * len);
        }
    }

    #[test]
    fn the_same_change_twice_does_not_cancel_out() {
        let bytes: Vec<u8> = (0..512).map(|x| (x * 7) as u8).collect();
        let whole = digest(&bytes);
        for change in [0x80_u8, 0xff, 1] {
            for first in 0..bytes.len() {
                for second in first + 1..bytes.len() {
                    let mut changed = bytes.clone();
                    changed[first] ^= change;
                    changed[second] ^= change;
                    assert_ne!(digest(&changed), whole, "{change:x} at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn order_and_length_count() {
        let bytes: Vec<u8> = (0..=255).collect();
        let whole = digest(&bytes);
        for word in 0..31 {
            for other in word + 1..32 {
                let mut swapped = bytes.clone();
                let (low, high) = swapped.split_at_mut(8 * other);
                low[8 * word..8 * word + 8].swap_with_slice(&mut high[..8]);
                assert_ne!(digest(&swapped), whole, "words {word} and {other}");
            }
        }
        let zeros: HashSet<u64> = (0..1000).map(|len| digest(&vec![0; len])).collect();
        assert_eq!(zeros.len(), 1000);
    }
}
