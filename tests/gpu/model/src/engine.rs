// SPDX-License-Identifier: GPL-2.0
//! The work engine: one SDMA ring of the function that runs, executed in virtual time.
//!
//! A packet costs a fixed time, and its bytes cost time at the engine's rate.  It can be stopped
//! between any two bytes; how far it came is part of the context.

use gpu_regs::chip::Chip;
use gpu_regs::ih::{Entry, SRC_SDMA_ILLEGAL, SRC_SDMA_TRAP};
use gpu_regs::sdma::{self, Packet, Poll, SdmaRegs};

use crate::{Gpu, Host};

/// Bytes moved at once.
const CHUNK: u32 = 64 << 10;
/// Pause between two looks at a write position in memory.
const WPTR_POLL_NS: u64 = 20_000;
/// Longest pause between two tests of a poll.
const POLL_MAX_NS: u64 = 100_000;

/// A packet in progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Op {
    /// Its first dwords, as fetched.
    pub(crate) head: [u32; 8],
    /// Time spent on it; for a poll, since the last test.
    pub(crate) elapsed: u64,
    /// Bytes written.
    pub(crate) done: u32,
    /// Tests of a poll that failed.
    pub(crate) tests: u32,
}

/// An indirect buffer in progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ib {
    pub(crate) base: u64,
    pub(crate) dwords: u32,
    pub(crate) pos: u32,
}

/// State of the engine beside the registers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) op: Option<Op>,
    pub(crate) ib: Option<Ib>,
    /// Met a packet it could not execute; cleared by disabling the ring.
    pub(crate) halted: bool,
    /// The read position has to be written back.
    pub(crate) rptr_moved: bool,
}

impl Op {
    fn packet(&self, chip: &Chip) -> Packet<u32> {
        // Only decodable heads become an Op.
        Packet::decode(chip.sdma, &self.head).unwrap_or(Packet::Nop { extra: 0 })
    }

    fn bytes(&self, chip: &Chip) -> u32 {
        match self.packet(chip) {
            Packet::CopyLinear { bytes, .. } | Packet::ConstFill { bytes, .. } => bytes,
            Packet::WriteLinear { data, .. } => data.saturating_mul(4),
            _ => 0,
        }
    }

    /// Time from the last test of a poll to the next.
    fn period(&self, p: &Poll, packet_ns: u64) -> u64 {
        if self.tests == 0 {
            packet_ns
        } else if p.retry == sdma::POLL_RETRY_FOREVER {
            // Slower and slower, so that a hang costs the host little.
            (1000 << self.tests.min(10)).min(POLL_MAX_NS)
        } else {
            (u64::from(p.interval) * 10).max(1000)
        }
    }
}

