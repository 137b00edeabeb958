// SPDX-License-Identifier: GPL-2.0

//! The payloads of the sections that are delivered in one piece.

use super::super::{
    account::COUNTERS,
    config::check_slice,
    event::MailWords,
    policy::Share,
    types::Ns, //
};
use super::{
    bytes::{
        Reader,
        Writer, //
    },
    Error,
    Kind,
    RUN_LEN, //
};

/// Lengths of payloads, in bytes.
pub(super) const STATE_LEN: u32 = 32 + 8 * COUNTERS as u32;
pub(super) const MAILBOX_LEN: u32 = 36;
pub(super) const IRQ_LEN: u32 = 8;
pub(super) const ROUND_LEN: u32 = 32;
pub(super) const END_LEN: u32 = 16;

/// A request for full access that was taken from the guest and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Want {
    /// There is none.
    Nothing = 0,
    /// To initialise.
    Init = 1,
    /// To unload.
    Fini = 2,
    /// To initialise, after a reset that has been done.
    Reset = 3,
}

/// STATE: where the VF is in its life, what it is promised, what it has had.
///
/// | bytes | field |
/// |---|---|
/// | 0, 1 | driver loaded (0, 1); request that waits ([`Want`]) |
/// | 2..8 | 0 |
/// | 8..16 | slice in ns |
/// | 16..18, 18..20, 20..22 | weight, minimum, cap |
/// | 22..24 | 0 |
/// | 24..32 | bound on waits in ns; 0: none |
/// | 32..160 | counters |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The guest's driver is loaded: a context image comes along.
    pub loaded: bool,
    /// What its guest waits for.
    pub want: Want,
    /// Its slice, in ns: 100 us to 1 s.
    pub slice: Ns,
    /// What it is promised; whether the target can promise it as well is the target's business.
    pub share: Share,
    /// What it has had, as [`super::super::account::VfStats::counters`] tells.
    pub counters: [u64; COUNTERS],
}

/// REGS: registers of the VF, by numbers that the chip's HAL gives them.
///
/// | bytes | field |
/// |---|---|
/// | 8 k.. | number (u32, rising), value (u32) |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers<'a>(&'a [u8]);

/// MAILBOX: the messages that the other side has not taken, or not seen taken.
///
/// | bytes | field |
/// |---|---|
/// | 0..16, 16..32 | words to the guest; words from the guest |
/// | 32..36 | b0: those to the guest are valid and not acknowledged; b1: those from the guest are valid and not taken; b2: those from the guest were taken, and it has not seen that: its VALID stands |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// What was sent to the guest last.
    pub to_guest: MailWords,
    /// What the guest has sent last.
    pub from_guest: MailWords,
    /// VALID stands towards the guest.
    pub to_valid: bool,
    /// VALID stands from the guest.
    pub from_valid: bool,
    /// What the guest has sent was taken, and it has not seen the acknowledgement.
    pub from_taken: bool,
}

/// IRQ: interrupts that are to be raised at the target.
///
/// | bytes | field |
/// |---|---|
/// | 0..4 | b0: some may be pending or lost |
/// | 4..8 | vectors that are known to be pending, one bit each |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Irq {
    /// All that the guest has enabled are to be raised again: one too many is harmless.
    pub again: bool,
    /// Vectors that are known to be pending.
    pub vectors: u32,
}

/// ROUND: the end of a round.
///
/// | bytes | field |
/// |---|---|
/// | 0..4 | number, from 1 |
/// | 4..8 | 0 |
/// | 8..16, 16..24 | pages of this round in PAGES, in ZERO |
/// | 24..32 | pages that are dirty again |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Its number, from 1.
    pub number: u32,
    /// Pages that came with their contents.
    pub pages: u64,
    /// Pages that are zero.
    pub zeros: u64,
    /// Pages that were known to be dirty again when it ended: 0 in the last round.
    pub left: u64,
}

