// SPDX-License-Identifier: GPL-2.0

//! What an operator or a chip may set, and the range of each setting.
//!
//! A [`Config`] can only be changed by its setters, so one that exists is valid. A refused value
//! changes nothing and the error says what is allowed.

mod record;

use core::fmt;

use super::{
    guard::{
        Limit,
        Rate,
        Rates,
        RATES, //
    },
    mailbox::Protocol,
    policy::{
        admit,
        Refused,
        Share,
        Table, //
    },
    types::{
        Ns,
        VfId,
        MAX_VFS,
        MS,
        US, //
    },
};

/// A value was outside of the range of its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeError {
    /// The setting and its unit.
    pub what: &'static str,
    /// The value that was refused.
    pub got: u64,
    /// The smallest value that is allowed.
    pub min: u64,
    /// The largest value that is allowed.
    pub max: u64,
}

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} is not in {}..={}",
            self.what, self.got, self.min, self.max
        )
    }
}

/// How the engine learns that a command has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// By the completion interrupt; a check from time to time recovers lost ones.
    Irq,
    /// By reading the status, first after `interval` ns, then at slowly growing distances.
    Poll {
        /// The shortest distance between two reads, in ns: 1 us to 1 ms.
        interval: Ns,
    },
}

/// Whether time that a VF does not use is given to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Only active VFs share the GPU.
    WorkConserving,
    /// Every enabled VF has its slot, used or not.
    Strict,
}

/// How the next VF is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// One after the other, each for its slice.
    RoundRobin,
    /// Whoever is furthest behind its share (see [`super::policy`]).
    Qos,
}

/// Where the slices come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Preset {
    /// 6 ms.
    Long,
    /// 2 ms for up to 8 VFs, 1 ms above; the slices follow the number of VFs.
    Short,
    /// Set one by one.
    Own,
}

/// A setting that is a time, with its range.
struct Range {
    what: &'static str,
    min: Ns,
    max: Ns,
}

impl Range {
    const fn check(&self, got: Ns) -> Result<Ns, RangeError> {
        if got < self.min || got > self.max {
            return Err(RangeError {
                what: self.what,
                got,
                min: self.min,
                max: self.max,
            });
        }
        Ok(got)
    }
}

const SLICE: Range = Range {
    what: "slice (ns)",
    min: 100 * US,
    max: 1_000 * MS,
};

/// Whether this can be a slice: 100 us to 1 s.
pub fn check_slice(ns: Ns) -> Result<Ns, RangeError> {
    SLICE.check(ns)
}
const WATCHDOG: Range = Range {
    what: "command watchdog (ns)",
    min: MS,
    max: 5_000 * MS,
};
const POLL: Range = Range {
    what: "status poll interval (ns)",
    min: US,
    max: MS,
};
const IRQ_CHECK: Range = Range {
    what: "lost interrupt check (ns)",
    min: 50 * US,
    max: 1_000 * MS,
};
const FULL_ACCESS: Range = Range {
    what: "full access bound (ns)",
    min: 10 * MS,
    max: 10_000 * MS,
};
const GAP: Range = Range {
    what: "gap target (ns)",
    min: 50 * MS,
    max: 10_000 * MS,
};
const HOUSEKEEPING: Range = Range {
    what: "housekeeping interval (ns)",
    min: 10 * MS,
    max: 10_000 * MS,
};
const RESET_POLL: Range = Range {
    what: "reset poll interval (ns)",
    min: 10 * US,
    max: 10 * MS,
};
const WORK: Range = Range {
    what: "slow work bound (ns)",
    min: 1_000 * MS,
    max: 600_000 * MS,
};

/// Completion interrupts that may be lost in a row before the engine polls.
pub const LOST_IRQS_MAX: u8 = 4;

