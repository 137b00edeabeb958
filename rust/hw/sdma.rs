// SPDX-License-Identifier: GPL-2.0

//! The PF's copy engine (SDMA v3.0): a ring of packets in the PF's own framebuffer.
//!
//! It works only while the PF is on the engine; when the PF is switched out, ring position and a
//! half-done packet travel through its context save area like those of any function.

use kernel::{
    io::Io,
    prelude::*, //
};

use super::{
    regs,
    Mmio, //
};
use crate::ffi::fb::FbWindow;

/// Bytes of the ring; at the start of the PF's framebuffer.
const RING_BYTES: usize = 4096;
/// Where the fence is, behind the ring.
const FENCE_AT: usize = RING_BYTES;
/// Bytes of framebuffer that ring and fence take.
pub(crate) const AREA: usize = 2 * RING_BYTES;

/// Most bytes of one CONST_FILL that other drivers use: the count has 22 bits.
const FILL_MAX: u64 = 0x3f_ffe0;
/// Dwords of CONST_FILL, FENCE and TRAP.
const FILL_DWORDS: usize = 5;
const FENCE_DWORDS: usize = 4;
const TRAP_DWORDS: usize = 2;
/// Fills that fit into the ring, with a fence and a trap behind them and one slot to spare.
const FILLS: usize = (RING_BYTES / 4 - FENCE_DWORDS - TRAP_DWORDS - 1) / FILL_DWORDS;

/// Bytes that one submission can fill.
pub(crate) const SUBMIT_MAX: u64 = FILL_MAX * FILLS as u64;

/// Opcodes (Tonga's public packet header).
mod op {
    pub(super) const FENCE: u32 = 5;
    pub(super) const TRAP: u32 = 6;
    /// With the pattern a dword.
    pub(super) const CONST_FILL: u32 = 11 | 2 << 30;
}

/// Ring and fence.
pub(crate) struct CopyEngine {
    area: FbWindow,
}

impl CopyEngine {
    /// Uses `area`, which must be at least [`AREA`] bytes from the framebuffer's first byte on.
    pub(crate) fn new(area: FbWindow) -> Self {
        Self { area }
    }

    /// Sets up the ring and has it zero the `len` bytes (at most [`SUBMIT_MAX`]) from framebuffer
    /// address `at`; then `fence` is written and the PF interrupted. Only while the PF runs.
    pub(crate) fn zero(&self, mmio: &Mmio, at: u64, len: u64, fence: u32) {
        let mut ring = Ring {
            area: &self.area,
            dwords: 0,
        };
        let (mut at, mut left) = (at, len.min(SUBMIT_MAX));
        while left > 0 {
            let bytes = left.min(FILL_MAX);
            // CAST: Halves of an address; the count is below 22 bits.
            ring.put(&[
                op::CONST_FILL,
                at as u32,
                (at >> 32) as u32,
                0,
                bytes as u32,
            ]);
            at += bytes;
            left -= bytes;
        }
        // CAST: A small constant.
        ring.put(&[op::FENCE, FENCE_AT as u32, 0, fence]);
        ring.put(&[op::TRAP, 0]);
        // CAST: At most the ring's size.
        let wptr = (ring.dwords * 4) as u32;
        mmio.write_reg(regs::SDMA0_F32_CNTL::zeroed());
        mmio.write_reg(regs::SDMA0_GFX_RB_CNTL::zeroed());
        mmio.write_reg(regs::SDMA0_GFX_RB_BASE::from(0));
        mmio.write_reg(regs::SDMA0_GFX_RB_BASE_HI::from(0));
        mmio.write_reg(regs::SDMA0_GFX_RB_RPTR::from(0));
        mmio.write_reg(regs::SDMA0_GFX_RB_WPTR::from(0));
        mmio.write_reg(
            regs::SDMA0_GFX_RB_CNTL::zeroed()
                .with_const_rb_size::<{ (RING_BYTES as u32 / 4).ilog2() }>()
                .with_rb_enable(true),
        );
        mmio.write_reg(regs::SDMA0_GFX_RB_WPTR::from(wptr));
    }

    /// Whether the ring is in force: it is not once the PF's context was lost.
    pub(crate) fn is_set_up(&self, mmio: &Mmio) -> bool {
        mmio.read(regs::SDMA0_GFX_RB_CNTL).rb_enable()
    }

    /// The last fence that was written.
    pub(crate) fn fence(&self) -> u32 {
        self.area.read32(FENCE_AT)
    }
}

/// Packets being written to the start of the ring.
struct Ring<'a> {
    area: &'a FbWindow,
    dwords: usize,
}

impl Ring<'_> {
    fn put(&mut self, packet: &[u32]) {
        for &dword in packet {
            self.area.write32(self.dwords * 4, dword);
            self.dwords += 1;
        }
    }
}
