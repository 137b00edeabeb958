// SPDX-License-Identifier: GPL-2.0

//! Which pages of a framebuffer have been written: one bit per page, in memory that the caller
//! holds.

use core::fmt;

use super::stream::{
    Run,
    FB_MAX,
    PAGE, //
};

/// Pages of one word.
const BITS: u32 = u64::BITS;

/// The smallest and the largest granule of a bitmap for users: 4 KiB, 2 MiB.
pub const GRANULE_MIN: u64 = PAGE as u64;
/// See [`GRANULE_MIN`].
pub const GRANULE_MAX: u64 = 2 << 20;

/// Words that a map of `pages` pages needs.
pub const fn words_for(pages: u32) -> usize {
    // CAST: to a wider type.
    pages.div_ceil(BITS) as usize
}

/// A map of pages: those that are set are dirty.
///
/// # Invariants
///
/// There are exactly as many words as the pages need, and bits beyond the last page are 0.
#[derive(Debug)]
pub struct DirtyMap<'a> {
    words: &'a mut [u64],
    pages: u32,
}

/// The bits `first..first + count` of a map, word by word: index and mask.
fn masks(first: u32, count: u32) -> impl Iterator<Item = (usize, u64)> {
    let end = first.saturating_add(count);
    let mut at = first;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (word, bit) = (at / BITS, at % BITS);
        let n = (BITS - bit).min(end - at);
        at += n;
        Some((word as usize, (u64::MAX >> (BITS - n)) << bit))
    })
}

impl<'a> DirtyMap<'a> {
    /// A map of `pages` pages in `words`, of which as many are used as the pages need; what they
    /// hold stays. `None` if there are too few.
    pub fn new(words: &'a mut [u64], pages: u32) -> Option<Self> {
        let words = words.get_mut(..words_for(pages))?;
        let mut map = Self { words, pages };
        map.trim();
        Some(map)
    }

    /// Clears the bits beyond the last page.
    fn trim(&mut self) {
        let rest = self.pages % BITS;
        if let Some(last) = self.words.last_mut().filter(|_| rest != 0) {
            *last &= u64::MAX >> (BITS - rest);
        }
    }

    /// Pages of the framebuffer.
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    /// The part of a run that is in the map.
    fn clip(&self, run: Run) -> (u32, u32) {
        let first = run.first.min(self.pages);
        (first, run.count.min(self.pages - first))
    }

    /// Sets a page; one beyond the end is ignored.
    pub fn set(&mut self, page: u32) {
        self.set_run(Run {
            first: page,
            count: 1,
        });
    }

    /// Sets pages; those beyond the end are ignored.
    pub fn set_run(&mut self, run: Run) {
        let (first, count) = self.clip(run);
        for (word, mask) in masks(first, count) {
            self.words[word] |= mask;
        }
    }

    /// Sets all pages.
    pub fn set_all(&mut self) {
        self.words.fill(u64::MAX);
        self.trim();
    }

    /// Clears pages; those beyond the end are ignored.
    pub fn clear_run(&mut self, run: Run) {
        let (first, count) = self.clip(run);
        for (word, mask) in masks(first, count) {
            self.words[word] &= !mask;
        }
    }

    /// Clears all pages.
    pub fn clear_all(&mut self) {
        self.words.fill(0);
    }

    /// Whether a page is set.
    pub fn is_set(&self, page: u32) -> bool {
        let run = Run {
            first: page,
            count: 1,
        };
        self.any(run)
    }

    /// Whether one of these pages is set.
    pub fn any(&self, run: Run) -> bool {
        let (first, count) = self.clip(run);
        masks(first, count).any(|(word, mask)| self.words[word] & mask != 0)
    }

    /// How many pages are set.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// How many of these pages are set.
    pub fn count_in(&self, run: Run) -> u32 {
        let (first, count) = self.clip(run);
        let ones = |(word, mask): (usize, u64)| (self.words[word] & mask).count_ones();
        masks(first, count).map(ones).sum()
    }

    /// Clears pages `64 * index..` and returns which of them were set; 0 beyond the end.
    pub fn take_word(&mut self, index: usize) -> u64 {
        self.words.get_mut(index).map_or(0, core::mem::take)
    }

    /// Adds what a hardware plane, or another map, says of pages `64 * index..`.
    pub fn or_word(&mut self, index: usize, word: u64) {
        if let Some(to) = self.words.get_mut(index) {
            *to |= word;
            self.trim();
        }
    }

    /// The words, for whoever copies them.
    pub fn words(&self) -> &[u64] {
        self.words
    }

    /// The first page from `from` on that is set, or is not.
    fn find(&self, from: u32, set: bool) -> Option<u32> {
        let mut mask = u64::MAX << (from % BITS);
        // CAST: to a wider type; and back, below the number of pages.
        for (n, &word) in self.words.iter().enumerate().skip((from / BITS) as usize) {
            let word = if set { word } else { !word } & mask;
            if word != 0 {
                let page = n as u32 * BITS + word.trailing_zeros();
                return Some(page).filter(|&page| page < self.pages);
            }
            mask = u64::MAX;
        }
        None
    }

    /// The first pages from `from` on that are set, as many as follow each other, at most `most`.
    pub fn next_run(&self, from: u32, most: u32) -> Option<Run> {
        let first = self.find(from, true)?;
        let end = self.find(first, false).unwrap_or(self.pages);
        let count = (end - first).min(most);
        (count != 0).then_some(Run { first, count })
    }

