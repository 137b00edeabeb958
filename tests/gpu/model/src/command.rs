// SPDX-License-Identifier: GPL-2.0
//! GPU-IOV commands: what is legal when, how long it takes, what it does
//! (gpu-iov-hardware.md, sections 2.3, 2.4 and Appendix A).

use gpu_regs::ih::{cmd_complete_data, Entry, SRC_CMD_COMPLETE, SRC_MSG_FROM_VF};
use gpu_regs::referee::{fault, violation};
use gpu_regs::vsec::{self, cmd, intr, status};

use crate::context::{self, Context, Outside};
use crate::memory::slice;
use crate::{Gpu, Host, Phase};

/// A command in flight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Command {
    pub(crate) raw: u32,
    pub(crate) cmd: u8,
    pub(crate) slot: usize,
    pub(crate) next: usize,
    pub(crate) issued: u64,
    /// `None`: never, or not before the engine lets go.
    pub(crate) ends_at: Option<u64>,
    /// Waits for the packet in progress; then this is what it still takes.
    pub(crate) waits: Option<u64>,
    /// When it is taken for a hang.
    pub(crate) hang_at: Option<u64>,
    /// It was taken for a hang.
    pub(crate) hangs: bool,
    /// Status it will end with.
    pub(crate) status: u8,
    /// Its number in the log.
    pub(crate) log: u64,
    /// Issued before the driver had read of a reset of its functions: it could not know.
    pub(crate) excused: bool,
}

/// Why a command is refused: status and violation.
type Refusal = (u8, u32);

fn refuse<T>(violation: u32) -> Result<T, Refusal> {
    Err((status::ABORTED, violation))
}

impl Gpu {
    /// The command dword was written with EXECUTE set.
    pub(crate) fn issue(&mut self, h: &mut dyn Host, raw: u32) {
        let now = h.now();
        let log = self.stats.log_issue(now, raw);
        let (cmd, fcn, next) = ((raw & 0xF) as u8, (raw >> 8) as u8, (raw >> 16) as u8);
        let (slot, next) = (vsec::slot(fcn), vsec::slot(next));
        if self.command.is_some() {
            // The one in flight goes on; its registers stay.
            self.violate(slot, violation::BUSY);
            self.stats
                .log_end(log, now, status::ABORTED, violation::BUSY, false);
            return;
        }
        self.vsec.cmd = raw;
        let mut command = Command {
            raw,
            cmd,
            slot,
            next,
            issued: now,
            ends_at: Some(now),
            waits: None,
            hang_at: None,
            hangs: false,
            status: status::DONE,
            log,
            excused: self.is_unread(slot) || (cmd == cmd::CONTEXT_SWITCH && self.is_unread(next)),
        };
        match self.check(h, &command) {
            Ok((progress, us)) => {
                self.vsec.status = progress;
                if self.chip.vsec.intr.is_some() && self.cfg.hang_us > 0 {
                    command.hang_at = Some(now + u64::from(self.cfg.hang_us) * 1000);
                }
                self.begin(&mut command, now + u64::from(us) * 1000);
                self.command = Some(command);
            }
            Err((status, code)) => {
                command.status = status;
                let code = self.blame(&command, code);
                self.conclude(h, now, command, code);
            }
        }
    }

    /// Whether the function has seen a reset that RESET_NOTIFICATION still shows.
    fn is_unread(&self, slot: usize) -> bool {
        // A driver can name a function that no chip has.
        let bit = |vf: usize| u32::try_from(vf).ok().and_then(|vf| 1u32.checked_shl(vf));
        let shown = |vf: usize| bit(vf).is_some_and(|b| self.vsec.reset_notification & b != 0);
        slot.checked_sub(1).is_some_and(shown)
    }

    /// Counts a violation by a command that is not excused. Returns the code to be logged.
    fn blame(&mut self, c: &Command, code: u32) -> u32 {
        if c.excused {
            return 0;
        }
        self.violate(c.slot, code);
        code
    }

    /// Counts a violation about `slot`.
    pub(crate) fn violate(&mut self, slot: usize, code: u32) {
        self.stats.violations += 1;
        self.stats.last_violation = (code, slot as u32);
        if let Some(f) = self.funcs.get_mut(slot) {
            f.stats.violations += 1;
        }
    }