/// END: what came before it.
///
/// | bytes | field |
/// |---|---|
/// | 0..8 | bytes |
/// | 8..12 | sections |
/// | 12..16 | 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Bytes, the header among them.
    pub bytes: u64,
    /// Sections.
    pub sections: u32,
}

/// Pages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first one, from the start of the VF's framebuffer.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Run {
    /// Reads a run that is inside of a framebuffer of `pages` pages.
    pub(super) fn get(bytes: &[u8; RUN_LEN], pages: u64) -> Result<Self, Error> {
        let (first, count) = bytes.split_at(4);
        let number = |half| Reader(half).u32().unwrap_or(0);
        let (first, count) = (number(first), number(count));
        let end = u64::from(first).saturating_add(u64::from(count));
        if count == 0 || end > pages {
            return Err(Error::Run { first, count });
        }
        Ok(Self { first, count })
    }

    pub(super) fn put(self, to: &mut Writer<'_>) {
        to.u32(self.first);
        to.u32(self.count);
    }
}

/// The runs that a list of pages makes, in its order: what follows each other is one run.
pub fn runs_of(pages: &[u32]) -> impl Iterator<Item = Run> + '_ {
    let mut rest = pages;
    core::iter::from_fn(move || {
        let (&first, _) = rest.split_first()?;
        let follows = |&(n, page): &(u32, u32)| first.checked_add(n) == Some(page);
        let numbered = (0..).zip(rest.iter().copied());
        let count = numbered.take_while(follows).count();
        rest = rest.get(count..).unwrap_or(&[]);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Some(Run { first, count })
    })
}

/// ZERO: runs of pages that are zero: first page (u32), pages (u32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs<'a>(pub(super) &'a [u8]);

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (first, rest) = self.0.split_first_chunk::<RUN_LEN>()?;
        self.0 = rest;
        Run::get(first, u64::MAX).ok()
    }
}

impl Iterator for Registers<'_> {
    type Item = (u32, u32);

    fn next(&mut self) -> Option<(u32, u32)> {
        let mut from = Reader(self.0);
        let pair = (from.u32()?, from.u32()?);
        self.0 = from.0;
        Some(pair)
    }
}

/// A field that has to be 0 or one of few values.
fn check(kind: Kind, what: &'static str, good: bool) -> Result<(), Error> {
    match good {
        true => Ok(()),
        false => Err(Error::Value { kind, what }),
    }
}

/// The payload is shorter than its kind's: not reached, because lengths are checked before.
fn short(kind: Kind) -> Error {
    let what = "length";
    Error::Value { kind, what }
}

impl State {
    pub(super) fn put(&self, to: &mut Writer<'_>) {
        to.u8(self.loaded.into());
        // CAST: the discriminants are the codes.
        to.u8(self.want as u8);
        to.u16(0);
        to.u32(0);
        to.u64(self.slice);
        to.u16(self.share.weight);
        to.u16(self.share.min);
        to.u16(self.share.cap);
        to.u16(0);
        to.u64(self.share.latency.unwrap_or(0));
        for counter in self.counters {
            to.u64(counter);
        }
    }

    pub(super) fn get(bytes: &[u8]) -> Result<Self, Error> {
        Self::fields(&mut Reader(bytes)).unwrap_or(Err(short(Kind::State)))
    }

    /// Whether a stream may say this.
    pub(super) fn check(&self) -> Result<(), Error> {
        let kind = Kind::State;
        check(kind, "slice", check_slice(self.slice).is_ok())?;
        check(kind, "share", self.share.check().is_ok())
    }

