// SPDX-License-Identifier: GPL-2.0

//! The PF's copy engine (SDMA v3.0 and v4.0): a ring of packets in the PF's own framebuffer.
//!
//! It works only while the PF is on the engine; when the PF is switched out, ring position and a
//! half-done packet travel through its context save area like those of any function.

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

/// Most bytes of one packet that other drivers use: the count has 22 bits.
const PACKET_MAX: u64 = 0x3f_ffe0;
/// Dwords of COPY (CONST_FILL has fewer), FENCE and TRAP.
const COPY_DWORDS: usize = 7;
const FENCE_DWORDS: usize = 4;
const TRAP_DWORDS: usize = 2;
/// Packets that fit into the ring, with a fence and a trap behind them and one slot to spare.
const PACKETS: usize = (RING_BYTES / 4 - FENCE_DWORDS - TRAP_DWORDS - 1) / COPY_DWORDS;

/// Bytes that one submission can fill or copy.
pub(crate) const SUBMIT_MAX: u64 = PACKET_MAX * PACKETS as u64;

/// What the copy engine is to do; framebuffer addresses, in bytes, multiples of 4.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Zero `len` bytes from `at` on.
    Zero { at: u64, len: u64 },
    /// Copy `len` bytes to where nothing of the source is.
    Copy { from: u64, to: u64, len: u64 },
}

/// Addresses and lengths of the packets for `len` bytes from `at` on.
fn pieces(at: u64, len: u64) -> impl Iterator<Item = (u64, u32)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let bytes = PACKET_MAX.min(len - done);
        let here = at + done;
        done += bytes;
        // CAST: Below 22 bits.
        (bytes != 0).then_some((here, bytes as u32))
    })
}

/// Bits of the ring's control register.
mod cntl {
    /// The ring works.
    pub(super) const RB_ENABLE: u32 = 1 << 0;
    /// Where the size is, log2 of its dwords.
    pub(super) const RB_SIZE_SHIFT: u32 = 1;
}

/// Registers of the engine, in bytes of the register BAR, and what else differs between chips.
pub(crate) struct Layout {
    /// Bit 0 halts the engine.
    pub(crate) f32_cntl: usize,
    /// Ring control.
    pub(crate) rb_cntl: usize,
    /// Ring address, bits 39:8.
    pub(crate) rb_base: usize,
    /// Ring address, bits 63:40.
    pub(crate) rb_base_hi: usize,
    /// Read position in bytes.
    pub(crate) rb_rptr: usize,
    /// Its upper half.
    pub(crate) rb_rptr_hi: Option<usize>,
    /// Write position in bytes.
    pub(crate) rb_wptr: usize,
    /// Its upper half.
    pub(crate) rb_wptr_hi: Option<usize>,
    /// What is taken off the count of a fill.
    pub(crate) count_bias: u32,
}

/// Opcodes (AMD's public packet headers for Tonga and Vega10).
mod op {
    pub(super) const FENCE: u32 = 5;
    pub(super) const TRAP: u32 = 6;
    /// From framebuffer to framebuffer, linear.
    pub(super) const COPY: u32 = 1;
    /// With the pattern a dword.
    pub(super) const CONST_FILL: u32 = 11 | 2 << 30;
}

/// Ring and fence.
pub(crate) struct CopyEngine {
    layout: &'static Layout,
    area: FbWindow,
}

impl CopyEngine {
    /// Uses `area`, which must be at least [`AREA`] bytes from the framebuffer's first byte on.
    pub(crate) fn new(area: FbWindow, layout: &'static Layout) -> Self {
        Self { layout, area }
    }

    /// Sets up the ring and has it do `job`; then `fence` is written and the PF interrupted. Only
    /// while the PF runs.
    pub(crate) fn submit(&self, mmio: &Mmio, job: Job, fence: u32) {
        let l = self.layout;
        let mut ring = Ring {
            area: &self.area,
            dwords: 0,
        };
        match job {
            Job::Zero { at, len } => {
                for (at, bytes) in pieces(at, len.min(SUBMIT_MAX)) {
                    // CAST: Halves of an address.
                    let (low, high) = (at as u32, (at >> 32) as u32);
                    ring.put(&[op::CONST_FILL, low, high, 0, bytes - l.count_bias]);
                }
            }
            Job::Copy { from, to, len } => {
                let sources = pieces(from, len.min(SUBMIT_MAX));
                for ((from, bytes), (to, _)) in sources.zip(pieces(to, len)) {
                    // CAST: Halves of addresses.
                    let source = (from as u32, (from >> 32) as u32);
                    let target = (to as u32, (to >> 32) as u32);
                    let count = bytes - l.count_bias;
                    ring.put(&[op::COPY, count, 0]);
                    ring.put(&[source.0, source.1, target.0, target.1]);
                }
            }
        }
        // CAST: A small constant.
        ring.put(&[op::FENCE, FENCE_AT as u32, 0, fence]);
        ring.put(&[op::TRAP, 0]);
        // CAST: At most the ring's size.
        self.start(mmio, (ring.dwords * 4) as u32);
    }

    fn start(&self, mmio: &Mmio, wptr: u32) {
        let l = self.layout;
        regs::write(mmio, l.f32_cntl, 0);
        regs::write(mmio, l.rb_cntl, 0);
        regs::write(mmio, l.rb_base, 0);
        regs::write(mmio, l.rb_base_hi, 0);
        let positions = [Some(l.rb_rptr), l.rb_rptr_hi, Some(l.rb_wptr), l.rb_wptr_hi];
        for at in positions.into_iter().flatten() {
            regs::write(mmio, at, 0);
        }
        let size = (RING_BYTES / 4).ilog2();
        regs::write(
            mmio,
            l.rb_cntl,
            cntl::RB_ENABLE | size << cntl::RB_SIZE_SHIFT,
        );
        regs::write(mmio, l.rb_wptr, wptr);
    }

    /// Whether the ring is in force: it is not once the PF's context was lost.
    pub(crate) fn is_set_up(&self, mmio: &Mmio) -> bool {
        regs::read(mmio, self.layout.rb_cntl) & cntl::RB_ENABLE != 0
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