    /// Whether the command is legal now: its status while it executes and its microseconds.
    fn check(&self, h: &mut dyn Host, c: &Command) -> Result<(u8, u32), Refusal> {
        let cfg = &self.cfg;
        let plan = match c.cmd {
            cmd::IDLE => (status::IDLING, cfg.idle_us),
            cmd::SAVE => (status::SAVING, cfg.save_us),
            cmd::LOAD => (status::LOADING, cfg.load_us),
            cmd::RUN => (status::ENABLING, cfg.run_us),
            cmd::CONTEXT_SWITCH => {
                let us = [cfg.idle_us, cfg.save_us, cfg.load_us, cfg.run_us];
                (
                    status::SAVING,
                    us.iter().fold(0, |a: u32, &b| a.saturating_add(b)),
                )
            }
            cmd::INIT => (status::INITING, cfg.init_us),
            cmd::SAVE_RLCV => (status::SAVING_RLCV, cfg.rlcv_us),
            cmd::LOAD_RLCV => (status::LOADING_RLCV, cfg.rlcv_us),
            _ => return Err((status::UNSUPPORTED, violation::BAD_COMMAND)),
        };
        if c.slot > self.enabled || (c.cmd == cmd::CONTEXT_SWITCH && c.next > self.enabled) {
            return refuse(violation::BAD_FUNCTION);
        }
        if let Phase::Hung(_) = self.phase {
            return Ok(plan); // It will end with a hang status.
        }
        let own = self.phase.slot() == Some(c.slot);
        let runs = matches!(self.phase, Phase::Running(_));
        match c.cmd {
            cmd::IDLE if self.phase != Phase::Running(c.slot) => {
                return refuse(violation::IDLE_NOT_RUNNING)
            }
            cmd::SAVE if self.phase != Phase::Idled(c.slot) => {
                return refuse(violation::SAVE_NOT_IDLED)
            }
            cmd::LOAD if runs || own => return refuse(violation::LOAD_NOT_EMPTY),
            cmd::INIT if runs => return refuse(violation::INIT_NOT_EMPTY),
            cmd::RUN
                if self.phase != Phase::Loaded(c.slot) && self.phase != Phase::Inited(c.slot) =>
            {
                return refuse(violation::RUN_NOT_LOADED)
            }
            cmd::CONTEXT_SWITCH if self.phase != Phase::Running(c.slot) => {
                return refuse(violation::SWITCH_NOT_RUNNING)
            }
            _ => {}
        }
        let vram = h.vram().len() as u64;
        let target = if c.cmd == cmd::CONTEXT_SWITCH {
            c.next
        } else {
            c.slot
        };
        if matches!(c.cmd, cmd::SAVE | cmd::LOAD | cmd::CONTEXT_SWITCH) {
            let area = self
                .context_slot(c.slot, vram)
                .and(self.context_slot(target, vram));
            if area.is_none() {
                return refuse(violation::BAD_CONTEXT_AREA);
            }
        }
        let enters = matches!(
            c.cmd,
            cmd::LOAD | cmd::INIT | cmd::RUN | cmd::CONTEXT_SWITCH
        );
        if enters && !self.window_is_sound(target, vram) {
            return refuse(violation::BAD_WINDOW);
        }
        Ok(plan)
    }

    /// Starts a legal command that would end at `end`.
    fn begin(&mut self, c: &mut Command, end: u64) {
        c.ends_at = Some(end);
        if let Phase::Hung(_) = self.phase {
            c.status = status::GFX_HANG;
            return;
        }
        let (slot, kind) = (c.slot, c.cmd);
        let stops = matches!(kind, cmd::IDLE | cmd::CONTEXT_SWITCH);
        if stops && self.faults.strike(fault::NEVER_IDLES, slot, kind).is_some() {
            c.ends_at = None;
            return;
        }
        if self
            .faults
            .strike(fault::NEVER_COMPLETES, slot, kind)
            .is_some()
        {
            c.ends_at = None;
        } else if let Some(us) = self.faults.strike(fault::LATE, slot, kind) {
            c.ends_at = Some(end + u64::from(us) * 1000);
        } else if self.faults.strike(fault::GFX_HANG, slot, kind).is_some() {
            c.status = status::GFX_HANG;
        } else if self.faults.strike(fault::SDMA_HANG, slot, kind).is_some() {
            c.status = status::SDMA_HANG;
        }
        if stops && self.engine_blocks_idle() {
            c.waits = c.ends_at.take().map(|t| t - c.issued);
        } else if stops {
            self.stop(c.issued);
        }
    }

