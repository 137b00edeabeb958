// SPDX-License-Identifier: GPL-2.0
//! The DMA log: which pages of system memory a VF has written.
//!
//! No public source describes such registers; all of this is the emulated GPU's own.  A GPU that
//! has a log says so in CAP *and* MAGIC; one that has none reads 0 everywhere, and drops writes.
//! The registers are the PF's alone; a VF's registers of the same numbers mean nothing.
//!
//! One bit stands for [`PAGE`] bytes of bus address, as the VF's own requests carry it; 32 pages
//! that begin at a multiple of 32 are a group.  A bit is set when the log is on and a write to the
//! page has succeeded,
//!
//! - by the VF's engine (packets, fences, write-backs),
//! - by its interrupt ring (entries and the position that is written back).
//!
//! What the PF writes sets nothing, nor do message-signalled interrupts, nor do addresses of more
//! than [`ADDR_BITS`] bits.  A write that is complete when DATA is read is in those bits or was in
//! earlier ones; a later write sets the bit anew: a page read behind its bit may be newer than the
//! bit, never older.
//!
//! To read all of it, set FCN and take groups (AT_LO, AT_HI, DATA) until there is none.  Pages that
//! are written behind FROM meanwhile are in the next round.
//!
//! The log holds across a VF's reset, INIT and context switches.  The end of the VF (SR-IOV
//! disabled, or fewer VFs) switches its log off and clears it; a reset of the PF does so for all.

/// Bytes that a bit stands for.
pub const PAGE: u64 = 1 << PAGE_SHIFT;
/// Log2 of it.
pub const PAGE_SHIFT: u32 = 12;
/// Pages of a group.
pub const GROUP_PAGES: u64 = 32;
/// Bits of an address that the log knows.
pub const ADDR_BITS: u32 = 48;
/// Pages that the log knows.
pub const PAGES: u64 = 1 << (ADDR_BITS - PAGE_SHIFT);

/// MAGIC of a GPU that has a log: `DLOG`, little endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"DLOG");
/// CAP: the version described here.
pub const VERSION: u32 = 1;
/// CAP of a GPU that has a log.
pub const CAP: u32 = VERSION | (PAGE_SHIFT << 8) | (ADDR_BITS << 16);

/// CNTL: the selected VF's writes are logged.
pub const ENABLE: u32 = 1 << 0;
/// CNTL: write 1 to clear the selected VF's log; reads 0.
pub const CLEAR: u32 = 1 << 1;

/// FROM_HI: bits that it keeps.  One more than a page's number has, so that FROM can stand behind
/// the last group.
pub const FROM_HI_MASK: u32 = (PAGES >> 31) as u32 - 1;
/// Both halves of AT, if there is no group.
pub const NONE: u32 = u32::MAX;

/// Dword indices in BAR5 of the PF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaLogRegs {
    /// What there is: version \[7:0\], log2 of bytes per bit \[15:8\], bits of an address
    /// \[23:16\]; 0 if there is no log.
    pub cap: u32,
    /// The VF that the other registers are about, \[3:0\].  Writing it sets FROM to 0 and AT to
    /// [`NONE`].  Of a VF that is not enabled AT reads [`NONE`], and all others 0.
    pub fcn: u32,
    /// [`ENABLE`], [`CLEAR`].  Enabling does not clear, disabling keeps what is there.
    pub cntl: u32,
    /// Pages that are marked, read-only; all ones if they are more.
    pub count: u32,
    /// Low half of the number of the page to look from; the lowest five bits read 0.
    pub from_lo: u32,
    /// High half of it ([`FROM_HI_MASK`]).
    pub from_hi: u32,
    /// Reading finds the first group at or behind FROM that has a page marked, and gives the low
    /// half of the number of its first page; [`NONE`] if there is none.  Writes are dropped.
    pub at_lo: u32,
    /// The high half of what AT_LO found last.
    pub at_hi: u32,
    /// Reading gives the group that AT_LO found last, bit b for its page b, clears it and sets FROM
    /// to the group behind it; 0 if none was found.  Writing marks pages of that group again: for
    /// who wants only some of them.
    pub data: u32,
    /// [`MAGIC`], or 0 if there is no log.
    pub magic: u32,
}

impl DmaLogRegs {
    /// The block at `base`.
    pub const fn at(base: u32) -> Self {
        Self {
            cap: base,
            fcn: base + 1,
            cntl: base + 2,
            count: base + 3,
            from_lo: base + 4,
            from_hi: base + 5,
            at_lo: base + 6,
            at_hi: base + 7,
            data: base + 8,
            magic: base + 9,
        }
    }

    /// First and last register of the block.
    pub const fn range(&self) -> (u32, u32) {
        (self.cap, self.magic)
    }
}
