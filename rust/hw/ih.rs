// SPDX-License-Identifier: GPL-2.0

//! The interrupt ring (IH): the GPU writes an entry for every event and raises one MSI.

use kernel::{
    device::Bound,
    dma::Coherent,
    io::io_read,
    pci,
    prelude::*, //
};

use super::{
    regs,
    Mmio, //
};

/// Size of the ring in bytes: at least 128 entries, far more than 16 VFs can have pending.
const RING_BYTES: u32 = 4096;

/// Bits of the control register.
mod cntl {
    /// The ring works.
    pub(super) const RB_ENABLE: u32 = 1 << 0;
    /// Where the size is, log2 of its dwords.
    pub(super) const RB_SIZE_SHIFT: u32 = 1;
    /// Write the write pointer to memory too.
    pub(super) const WPTR_WRITEBACK_ENABLE: u32 = 1 << 8;
    /// Tell of overflows.
    pub(super) const WPTR_OVERFLOW_ENABLE: u32 = 1 << 16;
    /// Interrupt.
    pub(super) const ENABLE_INTR: u32 = 1 << 17;
    /// Interrupt again once the read pointer was written.
    pub(super) const RPTR_REARM: u32 = 1 << 21;
    /// Write 1: the overflow has been noted.
    pub(super) const WPTR_OVERFLOW_CLEAR: u32 = 1 << 31;
}

/// Registers of the ring, in bytes of the register BAR, and what else differs between chips.
pub(crate) struct Layout {
    /// Control.
    pub(crate) cntl: usize,
    /// Bus address, bits 39:8.
    pub(crate) base: usize,
    /// Bus address, bits above 40.
    pub(crate) base_hi: Option<usize>,
    /// Read pointer in bytes.
    pub(crate) rptr: usize,
    /// Write pointer in bytes, overflow in bit 0.
    pub(crate) wptr: usize,
    /// Where the write pointer is written back, bits above 32.
    pub(crate) wptr_addr_hi: usize,
    /// Where the write pointer is written back, bits 31:0.
    pub(crate) wptr_addr_lo: usize,
    /// Bits of the control register that say that the ring lies at a bus address.
    pub(crate) cntl_bus: u32,
    /// How an entry looks.
    pub(crate) format: Format,
}

/// How an entry looks.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    /// Four dwords: source, data (gpu-iov-hardware.md, 8.4).
    Vi,
    /// Eight dwords: client and source, time stamp, data.
    Soc15,
}

impl Format {
    const fn bytes(self) -> u32 {
        match self {
            Self::Vi => 16,
            Self::Soc15 => 32,
        }
    }
}

/// One entry.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// Which block speaks; 0 where there is one number space of sources.
    pub(crate) client: u8,
    /// What happened.
    pub(crate) src_id: u8,
    /// Details, by source: for the mailbox, the VF's number.
    pub(crate) src_data: u32,
}

/// The ring and how far it has been read.
pub(crate) struct IhRing {
    layout: &'static Layout,
    /// The entries, and behind them the dword to which the write pointer is written back.
    mem: Coherent<[u32]>,
}

impl IhRing {
    /// Allocates the ring; [`Self::start`] makes the hardware use it.
    pub(crate) fn new(dev: &pci::Device<Bound>, layout: &'static Layout) -> Result<Self> {
        // CAST: A small constant.
        let dwords = (RING_BYTES / 4 + 4) as usize;
        Ok(Self {
            layout,
            mem: Coherent::<u32>::zeroed_slice(dev.as_ref(), dwords, GFP_KERNEL)?,
        })
    }

    /// Points the hardware at the ring and lets it interrupt.
    pub(crate) fn start(&self, mmio: &Mmio) {
        let (l, base) = (self.layout, self.mem.dma_address());
        let wptr = base + u64::from(RING_BYTES);
        regs::write(mmio, l.cntl, 0);
        // CAST: Parts of addresses of at most 48 bits.
        regs::write(mmio, l.base, (base >> 8) as u32);
        if let Some(base_hi) = l.base_hi {
            regs::write(mmio, base_hi, (base >> 40) as u32 & 0xff);
        }
        regs::write(mmio, l.wptr_addr_hi, (wptr >> 32) as u32 & 0xff);
        regs::write(mmio, l.wptr_addr_lo, wptr as u32);
        regs::write(mmio, l.rptr, 0);
        regs::write(mmio, l.wptr, 0);
        regs::write(
            mmio,
            l.cntl,
            l.cntl_bus
                | cntl::RB_ENABLE
                | (RING_BYTES / 4).ilog2() << cntl::RB_SIZE_SHIFT
                | cntl::WPTR_WRITEBACK_ENABLE
                | cntl::WPTR_OVERFLOW_ENABLE
                | cntl::ENABLE_INTR
                | cntl::RPTR_REARM,
        );
    }

    /// Stops the hardware from using the ring.
    pub(crate) fn stop(&self, mmio: &Mmio) {
        regs::write(mmio, self.layout.cntl, 0);
    }

    /// Where the hardware will write next, in bytes, and whether it ran over what was not read.
    pub(crate) fn write_pointer(&self, mmio: &Mmio) -> (u32, bool) {
        let raw = regs::read(mmio, self.layout.wptr);
        (
            raw & (RING_BYTES - self.layout.format.bytes()),
            raw & 1 != 0,
        )
    }

    /// Tells the hardware that the overflow was noted.
    pub(crate) fn clear_overflow(&self, mmio: &Mmio) {
        let at = self.layout.cntl;
        let value = regs::read(mmio, at) & !cntl::WPTR_OVERFLOW_CLEAR;
        regs::write(mmio, at, value | cntl::WPTR_OVERFLOW_CLEAR);
        regs::write(mmio, at, value);
    }

    /// Reads the entry at `at` bytes.
    pub(crate) fn entry(&self, at: u32) -> Entry {
        // CAST: Below the ring's size; then bytes of a dword.
        let dword = |n: usize| self.dword((at % RING_BYTES / 4) as usize + n);
        let head = dword(0);
        let (client, source, data) = match self.layout.format {
            Format::Vi => (0, head, dword(1)),
            Format::Soc15 => (head as u8, head >> 8, dword(4)),
        };
        Entry {
            client,
            src_id: source as u8,
            src_data: data & 0x0fff_ffff,
        }
    }

    /// The read pointer after the entry at `at`.
    pub(crate) fn next(&self, at: u32) -> u32 {
        (at + self.layout.format.bytes()) % RING_BYTES
    }

    /// Gives the entries before `at` back to the hardware.
    pub(crate) fn read_until(&self, mmio: &Mmio, at: u32) {
        regs::write(mmio, self.layout.rptr, at);
    }

    fn dword(&self, index: usize) -> u32 {
        let read = || -> Result<u32> { Ok(io_read!(&self.mem, [try: index])) };
        // Cannot fail: the index was reduced modulo the ring.
        read().unwrap_or(0)
    }
}
