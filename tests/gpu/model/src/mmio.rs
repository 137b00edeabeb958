// SPDX-License-Identifier: GPL-2.0
//! BAR5 and BAR2: which register belongs to what, and who may reach it when
//! (gpu-iov-hardware.md, sections 2.7, 2.8, 8 and Appendix A).

use gpu_regs::chip::{MailboxAccess, FUNC_IOV_ENABLED, FUNC_IS_VF, MM_DATA, MM_INDEX, MM_INDEX_HI};
use gpu_regs::ih::{Entry, SRC_ACK_FROM_PF, SRC_ACK_FROM_VF, SRC_MSG_FROM_PF, SRC_MSG_FROM_VF};
use gpu_regs::referee::fault;
use gpu_regs::{pci, sdma};

use crate::mailbox::{Mailbox, Side, Signal};
use crate::memory::slice;
use crate::{Gpu, Host};

/// What a gated register reads.
const GATED: u32 = u32::MAX;
/// Doorbells of a gated function that are remembered; the engine knows one.
const MAX_DOORBELLS: usize = 16;

/// A register by who owns it.
enum Owner {
    Mailbox,
    /// Always there, for both kinds of function.
    Fixed(u32),
    /// Always there for the PF, unknown to VFs.
    PfOnly,
    Interrupt,
    Indirect,
    /// Of the context on the engine.
    Engine,
}

impl Gpu {
    fn owner(&self, h: &mut dyn Host, slot: usize, index: u32) -> Owner {
        let r = &self.chip.regs;
        let within = |&(first, last): &(u32, u32)| (first..=last).contains(&index);
        match index {
            MM_INDEX | MM_DATA | MM_INDEX_HI => Owner::Indirect,
            _ if within(&(r.mailbox_index, r.mailbox_int_cntl)) => Owner::Mailbox,
            i if i == r.func_identifier && slot == 0 => Owner::Fixed(FUNC_IOV_ENABLED),
            i if i == r.func_identifier => Owner::Fixed(FUNC_IOV_ENABLED | FUNC_IS_VF),
            i if i == r.config_memsize => {
                let vram = h.vram().len() as u64;
                Owner::Fixed(
                    self.window_of(slot, vram)
                        .map_or(0, |(_, n)| (n >> 20) as u32),
                )
            }
            _ if within(&(r.ih.first, r.ih.last)) => Owner::Interrupt,
            _ if slot == 0 && r.pf_only.iter().any(within) => Owner::PfOnly,
            _ => Owner::Engine,
        }
    }

    /// Whether `slot` may not reach a register of this owner now.  A VF that does not run reaches
    /// its mailbox and its identifier, the PF everything but the engine.
    fn gated(&self, slot: usize, index: u32, owner: &Owner) -> bool {
        let open = match owner {
            Owner::Mailbox => true,
            Owner::Engine => false,
            _ => slot == 0 || index == self.chip.regs.func_identifier,
        };
        !open && self.running() != Some(slot)
    }

    fn note_gated(&mut self, slot: usize) {
        if let Some(f) = self.funcs.get_mut(slot) {
            f.stats.gated += 1;
        }
    }

    /// Reads register `index` as function `slot`.
    pub fn mmio_read(&mut self, h: &mut dyn Host, slot: usize, index: u32) -> u32 {
        self.settle(h);
        if slot > self.enabled || (slot == 0 && self.pf_dead()) {
            return GATED;
        }
        self.reg_read(h, slot, index, true)
    }

    /// Writes register `index` as function `slot`.
    pub fn mmio_write(&mut self, h: &mut dyn Host, slot: usize, index: u32, value: u32) {
        self.settle(h);
        if slot > self.enabled || (slot == 0 && self.pf_dead()) {
            return;
        }
        self.reg_write(h, slot, index, value, true);
        self.settle(h);
    }

    /// Reads `len` bytes of BAR5 at byte `addr` as function `slot`.  Less than a dword can be had
    /// only of MAILBOX_CONTROL, where the chip has it so.
    pub fn bar_read(&mut self, h: &mut dyn Host, slot: usize, addr: u32, len: u8) -> u32 {
        match (len, addr % 4) {
            (4, 0) => self.mmio_read(h, slot, addr / 4),
            (1, byte) if self.has_bytes(addr) => {
                (self.mmio_read(h, slot, addr / 4) >> (8 * byte)) & 0xFF
            }
            _ => GATED,
        }
    }

