// SPDX-License-Identifier: GPL-2.0

//! What the operator orders while VFs run, and waits for.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use super::{
    vfs::Unmet,
    Gpu, //
};
use crate::gim_core::{
    engine::Held,
    event::Event,
    types::VfId,
    vf::VfState, //
};

/// How long a pause may take: a full access and a reset may be finished first.
const PAUSE_LIMIT_MS: u32 = 10_000;

/// How long a reset may take, the scrub included.
const RESET_LIMIT_MS: u32 = 120_000;

impl Gpu {
    /// Takes a VF off the engine; returns when its state is saved.
    ///
    /// If it takes too long or a signal comes, the VF runs on.
    pub(crate) fn pause_vf(self: &Arc<Self>, vf: VfId) -> Result {
        self.pause_vf_within(vf, PAUSE_LIMIT_MS)
    }

    /// The same, within `limit_ms`.
    pub(super) fn pause_vf_within(self: &Arc<Self>, vf: VfId, limit_ms: u32) -> Result {
        self.tell(Event::Pause(vf));
        let met = self.wait(limit_ms, |st| st.engine.held(vf) != Held::Pending);
        self.paused_or(met, Event::Resume(vf), || {
            self.with(|st| st.engine.held(vf))
        })
    }

    /// Gives a VF back its turns; after a restore its guest looks at what it may have missed.
    pub(crate) fn resume_vf(self: &Arc<Self>, vf: VfId) {
        let mut st = self.state.lock();
        Self::feed(self.as_arc_borrow(), &mut st, Event::Resume(vf));
        if st.raise & vf.bit() != 0 {
            st.raise &= !vf.bit();
            Self::feed(self.as_arc_borrow(), &mut st, Event::Alert(vf));
        }
    }

    /// Parks the whole scheduler; returns when all states are saved.
    ///
    /// If it takes too long or a signal comes, it goes on.
    pub(crate) fn pause_all(self: &Arc<Self>) -> Result {
        self.tell(Event::PauseAll);
        let met = self.wait(PAUSE_LIMIT_MS, |st| st.engine.all_held() != Held::Pending);
        self.paused_or(met, Event::ResumeAll, || {
            self.with(|st| st.engine.all_held())
        })
    }

    /// Lets the scheduler go on.
    pub(crate) fn resume_all(self: &Arc<Self>) {
        self.tell(Event::ResumeAll);
    }

    /// Resets a VF, and gives a quarantined one another chance; returns when it is clean.
    pub(crate) fn reset_by_host(self: &Arc<Self>, vf: VfId) -> Result {
        self.tell(Event::ResetVf(vf));
        let met = self.wait(RESET_LIMIT_MS, |st| {
            st.engine.vf_state(vf) != VfState::Resetting
        });
        met?;
        match self.with(|st| st.engine.vf_state(vf)) {
            VfState::Quarantined => Err(EIO),
            _ => Ok(()),
        }
    }

    /// Tells the engine something, from a context that may sleep.
    pub(super) fn tell(self: &Arc<Self>, event: Event) {
        Self::feed(self.as_arc_borrow(), &mut self.state.lock(), event);
    }

    /// Whether the pause has come about; if not in time, it is withdrawn.
    fn paused_or(
        self: &Arc<Self>,
        met: Result<(), Unmet>,
        withdraw: Event,
        held: impl Fn() -> Held,
    ) -> Result {
        if let Err(e) = met {
            self.tell(withdraw);
            return Err(e.into());
        }
        match held() {
            Held::Yes => Ok(()),
            // Somebody else has resumed it meanwhile.
            Held::No | Held::Pending => Err(ECANCELED),
        }
    }
}
