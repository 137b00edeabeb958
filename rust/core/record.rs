// SPDX-License-Identifier: GPL-2.0

//! The record that one life of the driver leaves to the next: 64-bit words in kernel memory.
//!
//! ```text
//! word 0   "gimstate"
//! word 1   VERSION of all that follows
//! word 2   number of words, these four included
//! word 3   CRC32C of the words from 4 on, as little-endian bytes
//! word 4.. what the writers have put there, in the order in which readers take it
//! ```
//!
//! A record is taken whole or not at all: another version, a word too few or too many, a value that
//! cannot be, and whoever reads it changes nothing. [`VERSION`] is raised with every change to
//! what any `write` in the core puts there; a test knows the number of words.

use core::fmt;

use super::{
    stream::crc::Crc32c,
    types::Fcn,
    types::VfId, //
};

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// Words that any record of this version fits into.
pub const WORDS_MAX: usize = 1536;

const MAGIC: u64 = u64::from_le_bytes(*b"gimstate");
const HEADER: usize = 4;

/// Why a record cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is no record.
    Foreign,
    /// It has another version.
    Version {
        /// That version.
        got: u64,
    },
    /// It has more or fewer words than it says, or than this version has.
    Length {
        /// How many there are.
        got: usize,
    },
    /// It was damaged.
    Checksum,
    /// A value cannot be.
    Value {
        /// What it is the value of.
        what: &'static str,
        /// The value.
        got: u64,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Foreign => f.write_str("not a record of gim"),
            Self::Version { got } => write!(f, "version {got}, this gim takes {VERSION}"),
            Self::Length { got } => write!(f, "{got} words are not its length"),
            Self::Checksum => f.write_str("its checksum is wrong"),
            Self::Value { what, got } => write!(f, "{what} cannot be {got}"),
        }
    }
}

fn crc(words: &[u64]) -> u64 {
    let mut crc = Crc32c::new();
    for word in words {
        crc.update(&word.to_le_bytes());
    }
    u64::from(crc.value())
}

/// Writes a record.
pub struct Writer<'a> {
    words: &'a mut [u64],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Begins one in `words`; [`WORDS_MAX`] of them are enough.
    pub fn new(words: &'a mut [u64]) -> Self {
        Self { words, len: HEADER }
    }

    /// Appends a word.
    pub fn put(&mut self, word: impl Into<u64>) {
        if let Some(slot) = self.words.get_mut(self.len) {
            *slot = word.into();
        }
        self.len = self.len.saturating_add(1);
    }

    /// Appends words.
    pub fn put_all(&mut self, words: &[u64]) {
        for &word in words {
            self.put(word);
        }
    }

    /// Completes the record; returns its words, or `None` if there were too few.
    pub fn finish(self) -> Option<&'a [u64]> {
        let (head, body) = self
            .words
            .get_mut(..self.len)?
            .split_at_mut_checked(HEADER)?;
        // CAST: widening.
        let header = [MAGIC, u64::from(VERSION), self.len as u64, crc(body)];
        head.copy_from_slice(&header);
        self.words.get(..self.len)
    }
}

/// Reads a record.
pub struct Reader<'a> {
    left: &'a [u64],
    len: usize,
}

impl<'a> Reader<'a> {
    /// Opens a record that is whole and of this version.
    pub fn open(words: &'a [u64]) -> Result<Self, Unfit> {
        let len = words.len();
        let (head, left) = words
            .split_at_checked(HEADER)
            .ok_or(Unfit::Length { got: len })?;
        if head[0] != MAGIC {
            return Err(Unfit::Foreign);
        }
        if head[1] != u64::from(VERSION) {
            return Err(Unfit::Version { got: head[1] });
        }
        // CAST: widening.
        if head[2] != len as u64 {
            return Err(Unfit::Length { got: len });
        }
        match head[3] == crc(left) {
            true => Ok(Self { left, len }),
            false => Err(Unfit::Checksum),
        }
    }

    /// Takes a word.
    pub fn take(&mut self) -> Result<u64, Unfit> {
        let short = Unfit::Length { got: self.len };
        let (first, left) = self.left.split_first().ok_or(short)?;
        self.left = left;
        Ok(*first)
    }

    /// Takes words.
    pub fn take_all(&mut self, to: &mut [u64]) -> Result<(), Unfit> {
        for word in to {
            *word = self.take()?;
        }
        Ok(())
    }

    /// Takes a word that is a smaller number.
    pub fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Unfit> {
        let got = self.take()?;
        T::try_from(got).map_err(|_| Unfit::Value { what, got })
    }

    /// Takes masks with a bit for each VF.
    pub fn masks<const N: usize>(&mut self, to: [&mut u32; N]) -> Result<(), Unfit> {
        for mask in to {
            *mask = self.number("mask of VFs")?;
        }
        Ok(())
    }

