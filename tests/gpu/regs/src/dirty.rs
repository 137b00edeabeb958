// SPDX-License-Identifier: GPL-2.0
//! The dirty plane: which pages of a VF's framebuffer were written.
//!
//! No public source describes such registers; all of this is the emulated GPU's own.  A GPU that
//! has a plane says so in CAP *and* MAGIC; one that has none reads 0 in both, and drops writes.
//! The registers are the PF's alone; a VF's registers of the same numbers mean nothing.
//!
//! One bit stands for [`PAGE`] bytes of the VF's window: bit b of word w for the page at
//! `(32 w + b) * PAGE`.  A bit is set when tracking is on and the page is written
//!
//! - by the VF's engine,
//! - through the VF's BAR0, by whomever, or by its MM_INDEX and MM_DATA.
//!
//! What the PF writes, by BAR0, MM_DATA or its engine, is the host's own doing and sets nothing.
//! A write that is complete when DATA is read is in the word or was in an earlier one; a later
//! write sets the bit anew: a page read behind its word may be newer than the word, never older.
//!
//! Registers hold across a VF's reset, INIT and context switches.  A change of the VF's window,
//! and the end of the VF (SR-IOV disabled), switch its tracking off and clear its plane; a reset
//! of the PF does so for all.

/// Bytes that a bit stands for.
pub const PAGE: u64 = 1 << PAGE_SHIFT;
/// Log2 of it.
pub const PAGE_SHIFT: u32 = 12;
/// Pages of a word of the plane.
pub const WORD_PAGES: u64 = 32;
/// Words of the plane that a word of the summary stands for.
pub const SUMMARY_WORDS: u64 = 32;

/// MAGIC of a GPU that has a plane: `DPLN`, little endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"DPLN");
/// CAP: the version described here.
pub const VERSION: u32 = 1;

/// CNTL: writes into the selected VF's window are tracked.
pub const ENABLE: u32 = 1 << 0;
/// CNTL: write 1 to clear the selected VF's plane; reads 0.
pub const CLEAR: u32 = 1 << 1;

/// Dword indices in BAR5 of the PF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirtyRegs {
    /// What there is: version \[7:0\], log2 of bytes per bit \[15:8\], largest window in units of
    /// 16 MB \[31:16\]; 0 if there is none.
    pub cap: u32,
    /// The VF that the other registers are about, \[3:0\].  Writing it sets INDEX and
    /// SUMMARY_INDEX to 0.  Of a VF that is not enabled or has no window all read 0.
    pub fcn: u32,
    /// [`ENABLE`], [`CLEAR`].  Enabling does not clear, disabling keeps what is there.
    pub cntl: u32,
    /// Bits that are set, read-only.
    pub count: u32,
    /// Number of the word that DATA reads.
    pub index: u32,
    /// Reading gives the word at INDEX, clears it and moves INDEX on by one; behind the end it
    /// reads 0.  Writes are dropped.
    pub data: u32,
    /// Number of the word that SUMMARY reads.
    pub summary_index: u32,
    /// Reading gives 32 bits, bit b of word s set if word 32 s + b of the plane is not 0, clears
    /// nothing and moves SUMMARY_INDEX on by one.  Writes are dropped.
    pub summary: u32,
    /// [`MAGIC`], or 0 if there is no plane.
    pub magic: u32,
}

impl DirtyRegs {
    /// The block at `base`.
    pub const fn at(base: u32) -> Self {
        Self {
            cap: base,
            fcn: base + 1,
            cntl: base + 2,
            count: base + 3,
            index: base + 4,
            data: base + 5,
            summary_index: base + 6,
            summary: base + 7,
            magic: base + 8,
        }
    }

    /// First and last register of the block.
    pub const fn range(&self) -> (u32, u32) {
        (self.cap, self.magic)
    }
}

/// CAP of a GPU with `vram_mb` of framebuffer.
pub const fn cap(vram_mb: u32) -> u32 {
    VERSION | (PAGE_SHIFT << 8) | ((vram_mb >> 4) << 16)
}
