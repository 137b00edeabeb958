// SPDX-License-Identifier: GPL-2.0

//! The engine: one per GPU, the only one who decides what the GPU does next.

use super::{
    account::{
        GpuStats,
        VfStats, //
    },
    actions::Actions,
    config::{
        Config,
        Mode,
        Policy,
        RangeError, //
    },
    event::Event,
    types::{
        Fcn,
        Ns,
        VfId, //
    },
    vf::VfState, //
};

/// What the engine as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// No VF is enabled; the PF may still have work.
    Off,
    /// VFs are enabled.
    On,
    /// VFs are being disabled.
    Stopping,
    /// The GPU does not answer: nothing is commanded until VFs are disabled.
    Dead,
    /// The device has left the bus: nothing is ever commanded again.
    Gone,
}

/// The engine of one GPU.
#[derive(Debug)]
pub struct Engine {
    cfg: Config,
}

impl Engine {
    /// An engine with no VF enabled and nothing known to be on the hardware's seat.
    pub const fn new(cfg: Config) -> Self {
        Self { cfg }
    }

    /// Takes an event at the time `now` and replaces the content of `out` by what is to be done.
    ///
    /// The actions are to be carried out in order, and what [`super::event::Action::ReadStatus`]
    /// and [`super::event::Action::ReadResets`] read is to be fed before any other event. After
    /// each step the timer is to be armed to [`Self::deadline`].
    pub fn step(&mut self, now: Ns, ev: Event, out: &mut Actions) {
        let _ = (now, ev);
        out.clear();
    }

    /// When [`Event::Timer`] is wanted, at the latest; `None` if no time matters.
    pub fn deadline(&self) -> Option<Ns> {
        None
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.cfg
    }

    /// Sets the slice of one VF, from its next slice on: 100 us to 1 s.
    pub fn set_slice(&mut self, vf: VfId, ns: Ns) -> Result<(), RangeError> {
        self.cfg.set_slice(vf, ns)
    }

    /// Sets the slice of all VFs, from their next slices on: 100 us to 1 s.
    pub fn set_slices(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.cfg.set_slices(ns)
    }

    /// Sets whether unused time is given to others, from the next decision on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.cfg.set_mode(mode);
    }

    /// Sets how the next VF is chosen, from the next decision on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.cfg.set_policy(policy);
    }

    /// What the engine as a whole is doing.
    pub const fn phase(&self) -> Phase {
        Phase::Off
    }

    /// How many VFs are enabled.
    pub const fn count(&self) -> u8 {
        0
    }

    /// The function that runs at this moment.
    pub fn running(&self) -> Option<Fcn> {
        None
    }

    /// Where the VF is in its life.
    pub const fn vf_state(&self, vf: VfId) -> VfState {
        let _ = vf;
        VfState::Unavailable
    }

    /// What the VF has had until `now`.
    pub fn vf_stats(&self, vf: VfId, now: Ns) -> VfStats {
        let _ = (vf, now);
        VfStats::default()
    }

    /// What the engine has done until `now`.
    pub fn gpu_stats(&self, now: Ns) -> GpuStats {
        let _ = now;
        GpuStats::default()
    }
}
