// SPDX-License-Identifier: GPL-2.0
//! The interrupt ring of a function, by bus address (gpu-iov-hardware.md, section 8.4).
//!
//! It works whether or not the function is on the engine: mailbox interrupts reach a VF that
//! waits for its slice.

use gpu_regs::ih::{
    rb_bytes, Entry, ENABLE_INTR, ENTRY_BYTES, PTR_MASK, RB_ENABLE, RPTR_REARM, WPTR_OVERFLOW,
    WPTR_OVERFLOW_CLEAR, WPTR_WRITEBACK_ENABLE,
};
use gpu_regs::{mmio, referee::fault};

use crate::{Gpu, Host};

/// Registers and state of an interrupt ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ih {
    pub(crate) cntl: u32,
    pub(crate) base: u32,
    pub(crate) rptr: u32,
    pub(crate) wptr: u32,
    pub(crate) wb_hi: u32,
    pub(crate) wb_lo: u32,
    pub(crate) doorbell: u32,
    pub(crate) overflow: bool,
    /// With RPTR_REARM: an interrupt was raised and RPTR not written since.
    pub(crate) quiet: bool,
}

impl Ih {
    /// Reads register `index`; `None` if it does not belong here.
    pub(crate) fn read(&self, index: u32) -> Option<u32> {
        Some(match index {
            mmio::IH_RB_CNTL => self.cntl,
            mmio::IH_RB_BASE => self.base,
            mmio::IH_RB_RPTR => self.rptr,
            mmio::IH_RB_WPTR => self.wptr | (u32::from(self.overflow) * WPTR_OVERFLOW),
            mmio::IH_RB_WPTR_ADDR_HI => self.wb_hi,
            mmio::IH_RB_WPTR_ADDR_LO => self.wb_lo,
            mmio::IH_DOORBELL_RPTR => self.doorbell,
            _ => return None,
        })
    }

    fn size_mask(&self) -> u32 {
        rb_bytes(self.cntl) - 1
    }

    /// Whether the read position was written and entries are waiting.
    fn rptr_written(&mut self, value: u32) -> bool {
        self.rptr = value & PTR_MASK & self.size_mask();
        self.quiet = false;
        self.rptr != self.wptr && self.cntl & (RB_ENABLE | RPTR_REARM) == RB_ENABLE | RPTR_REARM
    }

    /// Takes over `other`, which was saved.  If it is the same ring, the positions stay: entries
    /// arrived, or were read, while the function was away.
    pub(crate) fn restore(&mut self, other: Ih) {
        let same = self.cntl & RB_ENABLE != 0 && self.base == other.base && self.cntl == other.cntl;
        if !same {
            *self = other;
        }
    }
}

impl Gpu {
    /// Writes an interrupt register of `slot`; `false` if it does not belong here.
    pub(crate) fn ih_write(&mut self, h: &mut dyn Host, slot: usize, index: u32, v: u32) -> bool {
        let Some(f) = self.funcs.get_mut(slot) else {
            return false;
        };
        let ih = &mut f.ih;
        match index {
            mmio::IH_RB_CNTL => {
                if v & WPTR_OVERFLOW_CLEAR != 0 {
                    ih.overflow = false;
                }
                ih.cntl = v & !WPTR_OVERFLOW_CLEAR;
                ih.quiet = false;
                let mask = ih.size_mask();
                ih.rptr &= mask;
                ih.wptr &= mask;
            }
            mmio::IH_RB_BASE => ih.base = v,
            mmio::IH_RB_RPTR => {
                if ih.rptr_written(v) {
                    self.ih_raise(h, slot);
                }
            }
            mmio::IH_RB_WPTR => {
                ih.wptr = v & PTR_MASK & ih.size_mask();
                ih.overflow = false;
            }
            mmio::IH_RB_WPTR_ADDR_HI => ih.wb_hi = v & 0xFF,
            mmio::IH_RB_WPTR_ADDR_LO => ih.wb_lo = v & !3,
            mmio::IH_DOORBELL_RPTR => ih.doorbell = v,
            _ => return false,
        }
        true
    }

    /// A doorbell of `slot` was rung; `true` if it was the interrupt ring's.
    pub(crate) fn ih_doorbell(
        &mut self,
        h: &mut dyn Host,
        slot: usize,
        index: u32,
        v: u32,
    ) -> bool {
        let Some(f) = self.funcs.get_mut(slot) else {
            return false;
        };
        let db = f.ih.doorbell;
        if db & mmio::DOORBELL_ENABLE == 0 || db & mmio::DOORBELL_OFFSET != index {
            return false;
        }
        if f.ih.rptr_written(v) {
            self.ih_raise(h, slot);
        }
        true
    }

    /// Puts an entry into the ring of `slot` and interrupts.  A full ring is overwritten and its
    /// overflow bit set, as the hardware does.
    pub(crate) fn ih_push(&mut self, h: &mut dyn Host, slot: usize, entry: Entry) {
        let Some(f) = self.funcs.get_mut(slot) else {
            return;
        };
        let ih = &mut f.ih;
        if ih.cntl & RB_ENABLE == 0 || rb_bytes(ih.cntl) < ENTRY_BYTES {
            return;
        }
        let mask = ih.size_mask();
        let at = (u64::from(ih.base) << 8) + u64::from(ih.wptr & !(ENTRY_BYTES - 1));
        ih.wptr = ih.wptr.wrapping_add(ENTRY_BYTES) & mask & !(ENTRY_BYTES - 1);
        if ih.wptr == ih.rptr {
            ih.overflow = true;
            f.stats.ih_overflows += 1;
        }
        let wptr = ih.wptr | (u32::from(ih.overflow) * WPTR_OVERFLOW);
        let wb = (ih.cntl & WPTR_WRITEBACK_ENABLE != 0)
            .then_some((u64::from(ih.wb_hi) << 32) | u64::from(ih.wb_lo));
        let raise = !ih.quiet;
        let mut bytes = [0; 16];
        for (b, d) in bytes.chunks_exact_mut(4).zip(entry.encode()) {
            b.copy_from_slice(&d.to_le_bytes());
        }
        let mut ok = h.dma_write(slot, at, &bytes);
        if let Some(wb) = wb {
            ok &= h.dma_write(slot, wb, &wptr.to_le_bytes());
        }
        if !ok {
            f.stats.dma_faults += 1;
        }
        if raise {
            self.ih_raise(h, slot);
        }
    }

    fn ih_raise(&mut self, h: &mut dyn Host, slot: usize) {
        let Some(f) = self.funcs.get_mut(slot) else {
            return;
        };
        if f.ih.cntl & ENABLE_INTR == 0
            || self.faults.strike(fault::LOST_INTERRUPT, slot, 0).is_some()
        {
            return;
        }
        f.ih.quiet = f.ih.cntl & RPTR_REARM != 0;
        f.stats.interrupts += 1;
        h.interrupt(slot);
    }
}
