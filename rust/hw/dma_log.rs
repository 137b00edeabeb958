// SPDX-License-Identifier: GPL-2.0

//! The DMA log: which pages of system memory a VF has written.
//!
//! No public source describes one; this is the log of the emulated GPU (emulated-gpu.md), found by
//! its magic number. The hardware keeps all there is to know, so that it outlives this driver's
//! replacement.

use kernel::prelude::*;

use super::dirty::{
    find_registers,
    Selected, //
};
use crate::{
    ffi::{
        pci::BoundPf,
        seam::DirtyPages, //
    },
    gim_core::types::VfId, //
};

/// Registers, in bytes from the start of the block.
mod reg {
    pub(super) const CAP: usize = 0x00;
    pub(super) const FCN: usize = 0x04;
    pub(super) const CNTL: usize = 0x08;
    pub(super) const FROM_LO: usize = 0x10;
    pub(super) const FROM_HI: usize = 0x14;
    pub(super) const AT_LO: usize = 0x18;
    pub(super) const AT_HI: usize = 0x1c;
    pub(super) const DATA: usize = 0x20;
    pub(super) const MAGIC: usize = 0x24;
    /// Bytes of the block.
    pub(super) const LEN: usize = 0x40;
}

/// CNTL: writes are logged; clear the log.
const ENABLE: u32 = 1 << 0;
const CLEAR: u32 = 1 << 1;

/// MAGIC and version that are known.
const MAGIC: u32 = u32::from_le_bytes(*b"DLOG");
const VERSION: u32 = 1;

/// Pages of a group, which a word of DATA stands for.
const GROUP: u64 = 32;

/// The DMA log of a GPU.
pub(crate) struct DmaLog {
    regs: Selected,
}

impl DmaLog {
    /// Looks for a log whose registers are at byte `at` of BAR `bar`.
    pub(crate) fn find(pf: &BoundPf, bar: u32, at: u64) -> Result<Option<Self>> {
        let (cap, magic) = ((reg::CAP, VERSION), (reg::MAGIC, MAGIC));
        let regs = find_registers(pf, bar, at, reg::LEN, cap, magic)?;
        Ok(regs.map(|regs| Self { regs }))
    }

    /// Begins to log what a VF writes, with no page marked, or ends it.
    pub(crate) fn set(&self, vf: VfId, on: bool) {
        let regs = self.regs.lock();
        regs.write32(reg::FCN, vf.raw().into());
        regs.write32(reg::CNTL, if on { ENABLE | CLEAR } else { CLEAR });
    }

    /// Moves the marks of pages `first` to `last` to `out`; returns how many groups these are. If
    /// `out` is full there may be more.
    ///
    /// Whoever reads a page after that has at least what was written before. `ESTALE`: writes are
    /// not logged, because the GPU was reset, say.
    pub(crate) fn take(
        &self,
        vf: VfId,
        first: u64,
        last: u64,
        out: &mut [DirtyPages],
    ) -> Result<usize> {
        let regs = self.regs.lock();
        regs.write32(reg::FCN, vf.raw().into());
        match regs.read32(reg::CNTL) {
            u32::MAX => return Err(ENODEV),
            cntl if cntl & ENABLE == 0 => return Err(ESTALE),
            _ => {}
        }
        // CAST: Halves of a number.
        regs.write32(reg::FROM_HI, (first >> 32) as u32);
        regs.write32(reg::FROM_LO, first as u32);
        let mut taken = 0;
        while let Some(slot) = out.get_mut(taken) {
            let low = u64::from(regs.read32(reg::AT_LO));
            let page = u64::from(regs.read32(reg::AT_HI)) << 32 | low;
            // Behind the last one there is all ones.
            if page > last {
                break;
            }
            // Clears the group, and goes on behind it.
            let all = regs.read32(reg::DATA);
            let bits = all & within(page, first, last);
            if bits != all {
                regs.write32(reg::DATA, all & !bits);
            }
            if bits != 0 {
                *slot = DirtyPages { page, bits };
                taken += 1;
            }
        }
        Ok(taken)
    }
}

/// Which pages of the group at `page` are `first` to `last`, a bit each.
fn within(page: u64, first: u64, last: u64) -> u32 {
    let skip = first.saturating_sub(page).min(GROUP);
    let keep = last.saturating_sub(page).min(GROUP - 1);
    // CAST: Up to 32, and up to 31.
    let from = u32::MAX.checked_shl(skip as u32).unwrap_or(0);
    from & u32::MAX >> (GROUP - 1 - keep) as u32
}
