// SPDX-License-Identifier: GPL-2.0
//! The interrupt ring of a function, by bus address (gpu-iov-hardware.md, section 8.4).
//!
//! It works whether or not the function is on the engine: mailbox interrupts reach a VF that
//! waits for its slice.

use gpu_regs::chip::DOORBELL_ENABLE;
use gpu_regs::ih::{
    rb_bytes, Entry, IhRegs, ENABLE_INTR, PTR_MASK, RB_ENABLE, RPTR_REARM, WPTR_OVERFLOW,
    WPTR_OVERFLOW_CLEAR, WPTR_WRITEBACK_ENABLE,
};
use gpu_regs::referee::fault;

use crate::{Gpu, Host};

/// Registers and state of an interrupt ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ih {
    pub(crate) cntl: u32,
    pub(crate) base: u32,
    pub(crate) base_hi: u32,
    pub(crate) rptr: u32,
    pub(crate) wptr: u32,
    pub(crate) wb_hi: u32,
    pub(crate) wb_lo: u32,
    pub(crate) doorbell: u32,
    pub(crate) overflow: bool,
    /// With RPTR_REARM: an interrupt was raised and RPTR not written since.
    pub(crate) quiet: bool,
}

/// 32-bit words of an interrupt ring's registers.
pub(crate) const IH_WORDS: usize = 8;

impl Ih {
    /// Reads register `index`; `None` if it does not belong here.
    pub(crate) fn read(&self, regs: &IhRegs, index: u32) -> Option<u32> {
        Some(match index {
            i if i == regs.cntl => self.cntl,
            i if i == regs.base => self.base,
            i if Some(i) == regs.base_hi => self.base_hi,
            i if i == regs.rptr => self.rptr,
            i if i == regs.wptr => self.wptr | (u32::from(self.overflow) * WPTR_OVERFLOW),
            i if i == regs.wptr_addr_hi => self.wb_hi,
            i if i == regs.wptr_addr_lo => self.wb_lo,
            i if i == regs.doorbell => self.doorbell,
            _ => return None,
        })
    }

    /// Its registers in the order of an image.
    pub(crate) fn words(&self) -> [u32; IH_WORDS] {
        [
            self.cntl,
            self.base,
            self.base_hi,
            self.rptr,
            self.wptr,
            self.wb_hi,
            self.wb_lo,
            self.doorbell,
        ]
    }

    pub(crate) fn from_words(words: [u32; IH_WORDS], overflow: bool, quiet: bool) -> Self {
        let [cntl, base, base_hi, rptr, wptr, wb_hi, wb_lo, doorbell] = words;
        Self {
            cntl,
            base,
            base_hi,
            rptr,
            wptr,
            wb_hi,
            wb_lo,
            doorbell,
            overflow,
            quiet,
        }
    }

    /// Whether both are one ring, wherever they stand in it.
    pub(crate) fn is_ring_of(&self, other: &Self) -> bool {
        (self.cntl, self.base, self.base_hi) == (other.cntl, other.base, other.base_hi)
    }

    /// Entries wait to be read.
    pub(crate) fn unread(&self) -> bool {
        self.cntl & RB_ENABLE != 0 && (self.rptr != self.wptr || self.overflow)
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
        if self.cntl & RB_ENABLE == 0 || !self.is_ring_of(&other) {
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
        let (ih, regs) = (&mut f.ih, &self.chip.regs.ih);
        match index {
            i if i == regs.cntl => {
                if v & WPTR_OVERFLOW_CLEAR != 0 {
                    ih.overflow = false;
                }
                ih.cntl = v & !WPTR_OVERFLOW_CLEAR;
                ih.quiet = false;
                let mask = ih.size_mask();
                ih.rptr &= mask;
                ih.wptr &= mask;
            }
            i if i == regs.base => ih.base = v,
            i if Some(i) == regs.base_hi => ih.base_hi = v & 0xFF,
            i if i == regs.rptr => {
                if ih.rptr_written(v) {
                    self.ih_raise(h, slot);
                }
            }
            i if i == regs.wptr => {
                ih.wptr = v & PTR_MASK & ih.size_mask();
                ih.overflow = false;
            }
            i if i == regs.wptr_addr_hi => ih.wb_hi = v & 0xFF,
            i if i == regs.wptr_addr_lo => ih.wb_lo = v & !3,
            i if i == regs.doorbell => ih.doorbell = v,
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
        if db & DOORBELL_ENABLE == 0 || db & self.chip.regs.ih.doorbell_mask != index {
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
        let (ih, size) = (&mut f.ih, self.chip.ih.bytes());
        if ih.cntl & RB_ENABLE == 0 || rb_bytes(ih.cntl) < size {
            return;
        }
        let mask = ih.size_mask();
        let base = (u64::from(ih.base) << 8) | (u64::from(ih.base_hi) << 40);
        let at = base.wrapping_add(u64::from(ih.wptr & !(size - 1)));
        ih.wptr = ih.wptr.wrapping_add(size) & mask & !(size - 1);
        if ih.wptr == ih.rptr {
            ih.overflow = true;
            f.stats.ih_overflows += 1;
        }
        let wptr = ih.wptr | (u32::from(ih.overflow) * WPTR_OVERFLOW);
        let wb = (ih.cntl & WPTR_WRITEBACK_ENABLE != 0)
            .then_some((u64::from(ih.wb_hi) << 32) | u64::from(ih.wb_lo));
        let raise = !ih.quiet;
        let mut bytes = [0; 32];
        for (b, d) in bytes.chunks_exact_mut(4).zip(self.chip.ih.encode(entry)) {
            b.copy_from_slice(&d.to_le_bytes());
        }
        let bytes = bytes.get(..size as usize).unwrap_or_default();
        let mut ok = self.dma_logs.write(h, slot, at, bytes);
        if let Some(wb) = wb {
            ok &= self.dma_logs.write(h, slot, wb, &wptr.to_le_bytes());
        }
        if !ok {
            f.stats.dma_faults += 1;
        }
        if raise {
            self.ih_raise(h, slot);
        }
        self.follow(h, slot);
    }

    pub(crate) fn ih_raise(&mut self, h: &mut dyn Host, slot: usize) {
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