    /// The first pages from `from` on that are not set, as many as follow each other, at most
    /// `most`.
    pub fn next_clean_run(&self, from: u32, most: u32) -> Option<Run> {
        let first = self.find(from, false)?;
        let end = self.find(first, true).unwrap_or(self.pages);
        let count = (end - first).min(most);
        (count != 0).then_some(Run { first, count })
    }

    /// As [`Self::next_run`], and clears them.
    pub fn take_run(&mut self, from: u32, most: u32) -> Option<Run> {
        let run = self.next_run(from, most)?;
        self.clear_run(run);
        Some(run)
    }

    /// Fills `out` with the bits of a span, from its bit `64 * index` on, and clears the pages that
    /// they stand for: bit n of a word is granule n, set if one of its pages was. Returns how many
    /// bits are set.
    ///
    /// If what was taken cannot be delivered, [`Self::put_back`] makes it dirty again.
    pub fn take_span(&mut self, span: &Span, index: u32, out: &mut [u64]) -> u32 {
        let mut set = 0;
        for (n, word) in out.iter_mut().enumerate() {
            // CAST: Words of a span.
            let n = index.saturating_add(n as u32);
            *word = 0;
            for bit in 0..BITS {
                let run = span.granule(n, bit);
                if run.count != 0 && self.any(run) {
                    self.clear_run(run);
                    *word |= 1 << bit;
                }
            }
            set += word.count_ones();
        }
        set
    }

    /// As [`Self::take_span`], but nothing is cleared.
    pub fn peek_span(&self, span: &Span, index: u32, out: &mut [u64]) -> u32 {
        let mut set = 0;
        for (n, word) in out.iter_mut().enumerate() {
            // CAST: Words of a span.
            let n = index.saturating_add(n as u32);
            *word = 0;
            for bit in 0..BITS {
                let any = self.any(span.granule(n, bit));
                *word |= u64::from(any) << bit;
            }
            set += word.count_ones();
        }
        set
    }

    /// Sets all pages of the granules whose bits are set in `words`, which [`Self::take_span`] gave.
    pub fn put_back(&mut self, span: &Span, index: u32, words: &[u64]) {
        for (n, word) in words.iter().enumerate() {
            // CAST: Words of a span.
            let n = index.saturating_add(n as u32);
            for bit in (0..BITS).filter(|bit| (word >> bit) & 1 != 0) {
                self.set_run(span.granule(n, bit));
            }
        }
    }
}

/// A part of a framebuffer, and the size of the granules by which a user wants to know it.
///
/// # Invariants
///
/// It lies inside of the framebuffer, is not empty, and its bounds are multiples of the granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: u32,
    pages: u32,
    /// Pages of a granule.
    granule: u32,
}

impl Span {
    /// The span of `len` bytes at `offset` of a framebuffer of `size` bytes, by granules of
    /// `granule` bytes: a power of two from 4 KiB to 2 MiB.
    pub fn new(offset: u64, len: u64, granule: u64, size: u64) -> Result<Self, SpanError> {
        if !granule.is_power_of_two() || !(GRANULE_MIN..=GRANULE_MAX).contains(&granule) {
            return Err(SpanError::Granule { got: granule });
        }
        for (what, got) in [("offset", offset), ("length", len)] {
            if got % granule != 0 {
                return Err(SpanError::Unaligned { what, got, granule });
            }
        }
        let end = offset.saturating_add(len);
        if len == 0 || end > size || size > FB_MAX {
            return Err(SpanError::Outside { offset, len, size });
        }
        let page = u64::from(PAGE);
        // What is larger than `FB_MAX` was refused above.
        let pages = |bytes: u64| u32::try_from(bytes / page).unwrap_or(u32::MAX);
        Ok(Self {
            first: pages(offset),
            pages: pages(len),
            granule: pages(granule),
        })
    }

    /// Its pages.
    pub const fn run(&self) -> Run {
        Run {
            first: self.first,
            count: self.pages,
        }
    }

    /// How many bits describe it.
    pub const fn bits(&self) -> u32 {
        // A granule is never 0.
        match self.pages.checked_div(self.granule) {
            Some(bits) => bits,
            None => 0,
        }
    }

    /// How many words these are.
    pub const fn words(&self) -> u32 {
        self.bits().div_ceil(BITS)
    }

    /// The pages of a bit; none if the span has no such bit.
    fn granule(&self, word: u32, bit: u32) -> Run {
        let n = word.saturating_mul(BITS).saturating_add(bit);
        let inside = n < self.bits();
        Run {
            first: self.first.saturating_add(n.saturating_mul(self.granule)),
            count: if inside { self.granule } else { 0 },
        }
    }
}

/// Why a span is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanError {
    /// There are no such granules.
    Granule {
        /// Bytes of a granule.
        got: u64,
    },
    /// An end lies inside of a granule.
    Unaligned {
        /// Which value is to blame.
        what: &'static str,
        /// That value, in bytes.
        got: u64,
        /// Bytes of a granule.
        granule: u64,
    },
    /// It is empty, or leaves the framebuffer.
    Outside {
        /// Where it begins, in bytes.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// Bytes of the framebuffer.
        size: u64,
    },
}

impl fmt::Display for SpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Granule { got } => {
                let (min, max) = (GRANULE_MIN, GRANULE_MAX);
                write!(f, "granule {got} is no power of two in {min}..={max}")
            }
            Self::Unaligned { what, got, granule } => {
                write!(
                    f,
                    "{what} {got:#x} is no multiple of the granule {granule:#x}"
                )
            }
            Self::Outside { offset, len, size } => {
                write!(f, "{len:#x} bytes at {offset:#x} are not in 1..={size:#x}")
            }
        }
    }
}

#[cfg(any(test, kunit))]
#[path = "dirty_tests.rs"]
mod tests;
