// SPDX-License-Identifier: GPL-2.0
//! The GPU-IOV capability in configuration space (gpu-iov-hardware.md, 2.2 and 2.8).

use gpu_regs::referee::{fault, violation};
use gpu_regs::vsec::{active, cmd, intr};
use gpu_regs::{pci, vsec as regs};

use crate::{Gpu, Host, Phase};

/// Registers of a scheduler block that hold what was written: ACTIVE_FUNCTIONS and the quanta.
const PLAIN: usize = 4;

/// Registers of the capability.
#[derive(Debug, Default)]
pub(crate) struct Vsec {
    pub(crate) cmd: u32,
    pub(crate) status: u8,
    pub(crate) reset_notification: u32,
    pub(crate) vm_init: u32,
    pub(crate) context: u32,
    pub(crate) consumed: u16,
    pub(crate) windows: [u32; pci::MAX_VFS],
    intr_enable: u32,
    intr_status: u32,
    plain: [u32; PLAIN],
    /// VM_BUSY_STATUS when it was last looked at.
    pub(crate) busy_seen: u32,
}

impl Gpu {
    /// Reads `len` (1, 2 or 4) bytes of the capability at `off`; its two headers excepted, which
    /// configuration space itself holds.
    pub fn cfg_read(&mut self, h: &mut dyn Host, off: u16, len: u8) -> u32 {
        self.settle(h);
        let mask = if len >= 4 {
            u32::MAX
        } else {
            (1 << (u32::from(len) * 8)) - 1
        };
        if self.faults.strike(fault::PF_DEAD, 0, 0).is_some() {
            return mask;
        }
        (self.cfg_dword(off & !3) >> (u32::from(off & 3) * 8)) & mask
    }

    fn cfg_dword(&self, off: u16) -> u32 {
        let (v, l) = (&self.vsec, &self.chip.vsec);
        if let Some(i) = self.window_index(off) {
            return v.windows.get(i).copied().unwrap_or(0);
        }
        if let Some(i) = self.plain_index(off) {
            return v.plain.get(i).copied().unwrap_or(0);
        }
        match off {
            regs::SRIOV_SHADOW => u32::from(self.enabled > 0) | ((self.enabled as u32) << 16),
            o if o == l.command => v.cmd,
            o if o == l.status => u32::from(v.status),
            o if o == l.busy => self.busy_mask(),
            o if Some(o) == l.active_function => self.active_function(),
            o if Some(o) == l.intr => v.intr_enable,
            o if Some(o) == l.intr.map(|at| at + 4) => v.intr_status,
            o if Some(o) == l.reset_notification => v.reset_notification,
            o if Some(o) == l.vm_init_status => v.vm_init,
            o if o == l.context => v.context,
            o if o == l.total_fb => self.cfg.vram_mb | (u32::from(v.consumed) << 16),
            o => l.offsets.filter(|&(at, _)| at == o).map_or(0, |(_, v)| v),
        }
    }

    fn window_index(&self, off: u16) -> Option<usize> {
        let i = usize::from(off.checked_sub(self.chip.vsec.vf_fb)?) / 4;
        (i < self.cfg.vfs as usize).then_some(i)
    }

    /// Registers of the scheduler block without a meaning here.
    fn plain_index(&self, off: u16) -> Option<usize> {
        let l = &self.chip.vsec;
        let quanta = l.active_function? + 4;
        let at = [l.busy + 4, quanta, quanta + 4, quanta + 8];
        at.iter().position(|&a| a == off)
    }

    /// The function on the engine, or the one that comes there, and its state.
    fn active_function(&self) -> u32 {
        let coming = self.command.as_ref().map(|c| (c.cmd, c.slot));
        let (slot, state) = match (self.phase, coming) {
            (Phase::Hung(s), _) => (Some(s), active::STALLED),
            (_, Some((cmd::IDLE, s))) => (Some(s), active::IDLING),
            (_, Some((cmd::SAVE, s))) => (Some(s), active::SAVING),
            (_, Some((cmd::LOAD, s))) => (Some(s), active::LOADING),
            (Phase::Running(s), _) => (Some(s), active::ACTIVE),
            (p, _) => (p.slot(), active::IDLE),
        };
        let fcn = slot
            .and_then(|s| s.checked_sub(1))
            .map_or(regs::FCN_PF, |n| regs::fcn_vf(n as u8));
        u32::from(fcn) | (state << 16)
    }

    /// A cause of interrupt has come up.
    pub(crate) fn signal(&mut self, h: &mut dyn Host, cause: u32) {
        self.set_causes(h, self.vsec.intr_enable, self.vsec.intr_status | cause);
    }

    /// The PF is interrupted when its first enabled cause comes up, and not again before none is
    /// left.
    fn set_causes(&mut self, h: &mut dyn Host, enable: u32, status: u32) {
        let v = &mut self.vsec;
        let before = v.intr_enable & v.intr_status != 0;
        (v.intr_enable, v.intr_status) = (enable & intr::ALL, status & intr::ALL);
        let rises = !before && v.intr_enable & v.intr_status != 0;
        if !rises
            || !self.cfg.completion_irq
            || self.faults.strike(fault::LOST_INTERRUPT, 0, 0).is_some()
        {
            return;
        }
        if let Some(f) = self.funcs.first_mut() {
            f.stats.interrupts += 1;
        }
        h.interrupt(0);
    }