    /// Writes `len` bytes of BAR5 at byte `addr` as function `slot`; see [`Gpu::bar_read`].
    pub fn bar_write(&mut self, h: &mut dyn Host, slot: usize, addr: u32, len: u8, value: u32) {
        match (len, addr % 4) {
            (4, 0) => self.mmio_write(h, slot, addr / 4, value),
            (1, byte) if self.has_bytes(addr) => {
                // Bits that are not written read 0 or stay by being written again.
                let old = self.mmio_read(h, slot, addr / 4) & !(0xFF << (8 * byte));
                self.mmio_write(h, slot, addr / 4, old | ((value & 0xFF) << (8 * byte)));
            }
            _ => {}
        }
    }

    fn has_bytes(&self, addr: u32) -> bool {
        self.chip.mailbox == MailboxAccess::Bytes && addr / 4 == self.chip.regs.mailbox_control
    }

    /// Whether the PF is dead for good: then the framebuffer that its BAR0 shows is gone as well.
    pub fn pf_is_lost(&self) -> bool {
        self.faults.lasts(fault::PF_DEAD)
    }

    fn pf_dead(&mut self) -> bool {
        self.faults.strike(fault::PF_DEAD, 0, 0).is_some()
    }

    fn reg_read(&mut self, h: &mut dyn Host, slot: usize, index: u32, indirect: bool) -> u32 {
        let owner = self.owner(h, slot, index);
        if self.gated(slot, index, &owner) {
            self.note_gated(slot);
            return GATED;
        }
        match owner {
            Owner::Mailbox => self.mailbox_read(slot, index),
            Owner::Fixed(v) => v,
            Owner::PfOnly => self.pf_read(index),
            Owner::Interrupt => {
                let ih = self
                    .funcs
                    .get(slot)
                    .and_then(|f| f.ih.read(&self.chip.regs.ih, index));
                ih.unwrap_or_else(|| self.spare(slot).get(index))
            }
            Owner::Indirect => self.indirect_read(h, slot, index, indirect),
            Owner::Engine => self.engine_read(index),
        }
    }

    fn reg_write(&mut self, h: &mut dyn Host, slot: usize, index: u32, v: u32, indirect: bool) {
        let owner = self.owner(h, slot, index);
        if self.gated(slot, index, &owner) {
            return self.note_gated(slot);
        }
        match owner {
            Owner::Mailbox => self.mailbox_write(h, slot, index, v),
            Owner::Fixed(_) => {}
            Owner::PfOnly => self.pf_write(h, index, v),
            Owner::Interrupt => {
                if !self.ih_write(h, slot, index, v) {
                    self.spare(slot).set(index, v);
                }
            }
            Owner::Indirect => self.indirect_write(h, slot, index, v, indirect),
            Owner::Engine => self.engine_write(index, v),
        }
    }

    /// Where registers without a meaning of their own are kept: the PF's outside the engine, a
    /// VF's in its context.
    fn spare(&mut self, slot: usize) -> &mut crate::regfile::RegFile {
        if slot == 0 {
            &mut self.pf_regs
        } else {
            &mut self.ctx.regs
        }
    }

    fn indirect_read(&mut self, h: &mut dyn Host, slot: usize, index: u32, allowed: bool) -> u32 {
        let Some(f) = self.funcs.get(slot) else {
            return GATED;
        };
        let (at, hi) = (f.mm_index, f.mm_index_hi);
        match index {
            MM_INDEX => at,
            MM_INDEX_HI => hi,
            _ if at & (1 << 31) != 0 => {
                let addr = u64::from(at & !(1 << 31)) | (u64::from(hi) << 31);
                let bytes = self
                    .mm_place(h, slot, addr)
                    .and_then(|at| slice(h.vram(), at, 4))
                    .and_then(|s| (&*s).try_into().ok());
                bytes.map_or(GATED, u32::from_le_bytes)
            }
            _ if allowed => self.reg_read(h, slot, at >> 2, false),
            _ => 0,
        }
    }