    /// Takes a word that is 0 or 1.
    pub fn flag(&mut self, what: &'static str) -> Result<bool, Unfit> {
        match self.take()? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(Unfit::Value { what, got }),
        }
    }

    /// Takes a word that is one of some things, by its number.
    pub fn choice<T: Copy>(&mut self, what: &'static str, of: &[T]) -> Result<T, Unfit> {
        let got = self.take()?;
        let found = usize::try_from(got).ok().and_then(|n| of.get(n));
        found.copied().ok_or(Unfit::Value { what, got })
    }

    /// Takes what [`maybe`] has made.
    pub fn maybe(&mut self) -> Result<Option<u64>, Unfit> {
        Ok(self.take()?.checked_sub(1))
    }

    /// Takes what [`function`] has made.
    pub fn function(&mut self) -> Result<Fcn, Unfit> {
        let got = self.take()?;
        let what = "function";
        match got.checked_sub(1) {
            None => Ok(Fcn::Pf),
            Some(n) => {
                let vf = u32::try_from(n).ok().and_then(VfId::new);
                vf.map(Fcn::Vf).ok_or(Unfit::Value { what, got })
            }
        }
    }

    /// The end: nothing may be left.
    pub fn end(self) -> Result<(), Unfit> {
        match self.left {
            [] => Ok(()),
            _ => Err(Unfit::Length { got: self.len }),
        }
    }
}

/// A number that may be missing, as a word; the largest number of all is not told from the one below.
pub(super) fn maybe(number: Option<u64>) -> u64 {
    number.map_or(0, |n| n.saturating_add(1))
}

/// A function as a word: 0 is the PF.
pub(super) fn function(fcn: Fcn) -> u64 {
    match fcn {
        Fcn::Pf => 0,
        Fcn::Vf(vf) => u64::from(vf.raw()).saturating_add(1),
    }
}

#[cfg(any(test, kunit))]
mod tests {
    use super::*;

    cases! {
        gim_record:
        what_is_written_is_read,
        what_is_damaged_is_refused,
        what_cannot_be_is_refused,
    }

    fn record(words: &mut [u64]) -> &[u64] {
        let mut to = Writer::new(words);
        to.put(7u32);
        to.put_all(&[
            1,
            2,
            maybe(None),
            maybe(Some(5)),
            function(Fcn::Vf(VfId::FIRST)),
            0,
        ]);
        to.finish().unwrap()
    }

    fn what_is_written_is_read() {
        let mut words = [0; 16];
        let mut from = Reader::open(record(&mut words)).unwrap();
        assert_eq!(from.number::<u8>("seven"), Ok(7));
        assert_eq!(from.flag("one"), Ok(true));
        assert_eq!(from.choice("two", &['a', 'b', 'c']), Ok('c'));
        assert_eq!((from.maybe(), from.maybe()), (Ok(None), Ok(Some(5))));
        assert_eq!(from.function(), Ok(Fcn::Vf(VfId::FIRST)));
        assert_eq!(from.function(), Ok(Fcn::Pf));
        assert_eq!(from.take(), Err(Unfit::Length { got: 11 }));
        assert_eq!(from.end(), Ok(()));
    }

    fn what_is_damaged_is_refused() {
        let mut words = [0; 16];
        let len = record(&mut words).len();
        let open = |words: &[u64]| Reader::open(words).err();
        assert_eq!(open(&words[..len]), None);
        assert_eq!(
            open(&words[..len - 1]),
            Some(Unfit::Length { got: len - 1 })
        );
        assert_eq!(
            open(&words[..len + 1]),
            Some(Unfit::Length { got: len + 1 })
        );
        assert_eq!(open(&words[..3]), Some(Unfit::Length { got: 3 }));
        for at in 0..len {
            let mut bad = words;
            bad[at] ^= 1 << (at % 64);
            let why = open(&bad[..len]);
            let got = bad[at];
            assert_eq!(
                why,
                Some(match at {
                    0 => Unfit::Foreign,
                    1 => Unfit::Version { got },
                    2 => Unfit::Length { got: len },
                    _ => Unfit::Checksum,
                })
            );
        }
        let mut small = [0; 8];
        let mut to = Writer::new(&mut small);
        to.put_all(&[0; 5]);
        assert!(to.finish().is_none());
    }

    fn what_cannot_be_is_refused() {
        let mut words = [0; 16];
        let mut to = Writer::new(&mut words);
        to.put_all(&[256, 2, 3, 18, 0]);
        let mut from = Reader::open(to.finish().unwrap()).unwrap();
        let value = |what, got| Unfit::Value { what, got };
        assert_eq!(from.number::<u8>("byte"), Err(value("byte", 256)));
        assert_eq!(from.flag("flag"), Err(value("flag", 2)));
        assert_eq!(from.choice("of", &[1, 2, 3]), Err(value("of", 3)));
        assert_eq!(from.function(), Err(value("function", 18)));
        assert_eq!(from.end(), Err(Unfit::Length { got: 9 }));
    }
}
