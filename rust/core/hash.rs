// SPDX-License-Identifier: GPL-2.0

//! Hashes of pages, by which software finds what has changed, and a test for zero pages.
//!
//! Every hash is a sum of products: words of the page, each with a key added, are multiplied in
//! pairs to 128 bits and added up. Two pages that were made without knowledge of the keys have the
//! same sum with a probability of about 2^-64. The same 64 keys serve each 512 bytes of a page; a
//! second layer with keys of its own combines the eight sums, and the last step folds 128 bits to
//! 64 and mixes them. Products do not depend on each other, so a page is read as fast as plain
//! integer arithmetic allows.
//!
//! The keys come from a seed that guests do not know, drawn for each tracking session: who does
//! not know it cannot look for pages that collide.

use super::stream::PAGE;

/// Bytes of a page.
pub const PAGE_BYTES: usize = PAGE as usize;

/// Words of one block, which the first layer's keys cover.
const BLOCK: usize = 64;

/// Blocks of a page.
const BLOCKS: usize = PAGE_BYTES / (8 * BLOCK);

/// Keys of the second layer, and of the last step.
const UPPER: usize = 2 * BLOCKS;
const LAST: usize = 2;

/// Products that are added up apart from each other, so that no addition waits for another.
const LANES: usize = 4;

/// Bytes of a cache line, and how many lines of the next page are touched ahead: enough to tell a
/// CPU that a new stream begins.
const LINE: usize = 64;
const AHEAD: usize = 4;

/// The keys of a page hash.
#[derive(Clone, Debug)]
pub struct PageHash {
    keys: [u64; BLOCK],
    upper: [u64; UPPER],
    last: [u64; LAST],
}

/// The product of two words, in full.
const fn product(a: u64, b: u64) -> u128 {
    // CAST: to a wider type.
    (a as u128).wrapping_mul(b as u128)
}

/// The halves of a sum.
const fn halves(sum: u128) -> (u64, u64) {
    // CAST: the halves are meant.
    (sum as u64, (sum >> 64) as u64)
}

/// Lets every bit of `x` touch every bit of the result; no two `x` have the same result.
const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let x = (x ^ (x >> 29)).wrapping_mul(0xA3AA_ACEB_6D5F_1E4D);
    x ^ (x >> 32)
}

impl PageHash {
    /// The hash whose keys follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut key = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            // Multipliers are not even, and so not 0 either.
            mix(state) | 1
        };
        let mut hash = Self {
            keys: [0; BLOCK],
            upper: [0; UPPER],
            last: [0; LAST],
        };
        let all = hash.keys.iter_mut().chain(&mut hash.upper);
        for each in all.chain(&mut hash.last) {
            *each = key().rotate_left(17) ^ key();
        }
        hash
    }

    /// The hash of a page.
    pub fn of(&self, page: &[u8; PAGE_BYTES]) -> u64 {
        let mut sum = 0u128;
        let blocks = page.chunks_exact(8 * BLOCK);
        for (block, keys) in blocks.zip(self.upper.chunks_exact(2)) {
            let (low, high) = halves(self.block(block));
            if let [a, b] = *keys {
                let each = product(low.wrapping_add(a), high.wrapping_add(b));
                sum = sum.wrapping_add(each);
            }
        }
        let (low, high) = halves(sum);
        let [a, b] = self.last;
        // Both halves count, also where a product would be 0.
        let (x, y) = halves(product(low ^ a, high ^ b));
        mix(x ^ y ^ low.rotate_left(32) ^ high)
    }

    /// The hashes of pages that follow each other, as many as there are places for them. Faster
    /// than one by one: the next page is on its way from memory meanwhile.
    pub fn of_each(&self, pages: &[u8], hashes: &mut [u64]) {
        let mut rest = pages;
        for hash in hashes {
            let Some((page, after)) = rest.split_first_chunk() else {
                return;
            };
            for line in after.chunks(LINE).take(AHEAD) {
                // A load whose value nobody uses; a CPU's own prefetch ends with the page.
                core::hint::black_box(line.first().copied());
            }
            *hash = self.of(page);
            rest = after;
        }
    }

    /// The sum of one block.
    fn block(&self, block: &[u8]) -> u128 {
        let mut lanes = [0u128; LANES];
        let rows = block.chunks_exact(16 * LANES);
        for (row, keys) in rows.zip(self.keys.chunks_exact(2 * LANES)) {
            let pairs = row.chunks_exact(16).zip(keys.chunks_exact(2));
            for (lane, (words, keys)) in lanes.iter_mut().zip(pairs) {
                let (a, b) = words.split_at(8);
                if let [k, l] = *keys {
                    let (a, b) = (word(a).wrapping_add(k), word(b).wrapping_add(l));
                    *lane = lane.wrapping_add(product(a, b));
                }
            }
        }
        lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
    }
}

/// Eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(bytes);
    u64::from_le_bytes(eight)
}