    fn indirect_write(&mut self, h: &mut dyn Host, slot: usize, index: u32, v: u32, allowed: bool) {
        let Some(f) = self.funcs.get_mut(slot) else {
            return;
        };
        let (at, hi) = (f.mm_index, f.mm_index_hi);
        match index {
            MM_INDEX => f.mm_index = v,
            MM_INDEX_HI => f.mm_index_hi = v,
            _ if at & (1 << 31) != 0 => {
                let addr = u64::from(at & !(1 << 31)) | (u64::from(hi) << 31);
                let place = self.mm_place(h, slot, addr);
                if let Some((at, s)) = place.and_then(|at| Some((at, slice(h.vram(), at, 4)?))) {
                    s.copy_from_slice(&v.to_le_bytes());
                    self.wrote(slot, at, 4);
                }
            }
            _ if allowed => self.reg_write(h, slot, at >> 2, v, false),
            _ => {}
        }
    }

    fn engine_read(&mut self, index: u32) -> u32 {
        let r = &self.chip.regs;
        let (invalidate, invalidated) = r.vm.invalidate();
        match index {
            i if i == r.sdma.status && self.engine_has_work() => 0,
            i if i == r.sdma.status => sdma::STATUS_IDLE | sdma::STATUS_RB_EMPTY,
            // Translations are never cached: a flush is done as soon as it is asked for.
            i if i == invalidated => self.ctx.regs.get(invalidate),
            i if i == r.hdp_flush_done => self.ctx.regs.get(r.hdp_flush_req),
            _ => self.ctx.regs.get(index),
        }
    }

    fn engine_write(&mut self, index: u32, value: u32) {
        let r = &self.chip.regs.sdma;
        if index == r.rb_cntl && value & sdma::RB_ENABLE == 0 {
            self.ctx.engine = Default::default();
        }
        let value = match index {
            i if i == r.rb_rptr || i == r.rb_wptr => value & !3,
            _ => value,
        };
        self.ctx.regs.set(index, value);
    }

    /// Which window a register of the PF mirrors.
    fn mirrored_window(&self, index: u32) -> Option<usize> {
        let i = index.checked_sub(self.chip.regs.windows)? as usize;
        (i < pci::MAX_VFS).then_some(i)
    }

    fn pf_read(&mut self, index: u32) -> u32 {
        if let Some(value) = self.dma_log_read(index) {
            return value;
        }
        let (v, r) = (&self.vsec, &self.chip.regs);
        if let Some(i) = self.mirrored_window(index) {
            return v.windows.get(i).copied().unwrap_or(0);
        }
        if let Some(value) = self.dirty_read(index) {
            return value;
        }
        match index {
            i if i == r.reset_notification => v.reset_notification,
            i if Some(i) == r.vm_init_status => v.vm_init,
            i if Some(i) == r.fb_total => self.cfg.vram_mb | (u32::from(v.consumed) << 16),
            i if i == r.rlc.vf_enable => ((1u64 << self.enabled) - 1) as u32,
            i if i == r.rlc.command => v.cmd,
            i if i == r.rlc.status => u32::from(v.status),
            i if i == r.rlc.context => v.context,
            i if Some(i) == r.rlc.active_status => {
                let fcn = self
                    .phase
                    .slot()
                    .map_or(0, |s| if s == 0 { 0 } else { 0x7F + s as u32 });
                fcn | (u32::from(self.running().is_some()) << 8)
            }
            i if i == r.rlc.active_fcn => match self.phase.slot() {
                Some(s) if s > 0 => (1 << 31) | (s as u32 - 1),
                _ => 0,
            },
            _ => self.pf_regs.get(index),
        }
    }

    fn pf_write(&mut self, h: &mut dyn Host, index: u32, value: u32) {
        let r = &self.chip.regs;
        if self.dirty_write(index, value) || self.dma_log_write(index, value) {
            return;
        }
        match (index, self.mirrored_window(index)) {
            (_, Some(i)) if i < self.cfg.vfs as usize => self.set_window(h, i, value),
            (_, Some(_)) => {}
            (i, _) if i == r.reset_notification => self.vsec.reset_notification &= !value,
            (i, _) if Some(i) == r.vm_init_status => self.vsec.vm_init &= !value,
            _ => {
                self.pf_regs.set(index, value);
            }
        }
    }

