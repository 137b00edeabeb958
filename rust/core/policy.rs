// SPDX-License-Identifier: GPL-2.0

//! Quality of service: what each VF is promised, what the GPU can promise, and the share that
//! follows.
//!
//! A VF has a weight, a guaranteed minimum, a cap, and a bound on its wait for a slice. Shares are
//! proportional to weights, raised to minima and cut to caps; what nobody may have is left idle.
//! The VF that is furthest behind its share has the next turn, unless another's wait would exceed
//! its bound.

use core::fmt;

use super::{
    config::RangeError,
    types::{
        Ns,
        VfId,
        MAX_VFS,
        MS,
        US, //
    },
};

/// The whole GPU, in the unit of [`Share::min`] and [`Share::cap`]: 1/1000.
pub const WHOLE: u16 = 1000;

/// The whole GPU, in the unit of computed shares.
pub const ONE: u32 = 1 << 16;

/// The largest weight.
pub const WEIGHT_MAX: u16 = 10_000;

/// What a switch adds to a slice, when waits are promised.
const SWITCH_ALLOWANCE: Ns = 500 * US;

/// The range of bounds on waits.
const LATENCY_MIN: Ns = MS;
const LATENCY_MAX: Ns = 10_000 * MS;

/// What a VF is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Its part relative to the others': 1 to 10000.
    pub weight: u16,
    /// The part of the GPU's time that it has at least while it is active, in 1/1000.
    pub min: u16,
    /// The part that it has at most, in 1/1000: 1 to 1000, not below `min`.
    pub cap: u16,
    /// The longest wait for a slice, in ns (1 ms to 10 s), full access of others aside.
    pub latency: Option<Ns>,
}

impl Share {
    /// Weight 100, no minimum, no cap, no bound.
    pub const DEFAULT: Self = Self {
        weight: 100,
        min: 0,
        cap: WHOLE,
        latency: None,
    };

    /// Whether each value is in its range; whether the promise can be kept, [`admit`] tells.
    pub fn check(&self) -> Result<(), Refused> {
        range("weight", self.weight.into(), 1, WEIGHT_MAX.into())?;
        let min = "guaranteed minimum (1/1000)";
        range(min, self.min.into(), 0, WHOLE.into())?;
        range("cap (1/1000)", self.cap.into(), 1, WHOLE.into())?;
        if let Some(bound) = self.latency {
            range("latency bound (ns)", bound, LATENCY_MIN, LATENCY_MAX)?;
        }
        Ok(())
    }
}

/// Why a promise cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A value is out of its range.
    Range(RangeError),
    /// The cap is below the guaranteed minimum, or below what the bound on waits needs.
    CapBelowMin {
        /// The cap, in 1/1000.
        cap: u16,
        /// The minimum or need, in 1/1000.
        min: u16,
    },
    /// Minima, and what short waits need, exceed the GPU.
    Overcommitted {
        /// Their sum, in 1/1000.
        sum: u32,
    },
    /// The slices of the others make the wait longer than that.
    Latency {
        /// Whose bound cannot be kept.
        vf: VfId,
        /// Its bound, in ns.
        bound: Ns,
        /// The wait that can happen, in ns.
        wait: Ns,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(e) => e.fmt(f),
            Self::CapBelowMin { cap, min } => {
                write!(
                    f,
                    "cap {cap}/1000 is below the {min}/1000 that are guaranteed or needed"
                )
            }
            Self::Overcommitted { sum } => {
                write!(
                    f,
                    "guarantees of all VFs are {sum}/1000, at most 1000/1000 are allowed"
                )
            }
            Self::Latency { vf, bound, wait } => write!(
                f,
                "VF{}: with these slices it waits up to {wait} ns, its bound is {bound} ns",
                vf.raw()
            ),
        }
    }
}

/// A table with an entry per VF.
pub type Table<T> = [T; MAX_VFS];

fn range(what: &'static str, got: u64, min: u64, max: u64) -> Result<(), Refused> {
    match got >= min && got <= max {
        true => Ok(()),
        false => Err(Refused::Range(RangeError {
            what,
            got,
            min,
            max,
        })),
    }
}

