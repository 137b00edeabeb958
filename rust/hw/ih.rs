// SPDX-License-Identifier: GPL-2.0

//! The interrupt ring (IH): the GPU writes an entry for every event and raises one MSI.

use kernel::{
    device::Bound,
    dma::Coherent,
    io::{
        io_read,
        Io, //
    },
    pci,
    prelude::*, //
};

use super::{
    regs,
    Mmio, //
};

/// Entries of the ring: 4 KiB, which is far more than 16 VFs can have pending.
const ENTRIES: usize = 256;
/// An entry is four dwords.
const ENTRY_BYTES: u32 = 16;
/// Size of the ring in bytes.
const RING_BYTES: u32 = ENTRIES as u32 * ENTRY_BYTES;

/// One entry (gpu-iov-hardware.md, 8.4).
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// What happened.
    pub(crate) src_id: u8,
    /// Details, by source: for the mailbox, the VF's number.
    pub(crate) src_data: u32,
}

/// The ring and how far it has been read.
pub(crate) struct IhRing {
    /// The entries, and behind them the dword to which the write pointer is written back.
    mem: Coherent<[u32]>,
}

impl IhRing {
    /// Allocates the ring; [`Self::start`] makes the hardware use it.
    pub(crate) fn new(dev: &pci::Device<Bound>) -> Result<Self> {
        Ok(Self {
            mem: Coherent::<u32>::zeroed_slice(dev.as_ref(), ENTRIES * 4 + 4, GFP_KERNEL)?,
        })
    }

    /// Points the hardware at the ring and lets it interrupt.
    pub(crate) fn start(&self, mmio: &Mmio) {
        let base = self.mem.dma_address();
        let wptr = base + u64::from(RING_BYTES);
        mmio.write_reg(regs::IH_RB_CNTL::zeroed());
        // CAST: A 40-bit bus address (the DMA mask) divided by 256 fits 32 bits.
        mmio.write_reg(regs::IH_RB_BASE::from((base >> 8) as u32));
        // CAST: The two halves of the address.
        mmio.write_reg(regs::IH_RB_WPTR_ADDR_HI::from((wptr >> 32) as u32 & 0xff));
        mmio.write_reg(regs::IH_RB_WPTR_ADDR_LO::from(wptr as u32));
        mmio.write_reg(regs::IH_RB_RPTR::from(0));
        mmio.write_reg(regs::IH_RB_WPTR::from(0));
        mmio.write_reg(
            regs::IH_RB_CNTL::zeroed()
                .with_const_rb_size::<{ (RING_BYTES / 4).ilog2() }>()
                .with_wptr_writeback_enable(true)
                .with_wptr_overflow_enable(true)
                .with_rptr_rearm(true)
                .with_enable_intr(true)
                .with_rb_enable(true),
        );
    }

    /// Stops the hardware from using the ring.
    pub(crate) fn stop(&self, mmio: &Mmio) {
        mmio.write_reg(regs::IH_RB_CNTL::zeroed());
    }

    /// Where the hardware will write next, in bytes, and whether it ran over what was not read.
    pub(crate) fn write_pointer(&self, mmio: &Mmio) -> (u32, bool) {
        let raw = mmio.read(regs::IH_RB_WPTR).into_raw();
        (raw & (RING_BYTES - ENTRY_BYTES), raw & 1 != 0)
    }

    /// Tells the hardware that the overflow was noted.
    pub(crate) fn clear_overflow(&self, mmio: &Mmio) {
        mmio.update(regs::IH_RB_CNTL, |r| r.with_wptr_overflow_clear(true));
        mmio.update(regs::IH_RB_CNTL, |r| r.with_wptr_overflow_clear(false));
    }

    /// Reads the entry at `at` bytes.
    pub(crate) fn entry(&self, at: u32) -> Entry {
        let first = (at % RING_BYTES / 4) as usize;
        Entry {
            // CAST: The source id is the low byte.
            src_id: self.dword(first) as u8,
            src_data: self.dword(first + 1) & 0x0fff_ffff,
        }
    }

    /// The read pointer after the entry at `at`.
    pub(crate) fn next(at: u32) -> u32 {
        (at + ENTRY_BYTES) % RING_BYTES
    }

    /// Gives the entries before `at` back to the hardware.
    pub(crate) fn read_until(&self, mmio: &Mmio, at: u32) {
        mmio.write_reg(regs::IH_RB_RPTR::from(at));
    }

    fn dword(&self, index: usize) -> u32 {
        let read = || -> Result<u32> { Ok(io_read!(&self.mem, [try: index])) };
        // Cannot fail: the index was reduced modulo the ring.
        read().unwrap_or(0)
    }
}