/// All settings of an engine.
///
/// # Invariants
///
/// Every setting is within its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    slices: Table<Ns>,
    preset: Preset,
    shares: Table<Share>,
    pf_slice: Ns,
    watchdog: Ns,
    completion: Completion,
    irq_check: Ns,
    full_alone: Ns,
    full_shared: Ns,
    gap_target: Ns,
    housekeeping: Ns,
    reset_poll: Ns,
    work_bound: Ns,
    mode: Mode,
    policy: Policy,
    protocol: Protocol,
    rates: Rates,
    guard: bool,
    gpu_reset: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Config {
    /// Slices of 6 ms, watchdog 50 ms, completion interrupts, work-conserving round robin.
    pub const DEFAULT: Self = Self {
        slices: [6 * MS; MAX_VFS],
        preset: Preset::Long,
        shares: [Share::DEFAULT; MAX_VFS],
        pf_slice: 2 * MS,
        watchdog: 50 * MS,
        completion: Completion::Irq,
        irq_check: 2 * MS,
        full_alone: 1_000 * MS,
        full_shared: 400 * MS,
        gap_target: 500 * MS,
        housekeeping: 100 * MS,
        reset_poll: 200 * US,
        work_bound: 60_000 * MS,
        mode: Mode::WorkConserving,
        policy: Policy::RoundRobin,
        protocol: Protocol {
            ready_to_reset: false,
            exchange: false,
        },
        rates: RATES,
        guard: true,
        gpu_reset: true,
    };

    /// The slice of a VF, in ns.
    pub const fn slice(&self, vf: VfId) -> Ns {
        self.slices[vf.index()]
    }

    /// Sets the slice of one VF: 100 us to 1 s, less if bounds on waits do not leave room for it.
    pub fn set_slice(&mut self, vf: VfId, ns: Ns) -> Result<(), RangeError> {
        self.change_slices(ns, vf.bit())
    }

    /// Sets the slice of all VFs: as [`Self::set_slice`].
    pub fn set_slices(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.change_slices(ns, u32::MAX)
    }

    fn change_slices(&mut self, ns: Ns, mask: u32) -> Result<(), RangeError> {
        SLICE.check(ns)?;
        let with = |ns: Ns| {
            let mut slices = self.slices;
            for vf in VfId::in_mask(mask) {
                slices[vf.index()] = ns;
            }
            slices
        };
        if admit(&self.shares, &with(ns)).is_err() {
            // The longest slice that keeps all promises.
            let (mut good, mut bad) = (0, ns);
            while bad - good > 1 {
                let middle = good + (bad - good) / 2;
                match admit(&self.shares, &with(middle)) {
                    Ok(()) => good = middle,
                    Err(_) => bad = middle,
                }
            }
            return Err(RangeError {
                what: "slice (ns) beside the bounds on waits",
                got: ns,
                min: SLICE.min,
                max: good,
            });
        }
        self.slices = with(ns);
        self.preset = Preset::Own;
        Ok(())
    }

    /// Where the slices come from.
    pub const fn preset(&self) -> Preset {
        self.preset
    }

    /// Sets the slices of all VFs by a preset, for `count` VFs (0: none are enabled yet);
    /// [`Preset::Own`] keeps them as they are.
    pub fn set_preset(&mut self, preset: Preset, count: u8) -> Result<(), RangeError> {
        match preset {
            Preset::Long => self.set_slices(6 * MS)?,
            Preset::Short => self.set_slices(if count <= 8 { 2 * MS } else { MS })?,
            Preset::Own => {}
        }
        self.preset = preset;
        Ok(())
    }

    /// What a VF is promised by [`Policy::Qos`].
    pub const fn share(&self, vf: VfId) -> Share {
        self.shares[vf.index()]
    }

    /// The slices of all VFs, in ns.
    pub const fn slices(&self) -> &Table<Ns> {
        &self.slices
    }

    /// What all VFs are promised.
    pub const fn shares(&self) -> &Table<Share> {
        &self.shares
    }

    /// Promises a share to one VF, if all promises can be kept then.
    pub fn set_share(&mut self, vf: VfId, share: Share) -> Result<(), Refused> {
        let mut shares = self.shares;
        shares[vf.index()] = share;
        self.set_shares(&shares)
    }

    /// Promises shares to all VFs, if all promises can be kept then.
    pub fn set_shares(&mut self, shares: &Table<Share>) -> Result<(), Refused> {
        admit(shares, &self.slices)?;
        self.shares = *shares;
        Ok(())
    }

    /// VFs from number `count` on are not there: nothing is promised to them any more, since nobody sees
    /// what was, and their slices are not longer than those of the others.
    pub fn forget_beyond(&mut self, count: u8) {
        let count = usize::from(count).min(MAX_VFS);
        let (there, gone) = (..count, count..);
        let longest = self.slices[there].iter().copied().max().unwrap_or(Ns::MAX);
        // Fewer promises and shorter slices always keep what is promised to the others.
        for slice in &mut self.slices[gone.clone()] {
            *slice = longest.min(*slice);
        }
        self.shares[gone].fill(Share::DEFAULT);
    }

    /// The slice of the PF when it has work, in ns.
    pub const fn pf_slice(&self) -> Ns {
        self.pf_slice
    }

    /// Sets the slice of the PF: 100 us to 1 s.
    pub fn set_pf_slice(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.pf_slice = SLICE.check(ns)?;
        Ok(())
    }

    /// How long a command may take, in ns.
    pub const fn watchdog(&self) -> Ns {
        self.watchdog
    }

    /// Sets how long a command may take: 1 ms to 5 s.
    pub fn set_watchdog(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.watchdog = WATCHDOG.check(ns)?;
        Ok(())
    }

    /// How completion is learnt.
    pub const fn completion(&self) -> Completion {
        self.completion
    }

    /// Sets how completion is learnt; a poll interval is 1 us to 1 ms.
    pub fn set_completion(&mut self, how: Completion) -> Result<(), RangeError> {
        if let Completion::Poll { interval } = how {
            POLL.check(interval)?;
        }
        self.completion = how;
        Ok(())
    }

    /// After how long a missing completion interrupt is looked after, in ns.
    pub const fn irq_check(&self) -> Ns {
        self.irq_check
    }

    /// Sets after how long a missing completion interrupt is looked after: 50 us to 1 s.
    pub fn set_irq_check(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.irq_check = IRQ_CHECK.check(ns)?;
        Ok(())
    }

    /// The longest full access when no other VF runs, in ns.
    pub const fn full_access_alone(&self) -> Ns {
        self.full_alone
    }

    /// The longest full access while other VFs run, in ns.
    pub const fn full_access_shared(&self) -> Ns {
        self.full_shared
    }

    /// Sets the longest full access, alone and while other VFs run: 10 ms to 10 s each.
    pub fn set_full_access(&mut self, alone: Ns, shared: Ns) -> Result<(), RangeError> {
        let (alone, shared) = (FULL_ACCESS.check(alone)?, FULL_ACCESS.check(shared)?);
        (self.full_alone, self.full_shared) = (alone, shared);
        Ok(())
    }

    /// The longest time that a running VF should be without the engine, in ns.
    ///
    /// Full access is cut so that the round that follows it still fits.
    pub const fn gap_target(&self) -> Ns {
        self.gap_target
    }

    /// Sets the longest time that a running VF should be without the engine: 50 ms to 10 s.
    pub fn set_gap_target(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.gap_target = GAP.check(ns)?;
        Ok(())
    }

    /// How often RESET_NOTIFICATION is read while VFs are enabled, in ns.
    pub const fn housekeeping(&self) -> Ns {
        self.housekeeping
    }

    /// Sets how often RESET_NOTIFICATION is read: 10 ms to 10 s.
    pub fn set_housekeeping(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.housekeeping = HOUSEKEEPING.check(ns)?;
        Ok(())
    }

    /// How often RESET_NOTIFICATION is read while a reset keeps the engine, in ns.
    pub const fn reset_poll(&self) -> Ns {
        self.reset_poll
    }

    /// Sets how often RESET_NOTIFICATION is read during a reset: 10 us to 10 ms.
    pub fn set_reset_poll(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.reset_poll = RESET_POLL.check(ns)?;
        Ok(())
    }

    /// How long one piece of slow work may take before it counts as failed, in ns.
    pub const fn work_bound(&self) -> Ns {
        self.work_bound
    }

    /// Sets how long one piece of slow work may take: 1 s to 600 s.
    pub fn set_work_bound(&mut self, ns: Ns) -> Result<(), RangeError> {
        self.work_bound = WORK.check(ns)?;
        Ok(())
    }

    /// Whether unused time is given to others.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Sets whether unused time is given to others.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// How much of something a VF may have.
    pub const fn rate(&self, limit: Limit) -> Rate {
        self.rates[limit.index()]
    }

    /// Sets how much of something a VF may have.
    pub fn set_rate(&mut self, limit: Limit, rate: Rate) {
        self.rates[limit.index()] = rate;
    }

    /// Whether limits are enforced.
    pub const fn guard(&self) -> bool {
        self.guard
    }

    /// Sets whether limits are enforced.
    pub fn set_guard(&mut self, on: bool) {
        self.guard = on;
    }

    /// Whether a GPU that does not answer is reset as a whole.
    pub const fn gpu_reset(&self) -> bool {
        self.gpu_reset
    }

    /// Sets whether a GPU that does not answer is reset as a whole.
    pub fn set_gpu_reset(&mut self, on: bool) {
        self.gpu_reset = on;
    }

    /// What the guest drivers of the chip know.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Sets what the guest drivers of the chip know.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// How the next VF is chosen.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Sets how the next VF is chosen.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }
}

#[cfg(any(test, kunit))]
#[path = "config_tests.rs"]
mod tests;