/// What a slice costs, with what comes on top.
const fn cost(slice: Ns) -> Ns {
    slice.saturating_add(SWITCH_ALLOWANCE)
}

/// The part that is kept for a VF with this slice, in 1/1000: its minimum, or what one slice within
/// each bound needs, if that is more.
pub fn reserve(share: &Share, slice: Ns) -> u16 {
    let needs = share.latency.map_or(0, |bound| {
        let period = bound.saturating_add(cost(slice));
        cost(slice)
            .saturating_mul(u64::from(WHOLE))
            .div_ceil(period.max(1))
    });
    // CAST: at most `WHOLE`.
    share.min.max(needs.min(u64::from(WHOLE)) as u16)
}

/// Whether all these promises can be kept together.
///
/// Each minimum, or the part that a slice within each bound needs if that is more, is reserved;
/// their sum is at most the GPU. A bound must leave room for a slice of every other VF that has a
/// bound and for the longest slice of those that have none.
pub fn admit(shares: &Table<Share>, slices: &Table<Ns>) -> Result<(), Refused> {
    let cost = |vf: VfId| cost(slices[vf.index()]);
    let (mut sum, mut bounded, mut longest) = (0u32, 0, 0);
    for vf in VfId::all() {
        let share = &shares[vf.index()];
        share.check()?;
        if share.latency.is_some() {
            bounded += cost(vf);
        } else {
            longest = longest.max(cost(vf));
        }
        let (cap, min) = (share.cap, reserve(share, slices[vf.index()]));
        if cap < min {
            return Err(Refused::CapBelowMin { cap, min });
        }
        sum += u32::from(min);
    }
    if sum > u32::from(WHOLE) {
        return Err(Refused::Overcommitted { sum });
    }
    for vf in VfId::all() {
        if let Some(bound) = shares[vf.index()].latency {
            let wait = bounded - cost(vf) + longest;
            if wait > bound {
                return Err(Refused::Latency { vf, bound, wait });
            }
        }
    }
    Ok(())
}

/// The parts of the GPU that the VFs in `mask` have, in 1/65536; 0 for the others.
///
/// Their sum is at most [`ONE`]; it is less only where caps say so, or by rounding.
pub fn distribute(shares: &Table<Share>, slices: &Table<Ns>, mask: u32) -> Table<u32> {
    let scale = |part: u16| u32::from(part) * ONE / u32::from(WHOLE);
    let mut parts = [0; MAX_VFS];
    let mut open = mask & ((1 << MAX_VFS) - 1);
    let mut left = ONE;
    // Each round settles at least one VF: those below their minimum, or those above their cap,
    // whichever is the larger trouble; the rest is distributed anew.
    while open != 0 {
        let weights: u32 = VfId::in_mask(open)
            .map(|vf| u32::from(shares[vf.index()].weight))
            .sum();
        let (mut low, mut high, mut lacking, mut excess) = (0, 0, 0, 0);
        for vf in VfId::in_mask(open) {
            let share = &shares[vf.index()];
            let part = u64::from(left) * u64::from(share.weight) / u64::from(weights.max(1));
            // CAST: a part of `left`, which is a `u32`.
            let part = part as u32;
            let min = scale(reserve(share, slices[vf.index()]));
            let fits = part.max(min).min(scale(share.cap));
            parts[vf.index()] = fits;
            if fits > part {
                low |= vf.bit();
                lacking += fits - part;
            }
            if fits < part {
                high |= vf.bit();
                excess += part - fits;
            }
        }
        let settled = match (low | high, lacking >= excess, lacking == excess) {
            (0, _, _) => open,
            (all, _, true) => all,
            (_, true, _) => low,
            (_, false, _) => high,
        };
        for vf in VfId::in_mask(settled) {
            left = left.saturating_sub(parts[vf.index()]);
        }
        open &= !settled;
    }
    parts
}

#[cfg(any(test, kunit))]
#[path = "policy_tests.rs"]
mod tests;
