// SPDX-License-Identifier: GPL-2.0
//! Resets: of a VF, of the PF, and what enabling and disabling VFs does.

use gpu_regs::vsec;

use crate::context::Context;
use crate::memory::slice;
use crate::{Gpu, Host, Phase};

impl Gpu {
    /// A function level reset of `slot`, whoever asked for it.  That of the PF resets the GPU.
    /// The framebuffer keeps its content.
    pub fn flr(&mut self, h: &mut dyn Host, slot: usize) {
        if slot == 0 {
            return self.reset(h);
        }
        self.settle(h);
        if slot > self.enabled {
            return;
        }
        self.forget(h, slot);
        self.vsec.reset_notification |= 1 << (slot - 1);
        if let Some(f) = self.funcs.get_mut(slot) {
            f.stats.flrs += 1;
        }
        self.settle(h);
    }

    /// Power-up state of the whole GPU.  The debug device keeps its counters and faults.
    pub fn reset(&mut self, h: &mut dyn Host) {
        self.settle(h);
        let now = h.now();
        self.abort(now);
        self.empty(now);
        for f in &mut self.funcs {
            let stats = std::mem::take(&mut f.stats);
            *f = crate::Func {
                stats,
                ..Default::default()
            };
            f.stats.forget_gap();
        }
        if let Some(f) = self.funcs.first_mut() {
            f.stats.flrs += 1;
        }
        self.vsec = Default::default();
        self.pf_regs = Default::default();
        self.mailbox_index = 0;
        self.enabled = 0;
        self.planes.borrow_mut().set_enabled(0);
        self.dma_logs.set_enabled(0);
        for vf in 0..self.cfg.vfs as usize {
            self.show_window(h, vf, 0, 0);
        }
        self.settle(h);
    }

    /// RESET_CONTROL: resets the PF's own context and leaves VFs as they are.
    pub(crate) fn soft_pf_reset(&mut self, h: &mut dyn Host) {
        self.forget(h, 0);
    }

    /// VF enable and the number of VFs changed; 0 means disabled.
    pub fn set_enabled(&mut self, h: &mut dyn Host, vfs: u32) {
        self.settle(h);
        let vfs = (vfs.min(self.cfg.vfs)) as usize;
        for slot in vfs + 1..=self.enabled {
            self.forget(h, slot);
        }
        self.enabled = vfs;
        self.planes.borrow_mut().set_enabled(vfs);
        self.dma_logs.set_enabled(vfs);
        self.settle(h);
    }

    /// Everything the GPU knows of a function: command in flight, engine, registers, mailbox,
    /// doorbells, saved context.
    fn forget(&mut self, h: &mut dyn Host, slot: usize) {
        let now = h.now();
        let about = self.command.as_ref().is_some_and(|c| {
            c.slot == slot || (c.cmd == vsec::cmd::CONTEXT_SWITCH && c.next == slot)
        });
        if about {
            self.abort(now);
        }
        if self.phase.slot() == Some(slot) {
            self.empty(now);
        }
        if let Some(f) = self.funcs.get_mut(slot) {
            let (mut mailbox, mut stats) = (f.mailbox, std::mem::take(&mut f.stats));
            mailbox.reset_vf();
            stats.forget_gap();
            *f = crate::Func {
                mailbox,
                stats,
                ..Default::default()
            };
        }
        // No image survives its function's reset, whether or not VFs' windows are sound.
        let area = vsec::context_area(self.vsec.context);
        let at = area.and_then(|(base, size)| base.checked_add(slot as u64 * size));
        if let Some(s) = at.and_then(|at| slice(h.vram(), at, 16)) {
            s.fill(0);
        }
    }

    /// The command in flight ends now, with nothing done.
    fn abort(&mut self, now: u64) {
        let Some(c) = self.command.take() else { return };
        self.vsec.cmd &= !vsec::EXECUTE;
        self.vsec.status = vsec::status::DONE;
        self.stats.aborted += 1;
        self.stats.log_end(c.log, now, vsec::status::DONE, 0, true);
        if self.stopped {
            // Only the other function of a context switch gets here and survives.
            self.stopped = false;
            self.phase = self.phase.slot().map_or(Phase::Empty, Phase::Idled);
        }
    }

    /// Takes whatever is there off the engine.
    fn empty(&mut self, now: u64) {
        if let Some(slot) = self.running() {
            self.end_run(slot, now, false);
        }
        self.phase = Phase::Empty;
        self.stopped = false;
        self.ctx = Context::default();
    }
}