    /// One bit per VF that has work, running or not; that of the PF where there is one.
    pub(crate) fn busy_mask(&self) -> u32 {
        let pf = match (self.chip.vsec.intr, self.phase.slot()) {
            (Some(_), Some(0)) if self.engine_has_work() => regs::BUSY_PF,
            _ => 0,
        };
        pf | self.busy_vfs()
    }

    fn busy_vfs(&self) -> u32 {
        let on = self.phase.slot().filter(|_| self.engine_has_work());
        (1..=self.enabled)
            .filter(|&s| {
                on == Some(s)
                    || self
                        .funcs
                        .get(s)
                        .is_some_and(|f| f.stats.wants_since.is_some())
            })
            .fold(0, |m, s| m | (1 << (s - 1)))
    }

    /// Writes `len` (1, 2 or 4) bytes of the capability at `off`.
    pub fn cfg_write(&mut self, h: &mut dyn Host, off: u16, len: u8, value: u32) {
        self.settle(h);
        if self.faults.strike(fault::PF_DEAD, 0, 0).is_some() {
            return;
        }
        let dword = off & !3;
        let shift = u32::from(off & 3) * 8;
        let bits = if len >= 4 {
            u32::MAX
        } else {
            (1 << (u32::from(len) * 8)) - 1
        };
        let mask = bits << shift;
        let put = |old: u32| (old & !mask) | ((value << shift) & mask);
        let l = &self.chip.vsec;
        if let Some(i) = self.window_index(dword) {
            let v = put(self.vsec.windows.get(i).copied().unwrap_or(0));
            self.set_window(h, i, v);
        } else if let Some(p) = self
            .plain_index(dword)
            .and_then(|i| self.vsec.plain.get_mut(i))
        {
            *p = put(*p);
        }
        match dword {
            o if o == l.command => {
                let v = put(self.vsec.cmd & !regs::EXECUTE);
                if v & regs::EXECUTE != 0 {
                    self.issue(h, v);
                } else if self.command.is_none() {
                    self.vsec.cmd = v;
                }
            }
            o if o == l.reset_control && put(0) & 1 != 0 => self.soft_pf_reset(h),
            o if Some(o) == l.intr => {
                let enable = put(self.vsec.intr_enable);
                self.set_causes(h, enable, self.vsec.intr_status);
            }
            o if Some(o) == l.intr.map(|at| at + 4) => {
                let left = self.vsec.intr_status & !put(0);
                self.set_causes(h, self.vsec.intr_enable, left);
            }
            o if Some(o) == l.reset_notification => self.vsec.reset_notification &= !put(0),
            o if Some(o) == l.vm_init_status => self.vsec.vm_init &= !put(0),
            o if o == l.context => {
                let v = put(self.vsec.context);
                let used = self.command.is_some() || matches!(self.phase, Phase::Running(_));
                if used && v != self.vsec.context {
                    let slot = self.phase.slot().unwrap_or(0);
                    self.violate(slot, violation::MOVED_IN_USE);
                }
                self.vsec.context = v;
            }
            o if o == l.total_fb => {
                self.vsec.consumed = (put(u32::from(self.vsec.consumed) << 16) >> 16) as u16;
            }
            _ => {}
        }
        self.settle(h);
    }

    /// Moves the window of VF `vf`, of its BAR0 too.
    pub(crate) fn set_window(&mut self, h: &mut dyn Host, vf: usize, value: u32) {
        let Some(w) = self.vsec.windows.get_mut(vf) else {
            return;
        };
        if *w == value {
            return;
        }
        *w = value;
        if self.phase.slot() == Some(vf + 1) {
            self.violate(vf + 1, violation::MOVED_IN_USE);
        }
        let vram = h.vram().len() as u64;
        let (offset, size) = self.window_of(vf + 1, vram).unwrap_or((0, 0));
        self.show_window(h, vf, offset, size);
    }

    /// Whether the window of `slot` is set, inside the framebuffer, and apart from every other
    /// enabled VF's and from the context save area.
    pub(crate) fn window_is_sound(&self, slot: usize, vram: u64) -> bool {
        if slot == 0 {
            return true;
        }
        let raw = self.vsec.windows.get(slot - 1).copied().unwrap_or(0);
        let Some((o, n)) = self.chip.vsec.window_bytes(raw) else {
            return false;
        };
        let apart = (1..=self.enabled)
            .filter(|&s| s != slot)
            .filter_map(|s| self.window_of(s, vram))
            .all(|(p, m)| o + n <= p || p + m <= o);
        let area = regs::context_area(self.vsec.context);
        let functions = self.enabled as u64 + 1;
        let clear = area.is_none_or(|(b, s)| o + n <= b || b.saturating_add(s * functions) <= o);
        o + n <= vram && apart && clear
    }
}
