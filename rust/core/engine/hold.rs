// SPDX-License-Identifier: GPL-2.0

//! Pauses that end by themselves: a VF is held off the engine while its vCPUs run, which must not
//! see more of it than a long wait for the next slice.

use super::super::{
    actions::Actions,
    types::{
        Ns,
        VfId,
        MAX_VFS, //
    },
};
use super::{
    earlier,
    Engine, //
};

/// Which VFs are held for a bounded time, until when, and how often each was let go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holds {
    /// One bit per VF.
    bounded: u32,
    until: [Ns; MAX_VFS],
    stays: [u32; MAX_VFS],
}

impl Holds {
    pub(super) const NONE: Self = Self {
        bounded: 0,
        until: [0; MAX_VFS],
        stays: [0; MAX_VFS],
    };

    /// The pause of the VF has no bound (any more).
    pub(super) fn unbind(&mut self, vf: VfId) {
        self.bounded &= !vf.bit();
    }

    /// The VF was let go.
    pub(super) fn let_go(&mut self, vf: VfId) {
        self.unbind(vf);
        let stays = &mut self.stays[vf.index()];
        *stays = stays.wrapping_add(1);
    }
}

impl Engine {
    /// Whether the VF is paused for a bounded time only.
    pub const fn bounded(&self, vf: VfId) -> bool {
        self.holds.bounded & vf.bit() != 0
    }

    /// How often the VF was let go: as long as it is paused and this does not change, it has not
    /// run.
    pub const fn stay(&self, vf: VfId) -> u32 {
        self.holds.stays[vf.index()]
    }

    /// The VF is paused for at most `ns`. One that is paused without a bound stays so; a bound
    /// that was set before is replaced.
    pub(super) fn hold_for(&mut self, vf: VfId, ns: Ns) {
        if self.paused & vf.bit() != 0 && !self.bounded(vf) {
            return;
        }
        self.pause(vf);
        self.holds.bounded |= vf.bit();
        self.holds.until[vf.index()] = self.now.saturating_add(ns);
    }

    /// Lets go whose time is over.
    pub(super) fn end_holds(&mut self, out: &mut Actions) {
        for vf in VfId::in_mask(self.holds.bounded) {
            if self.holds.until[vf.index()] <= self.now {
                self.resume(vf, out);
            }
        }
    }

    /// When the first hold ends.
    pub(super) fn hold_deadline(&self) -> Option<Ns> {
        let mut first = None;
        for vf in VfId::in_mask(self.holds.bounded) {
            first = earlier(first, Some(self.holds.until[vf.index()]));
        }
        first
    }
}
