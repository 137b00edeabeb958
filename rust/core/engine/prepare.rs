// SPDX-License-Identifier: GPL-2.0

//! What the host says in a VF's framebuffer before its guest initialises
//! ([`exchange`](super::super::exchange)), on chips whose guests read it.
//!
//! Writing it is slow work ([`Work::Prepare`]), done before full access is granted rather than
//! during it, so that it costs nobody engine time. It is written again for every full access to
//! initialise, so what a guest damages heals, and at most once for each: a guest that asks for it
//! again and again (REQ_GPU_INIT_DATA) is answered, but nothing is written.

use super::super::{
    access::Access,
    actions::Actions,
    event::{
        Action,
        Work, //
    },
    mailbox::HostMessage,
    record::{
        Reader,
        Unfit, //
    },
    types::{
        Ns,
        VfId, //
    },
    vf::VfState, //
};
use super::{
    recover::GIVEN_UP,
    Engine,
    Phase, //
};

/// Which VFs are prepared: one bit per VF.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepares {
    /// All is written.
    done: u32,
    /// The guest has asked for it and was not answered.
    asked: u32,
    /// The guest has asked just now: whether it was reset before is being read.
    pub(super) fresh: u32,
    /// The read that tells that.
    pub(super) read: u64,
    /// It was reset since the work was queued, which counts for nothing.
    stale: u32,
}

impl Prepares {
    pub(super) const NONE: Self = Self {
        done: 0,
        asked: 0,
        fresh: 0,
        read: 0,
        stale: 0,
    };

    /// The masks of an engine that prepares nothing at the moment.
    pub(super) const fn masks(&self) -> [u32; 2] {
        [self.done, self.asked]
    }

    /// Reads them.
    pub(super) fn read(&mut self, from: &mut Reader<'_>) -> Result<(), Unfit> {
        from.masks([&mut self.done, &mut self.asked])
    }
}

impl Engine {
    /// Whether guests of this chip read what the host writes.
    const fn exchanges(&self) -> bool {
        self.cfg.protocol().exchange
    }

    /// Whether what the VF wants can be granted: who unloads reads nothing.
    pub(super) fn is_prepared(&self, vf: VfId) -> bool {
        let unloads = self.vfs[vf.index()].want == Some(Access::Fini);
        unloads || !self.exchanges() || self.prepares.done & vf.bit() != 0
    }

    /// A guest has sent something, and who is to be prepared was perhaps reset before.
    pub(super) fn look_before_preparing(&mut self, vf: VfId, out: &mut Actions) {
        if self.exchanges() {
            self.read_resets(out);
            self.prepares.fresh |= vf.bit();
            self.prepares.read = self.reads.last();
        }
    }

    /// A guest asks for what the host has to say; whether it is answered. During full access READY
    /// may be on its way, which the answer would replace.
    pub(super) fn req_init_data(&mut self, vf: VfId, out: &mut Actions) -> bool {
        let takes = self.exchanges() && self.vf(vf).state != VfState::FullAccess;
        if takes {
            self.prepares.asked |= vf.bit();
            self.look_before_preparing(vf, out);
        }
        takes
    }

    /// What was written for the VF is gone, or has been used. What its guest asked just now is
    /// younger than its reset.
    pub(super) fn unprepare(&mut self, vf: VfId) {
        let all = &mut self.prepares;
        all.done &= !vf.bit();
        all.asked &= !vf.bit() | all.fresh;
        if self.vfs[vf.index()].prepare_since.is_some() {
            self.prepares.stale |= vf.bit();
        }
    }

    /// VFs begin to exist; work that was given up on may still be going on.
    pub(super) fn unprepare_all(&mut self) {
        self.prepares = Prepares::NONE;
        for vf in VfId::all() {
            self.unprepare(vf);
        }
    }

    /// The guest is served without what could not be written.
    pub(super) fn prepare_done(&mut self, vf: VfId, ok: bool) {
        let stale = self.prepares.stale & vf.bit() != 0;
        self.prepares.stale &= !vf.bit();
        if !stale {
            self.prepares.done |= vf.bit();
            if !ok {
                self.prepares.asked &= !vf.bit();
            }
        }
    }

    /// Queues the next preparation, one at a time, and answers those that have asked.
    pub(super) fn prepare(&mut self, out: &mut Actions) {
        let waits = self.leaves() || self.reads.awaits(self.hold);
        if !self.exchanges() || self.phase != Phase::On || waits {
            return;
        }
        let all = self.prepares;
        for vf in VfId::in_mask(all.asked & all.done & !all.fresh) {
            self.prepares.asked &= !vf.bit();
            if self.vf(vf).state != VfState::FullAccess {
                self.send(vf, HostMessage::InitDataReady, out);
            }
        }
        let busy = |at: &Ns| *at != GIVEN_UP;
        if self
            .vfs
            .iter()
            .any(|vf| vf.prepare_since.as_ref().is_some_and(busy))
        {
            return;
        }
        let asked = VfId::in_mask(all.asked).find(|&vf| self.may_prepare(vf));
        if let Some(vf) = asked.or_else(|| self.next_to_prepare()) {
            self.vf(vf).prepare_since = Some(self.now);
            self.works = self.works.saturating_add(1);
            out.push(Action::Queue(Work::Prepare(vf)));
        }
    }

    /// Whether the VF is clean and not prepared.
    fn may_prepare(&self, vf: VfId) -> bool {
        let (each, all) = (&self.vfs[vf.index()], &self.prepares);
        let clean = matches!(each.state, VfState::Available | VfState::Active);
        clean && (all.done | all.fresh) & vf.bit() == 0 && !each.working()
    }

    /// The first that is to initialise, and may.
    fn next_to_prepare(&self) -> Option<VfId> {
        let wants = |vf: &VfId| {
            let each = &self.vfs[vf.index()];
            let loads = matches!(each.want, Some(Access::Init | Access::Reset));
            loads && each.state == VfState::Available && self.held_until(*vf) <= self.now
        };
        let queue = self.queue.as_slice().iter().copied();
        queue.filter(wants).find(|&vf| self.may_prepare(vf))
    }
}