    /// Whose mailbox `slot` sees, and from which side.
    fn mailbox_of(&mut self, slot: usize) -> Option<(&mut Mailbox, Side, usize)> {
        let (vf, side) = match slot {
            0 => (self.mailbox_index + 1, Side::Pf),
            s => (s, Side::Vf),
        };
        self.funcs.get_mut(vf).map(|f| (&mut f.mailbox, side, vf))
    }

    fn mailbox_read(&mut self, slot: usize, index: u32) -> u32 {
        let r = &self.chip.regs;
        if index == r.mailbox_index {
            return if slot == 0 {
                self.mailbox_index as u32
            } else {
                0
            };
        }
        let Some((m, side, _)) = self.mailbox_of(slot) else {
            return 0;
        };
        match index {
            i if i == r.mailbox_control => m.control(side),
            i if i == r.mailbox_int_cntl => m.int_cntl(side),
            i if i >= r.mailbox_rcv_dw0 => m.rcv(side, (i - r.mailbox_rcv_dw0) as usize),
            i if i >= r.mailbox_trn_dw0 => m.trn(side, (i - r.mailbox_trn_dw0) as usize),
            _ => 0,
        }
    }

    fn mailbox_write(&mut self, h: &mut dyn Host, slot: usize, index: u32, value: u32) {
        let r = &self.chip.regs;
        if index == r.mailbox_index {
            if slot == 0 {
                self.mailbox_index = (value & 0xF) as usize;
            }
            return;
        }
        let Some((m, side, vf)) = self.mailbox_of(slot) else {
            return;
        };
        let mut signal = Signal::default();
        match index {
            i if i == r.mailbox_control => signal = m.set_control(side, value),
            i if i == r.mailbox_int_cntl => m.set_int_cntl(side, value),
            i if (r.mailbox_trn_dw0..r.mailbox_trn_dw0 + 4).contains(&i) => {
                m.set_trn(side, (i - r.mailbox_trn_dw0) as usize, value);
            }
            _ => {}
        }
        self.mailbox_signal(h, side, vf, signal);
        self.follow(h, vf);
    }

    fn mailbox_signal(&mut self, h: &mut dyn Host, from: Side, vf: usize, s: Signal) {
        let sender = if from == Side::Pf { 0 } else { vf };
        if let Some(f) = self.funcs.get_mut(sender).filter(|_| s.sent) {
            f.stats.messages += 1;
        }
        let data = vf as u32 - 1;
        let (to, ack, valid) = match from {
            Side::Pf => (
                vf,
                Entry::new(SRC_ACK_FROM_PF, 0),
                Entry::new(SRC_MSG_FROM_PF, 0),
            ),
            Side::Vf => (
                0,
                Entry::new(SRC_ACK_FROM_VF, data),
                Entry::new(SRC_MSG_FROM_VF, data),
            ),
        };
        if s.ack_irq {
            self.ih_push(h, to, ack);
        }
        if s.valid_irq {
            self.ih_push(h, to, valid);
        }
    }

    /// Function `slot` rings doorbell `index` (in dwords of BAR2).  A gated function may ring:
    /// the newest value is kept and takes effect when it runs.
    pub fn doorbell(&mut self, h: &mut dyn Host, slot: usize, index: u32, value: u32) {
        self.settle(h);
        if slot > self.enabled || (slot == 0 && self.pf_dead()) {
            return;
        }
        if self.ih_doorbell(h, slot, index, value) {
            self.follow(h, slot);
        } else {
            if self.running() == Some(slot) {
                self.engine_doorbell(index, value);
            } else if let Some(f) = self.funcs.get_mut(slot) {
                if let Some(d) = f.doorbells.iter_mut().find(|d| d.0 == index) {
                    d.1 = value;
                } else if f.doorbells.len() < MAX_DOORBELLS {
                    f.doorbells.push((index, value));
                }
                let now = h.now();
                f.stats.wants_since.get_or_insert(now);
            }
            self.follow(h, slot);
        }
        self.settle(h);
    }

    /// A doorbell reaches the function on the engine.
    pub(crate) fn engine_doorbell(&mut self, index: u32, value: u32) {
        let r = &self.chip.regs.sdma;
        if r.doorbell_index(|i| self.ctx.regs.get(i)) == Some(index) {
            self.ctx.regs.set(r.rb_wptr, value & !3);
        }
    }
}
