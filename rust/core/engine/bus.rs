// SPDX-License-Identifier: GPL-2.0

//! The GPU and its bus: taken away for a while, given back, or gone.
//!
//! Somebody else resets the GPU, a bus error has cut it off, or the host sleeps: until the GPU is
//! given back nothing is commanded and nothing is read. What was on it is lost then, so all that
//! holds after a reset of the GPU by ourselves holds here. The host may meanwhile do what it
//! likes; a reset of our own that was ordered before goes on, and whichever ends last counts.

use super::super::{
    actions::Actions,
    event::{
        Action,
        Note, //
    },
    switch::{
        Context,
        Seat, //
    },
    types::VfId,
    vf::VfState, //
};
use super::{
    ready::{
        Ready,
        Told, //
    },
    Adoption,
    Doubt,
    Engine,
    Phase,
    Slot, //
};

/// Whether the engine has the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bus {
    /// It has.
    Here,
    /// It was taken away.
    Away,
    /// It was given back while a reset of our own is still going on: should that fail, the GPU
    /// has been reset all the same.
    Renewed,
}

/// Why the host cannot sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awake {
    /// A guest uses this VF, or has asked to: what it has on the GPU would be lost.
    Guest(VfId),
    /// The GPU is being reset, or VFs are being disabled.
    Busy,
}

impl Engine {
    /// Whether the GPU was taken away and not given back yet.
    pub const fn detached(&self) -> bool {
        matches!(self.bus, Bus::Away)
    }

    /// Whether VFs can be enabled now.
    pub const fn may_enable(&self) -> bool {
        let idle = matches!(self.phase, Phase::Off)
            || (matches!(self.phase, Phase::Dead) && self.count == 0);
        idle && !self.detached() && self.gpu_reset_since.is_none()
    }

    /// Whether the host may sleep, which takes away all that is on the GPU.
    pub fn may_sleep(&self) -> Result<(), Awake> {
        if self.detached() || matches!(self.phase, Phase::Recovering | Phase::Stopping) {
            return Err(Awake::Busy);
        }
        let used = |vf: &VfId| {
            let asks = self.vfs[vf.index()].want.is_some();
            asks || self.has_guest(*vf) || self.adoption(*vf) != Adoption::None
        };
        self.enabled()
            .find(used)
            .map_or(Ok(()), |vf| Err(Awake::Guest(vf)))
    }

    /// The GPU is taken away.
    pub(super) fn detach(&mut self, out: &mut Actions) {
        if self.detached() {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        }
        self.bus = Bus::Away;
        out.push(Action::Note(Note::Detached));
        self.lose_seat(out);
        self.forget_reads();
        // A reset that guests were still to get ready for has come.
        self.ready = Ready::NONE;
        self.slot = Slot::NONE;
        self.overrun_from = None;
        let gone = self.phase == Phase::Gone;
        match self.phase {
            // What was lost with the bus may come back with it.
            Phase::Gone if self.stopping => self.phase = Phase::Stopping,
            Phase::Gone | Phase::Dead | Phase::On => self.phase = Phase::Recovering,
            Phase::Off | Phase::Stopping | Phase::Recovering => {}
        }
        if self.phase == Phase::Recovering {
            let _ = self.lose_vfs(gone, out);
        }
        self.holder = None;
        self.owed = 0;
    }

    /// The GPU is given back, in the state that follows a reset, and set up anew.
    pub(super) fn attach(&mut self, out: &mut Actions) {
        if !self.detached() {
            self.stats.stray = self.stats.stray.saturating_add(1);
            return;
        }
        self.gpu_is_new();
        self.bus = match self.resets_gpu() {
            true => Bus::Renewed,
            false => Bus::Here,
        };
        if self.phase == Phase::Recovering && self.bus == Bus::Here {
            self.readmit(out);
        }
    }

    /// The device has left the bus.
    pub(super) fn gone(&mut self, out: &mut Actions) {
        if self.phase != Phase::Gone {
            out.push(Action::Note(Note::Gone));
        }
        self.phase = Phase::Gone;
        self.bus = Bus::Here;
        self.lose_seat(out);
        self.forget_reads();
        self.drop_vfs(out);
    }

    /// Nothing is known of the seat any more, and nothing is waited for.
    pub(super) fn lose_seat(&mut self, out: &mut Actions) {
        if let Some(fcn) = self.seat.running() {
            self.end_run(fcn);
        }
        self.tell_pf(false, out);
        self.seat = Seat::Unknown;
        if let Some(flight) = self.flight.take() {
            self.undone = Some(flight.cmd);
        }
        self.blocked = None;
        self.ready.forget_vfs();
        self.own_resets = 0;
    }

    /// The GPU was reset: nobody is on it, and no state is left.
    pub(super) fn gpu_is_new(&mut self) {
        self.seat = Seat::Empty;
        self.doubt = Doubt::None;
        self.undone = None;
        self.pf.context = Context::Clear;
        self.polling = false;
        self.lost_irqs = 0;
    }

    /// All that VFs had on the GPU is lost. While it was `gone`, their guests were not told.
    pub(super) fn lose_vfs(&mut self, gone: bool, out: &mut Actions) -> Told {
        let mut told = Told::default();
        for vf in self.enabled() {
            match self.vf(vf).state {
                VfState::Resetting | VfState::Quarantined => {}
                // Nobody has had it yet.
                VfState::Unavailable if !gone => {}
                _ => {
                    if self.has_guest(vf) {
                        told.all |= vf.bit();
                    }
                    if self.answers(vf) {
                        told.answer |= vf.bit();
                    }
                    self.lose_vf(vf, out);
                }
            }
        }
        told
    }
}
