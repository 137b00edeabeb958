// SPDX-License-Identifier: GPL-2.0

//! VFs that nobody has open any more and that were not reset: their guests' work goes on, for nobody.
//!
//! VFIO resets a function that is closed, but vfio-pci does so only if it gets the lock of the bridge at
//! once, which of two VMs that end at the same moment one does not.

use super::{
    super::{
        actions::Actions,
        event::ResetReason,
        types::VfId,
        vf::VfState, //
    },
    Adoption,
    Engine,
    Phase, //
};

/// Who had VFs open when the shell looked; a bit per VF.
#[derive(Clone, Copy, Debug)]
pub(super) struct Users {
    /// Somebody had it open since it was reset. Others are used in ways that are not seen.
    had: u32,
    /// Nobody had it open at the last look.
    missed: u32,
}

impl Users {
    pub(super) const NONE: Self = Self { had: 0, missed: 0 };

    /// Whoever had the VF open has nothing to do with what it does from now on.
    pub(super) fn forget(&mut self, vf: VfId) {
        self.had &= !vf.bit();
        self.missed &= !vf.bit();
    }
}

impl Engine {
    /// Somebody has the VFs in `mask` open. One that is closed is reset before, so that it is told of
    /// that first; the second look makes sure.
    pub(super) fn users(&mut self, mask: u32, out: &mut Actions) {
        if self.phase != Phase::On {
            return;
        }
        let left = self.users.had & !mask;
        let sure = left & self.users.missed;
        self.users = Users {
            had: self.users.had | mask,
            missed: left,
        };
        // One at a time: the list of actions has no room for all of them.
        let mut abandoned = None;
        for vf in VfId::in_mask(sure) {
            match self.vf_state(vf) {
                VfState::Active | VfState::FullAccess => abandoned = abandoned.or(Some(vf)),
                // It does nothing while the host holds it.
                VfState::Suspended if self.adoption(vf) == Adoption::None => {}
                _ => self.users.forget(vf),
            }
        }
        if let Some(vf) = abandoned {
            self.reset(vf, ResetReason::Abandoned, out);
        }
    }
}
