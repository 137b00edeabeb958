// SPDX-License-Identifier: GPL-2.0

//! VFs that are taken for a restore, and filled.

use gim_core::{
    access::Access,
    engine::Engine,
    mailbox::GuestMessage,
    switch::Seat,
    types::{Fcn, Ns, VfId},
    vf::VfState,
};

use super::{no, Referee};
use crate::{gpu::Gpu, world::Verdict};

impl Referee {
    /// A VF was taken for a restore, or is refused.
    pub(super) fn adopted(
        &mut self,
        now: Ns,
        vf: VfId,
        ok: bool,
        engine: &Engine,
        gpu: &Gpu,
    ) -> Verdict {
        let each = &mut self.vfs[vf.index()];
        if each.adopting.take().is_none() {
            return no(format!("{vf:?} is adopted, but nobody asked"));
        }
        if !ok {
            return Ok(());
        }
        self.adoptions[0] += 1;
        (each.adopted, each.filled, each.sealed) = (true, false, true);
        each.spoil();
        each.asked = None;
        let f = Fcn::Vf(vf);
        if gpu.seat() == Seat::Running(f) || gpu.seat() == Seat::Idled(f) {
            return no(format!("{vf:?} is said to be adopted, but is on the seat"));
        }
        if engine.vf_state(vf) != VfState::Suspended || engine.takes_messages(vf) {
            return no(format!("{vf:?} is adopted, but not held"));
        }
        let excused = gpu.unread_resets() & vf.bit() != 0;
        if each.dirty_since.is_some() && !excused {
            return no(format!("{vf:?} is adopted with what another tenant left"));
        }
        // What the host writes is nobody's until it is complete.
        each.dirty_since = Some(now.saturating_sub(1));
        Ok(())
    }

    /// The host has filled a VF, or comes too late.
    pub(super) fn restored(&mut self, now: Ns, vf: VfId, ok: bool) -> Verdict {
        let each = &mut self.vfs[vf.index()];
        let Some(want) = each.restoring.take() else {
            return no(format!("{vf:?} is restored, but nobody said so"));
        };
        if ok && !each.adopted {
            return no(format!("{vf:?} is restored, but was not the host's"));
        }
        if ok {
            self.adoptions[1] += 1;
            each.filled = true;
            each.dirty_since = None;
            each.asked = want.map(|_| now);
            each.message = want.map(|want| match want {
                Access::Init => GuestMessage::ReqInit,
                Access::Fini => GuestMessage::ReqFini,
                Access::Reset => GuestMessage::ReqReset,
            });
        }
        Ok(())
    }
}
