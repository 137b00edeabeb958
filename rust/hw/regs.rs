// SPDX-License-Identifier: GPL-2.0

//! Registers of the PF's register BAR (BAR5): what a chip's table names, and bits that all have.
//!
//! The tables, with their sources, are in the chips' own files. Offsets are in bytes: four times
//! the dword index of AMD's headers.

use kernel::io::Io;

use super::Mmio;

/// Registers that are neither of the interrupt ring nor of the copy engine.
pub(crate) struct Registers {
    /// What kind of function this is: b0 a VF.
    pub(crate) func_identifier: usize,
    /// Size of the framebuffer in MiB; not 0 once the board is posted.
    pub(crate) config_memsize: usize,
    /// One bit per VF that saw a function level reset; write 1 to clear.
    pub(crate) reset_notification: usize,
    /// The mailboxes.
    pub(crate) mailbox: Mailbox,
}

/// Registers of the mailbox of the VF that `index` selects.
pub(crate) struct Mailbox {
    /// Which VF's.
    pub(crate) index: usize,
    /// First of four words to the VF.
    pub(crate) transmit: usize,
    /// First of four words from the VF.
    pub(crate) receive: usize,
    /// Handshake bits, [`control`].
    pub(crate) control: usize,
    /// Which events interrupt us, [`int_cntl`].
    pub(crate) int_cntl: usize,
    /// Sending and receiving half of `control` are written byte by byte.
    pub(crate) by_bytes: bool,
}

/// Bits of the mailbox's handshake (gpu-iov-hardware.md, 4.1).
pub(crate) mod control {
    /// Our message is valid.
    pub(crate) const TRN_VALID: u32 = 1 << 0;
    /// The receiver has taken our message.
    pub(crate) const TRN_ACK: u32 = 1 << 1;
    /// The VF has a message for us.
    pub(crate) const RCV_VALID: u32 = 1 << 8;
    /// Write 1: the VF's message has been taken.
    pub(crate) const RCV_ACK: u32 = 1 << 9;
}

/// Bits that let the mailbox interrupt us.
pub(crate) mod int_cntl {
    /// The VF has sent a message.
    pub(crate) const VALID: u32 = 1 << 0;
    /// The VF has acknowledged ours.
    pub(crate) const ACK: u32 = 1 << 1;
}

/// Reads the register at byte `at`; one outside the BAR reads as if nobody answered.
pub(crate) fn read(mmio: &Mmio, at: usize) -> u32 {
    mmio.try_read32(at).unwrap_or(u32::MAX)
}

/// Writes the register at byte `at`; one outside the BAR is ignored.
pub(crate) fn write(mmio: &Mmio, at: usize, value: u32) {
    let _ = mmio.try_write32(value, at);
}

/// Writes one byte at `at`; one outside the BAR is ignored.
pub(crate) fn write_byte(mmio: &Mmio, at: usize, value: u8) {
    let _ = mmio.try_write8(value, at);
}
