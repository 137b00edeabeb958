// SPDX-License-Identifier: GPL-2.0

//! READY_TO_RESET: guests of some chips stop what they do when they are told of a reset, and say so
//! ([`Protocol::ready_to_reset`](super::super::mailbox::Protocol)).
//!
//! They are waited for, and never longer than a bound (gpu-iov-hardware.md, 4.3): what a guest says
//! or does not say decides when it is reset, not whether. Nobody else waits with them, but where the
//! VF keeps the seat: then the bound is what its command has left of its watchdog, or a tenth of
//! that if there is less, so that a hang costs the others hardly more than one watchdog period.

use super::super::{
    actions::Actions,
    event::{
        Action,
        Work, //
    },
    types::{
        Fcn,
        Ns,
        VfId,
        MAX_VFS,
        MS, //
    },
};
use super::{
    earlier,
    Engine,
    Phase, //
};

/// How long a guest may take before its VF is reset.
pub const READY_WAIT: Ns = 10 * MS;

/// How long guests may take before the whole GPU is reset.
pub const READY_WAIT_GPU: Ns = 500 * MS;

/// How long guests that are not waited for have to see that the whole GPU is reset, which wipes what
/// they were told: they look every 5 ms, if they are not interrupted.
pub const SEE_GPU_RESET: Ns = 20 * MS;

/// A guest looks every 5 ms whether its answer was taken, and the reset wipes that. Where nobody
/// else waits, it may look once more.
const ACK_GRACE: Ns = 6 * MS;

/// Who is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    /// VFs that are to be reset, a bit each, and when they are whatever their guests say.
    vfs: u32,
    until: [Ns; MAX_VFS],
    /// VFs whose guests must answer before the whole GPU is reset, and when it is all the same.
    of_gpu: u32,
    gpu: Option<Ns>,
}

/// Guests that were told of a reset of the whole GPU, a bit for each VF.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    /// All that have the VF.
    pub(super) all: u32,
    /// Those that can be expected to answer.
    pub(super) answer: u32,
}

impl Ready {
    /// Nobody.
    pub(super) const NONE: Self = Self {
        vfs: 0,
        until: [0; MAX_VFS],
        of_gpu: 0,
        gpu: None,
    };

    /// VFs are not waited for any more, one by one.
    pub(super) fn forget_vfs(&mut self) {
        self.vfs = 0;
    }

    /// Whether nobody is waited for.
    pub(super) const fn is_none(&self) -> bool {
        self.vfs == 0 && self.gpu.is_none()
    }

    /// Whether the whole GPU will be reset.
    pub(super) const fn waits_for_gpu(&self) -> bool {
        self.gpu.is_some()
    }
}

impl Engine {
    /// Whether the VF's guest can be expected to answer FLR_NOTIFICATION.
    pub(super) fn answers(&self, vf: VfId) -> bool {
        self.cfg.protocol().ready_to_reset && self.takes_messages(vf) && self.has_guest(vf)
    }

    /// How long the answer of a VF may take that is to be reset at this moment.
    pub(super) fn ready_wait(&self, vf: VfId) -> Ns {
        if !self.answers(vf) {
            return 0;
        }
        let flight = self.flight.as_ref().filter(|f| f.cmd.fcn == Fcn::Vf(vf));
        let Some(flight) = flight else {
            return READY_WAIT;
        };
        let watchdog = self.cfg.watchdog();
        let spent = self.now.saturating_sub(flight.issued);
        let left = watchdog.saturating_sub(spent).max(watchdog / 10);
        left.min(READY_WAIT)
    }

    /// The VF is reset once its guest has answered, or after `wait`.
    pub(super) fn await_ready(&mut self, vf: VfId, wait: Ns) {
        self.ready.vfs |= vf.bit();
        self.ready.until[vf.index()] = self.now.saturating_add(wait);
    }

    /// The GPU is reset once the guests that answer have done so, or after the bound; where none does,
    /// once they can have seen it.
    pub(super) fn await_ready_gpu(&mut self, told: Told, out: &mut Actions) {
        let wait = match (told.answer, told.all) {
            (0, 0) => return self.queue_gpu_reset(out),
            (0, _) => SEE_GPU_RESET,
            _ => READY_WAIT_GPU,
        };
        self.ready.of_gpu = told.answer;
        self.ready.gpu = Some(self.now.saturating_add(wait));
    }

    fn queue_gpu_reset(&mut self, out: &mut Actions) {
        self.ready.gpu = None;
        self.gpu_reset_since = Some(self.now);
        self.works = self.works.saturating_add(1);
        out.push(Action::Queue(Work::GpuReset));
    }

    /// A guest says that its VF may be reset; whether anybody wanted to know.
    pub(super) fn ready_to_reset(&mut self, vf: VfId) -> bool {
        let (now, blocks) = (self.now, self.blocked == Some(vf));
        let ready = &mut self.ready;
        if ready.vfs & vf.bit() != 0 {
            let grace = if blocks { 0 } else { ACK_GRACE };
            let until = &mut ready.until[vf.index()];
            *until = now.saturating_add(grace).min(*until);
            return true;
        }
        let awaited = ready.gpu.is_some() && ready.of_gpu & vf.bit() != 0;
        ready.of_gpu &= !vf.bit();
        if awaited && ready.of_gpu == 0 {
            let until = now.saturating_add(ACK_GRACE);
            ready.gpu = ready.gpu.map(|at| at.min(until));
        }
        awaited
    }

    /// The VF has been reset by its guest: there is nothing to wait for.
    pub(super) fn hurry(&mut self, vf: VfId) {
        if self.ready.vfs & vf.bit() != 0 {
            self.ready.until[vf.index()] = self.now;
        }
    }

    /// Resets those that have answered, or have had their time.
    pub(super) fn check_ready(&mut self, out: &mut Actions) {
        let now = self.now;
        // While VFs are being disabled nobody is waited for, and only who keeps the seat is reset.
        let stopping = self.phase == Phase::Stopping;
        if matches!(self.phase, Phase::Off | Phase::Dead | Phase::Gone) {
            self.ready.vfs = 0;
        }
        for vf in VfId::in_mask(self.ready.vfs) {
            if !stopping && now < self.ready.until[vf.index()] {
                continue;
            }
            self.ready.vfs &= !vf.bit();
            if !stopping || self.blocked == Some(vf) {
                self.queue_reset(vf, out);
            }
        }
        if self.phase == Phase::Gone {
            self.ready.gpu = None;
        }
        if self.ready.gpu.is_some_and(|at| stopping || now >= at) {
            self.queue_gpu_reset(out);
        }
    }

    /// When [`Self::check_ready`] has something to do.
    pub(super) fn ready_deadline(&self) -> Option<Ns> {
        let vfs = VfId::in_mask(self.ready.vfs);
        let first = vfs.map(|vf| self.ready.until[vf.index()]).min();
        earlier(first, self.ready.gpu)
    }
}
