// SPDX-License-Identifier: GPL-2.0

//! The GPU as a whole: parking it, and resetting it when it does not answer.
//!
//! A reset of the GPU is a reset of every VF: all guests are told, the shell resets the GPU and
//! restores its set-up, and then every VF is scrubbed and available again. If that fails, or had to
//! be done too often, the GPU is dead.

use super::super::{
    actions::Actions,
    event::{
        Action,
        Note,
        ResetReason, //
    },
    guard::Rate,
    mailbox::HostMessage,
    switch::{
        Context,
        Seat, //
    },
    types::{
        VfId,
        MS, //
    },
    vf::{
        VfEvent,
        VfState, //
    },
};
use super::{
    bus::Bus,
    recover::GIVEN_UP,
    schedule::Turn,
    Engine,
    Phase,
    Slot, //
};

/// How often a GPU is reset before it is given up: 3 times in 10 minutes.
const GPU_RESETS: Rate = match Rate::new(3, 600_000 * MS) {
    Ok(rate) => rate,
    Err(_) => panic!("the rate is in its range"),
};

impl Engine {
    /// The GPU itself does not answer: it is reset, or nothing is commanded any more until VFs are
    /// disabled.
    pub(super) fn dead(&mut self, out: &mut Actions) {
        self.lose_seat(out);
        if self.phase != Phase::On && self.phase != Phase::Off {
            return;
        }
        self.holder = None;
        self.owed = 0;
        self.slot = Slot::NONE;
        self.overrun_from = None;
        if self.cfg.gpu_reset() && self.gpu_resets.take(self.now, GPU_RESETS) {
            self.reset_gpu(out);
        } else {
            self.give_up(out);
        }
    }

    fn give_up(&mut self, out: &mut Actions) {
        self.phase = Phase::Dead;
        out.push(Action::Note(Note::Dead));
        for vf in self.enabled() {
            self.quarantine(vf, out);
        }
    }

    fn reset_gpu(&mut self, out: &mut Actions) {
        self.phase = Phase::Recovering;
        self.stats.gpu_resets = self.stats.gpu_resets.saturating_add(1);
        out.push(Action::Note(Note::GpuReset));
        let told = self.lose_vfs(false, out);
        self.await_ready_gpu(told, out);
    }

    /// Whether a reset of ours is going on that is still waited for.
    pub(super) fn resets_gpu(&self) -> bool {
        self.ready.waits_for_gpu() || self.gpu_reset_since.is_some_and(|at| at != GIVEN_UP)
    }

    /// The VF loses its state with the GPU's.
    pub(super) fn lose_vf(&mut self, vf: VfId, out: &mut Actions) {
        let reason = ResetReason::GpuReset;
        out.push(Action::Note(Note::Reset { vf, reason }));
        self.keep_request(vf, reason);
        let each = self.vf(vf);
        each.stats.resets = each.stats.resets.saturating_add(1);
        each.loaded = false;
        each.context = Context::Clear;
        each.notified = true;
        self.shift(vf, VfEvent::Reset, out);
        self.send(vf, HostMessage::FlrNotification, out);
    }

    /// The reset of the GPU has ended.
    pub(super) fn gpu_reset_done(&mut self, ok: bool, out: &mut Actions) {
        if self.detached() {
            // How it is given back is what counts.
            return;
        }
        let renewed = core::mem::replace(&mut self.bus, Bus::Here) == Bus::Renewed;
        let ok = ok || renewed;
        if ok {
            self.gpu_is_new();
        }
        if self.phase != Phase::Recovering {
            return;
        }
        match ok {
            true => self.readmit(out),
            false => self.give_up(out),
        }
    }

    /// A reset of the GPU that was given up has ended after all: as if somebody else had done it.
    pub(super) fn gpu_reset_late(&mut self, ok: bool, out: &mut Actions) {
        if ok && !self.detached() && !matches!(self.phase, Phase::Dead | Phase::Gone) {
            self.detach(out);
            self.attach(out);
        }
    }

    /// The GPU is as after a reset: VFs are cleaned and admitted again.
    pub(super) fn readmit(&mut self, out: &mut Actions) {
        self.phase = match self.count {
            0 => Phase::Off,
            _ => Phase::On,
        };
        out.push(Action::Note(Note::GpuReady));
        self.housekeeping_at = self.now.saturating_add(self.cfg.housekeeping());
        for vf in self.enabled() {
            if matches!(self.vf(vf).state, VfState::Unavailable | VfState::Resetting) {
                self.dirty |= vf.bit();
            }
        }
        // What the reset has left there is nobody's own reset.
        self.read_resets(out);
    }

    /// The host parks the scheduler.
    pub(super) fn pause_all(&mut self) {
        self.frozen = true;
        self.freezing = true;
    }

    /// The host lets the scheduler go on.
    pub(super) fn resume_all(&mut self) {
        self.frozen = false;
        self.freezing = false;
    }

    /// Says [`Action::AllPaused`] once nobody runs.
    pub(super) fn tell_all_paused(&mut self, out: &mut Actions) {
        if !self.freezing || self.phase == Phase::Recovering || self.detached() {
            return;
        }
        let off = !matches!(self.seat, Seat::Running(_) | Seat::Idled(_));
        let idle = self.flight.is_none() && !self.scrubs();
        let parked = off && idle && self.slot.turn == Turn::Nobody;
        let lost = matches!(self.phase, Phase::Dead | Phase::Gone);
        if (parked && self.blocked.is_none()) || lost {
            self.freezing = false;
            out.push(Action::AllPaused);
        }
    }

    /// The VFs that a turn is of use to: those that are active, without those that have no work.
    ///
    /// Who has had no turn for long has one, whatever the hardware says of it.
    pub(super) fn runnable(&self) -> u32 {
        if self.busy == u32::MAX || self.cfg.mode() == super::Mode::Strict {
            return self.active;
        }
        let long = |vf: &VfId| {
            let since = self.vfs[vf.index()].waits_since.unwrap_or(self.now);
            self.now.saturating_sub(since) >= super::schedule::SKIP_WAIT_MAX
        };
        let waited = VfId::in_mask(self.active & !self.busy).filter(long);
        let useful = waited.fold(self.active & self.busy, |mask, vf| mask | vf.bit());
        match useful {
            // Somebody's idleness is as good as another's.
            0 => self.active & self.running_bit(),
            _ => useful,
        }
    }

    /// The bit of the VF whose turn it is; all bits if it is nobody's.
    fn running_bit(&self) -> u32 {
        match self.slot.turn {
            Turn::Vf(vf) if self.active & vf.bit() != 0 => vf.bit(),
            _ => u32::MAX,
        }
    }
}