    /// A packet has ended: an IDLE that waited for it takes effect.
    pub(crate) fn idle_may_begin(&mut self) {
        let now = self.engine_at;
        if let Some(c) = &mut self.command {
            if let Some(left) = c.waits.take() {
                c.ends_at = Some(now + left);
                self.stop(now);
            }
        }
    }

    /// The running function stops executing at `t`.
    fn stop(&mut self, t: u64) {
        if let Some(slot) = self.running() {
            self.stopped = true;
            let wants = self.engine_has_work();
            self.end_run(slot, t, wants);
        }
    }

    /// The command in flight ends at `t`.
    pub(crate) fn end_command(&mut self, h: &mut dyn Host, t: u64) {
        let Some(mut c) = self.command.take() else {
            return;
        };
        self.stopped = false;
        let mut code = 0;
        if c.status == status::GFX_HANG || c.status == status::SDMA_HANG {
            if let Some(slot) = self.running() {
                self.end_run(slot, t, true);
            }
            self.phase = Phase::Hung(self.phase.slot().unwrap_or(c.slot));
            if !self.chip.vsec.hang_status {
                (c.ends_at, c.hang_at) = (None, Some(t));
                self.command = Some(c);
                return;
            }
        } else if let Err((status, v)) = self.carry_out(h, t, &c) {
            (c.status, code) = (status, self.blame(&c, v));
        }
        self.conclude(h, t, c, code);
    }

    /// When the command in flight is taken for a hang.
    pub(crate) fn hang_noticed_at(&self) -> Option<u64> {
        self.command.as_ref().and_then(|c| c.hang_at)
    }

    /// Signals what has changed without a command's end: a hang, what is busy.
    pub(crate) fn notice(&mut self, h: &mut dyn Host, now: u64) {
        if self.chip.vsec.intr.is_none() {
            return;
        }
        if let Some(c) = self
            .command
            .as_mut()
            .filter(|c| c.hang_at.is_some_and(|t| t <= now))
        {
            c.hang_at = None;
            c.hangs = true;
            self.signal(h, intr::HANG_NEED_FLR);
        }
        let busy = self.busy_mask();
        if busy != self.vsec.busy_seen {
            self.vsec.busy_seen = busy;
            self.signal(h, intr::VM_BUSY_TRANSITION);
        }
    }

    /// The registers, the log and the interrupt of a command that has ended.
    fn conclude(&mut self, h: &mut dyn Host, t: u64, c: Command, code: u32) {
        self.vsec.cmd &= !vsec::EXECUTE;
        self.vsec.status = c.status;
        self.stats.log_end(c.log, t, c.status, code, false);
        self.stats.commands += 1;
        self.stats.command_ns += t - c.issued;
        if let Some(f) = self.funcs.get_mut(c.slot) {
            f.stats.commands += 1;
        }
        if c.hangs {
            self.signal(h, intr::HANG_SELF_RECOVERED);
        }
        if c.raw & vsec::INTR_EN == 0 {
            return;
        }
        if self.chip.vsec.intr.is_some() {
            self.signal(h, intr::CMD_COMPLETE);
        } else if self.cfg.completion_irq {
            let fcn = (c.raw >> 8) as u8;
            let data = cmd_complete_data(c.cmd, fcn, c.status);
            self.ih_push(h, 0, Entry::new(SRC_CMD_COMPLETE, data));
        }
    }

    fn carry_out(&mut self, h: &mut dyn Host, t: u64, c: &Command) -> Result<(), Refusal> {
        match c.cmd {
            cmd::IDLE => self.phase = Phase::Idled(c.slot),
            cmd::SAVE => self.save(h, c.slot)?,
            cmd::LOAD => self.load(h, c.slot)?,
            cmd::RUN => self.run(h, t, c.slot),
            cmd::CONTEXT_SWITCH => {
                self.phase = Phase::Idled(c.slot);
                self.save(h, c.slot)?;
                self.load(h, c.next)?;
                self.run(h, t, c.next);
            }
            cmd::INIT => self.init(c.slot),
            _ => {}
        }
        Ok(())
    }

