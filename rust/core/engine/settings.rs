// SPDX-License-Identifier: GPL-2.0

//! What the host sets while VFs run; each setting holds from a decision on, which it names.

use super::super::{
    config::{
        Config,
        Mode,
        Policy,
        Preset,
        RangeError, //
    },
    guard::{
        Bucket,
        Limit,
        Rate, //
    },
    policy::{
        Refused,
        Share,
        Table, //
    },
    types::{
        Ns,
        VfId, //
    },
};
use super::{
    Engine,
    Phase, //
};

impl Engine {
    /// Replaces all settings; false, and nothing is changed, unless no VF is enabled.
    ///
    /// So an engine can be made in place from a constant and configured there.
    pub fn configure(&mut self, cfg: &Config) -> bool {
        let off = self.phase == Phase::Off;
        if off {
            self.cfg = *cfg;
            self.level();
        }
        off
    }

    /// The settings.
    pub const fn config(&self) -> &Config {
        &self.cfg
    }

    /// Sets the slice of one VF, from its next slice on: 100 us to 1 s.
    pub fn set_slice(&mut self, vf: VfId, ns: Ns) -> Result<(), RangeError> {
        self.parts.forget();
        self.cfg.set_slice(vf, ns)
    }

    /// Sets the slice of all VFs, from their next slices on: 100 us to 1 s.
    pub fn set_slices(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.parts.forget();
        self.cfg.set_slices(ns)
    }

    /// Sets the slices of all VFs by a preset, from their next slices on.
    pub fn set_preset(&mut self, preset: Preset) -> Result<(), RangeError> {
        self.parts.forget();
        self.cfg.set_preset(preset, self.count)
    }

    /// Sets how long a command may take, from the next command on: 1 ms to 5 s.
    pub fn set_watchdog(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.cfg.set_watchdog(ns)
    }

    /// Sets whether unused time is given to others, from the next decision on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.cfg.set_mode(mode);
        self.parts.forget();
    }

    /// Sets how the next VF is chosen, from the next decision on; what was owed is forgotten.
    pub fn set_policy(&mut self, policy: Policy) {
        if self.cfg.policy() != policy {
            self.cfg.set_policy(policy);
            self.level();
        }
    }

    /// Promises a share to one VF, if all promises can be kept then.
    pub fn set_share(&mut self, vf: VfId, share: Share) -> Result<(), Refused> {
        self.cfg.set_share(vf, share)?;
        self.level();
        Ok(())
    }

    /// Promises shares to all VFs, if all promises can be kept then.
    pub fn set_shares(&mut self, shares: &Table<Share>) -> Result<(), Refused> {
        self.cfg.set_shares(shares)?;
        self.level();
        Ok(())
    }

    /// Sets how much of something a VF may have; what VFs have had so far is forgotten.
    pub fn set_rate(&mut self, limit: Limit, rate: Rate) {
        self.cfg.set_rate(limit, rate);
        for each in &mut self.vfs {
            each.buckets[limit.index()] = Bucket::FULL;
        }
    }

    /// Sets whether limits are enforced.
    pub fn set_guard(&mut self, on: bool) {
        self.cfg.set_guard(on);
    }

    /// The part of the GPU that the VF has at this moment by its share, in 1/65536.
    pub const fn part(&self, vf: VfId) -> u32 {
        self.parts.of(vf)
    }
}
