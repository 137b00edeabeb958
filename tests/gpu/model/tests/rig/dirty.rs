// SPDX-License-Identifier: GPL-2.0
//! The rig with a dirty plane, and what a driver does with it.

use gpu_model::Config;
use gpu_regs::dirty::{self, CLEAR, ENABLE};

use super::{rig_with, Rig, MB};

/// Words of the plane of a window of 16 MB.
pub(crate) const WORDS: u32 = (16 * MB / dirty::PAGE / 32) as u32;

/// The rig with a dirty plane.
pub(crate) fn tracking(chip: u32) -> Rig {
    rig_with(Config {
        chip,
        tick_ns: 1,
        dirty_tracking: true,
        ..Config::default()
    })
}

/// Selects VF `slot - 1`.
pub(crate) fn select(r: &mut Rig, slot: usize) {
    r.set(0, r.regs().dirty.fcn, slot as u32 - 1);
}

pub(crate) fn track(r: &mut Rig, slot: usize) {
    select(r, slot);
    r.set(0, r.regs().dirty.cntl, ENABLE | CLEAR);
}

pub(crate) fn count(r: &mut Rig, slot: usize) -> u32 {
    select(r, slot);
    r.get(0, r.regs().dirty.count)
}

/// The next word of the plane.
pub(crate) fn word(r: &mut Rig) -> u32 {
    r.get(0, r.regs().dirty.data)
}