    /// Place and size of the context of `slot`, if it lies in the framebuffer and in no enabled
    /// VF's window.
    pub(crate) fn context_slot(&self, slot: usize, vram: u64) -> Option<(u64, usize)> {
        let (base, size) = vsec::context_area(self.vsec.context)?;
        let at = base.checked_add(slot as u64 * size)?;
        let end = at.checked_add(size).filter(|&e| e <= vram)?;
        let clash = (1..=self.enabled)
            .filter_map(|s| self.window_of(s, vram))
            .any(|(o, n)| at < o + n && o < end);
        (!clash).then_some((at, size as usize))
    }

    fn save(&mut self, h: &mut dyn Host, slot: usize) -> Result<(), Refusal> {
        let outside = self.funcs.get(slot).map(Outside::of).unwrap_or_default();
        let mut image = context::encode(&self.ctx, &outside);
        if self
            .faults
            .strike(fault::CORRUPT_CONTEXT, slot, cmd::SAVE)
            .is_some()
        {
            if let Some(b) = image.get_mut(24) {
                *b ^= 0x40;
            }
        }
        let vram = h.vram().len() as u64;
        let Some((at, size)) = self.context_slot(slot, vram) else {
            return refuse(violation::BAD_CONTEXT_AREA);
        };
        if image.len() > size {
            return refuse(violation::CONTEXT_TOO_BIG);
        }
        if let Some(s) = slice(h.vram(), at, image.len()) {
            s.copy_from_slice(&image);
        }
        self.phase = Phase::Empty;
        self.ctx = Context::default();
        Ok(())
    }

    fn load(&mut self, h: &mut dyn Host, slot: usize) -> Result<(), Refusal> {
        // What was on the engine is gone, whether or not the image is good.
        self.phase = Phase::Empty;
        self.ctx = Context::default();
        let vram = h.vram().len() as u64;
        let image = self
            .context_slot(slot, vram)
            .and_then(|(at, size)| slice(h.vram(), at, size))
            .and_then(|s| context::decode(self.chip, s));
        let Some((ctx, outside)) = image else {
            let status = if self.chip.vsec.hang_status {
                status::GFX_HANG
            } else {
                status::ABORTED
            };
            return Err((status, violation::BAD_IMAGE));
        };
        self.ctx = ctx;
        self.take_over(slot, outside);
        self.phase = Phase::Loaded(slot);
        Ok(())
    }

    fn init(&mut self, slot: usize) {
        self.ctx = Context::default();
        self.phase = Phase::Inited(slot);
        if slot > 0 {
            self.vsec.vm_init |= 1 << (slot - 1);
        }
        if let Some(f) = self.funcs.get_mut(slot) {
            f.doorbells.clear();
            f.stats.forget_gap();
            (f.known, f.moved) = (true, false);
            if slot > 0 {
                // The PF's interrupt ring carries the end of this very command.
                f.ih = Default::default();
            }
        }
    }

    fn run(&mut self, h: &mut dyn Host, t: u64, slot: usize) {
        self.phase = Phase::Running(slot);
        self.stopped = false;
        self.engine_at = t;
        self.start_run(slot, t);
        let rung = self
            .funcs
            .get_mut(slot)
            .map(|f| std::mem::take(&mut f.doorbells));
        for (index, value) in rung.unwrap_or_default() {
            self.engine_doorbell(index, value);
        }
        self.poll_wptr(h, slot);
        self.raise_again(h, slot);
    }

    /// The interrupts of a function that comes from elsewhere may have been lost on the way:
    /// their conditions are looked at anew.
    fn raise_again(&mut self, h: &mut dyn Host, slot: usize) {
        let Some(f) = self.funcs.get_mut(slot) else {
            return;
        };
        if !std::mem::take(&mut f.moved) {
            return;
        }
        let (entries, message) = (f.ih.unread(), f.mailbox.waits_for_pf());
        if entries {
            self.ih_raise(h, slot);
        }
        if message {
            self.ih_push(h, 0, Entry::new(SRC_MSG_FROM_VF, slot as u32 - 1));
        }
    }
}
