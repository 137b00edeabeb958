// SPDX-License-Identifier: GPL-2.0

//! The stream that carries a VF from one GPU to another, version 1, little endian.
//!
//! | bytes | header |
//! |---|---|
//! | 0..8 | magic |
//! | 8..10, 10..12 | version (1), length of the header (48) |
//! | 12..16 | PCI device id of the VF |
//! | 16..24 | features: who does not know one of the lower 32 bits refuses the stream |
//! | 24..32 | bytes of the VF's framebuffer |
//! | 32..36, 36..40 | bytes of a context image; of a page (4096) |
//! | 40..44 | 0 |
//! | 44..48 | CRC32C of what is before |
//!
//! | bytes | section |
//! |---|---|
//! | 0..2, 2..4 | type, flags (0) |
//! | 4..8 | length of the payload |
//! | 8..12 | number of the section, from 0 |
//! | 12..16 | CRC32C of what is before: a length is only believed then |
//! | 16.. | payload |
//! | the last 4 | CRC32C of bytes 0..12 and the payload |
//!
//! Sections come as `(PAGES | ZERO | ROUND)*, STATE, REGS, MAILBOX, IRQ, [CONTEXT], END`. The first
//! round has every page of the framebuffer, the last one leaves nothing dirty. All addresses are
//! relative to the VF's framebuffer, so that the stream can be loaded into any VF of its size.
//!
//! | file | what |
//! |---|---|
//! | `crc.rs`, `bytes.rs` | CRC32C; numbers in and out of slices |
//! | `error.rs` | what can be wrong |
//! | `parts.rs` | the payloads of small sections |
//! | `order.rs` | which section may come next, and what rounds must add up to |
//! | `decode.rs`, `encode.rs` | the two ends |

mod bytes;
pub mod crc;
mod decode;
mod encode;
mod error;
mod order;
mod parts;

use core::fmt;

use self::{
    bytes::{
        Reader,
        Writer, //
    },
    crc::Crc32c, //
};
#[allow(
    unused_imports,
    reason = "what the module does not name, host tools and tests do"
)]
pub use self::{
    decode::{
        Decoder,
        Item,
        Progress, //
    },
    encode::Encoder,
    error::Error,
    parts::{
        runs_of,
        End,
        Irq,
        Mailbox,
        Registers,
        Round,
        Run,
        Runs,
        State,
        Want, //
    }, //
};

/// How a stream begins: a name, and bytes that transports for text would spoil.
pub const MAGIC: [u8; 8] = *b"GIMVF\r\n\x1A";

/// The version that is written, and the only one that is read.
pub const VERSION: u16 = 1;

/// Bytes of a page, the unit of the framebuffer.
pub const PAGE: u32 = 4096;

/// Bytes of the header.
pub const HEADER_LEN: usize = 48;

/// Bytes of a section's head.
pub const HEAD_LEN: usize = 16;

/// Bytes of a section's trailer.
pub const TRAILER_LEN: usize = 4;

/// Bytes that a run of pages costs.
pub const RUN_LEN: usize = 8;

/// Most pages of one PAGES section: 1 MiB.
pub const PAGES_MAX: u32 = 256;

/// Most registers of a REGS section.
pub const REGISTERS_MAX: usize = 64;

/// Most runs of one ZERO section.
pub const ZERO_RUNS_MAX: usize = 64;

/// Most rounds of a stream.
pub const ROUNDS_MAX: u32 = 1000;

/// Bytes of the largest payload that is delivered in one piece.
pub const SMALL_MAX: usize = 512;

/// Bytes of buffer that any single call of the encoder, payload of pages and context aside, needs
/// at most.
pub const SCRATCH: usize = HEAD_LEN + SMALL_MAX + TRAILER_LEN;

/// The feature bits that a reader has to know.
pub const REQUIRED: u64 = 0xFFFF_FFFF;

/// The largest framebuffer: page numbers have 32 bits.
pub const FB_MAX: u64 = PAGE as u64 * u32::MAX as u64;