/// Whether all bytes of a page are 0; most others are recognised by their first 64 bytes.
pub fn is_zero(page: &[u8; PAGE_BYTES]) -> bool {
    let zero = |part: &[u8]| part.chunks_exact(8).fold(0, |any, w| any | word(w)) == 0;
    let (first, rest) = page.split_at(64);
    zero(first) && rest.chunks(512).all(zero)
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_hash:
        one_bit_changes_half_of_the_bits,
        seeds_make_different_hashes,
        pages_in_a_row_hash_as_alone,
        zero_is_zero_only,
        keys_fit_on_a_kernel_stack,
    }

    type Page = [u8; PAGE_BYTES];

    fn noise(seed: u64) -> Box<Page> {
        let mut state = seed;
        let mut page = Box::new([0; PAGE_BYTES]);
        for byte in page.iter_mut() {
            state = state.wrapping_add(0x1234_5678_9ABC_DEF1);
            *byte = mix(state) as u8;
        }
        page
    }

    fn put(page: &mut Page, at: usize, word: u64) {
        page[8 * at..8 * at + 8].copy_from_slice(&word.to_le_bytes());
    }

    fn one_bit_changes_half_of_the_bits() {
        let hash = PageHash::new(1);
        for start in [
            Box::new([0; PAGE_BYTES]),
            Box::new([0xFF; PAGE_BYTES]),
            noise(3),
        ] {
            let mut page = start;
            let before = hash.of(&page);
            let mut flips = [0u32; 64];
            let mut tries = 0u32;
            for bit in (0..8 * PAGE_BYTES).step_by(5) {
                page[bit / 8] ^= 1 << (bit % 8);
                let differ = before ^ hash.of(&page);
                page[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    (8..=56).contains(&differ.count_ones()),
                    "bit {bit}: {differ:#x}"
                );
                for (n, flip) in flips.iter_mut().enumerate() {
                    *flip += u32::from((differ >> n) & 1 != 0);
                }
                tries += 1;
            }
            for (n, flip) in flips.iter().enumerate() {
                let part = 100 * flip / tries;
                assert!((46..54).contains(&part), "bit {n} flips in {part} %");
            }
        }
    }

    // On the host only: KUnit would take minutes.
    #[test]
    fn a_million_structured_pages_do_not_collide() {
        use std::collections::HashMap;

        let hash = PageHash::new(0x5EED);
        // The hash, and which page had it.
        let mut seen: HashMap<u64, (u32, u64)> = HashMap::new();
        let mut count = 0u64;
        let mut check = |kind: u32, page: &Page| {
            count += 1;
            if let Some(other) = seen.insert(hash.of(page), (kind, count)) {
                panic!("page {count} of kind {kind} collides with {other:?}");
            }
        };
        let mut page = Box::new([0; PAGE_BYTES]);
        check(0, &page);
        // Single bits in zeros, ones and noise.
        for (kind, fill) in [
            (1, [0; PAGE_BYTES]),
            (2, [0xFF; PAGE_BYTES]),
            (3, *noise(9)),
        ] {
            *page = fill;
            for bit in 0..8 * PAGE_BYTES {
                page[bit / 8] ^= 1 << (bit % 8);
                check(kind, &page);
                page[bit / 8] ^= 1 << (bit % 8);
            }
        }
        // Two words swapped, and two blocks.
        *page = *noise(10);
        for a in 0..512 {
            for b in 0..a {
                let (x, y) = (word(&page[8 * a..8 * a + 8]), word(&page[8 * b..8 * b + 8]));
                put(&mut page, a, y);
                put(&mut page, b, x);
                check(4, &page);
                put(&mut page, a, x);
                put(&mut page, b, y);
            }
        }
        for shift in 1..PAGE_BYTES {
            page.rotate_left(1);
            check(5, &page);
            assert!(shift > 0);
        }
        // The same word everywhere; a counter in one word; the same change in two words.
        for n in 1..200_000u64 {
            for at in 0..512 {
                put(&mut page, at, n);
            }
            check(6, &page);
        }
        *page = [0; PAGE_BYTES];
        for n in 3..200_000u64 {
            let at = (n % 512) as usize;
            put(&mut page, at, (n << 3) | 5);
            check(7, &page);
            put(&mut page, at, 0);
        }
        for n in 1..=400_000u64 {
            let (a, b) = ((n % 512) as usize, (n / 512 % 511) as usize);
            let b = if b >= a { b + 1 } else { b };
            let value = ((n / (512 * 511) + 1) << 32) | 7;
            put(&mut page, a, value);
            put(&mut page, b, value.wrapping_neg());
            check(8, &page);
            put(&mut page, a, 0);
            put(&mut page, b, 0);
        }
        assert!(count >= 1_000_000, "{count}");
    }

    fn seeds_make_different_hashes() {
        let page = noise(1);
        let mut all: Vec<u64> = (0..1000)
            .map(|seed| PageHash::new(seed).of(&page))
            .collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }

    fn pages_in_a_row_hash_as_alone() {
        let hash = PageHash::new(7);
        let (a, b) = (noise(1), noise(2));
        let mut both = Vec::new();
        for byte in a.iter().chain(b.iter()) {
            both.push(*byte);
        }
        // Places beyond the last whole page are left as they are.
        for cut in [0, 1] {
            let mut hashes = [1, 2, 3];
            hash.of_each(&both[..both.len() - cut], &mut hashes);
            let second = if cut == 0 { hash.of(&b) } else { 2 };
            assert_eq!(hashes, [hash.of(&a), second, 3]);
        }
        let mut first = [0];
        hash.of_each(&both, &mut first);
        assert_eq!(first, [hash.of(&a)]);
    }

    fn zero_is_zero_only() {
        let mut page = Box::new([0; PAGE_BYTES]);
        assert!(is_zero(&page));
        for bit in 0..8 * PAGE_BYTES {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_zero(&page), "{bit}");
            page[bit / 8] = 0;
        }
    }

    fn keys_fit_on_a_kernel_stack() {
        assert!(core::mem::size_of::<PageHash>() <= 768);
    }
}
