// SPDX-License-Identifier: GPL-2.0

//! What is counted: times and events per VF and for the GPU. All counters only grow.

use super::types::Ns;

/// What one VF has had and done since it was enabled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VfStats {
    /// Time on the engine, from RUN to the end of IDLE, in ns; full access included.
    pub run: Ns,
    /// Time during which it could have run and another did, in ns.
    pub wait: Ns,
    /// Time its IDLE and SAVE commands took, in ns.
    pub save: Ns,
    /// Time its LOAD, INIT and RUN commands took, in ns.
    pub load: Ns,
    /// Time it ran beyond its slices, in ns; it is repaid from later ones.
    pub overrun: Ns,
    /// Part of `run` that was full access, in ns.
    pub full_access: Ns,
    /// Longest time it waited for the engine while it could have run, in ns.
    pub gap_max: Ns,
    /// Slices it had.
    pub slices: u64,
    /// Turns that were skipped, because it had overrun before.
    pub skips: u64,
    /// Full accesses it was granted.
    pub grants: u64,
    /// Full accesses that exceeded their bound.
    pub timeouts: u64,
    /// Commands for it that timed out or failed.
    pub hangs: u64,
    /// Resets, whoever caused them.
    pub resets: u64,
    /// Messages it sent.
    pub messages: u64,
    /// Messages of it that were refused or ignored.
    pub dropped: u64,
    /// Times it exceeded a limit.
    pub guarded: u64,
}

/// What the engine of one GPU has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuStats {
    /// Times the engine passed from one function to another.
    pub switches: u64,
    /// Time from the decision to switch until RUN completed, in ns, over all switches.
    pub switch_time: Ns,
    /// Commands issued.
    pub commands: u64,
    /// Commands that timed out or failed.
    pub failures: u64,
    /// Completion interrupts that did not come.
    pub lost_irqs: u64,
    /// Status reads by poll or check.
    pub polls: u64,
    /// Time the PF was on the engine, in ns.
    pub pf_run: Ns,
    /// Resets of the whole GPU.
    pub gpu_resets: u64,
    /// Events that had no place where they came: a late interrupt, an answer nobody waits for.
    pub stray: u64,
}

impl VfStats {
    /// Nothing counted yet.
    pub const NEW: Self = Self {
        run: 0,
        wait: 0,
        save: 0,
        load: 0,
        overrun: 0,
        full_access: 0,
        gap_max: 0,
        slices: 0,
        skips: 0,
        grants: 0,
        timeouts: 0,
        hangs: 0,
        resets: 0,
        messages: 0,
        dropped: 0,
        guarded: 0,
    };
}

impl GpuStats {
    /// Nothing counted yet.
    pub const NEW: Self = Self {
        switches: 0,
        switch_time: 0,
        commands: 0,
        failures: 0,
        lost_irqs: 0,
        polls: 0,
        pf_run: 0,
        gpu_resets: 0,
        stray: 0,
    };
}
