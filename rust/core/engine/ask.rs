// SPDX-License-Identifier: GPL-2.0

//! What the engine tells of itself to who asks; nothing is changed by it.

use super::super::{
    account::{
        GpuStats,
        VfStats, //
    },
    switch::Seat,
    types::{
        Fcn,
        Ns,
        VfId, //
    },
    vf::VfState, //
};
use super::{
    Engine,
    Held,
    Phase, //
};

impl Engine {
    /// What the engine as a whole is doing.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How many VFs are enabled.
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Who is on the engine, as far as is known, and how far.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// Whether a command is in flight.
    pub const fn awaits_command(&self) -> bool {
        self.flight.is_some()
    }

    /// The function that runs at this moment.
    pub const fn running(&self) -> Option<Fcn> {
        self.seat.running()
    }

    /// Where the VF is in its life.
    pub const fn vf_state(&self, vf: VfId) -> VfState {
        self.vfs[vf.index()].state
    }

    /// Whether the host has paused the VF.
    pub const fn held(&self, vf: VfId) -> Held {
        Held::new(self.paused & vf.bit() != 0, self.pausing & vf.bit() != 0)
    }

    /// Whether the host has parked the scheduler.
    pub const fn all_held(&self) -> Held {
        Held::new(self.frozen, self.freezing)
    }

    /// Whether a guest has the VF: its driver is loaded, or is being loaded or unloaded.
    pub const fn has_guest(&self, vf: VfId) -> bool {
        let each = &self.vfs[vf.index()];
        match each.state {
            VfState::FullAccess | VfState::Active => true,
            VfState::Suspended => each.loaded,
            _ => false,
        }
    }

    /// What the VF has had until `now`.
    pub fn vf_stats(&self, vf: VfId, now: Ns) -> VfStats {
        let each = &self.vfs[vf.index()];
        let mut stats = each.stats;
        if self.seat == Seat::Running(Fcn::Vf(vf)) {
            let ran = now.saturating_sub(self.run_since);
            stats.run = stats.run.saturating_add(ran);
            if each.state == VfState::FullAccess {
                stats.full_access = stats.full_access.saturating_add(ran);
            }
        }
        if let Some(since) = each.waits_since {
            let waits = now.saturating_sub(since);
            stats.wait = stats.wait.saturating_add(waits);
            stats.gap_max = stats.gap_max.max(waits);
        }
        stats
    }

    /// What the engine has done until `now`.
    pub fn gpu_stats(&self, now: Ns) -> GpuStats {
        let mut stats = self.stats;
        if self.seat == Seat::Running(Fcn::Pf) {
            let ran = now.saturating_sub(self.run_since);
            stats.pf_run = stats.pf_run.saturating_add(ran);
        }
        stats
    }
}
