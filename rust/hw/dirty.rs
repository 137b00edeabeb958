// SPDX-License-Identifier: GPL-2.0

//! The dirty plane: which pages of a VF's framebuffer the VF has written.
//!
//! No public source describes one; this is the plane of the emulated GPU (emulated-gpu.md), found
//! by its magic number. A GPU without it answers otherwise, and is not asked again.

use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

use crate::{
    ffi::{
        fb::FbWindow,
        pci::BoundPf, //
    },
    gim_core::types::VfId, //
};

/// Registers, in bytes from the start of the block.
mod reg {
    pub(super) const CAP: usize = 0x00;
    pub(super) const FCN: usize = 0x04;
    pub(super) const CNTL: usize = 0x08;
    pub(super) const COUNT: usize = 0x0c;
    pub(super) const INDEX: usize = 0x10;
    pub(super) const DATA: usize = 0x14;
    pub(super) const SUMMARY_INDEX: usize = 0x18;
    pub(super) const SUMMARY: usize = 0x1c;
    pub(super) const MAGIC: usize = 0x20;
    /// Bytes of the block.
    pub(super) const LEN: usize = 0x40;
}

/// CNTL: tracking is on; clear the plane.
const ENABLE: u32 = 1 << 0;
const CLEAR: u32 = 1 << 1;

/// MAGIC, version and log2 of the page size that are known.
const MAGIC: u32 = u32::from_le_bytes(*b"DPLN");
const VERSION: u32 = 1;
const PAGE_SHIFT: u32 = 12;

/// Registers that show one VF at a time: selecting it and reading must not be separated.
pub(super) type Selected = Pin<KBox<Mutex<FbWindow>>>;

/// Looks for `len` bytes of registers of ours at byte `at` of BAR `bar`, which have `cap` (place,
/// version, with pages of 4 KiB) and `magic` (place, value).
pub(super) fn find_registers(
    pf: &BoundPf,
    bar: u32,
    at: u64,
    len: usize,
    cap: (usize, u32),
    magic: (usize, u32),
) -> Result<Option<Selected>> {
    let Ok(regs) = pf.registers(bar, at, len) else {
        return Ok(None);
    };
    let found = regs.read32(cap.0);
    let known = found & 0xff == cap.1 && found >> 8 & 0xff == PAGE_SHIFT;
    if regs.read32(magic.0) != magic.1 || !known {
        return Ok(None);
    }
    KBox::pin_init(new_mutex!(regs), GFP_KERNEL).map(Some)
}

/// The dirty plane of a GPU.
pub(crate) struct DirtyPlane {
    regs: Selected,
}

impl DirtyPlane {
    /// Looks for a plane whose registers are at byte `at` of BAR `bar`.
    pub(crate) fn find(pf: &BoundPf, bar: u32, at: u64) -> Result<Option<Self>> {
        let (cap, magic) = ((reg::CAP, VERSION), (reg::MAGIC, MAGIC));
        let regs = find_registers(pf, bar, at, reg::LEN, cap, magic)?;
        Ok(regs.map(|regs| Self { regs }))
    }

    /// Begins to track a VF, with no page marked, or ends it.
    pub(crate) fn track(&self, vf: VfId, on: bool) {
        let regs = self.regs.lock();
        regs.write32(reg::FCN, vf.raw().into());
        regs.write32(reg::CNTL, if on { ENABLE | CLEAR } else { CLEAR });
    }

    /// Adds the pages that were marked to `map`, a bit each, and forgets them there.
    pub(crate) fn take(&self, vf: VfId, map: &mut [u64]) {
        let regs = self.regs.lock();
        regs.write32(reg::FCN, vf.raw().into());
        let count = regs.read32(reg::COUNT);
        if count == 0 || count == u32::MAX {
            return;
        }
        // A word of the summary stands for 32 words of 32 pages: for 16 words of the map.
        for (i, words) in map.chunks_mut(16).enumerate() {
            // CAST: A framebuffer of 1 TiB has 2^18 of them.
            let i = i as u32;
            regs.write32(reg::SUMMARY_INDEX, i);
            let summary = regs.read32(reg::SUMMARY);
            for bit in (0..32).filter(|bit| summary >> bit & 1 != 0) {
                regs.write32(reg::INDEX, i * 32 + bit);
                let marked = u64::from(regs.read32(reg::DATA));
                // CAST: 0 to 15.
                if let Some(word) = words.get_mut(bit as usize / 2) {
                    *word |= marked << (bit % 2 * 32);
                }
            }
        }
    }
}