    fn fields(from: &mut Reader<'_>) -> Option<Result<Self, Error>> {
        let kind = Kind::State;
        let (loaded, want) = (from.u8()?, from.u8()?);
        let zero = u64::from(from.u16()?) | u64::from(from.u32()?);
        let slice = from.u64()?;
        let (weight, min, cap) = (from.u16()?, from.u16()?, from.u16()?);
        let zero = zero | u64::from(from.u16()?);
        let latency = Some(from.u64()?).filter(|&ns| ns != 0);
        let mut counters = [0; COUNTERS];
        for counter in &mut counters {
            *counter = from.u64()?;
        }
        let wanted = match want {
            1 => Want::Init,
            2 => Want::Fini,
            3 => Want::Reset,
            _ => Want::Nothing,
        };
        let state = Self {
            loaded: loaded == 1,
            want: wanted,
            slice,
            share: Share {
                weight,
                min,
                cap,
                latency,
            },
            counters,
        };
        let checked = check(kind, "life cycle", loaded <= 1)
            .and_then(|()| check(kind, "request", want <= 3))
            .and_then(|()| check(kind, "reserved field", zero == 0))
            .and_then(|()| state.check());
        Some(checked.map(|()| state))
    }
}

impl<'a> Registers<'a> {
    pub(super) fn get(bytes: &'a [u8]) -> Result<Self, Error> {
        let list = Self(bytes);
        let mut rising = list.zip(list.skip(1));
        let good = rising.all(|(a, b)| a.0 < b.0);
        check(Kind::Registers, "order of registers", good)?;
        Ok(list)
    }
}

impl Mailbox {
    pub(super) fn put(&self, to: &mut Writer<'_>) {
        for word in self.to_guest.into_iter().chain(self.from_guest) {
            to.u32(word);
        }
        let bit = |on: bool, n: u32| u32::from(on) << n;
        to.u32(bit(self.to_valid, 0) | bit(self.from_valid, 1) | bit(self.from_taken, 2));
    }

    pub(super) fn get(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader(bytes);
        let mut read = || Some((from.words()?, from.words()?, from.u32()?));
        let (to_guest, from_guest, flags) = read().ok_or(short(Kind::Mailbox))?;
        check(Kind::Mailbox, "flags", flags & !7 == 0)?;
        Ok(Self {
            to_guest,
            from_guest,
            to_valid: flags & 1 != 0,
            from_valid: flags & 2 != 0,
            from_taken: flags & 4 != 0,
        })
    }
}

impl Irq {
    pub(super) fn put(self, to: &mut Writer<'_>) {
        to.u32(self.again.into());
        to.u32(self.vectors);
    }

    pub(super) fn get(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader(bytes);
        let mut read = || Some((from.u32()?, from.u32()?));
        let (flags, vectors) = read().ok_or(short(Kind::Irq))?;
        check(Kind::Irq, "flags", flags <= 1)?;
        let again = flags == 1;
        Ok(Self { again, vectors })
    }
}

impl Round {
    pub(super) fn put(&self, to: &mut Writer<'_>) {
        to.u32(self.number);
        to.u32(0);
        to.u64(self.pages);
        to.u64(self.zeros);
        to.u64(self.left);
    }

    pub(super) fn get(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader(bytes);
        let mut read = || {
            let (number, zero) = (from.u32()?, from.u32()?);
            let (pages, zeros, left) = (from.u64()?, from.u64()?, from.u64()?);
            let round = Self {
                number,
                pages,
                zeros,
                left,
            };
            Some((round, zero))
        };
        let (round, zero) = read().ok_or(short(Kind::Round))?;
        check(Kind::Round, "reserved field", zero == 0)?;
        Ok(round)
    }
}

impl End {
    pub(super) fn put(self, to: &mut Writer<'_>) {
        to.u64(self.bytes);
        to.u32(self.sections);
        to.u32(0);
    }

    pub(super) fn get(bytes: &[u8]) -> Result<Self, Error> {
        let mut from = Reader(bytes);
        let mut read = || Some((from.u64()?, from.u32()?, from.u32()?));
        let (bytes, sections, zero) = read().ok_or(short(Kind::End))?;
        check(Kind::End, "reserved field", zero == 0)?;
        Ok(Self { bytes, sections })
    }
}
