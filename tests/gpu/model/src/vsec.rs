// SPDX-License-Identifier: GPL-2.0
//! The GPU-IOV capability in configuration space, Tonga layout (gpu-iov-hardware.md, 2.2).

use gpu_regs::referee::{fault, violation};
use gpu_regs::{pci, vsec as regs};

use crate::{Gpu, Host, Phase};

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
        let v = &self.vsec;
        match off {
            regs::SRIOV_SHADOW => u32::from(self.enabled > 0) | ((self.enabled as u32) << 16),
            regs::CMD => v.cmd,
            regs::STATUS => u32::from(v.status),
            regs::RESET_NOTIFICATION => v.reset_notification,
            regs::VM_INIT_STATUS => v.vm_init,
            regs::CONTEXT => v.context,
            regs::TOTAL_FB_AVAILABLE => self.cfg.vram_mb | (u32::from(v.consumed) << 16),
            regs::VM_BUSY_STATUS => self.busy_mask(),
            _ => self
                .window_index(off)
                .and_then(|i| v.windows.get(i))
                .copied()
                .unwrap_or(0),
        }
    }

    fn window_index(&self, off: u16) -> Option<usize> {
        let i = usize::from(off.checked_sub(regs::VF_FB)?) / 4;
        (i < self.cfg.vfs as usize).then_some(i)
    }

    /// One bit per VF that has work, running or not.
    fn busy_mask(&self) -> u32 {
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
        match dword {
            regs::CMD => {
                let v = put(self.vsec.cmd & !regs::EXECUTE);
                if v & regs::EXECUTE != 0 {
                    self.issue(h, v);
                } else if self.command.is_none() {
                    self.vsec.cmd = v;
                }
            }
            regs::RESET_CONTROL if put(0) & 1 != 0 => self.soft_pf_reset(h),
            regs::RESET_NOTIFICATION => self.vsec.reset_notification &= !put(0),
            regs::VM_INIT_STATUS => self.vsec.vm_init &= !put(0),
            regs::CONTEXT => {
                let v = put(self.vsec.context);
                let used = self.command.is_some() || matches!(self.phase, Phase::Running(_));
                if used && v != self.vsec.context {
                    let slot = self.phase.slot().unwrap_or(0);
                    self.violate(slot, violation::MOVED_IN_USE);
                }
                self.vsec.context = v;
            }
            regs::TOTAL_FB_AVAILABLE => {
                self.vsec.consumed = (put(u32::from(self.vsec.consumed) << 16) >> 16) as u16;
            }
            _ => {
                if let Some(i) = self.window_index(dword) {
                    let v = put(self.vsec.windows.get(i).copied().unwrap_or(0));
                    self.set_window(h, i, v);
                }
            }
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
        h.window(vf, offset, size);
    }

    /// Whether the window of `slot` is set, inside the framebuffer, and apart from every other
    /// enabled VF's and from the context save area.
    pub(crate) fn window_is_sound(&self, slot: usize, vram: u64) -> bool {
        if slot == 0 {
            return true;
        }
        let raw = self.vsec.windows.get(slot - 1).copied().unwrap_or(0);
        let Some((o, n)) = regs::window_bytes(raw) else {
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
