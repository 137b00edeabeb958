// SPDX-License-Identifier: GPL-2.0

//! Leaving the GPU to the next life of the driver, with VFs enabled and guests at work.
//!
//! The engine comes to rest at a point that it can describe: no command in flight, no full access,
//! no reset and no scrub that has not ended. Whoever runs then keeps the GPU; whoever waits is
//! saved. From that point on it decides nothing and takes no message. [`Engine::write`] describes
//! it, and the engine that reads that goes on there with [`Event::Arrive`](super::Event).

use super::super::{
    actions::Actions,
    event::Action,
    switch::{
        Context,
        Seat, //
    },
    types::{
        Fcn,
        VfId, //
    },
    vf::VfState, //
};
use super::{
    bus::Bus,
    schedule::Turn,
    Engine,
    Phase, //
};

/// Whether the driver leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It stays.
    No,
    /// It will, once all that goes on has ended.
    Ordered,
    /// It has: nothing happens here any more.
    Left,
}

impl Engine {
    /// Whether all decisions are the next life's.
    pub const fn has_left(&self) -> bool {
        matches!(self.leaving, Leaving::Left)
    }

    /// Nothing begins any more that others would have to finish.
    pub(super) const fn leaves(&self) -> bool {
        !matches!(self.leaving, Leaving::No)
    }

    /// Whoever runs while the driver leaves keeps the engine.
    pub(super) fn keeps_engine(&self) -> bool {
        self.leaves() && matches!(self.slot.turn, Turn::Vf(_)) && self.slot.started
    }

    pub(super) fn leave(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Ordered;
        }
    }

    /// The driver stays after all, as if it had only looked away.
    pub(super) fn remain(&mut self, out: &mut Actions) {
        if self.has_left() {
            self.look_around(out);
        }
        self.leaving = Leaving::No;
    }

    /// The first step of an engine that was read from a record.
    pub(super) fn arrive(&mut self, out: &mut Actions) {
        self.housekeeping_at = self.now.saturating_add(self.cfg.housekeeping());
        self.look_around(out);
    }

    /// Nobody has looked for a while: which VFs were reset, and what guests have sent.
    fn look_around(&mut self, out: &mut Actions) {
        self.leaving = Leaving::No;
        self.read_resets(out);
        self.hold = self.reads.last();
        for vf in self.enabled().filter(|&vf| self.takes_messages(vf)) {
            out.push(Action::Listen(vf));
        }
    }

    /// Says [`Action::Left`] once the engine is at rest, or cannot come to it.
    pub(super) fn tell_left(&mut self, out: &mut Actions) {
        if self.leaving != Leaving::Ordered {
            return;
        }
        let serves = self.phase == Phase::On && self.bus == Bus::Here;
        if serves && self.rests() {
            self.leaving = Leaving::Left;
            out.push(Action::Left { ok: true });
        } else if !matches!(self.phase, Phase::On | Phase::Recovering) {
            self.leaving = Leaving::No;
            out.push(Action::Left { ok: false });
        }
    }

    /// Whether the next life can go on from here.
    fn rests(&self) -> bool {
        let quiet = self.flight.is_none()
            && self.undone.is_none()
            && self.blocked.is_none()
            && !self.status_asked
            && !self.reads.open()
            && self.gpu_reset_since.is_none()
            && self.ready.is_none()
            && self.works == 0
            && self.dirty == 0
            && self.condemned == 0;
        let alone = self.holder.is_none()
            && !self.pf.work
            && self.pf.context == Context::Kept
            && !self.enabled().any(|vf| self.bounded(vf));
        quiet && alone && self.enabled().all(|vf| self.vf_rests(vf)) && self.seat_rests()
    }

    fn vf_rests(&self, vf: VfId) -> bool {
        let each = &self.vfs[vf.index()];
        let settled = matches!(
            each.state,
            VfState::Available | VfState::Active | VfState::Suspended | VfState::Quarantined
        );
        settled && !each.working() && self.adoptions.rest(vf)
    }

    /// A VF that runs in its own turn, or nobody who runs.
    fn seat_rests(&self) -> bool {
        let turn = self.slot.turn;
        match self.seat {
            Seat::Running(Fcn::Vf(vf)) => turn == Turn::Vf(vf) && self.slot.started,
            Seat::Running(Fcn::Pf) | Seat::Idled(_) | Seat::Unknown => false,
            Seat::Empty | Seat::Loaded(_) | Seat::Fresh(_) => {
                !matches!(turn, Turn::Vf(_) | Turn::Full(_) | Turn::Boot | Turn::Pf)
            }
        }
    }
}