impl Gpu {
    fn sdma(&self) -> &'static SdmaRegs {
        &self.chip.regs.sdma
    }

    /// Whether the function on the engine has anything to do.
    pub(crate) fn engine_has_work(&self) -> bool {
        let e = &self.ctx.engine;
        e.op.is_some() || e.ib.is_some() || (!e.halted && self.ring_dwords() > 0)
    }

    /// Whether the packet in progress cannot be interrupted by IDLE.
    pub(crate) fn engine_blocks_idle(&self) -> bool {
        match self.ctx.engine.op.map(|o| o.packet(self.chip)) {
            Some(Packet::PollRegmem(p)) => {
                let hang =
                    p.retry == sdma::POLL_RETRY_FOREVER && p.interval == sdma::POLL_INTERVAL_HANG;
                hang || self.cfg.poll_blocks_idle
            }
            _ => false,
        }
    }

    /// When the engine does the next thing that may be seen.
    pub(crate) fn engine_due(&self) -> Option<u64> {
        self.running()?;
        let Some(op) = self.ctx.engine.op else {
            return self.polls_wptr().then_some(self.engine_at + WPTR_POLL_NS);
        };
        let total = match op.packet(self.chip) {
            Packet::PollRegmem(p) => op.period(&p, u64::from(self.cfg.packet_ns)),
            _ => self.op_total(&op),
        };
        Some(self.engine_at + total.saturating_sub(op.elapsed))
    }

    fn op_total(&self, op: &Op) -> u64 {
        let bytes = u64::from(op.bytes(self.chip)) * 1000;
        u64::from(self.cfg.packet_ns) + bytes.div_ceil(u64::from(self.cfg.rate))
    }

    fn ring_on(&self) -> bool {
        let r = &self.ctx.regs;
        r.get(self.sdma().rb_cntl) & sdma::RB_ENABLE != 0
            && r.get(self.sdma().f32_cntl) & sdma::F32_HALT == 0
    }

    fn polls_wptr(&self) -> bool {
        let cntl = self.ctx.regs.get(self.sdma().wptr_poll_cntl);
        self.ring_on() && !self.ctx.engine.halted && cntl & self.sdma().wptr_poll_enable != 0
    }

    fn ring_bytes(&self) -> u32 {
        sdma::rb_bytes(self.ctx.regs.get(self.sdma().rb_cntl))
    }

    /// Dwords between read and write position.
    fn ring_dwords(&self) -> u32 {
        if !self.ring_on() {
            return 0;
        }
        let r = &self.ctx.regs;
        let wptr = r.get(self.sdma().rb_wptr);
        (wptr.wrapping_sub(r.get(self.sdma().rb_rptr)) & (self.ring_bytes() - 1)) / 4
    }

    /// Reads the write position from memory, if that is asked for.
    pub(crate) fn poll_wptr(&mut self, h: &mut dyn Host, slot: usize) {
        if !self.polls_wptr() {
            return;
        }
        let (lo, hi) = (self.sdma().wptr_poll_addr_lo, self.sdma().wptr_poll_addr_hi);
        let addr = self.ctx.regs.get64(lo, hi) & !3;
        if let Some(v) = self.mem_read32(h, slot, addr) {
            self.ctx.regs.set(self.sdma().rb_wptr, v & !3);
        }
    }

    /// Executes until `until`.
    pub(crate) fn run_engine(&mut self, h: &mut dyn Host, until: u64) {
        while let Some(slot) = self.running() {
            if self.ctx.engine.op.is_none() && !self.fetch(h, slot) {
                // Nothing to do; what shows up now starts now.
                self.engine_at = self.engine_at.max(until);
                self.poll_wptr(h, slot);
                self.fetch(h, slot);
                return;
            }
            if self.engine_at >= until {
                return;
            }
            self.step(h, slot, until);
        }
        self.engine_at = self.engine_at.max(until);
    }

    /// Spends time on the packet in progress, to its end or to `until`.
    fn step(&mut self, h: &mut dyn Host, slot: usize, until: u64) {
        let Some(mut op) = self.ctx.engine.op else {
            return;
        };
        let packet = op.packet(self.chip);
        let packet_ns = u64::from(self.cfg.packet_ns);
        let total = match &packet {
            Packet::PollRegmem(p) => op.period(p, packet_ns),
            _ => self.op_total(&op),
        };
        let run = total.saturating_sub(op.elapsed).min(until - self.engine_at);
        op.elapsed += run;
        self.engine_at += run;
        if let Some(f) = self.funcs.get_mut(slot) {
            f.stats.busy_ns += run;
        }
        let over = op.elapsed >= total;
        if let Packet::PollRegmem(p) = packet {
            if over {
                op.elapsed = 0;
                let passed = self.poll_passes(h, slot, &p);
                op.tests = op.tests.saturating_add(1);
                let tired = p.retry != sdma::POLL_RETRY_FOREVER && op.tests > p.retry;
                if passed || tired {
                    return self.finish(h, slot, &op, packet);
                }
            }
            self.ctx.engine.op = Some(op);
            return;
        }
        let bytes = op.bytes(self.chip);
        let reached = if over {
            bytes
        } else {
            let ns = op.elapsed.saturating_sub(packet_ns);
            (ns * u64::from(self.cfg.rate) / 1000).min(u64::from(bytes)) as u32
        };
        self.transfer(h, slot, &mut op, &packet, reached);
        if over {
            self.finish(h, slot, &op, packet);
        } else {
            self.ctx.engine.op = Some(op);
        }
    }

    /// Moves the packet's bytes up to `reached`.
    fn transfer(
        &mut self,
        h: &mut dyn Host,
        slot: usize,
        op: &mut Op,
        packet: &Packet<u32>,
        reached: u32,
    ) {
        while op.done < reached {
            let n = (reached - op.done).min(CHUNK);
            let mut buf = vec![0; n as usize];
            let at = u64::from(op.done);
            let dst = match *packet {
                Packet::CopyLinear { src, dst, .. } => {
                    self.mem_read(h, slot, src.wrapping_add(at), &mut buf);
                    dst
                }
                Packet::ConstFill { dst, value, .. } => {
                    let pattern = value.rotate_right(op.done % 4 * 8).to_le_bytes();
                    for c in buf.chunks_mut(4) {
                        c.copy_from_slice(pattern.get(..c.len()).unwrap_or_default());
                    }
                    dst
                }
                Packet::WriteLinear { dst, .. } => {
                    self.stream_read(h, slot, 16 + op.done, &mut buf);
                    dst
                }
                _ => return,
            };
            self.mem_write(h, slot, dst.wrapping_add(at), &buf);
            op.done += n;
            if let Some(f) = self.funcs.get_mut(slot) {
                f.stats.bytes += u64::from(n);
            }
        }
    }

    fn poll_passes(&mut self, h: &mut dyn Host, slot: usize, p: &Poll) -> bool {
        if p.hdp_flush {
            return true;
        }
        let value = if p.memory {
            match self.mem_read32(h, slot, p.addr & !3) {
                Some(v) => v,
                None => return false,
            }
        } else {
            self.ctx
                .regs
                .get((p.addr >> 2) as u32 & (self.chip.mmio_bytes / 4 - 1))
        };
        p.compare.test(value & p.mask, p.reference)
    }

    /// The packet's last act; then the engine stands behind it.
    fn finish(&mut self, h: &mut dyn Host, slot: usize, op: &Op, packet: Packet<u32>) {
        let _ = op;
        self.ctx.engine.op = None;
        self.advance(packet.dwords());
        let stats = self.funcs.get_mut(slot).map(|f| &mut f.stats);
        if let Some(s) = stats {
            s.packets += 1;
            match packet {
                Packet::Fence { .. } => {
                    s.fences += 1;
                    s.bytes += 4;
                }
                Packet::Trap { .. } => s.traps += 1,
                _ => {}
            }
        }
        match packet {
            Packet::Fence { addr, value } => {
                self.mem_write(h, slot, addr, &value.to_le_bytes());
            }
            Packet::Trap { context } => {
                // The position first: the handler may look at it.
                self.write_back(h);
                self.ih_push(h, slot, Entry::new(SRC_SDMA_TRAP, context));
            }
            Packet::Indirect { base, dwords, .. } if dwords > 0 => {
                self.ctx.engine.ib = Some(Ib {
                    base,
                    dwords,
                    pos: 0,
                });
            }
            _ => {}
        }
        self.idle_may_begin();
    }

    fn advance(&mut self, dwords: u32) {
        if let Some(ib) = &mut self.ctx.engine.ib {
            ib.pos = ib.pos.saturating_add(dwords);
            if ib.pos >= ib.dwords {
                self.ctx.engine.ib = None;
            }
            return;
        }
        let mask = self.ring_bytes() - 1;
        let rptr = self.ctx.regs.get(self.sdma().rb_rptr);
        let rptr = rptr.wrapping_add(dwords.wrapping_mul(4)) & mask;
        self.ctx.regs.set(self.sdma().rb_rptr, rptr);
        self.ctx.engine.rptr_moved = true;
    }

    /// Writes the read position to memory if it moved and that is asked for.
    pub(crate) fn write_back(&mut self, h: &mut dyn Host) {
        if !std::mem::take(&mut self.ctx.engine.rptr_moved) {
            return;
        }
        let Some(slot) = self.phase.slot() else {
            return;
        };
        let r = &self.ctx.regs;
        if r.get(self.sdma().rb_cntl) & sdma::RPTR_WRITEBACK_ENABLE == 0 {
            return;
        }
        let (lo, hi) = (self.sdma().rptr_addr_lo, self.sdma().rptr_addr_hi);
        let (addr, rptr) = (r.get64(lo, hi) & !3, r.get(self.sdma().rb_rptr));
        self.mem_write(h, slot, addr, &rptr.to_le_bytes());
    }

    /// Begins the next packet; `false` if there is none.
    fn fetch(&mut self, h: &mut dyn Host, slot: usize) -> bool {
        if self.ctx.engine.halted || !self.ring_on() {
            return false;
        }
        let left = match self.ctx.engine.ib {
            Some(ib) => ib.dwords.saturating_sub(ib.pos),
            None => self.ring_dwords(),
        };
        if left == 0 {
            self.ctx.engine.ib = None;
            return false;
        }
        let mut raw = [0; 32];
        let n = left.min(8) as usize;
        let good = raw
            .get_mut(..n * 4)
            .is_some_and(|b| self.stream_read(h, slot, 0, b));
        let mut op = Op::default();
        for (d, b) in op.head.iter_mut().zip(raw.chunks_exact(4)) {
            *d = b.iter().rev().fold(0, |v, &x| (v << 8) | u32::from(x));
        }
        let in_ib = self.ctx.engine.ib.is_some();
        let known = op.head.first().and_then(|&d| sdma::fixed_dwords(d));
        let packet = op
            .head
            .get(..n)
            .and_then(|dw| Packet::decode(self.chip.sdma, dw));
        let refused = match packet {
            Some(Packet::Indirect { .. }) => {
                in_ib || self.ctx.regs.get(self.sdma().ib_cntl) & sdma::IB_ENABLE == 0
            }
            _ => false,
        };
        if !good || known.is_none() || refused {
            self.illegal(h, slot);
            return false;
        }
        let need = packet.map_or(known.unwrap_or(1), |p| p.dwords());
        if need > left {
            // The rest of a packet in the ring may come with the next write position.
            if in_ib || need >= self.ring_bytes() / 4 {
                self.illegal(h, slot);
            }
            return false;
        }
        self.ctx.engine.op = Some(op);
        true
    }

    fn illegal(&mut self, h: &mut dyn Host, slot: usize) {
        self.ctx.engine.halted = true;
        self.ctx.engine.ib = None;
        if let Some(f) = self.funcs.get_mut(slot) {
            f.stats.bad_packets += 1;
        }
        self.ih_push(h, slot, Entry::new(SRC_SDMA_ILLEGAL, 0));
    }

    /// Reads the stream of packets from `skip` bytes behind the packet in progress.
    fn stream_read(&mut self, h: &mut dyn Host, slot: usize, skip: u32, buf: &mut [u8]) -> bool {
        if let Some(ib) = self.ctx.engine.ib {
            let at = u64::from(ib.pos) * 4 + u64::from(skip);
            return self.mem_read(h, slot, ib.base.wrapping_add(at), buf);
        }
        let r = &self.ctx.regs;
        let base = (u64::from(r.get(self.sdma().rb_base)) << 8)
            | (u64::from(r.get(self.sdma().rb_base_hi) & 0xFF) << 40);
        let size = self.ring_bytes();
        let mut at = r.get(self.sdma().rb_rptr).wrapping_add(skip) & (size - 1);
        let (mut buf, mut good) = (buf, true);
        while !buf.is_empty() {
            let n = buf.len().min((size - at) as usize);
            let (head, rest) = buf.split_at_mut(n);
            good &= self.mem_read(h, slot, base.wrapping_add(u64::from(at)), head);
            at = 0;
            buf = rest;
        }
        good
    }
}