/// The types of sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Life cycle, promises and counters.
    State = 1,
    /// Registers of the VF.
    Registers = 2,
    /// Messages under way.
    Mailbox = 3,
    /// Interrupts that may be pending.
    Irq = 4,
    /// The context image.
    Context = 5,
    /// Pages of the framebuffer.
    Pages = 6,
    /// Pages of the framebuffer that are zero.
    Zero = 7,
    /// The end of a round.
    Round = 8,
    /// The end.
    End = 9,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::State,
        Self::Registers,
        Self::Mailbox,
        Self::Irq,
        Self::Context,
        Self::Pages,
        Self::Zero,
        Self::Round,
        Self::End,
    ];

    /// The kind with this number.
    pub const fn new(n: u16) -> Option<Self> {
        Some(match n {
            1 => Self::State,
            2 => Self::Registers,
            3 => Self::Mailbox,
            4 => Self::Irq,
            5 => Self::Context,
            6 => Self::Pages,
            7 => Self::Zero,
            8 => Self::Round,
            9 => Self::End,
            _ => return None,
        })
    }

    /// The name, as errors have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Registers => "REGS",
            Self::Mailbox => "MAILBOX",
            Self::Irq => "IRQ",
            Self::Context => "CONTEXT",
            Self::Pages => "PAGES",
            Self::Zero => "ZERO",
            Self::Round => "ROUND",
            Self::End => "END",
        }
    }

    /// Whether a payload of `len` bytes can be one of this kind, in a stream with this header.
    fn fits(self, len: u32, header: &Header) -> bool {
        // CAST: All of them are far below 4 GiB.
        let multiple = |of: usize, max: usize| {
            let (of, max) = (of as u32, max as u32);
            len % of == 0 && len / of <= max
        };
        let page = PAGE + RUN_LEN as u32;
        match self {
            Self::State => len == parts::STATE_LEN,
            Self::Registers => multiple(8, REGISTERS_MAX),
            Self::Mailbox => len == parts::MAILBOX_LEN,
            Self::Irq => len == parts::IRQ_LEN,
            Self::Context => len == header.context_bytes,
            Self::Pages => len >= page && len <= PAGES_MAX * page && len % 8 == 0,
            Self::Zero => len != 0 && multiple(RUN_LEN, ZERO_RUNS_MAX),
            Self::Round => len == parts::ROUND_LEN,
            Self::End => len == parts::END_LEN,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a stream is from, or what a VF is that a stream is loaded into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// PCI device id of the VF.
    pub chip: u32,
    /// Features that the stream uses, or that are known: the lower 32 bits have to be.
    pub features: u64,
    /// Bytes of the VF's framebuffer: a multiple of [`PAGE`], at most [`FB_MAX`].
    pub fb_bytes: u64,
    /// Bytes of a context image.
    pub context_bytes: u32,
}

impl Header {
    /// Pages of the framebuffer.
    pub const fn pages(&self) -> u64 {
        self.fb_bytes / PAGE as u64
    }

    /// Whether a VF that is `self` can take a stream with the header `got`.
    pub fn admits(&self, got: &Self) -> Result<(), Error> {
        if got.chip != self.chip {
            let (got, want) = (got.chip, self.chip);
            return Err(Error::Chip { got, want });
        }
        let unknown = got.features & REQUIRED & !self.features;
        if unknown != 0 {
            return Err(Error::Features { unknown });
        }
        if got.fb_bytes != self.fb_bytes || got.fb_bytes > FB_MAX {
            let (got, want) = (got.fb_bytes, self.fb_bytes);
            return Err(Error::Framebuffer { got, want });
        }
        if got.context_bytes != self.context_bytes {
            let (got, want) = (got.context_bytes, self.context_bytes);
            return Err(Error::ContextSize { got, want });
        }
        Ok(())
    }

    /// Writes the header into `out`; returns its length.
    fn put(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut to = Writer::new(out, HEADER_LEN)?;
        to.bytes(&MAGIC);
        to.u16(VERSION);
        // CAST: 48.
        to.u16(HEADER_LEN as u16);
        to.u32(self.chip);
        to.u64(self.features);
        to.u64(self.fb_bytes);
        to.u32(self.context_bytes);
        to.u32(PAGE);
        to.u32(0);
        let crc = Crc32c::of(to.written());
        to.u32(crc);
        Ok(HEADER_LEN)
    }

    /// Reads a header; what identifies the format is looked at before the CRC.
    fn get(bytes: &[u8; HEADER_LEN]) -> Result<Self, Error> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(Error::Magic);
        }
        let mut from = Reader(rest);
        let mut read = || {
            let (version, len) = (from.u16()?, from.u16()?);
            let header = Self {
                chip: from.u32()?,
                features: from.u64()?,
                fb_bytes: from.u64()?,
                context_bytes: from.u32()?,
            };
            let (page, zero, crc) = (from.u32()?, from.u32()?, from.u32()?);
            Some((version, len, header, page, zero, crc))
        };
        // Nothing is missing: the sum of the fields is the length of the array.
        let (version, len, header, page, zero, crc) = read().ok_or(Error::HeaderCrc)?;
        if version != VERSION {
            return Err(Error::Version { got: version });
        }
        if usize::from(len) != HEADER_LEN {
            return Err(Error::HeaderLen { got: len });
        }
        let (covered, _) = bytes.split_at(HEADER_LEN - 4);
        if Crc32c::of(covered) != crc || zero != 0 {
            return Err(Error::HeaderCrc);
        }
        if page != PAGE {
            return Err(Error::PageSize { got: page });
        }
        Ok(header)
    }
}

#[cfg(any(test, kunit))]
mod tests;
